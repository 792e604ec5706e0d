"""Outputs of single layers, computed batch by batch."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree
from numpy.typing import ArrayLike

from keras_cnns import _graph, _models
from keras_cnns.analysis import _classes
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Images

# Called by `_graph.run` for each operation with its name, itself, and a function that computes its outputs
Visitor = Callable[[str, keras.Operation, Callable[[], Any]], Any]


def prepare_model(model: keras.Model) -> keras.Model:
    """Return the model as the analyses need it.

    It is functional and computes in float32. Auxiliary heads are left out, and one sigmoid becomes two classes.

    Args:
        model: functional or sequential `keras.Model`.

    Raises:
        ArgumentError: if the model does not map one batch of images, channels last, to one vector per image.
    """
    model = classifiers.two_classes(_models.main_output(model))
    classifiers.one_image_input(model)
    check_channels_last(model)
    return _models.as_float32(model)


def prepare_model_and_layer(model: keras.Model, layer: str | keras.Layer) -> tuple[keras.Model, str]:
    """Return the model in float32, and the name of the layer.

    Args:
        model: functional or sequential `keras.Model`; its outputs do not matter.
        layer: a layer of it, or its name.

    Raises:
        ArgumentError: if the layer is not in the model or not used exactly once, or channels come first.
    """
    name = check_one_output(model, layer)
    check_channels_last(model)
    return _models.as_float32(model), name


def check_channels_last(model: keras.Model) -> None:
    """Raise ArgumentError if a layer has its channels first."""
    for use in _graph.walk(model)[1]:
        if getattr(use.operation, "data_format", None) == "channels_first":
            raise ArgumentError(
                f"`model` must have its channels last; build it with data_format='channels_last'. "
                f"Received: {use.name} of {model.name} with data_format='channels_first'"
            )


def check_one_output(model: keras.Model, layer: str | keras.Layer) -> str:
    """Return the name of a layer that has exactly one output.

    Args:
        model: functional or sequential `keras.Model`.
        layer: a layer of it, or its name.

    Raises:
        ArgumentError: if the layer is not in the model, is used more than once, or has several outputs.
    """
    name = _graph.check_layer(model, layer)
    outputs = [output for use in _graph.walk(model)[1] if use.name == name for output in use.outputs]
    if len(outputs) != 1:
        raise ArgumentError(
            f"`layer` must be used once and have one output; {name} has {len(outputs)}. Received: layer={layer!r}"
        )
    return name


def check_fill(fill: ArrayLike, channels: int) -> np.ndarray:
    """Return the value of replaced pixels, float32 () or (channels,).

    Args:
        fill: one number, or one per channel, in the normalized values that the model takes.
        channels: number of channels of the images.

    Raises:
        ArgumentError: if the shape is another, or a value is NaN or infinite.
    """
    try:
        values = np.asarray(fill, "float32")
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if values.shape not in ((), (channels,)) or not np.isfinite(values).all():
        raise ArgumentError(f"`fill` must be a number, or one for each channel. Received: fill={fill!r}")
    return values


def iterate_batches(model: keras.Model, images: Any) -> Iterator[Images]:
    """Yield float32 batches (images, height, width, channels).

    Args:
        model: functional `keras.Model`.
        images: an array of all images, which is split; or an iterable of batches, yielded as they come. A batch is
            an array, or a tuple whose first element is that array.

    Raises:
        ArgumentError: if the model does not accept the images.
    """
    if hasattr(images, "shape"):
        images = _classes.check_images(model, images)
        size = _models.batch_size_for(*images.shape[1:3])
        yield from (images[k : k + size] for k in range(0, len(images), size))
    else:
        for batch in images:
            yield _classes.check_images(model, batch[0] if isinstance(batch, tuple) else batch)


def split_into_batches(
    arrays: np.ndarray, batch_size: int | None = None, with_gradients: bool = False
) -> list[np.ndarray]:
    """Return an array (images, ...) in parts of `batch_size`.

    Args:
        arrays: one entry per image. If `batch_size` is None they must be (images, height, width, channels).
        batch_size: images per part. None: chosen by the size of the images.
        with_gradients: whether all activations stay in memory, so that fewer images fit.
    """
    size = choose_batch_size(arrays, batch_size, with_gradients)
    return [arrays[start : start + size] for start in range(0, len(arrays), size)]


def choose_batch_size(images: np.ndarray, batch_size: int | None = None, with_gradients: bool = False) -> int:
    """Return the number of images per batch.

    Args:
        images: array (images, height, width, channels).
        batch_size: returned as it is unless None.
        with_gradients: whether all activations stay in memory, so that fewer images fit.

    Raises:
        ArgumentError: if `batch_size` is not a whole number of at least 1.
    """
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ArgumentError(f"`batch_size` must be a whole number of at least 1. Received: batch_size={batch_size!r}")
    return batch_size or max(1, _models.batch_size_for(*images.shape[1:3]) // (4 if with_gradients else 1))


def layer_outputs(
    model: keras.Model, images: np.ndarray, layers: Collection[str]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return outputs of layers and of the model, float32 arrays.

    Args:
        model: functional `keras.Model`.
        images: one batch, float array (images, height, width, channels), as the model takes them.
        layers: names of layers that `check_one_output` returned.

    Returns:
        A dictionary from layer name to output, and the model's first output.
    """
    outputs = {}

    def keep(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
        output = compute()
        if name in layers:
            outputs[name] = as_array(output)
        return output

    final = _graph.run(model, ops.convert_to_tensor(images, "float32"), keep)
    return outputs, as_array(tree.flatten(final)[0])


def layer_tensor(model: keras.Model, images: Any, name: str, visit: Visitor | None = None) -> Any:
    """Return a layer's output tensor without computing later layers.

    Args:
        model: functional or sequential `keras.Model`.
        images: tensor (images, height, width, channels).
        name: of a layer of the model.
        visit: computes each operation, as in `_graph.run`. None: compute it unchanged.
    """

    class Reached(Exception):
        """Carries the output out of `_graph.run`."""

    def stop(operation_name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
        output = visit(operation_name, operation, compute) if visit else compute()
        if operation_name == name:
            raise Reached(output)
        return output

    try:
        return _graph.run(model, images, stop)
    except Reached as reached:
        return reached.args[0]


def layer_shape(model: keras.Model, name: str, input_shape: Iterable[int] | None = None) -> tuple[int | None, ...]:
    """Return the output shape (batch, ...) of a layer.

    Args:
        model: functional or sequential `keras.Model`.
        name: of a layer of the model.
        input_shape: (height, width, channels) of the images. None: as the model has it.
    """
    shape = None if input_shape is None else tuple(input_shape)
    return next(use.outputs[0].shape for use in _graph.walk(model, shape)[1] if use.name == name)


def first_layer(model: keras.Model) -> str:
    """Return the name of the first layer that has a kernel.

    Args:
        model: functional `keras.Model`.

    Raises:
        ArgumentError: if no layer has a kernel.
    """
    for use in _graph.walk(model)[1]:
        if _has_kernel(use):
            return use.name
    raise ArgumentError(f"{model.name}: no layer has a kernel; name a layer. Received: layer=None")


def last_layer(model: keras.Model) -> str:
    """Return the name of the layer that the logits are computed from.

    Its output is one vector per image. If the logits are computed from maps, as in Network in Network,
    it is the layer that turns maps into vectors.

    Args:
        model: functional `keras.Model`.
    """
    made_by = {id(output): use for use in _graph.walk(model)[1] for output in use.outputs}

    def before(use: _graph.Use) -> _graph.Use | None:
        """Return the use that computed the only input, a vector."""
        maker = made_by.get(id(use.inputs[0])) if len(use.inputs) == 1 else None
        return maker if maker and len(maker.outputs[0].shape) == 2 else None

    use = list(made_by.values())[-1]
    # Skip what follows the logits: a softmax, or the sign of a distance.
    while (maker := before(use)) and not _has_kernel(use):
        use = maker
    use = before(use) or use
    # In inference these layers return their input.
    while (maker := before(use)) and isinstance(use.operation, layers.Dropout | layers.Identity):
        use = maker
    return use.name


def _has_kernel(use: _graph.Use) -> bool:
    """Return whether a layer has a kernel; normalization weights have one dimension."""
    return any(len(weight.shape) > 1 for weight in getattr(use.operation, "weights", ()))


def as_array(tensor: Any) -> np.ndarray:
    """Return a tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
