"""The entries of the shipped weights, their data, and their measurement."""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns._quiet import quiet
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import nearest

if TYPE_CHECKING:
    import keras

    from keras_cnns.data import Preprocessing, Source
    from keras_cnns.typing import Pixels, Shape

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "saved_models"
MANIFEST = SHIPPED / "manifest.json"
FIXED_POINTS = ROOT / "tests" / "fixed_points"

# On another processor, or in float32 instead of bfloat16, images whose two best classes are nearly tied can change
# class: 21 of 10,000 CIFAR-10 images did (6 more were right), and 4 of MNIST (2 fewer were right; November 2026). Ten
# of 10,000 leave room for that, and an error in a network or its pixels costs more.
TOLERANCE = 0.001


def entries() -> list[dict[str, Any]]:
    """Return the entries of manifest.json, in its order."""
    return json.loads(MANIFEST.read_text("utf8"))["weights"]


def arguments(doc: str, given: Sequence[str] | None = None) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the folder and the weights that a command line names.

    Args:
        doc: docstring of the script.
        given: command-line arguments; None: those of this process.

    Returns:
        Folder of the .npz files, and the entries by name.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument(
        "folder", nargs="?", default=".", metavar="FOLDER", help="folder of the .npz files; default: this one"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights such as nin:digits; default: all")
    parsed, known = parser.parse_args(given), {full_name(entry): entry for entry in entries()}
    for name in parsed.names:
        if name not in known:
            parser.error(f"there are {', '.join(known)}.{nearest(name, known)} Received: NAME={name!r}")
    return parsed.folder, {name: known[name] for name in parsed.names or known}


def full_name(entry: Mapping[str, Any]) -> str:
    """Return the name of an entry's weights, such as "nin:digits"."""
    return f"{entry['builder'].lower()}:{entry['name']}"


def data_place(name: str, folder: str) -> str:
    """Return the argument of `open_source` for a recorded source.

    Args:
        name: "digits", or the name of a file.
        folder: of the file.
    """
    return name if name == "digits" else str(Path(folder) / name)


def data_sha256(source: "Source") -> str:
    """Return the sha256 of a source's labels and pixels.

    First come all labels (int64), then all pixels (uint8), each with training images before test images. The bytes of
    a file would also depend on the program that packed it and on the type of its labels. For scikit-learn's digits, it
    is the sha256 of all 1,797 images as scikit-learn has them, 8x8, whatever size they are enlarged to.

    Args:
        source: `Source` of images in memory.
    """
    with quiet():  # hides TensorFlow's startup messages
        from keras_cnns.data.splits import ArraySplit
    if source.name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return ArraySplit(digits.images.astype("uint8")[..., None], digits.target).fingerprint().hex()
    parts = [source.splits[part] for part in ("train", "validation", "test") if part in source.splits]
    if not isinstance(parts[0], ArraySplit):
        raise SystemExit(f"{source.name}: weights that ship come from digits or an .npz file, whose images are arrays.")
    return parts[0].joined(parts[1:]).fingerprint().hex()


def protocols(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the protocols that an entry is measured by.

    They are "center" and, if it differs, that of the recipe. The keys are those of the entry's metrics.
    """
    recipe_protocol = entry["recipe"].get("protocol", "center")
    if recipe_protocol == "center":
        return {"test": "center"}
    return {"test": "center", f"test, {recipe_protocol}": recipe_protocol}


def accuracies(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return an entry's top-1 by protocol, the recipe's last."""
    return {protocol: entry["metrics"][key]["top1"] for key, protocol in protocols(entry).items()}


def image(entry: Mapping[str, Any]) -> Path:
    """Return the path of the documentation's image of an entry."""
    return ROOT / "docs" / "images" / f"{Path(entry['file']).stem}.png"


def measure(file: str | Path, source: "Source", protocol: str) -> dict[str, Any]:
    """Return the metrics of a network on the test split.

    The network computes in float32, as in `cnn-evaluate`; the metrics in its file may have been measured in bfloat16.

    Args:
        file: path of a `.keras` file.
        source: `Source`.
        protocol: name of a protocol, as for `evaluate`.
    """
    with quiet():  # hides TensorFlow's startup messages, and its warning about compiling one network after another
        from keras_cnns import evaluation, saving

        model, record = saving.load_with_info(file)
        if source.class_names == tuple(map(str, range(len(record.class_names)))):
            # Files of keras.datasets have no class names; `data_sha256` shows whether their labels are the training's
            source = dataclasses.replace(source, class_names=record.class_names)
        split = source.split("test")
        result = evaluation.evaluate(model, split, record.preprocessing, record.class_names, protocol=protocol)
    return {"protocol": protocol, **result.summary()}


def agree(measured: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Return whether two accuracies differ by `TOLERANCE` or one image at most."""
    difference = abs(measured["top1"] - recorded["top1"])
    return measured["examples"] == recorded["examples"] and difference < max(1.5 / recorded["examples"], TOLERANCE)


def published_error(entry: Mapping[str, Any]) -> float | None:
    """Return the paper's test error on an entry's data, in percent.

    If the paper has errors with and without augmentation (shifted, mirrored or distorted images), it is the one whose
    training is like the entry's. It is None if the paper has no error on these data.
    """
    stem = Path(entry["data"]["source"]).stem
    errors = {}
    for key, value in FACTS[entry["builder"]].errors.items():
        data, comma, _ = key.partition(",")  # "CIFAR-10, augmented" is on cifar10.npz
        if data.replace("-", "").lower() == stem:
            errors[bool(comma)] = value
    augmented = entry["recipe"].get("augmentation", "none") != "none"
    return errors.get(augmented, errors.get(not augmented))


def verification_images(shape: "Shape", count: int = 16) -> "Pixels":
    """Return images of random blocks, identical on every machine.

    NumPy guarantees the stream of the old generator used here.

    Args:
        shape: (height, width, channels).
        count: number of images; four sizes of blocks take turns.

    Returns:
        uint8 array (count, height, width, channels).
    """
    random, (height, width, channels) = np.random.RandomState(0), shape
    images = []
    for k in range(count):
        side = (2, 4, 8, 16)[k % 4]
        blocks = random.randint(0, 256, (side, side, channels))
        images.append(blocks[np.arange(height) * side // height][:, np.arange(width) * side // width])
    return np.array(images, "uint8")


def verification_logits(model: "keras.Model", preprocessing: "Preprocessing") -> np.ndarray:
    """Return a network's float32 logits (images, classes) for the verification images.

    Args:
        model: `keras.Model` built with `classifier_activation=None`.
        preprocessing: `Preprocessing` of its weights.
    """
    images = verification_images(preprocessing.shape).astype("float32")
    return np.asarray(model.predict_on_batch(preprocessing.normalize(images)), "float32")
