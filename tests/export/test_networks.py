"""Every network's artifacts equal the model in every format."""

import shutil

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from families import EVERY_NETWORK_BUT_FILES_SLOW, FILES, random_images, randomize, small

from keras_cnns import applications
from keras_cnns.data import Preprocessing
from keras_cnns.export import FORMATS, export_model
from keras_cnns.saving import ModelInfo


def with_moderate_logits(model, x):
    """Divide the classifier's weights so that logits deviate by about one.

    With larger logits, only rounding would be measured.
    """
    logits = model.get_layer("predictions").input
    spread = np.std(keras.Model(model.inputs, logits).predict(x, verbose=0))
    classifier = logits._keras_history.operation
    if classifier.name == "gap":  # Network in Network
        classifier = classifier.input._keras_history.operation
    if classifier.weights:
        classifier.set_weights([w / spread for w in classifier.get_weights()])


# Quick tests leave SavedModels out: they are TensorFlow's own graphs, and to verify one takes a start of TensorFlow.
# Deep networks are exported to one format each: they are slow because of their many operations, but share the kinds.
DEEP = {"AlexNet": "tflite", "ZFNet": "onnx", "VGG11LRN": "tflite", "GoogLeNet": "onnx", "InceptionV2": "tflite"}
QUICK = [pytest.param(name, options, (DEEP[name],) if name in DEEP else ("tflite", "onnx")) for name, options in FILES]
SLOW = [
    pytest.param(*getattr(case, "values", case), tuple(FORMATS), marks=pytest.mark.slow)
    for case in EVERY_NETWORK_BUT_FILES_SLOW
]


@pytest.mark.parametrize("name, options, formats", [*QUICK, *SLOW], ids=str)
def test_every_format_equals_the_model(name, options, formats, tmp_path):
    # The function `export_model` compares; auxiliary heads are left out, and no operator is Flex.
    model = small(name, options)
    randomize(model)
    with_moderate_logits(model, random_images(model))
    preprocessing = Preprocessing(model.input_shape[1:3], 3, mean=(120.0, 110.0, 100.0), scale=(1 / 64,))
    info = ModelInfo(class_names=("a", "b", "c", "d"), preprocessing=preprocessing)
    report = export_model(model, tmp_path, formats, info=info)
    assert tuple(artifact.format for artifact in report.artifacts) == formats and report.examples == 64
    heads = [layer for layer in model.layers if layer.name.startswith(("loss1_", "loss2_", "aux_"))]
    weights = 4 * (model.count_params() - sum(layer.count_params() for layer in heads))
    # Each weight is stored once; a SavedModel has operations that save and restore each variable
    limit = 1.2 * weights + 600_000 + 500 * len(model.weights)
    assert all(artifact.bytes < limit for artifact in report.artifacts)
    for path in tmp_path.glob("*.onnx"):
        values = sum(np.prod(tensor.dims) for tensor in onnx.load(path).graph.initializer)
        assert 4 * values < weights + 400_000  # the rest are bands of normalization, and no head

    for path in tmp_path.glob("*.tflite"):
        interpreter = Interpreter(model_path=str(path))
        assert not [op for op in interpreter._get_ops_details() if op["op_name"].startswith("Flex")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AlexNet", "VGG11", "GoogLeNet", "InceptionV3", "ResNet50"])
def test_full_size_networks_in_every_format(name, tmp_path):
    model = applications.create_model(name)
    randomize(model)
    with_moderate_logits(model, random_images(model, 2))
    preprocessing = Preprocessing(model.input_shape[1:3], 3, mean=(120.0, 110.0, 100.0), scale=(1 / 64,))
    report = export_model(model, tmp_path, FORMATS, info=ModelInfo(preprocessing=preprocessing))
    for artifact in report.artifacts:
        assert artifact.bytes < 1.05 * 4 * model.count_params()  # each weight once, and the graph
    shutil.rmtree(tmp_path)  # pytest would keep these gigabytes


def convert_to_int8(model, samples, path):
    """Return a function that runs the model in int8, and its float operators."""
    function = tf.function(lambda x: model(x, training=False), input_signature=[tf.TensorSpec((1, *samples.shape[1:]))])
    holder = tf.Module()
    holder.function, holder.variables_ = function, [v.value for v in model.variables]
    tf.saved_model.save(holder, str(path), signatures=function)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    float_operators = [
        op["op_name"]
        for op in interpreter._get_ops_details()
        if op["op_name"] not in ("DEQUANTIZE", "DELEGATE")
        and any(interpreter._get_tensor_details(t, 0)["dtype"] == np.float32 for t in op["outputs"] if t >= 0)
    ]

    def run(images):
        outputs = []
        for image in images:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
            interpreter.invoke()
            outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
        return np.array(outputs)

    return run, float_operators


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Maxout", "AlexNet", "GoogLeNet"])
def test_int8_stays_near_float32(name, tmp_path):
    # A pad with minus infinity, or a float operator in the normalization, would show here.
    model = small(name, {}, classifier_activation=None)
    keras.utils.set_random_seed(1)
    randomize(model)
    x = 20 * random_images(model, 64)
    run, float_operators = convert_to_int8(model, x[:48], tmp_path / "saved")
    expected = model.predict(x[48:], verbose=0)
    error = run(x[48:]) - expected
    # The error is compared with the differences between images. Half of these is lost if the normalization multiplies
    # in another order.
    assert error.std() < 0.35 * (expected - expected.mean(0)).std()
    assert not float_operators
