"""From a float32 Keras model to an artifact of each format, preprocessing and softmax inside."""

import errno
import os

import keras
import tensorflow as tf

from keras_cnns._quiet import quiet
from keras_cnns.export.formats import INPUT


class Servable(tf.Module):
    """A model as it is deployed: uint8 pictures in, probabilities out.

    Attributes:
        serve: `tf.function` from `image`, uint8 (batch, height, width, channels), to a dictionary with one
            float32 tensor (batch, classes).
        compute: function from such pictures and a list of values, one a variable of the model, to the same dictionary.
        recurrent: places of the variables of recurrent layers among them.
    """

    def __init__(self, model, preprocessing, output, add_softmax):
        super().__init__()
        # Keras's own export tracks each weight twice and stores it twice; these references store it once.
        self.tensors = [variable.value for variable in model.variables]
        normalization = preprocessing.as_layer()
        # stateless_call wants the trained ones by themselves
        places = {id(variable): k for k, variable in enumerate(model.variables)}
        trained, fixed = (
            [places[id(variable)] for variable in some]
            for some in (model.trainable_variables, model.non_trainable_variables)
        )

        def named(values):
            return {output: tf.nn.softmax(values) if add_softmax else tf.identity(values)}

        @tf.function(input_signature=[tf.TensorSpec((None, *preprocessing.shape), tf.uint8, INPUT)])
        def serve(image):
            return named(model(normalization(image), training=False))

        def compute(image, values):
            trained_values, fixed_values = ([values[k] for k in some] for some in (trained, fixed))
            outputs, _ = model.stateless_call(trained_values, fixed_values, normalization(image), training=False)
            return named(outputs)

        self.serve, self.compute = serve, compute
        cells = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
        self.recurrent = {places[id(variable)] for layer in cells for variable in layer.variables}


def write_saved_model(servable, path):
    """Write a SavedModel folder with the signature `serving_default`."""
    try:
        with quiet():
            tf.saved_model.save(servable, str(path), signatures={"serving_default": servable.serve})
    except tf.errors.OpError as error:
        # TensorFlow reports a full disk as an op that failed
        for code in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            if os.strerror(code) in error.message:
                raise OSError(code, os.strerror(code)) from error
        raise


def write_tflite(saved_model, path):
    """Write a TFLite file from a SavedModel folder; converted from a function, it would lose its weights."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]  # no Flex ops
    with quiet():
        content = converter.convert()
    path.write_bytes(content)


def write_onnx(servable, path, opset=17):
    """Write an ONNX file; its batch dimension is called `batch`."""
    with quiet():
        import onnx

        from keras_cnns.export import _onnx

        weights = [tensor.numpy() for tensor in servable.tensors]
        # tf2onnx knows a recurrent layer by its weights
        constant, spec = servable.recurrent, servable.serve.input_signature[0]
        proto = _onnx.convert(servable.compute, weights, constant, spec, opset)
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.checker.check_model(proto)
    onnx.save(proto, str(path))
