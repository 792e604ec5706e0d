"""Normalization of the channels at each position."""

from typing import Any

import keras
from keras import ops

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape

EPSILON = 1e-10  # added to the sum of squares, as in Caffe; a position of zeros stays zero


@keras.saving.register_keras_serializable(package="keras_cnns")
class L2Normalization(keras.layers.Layer):
    """Scale the channels at each position to a length that is learned.

    The values at a position are divided by the root of the sum of their squares, and each channel is multiplied by a
    weight. SSD puts it after conv4_3, whose values are larger than those of later maps.

    Args:
        start: initial value of the weights.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, height, width, channels), any float dtype.

    Returns:
        The shape of `inputs`, in the layer's compute dtype; it is computed in float32.

    Reference:
        W. Liu, A. Rabinovich, A. C. Berg: ParseNet: Looking Wider to See Better, 2015, arXiv 1506.04579, section 3.3.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layer = layers.L2Normalization()
        >>> layer(keras.Input((38, 38, 512))).shape, layer.count_params()
        ((None, 38, 38, 512), 512)
    """

    def __init__(self, start: float = 20.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.start = float(plain(start))

    def build(self, input_shape: TensorShape) -> None:
        """Create the weight of each channel."""
        self.scale = self.add_weight(
            name="scale", shape=(input_shape[-1],), initializer=keras.initializers.Constant(self.start)
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Normalize `inputs`."""
        # Not by `ops.normalize`, which gives NaN in LiteRT at a position of zeros
        values = ops.cast(inputs, "float32")
        length = ops.rsqrt(ops.sum(ops.square(values), -1, keepdims=True) + EPSILON)
        return ops.cast(values * length * ops.cast(self.scale, "float32"), self.compute_dtype)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        """Return the shape of the input."""
        return input_shape

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zero multiply-adds and connections, as a layer without kernel or pool."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {**super().get_config(), "start": self.start}
