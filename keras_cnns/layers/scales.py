"""Layers that resize images and maps by bilinear interpolation, to any size."""

from typing import Any

import keras
from keras import ops

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape
from keras_cnns.layers.sizes import two_maps


@keras.saving.register_keras_serializable(package="keras_cnns")
class Rescale2D(keras.layers.Layer):
    """Resize images by a factor, such as 0.75.

    Sides are rounded down. Positions are squares whose outer edges stay where they are. Pixels are not averaged before
    images become smaller, as in networks that see an image in several scales.

    Args:
        factor: the new sides divided by the old ones.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype; height and width may be unknown.

    Returns:
        (batch, height * factor, width * factor, channels), same dtype.

    Raises:
        ValueError: if `factor` is not positive.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layers.Rescale2D(0.75)(keras.Input((321, 321, 3))).shape
        (None, 240, 240, 3)
    """

    def __init__(self, factor: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = float(plain(factor))
        if not self.factor > 0:
            raise ValueError(f"`factor` must be positive. Received: factor={factor}")

    def call(self, inputs: Tensor) -> Tensor:
        """Resize `inputs`."""
        height, width = (self._resized(side) for side in ops.shape(inputs)[1:3])
        return _resize(inputs, height, width)

    def _resized(self, side):
        """Return a side times the factor, as a number or a tensor."""
        if isinstance(side, int):
            return max(1, int(side * self.factor))
        return ops.maximum(1, ops.cast(ops.cast(side, "float32") * self.factor, "int32"))

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        batch, *sides, channels = input_shape
        return (batch, *(None if side is None else self._resized(side) for side in sides), channels)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="keras_cnns")
class ResizeLike(keras.layers.Layer):
    """Resize maps to the height and width of other maps.

    Positions are squares whose outer edges stay where they are.

    Call arguments:
        inputs: a list of two tensors (batch, height, width, channels): the maps to resize, and those whose height and
            width the result has. Sizes may be unknown.

    Returns:
        (batch, height and width of the second tensor, channels of the first), dtype of the first.

    Raises:
        ValueError: if the input is not two tensors of maps.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layers.ResizeLike()([keras.Input((160, 160, 21)), keras.Input((321, 321, 3))]).shape
        (None, 321, 321, 21)
    """

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Resize the first of `inputs`."""
        maps, like = inputs
        height, width = ops.shape(like)[1:3]
        return _resize(maps, height, width)

    def compute_output_shape(self, input_shape: list[TensorShape]) -> TensorShape:
        maps, like = two_maps(self.name, input_shape)
        return (maps[0], *like[1:3], maps[3])

    def compute_cost(self, input_shape: list[TensorShape]) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}


def _resize(x, height, width):
    """Return maps of another size.

    It is `keras.ops.image.resize`, which takes no sizes that are known only when the network runs.
    """
    return _along(_along(x, 1, height), 2, width)


def _along(x, axis, side):
    """Resize along rows (axis 1) or columns (axis 2)."""
    own = ops.shape(x)[axis]
    ratio = ops.cast(own, "float32") / ops.cast(side, "float32")
    places = (ops.arange(side, dtype="float32") + 0.5) * ratio - 0.5
    places = ops.clip(places, 0.0, ops.cast(own - 1, "float32"))
    before = ops.cast(ops.floor(places), "int32")
    after = ops.minimum(before + 1, own - 1)
    share = ops.cast(places - ops.floor(places), x.dtype)
    share = ops.reshape(share, (1, -1, 1, 1) if axis == 1 else (1, 1, -1, 1))
    first, second = (ops.take(x, indices, axis=axis) for indices in (before, after))
    return first + share * (second - first)
