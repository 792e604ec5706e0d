"""ResNet-50 on ImageNet as in its paper, which reached 22.85 % top-1 and 6.71 % top-5 error with ten crops (table 3).

    python scripts/train_resnet50_imagenet.py SOURCE [--epochs N] [--output model.keras] [--smoke]

SOURCE is a folder DIR/train/CLASS/*.jpg and DIR/test/CLASS/*.jpg of ImageNet, or tfds:imagenet2012. Days on one GPU;
it has not been run here. The last line printed is the accuracy on the test split, one view an image.
"""

import _common
import keras

from keras_cnns import applications, data, recipes, training


def main():
    """Train, save, measure on the test split."""
    found = _common.arguments(__doc__)
    source, recipe = _common.source_and_recipe(found, recipes.RESNET_IMAGENET, (240, 260, 3), classes=3)
    train, validation = source.split("train").divide(0.02, seed=0)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"classes": len(source.class_names), **recipe.network}
    model = applications.ResNet50(**network)
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

    _common.save_and_measure(found.output, model, preprocessing, "ResNet50", network, recipe, source)


if __name__ == "__main__":
    main()
