"""Layers of LeNet-5.

Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition,
Proceedings of the IEEE 86(11), 1998, section II.B and appendix A.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import initializers, ops
from numpy.typing import ArrayLike

from keras_cnns.layers._types import Cost, Tensor, TensorShape

Activation: TypeAlias = str | Callable[[Tensor], Tensor]
Initializer: TypeAlias = str | dict[str, Any] | Callable[..., Any]  # a name, a description, or an initializer


@keras.saving.register_keras_serializable(package="keras_cnns")
def scaled_tanh(x: Tensor) -> Tensor:
    """Return 1.7159 tanh(2x / 3).

    It is 1 at 1 and -1 at -1, and steepest between them (appendix A).

    Args:
        x: any shape and float dtype.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import layers
        >>> np.asarray(layers.scaled_tanh(np.array([-1.0, 0.0, 1.0], "float32"))).round(2).tolist()
        [-1.0, 0.0, 1.0]
    """
    return 1.7159 * ops.tanh(x * (2 / 3))


@keras.saving.register_keras_serializable(package="keras_cnns")
class ConnectionTableConv2D(keras.layers.Layer):
    """Convolve so that each output map sees only some input maps.

    This is C3 of LeNet-5. There are weights only for the connections in the table.

    Args:
        table: for each output map, the input maps that it sees, in increasing order.
        kernel_size: height and width of each kernel.
        activation: a Keras activation, or None.
        kernel_initializer: initializer of the kernel, whose fan-in is that of a full table.
        bias_initializer: initializer of the bias.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, input maps), any float dtype.

    Returns:
        (batch, height - kernel_size + 1, width - kernel_size + 1, output maps), same dtype.

    Weights: kernel (kernel_size, kernel_size, connections), in the order of the table; bias (output maps,).

    Raises:
        ValueError: if the table names an input map that does not exist, or one twice.

    Reference:
        Section II.B, table I.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layer = layers.ConnectionTableConv2D([(0, 1), (1, 2)], kernel_size=5)  # output 0 sees inputs 0 and 1
        >>> layer(keras.Input((14, 14, 3))).shape
        (None, 10, 10, 2)
        >>> layer.count_params()  # 2 x 2 kernels of 5x5 weights, and 2 biases
        102
    """

    def __init__(
        self,
        table: Sequence[Sequence[int]],
        kernel_size: int,
        activation: Activation | None = None,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        **kwargs: Any,
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

    def build(self, input_shape: TensorShape) -> None:
        """Create the weights."""
        maps, outputs, side = input_shape[-1], len(self.table), self.kernel_size
        if max(map(max, self.table)) >= maps:
            raise ValueError(
                f"`table` must name input maps from 0 to {maps - 1}. Received: table={self.table}, "
                f"input_shape={tuple(input_shape)}"
            )
        connections = [m * outputs + k for k, row in enumerate(self.table) for m in row]

        def initialize(shape: TensorShape, dtype: Any) -> Tensor:
            # The initializer must see the shape of the whole convolution: in the shape of the weights, the number of
            # connections would stand in place of the fan-out.
            whole = ops.reshape(self.kernel_initializer((side, side, maps, outputs), dtype), (side, side, -1))
            return ops.take(whole, np.array(connections), axis=-1)

        self.kernel = self.add_weight(shape=(side, side, len(connections)), initializer=initialize, name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer=self.bias_initializer, name="bias")
        # The index of each (input, output) pair among the connections. Pairs without a connection have the index after
        # the last one, where `call` appends a zero.
        self.places = np.full(maps * outputs, len(connections))
        self.places[connections] = np.arange(len(connections))

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve the connected maps of `inputs`."""
        padded = ops.pad(self.kernel, [(0, 0), (0, 0), (0, 1)])
        shape = (self.kernel_size, self.kernel_size, inputs.shape[-1], len(self.table))
        kernel = ops.reshape(ops.take(padded, self.places, axis=-1), shape)
        x = ops.conv(inputs, kernel, data_format="channels_last") + self.bias
        return self.activation(x)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, height, width, _ = input_shape
        shrunk = (None if side is None else side - self.kernel_size + 1 for side in (height, width))
        return (batch, *shrunk, len(self.table))

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return the multiply-adds and connections of one image; biases are connections."""
        _, height, width, maps = self.compute_output_shape(input_shape)
        macs = height * width * int(np.prod(self.kernel.shape))
        return {"macs": macs, "connections": macs + height * width * maps}

    def get_config(self) -> dict[str, Any]:
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
    """Sum 2x2 pixels, and scale and shift each map by trained numbers.

    This is S2 and S4 of LeNet-5: the sum of four pixels, times the map's coefficient, plus its bias. The coefficients
    start at 1/4, with which the layer computes the mean of the four pixels.

    Args:
        activation: a Keras activation, or None.
        bias_initializer: initializer of the bias.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.

    Returns:
        (batch, height // 2, width // 2, channels), same dtype.

    Weights: coefficient (channels,), bias (channels,).

    Reference:
        Section II.B.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layer = layers.TrainableSubsampling()
        >>> layer(keras.Input((28, 28, 6))).shape, layer.count_params()
        ((None, 14, 14, 6), 12)
    """

    def __init__(self, activation: Activation | None = None, bias_initializer: Initializer = "zeros", **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape: TensorShape) -> None:
        """Create the weights."""
        quarter = initializers.Constant(0.25)
        self.coefficient = self.add_weight(shape=(input_shape[-1],), initializer=quarter, name="coefficient")
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer=self.bias_initializer, name="bias")

    def call(self, inputs: Tensor) -> Tensor:
        """Subsample `inputs`."""
        mean = ops.average_pool(inputs, 2, 2, data_format="channels_last")
        return self.activation(mean * (4 * self.coefficient) + self.bias)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, height, width, channels = input_shape
        return (batch, *(None if side is None else side // 2 for side in (height, width)), channels)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return the connections of one image.

        Each unit is connected to four pixels and a bias.
        """
        return {"macs": 0, "connections": 5 * int(np.prod(self.compute_output_shape(input_shape)[1:]))}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "bias_initializer": initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_cnns")
class RBFOutput(keras.layers.Layer):
    """Compute the squared distance to the code of each class.

    These are Euclidean radial basis functions, computed in float32 under every dtype policy. The codes are not trained.

    Args:
        codes: array (classes, features) of numbers.
        **kwargs: arguments of `keras.layers.Layer`; `dtype` is ignored.

    Call arguments:
        inputs: (batch, ..., features), any float dtype.

    Returns:
        (batch, ..., classes), float32; 0 where the input equals the code.

    Weights: codes (classes, features), fixed.

    Raises:
        ValueError: if `codes` is not a matrix, or the input has another number of features.

    Reference:
        Section II.B, equation 7.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import layers
        >>> codes = np.array([[1.0, 1.0], [-1.0, 1.0]], "float32")  # one per class
        >>> np.asarray(layers.RBFOutput(codes)(np.array([[1.0, 0.0]], "float32"))).tolist()
        [[1.0, 5.0]]
    """

    def __init__(self, codes: ArrayLike, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        codes = np.asarray(codes, "float32")
        if codes.ndim != 2:
            raise ValueError(f"`codes` must have the shape (classes, features). Received: shape={codes.shape}")
        self.initial_codes = codes

    def build(self, input_shape: TensorShape) -> None:
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

    def call(self, inputs: Tensor) -> Tensor:
        """Return the squared distances of `inputs` to the codes."""
        return ops.sum(ops.square(ops.expand_dims(inputs, -2) - self.codes), axis=-1)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        return (*input_shape[:-1], len(self.initial_codes))

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return the multiply-adds and connections of one image."""
        return {"macs": self.initial_codes.size, "connections": self.initial_codes.size}

    def get_config(self) -> dict[str, Any]:
        codes = ops.convert_to_numpy(self.codes) if self.built else self.initial_codes
        return {**super().get_config(), "codes": codes.tolist()}
