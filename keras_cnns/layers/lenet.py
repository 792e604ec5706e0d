"""The layers of LeNet-5.

Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition,
Proceedings of the IEEE 86(11), 1998, section II.B and appendix A.
"""

import keras
import numpy as np
from keras import initializers, ops


@keras.saving.register_keras_serializable(package="keras_cnns")
def scaled_tanh(x):
    """Return 1.7159 tanh(2x / 3): 1 at 1, -1 at -1, and steepest in between (appendix A)."""
    return 1.7159 * ops.tanh(x * (2 / 3))


@keras.saving.register_keras_serializable(package="keras_cnns")
class ConnectionTableConv2D(keras.layers.Layer):
    """A convolution whose output maps see only some of the input maps: C3.

    It has weights for the connections that there are, and for no others.

    Args:
        table: for each output map the input maps that it sees, in increasing order.
        kernel_size: height and width of each kernel.
        activation: a Keras activation, or None.
        kernel_initializer, bias_initializer: as in `keras.layers.Conv2D`; the kernel's fan-in is that of a full table.

    Call arguments:
        inputs: (batch, height, width, input maps), any float dtype.

    Returns:
        (batch, height - kernel_size + 1, width - kernel_size + 1, output maps), same dtype.

    Weights: kernel (kernel_size, kernel_size, connections), in the order of the table; bias (output maps,).

    Raises:
        ValueError: if the table names an input map that is not there, or one twice.

    Reference:
        Section II.B, table I.
    """

    def __init__(
        self,
        table,
        kernel_size,
        activation=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.table = tuple(tuple(map(int, row)) for row in table)
        if any(list(row) != sorted(set(row)) or not row or row[0] < 0 for row in self.table):
            raise ValueError(
                f"`table` must name the input maps of each output map once, in increasing order. "
                f"Received: table={self.table}"
            )
        self.kernel_size = int(kernel_size)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape):
        """Create the weights."""
        maps, outputs, side = input_shape[-1], len(self.table), self.kernel_size
        if max(map(max, self.table)) >= maps:
            raise ValueError(
                f"`table` must name input maps from 0 to {maps - 1}. Received: table={self.table}, "
                f"input_shape={tuple(input_shape)}"
            )
        connections = [m * outputs + k for k, row in enumerate(self.table) for m in row]

        def initialize(shape, dtype):
            # The initializer sees the whole convolution, or it would take the connections for a fan-out
            whole = ops.reshape(self.kernel_initializer((side, side, maps, outputs), dtype), (side, side, -1))
            return ops.take(whole, np.array(connections), axis=-1)

        self.kernel = self.add_weight(shape=(side, side, len(connections)), initializer=initialize, name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer=self.bias_initializer, name="bias")
        # Where each (input, output) pair stands among the connections; behind the last one stands a zero
        self.places = np.full(maps * outputs, len(connections))
        self.places[connections] = np.arange(len(connections))

    def call(self, inputs):
        """Convolve the connected maps of `inputs`."""
        padded = ops.pad(self.kernel, [(0, 0), (0, 0), (0, 1)])
        shape = (self.kernel_size, self.kernel_size, inputs.shape[-1], len(self.table))
        kernel = ops.reshape(ops.take(padded, self.places, axis=-1), shape)
        x = ops.conv(inputs, kernel, data_format="channels_last") + self.bias
        return self.activation(x)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        shrunk = (None if side is None else side - self.kernel_size + 1 for side in (height, width))
        return (batch, *shrunk, len(self.table))

    def compute_cost(self, input_shape):
        """Return {"macs": multiply-adds, "connections": links from inputs and biases to units} of one image."""
        _, height, width, maps = self.compute_output_shape(input_shape)
        macs = height * width * int(np.prod(self.kernel.shape))
        return {"macs": macs, "connections": macs + height * width * maps}

    def get_config(self):
        return {
            **super().get_config(),
            "table": [list(row) for row in self.table],
            "kernel_size": self.kernel_size,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_cnns")
class TrainableSubsampling(keras.layers.Layer):
    """Subsampling as in S2 and S4: the sum of 2x2 pixels, times a coefficient of the map, plus its bias.

    The coefficients start at 1/4, where the layer is the mean of the four pixels.

    Args:
        activation: a Keras activation, or None.
        bias_initializer: as in `keras.layers.Conv2D`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.

    Returns:
        (batch, height // 2, width // 2, channels), same dtype.

    Weights: coefficient (channels,), bias (channels,).

    Reference:
        Section II.B.
    """

    def __init__(self, activation=None, bias_initializer="zeros", **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape):
        """Create the weights."""
        quarter = initializers.Constant(0.25)
        self.coefficient = self.add_weight(shape=(input_shape[-1],), initializer=quarter, name="coefficient")
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer=self.bias_initializer, name="bias")

    def call(self, inputs):
        """Subsample `inputs`."""
        mean = ops.average_pool(inputs, 2, 2, data_format="channels_last")
        return self.activation(mean * (4 * self.coefficient) + self.bias)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, *(None if side is None else side // 2 for side in (height, width)), channels)

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": ...} of one image: a unit has four pixels and a bias."""
        return {"macs": 0, "connections": 5 * int(np.prod(self.compute_output_shape(input_shape)[1:]))}

    def get_config(self):
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_cnns")
class RBFOutput(keras.layers.Layer):
    """Euclidean radial basis functions: the squared distance of the input to the code of each class.

    Computed in float32 under every dtype policy; the codes are not trained.

    Args:
        codes: (classes, features) array of numbers.

    Call arguments:
        inputs: (batch, ..., features), any float dtype.

    Returns:
        (batch, ..., classes), float32: 0 where the input is the code.

    Weights: codes (classes, features), fixed.

    Raises:
        ValueError: if `codes` is no matrix, or the input has not as many features.

    Reference:
        Section II.B, equation 7.
    """

    def __init__(self, codes, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        codes = np.asarray(codes, "float32")
        if codes.ndim != 2:
            raise ValueError(f"`codes` must have the shape (classes, features). Received: shape={codes.shape}")
        self.initial_codes = codes

    def build(self, input_shape):
        """Create the weights."""
        if input_shape[-1] != self.initial_codes.shape[1]:
            raise ValueError(
                f"`codes` must have {input_shape[-1]} features, as the input has. "
                f"Received: shape={self.initial_codes.shape}"
            )
        self.codes = self.add_weight(
            shape=self.initial_codes.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(self.initial_codes, dtype),
            trainable=False,
            name="codes",
        )

    def call(self, inputs):
        """Return the squared distances of `inputs` to the codes."""
        return ops.sum(ops.square(ops.expand_dims(inputs, -2) - self.codes), axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], len(self.initial_codes))

    def compute_cost(self, input_shape):
        """Return {"macs": multiply-adds, "connections": links from inputs to units} of one image."""
        return {"macs": self.initial_codes.size, "connections": self.initial_codes.size}

    def get_config(self):
        codes = ops.convert_to_numpy(self.codes) if self.built else self.initial_codes
        return {**super().get_config(), "codes": codes.tolist()}
