"""Layers that change height and width.

Networks need them whose output is a map as large as the image, for images of any size.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape


@keras.saving.register_keras_serializable(package="keras_cnns")
class PadToMultiple(keras.layers.Layer):
    """Pad height and width with zeros to a multiple of a number.

    Half of the zeros are on either side; of an odd number the larger half is at the bottom right. `CropLike` cuts a map
    of the padded size back to the image.

    Args:
        multiple: the number, usually the stride of a network.
        remainder: number to add to the multiple: with `PadToMultiple(8, 1)` sides become 1, 9, 17, ...
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; height and width may be unknown.

    Returns:
        (batch, height + more, width + more, channels), same dtype.

    Raises:
        ValueError: if `multiple` is not positive, or `remainder` is not a remainder of it.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layers.PadToMultiple(32)(keras.Input((500, 333, 3))).shape
        (None, 512, 352, 3)
    """

    def __init__(self, multiple: int, remainder: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.multiple, self.remainder = int(plain(multiple)), int(plain(remainder))
        if self.multiple < 1 or not 0 <= self.remainder < self.multiple:
            raise ValueError(
                f"`multiple` must be positive, and `remainder` at least 0 and below it. "
                f"Received: multiple={multiple}, remainder={remainder}"
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Pad `inputs`."""
        if None not in inputs.shape[1:3]:
            sides = [(missing // 2, missing - missing // 2) for missing in map(self._missing, inputs.shape[1:3])]
            return ops.pad(inputs, [(0, 0), *sides, (0, 0)]) if any(map(any, sides)) else inputs
        # Pads of unknown width are the part of wider ones that is needed
        most = self.multiple - 1
        height, width = ops.shape(inputs)[1:3]
        top, left = (most - self._missing(side) // 2 for side in (height, width))
        padded = ops.pad(inputs, [(0, 0), (most, most), (most, most), (0, 0)])
        return padded[:, top : top + height + self._missing(height), left : left + width + self._missing(width)]

    def _missing(self, side):
        """Return how many zeros a side needs."""
        # (remainder - side) % multiple, of positive numbers: ONNX's remainder of negative ones has another sign
        most = self.multiple - 1
        return most - (side - self.remainder + most) % self.multiple

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else side + self._missing(side) for side in sides), channels)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "multiple": self.multiple, "remainder": self.remainder}


