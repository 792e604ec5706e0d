"""What the units of a layer say to images: their maps, and the images that excite them most."""

import dataclasses

import numpy as np
from keras import ops

from keras_cnns import _graph, _models
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.analysis._receptive_field import receptive_field
from keras_cnns.errors import ArgumentError


@dataclasses.dataclass(frozen=True, eq=False)
class TopActivations:
    """The images that excite a unit most, the strongest first.

    Attributes:
        layer: the layer's name.
        unit: number of the unit: of a map the channel.
        indices: int64 (images,), where each image stood among all.
        values: float32 (images,), the largest activation of the unit in each.
        positions: int64 (images, 2), row and column of it in the unit's map; of a unit without a map (images, 0).
        boxes: int64 (images, 4), top, left, bottom, right of the pixels that this position sees, in pixels of the
            image and cut off at its edges; bottom and right are the first outside. The whole image where the
            layer has no fixed field, as behind dense layers.
        images: float32 (images, height, width, channels), the images as the network took them.
    """

    layer: str
    unit: int
    indices: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    boxes: np.ndarray
    images: np.ndarray

    def crop(self, arrays):
        """Return, of each array like an image, what is inside the image's box: a list of arrays.

        Args:
            arrays: (images, height, width, ...), the images themselves or their projections.
        """
        pairs = zip(arrays, self.boxes, strict=True)
        return [array[top:bottom, left:right] for array, (top, left, bottom, right) in pairs]


def top_activations(model, images, layer, unit, count=9, batch_size=None):
    """Return the images that excite a unit most, each counted once, by its strongest position.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels).
        images: float32 array (images, height, width, channels), as the model takes them; or an iterable of such
            arrays, or of (images, labels), so that a data set need not fit into memory.
        layer: name of a layer of the model, "nested/conv1" in a nested model, or the layer itself.
        unit: number of a channel, or of a unit of a dense layer; or a sequence of such, found in one pass.
        count: images wanted.
        batch_size: images at a time. None: many small ones, few large ones.

    Returns:
        `TopActivations`, with fewer images if there are no more; a list of them for a sequence of units. Of equal
        activations the first image, and in it the first position, counts.

    Raises:
        ArgumentError: (a ValueError) if the layer or the unit does not exist, or the images do not fit the model.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, figure 2.
    """
    model, name = check_model(model, layer)
    units = [unit] if np.ndim(unit) == 0 else list(unit)
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"`count` must be a whole number of at least 1. Received: count={count!r}")
    best, seen, shape = [[] for _ in units], 0, None
    parts = _outputs.batches(model, images)
    for batch in (part for images in parts for part in in_batches(images, batch_size)):
        if shape is None:
            shape = batch.shape[1:]
            units = [check_unit(layer_shape(model, name, shape), one, name) for one in units]
        elif batch.shape[1:] != shape:
            raise ArgumentError(f"`images` must all have one size. Received: shapes={shape} and {batch.shape[1:]}")
        maps = _outputs.as_array(ops.take(output_of(model, batch, name), np.array(units), axis=-1))
        for k, kept in enumerate(best):
            places = maps.shape[1:-1]
            flat = maps[..., k].reshape(len(batch), -1)
            strongest = flat.argmax(axis=1)
            found = [
                (flat[n, place], seen + n, np.unravel_index(place, places) if places else (), batch[n])
                for n, place in enumerate(strongest)
            ]
            # Stable: of equal ones the first. A copy, or each image would keep its whole batch in memory
            top = sorted(kept + found, key=lambda row: -row[0])[:count]
            best[k] = [(value, index, place, image.copy()) for value, index, place, image in top]
        seen += len(batch)
    if not seen:
        raise ArgumentError("`images` must hold at least one image. Received: none")
    found = [_top(model, name, one, rows) for one, rows in zip(units, best, strict=True)]
    return found[0] if np.ndim(unit) == 0 else found


