"""What a network costs: parameters, connections, multiply-adds and activations of each layer."""

import dataclasses
import math

import keras
from keras import layers

from keras_cnns import _graph
from keras_cnns.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Row:
    """One use of a layer.

    Attributes:
        layer: its name, that of a nested model in front of it: "backbone/conv1".
        kind: its class.
        output_shape: of one example, (height, width, channels) of a map; of several outputs, the first.
        trainable: trained parameters; 0 where the layer was used before.
        fixed: parameters that training by gradients leaves alone: moving statistics, codes, frozen layers.
        connections: links from inputs to units as the LeNet-5 paper counts them: a unit of a layer with a kernel or
            a pool has one for each value that it sees, and one for its bias. None: not counted.
        macs: multiply-adds of convolutions and dense layers. None: not counted.
        activation_bytes: of one example's outputs, in the layer's own precision.
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
    """What a network costs for one example.

    Attributes:
        name: the model's.
        input_shapes: of one example, an entry an input.
        rows: one a use of a layer, from input to output.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]

    @property
    def trainable(self):
        """Trained parameters."""
        return sum(row.trainable for row in self.rows)

    @property
    def fixed(self):
        """Parameters that training by gradients leaves alone."""
        return sum(row.fixed for row in self.rows)

    @property
    def connections(self):
        """Links from inputs to units, of all rows that are counted."""
        return sum(row.connections or 0 for row in self.rows)

    @property
    def macs(self):
        """Multiply-adds, of all rows that are counted."""
        return sum(row.macs or 0 for row in self.rows)

    @property
    def activation_bytes(self):
        """Bytes of all outputs, as training keeps them."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def not_counted(self):
        """Names of the layers whose connections and multiply-adds are not known, and not in the sums."""
        return tuple(row.layer for row in self.rows if row.macs is None)

    def to_json(self):
        """Return a dictionary of JSON values."""
        totals = ("trainable", "fixed", "connections", "macs", "activation_bytes", "not_counted")
        return {
            "name": self.name,
            "input_shapes": self.input_shapes,
            **{name: getattr(self, name) for name in totals},
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }


def account(model, input_shape=None):
    """Return what each layer of a model costs.

    Multiply-adds are those of convolutions (depthwise, separable and transposed ones too) and dense layers, a kernel's
    full size at every position, padded ones included; normalization, pools, activations and sums count none. A layer
    with a method `compute_cost(input_shape)`, which returns {"macs": ..., "connections": ...} of one example, answers
    for itself. Others that are not known, and operations that multiply, are listed as not counted.

    Args:
        model: functional or sequential `keras.Model`, with any inputs and outputs; nested models are unfolded.
        input_shape: shape of one example, (height, width, channels), where the model leaves sizes open; of several
            inputs a list of shapes. None: the model's own.

    Returns:
        `Account`.

    Raises:
        ArgumentError: if the model has no graph of layers, a size is not known, or `input_shape` does not fit.

    Reference:
        Connections: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document
        Recognition, 1998, section II.B.
    """
    inputs, uses = _graph.walk(model, input_shape)
    unknown = next((x for x in inputs if None in x.shape[1:]), None)
    if unknown is not None:
        raise ArgumentError(
            f"the sizes of the images must be known: pass `input_shape`. Received: a model for "
            f"{tuple(unknown.shape[1:])}"
        )
    return Account(model.name, tuple(tuple(x.shape[1:]) for x in inputs), tuple(map(_row, uses)))


def _row(use):
    cost = _cost(use) or {"macs": None, "connections": None}
    weights = (
        sum(math.prod(w.shape) for w in getattr(use.operation, kind, ())) if use.first else 0
        for kind in ("trainable_weights", "non_trainable_weights")
    )
    return Row(
        use.name,
        type(use.operation).__name__,
        tuple(use.outputs[0].shape[1:]),
        *weights,
        cost["connections"],
        cost["macs"],
        sum(math.prod(x.shape[1:]) * _item_bytes(x.dtype) for x in use.outputs),
    )


def _item_bytes(dtype):
    """Return the bytes of one value."""
    return 1 if dtype == "bool" else int("".join(filter(str.isdigit, dtype))) // 8


def _cost(use):
    """Return {"macs": ..., "connections": ...} of one use of a layer for one example, None if that is not known."""
    operation = use.operation
    if hasattr(operation, "compute_cost"):
        shapes = [x.shape for x in use.inputs]
        return operation.compute_cost(shapes[0] if len(shapes) == 1 else shapes)
    # Exactly Keras's classes: what a subclass computes, nobody knows
    count = COUNTED.get(type(operation))
    if count:
        macs, links, bias = count(operation, use.inputs[0].shape, use.outputs[0].shape)
        units = math.prod(use.outputs[0].shape[1:])
        return {"macs": macs, "connections": links + (units if bias else 0)}
    if type(operation) in FREE or _is_free_operation(operation):
        return {"macs": 0, "connections": 0}
    return None


# Each returns multiply-adds, links without those of biases, and whether there are biases.


def _positions(layer, shape):
    """Return the number of positions of a map: height times width."""
    return math.prod(shape[1:-1] if layer.data_format == "channels_last" else shape[2:])


def _convolution(layer, given, out):
    links = math.prod(layer.kernel.shape) * _positions(layer, out)
    return links, links, layer.use_bias


def _transposed(layer, given, out):
    links = math.prod(layer.kernel.shape) * _positions(layer, given)
    return links, links, layer.use_bias


def _separable(layer, given, out):
    links = sum(math.prod(w.shape) for w in (layer.depthwise_kernel, layer.pointwise_kernel)) * _positions(layer, out)
    return links, links, layer.use_bias


def _dense(layer, given, out):
    links = math.prod(layer.kernel.shape) * math.prod(out[1:-1])
    return links, links, layer.use_bias


def _pool(layer, given, out):
    return 0, math.prod(out[1:]) * math.prod(layer.pool_size), False


def _global_pool(layer, given, out):
    return 0, math.prod(given[1:]), False


COUNTED = {
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _convolution),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    layers.Dense: _dense,
}
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
        COUNTED[getattr(layers, f"{_kind}Pooling{_rank}D")] = _pool
        COUNTED[getattr(layers, f"Global{_kind}Pooling{_rank}D")] = _global_pool
    FREE |= {getattr(layers, f"{_name}{_rank}D") for _name in ("ZeroPadding", "Cropping", "UpSampling")}
    FREE.add(getattr(layers, f"SpatialDropout{_rank}D"))

# Of keras.ops, what moves, compares or adds values, one by one
FREE_OPERATIONS = set(
    "Absolute Add Cast Clip Concatenate Copy Divide Elu Exp ExpandDims Flip Gelu GetItem Identity LeakyRelu Log "
    "LogSoftmax Max Maximum Mean Min Minimum Multiply Negative Pad Power Relu Relu6 Repeat Reshape Roll Rsqrt Sigmoid "
    "Silu Softmax Softplus Split Sqrt Square Squeeze Stack Subtract Sum Swapaxes Tanh Transpose TrueDivide".split()
)


def _is_free_operation(operation):
    is_operation = not isinstance(operation, keras.Layer) and type(operation).__module__.startswith("keras.")
    return is_operation and type(operation).__name__ in FREE_OPERATIONS
