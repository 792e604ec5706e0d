"""Occlusion: predictions for images of which a window is hidden."""

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_cnns._deprecated import renamed
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Images, Size

POSITIONS = 15  # windows along each axis, approximately, if no stride is given


@renamed(on_pictures="on_images", picture_size="image_size")
@dataclasses.dataclass(frozen=True, eq=False)
class OcclusionMap:
    """Predictions with a window of the image hidden, for each place.

    Attributes:
        scores: float32 (images, rows, columns), probability of the target class.
        predictions: int64 (images, rows, columns), the most probable class.
        targets: int64 (images,), the target class of each image.
        unoccluded: float32 (images,), probability of the target class with nothing hidden.
        tops: int64 (rows,), first pixel row of each window.
        lefts: int64 (columns,), first pixel column of each window.
        size: (height, width) of the window, in pixels.
        image_size: (height, width) of the images.
    """

    scores: np.ndarray
    predictions: np.ndarray
    targets: np.ndarray
    unoccluded: np.ndarray
    tops: np.ndarray
    lefts: np.ndarray
    size: Size
    image_size: Size

    def on_images(self) -> np.ndarray:
        """Return the mean score of the windows that hide each pixel.

        Returns:
            float32 (images, height, width); NaN for a pixel that no window hides, which happens only if the stride is
            larger than the window.
        """
        rows, columns = (
            (starts <= np.arange(side)[:, None]) & (np.arange(side)[:, None] < starts + width)
            for starts, width, side in zip((self.tops, self.lefts), self.size, self.image_size, strict=True)
        )
        windows = rows.sum(1)[:, None] * columns.sum(1)
        total = rows.astype("float64") @ self.scores @ columns.T
        return np.where(windows, total / np.maximum(windows, 1), np.nan).astype("float32")


def occlusion_map(
    model: keras.Model,
    images: Images,
    target: ArrayLike | None = None,
    size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: ArrayLike = 0.0,
    batch_size: int = 32,
) -> OcclusionMap:
    """Return predictions with a window of the image hidden at each place.

    Windows lie entirely inside the image: the first at the top left corner, the next ones `stride` pixels further. If
    the last one would end before the edge, another window ends at the edge, so that every pixel is hidden once.

    Args:
        model: functional or sequential classifier, with or without softmax.
        images: float32 (images, height, width, channels), normalized as the model takes them.
        target: one class number for all images, or one per image; None: the most probable class with nothing hidden.
        size: of the window in pixels, one number or (height, width). None: a quarter of the image.
        stride: from window to window in pixels, one number or (down, right). None: about 15 windows along each axis.
        fill: value of hidden pixels, one number or one per channel, normalized as the model takes pixels.
        batch_size: images at a time.

    Returns:
        `OcclusionMap`.

    Raises:
        ArgumentError: if the model is not a classifier of images, or a window does not fit into them.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2, figure 7.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> found = analysis.occlusion_map(applications.LeNet5(), np.zeros((1, 32, 32, 1)), size=8, stride=4)
        >>> found.scores.shape
        (1, 7, 7)
    """
    model = _outputs.prepare_model(model)
    images = _classes.check_images(model, images)
    shape = images.shape[1:3]
    size = _check_pair("size", [max(1, side // 4) for side in shape] if size is None else size, shape)
    if stride is None:
        stride = [max(1, round((side - part) / (POSITIONS - 1))) for side, part in zip(shape, size, strict=True)]
    stride = _check_pair("stride", stride, shape)
    fill = _outputs.check_fill(fill, images.shape[-1])
    tops, lefts = (_window_starts(*axis) for axis in zip(shape, size, stride, strict=True))
    windows = [
        None,  # nothing hidden
        *((slice(top, top + size[0]), slice(left, left + size[1])) for top in tops for left in lefts),
    ]

    def occluded(index: int) -> np.ndarray:
        number, window = divmod(index, len(windows))
        image = images[number].copy()
        if window:
            image[windows[window]] = fill
        return image

    probabilities = _predict(model, occluded, len(images) * len(windows), batch_size)
    probabilities = probabilities.reshape(len(images), len(windows), -1)
    targets = _classes.resolve_targets(probabilities[:, 0], target)
    scores = np.take_along_axis(probabilities, targets[:, None, None], axis=2)[..., 0]
    grid = len(images), len(tops), len(lefts)
    return OcclusionMap(
        scores=scores[:, 1:].reshape(grid),
        predictions=probabilities[:, 1:].argmax(axis=2).reshape(grid),
        targets=targets,
        unoccluded=scores[:, 0],
        tops=tops,
        lefts=lefts,
        size=size,
        image_size=shape,
    )


def _predict(model: keras.Model, image: Callable[[int], np.ndarray], count: int, batch_size: int) -> np.ndarray:
    """Return the probabilities of `count` images, float32 (count, classes).

    Args:
        model: functional classifier.
        image: function from an image's index to the image; only one batch is in memory at a time.
        count: number of images.
        batch_size: images at a time.
    """
    probabilities = []
    for indices in _outputs.split_into_batches(np.arange(count), batch_size):
        # All batches get the same shape, because a graph is compiled for each shape.
        indices = np.pad(indices, (0, min(batch_size, count) - len(indices)), "edge")
        batch = np.stack([image(index) for index in indices])
        probabilities.append(classifiers.to_probabilities(model, model.predict_on_batch(batch)))
    return np.concatenate(probabilities)[:count]


def _window_starts(side: int, size: int, stride: int) -> np.ndarray:
    """Return the first pixel of each window along an axis."""
    starts = list(range(0, side - size + 1, stride))
    return np.array(starts if starts[-1] == side - size else [*starts, side - size])


def _check_pair(name: str, value: int | Sequence[int], image_size: Size) -> Size:
    """Return a number of pixels as (height, width).

    Args:
        name: of the argument, for the error.
        value: one number, or (height, width).
        image_size: the largest allowed values, (height, width).

    Raises:
        ArgumentError: if a number is not whole, below 1, or larger than the image.
    """
    numbers: list[Any] = list(value) if np.ndim(value) else [value, value]  # type: ignore[arg-type]  # a sequence here
    tall, wide = image_size
    try:
        rows, columns = map(operator.index, numbers)
    except (TypeError, ValueError):  # not whole, or not two
        rows, columns = 0, 0
    if not (1 <= rows <= tall and 1 <= columns <= wide):
        raise ArgumentError(
            f"`{name}` must be a whole number of pixels, or two, from 1 to the image's {tall}x{wide}. "
            f"Received: {name}={value!r}"
        )
    return rows, columns
