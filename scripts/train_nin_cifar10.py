"""Network in Network on CIFAR-10 as in its paper, which reached 8.81 % test error with shifts and mirrors (table 1).

    python scripts/train_nin_cifar10.py cifar10.npz [--epochs N] [--on-device] [--output model.keras] [--smoke]

SOURCE may also be tfds:cifar10. Hours on a GPU; not run here in full. The weights that ship as "cifar10" (12.44 % test
error) come from `cnn-train` by 32 epochs of the recipe nin-modern and 22 of nin-modern-again. The last line printed is
the accuracy on the test split.
"""

import _common
import keras
import numpy as np

from keras_cnns import applications, data, recipes, training


def main():
    """Train, save, measure on the test split."""
    found = _common.arguments(__doc__, ("--on-device", {"action": "store_true", "help": "keep all images there"}))
    source, recipe = _common.source_and_recipe(found, recipes.NIN_CIFAR10, (32, 32, 3), classes=10)
    train, validation = source.split("train").divide(0.1, seed=0)

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(training.policy_for(recipe.precision))
    network = {"classes": len(source.class_names), **recipe.network}
    model = applications.NiN(**network)
    preprocessing = data.fit_preprocessing(train, data.Preprocessing((32, 32)), recipe.preprocessing)
    if found.on_device:
        parts = [data.read_pixels(split, preprocessing) for split in (train, validation)]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        trained = data.keep_on_device(model, images, preprocessing, augmentation=recipe.augmentation)
        here, there = np.split(np.arange(len(images)), [train.examples])
        given = {"x": here, "y": labels[here], "batch_size": recipe.batch_size}
        given["validation_data"] = (there, labels[there])
    else:
        trained = model
        batches, held_out = training.make_datasets(model, recipe, preprocessing, train, validation)
        given = {"x": batches, "validation_data": held_out, "shuffle": False}  # the pipeline shuffles
    training.compile_model(trained, recipe, steps_per_epoch=-(-train.examples // recipe.batch_size))
    trained.fit(**given, epochs=recipe.epochs, callbacks=training.callbacks(None, recipe), verbose=2)

    _common.save_and_measure(found.output, model, preprocessing, "NiN", network, recipe, source)


if __name__ == "__main__":
    main()
