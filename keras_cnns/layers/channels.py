"""Layers that work on channels: normalization over neighbors, maxima of pieces, groups, zeros appended."""

import keras
import numpy as np
from keras import ops

from keras_cnns.layers._numbers import plain


@keras.saving.register_keras_serializable(package="keras_cnns")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide each channel by a power of the energy of its neighbors.

    output[c] = input[c] / (k + alpha * sum(input[c - n // 2 ... c + n // 2] ** 2)) ** beta

    Computed in float32 under every dtype policy. The sum over channels is a 1x1 convolution with a band of ones, and
    the power -0.75 is made of reciprocal square roots: so it runs on every backend, and integer quantization leaves
    no float operation behind.

    Args:
        n: channels in the sum, odd; fewer at both ends.
        k: added to the sum.
        alpha: weight of the sum. The paper's 1e-4 is not divided by `n`.
        beta: the power.
        divide_alpha: whether `alpha` is divided by `n`, as Caffe, cuda-convnet and torch do.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.

    Returns:
        As `inputs`, in the layer's compute dtype.

    Raises:
        ValueError: if `n` is not odd.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
        NIPS 2012, section 3.3.
    """

    def __init__(self, n=5, k=2.0, alpha=1e-4, beta=0.75, divide_alpha=False, **kwargs):
        super().__init__(**kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"`n` must be odd, so that the window has a middle. Received: n={n}")
        # NumPy's scalars would widen the dtype of what is computed, and are no JSON
        self.n, self.k, self.alpha, self.beta = int(n), float(k), float(alpha), float(beta)
        self.divide_alpha = bool(divide_alpha)

    def call(self, inputs):
        """Normalize `inputs`."""
        channels, radius = inputs.shape[-1], self.n // 2
        band = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels))) <= radius
        band = band * (self.alpha / self.n if self.divide_alpha else self.alpha)
        x = ops.cast(inputs, "float32")
        energy = self.k + ops.conv(x * x, band[None, None].astype("float32"), data_format="channels_last")
        if self.beta == 0.75:
            root = ops.rsqrt(energy)
            # In this order: TFLite's converter gives one factor the scale of the product, when a pool or a convolution
            # follows; of the two roots, quantized so, three values out of 256 would be left
            x = (x * root) * ops.rsqrt(energy * root)
        else:
            x = x * ops.power(energy, -self.beta)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": 0}: only layers with a kernel or a pool have any."""
        return {"macs": 0, "connections": 0}

    def get_config(self):
        own = {"n": self.n, "k": self.k, "alpha": self.alpha, "beta": self.beta, "divide_alpha": self.divide_alpha}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_cnns")
class Maxout(keras.layers.Layer):
    """Keep the largest of every `pieces` adjacent channels.

    Args:
        pieces: channels that compete for each output channel.

    Call arguments:
        inputs: (batch, ..., channels), any dtype; `channels` a multiple of `pieces`.

    Returns:
        (batch, ..., channels // pieces), same dtype.

    Raises:
        ValueError: if the channels are not a multiple of `pieces`.

    Reference:
        I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio: Maxout Networks, ICML 2013, section 3.
    """

    def __init__(self, pieces=2, **kwargs):
        super().__init__(**kwargs)
        if pieces < 1:
            raise ValueError(f"`pieces` must be at least 1. Received: pieces={pieces}")
        self.pieces = int(pieces)

    def build(self, input_shape):
        self.compute_output_shape(input_shape)  # which checks it

    def call(self, inputs):
        """Return the largest of each group of channels."""
        sides = inputs.shape[1:-1]
        if None in sides:
            sides = ops.shape(inputs)[1:-1]
        return ops.max(ops.reshape(inputs, (-1, *sides, inputs.shape[-1] // self.pieces, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        if input_shape[-1] % self.pieces:
            raise ValueError(
                f"the number of channels must be a multiple of `pieces`. "
                f"Received: input_shape={tuple(input_shape)}, pieces={self.pieces}"
            )
        return (*input_shape[:-1], input_shape[-1] // self.pieces)

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": 0}: only layers with a kernel or a pool have any."""
        return {"macs": 0, "connections": 0}

    def get_config(self):
        return {**super().get_config(), "pieces": self.pieces}


@keras.saving.register_keras_serializable(package="keras_cnns")
class SplitConv2D(keras.layers.Conv2D):
    """A grouped convolution as its groups: split, convolve each part, join.

    The same numbers and the same weights as `keras.layers.Conv2D(..., groups=groups)`: its kernel, (height, width,
    channels / groups, filters), fits here and the other way round. The kernels of native grouped convolution train
    many times slower on CPUs, and its ONNX export is not accepted by ONNX Runtime.

    Args:
        filters, kernel_size, ...: as in `keras.layers.Conv2D`; `data_format` stays "channels_last".
        groups: number of parts of the channels, each seen by as many of the filters.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; `channels` a multiple of `groups`.

    Returns:
        As `keras.layers.Conv2D`.

    Raises:
        ValueError: if `data_format` is another one.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks,
        NIPS 2012, section 3.5: the two GPUs.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})
        if self.data_format != "channels_last":
            raise ValueError(f"`data_format` must be 'channels_last'. Received: data_format={self.data_format!r}")

    def call(self, inputs):
        """Convolve each part of the channels of `inputs` with its own filters."""
        parts = zip(ops.split(inputs, self.groups, -1), ops.split(self.kernel, self.groups, -1), strict=True)
        x = ops.concatenate([self.convolution_op(part, kernel) for part, kernel in parts], axis=-1)
        if self.use_bias:
            x = ops.add(x, ops.cast(self.bias, x.dtype))
        return x if self.activation is None else self.activation(x)

    def compute_cost(self, input_shape):
        """Return {"macs": multiply-adds, "connections": links from inputs and biases to units} of one image."""
        _, height, width, filters = self.compute_output_shape(input_shape)
        macs = height * width * int(np.prod(self.kernel.shape))
        return {"macs": macs, "connections": macs + self.use_bias * height * width * filters}


@keras.saving.register_keras_serializable(package="keras_cnns")
class ZeroPadShortcut(keras.layers.Layer):
    """The shortcut without parameters: every `strides`-th pixel, and channels of zeros appended up to `filters`.

    Args:
        filters: channels of the output, at least those of the input.
        strides: distance of the pixels that are kept, the first among them.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.

    Returns:
        (batch, ceil(height / strides), ceil(width / strides), filters), same dtype.

    Raises:
        ValueError: if the input has more than `filters` channels.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, section 3.3,
        option A.
    """

    def __init__(self, filters, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides = int(filters), int(strides)

    def build(self, input_shape):
        self.compute_output_shape(input_shape)  # which checks it

    def call(self, inputs):
        """Return the pixels that are kept, with zeros behind their channels."""
        x = inputs[:, :: self.strides, :: self.strides] if self.strides > 1 else inputs
        return ops.pad(x, [(0, 0)] * 3 + [(0, self.filters - inputs.shape[-1])])

    def compute_output_shape(self, input_shape):
        batch, *sides, channels = input_shape
        if channels > self.filters:
            raise ValueError(
                f"`filters` must be at least the number of channels, {channels}. Received: filters={self.filters}"
            )
        return (batch, *(None if side is None else -(-side // self.strides) for side in sides), self.filters)

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": 0}: only layers with a kernel or a pool have any."""
        return {"macs": 0, "connections": 0}

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}
