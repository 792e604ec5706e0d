"""What the scripts about the weights that ship share: their entries, their images, and how they are measured."""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

from keras_cnns import evaluation, saving
from keras_cnns._quiet import quiet
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import nearest

with quiet():  # TensorFlow's start-up
    from keras_cnns.data.splits import ArraySplit

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "saved_models"
MANIFEST = SHIPPED / "manifest.json"
FIXED_POINTS = ROOT / "tests" / "fixed_points"

# Another processor, or float32 for bfloat16, turns over images whose two best classes are all but equal: of 10,000
# CIFAR-10 images 21 changed class and 6 more were right, of MNIST 4 and 2 fewer (November 2026). Ten of 10,000 leave
# room for that; what is wrong with a network or its pixels costs more.
TOLERANCE = 0.001


def entries():
    """Return what manifest.json says of each file, in its order."""
    return json.loads(MANIFEST.read_text("utf8"))["weights"]


def arguments(doc, given=None):
    """Return (folder of the .npz files, {name: entry} of the weights asked for) of a command line; exit if it is wrong.

    Args:
        doc: the script's docstring.
        given: list of strings; None: those of the process.
    """
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="of the .npz files; default: this one")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of weights, as nin:digits; default: all")
    found, every = parser.parse_args(given), {full_name(entry): entry for entry in entries()}
    for name in found.names:
        if name not in every:
            parser.error(f"there are {', '.join(every)}.{nearest(name, every)} Received: NAME={name!r}")
    return found.folder, {name: every[name] for name in found.names or every}


def full_name(entry):
    """Return the name of an entry's weights as the commands take it: "nin:digits"."""
    return f"{entry['builder'].lower()}:{entry['name']}"


def data_place(name, folder):
    """Return what `open_source` takes for a recorded source: "digits" as it is, a file as its path in `folder`."""
    return name if name == "digits" else str(Path(folder) / name)


def data_sha256(source):
    """Return the sha256 of a source's labels (int64), then its pixels (uint8), training images before test ones.

    It is that of the arrays and not of a file, whose bytes depend on the program that packed it, and whose labels may
    be of any type. Of scikit-learn's digits it is that of all 1,797 as they lie there, 8x8, however they are enlarged.

    Args:
        source: `Source` of images in memory.
    """
    if source.name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return ArraySplit(digits.images.astype("uint8")[..., None], digits.target).fingerprint().hex()
    parts = [source.splits[part] for part in ("train", "validation", "test") if part in source.splits]
    if not isinstance(parts[0], ArraySplit):
        raise SystemExit(f"{source.name}: weights that ship come from digits or an .npz file, whose images are arrays.")
    return parts[0].joined(parts[1:]).fingerprint().hex()


def protocols(entry):
    """Return {key in an entry's metrics: protocol}: a single view, and what else the recipe measures by."""
    papers = entry["recipe"].get("protocol", "center")
    return {"test": "center"} if papers == "center" else {"test": "center", f"test, {papers}": papers}


def accuracies(entry):
    """Return {protocol: top-1 on the test split} of an entry, the recipe's protocol last."""
    return {protocol: entry["metrics"][key]["top1"] for key, protocol in protocols(entry).items()}


def image(entry):
    """Return where the image is that README shows of an entry."""
    return ROOT / "docs" / f"{Path(entry['file']).stem}.png"


def measure(file, source, protocol):
    """Return what an entry says of a measurement on the test split: the numbers, and the protocol.

    The network computes in float32, as in `cnn-evaluate`; the numbers that its file records may be those of bfloat16.

    Args:
        file: path of a `.keras` file.
        source: `Source`.
        protocol: as `evaluate` takes it.
    """
    with quiet():  # TensorFlow complains that one network after another is compiled
        model, record = saving.load_with_info(file)
        if source.class_names == tuple(map(str, range(len(record.class_names)))):
            # Files of keras.datasets have no names; `data_sha256` tells whether their labels are those of the training
            source = dataclasses.replace(source, class_names=record.class_names)
        split = source.split("test")
        result = evaluation.evaluate(model, split, record.preprocessing, record.class_names, protocol=protocol)
    return {"protocol": protocol, **result.summary()}


def agree(measured, recorded):
    """Return whether two measurements' top-1 differ by no more than `TOLERANCE`, or by one image."""
    differ = abs(measured["top1"] - recorded["top1"])
    return measured["examples"] == recorded["examples"] and differ < max(1.5 / recorded["examples"], TOLERANCE)


def published_error(entry):
    """Return the paper's test error on an entry's data, in percent; None if it has none.

    A network whose training images were shifted, mirrored or distorted is held against the paper's figure for such a
    training, where there is one.
    """
    stem = Path(entry["data"]["source"]).stem
    errors = {}
    for key, value in FACTS[entry["builder"]].errors.items():
        data, comma, _ = key.partition(",")  # "CIFAR-10, augmented" is on cifar10.npz
        if data.replace("-", "").lower() == stem:
            errors[bool(comma)] = value
    augmented = entry["recipe"].get("augmentation", "none") != "none"
    return errors.get(augmented, errors.get(not augmented))


def verification_images(shape, count=16):
    """Return images that are in no data set and the same everywhere, uint8 (count, *shape).

    Blocks of chance colors, from large ones to small ones: of a generator that NumPy keeps as it is.
    """
    random, (height, width, channels) = np.random.RandomState(0), shape
    images = []
    for k in range(count):
        side = (2, 4, 8, 16)[k % 4]
        blocks = random.randint(0, 256, (side, side, channels))
        images.append(blocks[np.arange(height) * side // height][:, np.arange(width) * side // width])
    return np.array(images, "uint8")


def verification_logits(model, preprocessing):
    """Return the float32 logits (images, classes) of a network that ends with them, for the verification images.

    Args:
        model: `keras.Model` built with `classifier_activation=None`.
        preprocessing: `Preprocessing` of its weights.
    """
    images = verification_images(preprocessing.shape).astype("float32")
    return np.asarray(model.predict_on_batch(preprocessing.normalize(images)), "float32")
