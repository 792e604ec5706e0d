"""What part of the image each position of a map sees."""

import dataclasses

from keras import layers

from keras_cnns import _graph
from keras_cnns import layers as our_layers
from keras_cnns.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one position of a map sees; each value is (height, width), in pixels.

    Attributes:
        size: of the field, beyond the image's edge too.
        stride: from the field of one position to that of the next.
        offset: center of the first position's field; the center of the first pixel is 0.
    """

    size: tuple[int, int]
    stride: tuple[int, int]
    offset: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Position p of a map sees the pixels from p * stride + first to p * stride + last."""

    stride: int = 1
    first: int = 0
    last: int = 0

    def through(self, size, stride, before):
        """Return what the outputs of a window see: `size` positions, `before` of them in front of the stride's."""
        return _Axis(
            self.stride * stride,
            self.first - self.stride * before,
            self.last + self.stride * (size - 1 - before),
        )


class _NoField(Exception):
    """Why a layer has no fixed field; the text follows "behind `layer` "."""


def receptive_field(model, layer, input_shape=None):
    """Return the part of the input that one output position of a layer sees.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels).
        layer: name of a layer of it, "nested/conv1" in a nested model, or the layer itself.
        input_shape: (height, width, channels), where the model leaves the size open and padding depends on it.

    Returns:
        `ReceptiveField`; where branches meet, the smallest that holds the fields of all. A layer used several times:
        likewise of all its uses.

    Raises:
        ArgumentError: (a ValueError) if the layer is not in the model, or has no fixed field: behind dense layers,
            global pools, resizing and the like.

    Reference:
        A. Araujo, W. Norris, J. Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill, 2019.
    """
    name = _graph.check_layer(model, layer)
    found = [field for use, field in _fields_of_uses(model, input_shape) if use.name == name]
    try:
        return _public(_union(found))
    except _NoField as reason:
        raise ArgumentError(f"`{name}` has no fixed field: {reason}. Received: layer={name!r}") from None


def receptive_fields(model, input_shape=None):
    """Return the field of every row of `account(model, input_shape)`.

    Args:
        model: as in `receptive_field`.
        input_shape: likewise.

    Returns:
        A list of `ReceptiveField`, None where a layer has no fixed field.

    Raises:
        ArgumentError: if the model does not take one batch of images.
    """
    fields = [field for _, field in _fields_of_uses(model, input_shape)]
    return [None if isinstance(field, _NoField) else _public(field) for field in fields]


def _public(axes):
    return ReceptiveField(
        size=tuple(axis.last - axis.first + 1 for axis in axes),
        stride=tuple(axis.stride for axis in axes),
        offset=tuple((axis.first + axis.last) / 2 for axis in axes),
    )


def _fields_of_uses(model, input_shape):
    """Return (use, field) of every use of a layer; a field is two `_Axis`, or the `_NoField` of its reason."""
    inputs, uses = _graph.walk(model, input_shape)
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ArgumentError(
            f"`model` must take one batch of images, (batch, height, width, channels). "
            f"Received: inputs={[tuple(x.shape) for x in inputs]}"
        )
    known = {id(inputs[0]): (_Axis(), _Axis())}
    fields = []
    for use in uses:
        try:
            field = _through(use, _union([known[id(x)] for x in use.inputs]))
        except _NoField as reason:
            field = reason
        known |= dict.fromkeys(map(id, use.outputs), field)
        fields.append((use, field))
    return fields


def _union(fields):
    """Return the smallest field that holds all."""
    for field in fields:
        if isinstance(field, _NoField):
            raise field
    joined = []
    for axes in zip(*fields, strict=True):
        if len({axis.stride for axis in axes}) > 1:
            raise _NoField("maps of different strides meet")
        joined.append(_Axis(axes[0].stride, min(a.first for a in axes), max(a.last for a in axes)))
    return tuple(joined)


def _through(use, axes):
    """Return what the outputs of a layer see, when its inputs see `axes`."""
    layer = use.operation
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise _NoField(f"`{use.name}` has its channels first")
    if len(use.inputs[0].shape) != 4 or len(use.outputs[0].shape) != 4:
        raise _NoField(f"behind `{use.name}` every unit sees the whole image")
    if isinstance(layer, layers.Concatenate) and layer.axis not in (-1, 3):
        raise _NoField(f"`{use.name}` puts maps side by side")
    if isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization)) and layer.axis not in (
        -1,
        3,
        [-1],
        [3],
    ):
        raise _NoField(f"`{use.name}` normalizes over positions")
    window = _window(layer)
    if window is None:
        if isinstance(layer, POINTWISE) or type(layer).__name__ in POINTWISE_OPERATIONS:
            return axes
        raise _NoField(f"what a position of `{use.name}` sees, a {type(layer).__name__}, is not known")
    return tuple(
        axis.through(size, stride, before if padding is None else _before(padding, size, stride, n, use.name))
        for axis, (size, stride, padding, before), n in zip(axes, window, use.inputs[0].shape[1:3], strict=True)
    )


def _before(padding, size, stride, n, name):
    """Return the positions that Keras pads in front."""
    if padding == "valid":
        return 0
    if n is None and stride > 1:
        raise _NoField(f"the padding of `{name}` depends on the size of the image: pass `input_shape`")
    total = size - 1 if n is None else max((-(-n // stride) - 1) * stride + size - n, 0)
    return total // 2


def _window(layer):
    """Return (size, stride, Keras's padding or None, positions in front) of both axes; None if it has no window."""
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)) and not isinstance(
        layer, layers.Conv2DTranspose
    ):
        dilated = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        return [(size, stride, layer.padding, 0) for size, stride in zip(dilated, layer.strides, strict=True)]
    if isinstance(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
        return [(k, s, layer.padding, 0) for k, s in zip(layer.pool_size, layer.strides, strict=True)]
    if isinstance(layer, (layers.ZeroPadding2D, layers.Cropping2D)):
        sides = layer.padding if isinstance(layer, layers.ZeroPadding2D) else [(-a, -b) for a, b in layer.cropping]
        return [(1, 1, None, before) for before, _ in sides]
    if isinstance(layer, our_layers.ConnectionTableConv2D):
        return [(layer.kernel_size, 1, "valid", 0)] * 2
    if isinstance(layer, our_layers.TrainableSubsampling):
        return [(2, 2, "valid", 0)] * 2
    if isinstance(layer, our_layers.ZeroPadShortcut):
        return [(1, layer.strides, "valid", 0)] * 2
    return None


POINTWISE = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax),
    *(layers.BatchNormalization, layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization),
    *(layers.Rescaling, layers.Normalization, layers.Identity, layers.Dense),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate),
    *(our_layers.LocalResponseNormalization, our_layers.Maxout),
)
# Of keras.ops, what looks at each value alone
POINTWISE_OPERATIONS = set(
    "Absolute Add Cast Clip Divide Elu Exp Gelu Identity LeakyRelu Log Maximum Minimum Multiply Negative Power Relu "
    "Relu6 Rsqrt Sigmoid Silu Softplus Sqrt Square Subtract Tanh TrueDivide".split()
)
