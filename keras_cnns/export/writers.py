"""From a prepared model to an artifact of each format, preprocessing and softmax inside."""

import dataclasses
import errno
import json
import os

import keras
import numpy as np
import tensorflow as tf

from keras_cnns import _keras, _models
from keras_cnns._quiet import quiet
from keras_cnns.data.image_bytes import decode_image_bytes
from keras_cnns.data.pipeline import prepare
from keras_cnns.export import _runner
from keras_cnns.export.formats import INPUT, PROBABILITIES
from keras_cnns.export.quantization import Calibration

TOP = 5  # labels that `serve_image_bytes` names


@dataclasses.dataclass(frozen=True)
class Job:
    """What all writers need.

    Attributes:
        prepared: `Prepared`.
        card: what the artifact says of itself, as JSON values.
        calibration: `Calibration`, where the quantization needs one.
    """

    prepared: "Prepared"  # noqa: F821  (preparation.Prepared)
    card: dict
    calibration: Calibration | None = None

    @property
    def card_text(self):
        """The card as text."""
        return json.dumps(self.card, indent=1, ensure_ascii=False)

    @property
    def labels_text(self):
        """The class names, one a line; "" if there are none."""
        return "".join(f"{name}\n" for name in self.prepared.class_names)


class Servable(tf.Module):
    """A model as it is deployed: images in, probabilities out.

    Args:
        prepared: `Prepared`.
        input_type: dtype of the input, "uint8" or "float32".
        layout: "nhwc" or "nchw", of the input.
        quantized: whether the normalization must be an operation that integers can do without loss.

    Attributes:
        serve: `tf.function` from `image` to a dictionary of float32 tensors (batch, classes).
        compute: function from such images and a list of values, one a variable of the model, to the same dictionary.
        recurrent: places of the variables of recurrent layers among them.
    """

    def __init__(self, prepared, input_type, layout="nhwc", quantized=False):
        super().__init__()
        model, options = prepared.model, prepared.options
        # Keras's own export tracks each weight twice and stores it twice; these references store it once.
        self.tensors = [variable.value for variable in model.variables]
        normalize = _normalization(prepared.preprocessing, quantized) if options.preprocess else tf.identity
        # stateless_call wants the trained ones by themselves
        places = {id(variable): k for k, variable in enumerate(model.variables)}
        trained, fixed = (
            [places[id(variable)] for variable in some]
            for some in (model.trainable_variables, model.non_trainable_variables)
        )

        def images(image):
            return normalize(tf.transpose(image, (0, 2, 3, 1)) if layout == "nchw" else image)

        def named(values):
            values = zip(prepared.outputs, prepared.softmax, keras.tree.flatten(values), strict=True)
            return {name: _softmax(one) if softmax else tf.identity(one) for name, softmax, one in values}

        height, width, channels = prepared.preprocessing.shape
        shape = (channels, height, width) if layout == "nchw" else (height, width, channels)

        @tf.function(input_signature=[tf.TensorSpec((options.static_batch, *shape), input_type, INPUT)])
        def serve(image):
            return named(model(images(image), training=False))

        def compute(image, values):
            trained_values, fixed_values = ([values[k] for k in some] for some in (trained, fixed))
            outputs, _ = model.stateless_call(trained_values, fixed_values, images(image), training=False)
            return named(outputs)

        self.serve, self.compute = serve, compute
        cells = [layer for layer in _keras.all_layers(model) if isinstance(layer, keras.layers.RNN)]
        self.recurrent = {places[id(variable)] for layer in cells for variable in layer.variables}


def _softmax(logits):
    """Return probabilities (batch, classes); of one logit of two classes the second one's, (batch, 1)."""
    return tf.nn.sigmoid(logits) if logits.shape[-1] == 1 else tf.nn.softmax(logits)


