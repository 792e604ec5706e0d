"""Activity of units, and gradients of each layer's weights."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_cnns import _graph, _models
from keras_cnns.analysis import _backward, _classes, _gradients, _outputs
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Images


@dataclasses.dataclass(frozen=True, eq=False)
class UnitActivity:
    """Statistics of the units of one layer over images.

    In a layer that outputs maps, a unit is one channel with all its positions.

    Attributes:
        layer: name of the layer.
        mean: float64 (units,), mean activation.
        maximum: float64 (units,), largest activation.
        zeros: float64 (units,), share of the activations that are 0.
    """

    layer: str
    mean: np.ndarray
    maximum: np.ndarray
    zeros: np.ndarray

    @property
    def dead(self) -> np.ndarray:
        """Numbers of the units that were never above zero, int64."""
        return np.flatnonzero(self.maximum <= 0)

    @property
    def sparsity(self) -> float:
        """Share of all activations that are 0."""
        return float(self.zeros.mean())


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Gradient of the loss with respect to the weights of one layer.

    Attributes:
        layer: name of the layer.
        gradient_norm: Euclidean norm of the gradient with respect to all trainable weights of the layer together.
        weight_norm: norm of these weights.
    """

    layer: str
    gradient_norm: float
    weight_norm: float

    @property
    def ratio(self) -> float:
        """Norm of the gradient over norm of the weights.

        Times the learning rate it is the relative change in one step of SGD.
        """
        return self.gradient_norm / self.weight_norm if self.weight_norm else float("inf")


class _Statistics(NamedTuple):
    """Mean, maximum and share of zeros of each unit, float64 (units,)."""

    mean: np.ndarray
    maximum: np.ndarray
    zeros: np.ndarray


def unit_activity(
    model: keras.Model, images: Images | Iterable[Any], layers: Iterable[str | keras.Layer] | None = None
) -> list[UnitActivity]:
    """Return which units are dead, and how sparse layers are.

    Args:
        model: functional or sequential `keras.Model` from images to one vector per image.
        images: float32 (images, height, width, channels), as the model takes them; or an iterable of such batches,
            each an array or a tuple whose first element is the array, for example a `tf.data.Dataset`. The iterable
            is read once.
        layers: layers, or their names. None: the layers that end with a ReLU, or all layers with weights if the model
            has no ReLU.

    Returns:
        `UnitActivity` per use of a layer, from input to output; a layer used several times has several entries.

    Raises:
        ArgumentError: (a ValueError) if there is no such layer, or no image.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images = np.random.default_rng(0).normal(size=(20, 32, 32, 3))
        >>> activities = analysis.unit_activity(applications.NiN(), images)
        >>> activities[0].layer, activities[0].mean.shape
        ('conv1', (192,))
    """
    model = _outputs.prepare_model(model)
    names = _active_layers(model) if layers is None else {_graph.check_layer(model, layer) for layer in layers}
    sums: dict[int, tuple[str, _Statistics]] = {}  # from the number of a use to its layer and sums over images
    count = 0
    for batch in _outputs.iterate_batches(model, images):
        for number, (name, new) in enumerate(_statistics_of_uses(model, batch, names)):
            if number in sums:
                before = sums[number][1]
            else:
                before = _Statistics(np.zeros(()), np.full((), -np.inf), np.zeros(()))
            sums[number] = (
                name,
                _Statistics(
                    mean=before.mean + len(batch) * new.mean,
                    maximum=np.maximum(before.maximum, new.maximum),
                    zeros=before.zeros + len(batch) * new.zeros,
                ),
            )
        count += len(batch)
    if not count:
        raise ArgumentError("`images` must have an image. Received: none")
    return [UnitActivity(name, total.mean / count, total.maximum, total.zeros / count) for name, total in sums.values()]


