"""Receptive fields: the part of the image that a position sees."""

import dataclasses
from collections.abc import Sequence

import keras
from keras import layers

from keras_cnns import _graph
from keras_cnns import layers as our_layers
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Size


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """The part of the image that one position of a map sees.

    Each value is (height, width), in pixels.

    Attributes:
        size: of the field, including what lies outside the image.
        stride: distance from the field of one position to that of the next.
        offset: center of the first position's field; the center of the first pixel is 0.
    """

    size: Size
    stride: Size
    offset: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A field along one axis.

    Position p of a map sees the pixels from `p * stride + first` to `p * stride + last`, both included.
    """

    stride: int = 1
    first: int = 0
    last: int = 0

    def through(self, size: int, stride: int, before: int) -> "_Axis":
        """Return the field after a sliding window.

        Args:
            size: positions that the window covers.
            stride: of the window.
            before: positions of padding in front of the first input position.
        """
        return _Axis(
            self.stride * stride,
            self.first - self.stride * before,
            self.last + self.stride * (size - 1 - before),
        )


_Axes = tuple[_Axis, _Axis]  # rows and columns


@dataclasses.dataclass(frozen=True)
class _Window:
    """A sliding window along one axis.

    Attributes:
        size: positions that it covers.
        stride: from one output position to the next.
        padding: Keras's "valid" or "same"; None: `before` says it.
        before: positions of padding in front of the first input position.
    """

    size: int
    stride: int
    padding: str | None = None
    before: int = 0


class _NoField(Exception):
    """Says why a layer has no fixed field."""


def receptive_field(
    model: keras.Model, layer: str | keras.Layer, input_shape: Sequence[int] | None = None
) -> ReceptiveField:
    """Return the part of the input that a layer's position sees.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels).
        layer: a layer of the model, or its name ("nested/conv1" in a nested model).
        input_shape: (height, width, channels); needed if the model leaves the size open and padding depends on it.

    Returns:
        `ReceptiveField`. If branches meet, or the layer is used several times, it is the smallest field that contains
        all of their fields.

    Raises:
        ArgumentError: (a ValueError) if the layer is not in the model, or has no fixed field, for example after dense
            layers, global pools and resizing.

    Reference:
        A. Araujo, W. Norris, J. Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill, 2019.

    Examples:
        >>> from keras_cnns import analysis, applications
        >>> analysis.receptive_field(applications.LeNet5(), "S4")
        ReceptiveField(size=(16, 16), stride=(4, 4), offset=(7.5, 7.5))
    """
    name = _graph.check_layer(model, layer)
    fields = [field for use, field in _fields_of_uses(model, input_shape) if use.name == name]
    try:
        return _to_record(_union(fields))
    except _NoField as reason:
        raise ArgumentError(f"`{name}` has no fixed field: {reason}. Received: layer={name!r}") from None


def receptive_fields(model: keras.Model, input_shape: Sequence[int] | None = None) -> list[ReceptiveField | None]:
    """Return the receptive field of each row of `account(model, input_shape)`.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels).
        input_shape: (height, width, channels); needed if the model leaves the size open and padding depends on it.

    Returns:
        A list of `ReceptiveField`; None for a layer without a fixed field.

    Raises:
        ArgumentError: if the model does not take one batch of images.

    Examples:
        >>> from keras_cnns import analysis, applications
        >>> analysis.receptive_fields(applications.LeNet5())[0].size
        (5, 5)
    """
    fields = [field for _, field in _fields_of_uses(model, input_shape)]
    return [None if isinstance(field, _NoField) else _to_record(field) for field in fields]


def _to_record(axes: _Axes) -> ReceptiveField:
    rows, columns = axes
    return ReceptiveField(
        size=(rows.last - rows.first + 1, columns.last - columns.first + 1),
        stride=(rows.stride, columns.stride),
        offset=((rows.first + rows.last) / 2, (columns.first + columns.last) / 2),
    )


def _fields_of_uses(model: keras.Model, input_shape: Sequence[int] | None) -> list[tuple[_graph.Use, _Axes | _NoField]]:
    """Return every use of a layer with its field or `_NoField`."""
    inputs, uses = _graph.walk(model, input_shape)
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise ArgumentError(
            f"`model` must take one batch of images, (batch, height, width, channels). "
            f"Received: inputs={[tuple(x.shape) for x in inputs]}"
        )
    known: dict[int, _Axes | _NoField] = {id(inputs[0]): (_Axis(), _Axis())}
    fields = []
    for use in uses:
        field: _Axes | _NoField
        try:
            field = _through(use, _union([known[id(x)] for x in use.inputs]))
        except _NoField as reason:
            field = reason
        known |= dict.fromkeys(map(id, use.outputs), field)
        fields.append((use, field))
    return fields


def _union(fields: Sequence[_Axes | _NoField]) -> _Axes:
    """Return the smallest field that contains all; raise any `_NoField`."""
    known = []
    for field in fields:
        if isinstance(field, _NoField):
            raise field
        known.append(field)
    joined = []
    for axes in zip(*known, strict=True):
        if len({axis.stride for axis in axes}) > 1:
            raise _NoField("maps of different strides meet")
        joined.append(_Axis(axes[0].stride, min(a.first for a in axes), max(a.last for a in axes)))
    rows, columns = joined
    return rows, columns


def _through(use: _graph.Use, axes: _Axes) -> _Axes:
    """Return the field of a layer's outputs from that of its inputs."""
    layer = use.operation
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise _NoField(f"`{use.name}` has its channels first")
    if len(use.inputs[0].shape) != 4 or len(use.outputs[0].shape) != 4:
        raise _NoField(f"after `{use.name}` every unit sees the whole image")
    if isinstance(layer, layers.Concatenate) and layer.axis not in (-1, 3):
        raise _NoField(f"`{use.name}` puts maps side by side")
    normalization = isinstance(layer, (layers.BatchNormalization, layers.LayerNormalization))
    if normalization and layer.axis not in (-1, 3, [-1], [3]):
        raise _NoField(f"`{use.name}` normalizes over positions")
    windows = _windows(layer) if not isinstance(layer, our_layers.PadToMultiple) else _pads(use)
    if windows is None:
        if isinstance(layer, POINTWISE) or type(layer).__name__ in POINTWISE_OPERATIONS:
            return axes
        raise _NoField(f"what a position of `{use.name}` sees, a {type(layer).__name__}, is not known")
    rows, columns = (
        axis.through(window.size, window.stride, _positions_before(window, side, use.name))
        for axis, window, side in zip(axes, windows, use.inputs[0].shape[1:3], strict=True)
    )
    return rows, columns


