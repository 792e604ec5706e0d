"""Write TFLite files by TensorFlow's converter."""

import tempfile
import zipfile
from pathlib import Path

import flatbuffers
import numpy as np
import tensorflow as tf

from keras_cnns import _keras
from keras_cnns._quiet import quiet
from keras_cnns.export import _runner
from keras_cnns.export._prepared import Job
from keras_cnns.export._servable import Servable, save_servable
from keras_cnns.export.formats import INPUT, QUANTIZATIONS

schema = _keras.tflite_schema()


def write(job: Job, path: Path) -> None:
    """Write a TFLite file.

    It is also a zip archive of the card and the labels.

    It is converted from a SavedModel, because a file converted from a function loses its weights.

    Args:
        job: what to write.
        path: the file.
    """
    options = job.prepared.options
    is_int8 = options.quantize == "int8"
    # The converter fits the ranges of activations with a float input, and makes the input an integer one afterwards
    input_type = "float32" if is_int8 else options.input_type
    servable = Servable(job.prepared, input_type, quantized=is_int8)
    with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
        job.say("tracing the network")
        save_servable(servable, folder, {"serving_default": servable.serve})
        job.say("converting it" + (" and fitting the ranges of activations" if job.calibration else ""))
        with quiet():
            content = _converter(folder, job, input_type).convert()
    path.write_bytes(_with_card(content, job.card_text))
    # Interpreters read the model and ignore what follows it
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, text in ((_runner.CARD, job.card_text), (_runner.LABELS, job.labels_text)):
            # A `ZipInfo` has no date, so that equal exports are equal files
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)


def _converter(saved_model, job, input_type):
    """Return TensorFlow's converter with the settings of the job's options."""
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=["serving_default"])
    options, kinds = job.prepared.options, tf.lite.OpsSet
    converter.target_spec.supported_ops = [kinds.TFLITE_BUILTINS]  # no Flex ops
    if options.quantize == "none":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if QUANTIZATIONS[options.quantize].calibrated:
        images = job.calibration_images(input_type)
        converter.representative_dataset = lambda: ({INPUT: image[None]} for image in images)
    if options.quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if options.quantize == "int16x8":
        wide = kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide, kinds.TFLITE_BUILTINS]
    if options.quantize == "int8":
        converter.target_spec.supported_ops = [kinds.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(options.input_type)
        converter.inference_output_type = tf.as_dtype(options.input_type if options.integer_output else "float32")
    return converter


def _with_card(content, card):
    """Return the model with the card in its metadata.

    There it is found by programs that read no zip archive.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(card.encode(), "uint8")
    entry.name, entry.buffer = _runner.CARD, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    builder = flatbuffers.Builder(len(content) + len(card) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
