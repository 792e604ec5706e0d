"""Trained weights: those that ship, those that Keras fetches, those in a file; and what is known of each."""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
from pathlib import Path

from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, ModelFileError, nearest
from keras_cnns.saving import ModelInfo, read_info

# What keras.applications calls "caffe": blue first, minus the mean color. Resized to 256 as in the papers' test.
CAFFE = Preprocessing((224, 224), shorter_side=256, mean=(103.939, 116.779, 123.68), scale=(1.0,), channel_order="BGR")
# What it calls "tf". 342: the center seventh eighths of the image, as in the authors' released evaluation.
TENSORFLOW = Preprocessing((299, 299), shorter_side=342, mean=(127.5,), scale=(1 / 127.5,))

VGG = "CC BY 4.0. Visual Geometry Group, University of Oxford; cite Simonyan and Zisserman 2015."
RESNET = "MIT. K. He and others; cite He et al. 2016."
INCEPTION = "Apache-2.0. Published with Keras; cite Szegedy et al. 2016."

RESIDUAL = {"stride_on": "1x1", "shortcut": "B", "residual": True}
# Networks whose ImageNet weights Keras fetches: their options that these decide, preprocessing, license
PUBLISHED = {
    "VGG16": ({}, CAFFE, VGG),
    "VGG19": ({}, CAFFE, VGG),
    "ResNet50": (RESIDUAL, CAFFE, RESNET),
    "ResNet101": (RESIDUAL, CAFFE, RESNET),
    "ResNet152": (RESIDUAL, CAFFE, RESNET),
    "InceptionV3": ({"scale": True, "stem": "299"}, TENSORFLOW, INCEPTION),
}


@dataclasses.dataclass(frozen=True)
class Weights(ModelInfo):
    """Weights that a builder takes: what `ModelInfo` says of them, and this.

    Attributes:
        name: as the builder's `weights` argument takes it.
        path: the file; None for what Keras fetches, and keeps, itself.
        sha256: of a file that ships; else None.
        bytes: its size.
        license: of the weights, and what to cite.
    """

    name: str = ""
    path: Path | None = None
    sha256: str | None = None
    bytes: int = 0
    license: str = ""


@functools.cache
def _shipped():
    """Return {(builder, name): Weights} of saved_models/manifest.json."""
    folder = importlib.resources.files("keras_cnns.saved_models")
    records = {}
    for entry in json.loads((folder / "manifest.json").read_text("utf8"))["weights"]:
        path = Path(str(folder / entry["file"]))
        record = Weights.from_json({"path": path, **{key: entry[key] for key in entry if key != "file"}})
        records[record.builder, record.name] = record
    return records


def _known():
    """Return {(builder, name): Weights} of all weights that have a name."""
    published = {
        (builder, "imagenet"): Weights(
            preprocessing=preprocessing,
            builder=builder,
            network={"classes": 1000, **options},
            name="imagenet",
            license=license,
        )
        for builder, (options, preprocessing, license) in PUBLISHED.items()
    }
    return _shipped() | published


def list_weights(builder=None, *, shipped=False):
    """Return the names of trained weights, as "nin:digits"; of one network, if `builder` names it.

    Args:
        builder: a network's public name, written in any case; None: of all networks.
        shipped: whether to leave out "imagenet", which Keras fetches when it is first used.

    Raises:
        ArgumentError: if there is no such network.
    """
    from keras_cnns.applications._registry import canonical_name

    builder = builder and canonical_name(builder)
    found = _shipped() if shipped else _known()
    return [f"{b.lower()}:{name}" for b, name in sorted(found) if builder is None or b == builder]


def weights_info(name, weights):
    """Return what is known of weights: preprocessing, class names, metrics, how they were made.

    The names of ImageNet's classes are fetched by Keras, unless it has them.

    Args:
        name: a network's public name, written in any case.
        weights: a name or a path, as the builder's `weights` argument takes them.

    Returns:
        `Weights`; of a `.keras` file what it says of itself, of other files nothing but the path.

    Raises:
        ArgumentError: if there is no such network, or no such weights.
        ModelFileError: if the class names cannot be fetched, or the file cannot be read.
    """
    from keras_cnns.applications import _imagenet
    from keras_cnns.applications._registry import canonical_name

    builder = canonical_name(name)
    record = find(builder, weights) or _named(builder, weights)
    if record.path:
        return record
    ids, names = _imagenet.classes()
    return dataclasses.replace(record, class_names=names, class_ids=ids)


def _named(builder, weights):
    record = _known().get((builder, weights))
    if record is None:
        names = [known for b, known in _known() if b == builder]
        there = f"there are {', '.join(names)}" if names else "none ship"
        raise ArgumentError(
            f"{builder}: there are no weights of that name; {there}.{nearest(weights, names)} "
            f"Received: weights={weights!r}"
        )
    return record


def find(builder, weights):
    """Return the `Weights` that a builder's argument means, None for None."""
    if weights is None:
        return None
    if not isinstance(weights, (str, os.PathLike)):
        raise ArgumentError(f"{builder}: `weights` must be a name or a path. Received: weights={weights!r}")
    name = os.fspath(weights)
    if not name.endswith((".keras", ".h5", ".safetensors")) and os.sep not in name:
        return _named(builder, weights)
    if not name.endswith((".keras", ".weights.h5", ".safetensors")):
        raise ArgumentError(
            f"{builder}: weights come from a .keras, .weights.h5 or .safetensors file. Received: weights={name!r}"
        )
    path = Path(weights)
    if not path.is_file():
        raise ArgumentError(f"{builder}: there is no such weights file. Received: weights={name!r}")
    info = (read_info(path) if path.suffix == ".keras" else None) or ModelInfo()
    if info.builder not in (None, builder):
        raise ArgumentError(f"{builder}: the file holds a {info.builder}. Received: weights={name!r}")
    fields = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
    return Weights(**{**fields, "builder": builder, "name": name, "path": path})


def verified_path(record):
    """Return the path of the weights' file; raise ModelFileError if it is missing or was changed."""
    cure = "Install keras_cnns again"
    if not record.path.is_file():
        raise ModelFileError(record.path, "is missing", f"{cure}.")
    if record.sha256 and hashlib.sha256(record.path.read_bytes()).hexdigest() != record.sha256:
        raise ModelFileError(record.path, "is not the file that shipped (its sha256 differs)", f"{cure}.")
    return record.path
