"""Batch normalization in one operation of TensorFlow."""

import keras
from keras import ops


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's batch normalization, computed faster in training on the TensorFlow backend.

    The same layer in all else: constructor, weights, their names and order, configuration, and the name under which it
    is saved. In training mode, where the input is (batch, height, width, channels) and normalized along the channels,
    forward pass and gradient each are one fused operation instead of a dozen passes over the activations. Everything
    else is Keras's own code: inference mode and frozen layers, other ranks and axes, masks, `renorm`, `synchronized`,
    float64, other backends. Where replicas of `tf.distribute` share a batch, the statistics are those of the whole
    batch, as on one device and on JAX: as if `synchronized` were set.

    A file with this layer is read by any Keras, which then computes with its own class; `keras_cnns.saving.load_model`
    gives this one back. Only Keras's own comes out of `model.from_config(model.get_config())`.

    Args:
        axis, momentum, epsilon, center, scale, ...: as `keras.layers.BatchNormalization`.

    Call arguments:
        inputs: (batch, height, width, channels), or any other shape, any float dtype.
        training: True for the statistics of the batch, which then move the moving ones; False for the moving ones.
        mask: as Keras's.

    Returns:
        As `inputs`, in the layer's compute dtype.

    Reference:
        S. Ioffe, C. Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
        Shift, ICML 2015, algorithm 1; the moving variance is Keras's, of the batch as it is, without their
        m / (m - 1).
    """

    # Keras describes a layer by its class's module and name. Under these any Keras finds its own class, whether it has
    # keras_cnns or not; a registered name of ours it would not find
    __module__ = "keras.layers"

    def call(self, inputs, training=None, mask=None):
        """Normalize `inputs`."""
        if not (training and self.trainable and mask is None and self._can_fuse(inputs)):
            # Inference too: exported files hold what they would hold of Keras's layer, folded into the convolutions
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = _fused(inputs, self.gamma, self.beta, self.epsilon)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(ops.cast(moving, "float32") * self.momentum + batch * (1.0 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)

    def _moments(self, inputs, mask):
        """Return (mean, variance) of a batch in training, the whole batch where replicas share it."""
        if mask is None and _replicas() > 1:
            return _shared_moments(inputs, self._reduction_axes)
        return super()._moments(inputs, mask)

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": 0}: only layers with a kernel or a pool have any."""
        return {"macs": 0, "connections": 0}

    def _can_fuse(self, inputs):
        """Return whether TensorFlow has one operation for what this layer does in training."""
        return (
            keras.backend.backend() == "tensorflow"
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and not self.renorm
            and not self.synchronized
            and _replicas() == 1
            and keras.backend.standardize_dtype(inputs.dtype) in ("float32", "bfloat16", "float16")
        )


def _replicas():
    """Return how many replicas of `tf.distribute` share the batch that is computed now; 1 elsewhere."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return replica.num_replicas_in_sync if replica else 1


def _shared_moments(inputs, axes):
    """Return (mean, variance), float32, of the batch that replicas share.

    As Keras's `synchronized`, but in one sum over the replicas in place of three, each of which they wait for.
    """
    import tensorflow as tf

    inputs = tf.cast(inputs, tf.float32)
    total, squares = tf.reduce_sum(inputs, axes), tf.reduce_sum(tf.square(inputs), axes)
    count = tf.cast(tf.size(inputs) // tf.size(total), tf.float32)
    sums = tf.stack([total, squares, tf.fill(tf.shape(total), count)])
    total, squares, count = tf.unstack(tf.distribute.get_replica_context().all_reduce("SUM", sums))
    mean = total / count
    return mean, tf.maximum(squares / count - tf.square(mean), 0.0)


def _fused(inputs, gamma, beta, epsilon):
    """Return (outputs, mean, variance): of `inputs`' dtype and shape, and float32 (channels,) of the batch.

    Args:
        inputs: (batch, height, width, channels), float32, bfloat16 or float16.
        gamma, beta: variables (channels,), or None.
        epsilon: added to the variance.
    """
    import tensorflow as tf

    channels = inputs.shape[-1]
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=tf.ones(channels) if gamma is None else ops.cast(gamma, "float32"),
        offset=tf.zeros(channels) if beta is None else ops.cast(beta, "float32"),
        mean=tf.zeros(0),  # not used in training
        variance=tf.zeros(0),
        epsilon=epsilon,
        is_training=True,
    )
    # It returns the unbiased variance, sum / (n - 1); Keras's moving variance is of sum / n
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), "float32")
    # Of one pixel it is 0, or on a GPU perhaps not finite; without a pixel NaN, as Keras's
    variance = tf.math.multiply_no_nan(variance, (count - 1) / count)
    return outputs, mean, variance