def gradient_flow(
    model: keras.Model,
    images: Images,
    labels: Any,
    loss: str | keras.Loss | Callable[..., Any] | None = None,
    training: bool = False,
) -> list[GradientFlow]:
    """Return the norm of the loss's gradient in each layer.

    It shows where gradients vanish or explode. The loss is the mean over the images, without weight decay and without
    auxiliary heads.

    Args:
        model: functional or sequential `keras.Model` from images to one vector per image.
        images: float32 (images, height, width, channels), as the model takes them; one batch, computed at once.
        labels: class numbers (images,); if `loss` is given, whatever it takes.
        loss: a Keras loss, its name, or a function (labels, outputs of the model). None: cross-entropy of the class,
            computed from logits.
        training: False: the network runs as in inference; True: as in a training step, with the batch's statistics
            and dropout. Neither changes the model.

    Returns:
        `GradientFlow` per layer with trainable weights, from input to output.

    Raises:
        ArgumentError: (a ValueError) if a label is not a class, or no layer is trainable.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images, labels = np.random.default_rng(0).normal(size=(2, 32, 32, 1)), np.array([3, 7])
        >>> flows = analysis.gradient_flow(applications.LeNet5(), images, labels)
        >>> [flow.layer for flow in flows]
        ['C1', 'S2', 'C3', 'S4', 'C5', 'F6']
    """
    model = classifiers.two_classes(_models.main_output(model))
    names = {use.name for use in _graph.walk(model)[1]}
    images = _classes.check_images(model, images)
    if loss is None:
        if classifiers.is_multi_label(model):
            raise ArgumentError(
                f"{model.name} ends with several sigmoids, whose loss is not the cross-entropy of one class: pass a "
                "`loss` and what it takes as labels. Received: loss=None"
            )
        labels = _check_labels(labels, len(images), model.outputs[0].shape[-1])
        model = _classes.logits_model(model)
        loss_function: Callable[..., Any] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        loss_function = keras.losses.get(loss)

    def score(outputs: Any) -> Any:
        return ops.mean(loss_function(labels, ops.cast(outputs, "float32")))

    gradients = _gradients.weight_gradients(model, images, score, training)
    gradient_of = {id(v): gradient for v, gradient in zip(model.trainable_variables, gradients, strict=True)}
    flows = []
    for use in _graph.walk(model)[1]:
        variables = getattr(use.operation, "trainable_variables", ()) if use.first else ()
        variables = [v for v in variables if id(v) in gradient_of]
        if variables:
            # The layer that lost its softmax was renamed; report the name that the user knows.
            name = use.name if use.name in names else use.name.removesuffix("_logits")
            gradient_norm = _norm(gradient_of[id(v)] for v in variables)
            flows.append(GradientFlow(name, gradient_norm, _norm(map(_outputs.as_array, variables))))
    if not flows:
        raise ArgumentError(f"`model` must have trainable weights. Received: model={model.name!r}")
    return flows


def _active_layers(model: keras.Model) -> set[str]:
    """Return the layers with a ReLU, otherwise those with weights."""
    uses = _graph.walk(model)[1]
    rectified = {use.name for use in uses if _backward.is_relu(use.operation)}
    return rectified or {use.name for use in uses if getattr(use.operation, "weights", ())}


def _statistics_of_uses(model: keras.Model, images: np.ndarray, names: set[str]) -> list[tuple[str, _Statistics]]:
    """Return name and statistics of each use of the named layers."""
    uses = []

    def note(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
        output = compute()
        if name in names:
            uses.append((name, _statistics(output)))
        return output

    _graph.run(model, ops.convert_to_tensor(images), note)
    return uses


def _statistics(output: Any) -> _Statistics:
    """Return the statistics of an output tensor (images, ..., units)."""
    axes = tuple(range(len(output.shape) - 1))
    zeros = ops.cast(ops.equal(output, 0), "float32")
    output = ops.cast(output, "float32")
    values = ops.mean(output, axes), ops.max(output, axes), ops.mean(zeros, axes)
    mean, maximum, share_of_zeros = (np.asarray(ops.convert_to_numpy(value), "float64") for value in values)
    return _Statistics(mean, maximum, share_of_zeros)


def _check_labels(labels: ArrayLike, count: int, classes: int) -> np.ndarray:
    """Return the class numbers of `count` images as an array (images,).

    Raises:
        ArgumentError: if they are not integers, too many or too few, or not classes.
    """
    numbers = np.asarray(labels)
    valid = numbers.shape == (count,) and numbers.dtype.kind in "iu"
    if not valid or numbers.min() < 0 or numbers.max() >= classes:
        raise ArgumentError(
            f"`labels` must be whole numbers ({count},) from 0 to {classes - 1}, one for each image; for other "
            f"labels pass a `loss`. Received: labels={labels!r}"
        )
    return numbers


def _norm(arrays: Iterable[np.ndarray]) -> float:
    """Return the Euclidean norm of all values of several arrays together."""
    return float(np.sqrt(sum(np.square(array, dtype="float64").sum() for array in arrays)))
