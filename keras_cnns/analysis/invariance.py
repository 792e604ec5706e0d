"""Invariance: how features change when the image is translated, scaled or rotated."""

import dataclasses
import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Images

TRANSFORMS = ("translation", "scale", "rotation")


@dataclasses.dataclass(frozen=True, eq=False)
class InvarianceCurve:
    """The effect of a transformation on features and class probability, per image.

    Attributes:
        kind: "translation", "scale" or "rotation".
        values: (values,): pixels downwards, factors, or degrees counterclockwise.
        first_layer: name of the first layer compared.
        last_layer: name of the last layer compared.
        first_distance: float32 (images, values), Euclidean distance between the first layer's features of the
            transformed image and of the original.
        last_distance: the same for the last layer.
        first_norm: float32 (images,), norm of the first layer's features of the original. Divide distances by it to
            compare layers of different sizes.
        last_norm: the same for the last layer.
        probability: float32 (images, values), probability of the target class.
        targets: int64 (images,), the target class of each image.
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


def invariance_curve(
    model: keras.Model,
    images: Images,
    kind: str,
    values: Sequence[float] | np.ndarray | None = None,
    target: ArrayLike | None = None,
    first: str | keras.Layer | None = None,
    last: str | keras.Layer | None = None,
    fill: ArrayLike = 0.0,
) -> InvarianceCurve:
    """Return how features and class probability change as images are transformed.

    Args:
        model: functional or sequential `keras.Model` from images to one vector per image; auxiliary heads are ignored.
        images: float32 (images, height, width, channels), as the model takes them.
        kind: "translation", "scale" or "rotation", as in `transform_images`.
        values: amounts of the transformation, in the unit of `transform_images`. None: about those of the paper, shifts
            by up to a quarter of the height (60 of 224 pixels), factors of 1 to 1.8, or a full turn in 15-degree steps.
        target: one class number for all images, or one per image; None: the most probable class of each original.
        first: the first layer whose features are compared, or its name; None: the first with a kernel.
        last: the last layer whose features are compared, or its name; None: the layer whose output vectors the logits
            are computed from. If they are computed from maps, as in Network in Network, it is the layer that outputs
            the logits.
        fill: value of pixels from beyond the edge, one number or one per channel, normalized as the model takes
            pixels.

    Returns:
        `InvarianceCurve`.

    Raises:
        ArgumentError: (a ValueError) if an argument does not fit the model, or the values do not fit the kind.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 4 and figure 5.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images = np.random.default_rng(0).normal(size=(2, 32, 32, 1))
        >>> curve = analysis.invariance_curve(applications.LeNet5(), images, "rotation", [0, 90, 180])
        >>> curve.last_layer, curve.probability.shape
        ('F6', (2, 3))
    """
    model = _outputs.prepare_model(model)
    images = _classes.check_images(model, images)
    steps = _check_values(kind, values, images.shape[1])
    first = _outputs.first_layer(model) if first is None else _outputs.check_one_output(model, first)
    last = _outputs.last_layer(model) if last is None else _outputs.check_one_output(model, last)
    if target is not None:
        target = _classes.resolve_targets(np.empty((len(images), model.outputs[0].shape[-1])), target)
    shape = len(images), len(steps)
    distances = {first: np.empty(shape, "float32"), last: np.empty(shape, "float32")}
    norms = {first: np.empty(len(images), "float32"), last: np.empty(len(images), "float32")}
    probability, targets = np.empty(shape, "float32"), np.empty(len(images), "int64")
    done = 0
    for batch in _outputs.iterate_batches(model, images):
        rows = slice(done, done := done + len(batch))
        originals, outputs = _outputs.layer_outputs(model, batch, (first, last))
        targets[rows] = _classes.resolve_targets(outputs, None if target is None else target[rows])
        for name, features in originals.items():
            norms[name][rows] = _norms(features)
        for k, value in enumerate(steps.tolist()):
            transformed = transform_images(batch, kind, value, fill)
            moved, outputs = _outputs.layer_outputs(model, transformed, (first, last))
            for name, features in moved.items():
                distances[name][rows, k] = _norms(features - originals[name])
            probabilities = classifiers.to_probabilities(model, outputs)
            probability[rows, k] = np.take_along_axis(probabilities, targets[rows, None], 1)[:, 0]
    return InvarianceCurve(
        kind=kind,
        values=steps,
        first_layer=first,
        last_layer=last,
        first_distance=distances[first],
        last_distance=distances[last],
        first_norm=norms[first],
        last_norm=norms[last],
        probability=probability,
        targets=targets,
    )


def transform_images(images: ArrayLike, kind: str, value: float, fill: ArrayLike = 0.0) -> np.ndarray:
    """Return translated, scaled or rotated images.

    A translation moves pixels by whole pixels. Scale and rotation use bilinear interpolation around the center of the
    image, which lies between pixels along an even side. Pixels beyond the edge are `fill`, and the interpolation
    blends the last pixel of the image with it.

    Args:
        images: float array (images, height, width, channels).
        kind: "translation", "scale" or "rotation".
        value: whole pixels downwards; a factor, above 1 for larger objects; or degrees counterclockwise.
        fill: value of pixels from beyond the edge, one number or one per channel.

    Returns:
        float32 array of the same shape.

    Raises:
        ArgumentError: if there is no such kind, or the value does not fit it.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis
        >>> analysis.transform_images(np.arange(4.0).reshape(1, 2, 2, 1), "translation", 1)[0, ..., 0].tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    originals = np.asarray(images, "float32")
    (value,) = _check_values(kind, [value], originals.shape[1]).tolist()
    fill = _outputs.check_fill(fill, originals.shape[3])
    if kind == "translation":
        return _shift_down(originals, int(value), fill)
    if kind == "scale":
        return originals if value == 1 else _affine(originals, 1 / value, 0.0, fill)
    radians = math.radians(value % 360)
    return originals if radians == 0 else _affine(originals, math.cos(radians), math.sin(radians), fill)


