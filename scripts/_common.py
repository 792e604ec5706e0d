"""Arguments, random images and measurement for the training scripts."""

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns import data, evaluation, saving

if TYPE_CHECKING:
    import keras

    from keras_cnns.recipes import Recipe
    from keras_cnns.typing import Shape


def arguments(
    doc: str, *options: tuple[str, Mapping[str, Any]], runs: Iterable[str] | None = None
) -> argparse.Namespace:
    """Return the parsed command line of a script.

    Args:
        doc: docstring of the script, which is its help.
        options: further (option, settings of `add_argument`).
        runs: choices for a first argument; None: there is no such argument.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if runs is not None:
        parser.add_argument("run", choices=list(runs), help="what to train")
    parser.add_argument("source", nargs="?", help="FILE.npz, a folder of images or tfds:NAME")
    parser.add_argument("--data-dir", help="folder of tensorflow-datasets' datasets")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--output", default="model.keras", help="file to write")
    parser.add_argument("--smoke", action="store_true", help="train for one short epoch on a few random images")
    for option, settings in options:
        parser.add_argument(option, **settings)
    parsed = parser.parse_args()
    if not parsed.source and not parsed.smoke:
        parser.error("SOURCE is needed, unless --smoke is given")
    return parsed


def source_and_recipe(
    arguments: argparse.Namespace, recipe: "Recipe", shape: "Shape", classes: int
) -> "tuple[data.Source, Recipe]":
    """Return the source and recipe that the command line asks for.

    With --smoke these are a few random images and one short epoch.

    Args:
        arguments: result of `arguments`.
        recipe: `Recipe`.
        shape: (height, width, channels) of random images.
        classes: number of their classes.
    """
    if not arguments.smoke:
        recipe = recipe.replace(epochs=arguments.epochs or recipe.epochs)
        return data.open_source(arguments.source, data_dir=arguments.data_dir), recipe
    # Few images need a low learning rate and no warm-up
    changes = {"epochs": 1, "batch_size": 8, "warmup_steps": 0, "learning_rate": recipe.learning_rate / 100}
    return data.open_source(str(random_images(shape, classes))), recipe.replace(**changes)


def random_images(shape: "Shape", classes: int) -> Path:
    """Write a few random images to an `.npz` file for `open_source`.

    Args:
        shape: (height, width, channels).
        classes: number of classes.

    Returns:
        Path of the file.
    """
    random = np.random.default_rng(0)
    parts: dict[str, Any] = {}
    for part in ("train", "test"):
        labels = np.arange(8 * max(2, classes)) % classes
        parts[f"x_{part}"] = random.integers(0, 256, (len(labels), *shape), dtype="uint8")
        parts[f"y_{part}"] = labels
    path = Path(tempfile.mkdtemp()) / "smoke.npz"
    np.savez(path, **parts)
    return path


def on_device(
    model: "keras.Model", recipe: "Recipe", preprocessing: "data.Preprocessing", train: Any, validation: Any
) -> "tuple[keras.Model, dict[str, Any]]":
    """Put all images into the device's memory for training.

    Args:
        model: `keras.Model`.
        recipe: `Recipe`.
        preprocessing: `Preprocessing`.
        train: `Split`.
        validation: `Split`.

    Returns:
        A model with the same weights that takes the numbers of images, and the arguments of its `fit`.
    """
    parts = [data.read_pixels(split, preprocessing) for split in (train, validation)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    trained = data.keep_on_device(model, images, preprocessing, augmentation=recipe.augmentation)
    first, last = np.split(np.arange(len(images)), [train.examples])
    fitted = {"x": first, "y": labels[first], "batch_size": recipe.batch_size}
    return trained, {**fitted, "validation_data": (last, labels[last])}


def save_and_measure(
    path: str,
    model: "keras.Model",
    preprocessing: "data.Preprocessing",
    builder: str,
    network: Mapping[str, Any],
    recipe: "Recipe",
    source: "data.Source",
) -> None:
    """Write the model file, and print the accuracy on the test split.

    Args:
        path: of the `.keras` file.
        model: trained `keras.Model`.
        preprocessing: `Preprocessing` that it was trained with.
        builder: name of the network.
        network: its arguments.
        recipe: `Recipe`.
        source: `Source`.
    """
    info = saving.ModelInfo(
        class_names=source.class_names,
        preprocessing=preprocessing,
        builder=builder,
        network={**network, "input_shape": model.input_shape[1:]},
        recipe=recipe.to_json(),
        data=source.record(),
        versions=saving.versions(),
    )
    saving.save_model(model, path, info, overwrite=True)
    result = evaluation.evaluate(model, source.split("test"), preprocessing, source.class_names)
    top5 = f", top-5 {result.top5:.2%}" if len(source.class_names) > 5 else ""
    print(f"{result.top1:.2%} of {result.examples} test images{top5}")
