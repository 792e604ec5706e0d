"""Layers that work on channels.

Normalization over neighbors, maxima of pieces, convolution in groups, zero padding of channels.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape

BLOCK = 16  # channels of a block in `_add_neighbors`: float32 numbers of an AVX-512 register


@keras.saving.register_keras_serializable(package="keras_cnns")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each channel by a power of the energy of its neighbors.

    output[c] = input[c] / (k + alpha * sum(input[c - n // 2 ... c + n // 2] ** 2)) ** beta

    It is computed in float32 under every dtype policy. The sum over channels is a 1x1 convolution with a band of ones,
    and the power -0.75 a product of reciprocal square roots. So the layer runs on every backend, and integer
    quantization leaves no float operation.

    Training with beta 0.75 takes half the time on CPUs: the sum is a convolution over blocks of 16 channels, and the
    gradient is written out. Results differ by rounding only.

    Args:
        n: number of channels in the sum, odd; there are fewer at both ends.
        k: number added to the sum.
        alpha: weight of the sum. The paper's 1e-4 is not divided by `n`.
        beta: exponent.
        divide_alpha: whether `alpha` is divided by `n`, as in Caffe, cuda-convnet and torch.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.
        training: True for the faster way to train; it has only a first derivative.

    Returns:
        The shape of `inputs`, in the layer's compute dtype.

    Raises:
        ValueError: if `n` is not odd.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
        NIPS 2012, section 3.3.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> images = keras.Input((27, 27, 96))
        >>> layers.LocalResponseNormalization(k=1.0, divide_alpha=True)(images).shape
        (None, 27, 27, 96)
    """

    def __init__(
        self,
        n: int = 5,
        k: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        divide_alpha: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"`n` must be odd, so that the window has a middle. Received: n={n}")
        # NumPy's scalars would widen the dtype of the result, and JSON cannot hold them.
        self.n, self.k, self.alpha, self.beta = int(n), float(k), float(alpha), float(beta)
        self.divide_alpha = bool(divide_alpha)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Normalize `inputs`."""
        alpha, radius = self.alpha / self.n if self.divide_alpha else self.alpha, self.n // 2
        x = ops.cast(inputs, "float32")
        if training and self.beta == 0.75:
            return ops.cast(_normalize_to_train(x, radius, self.k, alpha), self.compute_dtype)
        energy = self.k + ops.conv(x * x, _band(x.shape[-1], radius, alpha), data_format="channels_last")
        if self.beta == 0.75:
            root = ops.rsqrt(energy)
            # The order of the factors matters for int8. If a pool or a convolution follows, TFLite's converter gives
            # one factor the scale of the product. The product of the two roots would then keep three of 256 values.
            x = (x * root) * ops.rsqrt(energy * root)
        else:
            x = x * ops.power(energy, -self.beta)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        return input_shape

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        own = {"n": self.n, "k": self.k, "alpha": self.alpha, "beta": self.beta, "divide_alpha": self.divide_alpha}
        return {**super().get_config(), **own}


def _band(channels: int, radius: int, weight: float) -> np.ndarray:
    """Return the 1x1 kernel that adds weighted channels within a radius."""
    is_neighbor = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels))) <= radius
    return (is_neighbor * weight)[None, None].astype("float32")


def _add_neighbors(x: Tensor, radius: int, weight: float) -> Tensor:
    """Return the sum of the channels within a radius, times a weight.

    A band over all channels is nearly all zeros. With blocks of channels in place of columns, a kernel over a block and
    the two beside it does the same with fewer multiplications: 5 times fewer for 256 channels.

    Args:
        x: (batch, height, width, channels), float32.
        radius: how far the neighbors reach on either side.
        weight: factor of the sum.
    """
    channels = x.shape[-1]
    if channels % BLOCK or radius > BLOCK:
        return ops.conv(x, _band(channels, radius, weight), data_format="channels_last")
    kernel = _band(3 * BLOCK, radius, weight)[0, 0, :, BLOCK : 2 * BLOCK].reshape(1, 3, BLOCK, BLOCK)
    blocks = ops.reshape(x, (1, -1, channels // BLOCK, BLOCK))  # all pixels above each other
    return ops.reshape(ops.conv(blocks, kernel, padding="same", data_format="channels_last"), ops.shape(x))


def _normalize_to_train(x: Tensor, radius: int, k: float, alpha: float) -> Tensor:
    """Normalize `x` with a written-out gradient.

    The result is x / (k + alpha * sum of squares) ** 0.75.

    The gradient of x * e ** -0.75 is g * e ** -0.75 - 1.5 * alpha * x * neighbors(g * x * e ** -1.75).

    Args:
        x: (batch, height, width, channels), float32.
        radius: how far the neighbors reach on either side.
        k: number added to the sum.
        alpha: factor of the sum.
    """

    @ops.custom_gradient
    def normalize(x: Tensor) -> tuple[Tensor, Any]:
        energy = k + _add_neighbors(x * x, radius, alpha)
        root = ops.rsqrt(energy)
        factor = root * ops.rsqrt(energy * root)

        def gradient(*arguments: Tensor, upstream: Tensor | None = None) -> Tensor:
            if upstream is None:  # TensorFlow and JAX give it as the argument
                (upstream,) = arguments
            scaled = upstream * factor
            return scaled - x * _add_neighbors(scaled * x * (root * root), radius, 1.5 * alpha)

        return x * factor, gradient

    return normalize(x)


@keras.saving.register_keras_serializable(package="keras_cnns")
class Maxout(keras.layers.Layer):
    """Keep the largest of every `pieces` adjacent channels.

    Args:
        pieces: number of channels that compete for each output channel.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, ..., channels), any dtype; `channels` a multiple of `pieces`.

    Returns:
        (batch, ..., channels // pieces), same dtype.

    Raises:
        ValueError: if the channels are not a multiple of `pieces`.

    Reference:
        I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio: Maxout Networks, ICML 2013, section 3.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import layers
        >>> np.asarray(layers.Maxout(pieces=2)(np.array([[1.0, 5.0, 4.0, 2.0]], "float32"))).tolist()
        [[5.0, 4.0]]
    """

    def __init__(self, pieces: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        if pieces < 1:
            raise ValueError(f"`pieces` must be at least 1. Received: pieces={pieces}")
        self.pieces = int(pieces)

    def build(self, input_shape: TensorShape) -> None:
        self.compute_output_shape(input_shape)  # raises an error if the shape does not fit

    def call(self, inputs: Tensor) -> Tensor:
        """Return the largest of each group of channels."""
        sides = inputs.shape[1:-1]
        if None in sides:
            sides = ops.shape(inputs)[1:-1]
        return ops.max(ops.reshape(inputs, (-1, *sides, inputs.shape[-1] // self.pieces, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        if input_shape[-1] % self.pieces:
            raise ValueError(
                f"the number of channels must be a multiple of `pieces`. "
                f"Received: input_shape={tuple(input_shape)}, pieces={self.pieces}"
            )
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pieces": self.pieces}


@keras.saving.register_keras_serializable(package="keras_cnns")
class SplitConv2D(keras.layers.Conv2D):
    """Compute a grouped convolution as separate convolutions of its groups.

    The channels are split, each part is convolved, and the results are joined. Results and weights are those of
    `keras.layers.Conv2D(..., groups=groups)`: the kernels of both have the shape (height, width, channels / groups,
    filters), and can be exchanged. Native grouped convolution trains many times slower on CPUs, and ONNX Runtime does
    not accept its ONNX export.

    Args:
        *args: arguments of `keras.layers.Conv2D`. With `groups`, each part of the channels is seen by an equal part of
            the filters.
        **kwargs: arguments of `keras.layers.Conv2D`; `data_format` must be "channels_last".

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; `channels` a multiple of `groups`.

    Returns:
        The shape and dtype of `keras.layers.Conv2D`.

    Raises:
        ValueError: if `data_format` is not "channels_last".

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
        NIPS 2012, section 3.5: the two GPUs.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layer = layers.SplitConv2D(256, 5, padding="same", groups=2)
        >>> layer(keras.Input((27, 27, 96))).shape, tuple(layer.kernel.shape)
        ((None, 27, 27, 256), (5, 5, 48, 256))
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})
        if self.data_format != "channels_last":
            raise ValueError(f"`data_format` must be 'channels_last'. Received: data_format={self.data_format!r}")

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve each part of the channels of `inputs` with its own filters."""
        parts = zip(ops.split(inputs, self.groups, -1), ops.split(self.kernel, self.groups, -1), strict=True)
        x = ops.concatenate([self.convolution_op(part, kernel) for part, kernel in parts], axis=-1)
        if self.use_bias:
            x = ops.add(x, ops.cast(self.bias, x.dtype))
        return x if self.activation is None else self.activation(x)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return the multiply-adds and connections of one image; biases are connections."""
        _, height, width, filters = self.compute_output_shape(input_shape)
        macs = height * width * int(np.prod(self.kernel.shape))
        return {"macs": macs, "connections": macs + self.use_bias * height * width * filters}


