"""Batch normalization as one TensorFlow operation."""

from typing import Any

import keras
from keras import ops

from keras_cnns.layers._types import Cost, Tensor, TensorShape


class BatchNormalization(keras.layers.BatchNormalization):
    """Normalize batches, faster than Keras while training with TensorFlow.

    In training mode, forward pass and gradient are one fused operation each, instead of a dozen passes over the
    activations. This needs an input (batch, height, width, channels), normalized along the channels. Everything else is
    computed by Keras's own code: inference mode and frozen layers, other ranks and axes, masks, `renorm`,
    `synchronized`, float64, other backends. If replicas of `tf.distribute` share a batch, the statistics are those of
    the whole batch, as on one device and on JAX, and as with `synchronized`.

    Constructor, weights, their names and order, configuration and the saved name are those of
    `keras.layers.BatchNormalization`. Any Keras can read a file with this layer, and then computes with its own class;
    `keras_cnns.saving.load_model` restores this class. `model.from_config(model.get_config())` has Keras's own class.

    Its arguments are those of `keras.layers.BatchNormalization`: axis, momentum, epsilon, center, scale and others.

    Call arguments:
        inputs: (batch, height, width, channels), or any other shape, any float dtype.
        training: True to use the statistics of the batch, and update the moving ones; False to use the moving ones.
        mask: as for Keras's layer.

    Returns:
        The shape of `inputs`, in the layer's compute dtype.

    Reference:
        S. Ioffe, C. Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
        Shift, ICML 2015, algorithm 1. The moving variance is that of the batch, as in Keras; the paper multiplies it by
        m / (m - 1).

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layer = layers.BatchNormalization(momentum=0.9)
        >>> layer(keras.Input((4, 4, 3))).shape, layer.count_params()
        ((None, 4, 4, 3), 12)
    """

    # A file describes a layer by its class's module and name. With this module, any Keras finds its own class, even
    # where keras_cnns is not installed. It would not find a name that we registered.
    __module__ = "keras.layers"

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        """Normalize `inputs`."""
        if not (training and self.trainable and mask is None and self._can_fuse(inputs)):
            # In inference mode too, so that exporters fold the layer into the convolution before it, as Keras's own.
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = _fused(inputs, self.gamma, self.beta, self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(ops.cast(moving, "float32") * self.momentum + batch * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def _moments(self, inputs, mask):
        """Return mean and variance of the batch that all replicas share."""
        if mask is None and _replicas() > 1:
            return _shared_moments(inputs, self._reduction_axes)
        return super()._moments(inputs, mask)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zeros; only kernels and pools have a cost."""
        return {"macs": 0, "connections": 0}

    def _can_fuse(self, inputs):
        """Return whether one TensorFlow operation can compute the training mode."""
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not self.renorm
            and not self.synchronized
            and _replicas() == 1
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        )


def _replicas() -> int:
    """Return the number of `tf.distribute` replicas that share the current batch."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return replica.num_replicas_in_sync if replica else 1


def _shared_moments(inputs: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """Return mean and variance, float32, of the batch that replicas share.

    Keras's `synchronized` sums three times over the replicas, and they wait for each sum. Here there is one sum.

    Args:
        inputs: this replica's part of the batch.
        axes: axes to reduce.
    """
    import tensorflow as tf

    inputs = tf.cast(inputs, tf.float32)
    total, squares = tf.reduce_sum(inputs, axes), tf.reduce_sum(tf.square(inputs), axes)
    count = tf.cast(tf.size(inputs) // tf.size(total), tf.float32)
    sums = tf.stack([total, squares, tf.fill(tf.shape(total), count)])
    total, squares, count = tf.unstack(tf.distribute.get_replica_context().all_reduce("SUM", sums))
    mean = total / count
    return mean, tf.maximum(squares / count - tf.square(mean), 0.0)


def _fused(inputs: Tensor, gamma: Any, beta: Any, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalized batch, its mean and its variance.

    Args:
        inputs: (batch, height, width, channels), float32, bfloat16 or float16.
        gamma: variable (channels,), or None.
        beta: variable (channels,), or None.
        epsilon: number added to the variance.

    Returns:
        Outputs with the shape and dtype of `inputs`; mean and variance of the batch, float32 (channels,).
    """
    import tensorflow as tf

    channels = inputs.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.ones(channels) if gamma is None else ops.cast(gamma, "float32"),
        offset=tf.zeros(channels) if beta is None else ops.cast(beta, "float32"),
        mean=tf.zeros(0),  # not used in training mode
        variance=tf.zeros(0),
        epsilon=epsilon,
        is_training=True,
    )
    # The operation returns the unbiased variance, sum / (n - 1). Keras's moving variance uses sum / n.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), "float32")
    # For one pixel the operation's variance is 0, or on a GPU perhaps not finite, so that a plain product would be NaN.
    # For an empty batch the result is NaN, as in Keras.
    variance = tf.math.multiply_no_nan(variance, (count - 1) / count)
    return outputs, mean, variance