def feature_maps(model, images, layer, batch_size=None):
    """Return what a layer gives for images, in inference and in float32.

    Args:
        model, layer, batch_size: as in `top_activations`.
        images: float32 array (images, height, width, channels), as the model takes them.

    Returns:
        float32 array (images, height, width, channels) of maps; of a dense layer (images, units).

    Raises:
        ArgumentError: (a ValueError) if the layer does not exist, or the images do not fit the model.
    """
    model, name = check_model(model, layer)
    batches = in_batches(_classes.check_images(model, images), batch_size)
    return np.concatenate([_outputs.as_array(output_of(model, batch, name)) for batch in batches])


def check_model(model, layer):
    """Return (the model in float32, the layer's name); raise ArgumentError if there is nothing to look at."""
    name = _outputs.check_one_output(model, layer)
    _outputs.check_channels_last(model)
    return _models.as_float32(model), name


def check_unit(shape, unit, layer):
    """Return the number of a unit of an output shape (batch, ..., units); raise ArgumentError if there is none."""
    if isinstance(unit, bool) or not isinstance(unit, (int, np.integer)):
        raise ArgumentError(f"`unit` must be a whole number, the channel. Received: unit={unit!r}")
    if not 0 <= unit < shape[-1]:
        raise ArgumentError(
            f"`unit` must lie between 0 and {shape[-1] - 1}, the units of {layer}. Received: unit={unit}"
        )
    return int(unit)


def layer_shape(model, name, input_shape):
    """Return the shape (batch, ...) that a layer gives for images of a shape (height, width, channels)."""
    return next(use.outputs[0].shape for use in _graph.walk(model, tuple(input_shape))[1] if use.name == name)


def output_of(model, images, name, visit=None):
    """Return the tensor that a layer gives; what lies behind it is not computed.

    Args:
        model: as in `_graph.run`, likewise `images`.
        name: of a layer of the model.
        visit: as in `_graph.run`. None: compute each operation as it is.
    """

    class Reached(Exception):
        pass

    def stop(operation_name, operation, compute):
        found = visit(operation_name, operation, compute) if visit else compute()
        if operation_name == name:
            raise Reached(found)
        return found

    try:
        _graph.run(model, images, stop)
    except Reached as reached:
        return reached.args[0]


def in_batches(arrays, batch_size=None, gradients=False):
    """Return parts of an array (images, ...), `batch_size` at a time; of None: as many as memory likes.

    Args:
        arrays: of images (images, height, width, channels), if `batch_size` is None.
        batch_size: images at a time.
        gradients: whether all activations are kept for them, so that fewer images fit.
    """
    size = size_of_batch(arrays, batch_size, gradients)
    return [arrays[start : start + size] for start in range(0, len(arrays), size)]


def size_of_batch(images, batch_size=None, gradients=False):
    """Return how many images to take at a time, as `in_batches` does."""
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ArgumentError(f"`batch_size` must be a whole number of at least 1. Received: batch_size={batch_size!r}")
    return batch_size or max(1, _models.batch_size_for(*images.shape[1:3]) // (4 if gradients else 1))


def _top(model, name, unit, rows):
    values, indices, positions, images = zip(*rows, strict=True)
    positions = np.array(positions, "int64").reshape(len(rows), -1)
    images = np.stack(images)
    return TopActivations(
        name,
        unit,
        np.array(indices, "int64"),
        np.array(values, "float32"),
        positions,
        _boxes(model, name, positions, images.shape[1:]),
        images,
    )


def _boxes(model, name, positions, shape):
    """Return top, left, bottom, right of what each position of a layer sees, inside images of a shape."""
    sides = np.array(shape[:2])
    try:
        field = receptive_field(model, name, shape)
    except ArgumentError:  # none that is fixed: model, layer and size are checked
        return np.tile([0, 0, *sides], (len(positions), 1))
    first = np.array(field.offset) + positions * field.stride - (np.array(field.size) - 1) / 2
    first = np.rint(first).astype("int64")
    # At least one pixel, where zero padding lies between a field and the image
    return np.hstack([np.clip(first, 0, sides - 1), np.clip(first + field.size, 1, sides)])
