"""Loading trained weights into the layers of a network, by layer name."""

import dataclasses
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cnns._models import main_output, output_layers
from keras_cnns.applications import _imagenet
from keras_cnns.applications._arguments import Settings
from keras_cnns.applications._weights import Weights, verified_path
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.saving import load_model

# Attributes that decide, besides the weights, what a layer computes. Padding is not among them: the padding of a pool
# may differ with the size of the images.
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
    "dilation_rate",
    "factor",
    "align_corners",
    "offset",
)
# Layers that may differ from the file's: the caller chooses how maps are pooled without top. `_is_compared` adds the
# input layer, whose name is a number, and the last activation.
FREE = {"avg_pool", "max_pool"}
NAMES_SHOWN = 4  # names of layers or tensors in an error message


@dataclasses.dataclass(frozen=True)
class Stored:
    """What a file holds for one layer.

    Attributes:
        values: arrays, or the saved layer's weights, in the layer's order.
        layer: the saved layer; None where a file holds nothing but weights.
    """

    values: Sequence[Any]
    layer: keras.Layer | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the values."""
        return [tuple(value.shape) for value in self.values]


def load_weights(
    model: keras.Model,
    inputs: keras.KerasTensor,
    settings: Settings,
    *,
    classifier: Collection[str] | None = None,
    optional: Collection[str] = (),
) -> None:
    """Load the weights that a builder's arguments name into its network.

    Args:
        model: the network.
        inputs: the tensor that its first layer takes. Layers before it are the caller's and stay unchanged.
        settings: what the network was built from; without weights nothing is done.
        classifier: names of the layers whose shapes depend on the number of classes. None: the last layers with
            weights.
        optional: as in `assign`.

    Raises:
        ArgumentError: if the weights do not fit the network.
        ModelFileError: if they cannot be read or fetched.
    """
    if settings.weights is None:
        return
    upstream = keras.Model(model.inputs, inputs).layers
    classifier = output_layers(model) if classifier is None else classifier
    assign(
        [layer for layer in model.layers if layer not in upstream],
        settings.weights,
        top=settings.include_top,
        heads=len(model.outputs) > 1,
        replaceable=classifier if settings.include_top and settings.own_classes else (),
        optional=optional,
    )


def assign(
    layers: Iterable[keras.Layer],
    record: Weights,
    *,
    top: bool,
    heads: bool,
    replaceable: Collection[str] = (),
    optional: Collection[str] = (),
) -> None:
    """Set the weights of all layers, or of none.

    The weights must be those of the same network: the file and the network have the same layers with the same settings.
    Only the classifier and auxiliary heads may be left over. If a file holds nothing but weights, only their shapes can
    be compared.

    Args:
        layers: layers of the network, without those before its input tensor.
        record: what is known of the weights.
        top: whether the network has its classifier.
        heads: whether it has auxiliary heads.
        replaceable: names of layers that stay randomly initialized, with a warning, if the file's have other shapes
            or are missing.
        optional: names of layers that may be missing in the file or in the network; those of the network stay as they
            are.

    Raises:
        ArgumentError: naming what is missing, left over or different; the layers are unchanged then.
        ModelFileError: if the file cannot be read or fetched.
    """
    wanted = {layer.name: layer for layer in layers if _is_compared(layer)}
    stored = _stored(record, wanted, top=top, heads=heads)
    if all(entry.layer is None for entry in stored.values()):
        wanted = {name: layer for name, layer in wanted.items() if layer.weights}
    missing = [name for name in wanted if name not in stored and name not in optional]
    left_over = [name for name in stored if name not in wanted and name not in optional] if top else []
    common = {name: layer for name, layer in wanted.items() if name in stored}
    misshapen = [name for name, layer in common.items() if stored[name].shapes != Stored(layer.weights).shapes]
    untrained = [name for name in (*misshapen, *missing) if name in replaceable]

    different_shapes = [
        f"{name} has {_text(stored[name].shapes)}, here {_text(Stored(wanted[name].weights).shapes)}"
        for name in misshapen
        if name not in untrained
    ]
    different_settings = [
        f"{name} has {difference}"
        for name, layer in common.items()
        if name not in misshapen and (difference := _difference(stored[name].layer, layer))
    ]
    faults = [
        *_listed("missing there: {}", [name for name in missing if name not in untrained]),
        *_listed("left over there: {}", left_over),
        *_listed("of other shapes: {}", different_shapes),
        *_listed("otherwise set: {}", different_settings),
    ]
    if faults:
        raise ArgumentError(
            f"{record.builder}: the weights do not fit the network: {'; '.join(faults)}. Build it with the options, "
            f"the input size and the classes that they were trained with. Received: weights={record.name!r}"
        )
    if untrained:
        warnings.warn(
            f"{record.builder}: the weights {record.name!r} have no classifier for these classes: "
            f"{', '.join(untrained)} must be trained from scratch; all other layers are loaded",
            stacklevel=_level_of_caller(),
        )
    for name, layer in common.items():
        if name not in untrained and layer.weights:
            layer.set_weights([np.asarray(value) for value in stored[name].values])


def _level_of_caller():
    """Return the `stacklevel` for a warning at the caller of a builder."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("keras_cnns.applications."):
        level, frame = level + 1, frame.f_back
    return level


