"""Trained values onto a network's layers, by name: all of them, or none."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from keras_cnns._models import main_output
from keras_cnns.applications import _imagenet
from keras_cnns.applications._weights import verified_path
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.saving import load_model

# What a layer computes beside its weights, by its attributes; a pool's padding may differ with the images' size
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
# Inputs have numbers for names; the last activation is the caller's choice, and so is what pools a body
FREE = {"avg_pool", "max_pool"}
NAMED = 4  # how many faults of a kind a message names


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a file has for one layer.

    Attributes:
        values: arrays, or a layer's own weights, in its order.
        layer: the layer itself, None where a file holds nothing but weights.
    """

    values: list
    layer: Any = None


def check_reachable(record: Any, top: bool) -> None:
    """Raise ModelFileError if weights are to be fetched and their server does not answer: before anything is built.

    Args:
        record: `Weights`.
        top: whether the network has its classifier.
    """
    if record.path is None:
        _imagenet.check_reachable(record.builder, top)


def assign(layers, record, *, top, heads, fresh=()):
    """Set the weights of a network's layers from those of a record, by layer name: all of them, or none.

    They must be of the same network: each layer as it is here, and none besides, but for the classifier behind a
    network without top, and auxiliary heads. A file that holds nothing but weights tells no more than their shapes.

    Args:
        layers: of the network, those in front of its input tensor left out.
        record: `Weights`.
        top: whether the network has its classifier.
        heads: whether it has auxiliary heads.
        fresh: names of layers that keep their first values where the record has none of their shapes; a warning says
            so.

    Raises:
        ArgumentError: naming what is missing, left over or another; the layers are unchanged then.
        ModelFileError: if the file cannot be read or fetched.
    """
    wanted = {layer.name: layer for layer in layers if _counts(layer)}
    stored = _stored(record, wanted, top=top, heads=heads)
    if all(one.layer is None for one in stored.values()):
        wanted = {name: layer for name, layer in wanted.items() if layer.weights}
    missing = [name for name in wanted if name not in stored]
    left_over = [name for name in stored if name not in wanted] if top else []
    shapes, settings = {}, {}
    for name, layer in wanted.items():
        if name in stored:
            pair = [[tuple(value.shape) for value in some] for some in (stored[name].values, layer.weights)]
            if pair[0] != pair[1]:
                shapes[name] = pair
            elif difference := _difference(stored[name].layer, layer):
                settings[name] = difference
    anew = [name for name in (*shapes, *missing) if name in fresh]
    faults = [
        *_listed("missing there: {}", [name for name in missing if name not in anew]),
        *_listed("left over there: {}", left_over),
        *_listed(
            "of other shapes: {}",
            [f"{name} has {_text(a)}, here {_text(b)}" for name, (a, b) in shapes.items() if name not in anew],
        ),
        *_listed("otherwise set: {}", [f"{name} has {key}={a}, here {b}" for name, (key, a, b) in settings.items()]),
    ]
    if faults:
        raise ArgumentError(
            f"{record.builder}: the weights do not fit the network: {'; '.join(faults)}. Build it with the options, "
            f"the input size and the classes that they were trained with. Received: weights={record.name!r}"
        )
    if anew:
        warnings.warn(
            f"{record.builder}: the weights {record.name!r} have no classifier for these classes: "
            f"{', '.join(anew)} must be trained anew, all other layers have theirs",
            stacklevel=5,
        )
    for name, layer in wanted.items():
        if name not in anew and layer.weights:
            layer.set_weights([np.asarray(value) for value in stored[name].values])


def _counts(layer):
    return type(layer).__name__ != "InputLayer" and layer.name not in FREE and not layer.name.endswith("predictions")


def _listed(form, names):
    """Return [form with the first names in it], [] if there are none."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [form.format(", ".join(names[:NAMED]) + more)] if names else []


def _text(shapes):
    return " ".join(map(str, shapes)) or "nothing"


def _difference(source, layer):
    """Return (setting, the file's, the network's) of what two layers of one name compute differently, else None."""
    if source is None:
        return None
    kinds = [type(one).__name__.removeprefix("Ceil") for one in (source, layer)]
    if kinds[0] != kinds[1]:
        return ("kind", *kinds)
    # Attributes, since get_config would import tensorflow under every backend; a weight may have such a name too
    pairs = ((key, getattr(source, key, None), getattr(layer, key, None)) for key in DECIDING)
    return next(((key, a, b) for key, a, b in pairs if not hasattr(b, "path") and a != b), None)


def _stored(record, wanted, *, top, heads):
    """Return {layer name: `Stored`} of a record's weights; `wanted` are the network's layers by name."""
    if record.path is None:
        values = _imagenet.fetch(record.builder, top)
    elif record.path.suffix == ".h5":
        values = _weights_h5(record.path)
    elif record.path.suffix == ".safetensors":
        values = _safetensors(record.path, wanted)
    else:
        saved = load_model(verified_path(record))
        if not heads:
            saved = main_output(saved)
        return {layer.name: Stored(layer.weights, layer) for layer in saved.layers if _counts(layer)}
    return {name: Stored(arrays) for name, arrays in values.items()}


def _weights_h5(path):
    """Return {layer name: arrays} of what `Model.save_weights` wrote."""
    import h5py
    from ml_dtypes import bfloat16

    cure = "Save them again, with Keras 3.15 or newer: model.save_weights(...)."
    try:
        with h5py.File(path) as file:
            if "layers" not in file:
                raise ModelFileError(path, "holds no weights as Keras 3 saves them", cure)
            found = {}
            for group in file["layers"].values():
                kept = group.get("vars", ())
                if not len(kept):  # of a layer without weights
                    continue
                if "name" not in kept.attrs:
                    raise ModelFileError(path, "does not name its layers, as files of older Keras do not", cure)
                arrays = [kept[str(k)] for k in range(len(kept))]
                found[str(kept.attrs["name"])] = [
                    np.array(one, bfloat16 if one.attrs.get("dtype") == "bfloat16" else None) for one in arrays
                ]
            return found
    except (OSError, KeyError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ModelFileError(path, f"cannot be read as HDF5 ({reason})", "Copy or save it again.") from None


def _safetensors(path, wanted):
    """Return {layer name: arrays} of tensors that are called as Keras calls weights: `conv1/kernel`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(path, f"cannot be read as safetensors ({error})", "Copy or save it again.") from None
    found = {}
    for name, values in tensors.items():
        layer, _, weight = name.rpartition("/")
        found.setdefault(layer, {})[weight] = values
    for name, values in found.items():
        names = [weight.name for weight in wanted[name].weights] if name in wanted else sorted(values)
        if not name or set(values) != set(names):
            whose = f"for the layer {name}, whose weights are {', '.join(names) or 'none'}" if name else "for no layer"
            raise ModelFileError(
                path,
                f"has {', '.join(sorted(values)[:NAMED])} {whose}",
                "Name tensors as Keras does, {weight.path: weight}, as in 'conv1/kernel'.",
            )
        found[name] = [values[key] for key in names]
    return found
