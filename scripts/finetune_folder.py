"""Another network's features for people's own images: a body from a file, a new head, first alone and then with it.

    python scripts/finetune_folder.py DIR --weights model.keras [--freeze conv1 conv2] [--epochs N] [--smoke]

DIR is DIR/CLASS/*.jpg, or any SOURCE. The head is trained first, with the body as it is; then all but the frozen
layers, at a tenth of the rate. The last line printed is the accuracy on the test split.
"""

import _common
import keras

from keras_cnns import applications, recipes, saving, training

MORE = (
    ("--weights", {"help": "a .keras file of this package's, whose network is taken"}),
    ("--freeze", {"nargs": "*", "default": [], "help": "layers that keep their weights to the end"}),
)


def main():
    """Train, save, measure on the test split."""
    found = _common.arguments(__doc__, *MORE)
    path = found.weights or applications.weights_info("NiN", "digits").path  # for --smoke
    old, info = saving.load_with_info(path)
    recipe = recipes.SHORT.replace(augmentation="none" if found.smoke else "crop-flip", preprocessing="standardize")
    source, recipe = _common.source_and_recipe(found, recipe, info.preprocessing.shape, classes=3)
    train, validation = source.split("train").divide(0.1, seed=0)

    network = {**info.network, "classes": len(source.class_names)}
    model = applications.create_model(info.builder, **network)
    body = set(training.transfer_weights(model, old)) & {layer.name for layer in model.layers[:-1]}
    preprocessing = info.preprocessing  # what the body was trained with
    batches, held_out = training.make_datasets(model, recipe, preprocessing, train, validation)
    for frozen, rate in ((body, 1.0), (set(found.freeze), 0.1)):
        for layer in model.layers:
            layer.trainable = True
        training.freeze(model, sorted(frozen))
        part = recipe.replace(learning_rate=rate * recipe.learning_rate)
        training.compile_model(model, part, steps_per_epoch=len(batches))
        model.fit(batches, validation_data=held_out, epochs=part.epochs, shuffle=False, verbose=2)

    _common.save_and_measure(found.output, model, preprocessing, info.builder, network, recipe, source)


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main()