@keras.saving.register_keras_serializable(package="keras_cnns")
class ZeroPadShortcut(keras.layers.Layer):
    """Subsample pixels and append channels of zeros.

    This is the shortcut without parameters of residual networks.

    Args:
        filters: channels of the output, at least those of the input.
        strides: distance of the pixels that are kept; the first pixel is among them.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.

    Returns:
        (batch, ceil(height / strides), ceil(width / strides), filters), same dtype.

    Raises:
        ValueError: if the input has more than `filters` channels.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, section 3.3,
        option A.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layers.ZeroPadShortcut(32, strides=2)(keras.Input((8, 8, 16))).shape
        (None, 4, 4, 32)
    """

    def __init__(self, filters: int, strides: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.strides = int(filters), int(strides)

    def build(self, input_shape: TensorShape) -> None:
        self.compute_output_shape(input_shape)  # raises an error if the shape does not fit

    def call(self, inputs: Tensor) -> Tensor:
        """Return every `strides`-th pixel, with zeros after its channels."""
        x = inputs[:, :: self.strides, :: self.strides] if self.strides > 1 else inputs
        return ops.pad(x, [(0, 0)] * 3 + [(0, self.filters - inputs.shape[-1])])

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, *sides, channels = input_shape
        if channels > self.filters:
            raise ValueError(
                f"`filters` must be at least the number of channels, {channels}. Received: filters={self.filters}"
            )
        return (batch, *(None if side is None else -(-side // self.strides) for side in sides), self.filters)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
