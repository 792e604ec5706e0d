"""What the training scripts share: arguments, images made up for --smoke, and the end; each trains by itself."""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from keras_cnns import data, evaluation, saving


def arguments(doc, *more):
    """Return the parsed command line of a script.

    Args:
        doc: its docstring, whose first line is the help.
        more: further (option, settings of `add_argument`).
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("source", nargs="?", help="FILE.npz, a folder of images or tfds:NAME")
    parser.add_argument("--data-dir", help="where tensorflow-datasets keeps its data sets")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--output", default="model.keras", help="file to write")
    parser.add_argument("--smoke", action="store_true", help="one short epoch on a few images that are made up")
    for option, settings in more:
        parser.add_argument(option, **settings)
    found = parser.parse_args()
    if not found.source and not found.smoke:
        parser.error("SOURCE is needed, unless --smoke is given")
    return found


def source_and_recipe(found, recipe, shape, classes):
    """Return (`Source`, `Recipe`) as the command line says; of images that are made up: few, in one short epoch.

    Args:
        found: what `arguments` returned.
        recipe: `Recipe`.
        shape: (height, width, channels) of images that are made up.
        classes: how many classes they have.
    """
    if not found.smoke:
        recipe = recipe.replace(epochs=found.epochs or recipe.epochs)
        return data.open_source(found.source, data_dir=found.data_dir), recipe
    # A rate for few images, none of a schedule's warm-up
    changes = {"epochs": 1, "batch_size": 8, "warmup_steps": 0, "learning_rate": recipe.learning_rate / 100}
    return data.open_source(made_up(shape, classes)), recipe.replace(**changes)


def made_up(shape, classes):
    """Return the path of an `.npz` of a few random images, as `open_source` takes it."""
    random, parts = np.random.default_rng(0), {}
    for part in ("train", "test"):
        labels = np.arange(8 * max(2, classes)) % classes
        parts |= {f"x_{part}": random.integers(0, 256, (len(labels), *shape), dtype="uint8"), f"y_{part}": labels}
    path = Path(tempfile.mkdtemp()) / "smoke.npz"
    np.savez(path, **parts)
    return path


def save_and_measure(path, model, preprocessing, builder, network, recipe, source):
    """Write the model file, and print how many images of the test split it tells rightly.

    Args:
        path: of the `.keras` file.
        model, preprocessing: as trained.
        builder, network: name of the network and its arguments.
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
