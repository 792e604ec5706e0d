"""Fine-tune a trained network on a folder of images.

    python scripts/finetune_folder.py DIR --weights model.keras [--freeze conv1 conv2] [--epochs N] [--smoke]

DIR is DIR/CLASS/*.jpg, or any SOURCE. The new classifier is trained first, while all other layers keep their weights;
then everything except the layers of --freeze, at a tenth of the learning rate. The last line printed is the accuracy on
the test split.
"""

import _common
import keras

from keras_cnns import applications, recipes, saving, training

OPTIONS = (
    ("--weights", {"help": "a .keras file of this package, whose network and weights are used"}),
    ("--freeze", {"nargs": "*", "default": [], "help": "layers that keep their weights to the end"}),
)


def main() -> None:
    """Train the network, save it, and measure it on the test split."""
    arguments = _common.arguments(__doc__, *OPTIONS)
    path = arguments.weights or applications.weights_info("NiN", "digits").path  # for --smoke
    pretrained, info = saving.load_with_info(path)
    augmentation = "none" if arguments.smoke else "crop-flip"
    recipe = recipes.SHORT.replace(augmentation=augmentation, preprocessing="standardize")
    source, recipe = _common.source_and_recipe(arguments, recipe, info.preprocessing.shape, classes=3)
    train, validation = source.split("train").divide(0.1, seed=0)

    network = {**info.network, "classes": len(source.class_names)}
    model = applications.create_model(info.builder, **network)
    body = set(training.transfer_weights(model, pretrained)) & {layer.name for layer in model.layers[:-1]}
    preprocessing = info.preprocessing  # the transferred layers expect images normalized as before
    batches, validation_batches = training.make_datasets(model, recipe, preprocessing, train, validation)
    for frozen, factor in ((body, 1.0), (set(arguments.freeze), 0.1)):
        for layer in model.layers:
            layer.trainable = True
        training.freeze(model, sorted(frozen))
        stage = recipe.replace(learning_rate=factor * recipe.learning_rate)
        training.compile_model(model, stage, steps_per_epoch=len(batches))
        model.fit(batches, validation_data=validation_batches, epochs=stage.epochs, shuffle=False, verbose=2)

    _common.save_and_measure(arguments.output, model, preprocessing, info.builder, network, recipe, source)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
