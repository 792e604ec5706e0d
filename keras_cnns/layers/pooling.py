"""Pooling whose output sizes round up, as in cuda-convnet and Caffe."""

import keras
from keras import ops

from keras_cnns.layers._numbers import plain


def _ceil_extra(size, pool, stride):
    """Rows that the last window of a pool which rounds up reaches beyond `size`; `stride - 1` if unknown."""
    return stride - 1 if size is None else -(size - pool) % stride


class _CeilPooling:
    """What the two ceil poolings share: how far to pad, and the shape that comes out."""

    def __init__(self, *args, **kwargs):
        super().__init__(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})
        if self.padding != "valid" or self.data_format != "channels_last":
            raise ValueError(
                f"{type(self).__name__} rounds up by itself: leave `padding` at 'valid' and `data_format` at "
                f"'channels_last'. Received: padding={self.padding}, data_format={self.data_format}"
            )
        if any(pool < stride for pool, stride in zip(self.pool_size, self.strides, strict=True)):
            raise ValueError(
                f"`pool_size` must be at least `strides`, or the last window could lie outside. "
                f"Received: pool_size={self.pool_size}, strides={self.strides}"
            )

    def _extra(self, shape):
        axes = list(zip(shape[1:3], self.pool_size, self.strides, strict=True))
        if any(size is not None and size <= pool - stride for size, pool, stride in axes):
            raise ValueError(
                f"{self.name}: too little is left of the image for a window of {self.pool_size}; take larger "
                f"images. Received: input_shape={tuple(shape)}"
            )
        return [_ceil_extra(*axis) for axis in axes]

    def compute_output_shape(self, input_shape):
        batch, *sizes, channels = input_shape
        extra = self._extra(input_shape)
        sizes = [None if size is None else size + more for size, more in zip(sizes, extra, strict=True)]
        return super().compute_output_shape((batch, *sizes, channels))

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": links from inputs to units} of one image, no window cut off."""
        _, height, width, channels = self.compute_output_shape(input_shape)
        return {"macs": 0, "connections": height * width * channels * self.pool_size[0] * self.pool_size[1]}

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package="keras_cnns")
class CeilMaxPooling2D(_CeilPooling, keras.layers.MaxPooling2D):
    """Max pooling whose output size rounds up, as in cuda-convnet and Caffe.

    An axis of `n` positions gives `1 + ceil((n - pool) / stride)`; the last window is cut off at the edge.
    The edge is repeated rather than padded with minus infinity, which integer quantization cannot represent:
    the repeated value already lies in the window, so the maximum is the same.

    Args:
        pool_size, strides, name, dtype: as in `keras.layers.MaxPooling2D`; `padding` stays "valid".

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; height and width may be unknown.

    Returns:
        (batch, 1 + ceil((height - pool) / stride), ..., channels), same dtype.

    Reference:
        A. Krizhevsky, cuda-convnet, 2012; Caffe's pooling layer.
    """

    def call(self, inputs):
        """Pool `inputs`."""
        height, width = self._extra(inputs.shape)
        # One row at a time: a symmetric pad by one repeats the edge itself, a wider one mirrors what lies behind it.
        for step in range(max(height, width)):
            pads = [(0, 0), (0, int(step < height)), (0, int(step < width)), (0, 0)]
            inputs = ops.pad(inputs, pads, mode="symmetric")
        return super().call(inputs)


@keras.saving.register_keras_serializable(package="keras_cnns")
class CeilAveragePooling2D(_CeilPooling, keras.layers.AveragePooling2D):
    """Average pooling whose output size rounds up; a window cut off at the edge divides by what it holds.

    Arguments, shapes and reference: as `CeilMaxPooling2D`.
    """

    def call(self, inputs):
        """Pool `inputs`."""
        height, width = self._extra(inputs.shape)
        pads = [(0, 0), (0, height), (0, width), (0, 0)]
        share = super().call(ops.pad(ops.ones_like(inputs[:1, :, :, :1]), pads))  # of each window that is real
        return super().call(ops.pad(inputs, pads)) / share


def ceil_pooling(kind, pool_size, strides, name):
    """Return a function that pools as Caffe does, through Keras's own layer wherever that does the same.

    Keras's "same" has the windows of a pool that rounds up when its padding is at most one row at the far edge;
    "valid" has them when the windows fit exactly. A file with only such pools loads without this package. On torch,
    Keras's "same" average counts what lies outside, so it is not taken there.

    Args:
        kind: "max" or "average".
        pool_size: side of the window, in positions.
        strides: step of the window, in positions.
        name: the layer's name.
    """
    keras_class, ceil_class = {
        "max": (keras.layers.MaxPooling2D, CeilMaxPooling2D),
        "average": (keras.layers.AveragePooling2D, CeilAveragePooling2D),
    }[kind]

    pool_size, strides = int(pool_size), int(strides)

    def pool(x):
        sizes = x.shape[1:3]
        if None not in sizes:
            extra = [_ceil_extra(size, pool_size, strides) for size in sizes]
            same = [max(-(-size // strides) * strides - strides + pool_size - size, 0) for size in sizes]
            if extra == [0, 0]:
                return keras_class(pool_size, strides, padding="valid", name=name)(x)
            if extra == same and max(extra) <= 1 and (kind == "max" or keras.backend.backend() != "torch"):
                return keras_class(pool_size, strides, padding="same", name=name)(x)
        return ceil_class(pool_size, strides, name=name)(x)

    return pool
