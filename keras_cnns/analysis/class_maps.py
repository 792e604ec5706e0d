"""Where in an image the evidence for a class is: class activation maps, and Grad-CAM for networks without them."""

import dataclasses

import numpy as np
from keras import activations, layers, ops, tree

from keras_cnns import _graph, _models
from keras_cnns import layers as our_layers
from keras_cnns._deprecated import renamed
from keras_cnns.analysis import _classes, _gradients, _outputs
from keras_cnns.analysis._receptive_field import ReceptiveField, receptive_field
from keras_cnns.analysis.activations import in_batches, size_of_batch
from keras_cnns.errors import ArgumentError


@renamed(on_pictures="on_images", picture_size="image_size")
@dataclasses.dataclass(frozen=True, eq=False)
class ClassMap:
    """The evidence for a class at each position of a layer's maps.

    Attributes:
        maps: float32 (images, rows, columns). Of a class activation map, its mean plus the bias is the logit; of
            Grad-CAM, at least 0, in units of its own.
        targets: int64 (images,), the class that each image is asked about.
        scores: float32 (images,), its logit.
        bias: float32 (images,), the logit of maps that are 0 everywhere; of Grad-CAM None.
        layer: name of the layer whose maps these come from.
        field: what a position of that layer sees; None if that is not fixed.
        image_size: (height, width) of the images.
    """

    maps: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    bias: np.ndarray | None
    layer: str
    field: ReceptiveField | None
    image_size: tuple[int, int]

    def on_images(self):
        """Return the maps at the images' size, float32 (images, height, width).

        Each value goes to the center of what its position sees, and between the centers lines join them; towards the
        edges of the image the outermost values go on. Without a field the positions share the image evenly.
        """
        down, right = (
            _interpolation(side, count, self.field and (self.field.offset[axis], self.field.stride[axis]))
            for axis, (side, count) in enumerate(zip(self.image_size, self.maps.shape[1:], strict=True))
        )
        return (down @ self.maps @ right.T).astype("float32")


def class_activation_map(model, images, target=None, batch_size=None):
    """Return, for a network that ends with a global average pool, what each position adds to the logit of a class.

    Behind the pool there may be linear steps only: dense layers, 1x1 convolutions, batch normalization, dropout,
    reshaping. What they make of a position's channels, without the bias, is that position's value; so the mean of the
    map, plus the bias, is the logit, exactly. In Network in Network, where nothing stands behind the pool, the map is
    the class's own last map.

    Args:
        model: functional or sequential classifier, with or without softmax.
        images: float32 (images, height, width, channels), normalized as the model takes them.
        target: class number for all images, or one for each; None: the most probable one of each.
        batch_size: images at a time. None: many small ones, few large ones.

    Returns:
        `ClassMap`.

    Raises:
        ArgumentError: if the model has another end; `grad_cam` takes it.

    Reference:
        B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba: Learning Deep Features for Discriminative
        Localization, CVPR 2016, section 2.
    """
    model = _models.without_softmax(_outputs.subject(model))
    images = _classes.check_images(model, images)
    asked = _asked(model, images, target)
    pool, source, layer = _global_pool(model, images.shape[1:])
    found = []
    for batch in in_batches(np.arange(len(images)), size_of_batch(images, batch_size)):
        logits, bias, maps = _by_position(model, images[batch], pool, source)
        targets = logits.argmax(axis=1) if asked is None else asked[batch]
        scores = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
        maps = np.take_along_axis(maps, targets[:, None, None, None], axis=3)[..., 0]
        found.append((maps - bias[targets][:, None, None], targets, scores, bias[targets]))
    return _class_map(model, images, layer, *map(np.concatenate, zip(*found, strict=True)))


def grad_cam(model, images, layer=None, target=None, batch_size=None):
    """Return where a layer's maps speak for a class: the positive part of their sum, weighted by their mean gradients.

    Works with any end. Where there are class activation maps, and of the layer in front of the pool, it is the
    positive part of the map, divided by the number of positions.

    Args:
        model: as in `class_activation_map`.
        images: likewise.
        layer: name of a layer that gives maps, or the layer itself. None: the last one that does, in front of pools.
        target: as in `class_activation_map`.
        batch_size: likewise.

    Returns:
        `ClassMap`, with no bias.

    Raises:
        ArgumentError: if the layer is not in the model, does not give maps, or is used more than once.

    Reference:
        R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra: Grad-CAM: Visual Explanations from Deep
        Networks via Gradient-Based Localization, ICCV 2017, section 3, equations 1 and 2.
    """
    model = _outputs.subject(model)
    images = _classes.check_images(model, images)
    layer = last_maps(model, images.shape[1:]) if layer is None else _checked_layer(model, layer)
    model = _models.without_softmax(model)
    asked = _asked(model, images, target)
    found = []
    for batch in in_batches(np.arange(len(images)), size_of_batch(images, batch_size, gradients=True)):
        logits = _outputs.outputs_of(model, images[batch], ())[1]
        targets = logits.argmax(axis=1) if asked is None else asked[batch]
        scores = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
        chosen = np.eye(logits.shape[1], dtype="float32")[targets]

        def score(outputs, chosen=chosen):
            return ops.sum(tree.flatten(outputs)[0] * chosen)  # no image has a part in another one's logit

        maps, gradient = _gradients.layer_gradients(model, images[batch], [layer], score)[layer]
        weighted = np.einsum("nhwc,nc->nhw", maps, gradient.mean(axis=(1, 2)))
        found.append((np.maximum(weighted, 0), targets, scores))
    return _class_map(model, images, layer, *map(np.concatenate, zip(*found, strict=True)), None)