def _check_values(kind: str, values: Sequence[float] | np.ndarray | None, height: int) -> np.ndarray:
    """Return the values of a transformation as an array.

    Args:
        kind: of the transformation.
        values: to check; None: the default ones.
        height: of the images, for the default translations.

    Raises:
        ArgumentError: if there is no such kind, or a value does not fit it.
    """
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
    array = np.asarray(values)
    wanted = {"translation": "whole pixels", "scale": "factors above 0", "rotation": "degrees"}[kind]
    fits = array.ndim == 1 and len(array) > 0 and array.dtype.kind in "iuf" and bool(np.isfinite(array).all())
    if fits and kind == "translation":
        fits = bool((array == np.round(array)).all())
        array = array.astype("int64") if fits else array
    if not fits or (kind == "scale" and array.min() <= 0):
        raise ArgumentError(f"`values` must be a list of {wanted} for {kind!r}. Received: values={values!r}")
    return array


def _shift_down(images: np.ndarray, rows: int, fill: np.ndarray) -> np.ndarray:
    """Return images moved down by `rows`, up if negative."""
    moved = np.empty_like(images)
    moved[...] = fill
    height = images.shape[1]
    if abs(rows) < height:
        moved[:, max(rows, 0) : height + min(rows, 0)] = images[:, max(-rows, 0) : height - max(rows, 0)]
    return moved


def _affine(images: np.ndarray, cosine: float, sine: float, fill: np.ndarray) -> np.ndarray:
    """Return images rotated and scaled around their center.

    Measured from the center, the pixel at (x, y) is taken from (cosine x - sine y, sine x + cosine y).
    """
    across, down = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
    matrix = [
        *(cosine, -sine, across - cosine * across + sine * down),
        *(sine, cosine, down - sine * across - cosine * down),
        *(0.0, 0.0),
    ]
    matrices = np.tile(np.array(matrix, "float32"), (len(images), 1))
    # Keras fills all channels with one number, so `fill` is subtracted first and added again after.
    moved = ops.image.affine_transform(
        images - fill, matrices, "bilinear", "constant", 0.0, data_format="channels_last"
    )
    return ops.convert_to_numpy(moved) + fill


def _norms(array: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each image's features, (images,)."""
    return np.linalg.norm(array.reshape(len(array), -1), axis=1)