def _positions_before(window: _Window, side: int | None, name: str) -> int:
    """Return the positions of padding in front of an axis."""
    if window.padding is None:
        return window.before
    if window.padding == "valid":
        return 0
    if side is None and window.stride > 1:
        raise _NoField(f"the padding of `{name}` depends on the size of the image: pass `input_shape`")
    if side is None:
        total = window.size - 1
    else:
        total = max((-(-side // window.stride) - 1) * window.stride + window.size - side, 0)
    return total // 2


def _pads(use: _graph.Use) -> list[_Window]:
    """Return the windows of a layer whose padding depends on the image."""
    sides = [use.inputs[0].shape[1:3], use.outputs[0].shape[1:3]]
    if None in (*sides[0], *sides[1]):
        raise _NoField(f"the padding of `{use.name}` depends on the size of the image: pass `input_shape`")
    return [_Window(1, 1, before=(after - before) // 2) for before, after in zip(*sides, strict=True)]


def _windows(layer: keras.Operation) -> list[_Window] | None:
    """Return a layer's windows along rows and columns, or None."""
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)) and not isinstance(
        layer, layers.Conv2DTranspose
    ):
        dilated = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        return [_Window(size, stride, layer.padding) for size, stride in zip(dilated, layer.strides, strict=True)]
    if isinstance(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
        sizes = zip(layer.pool_size, layer.strides, strict=True)
        return [_Window(size, stride, layer.padding) for size, stride in sizes]
    if isinstance(layer, (layers.ZeroPadding2D, layers.Cropping2D)):
        sides = layer.padding if isinstance(layer, layers.ZeroPadding2D) else [(-a, -b) for a, b in layer.cropping]
        return [_Window(1, 1, before=before) for before, _ in sides]
    if isinstance(layer, our_layers.ConnectionTableConv2D):
        return [_Window(layer.kernel_size, 1, "valid")] * 2
    if isinstance(layer, our_layers.TrainableSubsampling):
        return [_Window(2, 2, "valid")] * 2
    if isinstance(layer, our_layers.ZeroPadShortcut):
        return [_Window(1, layer.strides, "valid")] * 2
    return None


# Layers whose output at a position depends on the input at that position only
POINTWISE = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax),
    *(layers.BatchNormalization, layers.LayerNormalization, layers.RMSNormalization, layers.UnitNormalization),
    *(layers.Rescaling, layers.Normalization, layers.Identity, layers.Dense),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate),
    *(our_layers.LocalResponseNormalization, our_layers.Maxout),
)
# Classes of keras.ops that compute each value from the values at the same position
POINTWISE_OPERATIONS = set(
    "Absolute Add Cast Clip Divide Elu Exp Gelu Identity LeakyRelu Log Maximum Minimum Multiply Negative Power Relu "
    "Relu6 Rsqrt Sigmoid Silu Softplus Sqrt Square Subtract Tanh TrueDivide".split()
)
