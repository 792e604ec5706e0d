"""The graph that artifacts hold: normalization, the network and its softmax."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_cnns import _keras
from keras_cnns._quiet import quiet
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.formats import INPUT


class Servable(tf.Module):
    """A model as it is deployed, from images to probabilities.

    Args:
        prepared: the model.
        input_type: dtype of the input, "uint8" or "float32".
        layout: layout of the input, "nhwc" or "nchw".
        quantized: whether the normalization must survive int8 quantization.

    Attributes:
        tensors: values of the model's variables.
        serve: `tf.function` from `image` to a dictionary of float32 tensors (batch, classes).
        compute: function from such images and a list of values, one per variable of the model, to the same dictionary.
        recurrent: places of recurrent layers' variables in that list.
    """

    def __init__(self, prepared: Prepared, input_type: str, layout: str = "nhwc", quantized: bool = False):
        super().__init__()
        # Only the functions below refer to the model. As an attribute it would be tracked, as Keras's own export
        # does it, and each weight would be stored twice; `tensors` stores it once.
        model, options = prepared.model, prepared.options
        self.tensors = [variable.value for variable in model.variables]
        normalize = _normalization(prepared.preprocessing, quantized) if options.preprocess else tf.identity
        place_of = {id(variable): k for k, variable in enumerate(model.variables)}
        trainable = [place_of[id(variable)] for variable in model.trainable_variables]
        non_trainable = [place_of[id(variable)] for variable in model.non_trainable_variables]

        def network_input(image):
            return normalize(tf.transpose(image, (0, 2, 3, 1)) if layout == "nchw" else image)

        def named_outputs(outputs):
            outputs = zip(prepared.outputs, prepared.softmax, keras.tree.flatten(outputs), strict=True)
            return {name: _softmax(values) if softmax else tf.identity(values) for name, softmax, values in outputs}

        height, width, channels = prepared.preprocessing.shape
        shape = (channels, height, width) if layout == "nchw" else (height, width, channels)

        @tf.function(input_signature=[tf.TensorSpec((options.static_batch, *shape), input_type, INPUT)])
        def serve(image):
            return named_outputs(model(network_input(image), training=False))

        def compute(image, values):
            # `stateless_call` takes trainable and other variables in separate lists
            separated = ([values[k] for k in places] for places in (trainable, non_trainable))
            outputs, _ = model.stateless_call(*separated, network_input(image), training=False)
            return named_outputs(outputs)

        self.serve, self.compute = serve, compute
        recurrent_layers = [layer for layer in _keras.all_layers(model) if isinstance(layer, keras.layers.RNN)]
        self.recurrent = {place_of[id(variable)] for layer in recurrent_layers for variable in layer.variables}


def _softmax(logits):
    """Return probabilities (batch, classes); for one logit, the second class's (batch, 1)."""
    return tf.nn.sigmoid(logits) if logits.shape[-1] == 1 else tf.nn.softmax(logits)


def _normalization(preprocessing: Preprocessing, quantized: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function that normalizes images.

    With `quantized` it is a convolution of each channel with one weight. Quantization keeps a scale per channel for
    convolutions, but only one scale for a product of tensors.
    """
    if not quantized:
        if preprocessing.is_affine:
            return preprocessing.as_layer()
        return lambda image: preprocessing.normalize(tf.cast(image, tf.float32))
    channels = preprocessing.channels
    scale = np.broadcast_to(np.asarray(preprocessing.scale, "float32"), (channels,))
    mean = np.broadcast_to(np.asarray(preprocessing.mean, "float32"), (channels,))
    bias = -mean * scale
    if preprocessing.mean_image is not None:
        bias = bias - preprocessing.mean_image * scale
    if preprocessing.channel_order == "BGR":  # one convolution both scales the channels and reverses their order
        reversing = np.diag(scale)[::-1].reshape(1, 1, channels, channels).copy()
        return lambda image: tf.nn.conv2d(image, reversing, 1, "VALID") + bias
    kernel = scale.reshape(1, 1, channels, 1)
    return lambda image: tf.nn.depthwise_conv2d(image, kernel, (1, 1, 1, 1), "VALID") + bias


def save_servable(servable: Servable, path: str | Path, signatures: Mapping[str, Callable]) -> None:
    """Write a SavedModel with some of a servable's functions.

    Args:
        servable: the model.
        path: folder to write into.
        signatures: from each signature's name to its `tf.function`.

    Raises:
        OSError: if the disk is full or cannot be written.
    """
    try:
        with quiet():
            tf.saved_model.save(servable, str(path), signatures=signatures)
    except tf.errors.OpError as error:
        # TensorFlow reports a full disk as a failed op, with the system's text in its message
        for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            if os.strerror(code) in error.message:
                raise OSError(code, os.strerror(code)) from error
        raise
