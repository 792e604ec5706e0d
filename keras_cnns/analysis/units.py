"""What the units of a network do: how often they are silent, and how much of the gradient reaches their weights."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_cnns import _graph, _models
from keras_cnns.analysis import _backward, _classes, _gradients, _outputs
from keras_cnns.errors import ArgumentError


@dataclasses.dataclass(frozen=True, eq=False)
class UnitActivity:
    """What the units of one layer gave for images; a unit of maps is a channel, at all positions.

    Attributes:
        layer: name.
        mean: float64 (units,).
        maximum: float64 (units,).
        zeros: float64 (units,), share of the values that are 0.
    """

    layer: str
    mean: np.ndarray
    maximum: np.ndarray
    zeros: np.ndarray

    @property
    def dead(self):
        """Numbers of the units that were never above zero, int64."""
        return np.flatnonzero(self.maximum <= 0)

    @property
    def sparsity(self):
        """Share of all values that are 0."""
        return float(self.zeros.mean())


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """How much of the loss's gradient reaches the weights of one layer.

    Attributes:
        layer: name.
        gradient_norm: Euclidean norm of the gradient with respect to all trainable weights of the layer together.
        weight_norm: norm of these weights.
    """

    layer: str
    gradient_norm: float
    weight_norm: float

    @property
    def ratio(self):
        """The gradient's norm as a share of the weights': with a learning rate before it, the relative step of SGD."""
        return self.gradient_norm / self.weight_norm if self.weight_norm else float("inf")


def unit_activity(model, images, layers=None):
    """Return what the units of layers give for images: which are dead, and how sparse they are.

    Args:
        model: functional or sequential `keras.Model` from images to one vector an image.
        images: float32 (images, height, width, channels), as the model takes them; or an iterable of such batches,
            read once, each an array or a tuple whose first one is it, as a `tf.data.Dataset` gives them.
        layers: names of layers or layers. None: those that end with a ReLU, or where the model has none all with
            weights.

    Returns:
        A list of `UnitActivity` from input to output; of a layer that is used several times, one for each use.

    Raises:
        ArgumentError: (a ValueError) if there is no such layer, or no image.
    """
    model = _outputs.subject(model)
    names = _active_layers(model) if layers is None else {_graph.check_layer(model, layer) for layer in layers}
    sums, count = {}, 0

    def note(name, operation, compute):
        output = compute()
        if name in names:
            uses.append((name, _totals(output)))
        return output

    for batch in _outputs.batches(model, images):
        uses = []
        _graph.run(model, ops.convert_to_tensor(batch), note)
        for k, (name, (mean, maximum, zeros)) in enumerate(uses):
            _, *before = sums.get(k, (name, 0.0, -np.inf, 0.0))
            weight = len(batch)
            sums[k] = name, before[0] + weight * mean, np.maximum(before[1], maximum), before[2] + weight * zeros
        count += len(batch)
    if not count:
        raise ArgumentError("`images` must have an image. Received: none")
    return [UnitActivity(name, mean / count, maximum, zeros / count) for name, mean, maximum, zeros in sums.values()]


def gradient_flow(model, images, labels, loss=None, training=False):
    """Return the norm of the loss's gradient in each layer, to see where it vanishes or explodes.

    The loss is the mean over the images; penalties of weight decay and auxiliary heads do not count.

    Args:
        model: functional or sequential `keras.Model` from images to one vector an image.
        images: float32 (images, height, width, channels), as the model takes them; one batch, computed at once.
        labels: class numbers (images,); with `loss` what it takes.
        loss: a Keras loss, its name or a function (labels, what the model gives). None: cross-entropy of the class,
            from logits.
        training: False: as the network predicts; True: as in a step of training, with the batch's own statistics and
            dropout. Neither changes the model.

    Returns:
        A list of `GradientFlow` from input to output, one for each layer with trainable weights.

    Raises:
        ArgumentError: (a ValueError) if a label is no class, or no layer can be trained.
    """
    model = _models.two_classes(_models.main_output(model))
    names = {use.name for use in _graph.walk(model)[1]}
    images = _classes.check_images(model, images)
    if loss is None:
        if _models.is_multi_label(model):
            raise ArgumentError(
                f"{model.name} ends with several sigmoids, whose loss is not the cross-entropy of one class: pass a "
                "`loss` and what it takes as labels. Received: loss=None"
            )
        labels = _check_labels(labels, len(images), model.outputs[0].shape[-1])
        model = _classes.classifier(model)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        loss = keras.losses.get(loss)
    found = _gradients.weight_gradients(
        model, images, lambda outputs: ops.mean(loss(labels, ops.cast(outputs, "float32"))), training
    )
    gradient_of = {id(v): gradient for v, gradient in zip(model.trainable_variables, found, strict=True)}
    flows = []
    for use in _graph.walk(model)[1]:
        own = [v for v in getattr(use.operation, "trainable_variables", ()) if use.first and id(v) in gradient_of]
        if own:
            name = use.name if use.name in names else use.name.removesuffix("_logits")  # renamed without its softmax
            flows.append(GradientFlow(name, _norm(gradient_of[id(v)] for v in own), _norm(map(_outputs.as_array, own))))
    if not flows:
        raise ArgumentError(f"`model` must have trainable weights. Received: model={model.name!r}")
    return flows


def _active_layers(model):
    uses = _graph.walk(model)[1]
    rectified = {use.name for use in uses if _backward.is_relu(use.operation)}
    return rectified or {use.name for use in uses if getattr(use.operation, "weights", ())}


def _totals(output):
    """Return mean, maximum and share of zeros of each unit, float64 (units,)."""
    axes = tuple(range(len(output.shape) - 1))
    zeros = ops.cast(ops.equal(output, 0), "float32")
    output = ops.cast(output, "float32")
    found = ops.mean(output, axes), ops.max(output, axes), ops.mean(zeros, axes)
    return [np.asarray(ops.convert_to_numpy(one), "float64") for one in found]


def _check_labels(labels, count, classes):
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= classes:
        raise ArgumentError(
            f"`labels` must be whole numbers ({count},) from 0 to {classes - 1}, one for each image; for other "
            f"labels pass a `loss`. Received: labels={labels!r}"
        )
    return found


def _norm(arrays):
    return float(np.sqrt(sum(np.square(array, dtype="float64").sum() for array in arrays)))
