"""Feature maps, and the images that excite a unit most."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, overload

import keras
import numpy as np
from keras import ops

from keras_cnns.analysis import _classes, _outputs
from keras_cnns.analysis._receptive_field import receptive_field
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Images


@dataclasses.dataclass(frozen=True, eq=False)
class TopActivations:
    """The images that excite a unit most, the strongest first.

    Attributes:
        layer: name of the layer.
        unit: number of the unit; for maps, number of the channel.
        indices: int64 (images,), index of each image among all images searched.
        values: float32 (images,), largest activation of the unit in each image.
        positions: int64 (images, 2), row and column of that activation in the unit's map; (images, 0) for a unit
            without a map.
        boxes: int64 (images, 4): top, left, bottom, right of the part of the image that this position sees, in pixels,
            cut off at the image's edges; bottom and right lie outside. The whole image if the layer has no fixed
            receptive field, as after dense layers.
        images: float32 (images, height, width, channels), the images as the network took them.
    """

    layer: str
    unit: int
    indices: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    boxes: np.ndarray
    images: np.ndarray

    def crop(self, arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
        """Return the part inside its box of each array.

        Args:
            arrays: one array (height, width, ...) per image: the images themselves, or their projections.
        """
        pairs = zip(arrays, self.boxes, strict=True)
        return [array[top:bottom, left:right] for array, (top, left, bottom, right) in pairs]


class _Candidate(NamedTuple):
    """The strongest activation of a unit in one image.

    Attributes:
        value: the activation.
        image_index: index of the image among all images searched.
        position: (row, column) in the unit's map, or ().
        image: float32 (height, width, channels).
    """

    value: float
    image_index: int
    position: tuple[Any, ...]
    image: np.ndarray


@overload
def top_activations(
    model: keras.Model,
    images: Images | Iterable[Any],
    layer: str | keras.Layer,
    unit: int,
    count: int = 9,
    batch_size: int | None = None,
) -> TopActivations: ...


@overload
def top_activations(
    model: keras.Model,
    images: Images | Iterable[Any],
    layer: str | keras.Layer,
    unit: Sequence[int],
    count: int = 9,
    batch_size: int | None = None,
) -> list[TopActivations]: ...


def top_activations(
    model: keras.Model,
    images: Images | Iterable[Any],
    layer: str | keras.Layer,
    unit: int | Sequence[int],
    count: int = 9,
    batch_size: int | None = None,
) -> TopActivations | list[TopActivations]:
    """Return the images that excite a unit most.

    Each image counts once, by the strongest position of the unit's map.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels).
        images: float32 array (images, height, width, channels), as the model takes them; or an iterable of such
            arrays, or of (images, labels), for a dataset that does not fit into memory.
        layer: a layer of the model, or its name ("nested/conv1" in a nested model).
        unit: number of a channel, or of a unit of a dense layer; or a sequence of numbers, searched in one pass.
        count: number of images to return.
        batch_size: images at a time. None: chosen by the size of the images.

    Returns:
        `TopActivations`, or a list of them for a sequence of units. It has fewer than `count` images if there are no
        more. Among equal activations the first image counts, and in it the first position.

    Raises:
        ArgumentError: (a ValueError) if the layer or the unit does not exist, or the images do not fit the model.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, figure 2.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images = np.random.default_rng(0).normal(size=(20, 32, 32, 1))
        >>> analysis.top_activations(applications.LeNet5(), images, "C1", unit=3).indices.shape
        (9,)
    """
    model, name = _outputs.prepare_model_and_layer(model, layer)
    units: list[Any] = [unit] if np.ndim(unit) == 0 else list(unit)  # type: ignore[arg-type]  # a sequence here
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"`count` must be a whole number of at least 1. Received: count={count!r}")
    best: list[list[_Candidate]] = [[] for _ in units]
    seen, shape = 0, None
    parts = _outputs.iterate_batches(model, images)
    for batch in (batch for part in parts for batch in _outputs.split_into_batches(part, batch_size)):
        if shape is None:
            shape = batch.shape[1:]
            units = [check_unit(_outputs.layer_shape(model, name, shape), number, name) for number in units]
        elif batch.shape[1:] != shape:
            raise ArgumentError(f"`images` must all have one size. Received: shapes={shape} and {batch.shape[1:]}")
        maps = _outputs.as_array(ops.take(_outputs.layer_tensor(model, batch, name), np.array(units), axis=-1))
        best = [_strongest(best[k], maps[..., k], batch, seen, count) for k in range(len(units))]
        seen += len(batch)
    if not seen:
        raise ArgumentError("`images` must hold at least one image. Received: none")
    tops = [_to_record(model, name, number, candidates) for number, candidates in zip(units, best, strict=True)]
    return tops[0] if np.ndim(unit) == 0 else tops


def feature_maps(
    model: keras.Model, images: Images, layer: str | keras.Layer, batch_size: int | None = None
) -> np.ndarray:
    """Return the output of a layer for images.

    It is computed in inference and in float32.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels).
        images: float32 array (images, height, width, channels), as the model takes them.
        layer: a layer of the model, or its name ("nested/conv1" in a nested model).
        batch_size: images at a time. None: chosen by the size of the images.

    Returns:
        float32 array (images, height, width, channels) for maps; (images, units) for a dense layer.

    Raises:
        ArgumentError: (a ValueError) if the layer does not exist, or the images do not fit the model.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> analysis.feature_maps(applications.LeNet5(), np.zeros((2, 32, 32, 1)), "C1").shape
        (2, 28, 28, 6)
    """
    model, name = _outputs.prepare_model_and_layer(model, layer)
    batches = _outputs.split_into_batches(_classes.check_images(model, images), batch_size)
    return np.concatenate([_outputs.as_array(_outputs.layer_tensor(model, batch, name)) for batch in batches])


def check_unit(shape: Sequence[int | None], unit: Any, layer: str) -> int:
    """Return the number of a unit of a layer.

    Args:
        shape: output shape (batch, ..., units) of the layer.
        unit: the number to check.
        layer: name of the layer, for the error.

    Raises:
        ArgumentError: if `unit` is not a whole number, or there is no such unit.
    """
    if isinstance(unit, bool) or not isinstance(unit, (int, np.integer)):
        raise ArgumentError(f"`unit` must be a whole number, the channel. Received: unit={unit!r}")
    if not 0 <= unit < (shape[-1] or 0):
        raise ArgumentError(
            f"`unit` must lie between 0 and {(shape[-1] or 0) - 1}, the units of {layer}. Received: unit={unit}"
        )
    return int(unit)


def _strongest(
    before: list[_Candidate], maps: np.ndarray, batch: np.ndarray, seen: int, count: int
) -> list[_Candidate]:
    """Return the strongest candidates of those before and of a batch.

    Args:
        before: candidates of earlier batches, the strongest first.
        maps: the unit's map of each image, (images, ...).
        batch: the images.
        seen: number of images in earlier batches.
        count: most candidates to return.
    """
    sides = maps.shape[1:]
    flat = maps.reshape(len(maps), -1)
    new = [
        _Candidate(flat[n, place], seen + n, np.unravel_index(place, sides) if sides else (), batch[n])
        for n, place in enumerate(flat.argmax(axis=1))
    ]
    # Sorting is stable, so that the first of equal activations wins.
    top = sorted(before + new, key=lambda candidate: -candidate.value)[:count]
    # A view would keep the whole batch of its image in memory.
    return [candidate._replace(image=candidate.image.copy()) for candidate in top]


def _to_record(model: keras.Model, name: str, unit: int, candidates: list[_Candidate]) -> TopActivations:
    positions = np.array([candidate.position for candidate in candidates], "int64").reshape(len(candidates), -1)
    images = np.stack([candidate.image for candidate in candidates])
    return TopActivations(
        layer=name,
        unit=unit,
        indices=np.array([candidate.image_index for candidate in candidates], "int64"),
        values=np.array([candidate.value for candidate in candidates], "float32"),
        positions=positions,
        boxes=_boxes(model, name, positions, images.shape[1:]),
        images=images,
    )


def _boxes(model: keras.Model, name: str, positions: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the box of pixels that each position of a layer sees."""
    sides = np.array(shape[:2])
    try:
        field = receptive_field(model, name, shape)
    except ArgumentError:  # no fixed field; model, layer and size have been checked
        return np.tile([0, 0, *sides], (len(positions), 1))
    first = np.array(field.offset) + positions * field.stride - (np.array(field.size) - 1) / 2
    first = np.rint(first).astype("int64")
    # At least one pixel: a field may lie in the zero padding alone, beyond the image's edge.
    return np.hstack([np.clip(first, 0, sides - 1), np.clip(first + field.size, 1, sides)])
