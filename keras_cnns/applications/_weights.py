"""Trained weights: what ships, what each file was trained on, and strict loading by layer name."""

import dataclasses
import functools
import hashlib
import importlib.resources
import json
import os
from pathlib import Path

from keras_cnns.errors import ArgumentError, ModelFileError, nearest
from keras_cnns.saving import ModelInfo, load_model, read_info


@dataclasses.dataclass(frozen=True)
class Weights(ModelInfo):
    """Weights that ship with the package, or that a `.keras` file holds: what `ModelInfo` says of them, and this.

    Attributes:
        name: as the builder's `weights` argument takes it.
        path: the `.keras` file.
        sha256: of the file; None for one that the user named.
        bytes: its size.
        license: of the weights, and what to cite.
    """

    name: str = ""
    path: Path = Path()
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


def list_weights(builder=None):
    """Return the names of the weights that ship, as "nin:digits"; of one network, if `builder` names it.

    Raises:
        ArgumentError: if there is no such network.
    """
    from keras_cnns.applications._registry import canonical_name

    builder = builder and canonical_name(builder)
    return [f"{b.lower()}:{name}" for b, name in sorted(_shipped()) if builder is None or b == builder]


def weights_info(name, weights):
    """Return what is known of weights that ship: preprocessing, class names, metrics, how they were made.

    Args:
        name: a network's public name, written in any case.
        weights: as the builder's `weights` argument takes them.

    Returns:
        `Weights`.

    Raises:
        ArgumentError: if there is no such network, or no such weights.
    """
    from keras_cnns.applications._registry import canonical_name

    builder = canonical_name(name)
    record = _shipped().get((builder, weights))
    if record is None:
        names = [known for b, known in _shipped() if b == builder]
        ship = f"there are {', '.join(names)}" if names else "none ship"
        raise ArgumentError(
            f"{builder}: there are no weights of that name; {ship}.{nearest(weights, names)} "
            f"Received: weights={weights!r}"
        )
    return record


def find(builder, weights):
    """Return the `Weights` that a builder's argument means, None for None."""
    if weights is None:
        return None
    if not isinstance(weights, (str, os.PathLike)):
        raise ArgumentError(f"{builder}: `weights` must be a name or a path. Received: weights={weights!r}")
    if str(weights).endswith(".h5"):
        raise ArgumentError(f"{builder}: weights come from a .keras file. Received: weights={str(weights)!r}")
    if str(weights).endswith(".keras") or os.sep in str(weights):
        path = Path(weights)
        if not path.is_file():
            raise ArgumentError(f"{builder}: there is no such weights file. Received: weights={str(weights)!r}")
        info = read_info(path) or ModelInfo()
        if info.builder not in (None, builder):
            raise ArgumentError(f"{builder}: the file holds a {info.builder}. Received: weights={str(weights)!r}")
        fields = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
        return Weights(**{**fields, "builder": builder, "name": str(weights), "path": path})
    return weights_info(builder, weights)


def verified_path(record):
    """Return the path of the weights' file; raise ModelFileError if it is missing or was changed."""
    cure = "Install keras_cnns again"
    if not record.path.is_file():
        raise ModelFileError(record.path, "is missing", f"{cure}.")
    if record.sha256 and hashlib.sha256(record.path.read_bytes()).hexdigest() != record.sha256:
        raise ModelFileError(record.path, "is not the file that shipped (its sha256 differs)", f"{cure}.")
    return record.path


# What a layer computes beside its weights, by its attributes; a pool's padding may differ with the pictures' size
DECIDING = (
    "strides",
    "pool_size",
    "activation",
    "groups",
    "pieces",
    "n",
    "k",
    "alpha",
    "beta",
    "divide_alpha",
    "epsilon",
)


def assign(layers, record, *, top, heads):
    """Set the weights of a network's layers from the record's file, by layer name: all of them, or none.

    The file must hold the same network: each layer as it is here, and none besides, but for the classifier behind a
    network without top, and auxiliary heads.

    Args:
        layers: of the network, those in front of its input tensor left out.
        record: `Weights`.
        top: whether the network has its classifier.
        heads: whether it has auxiliary heads.

    Raises:
        ArgumentError: naming what is missing, left over or another; the layers are unchanged then.
    """
    from keras_cnns._models import main_output

    saved = load_model(verified_path(record))
    if not heads:
        saved = main_output(saved)
    # Inputs have numbers for names; the last activation is the caller's choice, and so is what pools a body
    free = {"avg_pool", "max_pool"}
    given, wanted = (
        {
            layer.name: layer
            for layer in some
            if type(layer).__name__ != "InputLayer"
            and layer.name not in free
            and not layer.name.endswith("predictions")
        }
        for some in (saved.layers, layers)
    )
    pairs, faults = [], []
    for name, layer in wanted.items():
        source = given.pop(name, None)
        if source is None:
            faults.append(f"{name} is not in the file")
        elif [w.shape for w in source.weights] != [w.shape for w in layer.weights]:
            shapes = (" ".join(str(tuple(w.shape)) for w in one.weights) or "nothing" for one in (source, layer))
            faults.append("{}: the file has {}, the network {}".format(name, *shapes))
        elif differences := _differences(source, layer):
            faults.append("{}: the file has {}={}, the network {}".format(name, *differences[0]))
        else:
            pairs.append((layer, source))
    if top:
        faults += [f"{name} is left over" for name in given]
    if faults:
        more = f" and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise ArgumentError(
            f"{record.builder}: the weights do not fit the network: {'; '.join(faults[:4])}{more}. Build it with the "
            f"options and the input size that they were trained with. Received: weights={record.name!r}"
        )
    for layer, source in pairs:
        layer.set_weights(source.get_weights())


def _differences(source, layer):
    """Return (setting, the file's, the network's) of what two layers of one name compute differently."""
    kinds = [type(one).__name__.removeprefix("Ceil") for one in (source, layer)]
    if kinds[0] != kinds[1]:
        return [("kind", *kinds)]
    # Attributes, since get_config would import tensorflow under every backend; a weight may have such a name too
    pairs = ((key, getattr(source, key, None), getattr(layer, key, None)) for key in DECIDING)
    return [(key, a, b) for key, a, b in pairs if not hasattr(b, "path") and a != b]
