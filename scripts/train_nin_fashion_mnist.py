"""Network in Network, with its author's widths for MNIST, on Fashion-MNIST, in a modern way.

    python scripts/train_nin_fashion_mnist.py fashion_mnist.npz [--epochs N] [--output model.keras] [--smoke]

SOURCE may also be tfds:fashion_mnist. The paper has no such row. Not run here in full: the weights that ship as
"fashion_mnist" (6.44 % test error) come from the same recipe by `cnn-train`, in 40 minutes on two CPU cores with AMX.
The last line printed is the accuracy on the test split.
"""

import _common
import keras

from keras_cnns import applications, data, recipes, training


def main():
    """Train, save, measure on the test split."""
    found = _common.arguments(__doc__)
    source, recipe = _common.source_and_recipe(found, recipes.NIN_FASHION_MNIST_MODERN, (28, 28, 1), classes=3)
    train, validation = source.split("train").divide(0.1, seed=0)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"classes": len(source.class_names), **recipe.network}
    model = applications.NiN(**network)
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

    _common.save_and_measure(found.output, model, preprocessing, "NiN", network, recipe, source)


if __name__ == "__main__":
    main()