def _is_compared(layer):
    """Return whether network and file must agree on a layer."""
    return type(layer).__name__ != "InputLayer" and layer.name not in FREE and not layer.name.endswith("predictions")


def _listed(form, names):
    """Return a list of `form` with names in it, empty without names."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return [form.format(", ".join(names[:NAMES_SHOWN]) + more)] if names else []


def _text(shapes):
    return " ".join(map(str, shapes)) or "nothing"


def _difference(saved, layer):
    """Return the first difference of two layers, such as "k=1.0, here 2.0"."""
    if saved is None:
        return None
    kinds = [type(each).__name__.removeprefix("Ceil") for each in (saved, layer)]
    if kinds[0] != kinds[1]:
        return f"kind={kinds[0]}, here {kinds[1]}"
    # Attributes rather than get_config, which imports tensorflow under every backend.
    for key in DECIDING:
        value, expected = getattr(saved, key, None), getattr(layer, key, None)
        is_weight = hasattr(expected, "path")  # For example `beta` of batch normalization.
        if not is_weight and value != expected:
            return f"{key}={value}, here {expected}"
    return None


def _stored(record: Weights, wanted: Mapping[str, keras.Layer], *, top: bool, heads: bool) -> dict[str, Stored]:
    """Return what a record's file holds for each layer, by layer name.

    Args:
        record: what is known of the weights.
        wanted: layers of the network by name.
        top: whether the network has its classifier.
        heads: whether it has auxiliary heads.
    """
    if record.path is None:
        arrays = _imagenet.fetch(str(record.builder), top, wanted)
    elif record.path.suffix == ".h5":
        arrays = _read_weights_h5(record.path)
    elif record.path.suffix == ".safetensors":
        arrays = _read_safetensors(record.path, wanted)
    else:
        saved = load_model(verified_path(record))
        if not heads:
            saved = main_output(saved)
        return {layer.name: Stored(layer.weights, layer) for layer in saved.layers if _is_compared(layer)}
    return {name: Stored(values) for name, values in arrays.items()}


def _read_weights_h5(path: Path) -> dict[str, list[np.ndarray]]:
    """Return the arrays of each layer in a file of `Model.save_weights`."""
    import h5py

    cure = "Save them again, with Keras 3.15 or newer: model.save_weights(...)."
    try:
        with h5py.File(path) as file:
            if "layers" not in file:
                raise ModelFileError(path, "holds no weights as Keras 3 saves them", cure)
            arrays = {}
            for group in file["layers"].values():
                variables = group.get("vars", ())
                if not len(variables):  # The layer has no weights.
                    continue
                if "name" not in variables.attrs:
                    raise ModelFileError(path, "does not name its layers, as files of older Keras do not", cure)
                name = str(variables.attrs["name"])
                datasets = [variables[str(k)] for k in range(len(variables))]
                # HDF5 can refer to any file on this machine, whose contents would become weights
                if any(data.external or data.is_virtual or data.file.filename != file.filename for data in datasets):
                    fault = f"takes the weights of {name} from another file"
                    raise ModelFileError(path, fault, "Do not use this file.")
                arrays[name] = [_array(data) for data in datasets]
            return arrays
    except (OSError, KeyError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ModelFileError(path, f"cannot be read as HDF5 ({reason})", "Copy or save it again.") from None


def _array(dataset):
    """Return an HDF5 dataset as an array.

    HDF5 has no bfloat16; Keras names that dtype in an attribute.
    """
    from ml_dtypes import bfloat16

    return np.array(dataset, bfloat16 if dataset.attrs.get("dtype") == "bfloat16" else None)


def _read_safetensors(path: Path, wanted: Mapping[str, keras.Layer]) -> dict[str, list[np.ndarray]]:
    """Return the arrays of each layer in a .safetensors file.

    Tensors must be named as Keras names weights, such as `conv1/kernel`.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(path, f"cannot be read as safetensors ({error})", "Copy or save it again.") from None
    tensors_by_layer: dict[str, dict[str, np.ndarray]] = {}
    for name, values in tensors.items():
        layer, _, weight = name.rpartition("/")
        tensors_by_layer.setdefault(layer, {})[weight] = values
    arrays = {}
    for name, weights in tensors_by_layer.items():
        order = [weight.name for weight in wanted[name].weights] if name in wanted else sorted(weights)
        if not name or set(weights) != set(order):
            whose = f"for the layer {name}, whose weights are {', '.join(order) or 'none'}" if name else "for no layer"
            raise ModelFileError(
                path,
                f"has {', '.join(sorted(weights)[:NAMES_SHOWN])} {whose}",
                "Name tensors as Keras does, {weight.path: weight}, as in 'conv1/kernel'.",
            )
        arrays[name] = [weights[key] for key in order]
    return arrays
