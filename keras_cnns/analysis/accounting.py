"""Costs of a network: parameters, connections, multiply-adds and activations per layer."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from keras_cnns import _deprecated, _graph
from keras_cnns.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Cost of one use of a layer, for one example.

    Attributes:
        layer: name of the layer, after the name of the nested model it is in: "backbone/conv1".
        kind: name of its class.
        output_shape: (height, width, channels) of a map; for several outputs, the first one's.
        trainable: number of trainable parameters; 0 if the same layer was used before.
        fixed: number of parameters that gradient descent does not change: moving statistics, codes, frozen layers.
        connections: links from inputs to units as the LeNet-5 paper counts them: a unit of a layer with a kernel or
            a pool has one for each value that it sees, and one for its bias. None: not counted.
        macs: multiply-adds of convolutions and dense layers. None: not counted.
        activation_bytes: size of all outputs in the layer's precision.
    """

    layer: str
    kind: str
    output_shape: tuple[int, ...]
    trainable: int
    fixed: int
    connections: int | None
    macs: int | None
    activation_bytes: int


@dataclasses.dataclass(frozen=True)
class Account:
    """Cost of a network for one example.

    Attributes:
        name: of the model.
        input_shapes: shape of one example, for each input.
        rows: one `LayerCost` per use of a layer, from input to output.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[LayerCost, ...]

    @property
    def trainable(self) -> int:
        """Number of trainable parameters."""
        return sum(row.trainable for row in self.rows)

    @property
    def fixed(self) -> int:
        """Number of parameters that gradient descent does not change."""
        return sum(row.fixed for row in self.rows)

    @property
    def connections(self) -> int:
        """Links from inputs to units, summed over the counted rows."""
        return sum(row.connections or 0 for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds, summed over the counted rows."""
        return sum(row.macs or 0 for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all outputs, which training keeps in memory."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def not_counted(self) -> tuple[str, ...]:
        """Names of the layers with unknown cost, missing from the sums."""
        return tuple(row.layer for row in self.rows if row.macs is None)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        totals = ("trainable", "fixed", "connections", "macs", "activation_bytes", "not_counted")
        return {
            "name": self.name,
            "input_shapes": self.input_shapes,
            **{name: getattr(self, name) for name in totals},
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }


def account(model: keras.Model, input_shape: Sequence[int] | Sequence[Sequence[int]] | None = None) -> Account:
    """Return the cost of each layer of a model.

    Multiply-adds are counted for convolutions (also depthwise, separable and transposed ones) and dense layers: the
    full kernel at every position, including padded ones. Normalization, pools, activations and sums count none.
    A layer with a method `compute_cost(input_shape)`, which returns {"macs": ..., "connections": ...} for one example,
    is asked for its cost. Other unknown layers, and operations that multiply, are listed as not counted.

    Args:
        model: functional or sequential `keras.Model`, with any inputs and outputs; nested models are unfolded.
        input_shape: shape of one example, (height, width, channels), if the model leaves sizes open; a list of shapes
            for several inputs. None: the model's shapes.

    Returns:
        `Account`.

    Raises:
        ArgumentError: if the model has no graph of layers, a size is unknown, or `input_shape` does not fit.

    Reference:
        Connections: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document
        Recognition, 1998, section II.B.

    Examples:
        >>> from keras_cnns import analysis, applications
        >>> cost = analysis.account(applications.LeNet5())
        >>> cost.trainable, cost.connections
        (60000, 340908)
    """
    inputs, uses = _graph.walk(model, input_shape)
    unknown = next((x for x in inputs if None in x.shape[1:]), None)
    if unknown is not None:
        raise ArgumentError(
            f"the sizes of the images must be known: pass `input_shape`. Received: a model for "
            f"{tuple(unknown.shape[1:])}"
        )
    return Account(model.name, tuple(tuple(x.shape[1:]) for x in inputs), tuple(map(_layer_cost, uses)))


def __getattr__(name: str) -> Any:
    """Return a deprecated name of this module."""
    if name == "Row":
        _deprecated.warn(f"{__name__}.Row", f"{__name__}.LayerCost")
        return LayerCost
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _layer_cost(use: _graph.Use) -> LayerCost:
    counts: dict[str, Any] = _counts(use) or {"macs": None, "connections": None}
    return LayerCost(
        layer=use.name,
        kind=type(use.operation).__name__,
        output_shape=tuple(use.outputs[0].shape[1:]),
        trainable=_parameters(use, "trainable_weights"),
        fixed=_parameters(use, "non_trainable_weights"),
        connections=counts["connections"],
        macs=counts["macs"],
        activation_bytes=sum(math.prod(x.shape[1:]) * _item_bytes(x.dtype) for x in use.outputs),
    )


def _parameters(use: _graph.Use, attribute: str) -> int:
    """Return the number of parameters; 0 if the layer was used before."""
    return sum(math.prod(w.shape) for w in getattr(use.operation, attribute, ())) if use.first else 0


def _item_bytes(dtype: str) -> int:
    """Return the bytes of one value."""
    return 1 if dtype == "bool" else int("".join(filter(str.isdigit, dtype))) // 8


def _counts(use: _graph.Use) -> dict[str, int] | None:
    """Return the "macs" and "connections" of a use, or None if unknown."""
    operation = use.operation
    if hasattr(operation, "compute_cost"):
        shapes = [x.shape for x in use.inputs]
        return operation.compute_cost(shapes[0] if len(shapes) == 1 else shapes)
    # Only Keras's classes themselves, because a subclass may compute anything.
    count = COUNTED.get(type(operation))
    if count:
        macs, links, use_bias = count(operation, use.inputs[0].shape, use.outputs[0].shape)
        units = math.prod(use.outputs[0].shape[1:])
        return {"macs": macs, "connections": links + (units if use_bias else 0)}
    if type(operation) in FREE or _is_free_operation(operation):
        return {"macs": 0, "connections": 0}
    return None


class _Count(NamedTuple):
    """Multiply-adds, links without those of biases, and whether biases exist."""

    macs: int
    links: int
    use_bias: bool


# Functions from a layer, its input shape and its output shape, batch included, to `_Count`. Layers are Any, because
# each function serves several classes that share only the attributes it reads.


def _count_positions(layer: Any, shape: Sequence[int]) -> int:
    """Return height times width of a map."""
    return math.prod(shape[1:-1] if layer.data_format == "channels_last" else shape[2:])


def _count_convolution(layer: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> _Count:
    links = math.prod(layer.kernel.shape) * _count_positions(layer, output_shape)
    return _Count(links, links, layer.use_bias)


def _count_transposed(layer: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> _Count:
    links = math.prod(layer.kernel.shape) * _count_positions(layer, input_shape)
    return _Count(links, links, layer.use_bias)


def _count_separable(layer: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> _Count:
    parameters = math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    links = parameters * _count_positions(layer, output_shape)
    return _Count(links, links, layer.use_bias)


def _count_dense(layer: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> _Count:
    links = math.prod(layer.kernel.shape) * math.prod(output_shape[1:-1])
    return _Count(links, links, layer.use_bias)


def _count_pool(layer: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> _Count:
    return _Count(0, math.prod(output_shape[1:]) * math.prod(layer.pool_size), False)


def _count_global_pool(layer: Any, input_shape: Sequence[int], output_shape: Sequence[int]) -> _Count:
    return _Count(0, math.prod(input_shape[1:]), False)


COUNTED = {
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _count_convolution),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _count_convolution),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _count_separable),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _count_transposed),
    layers.Dense: _count_dense,
}
# Layers without multiply-adds and connections
FREE = {
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax),
    *(layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization, layers.UnitNormalization),
    *(layers.RMSNormalization, layers.Rescaling, layers.Normalization),
    *(layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise, layers.ActivityRegularization),
    *(layers.Flatten, layers.Reshape, layers.Permute, layers.RepeatVector, layers.Identity, layers.Masking),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate),
    *(layers.Resizing, layers.CenterCrop, layers.RandomCrop, layers.RandomFlip, layers.RandomTranslation),
    *(layers.RandomRotation, layers.RandomZoom, layers.RandomBrightness, layers.RandomContrast),
}
for _rank in "123":
    for _kind in ("Max", "Average"):
        COUNTED[getattr(layers, f"{_kind}Pooling{_rank}D")] = _count_pool
        COUNTED[getattr(layers, f"Global{_kind}Pooling{_rank}D")] = _count_global_pool
    FREE |= {getattr(layers, f"{_name}{_rank}D") for _name in ("ZeroPadding", "Cropping", "UpSampling")}
    FREE.add(getattr(layers, f"SpatialDropout{_rank}D"))

# Classes of keras.ops that move, compare or add single values
FREE_OPERATIONS = set(
    "Absolute Add Cast Clip Concatenate Copy Divide Elu Exp ExpandDims Flip Gelu GetItem Identity LeakyRelu Log "
    "LogSoftmax Max Maximum Mean Min Minimum Multiply Negative Pad Power Relu Relu6 Repeat Reshape Roll Rsqrt Sigmoid "
    "Silu Softmax Softplus Split Sqrt Square Squeeze Stack Subtract Sum Swapaxes Tanh Transpose TrueDivide".split()
)


def _is_free_operation(operation: keras.Operation) -> bool:
    """Return whether an operation of keras.ops has neither multiply-adds nor connections."""
    is_operation = not isinstance(operation, keras.Layer) and type(operation).__module__.startswith("keras.")
    return is_operation and type(operation).__name__ in FREE_OPERATIONS