@keras.saving.register_keras_serializable(package="keras_cnns")
class CropLike(keras.layers.Layer):
    """Cut maps to the height and width of other maps.

    Caffe calls this layer Crop.

    Args:
        offset: rows and columns to leave out at the top left. None: half of those that are too many, rounded down, so
            that what `PadToMultiple` added is removed.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: a list of two tensors (batch, height, width, channels): the maps to cut, and those whose height and
            width the result has. Sizes may be unknown.

    Returns:
        (batch, height and width of the second tensor, channels of the first), dtype of the first.

    Raises:
        ValueError: if too little is left of the maps, or the input is not two tensors of maps.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> scores, images = keras.Input((544, 544, 21)), keras.Input((500, 333, 3))
        >>> layers.CropLike(19)([scores, images]).shape
        (None, 500, 333, 21)
    """

    def __init__(self, offset: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.offset = None if offset is None else int(plain(offset))

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Cut the first of `inputs`."""
        self.compute_output_shape([tuple(tensor.shape) for tensor in inputs])  # raises for sizes that do not fit
        maps, like = inputs
        height, width = ops.shape(like)[1:3]
        if self.offset is None:
            top, left = ((own - side) // 2 for own, side in zip(ops.shape(maps)[1:3], (height, width), strict=True))
        else:
            top = left = self.offset
        return maps[:, top : top + height, left : left + width]

    def compute_output_shape(self, input_shape: list[TensorShape]) -> TensorShape:
        maps, like = two_maps(self.name, input_shape)
        for own, side in zip(maps[1:3], like[1:3], strict=True):
            if None not in (own, side) and own < side + (self.offset or 0):
                raise ValueError(
                    f"{self.name}: {side} rows or columns after the first {self.offset or 0} do not fit into {own}; "
                    f"pass larger maps. Received: input_shape={input_shape}"
                )
        return (maps[0], *like[1:3], maps[3])

    def compute_cost(self, input_shape: list[TensorShape]) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}


@keras.saving.register_keras_serializable(package="keras_cnns")
class BilinearUpSampling2D(keras.layers.Layer):
    """Enlarge maps by bilinear interpolation, without weights.

    Keras's `UpSampling2D` does not run on maps of unknown size with TensorFlow, and has no aligned corners.

    Args:
        factor: how many times to enlarge.
        align_corners: False takes positions for squares and keeps their outer edges where they are, as Keras does. True
            keeps the first and the last position where they are and adds `factor - 1` between two, as Caffe's layer
            Interp does for DeepLab.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; height and width may be unknown.

    Returns:
        (batch, height * factor, width * factor, channels) or, with aligned corners, (batch, (height - 1) * factor + 1,
        (width - 1) * factor + 1, channels), same dtype.

    Raises:
        ValueError: if `factor` is not positive.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layers.BilinearUpSampling2D(8, align_corners=True)(keras.Input((41, 41, 21))).shape
        (None, 321, 321, 21)
    """

    def __init__(self, factor: int, align_corners: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor, self.align_corners = int(plain(factor)), bool(align_corners)
        if self.factor < 1:
            raise ValueError(f"`factor` must be positive. Received: factor={factor}")

    def call(self, inputs: Tensor) -> Tensor:
        """Enlarge `inputs`."""
        return self._along(self._along(inputs, axis=1), axis=2)

    def _along(self, x, axis):
        """Enlarge along rows (axis 1) or columns (axis 2)."""

        def part(start, stop):
            return x[:, start:stop] if axis == 1 else x[:, :, start:stop]

        if self.align_corners:
            here, before, after = part(None, -1), None, part(1, None)
            shares = [k / self.factor for k in range(self.factor)]
        else:
            here = x
            before = ops.concatenate([part(None, 1), part(None, -1)], axis)
            after = ops.concatenate([part(1, None), part(-1, None)], axis)
            shares = [(k + 0.5) / self.factor - 0.5 for k in range(self.factor)]
        # A share below zero is one of the position before
        moved = [here + abs(share) * ((after if share >= 0 else before) - here) for share in shares]
        shape = list(ops.shape(x))
        shape[axis] = (shape[axis] - 1 if self.align_corners else shape[axis]) * self.factor
        enlarged = ops.reshape(ops.stack(moved, axis=axis + 1), shape)
        return ops.concatenate([enlarged, part(-1, None)], axis) if self.align_corners else enlarged

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, *sides, channels = input_shape
        last = int(self.align_corners)
        return (batch, *(None if side is None else (side - last) * self.factor + last for side in sides), channels)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor, "align_corners": self.align_corners}


@keras.saving.register_keras_serializable(package="keras_cnns")
class BilinearKernel(keras.initializers.Initializer):
    """Fill the kernel of a transposed convolution for bilinear interpolation.

    Each class is interpolated alone: with c the center of the kernel, k its side and f = (k + 1) // 2, its value at row
    i and column j is (1 - |i - c| / f) * (1 - |j - c| / f) from a channel to the same channel, and 0 to others.
    A `Conv2DTranspose` of stride f with a kernel of side 2 f (f even) or 2 f - 1 then enlarges f times, except near the
    border, where its results fade to zero.

    Reference:
        J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section
        3.3; surgery.py of its authors.

    Examples:
        >>> from keras_cnns import layers
        >>> layers.BilinearKernel()((4, 4, 1, 1))[0, :, 0, 0].numpy().tolist()
        [0.0625, 0.1875, 0.1875, 0.0625]
    """

    def __call__(self, shape: TensorShape, dtype: Any = None) -> Tensor:
        """Return the kernel.

        Args:
            shape: (height, width, channels, channels).
            dtype: of the result.
        """
        height, width, channels_out, channels_in = shape
        if channels_out != channels_in:
            raise ValueError(
                f"each channel is interpolated alone: a bilinear kernel has as many channels in as out. "
                f"Received: shape={tuple(shape)}"
            )
        window = np.multiply.outer(_triangle(height), _triangle(width))
        kernel = window[..., None, None] * np.eye(channels_in)
        return ops.convert_to_tensor(kernel, dtype=keras.backend.standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {}


def two_maps(name: str, input_shape: list[TensorShape]) -> tuple[TensorShape, TensorShape]:
    """Return the shapes of two maps, after a check.

    Args:
        name: of the layer that takes them, for the error.
        input_shape: what it was called with.

    Raises:
        ValueError: for anything but two tensors of maps.
    """
    if len(input_shape) != 2 or any(len(shape) != 4 for shape in input_shape):
        raise ValueError(
            f"{name}: call the layer with a list of two tensors (batch, height, width, channels). "
            f"Received: input_shape={input_shape}"
        )
    maps, like = input_shape
    return maps, like


def _triangle(side):
    """Return the weights of linear interpolation with a kernel of `side` values."""
    factor = (side + 1) // 2
    center = factor - 1 if side % 2 else factor - 0.5
    return 1 - np.abs(np.arange(side) - center) / factor