def _class_map(model, images, layer, maps, targets, scores, bias):
    try:
        field = receptive_field(model, layer, images.shape[1:])
    except ArgumentError:  # the layer has none that is fixed
        field = None
    return ClassMap(maps, targets, scores, bias, layer, field, images.shape[1:3])


def _asked(model, images, target):
    """Return the class of each image, None for the most probable ones; raise ArgumentError if there is no such."""
    if target is None:
        return None
    return _classes.targets_of(np.broadcast_to(0.0, (len(images), model.outputs[0].shape[-1])), target)


def _interpolation(side, count, place):
    """Return the weights (side, count) of `count` positions in each of `side` pixels; place: (offset, stride)."""
    offset, stride = place or ((side / count - 1) / 2, side / count)
    at = np.clip((np.arange(side) - offset) / stride, 0, count - 1)[:, None]
    return np.maximum(0, 1 - np.abs(at - np.arange(count)))


def _global_pool(model, input_shape):
    """Return the numbers of the uses that pool a model's last maps and that make them, and the latter's name.

    Uses are numbered as in `_graph.walk`.
    """
    uses = _graph.walk(model, input_shape)[1]
    made_by, makers = {}, []
    for number, use in enumerate(uses):
        makers.append([made_by.get(id(x)) for x in use.inputs])
        made_by |= dict.fromkeys(map(id, use.outputs), number)
    number, fault = len(uses) - 1, "it has no such pool"
    while number is not None and not _is_global_average(uses[number]):
        use = uses[number]
        linear = len(use.inputs) == 1 and _is_linear(use.operation)
        number = makers[number][0] if linear else None
        fault = fault if linear else f"`{use.name}` is neither"
    if number is not None:
        maker = makers[number][0]
        if maker is not None and len(uses[maker].outputs) == 1:
            return number, maker, uses[maker].name
        fault = "no layer stands in front of the pool"
    raise ArgumentError(
        f"a class activation map needs a model that ends with a global average pool of a layer's maps and linear "
        f"steps behind it; {fault}. Use `grad_cam`. Received: model={model.name}"
    )


def _is_global_average(use):
    """Return whether a use of a layer gives the mean of each map."""
    operation, given, out = use.operation, use.inputs[0].shape, use.outputs[0].shape
    if len(use.inputs) != 1 or len(given) != 4:
        return False
    if isinstance(operation, layers.AveragePooling2D):
        return tuple(operation.pool_size) == tuple(given[1:3]) and tuple(out[1:3]) == (1, 1)
    if type(operation).__name__ == "Mean":  # of keras.ops
        axes = operation.axis if isinstance(operation.axis, (tuple, list)) else [operation.axis]
        return None not in axes and {axis % 4 for axis in axes} == {1, 2}
    return isinstance(operation, layers.GlobalAveragePooling2D)


def _is_linear(operation):
    """Return whether what an operation gives in inference is linear in its input, up to a bias."""
    kind = type(operation)
    if kind in LINEAR:
        return getattr(operation, "activation", activations.linear) is activations.linear
    return kind.__module__.startswith("keras.") and kind.__name__ in LINEAR_OPERATIONS


def _by_position(model, images, pool, source):
    """Return logits (images, classes), bias (classes,) and each position's logits (images, rows, columns, classes).

    What stands behind the pool gets, besides the means of the maps, zeros and each position as further images.
    """
    number, maps = -1, None

    def visit(name, operation, compute):
        nonlocal number, maps
        number += 1
        found = compute()
        if number == source:
            (maps,) = tree.flatten(found)
        if number == pool:
            positions = ops.reshape(ops.cast(maps, found.dtype), (-1, *found.shape[1:]))
            found = ops.concatenate([found, ops.zeros_like(found[:1]), positions])
        return found

    (logits,) = tree.flatten(_graph.run(model, ops.convert_to_tensor(images), visit))
    logits, count = _outputs.as_array(logits), len(images)
    return logits[:count], logits[count], logits[count + 1 :].reshape(*maps.shape[:3], -1)


def last_maps(model, input_shape):
    """Return the name of the last layer that gives maps and is no pool."""
    uses = _graph.walk(model, input_shape)[1]
    names = [use.name for use in uses]
    for use in reversed(uses):
        shape = use.outputs[0].shape
        if len(shape) != 4 or tuple(shape[1:3]) == (1, 1) or isinstance(use.operation, PASSED_OVER):
            continue
        if isinstance(use.operation, layers.Layer) and names.count(use.name) == 1 and len(use.outputs) == 1:
            return use.name
    raise ArgumentError(f"`model` must have a layer that gives maps. Received: model={model.name}")


def _checked_layer(model, layer):
    name = _outputs.check_one_output(model, layer)
    shape = next(use.outputs[0].shape for use in _graph.walk(model)[1] if use.name == name)
    if len(shape) != 4:
        raise ArgumentError(
            f"`layer` must give maps, (images, rows, columns, channels); {name} gives {tuple(shape)}. Name a layer "
            f"in front of it. Received: layer={layer!r}"
        )
    return name


# Exactly these classes: what a subclass computes, nobody knows
LINEAR = {
    *(layers.Dense, layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D),
    *(layers.BatchNormalization, our_layers.BatchNormalization, layers.Rescaling, layers.Normalization),
    *(layers.Activation, layers.Identity, layers.Flatten, layers.Reshape),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
}
LINEAR_OPERATIONS = {"Cast", "Identity", "Reshape", "Squeeze"}
PASSED_OVER = (
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
)
