"""TFLite files, by TensorFlow's converter."""

import tempfile
import zipfile

import flatbuffers
import numpy as np
import tensorflow as tf

from keras_cnns import _keras
from keras_cnns._quiet import quiet
from keras_cnns.export import _runner
from keras_cnns.export.formats import INPUT, QUANTIZATIONS
from keras_cnns.export.writers import Servable, save_servable

schema = _keras.tflite_schema()


def write(job, path):
    """Write a TFLite file; converted from a function and not from a SavedModel, it would lose its weights."""
    options = job.prepared.options
    integers = options.quantize == "int8"
    # The converter fits the ranges of activations behind a float input; it makes an integer one of it afterwards
    servable = Servable(job.prepared, "float32" if integers else options.input_type, quantized=integers)
    with tempfile.TemporaryDirectory(prefix="keras_cnns-") as scratch:
        save_servable(servable, scratch, {"serving_default": servable.serve})
        with quiet():
            content = _converter(scratch, job, integers).convert()
    path.write_bytes(_with_card(content, job.card_text))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:  # behind the model: interpreters read up to there
        for name, text in ((_runner.CARD, job.card_text), (_runner.LABELS, job.labels_text)):
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)  # no date: equal exports are equal


def _converter(saved_model, job, integers):
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=["serving_default"])
    options, kinds = job.prepared.options, tf.lite.OpsSet
    converter.target_spec.supported_ops = [kinds.TFLITE_BUILTINS]  # no Flex ops
    if options.quantize == "none":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if QUANTIZATIONS[options.quantize].calibrated:
        images = job.calibration.given(job.prepared, np.float32 if integers else options.input_type)
        converter.representative_dataset = lambda: ({INPUT: image[None]} for image in images)
    if options.quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if options.quantize == "int16x8":
        wide = kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [wide, kinds.TFLITE_BUILTINS]
    if integers:
        converter.target_spec.supported_ops = [kinds.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(options.input_type)
        converter.inference_output_type = tf.as_dtype(options.input_type if options.integer_output else "float32")
    return converter


def _with_card(content, card):
    """Return the model with the card as a piece of its metadata, where programs that read no zip find it."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer, piece = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(card.encode(), "uint8")
    piece.name, piece.buffer = _runner.CARD, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), piece]
    builder = flatbuffers.Builder(len(content) + len(card) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
