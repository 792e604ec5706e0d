"""Class maps: class activation maps, and Grad-CAM for networks without them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree
from numpy.typing import ArrayLike

from keras_cnns import _graph
from keras_cnns._deprecated import renamed
from keras_cnns.analysis import _classes, _global_pool, _gradients, _outputs
from keras_cnns.analysis._receptive_field import ReceptiveField, receptive_field
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Images, Labels, Size


@renamed(on_pictures="on_images", picture_size="image_size")
@dataclasses.dataclass(frozen=True, eq=False)
class ClassMap:
    """The evidence for a class at each position of a layer's maps.

    Attributes:
        maps: float32 (images, rows, columns). The mean of a class activation map plus the bias is the logit. Values of
            Grad-CAM are at least 0 and have no unit.
        targets: int64 (images,), the target class of each image.
        scores: float32 (images,), the logit of the target class.
        bias: float32 (images,), the logit for maps that are 0 everywhere; None for Grad-CAM.
        layer: name of the layer whose maps were used.
        field: receptive field of a position of that layer; None if it is not fixed.
        image_size: (height, width) of the images.
    """

    maps: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    bias: np.ndarray | None
    layer: str
    field: ReceptiveField | None
    image_size: Size

    def on_images(self) -> np.ndarray:
        """Return the maps at the images' size, float32 (images, height, width).

        Each value is placed at the center of its position's receptive field. Between the centers values are
        interpolated linearly; beyond the outermost centers the outermost value is repeated. Without a receptive field
        the positions divide the image evenly.
        """
        field = self.field
        down, right = (
            _interpolation(side, count, None if field is None else (field.offset[axis], field.stride[axis]))
            for axis, (side, count) in enumerate(zip(self.image_size, self.maps.shape[1:], strict=True))
        )
        return (down @ self.maps @ right.T).astype("float32")


def class_activation_map(
    model: keras.Model, images: Images, target: ArrayLike | None = None, batch_size: int | None = None
) -> ClassMap:
    """Return how much each position adds to the logit of a class.

    The network must end with a global average pool, followed only by linear steps: dense layers, 1x1 convolutions,
    batch normalization, dropout, reshaping. These steps are applied to the channels of each position, without the
    bias. The mean of the resulting map plus the bias is exactly the logit. If nothing follows the pool, as in Network
    in Network, the map is the last map of the class.

    Args:
        model: functional or sequential classifier, with or without softmax.
        images: float32 (images, height, width, channels), normalized as the model takes them.
        target: one class number for all images, or one per image; None: the most probable class of each image.
        batch_size: images at a time. None: chosen by the size of the images.

    Returns:
        `ClassMap`.

    Raises:
        ArgumentError: if the model ends differently; use `grad_cam` then.

    Reference:
        B. Zhou, A. Khosla, A. Lapedriza, A. Oliva, A. Torralba: Learning Deep Features for Discriminative
        Localization, CVPR 2016, section 2.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> found = analysis.class_activation_map(applications.NiN(), np.zeros((2, 32, 32, 3)))
        >>> found.maps.shape, found.on_images().shape
        ((2, 8, 8), (2, 32, 32))
    """
    model = classifiers.without_softmax(_outputs.prepare_model(model))
    images = _classes.check_images(model, images)
    asked = _check_targets(model, images, target)
    pool = _global_pool.find_global_pool(model, images.shape[1:])
    maps, targets, scores, biases = [], [], [], []
    for batch in _outputs.split_into_batches(np.arange(len(images)), _outputs.choose_batch_size(images, batch_size)):
        logits, class_bias, by_position = _global_pool.logits_by_position(model, images[batch], pool)
        chosen = logits.argmax(axis=1) if asked is None else asked[batch]
        bias = class_bias[chosen]
        of_class = np.take_along_axis(by_position, chosen[:, None, None, None], axis=3)[..., 0]
        maps.append(of_class - bias[:, None, None])
        targets.append(chosen)
        scores.append(np.take_along_axis(logits, chosen[:, None], axis=1)[:, 0])
        biases.append(bias)
    return ClassMap(
        maps=np.concatenate(maps),
        targets=np.concatenate(targets),
        scores=np.concatenate(scores),
        bias=np.concatenate(biases),
        layer=pool.layer,
        field=_field_or_none(model, pool.layer, images),
        image_size=images.shape[1:3],
    )


def grad_cam(
    model: keras.Model,
    images: Images,
    layer: str | keras.Layer | None = None,
    target: ArrayLike | None = None,
    batch_size: int | None = None,
) -> ClassMap:
    """Return where the maps of a layer are evidence for a class.

    The map is the positive part of the sum of the layer's channels, each weighted by its mean gradient. It works for
    networks with any end. For the layer in front of a global average pool it is the positive part of the class
    activation map, divided by the number of positions.

    Args:
        model: functional or sequential classifier, with or without softmax.
        images: float32 (images, height, width, channels), normalized as the model takes them.
        layer: a layer whose output is maps, or its name. None: the last such layer in front of pools.
        target: one class number for all images, or one per image; None: the most probable class of each image.
        batch_size: images at a time. None: chosen by the size of the images.

    Returns:
        `ClassMap`, whose `bias` is None.

    Raises:
        ArgumentError: if the layer is not in the model, does not output maps, or is used more than once.

    Reference:
        R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra: Grad-CAM: Visual Explanations from Deep
        Networks via Gradient-Based Localization, ICCV 2017, section 3, equations 1 and 2.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> analysis.grad_cam(applications.LeNet5(), np.zeros((2, 32, 32, 1))).layer
        'S4'
    """
    model = _outputs.prepare_model(model)
    images = _classes.check_images(model, images)
    name = last_maps(model, images.shape[1:]) if layer is None else _check_maps_layer(model, layer)
    model = classifiers.without_softmax(model)
    asked = _check_targets(model, images, target)
    size = _outputs.choose_batch_size(images, batch_size, with_gradients=True)
    cams, targets, scores = [], [], []
    for batch in _outputs.split_into_batches(np.arange(len(images)), size):
        logits = _outputs.layer_outputs(model, images[batch], ())[1]
        chosen = logits.argmax(axis=1) if asked is None else asked[batch]
        one_hot = np.eye(logits.shape[1], dtype="float32")[chosen]

        def score(outputs: Any, one_hot: np.ndarray = one_hot) -> Any:
            # One sum serves all images, because no logit depends on another image.
            return ops.sum(tree.flatten(outputs)[0] * one_hot)

        maps, gradient = _gradients.layer_gradients(model, images[batch], [name], score)[name]
        weighted = np.einsum("nhwc,nc->nhw", maps, gradient.mean(axis=(1, 2)))
        cams.append(np.maximum(weighted, 0))
        targets.append(chosen)
        scores.append(np.take_along_axis(logits, chosen[:, None], axis=1)[:, 0])
    return ClassMap(
        maps=np.concatenate(cams),
        targets=np.concatenate(targets),
        scores=np.concatenate(scores),
        bias=None,
        layer=name,
        field=_field_or_none(model, name, images),
        image_size=images.shape[1:3],
    )


def _field_or_none(model: keras.Model, layer: str, images: Images) -> ReceptiveField | None:
    """Return the receptive field of a layer, or None."""
    try:
        return receptive_field(model, layer, images.shape[1:])
    except ArgumentError:
        return None


def _check_targets(model: keras.Model, images: Images, target: ArrayLike | None) -> Labels | None:
    """Return the target class of each image, or None if not given."""
    if target is None:
        return None
    return _classes.resolve_targets(np.broadcast_to(0.0, (len(images), model.outputs[0].shape[-1])), target)


def _interpolation(side: int, count: int, place: tuple[float, float] | None) -> np.ndarray:
    """Return the weights (side, count) of linear interpolation from positions to pixels.

    Args:
        side: number of pixels.
        count: number of positions.
        place: pixel of the first position's center, and pixels from one center to the next. None: the positions
            divide the pixels evenly.
    """
    offset, stride = place or ((side / count - 1) / 2, side / count)
    at = np.clip((np.arange(side) - offset) / stride, 0, count - 1)[:, None]
    return np.maximum(0, 1 - np.abs(at - np.arange(count)))


def last_maps(model: keras.Model, input_shape: Sequence[int]) -> str:
    """Return the last layer that outputs maps, except pools and dropout.

    Args:
        model: functional `keras.Model`.
        input_shape: (height, width, channels) of the images.

    Raises:
        ArgumentError: if there is no such layer.
    """
    uses = _graph.walk(model, input_shape)[1]
    names = [use.name for use in uses]
    for use in reversed(uses):
        shape = use.outputs[0].shape
        if len(shape) != 4 or tuple(shape[1:3]) == (1, 1) or isinstance(use.operation, PASSED_OVER):
            continue
        if isinstance(use.operation, layers.Layer) and names.count(use.name) == 1 and len(use.outputs) == 1:
            return use.name
    raise ArgumentError(f"`model` must have a layer that outputs maps. Received: model={model.name}")


def _check_maps_layer(model: keras.Model, layer: str | keras.Layer) -> str:
    """Return the name of a layer that outputs maps."""
    name = _outputs.check_one_output(model, layer)
    shape = _outputs.layer_shape(model, name)
    if len(shape) != 4:
        raise ArgumentError(
            f"`layer` must output maps, (images, rows, columns, channels); {name} outputs {tuple(shape)}. Name a layer "
            f"in front of it. Received: layer={layer!r}"
        )
    return name


# Layers that `last_maps` skips: they only pool or drop values of the layer before.
PASSED_OVER = (
    *(layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
)
