"""How far features move when the image is shifted, enlarged or rotated."""

import dataclasses
import math

import numpy as np
from keras import ops

from keras_cnns import _models
from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError, nearest

TRANSFORMS = ("translation", "scale", "rotation")


@dataclasses.dataclass(frozen=True, eq=False)
class InvarianceCurve:
    """What a transformation of the image does to features and class, image by image.

    Attributes:
        kind: "translation", "scale" or "rotation".
        values: (values,), pixels downwards, factors, or degrees counterclockwise.
        first_layer, last_layer: names.
        first_distance, last_distance: float32 (images, values), Euclidean, between the features of the transformed
            image and those of the original.
        first_norm, last_norm: float32 (images,), of the original's features: distances of layers of different size
            compare as shares of it.
        probability: float32 (images, values), of the class asked about.
        targets: int64 (images,), that class.
    """

    kind: str
    values: np.ndarray
    first_layer: str
    last_layer: str
    first_distance: np.ndarray
    last_distance: np.ndarray
    first_norm: np.ndarray
    last_norm: np.ndarray
    probability: np.ndarray
    targets: np.ndarray


def invariance_curve(model, images, kind, values=None, target=None, first=None, last=None, fill=0.0):
    """Return how features and the class's probability change as images are shifted, enlarged or rotated.

    Args:
        model: functional or sequential `keras.Model` from images to one vector an image; auxiliary heads do not
            count.
        images: float32 (images, height, width, channels), as the model takes them.
        kind: "translation", "scale" or "rotation", as in `transform_images`.
        values: of the transformation. None: about the paper's: shifts by up to a quarter of the height (60 pixels of
            224 there), factors of 1 to 1.8, angles all around in steps of 15 degrees.
        target: class number, or one for each image; None: the most probable class of each original.
        first: layer whose features are compared; None: the first with a kernel.
        last: likewise; None: the one whose output, a vector, the logits are computed from. Where they come from maps,
            as in Network in Network, the layer that gives the logits.
        fill: what comes in from beyond the edge, one value or one a channel, as the model takes pixels.

    Returns:
        `InvarianceCurve`.

    Raises:
        ArgumentError: (a ValueError) if an argument does not fit the model, or the values the kind.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 4 and figure 5.
    """
    model = _outputs.subject(model)
    images = _classes.check_images(model, images)
    values = _check_values(kind, values, images.shape[1])
    first = _outputs.first_layer(model) if first is None else _outputs.check_one_output(model, first)
    last = _outputs.last_layer(model) if last is None else _outputs.check_one_output(model, last)
    if target is not None:
        target = _classes.targets_of(np.empty((len(images), model.outputs[0].shape[-1])), target)
    shape = len(images), len(values)
    distances = {first: np.empty(shape, "float32"), last: np.empty(shape, "float32")}
    norms = {first: np.empty(len(images), "float32"), last: np.empty(len(images), "float32")}
    probability, targets = np.empty(shape, "float32"), np.empty(len(images), "int64")
    done = 0
    for batch in _outputs.batches(model, images):
        rows = slice(done, done := done + len(batch))
        features, outputs = _outputs.outputs_of(model, batch, (first, last))
        targets[rows] = _classes.targets_of(outputs, None if target is None else target[rows])
        for name, array in features.items():
            norms[name][rows] = _norms(array)
        for k, value in enumerate(values.tolist()):
            moved, outputs = _outputs.outputs_of(model, transform_images(batch, kind, value, fill), (first, last))
            for name, array in moved.items():
                distances[name][rows, k] = _norms(array - features[name])
            found = _models.to_probabilities(model, outputs)
            probability[rows, k] = np.take_along_axis(found, targets[rows, None], 1)[:, 0]
    return InvarianceCurve(
        *(kind, values, first, last),
        *(distances[first], distances[last], norms[first], norms[last], probability, targets),
    )


def transform_images(images, kind, value, fill=0.0):
    """Return images shifted, enlarged or rotated.

    A translation moves every pixel by whole pixels. Scale and rotation take each pixel, by bilinear interpolation, from
    where it was, around the image's middle, which lies between pixels where a side is even; beyond the edge, all
    pixels are `fill`, so that between it and the image there is a slope of one pixel.

    Args:
        images: float array (images, height, width, channels).
        kind: "translation", "scale" or "rotation".
        value: whole pixels downwards; a factor, above 1 for larger objects; or degrees counterclockwise.
        fill: one value or one a channel.

    Returns:
        float32 array of the same shape.

    Raises:
        ArgumentError: if the kind is another, or the value none of its.
    """
    images = np.asarray(images, "float32")
    (value,) = _check_values(kind, [value], images.shape[1]).tolist()
    fill = _outputs.check_fill(fill, images.shape[3])
    if kind == "translation":
        return _shifted(images, value, fill)
    if kind == "scale":
        return images if value == 1 else _affine(images, 1 / value, 0.0, fill)
    radians = math.radians(value % 360)
    return images if radians == 0 else _affine(images, math.cos(radians), math.sin(radians), fill)


def _check_values(kind, values, height):
    """Return the values of a kind, or the default ones, as an array; raise ArgumentError if they are none of its."""
    if kind not in TRANSFORMS:
        raise ArgumentError(
            f"`kind` must be one of {', '.join(TRANSFORMS)}.{nearest(kind, TRANSFORMS)} Received: kind={kind!r}"
        )
    if values is None:
        reach = max(height // 4, 1)
        return {
            "translation": np.arange(-reach, reach + 1, max(reach // 8, 1)),
            "scale": np.linspace(1.0, 1.8, 9),
            "rotation": np.arange(0.0, 361.0, 15.0),
        }[kind]
    found = np.asarray(values)
    wanted = {"translation": "whole pixels", "scale": "factors above 0", "rotation": "degrees"}[kind]
    fits = found.ndim == 1 and len(found) and found.dtype.kind in "iuf" and np.isfinite(found).all()
    if fits and kind == "translation":
        fits = (found == np.round(found)).all()
        found = found.astype("int64") if fits else found
    if not fits or (kind == "scale" and found.min() <= 0):
        raise ArgumentError(f"`values` must be a list of {wanted} for {kind!r}. Received: values={values!r}")
    return found


def _shifted(images, rows, fill):
    """Return images moved down by so many rows."""
    moved = np.empty_like(images)
    moved[...] = fill
    height = images.shape[1]
    if abs(rows) < height:
        moved[:, max(rows, 0) : height + min(rows, 0)] = images[:, max(-rows, 0) : height - max(rows, 0)]
    return moved


def _affine(images, cosine, sine, fill):
    """Return images whose pixel at (x, y) from the middle comes from (cosine x - sine y, sine x + cosine y) there."""
    across, down = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
    matrix = [
        *(cosine, -sine, across - cosine * across + sine * down),
        *(sine, cosine, down - sine * across - cosine * down),
        *(0.0, 0.0),
    ]
    matrices = np.tile(np.array(matrix, "float32"), (len(images), 1))
    # Keras takes one value for all channels
    moved = ops.image.affine_transform(
        images - fill, matrices, "bilinear", "constant", 0.0, data_format="channels_last"
    )
    return ops.convert_to_numpy(moved) + fill


def _norms(array):
    return np.linalg.norm(array.reshape(len(array), -1), axis=1)