def _normalization(preprocessing, quantized):
    """Return the function that normalizes images.

    As a convolution of each channel with one weight, quantization keeps a scale for each channel, where a product of
    tensors would have one for all.
    """
    if not quantized:
        if preprocessing.is_affine:
            return preprocessing.as_layer()
        return lambda image: preprocessing.normalize(tf.cast(image, tf.float32))
    channels = preprocessing.channels
    scale, mean = (
        np.broadcast_to(np.float32(values), (channels,)) for values in (preprocessing.scale, preprocessing.mean)
    )
    kernel, bias = scale.reshape(1, 1, channels, 1), -mean * scale
    if preprocessing.mean_image is not None:
        bias = bias - preprocessing.mean_image * scale
    if preprocessing.channel_order == "BGR":
        crossed = np.diag(scale)[::-1].reshape(1, 1, channels, channels).copy()
        return lambda image: tf.nn.conv2d(image, crossed, 1, "VALID") + bias
    return lambda image: tf.nn.depthwise_conv2d(image, kernel, (1, 1, 1, 1), "VALID") + bias


def write_saved_model(job, path):
    """Write a SavedModel folder: `serving_default`, and `serve_image_bytes` where the preprocessing is inside."""
    prepared = job.prepared
    servable = Servable(prepared, prepared.options.input_type)
    signatures = {"serving_default": servable.serve}
    if prepared.options.preprocess:
        signatures["serve_image_bytes"] = _serve_image_bytes(servable, prepared)
    save_servable(servable, path, signatures)
    assets = path / "assets"
    assets.mkdir(exist_ok=True)
    (assets / _runner.CARD).write_text(job.card_text, "utf8")
    (assets / _runner.LABELS).write_text(job.labels_text, "utf8")


def _serve_image_bytes(servable, prepared):
    """Return the `tf.function` from JPEG or PNG files to outputs and, of a classifier, its best classes.

    It gives what the model gives for the pixels of `data.pipeline.read_files`, or fails; see `data.image_bytes`.
    """
    record, options = prepared.preprocessing, prepared.options
    best = min(TOP, _models.class_count(prepared.model.outputs[0]))

    def pixels_of(numbered):
        number, content = numbered
        name = tf.strings.join(["image_bytes[", tf.strings.as_string(number), "]"])
        return prepare(decode_image_bytes(content, record.channels, name), record)

    @tf.function(input_signature=[tf.TensorSpec((options.static_batch,), tf.string, "image_bytes")])
    def serve_image_bytes(image_bytes):
        numbered = (tf.range(tf.size(image_bytes)), image_bytes)
        pixels = tf.map_fn(pixels_of, numbered, fn_output_signature=tf.TensorSpec(record.shape, tf.uint8))
        results = servable.serve(tf.cast(pixels, options.input_type))
        if not prepared.is_classifier:
            return results
        main = prepared.outputs[0]
        classes = results[main]
        if classes.shape[-1] == 1:  # of the second of two classes
            classes = tf.concat([(1 - classes) if main == PROBABILITIES else tf.zeros_like(classes), classes], axis=-1)
        values, indices = tf.math.top_k(classes, best)
        named = {"top_labels": tf.gather(tf.constant(prepared.class_names), indices)} if prepared.class_names else {}
        return {**results, f"top_{main}": values, "top_indices": indices, **named}

    return serve_image_bytes


def save_servable(servable, path, signatures):
    """Write a SavedModel of some of a servable's functions; raise OSError if the disk is full."""
    try:
        with quiet():
            tf.saved_model.save(servable, str(path), signatures=signatures)
    except tf.errors.OpError as error:
        # TensorFlow reports a full disk as an op that failed
        for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            if os.strerror(code) in error.message:
                raise OSError(code, os.strerror(code)) from error
        raise


def write_tflite(job, path):
    """Write a TFLite file that also is a zip archive of the card and the labels."""
    from keras_cnns.export import _tflite

    _tflite.write(job, path)


def write_onnx(job, path):
    """Write an ONNX file; its batch dimension is called `batch`, and its metadata hold the card and the labels."""
    from keras_cnns.export import _onnx_file

    _onnx_file.write(job, path)


WRITERS = {"saved_model": write_saved_model, "tflite": write_tflite, "onnx": write_onnx}
