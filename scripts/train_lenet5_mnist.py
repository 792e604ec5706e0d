"""LeNet-5 on MNIST as in its paper, which reached 0.95 % test error, and 0.8 % with distorted images (section III.B).

    python scripts/train_lenet5_mnist.py mnist.npz [--epochs N] [--output model.keras] [--smoke]

SOURCE may also be tfds:mnist. Not run here in full; the weights that ship as "mnist" (0.56 % test error) come from
`cnn-train --recipe lenet5-modern`. The last line printed is the accuracy on the test split.
"""

import _common
import keras

from keras_cnns import applications, data, recipes, training


def main():
    """Train, save, measure on the test split."""
    found = _common.arguments(__doc__)
    source, recipe = _common.source_and_recipe(found, recipes.LENET5_MNIST, (28, 28, 1), classes=10)
    train, validation = source.split("train").divide(0.1, seed=0)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"classes": len(source.class_names), **recipe.network}
    model = applications.LeNet5(**network)
    training.set_biases(model, recipe)

    *size, channels = model.input_shape[1:]
    preprocessing = data.Preprocessing(size, channels, training.shorter_side(source, size, recipe))
    preprocessing = data.fit_preprocessing(train, preprocessing, recipe.preprocessing)
    batches, held_out = training.make_datasets(model, recipe, preprocessing, train, validation)
    training.compile_model(model, recipe, steps_per_epoch=len(batches))
    model.fit(
        batches,
        validation_data=held_out,
        epochs=recipe.epochs,
        shuffle=False,  # the pipeline does
        callbacks=training.callbacks(None, recipe),
        verbose=2,
    )

    _common.save_and_measure(found.output, model, preprocessing, "LeNet5", network, recipe, source)


if __name__ == "__main__":
    main()
