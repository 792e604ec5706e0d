"""What a network makes of an image of which a part is hidden."""

import dataclasses
import operator

import numpy as np

from keras_cnns import _models
from keras_cnns._deprecated import renamed
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.analysis.activations import in_batches
from keras_cnns.errors import ArgumentError

POSITIONS = 15  # along each axis, about, unless a stride is asked for


@renamed(on_pictures="on_images", picture_size="image_size")
@dataclasses.dataclass(frozen=True, eq=False)
class OcclusionMap:
    """What a network makes of images with a window hidden, for each place of the window.

    Attributes:
        scores: float32 (images, rows, columns), probability of the class that the image is asked about.
        predictions: int64 (images, rows, columns), the most probable class.
        targets: int64 (images,), the class that each image is asked about.
        unoccluded: float32 (images,), its probability with nothing hidden.
        tops: int64 (rows,), first pixel row of each window.
        lefts: int64 (columns,), first pixel column of each.
        size: (height, width) of the window, in pixels.
        image_size: (height, width) of the images.
    """

    scores: np.ndarray
    predictions: np.ndarray
    targets: np.ndarray
    unoccluded: np.ndarray
    tops: np.ndarray
    lefts: np.ndarray
    size: tuple[int, int]
    image_size: tuple[int, int]

    def on_images(self):
        """Return, for each pixel, the mean score of the windows that hide it, float32 (images, height, width).

        NaN where none does, which is so only between windows whose stride is larger than they are.
        """
        rows, columns = (
            (starts <= np.arange(side)[:, None]) & (np.arange(side)[:, None] < starts + width)
            for starts, width, side in zip((self.tops, self.lefts), self.size, self.image_size, strict=True)
        )
        windows = rows.sum(1)[:, None] * columns.sum(1)
        total = rows.astype("float64") @ self.scores @ columns.T
        return np.where(windows, total / np.maximum(windows, 1), np.nan).astype("float32")


def occlusion_map(model, images, target=None, size=None, stride=None, fill=0.0, batch_size=32):
    """Return the probability of a class, and the predicted class, with a window of the image hidden, place by place.

    Windows lie inside the image as a whole: the first at its top left corner, the others `stride` further each; if
    the last one would end before the edge, one more ends there, so that every pixel is hidden by some window.

    Args:
        model: functional or sequential classifier, with or without softmax.
        images: float32 (images, height, width, channels), normalized as the model takes them.
        target: class number for all images, or one for each; None: the most probable one of each, nothing hidden.
        size: of the window, in pixels; a number, or (height, width). None: a quarter of the image.
        stride: from window to window, in pixels; a number, or (down, right). None: what gives about 15 along each axis.
        fill: what hidden pixels become, in the normalized values that the model takes: a number, or one a channel.
        batch_size: images at a time.

    Returns:
        `OcclusionMap`.

    Raises:
        ArgumentError: if the model is no classifier of images, or a window does not fit into them.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4.2, figure 7.
    """
    model = _outputs.subject(model)
    images = _classes.check_images(model, images)
    shape = images.shape[1:3]
    size = _pair("size", [max(1, side // 4) for side in shape] if size is None else size, shape)
    if stride is None:
        stride = [max(1, round((side - part) / (POSITIONS - 1))) for side, part in zip(shape, size, strict=True)]
    stride = _pair("stride", stride, shape)
    fill = _outputs.check_fill(fill, images.shape[-1])
    tops, lefts = (_starts(*axis) for axis in zip(shape, size, stride, strict=True))
    windows = [
        None,  # nothing hidden
        *((slice(top, top + size[0]), slice(left, left + size[1])) for top in tops for left in lefts),
    ]

    def hidden(place):
        number, window = divmod(place, len(windows))
        image = images[number].copy()
        if window:
            image[windows[window]] = fill
        return image

    found = _predict(model, hidden, len(images) * len(windows), batch_size)
    found = found.reshape(len(images), len(windows), -1)
    targets = _classes.targets_of(found[:, 0], target)
    scores = np.take_along_axis(found, targets[:, None, None], axis=2)[..., 0]
    grid = len(images), len(tops), len(lefts)
    predictions = found[:, 1:].argmax(axis=2).reshape(grid)
    return OcclusionMap(scores[:, 1:].reshape(grid), predictions, targets, scores[:, 0], tops, lefts, size, shape)


def _predict(model, image, count, batch_size):
    """Return the probabilities of so many images; `image(k)` gives the one of number k."""
    found = []
    for numbers in in_batches(np.arange(count), batch_size):
        # Batches of one shape, the last filled up, because a graph is compiled for each
        numbers = np.pad(numbers, (0, min(batch_size, count) - len(numbers)), "edge")
        batch = np.stack([image(number) for number in numbers])
        found.append(_models.to_probabilities(model, model.predict_on_batch(batch)))
    return np.concatenate(found)[:count]


def _starts(side, size, stride):
    starts = list(range(0, side - size + 1, stride))
    return np.array(starts if starts[-1] == side - size else [*starts, side - size])


def _pair(name, value, most):
    """Return a number of pixels, or two of them, as two; raise ArgumentError if one is not within the image."""
    try:
        pair = tuple(operator.index(one) for one in (value if np.ndim(value) else (value, value)))
    except TypeError:
        pair = ()
    if len(pair) != 2 or not all(1 <= one <= side for one, side in zip(pair, most, strict=True)):
        raise ArgumentError(
            f"`{name}` must be a whole number of pixels, or two, from 1 to the image's {most[0]}x{most[1]}. "
            f"Received: {name}={value!r}"
        )
    return pair
