"""Pooling whose output sizes round up, as in cuda-convnet and Caffe."""

from collections.abc import Callable
from typing import Any, Literal

import keras
from keras import ops

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape


def _rows_beyond(size: int | None, pool: int, stride: int) -> int:
    """Return how many rows the last window reaches beyond the edge.

    Args:
        size: number of rows; None if unknown, for which the result is the most possible rows, `stride - 1`.
        pool: side of the window.
        stride: step of the window.
    """
    return stride - 1 if size is None else -(size - pool) % stride


class _CeilPooling:
    """A mixin with the padding and output shape of both poolings."""

    # Attributes that Keras's class sets
    name: str
    pool_size: tuple[int, int]
    strides: tuple[int, int]
    padding: str
    data_format: str
    compute_dtype: str

    def __init__(self, *args: Any, **kwargs: Any):
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

    def _padding(self, shape: TensorShape) -> list[int]:
        """Return the rows and columns to add at the far edges."""
        axes = list(zip(shape[1:3], self.pool_size, self.strides, strict=True))
        if any(size is not None and size <= pool - stride for size, pool, stride in axes):
            raise ValueError(
                f"{self.name}: too little is left of the image for a window of {self.pool_size}; take larger "
                f"images. Received: input_shape={tuple(shape)}"
            )
        return [_rows_beyond(*axis) for axis in axes]

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, *sizes, channels = input_shape
        extra = self._padding(input_shape)
        sizes = [None if size is None else size + more for size, more in zip(sizes, extra, strict=True)]
        return super().compute_output_shape((batch, *sizes, channels))  # type: ignore[misc]  # Keras's class has it

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return the connections of one image, with whole windows at the edge."""
        _, height, width, channels = self.compute_output_shape(input_shape)
        return {"macs": 0, "connections": height * width * channels * self.pool_size[0] * self.pool_size[1]}

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)


@keras.saving.register_keras_serializable(package="keras_cnns")
class CeilMaxPooling2D(_CeilPooling, keras.layers.MaxPooling2D):
    """Keep the maximum of each window, with output sizes that round up.

    An axis of `n` positions becomes `1 + ceil((n - pool) / stride)` positions; the last window is cut off at the edge.
    The edge is repeated, which does not change the maximum, because the repeated values already lie in the window.
    Padding with minus infinity would do the same, but integer quantization cannot represent it.

    Args:
        *args: arguments of `keras.layers.MaxPooling2D`.
        **kwargs: arguments of `keras.layers.MaxPooling2D`; `padding` must be "valid".

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; height and width may be unknown.

    Returns:
        (batch, 1 + ceil((height - pool) / stride), ..., channels), same dtype.

    Reference:
        A. Krizhevsky, cuda-convnet, 2012; Caffe's pooling layer.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> images = keras.Input((32, 32, 96))
        >>> layers.CeilMaxPooling2D(3, 2)(images).shape, keras.layers.MaxPooling2D(3, 2)(images).shape
        ((None, 16, 16, 96), (None, 15, 15, 96))
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Pool `inputs`."""
        height, width = self._padding(inputs.shape)
        # Pad one row at a time: a symmetric pad by one repeats the edge; a wider one would mirror the rows before it.
        for step in range(max(height, width)):
            pads = [(0, 0), (0, int(step < height)), (0, int(step < width)), (0, 0)]
            inputs = ops.pad(inputs, pads, mode="symmetric")
        return super().call(inputs)


@keras.saving.register_keras_serializable(package="keras_cnns")
class CeilAveragePooling2D(_CeilPooling, keras.layers.AveragePooling2D):
    """Average each window, with output sizes that round up.

    A window that is cut off at the edge is divided by the number of its real pixels. Arguments, shapes and reference
    are those of `CeilMaxPooling2D`.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> images = keras.Input((16, 16, 96))
        >>> layers.CeilAveragePooling2D(3, 2)(images).shape, keras.layers.AveragePooling2D(3, 2)(images).shape
        ((None, 8, 8, 96), (None, 7, 7, 96))
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Pool `inputs`."""
        height, width = self._padding(inputs.shape)
        pads = [(0, 0), (0, height), (0, width), (0, 0)]
        real_share = super().call(ops.pad(ops.ones_like(inputs[:1, :, :, :1]), pads))  # of the pixels of each window
        return super().call(ops.pad(inputs, pads)) / real_share


def ceil_pooling(
    kind: Literal["max", "average"], pool_size: int, strides: int, name: str
) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Return a function that pools with output sizes that round up.

    It applies Keras's own layer wherever that computes the same, so that a file with only such pools loads without
    this package. Keras's "valid" is the same if the windows fit exactly; "same" is the same if its padding is at most
    one row at the far edge. On torch, Keras's "same" average counts the padding, so it is not used there.

    Args:
        kind: "max" or "average".
        pool_size: side of the window, in positions.
        strides: step of the window, in positions.
        name: name of the layer.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> pool = layers.ceil_pooling("max", 3, 2, "pool1")
        >>> pool(keras.Input((32, 32, 96))).shape
        (None, 16, 16, 96)
    """
    classes: dict[str, tuple[Any, Any]] = {
        "max": (keras.layers.MaxPooling2D, CeilMaxPooling2D),
        "average": (keras.layers.AveragePooling2D, CeilAveragePooling2D),
    }
    keras_class, ceil_class = classes[kind]
    pool_size, strides = int(pool_size), int(strides)

    def pool(x: keras.KerasTensor) -> keras.KerasTensor:
        sizes = x.shape[1:3]
        if None not in sizes:
            extra = [_rows_beyond(size, pool_size, strides) for size in sizes]
            same = [max(-(-size // strides) * strides - strides + pool_size - size, 0) for size in sizes]
            if extra == [0, 0]:
                return keras_class(pool_size, strides, padding="valid", name=name)(x)
            if extra == same and max(extra) <= 1 and (kind == "max" or keras.backend.backend() != "torch"):
                return keras_class(pool_size, strides, padding="same", name=name)(x)
        return ceil_class(pool_size, strides, name=name)(x)

    return pool
