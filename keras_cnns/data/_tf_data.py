"""Options that all tf.data pipelines share."""

from typing import Any

import tensorflow as tf

SHUFFLE = 10_000  # size of the shuffle buffer, in images, for splits too large to be held in it as a whole
PARALLEL: dict[str, Any] = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}


def untuned(data: tf.data.Dataset) -> tf.data.Dataset:
    """Return a dataset with tf.data's autotuning switched off.

    As many maps then run in parallel as there are cores. With autotuning, a finished iterator waits for the tuner's
    thread, which wakes 10 ms after the start, then 20 ms later, then 40, and so on. A pass of one minute therefore
    often ended only after 82 seconds (TensorFlow 2.21).

    Args:
        data: any `tf.data.Dataset`.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
