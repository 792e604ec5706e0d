"""Trained weights and what is known of them.

Some weights ship with the package, some are downloaded by Keras, others come from a file of the user.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from keras_cnns.applications import _imagenet
from keras_cnns.applications._registry import canonical_name
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, ModelFileError, nearest
from keras_cnns.saving import ModelInfo, read_info
from keras_cnns.typing import Path

# The preprocessing that keras.applications calls "caffe": blue first, minus the mean color. Images are resized to 256,
# as in the papers' test.
CAFFE = Preprocessing((224, 224), shorter_side=256, mean=(103.939, 116.779, 123.68), scale=(1.0,), channel_order="BGR")
# The preprocessing that keras.applications calls "tf". With 342 pixels, the center crop keeps seven eighths of a side,
# as in the authors' released evaluation.
TENSORFLOW = Preprocessing((299, 299), shorter_side=342, mean=(127.5,), scale=(1 / 127.5,))

VGG = "CC BY 4.0. Visual Geometry Group, University of Oxford; cite Simonyan and Zisserman 2015."
RESNET = "MIT. K. He and others; cite He et al. 2016."
INCEPTION = "Apache-2.0. Published with Keras; cite Szegedy et al. 2016."

RESIDUAL = {"stride_on": "1x1", "shortcut": "B", "residual": True}
# Networks whose ImageNet weights Keras downloads: the options that the weights decide, preprocessing, license
PUBLISHED: Mapping[str, tuple[Mapping[str, Any], Preprocessing, str]] = {
    "VGG16": ({}, CAFFE, VGG),
    "VGG19": ({}, CAFFE, VGG),
    "ResNet50": (RESIDUAL, CAFFE, RESNET),
    "ResNet101": (RESIDUAL, CAFFE, RESNET),
    "ResNet152": (RESIDUAL, CAFFE, RESNET),
    "InceptionV3": ({"scale": True, "stem": "299"}, TENSORFLOW, INCEPTION),
}


@dataclasses.dataclass(frozen=True)
class Weights(ModelInfo):
    """Trained weights that a builder accepts.

    Attributes:
        name: the builder's argument `weights`.
        path: the file; None for weights that Keras downloads and keeps.
        sha256: checksum of a file that ships; else None.
        bytes: size of a file that ships; else 0.
        license: license of the weights, and what to cite.
    """

    name: str = ""
    path: pathlib.Path | None = None
    sha256: str | None = None
    bytes: int = 0
    license: str = ""


@functools.cache
def _shipped():
    """Return the records of saved_models/manifest.json by builder and name."""
    folder = importlib.resources.files("keras_cnns.saved_models")
    records = {}
    for entry in json.loads((folder / "manifest.json").read_text("utf8"))["weights"]:
        path = pathlib.Path(str(folder / entry["file"]))
        record = Weights.from_json({"path": path, **{key: entry[key] for key in entry if key != "file"}})
        records[record.builder, record.name] = record
    return records


def _all_named():
    """Return the records of all named weights by builder and name."""
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


def list_weights(builder: str | None = None, *, shipped: bool = False) -> list[str]:
    """Return the names of trained weights, such as "nin:digits".

    Args:
        builder: public name of one network, written in any case; None: all networks.
        shipped: whether to leave out "imagenet", which Keras downloads when it is first used.

    Raises:
        ArgumentError: if there is no such network.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.list_weights("LeNet5")
        ['lenet5:mnist']
    """
    builder = builder and canonical_name(builder)
    records = _shipped() if shipped else _all_named()
    return [f"{owner.lower()}:{name}" for owner, name in sorted(records) if builder is None or owner == builder]


def weights_info(name: str, weights: Path) -> Weights:
    """Return what is known of weights.

    That is preprocessing, class names, metrics, and how the weights were made. Keras downloads the names of ImageNet's
    classes unless it has them already.

    Args:
        name: public name of a network, written in any case.
        weights: a name or a path, as the builder's argument `weights`.

    Returns:
        `Weights`. For a `.keras` file, the record that is saved in it; for other files, nothing but the path.

    Raises:
        ArgumentError: if there is no such network, or no such weights.
        ModelFileError: if the class names cannot be fetched, or the file cannot be read.

    Examples:
        >>> from keras_cnns import applications
        >>> info = applications.weights_info("NiN", "digits")
        >>> info.preprocessing.shape, info.metrics["test"]["examples"]
        ((32, 32, 1), 360)
    """
    builder = canonical_name(name)
    record = find(builder, weights) or _named(builder, weights)
    if record.path:
        return record
    ids, names = _imagenet.class_ids_and_names()
    return dataclasses.replace(record, class_names=names, class_ids=ids)


def _named(builder, weights):
    """Return the record of weights by their name."""
    records = _all_named()
    record = records.get((builder, weights))
    if record is None:
        names = [name for owner, name in records if owner == builder]
        there = f"there are {', '.join(names)}" if names else "none ship"
        raise ArgumentError(
            f"{builder}: there are no weights of that name; {there}.{nearest(weights, names)} "
            f"Received: weights={weights!r}"
        )
    return record


def find(builder: str, weights: Path | None, also: Collection[str] = ()) -> Weights | None:
    """Return the record of the weights that a builder's argument names.

    Args:
        builder: public name of the network.
        weights: a name or a path; for None the result is None.
        also: public names of other networks whose files the builder accepts.

    Raises:
        ArgumentError: if there are no such weights, or they are another network's.
        ModelFileError: if the file cannot be read.
    """
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
    path = pathlib.Path(weights)
    if not path.is_file():
        raise ArgumentError(f"{builder}: there is no such weights file. Received: weights={name!r}")
    info = (read_info(path) if path.suffix == ".keras" else None) or ModelInfo()
    if info.builder not in (None, builder, *also):
        raise ArgumentError(f"{builder}: the file holds a {info.builder}. Received: weights={name!r}")
    fields = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
    return Weights(**{**fields, "builder": builder, "name": name, "path": path})


def verified_path(record: Weights) -> pathlib.Path:
    """Return the path of a weights file after comparing its checksum.

    Args:
        record: weights that have a file.

    Raises:
        ModelFileError: if the file is missing or was changed.
    """
    path, cure = record.path, "Install keras_cnns again"
    if path is None or not path.is_file():
        raise ModelFileError(path or record.name, "is missing", f"{cure}.")
    if record.sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != record.sha256:
        raise ModelFileError(path, "is not the file that shipped (its sha256 differs)", f"{cure}.")
    return path
