"""ONNX graphs hold each weight once, with constant nodes folded."""

import collections

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from families import random_images, randomize, small

from keras_cnns import applications
from keras_cnns.data import Preprocessing
from keras_cnns.export import _onnx, export_model
from keras_cnns.saving import ModelInfo


def exported(model, folder):
    """Export a model, which verifies it, and return the graph."""
    info = ModelInfo(
        preprocessing=Preprocessing(model.input_shape[1:3], 3, mean=(120.0, 110.0, 100.0), scale=(1 / 64,))
    )
    export_model(model, folder, ["onnx"], info=info)
    return onnx.load(next(folder.glob("*.onnx"))).graph


@pytest.mark.parametrize(
    "large",
    [1, pytest.param(16_384, marks=pytest.mark.slow), pytest.param(10**9, marks=pytest.mark.slow)],
    ids=["every weight", "large ones", "none"],
)
@pytest.mark.parametrize(
    "name, options",
    [
        ("LeNet5", {}),
        ("Maxout", {"variant": "mnist"}),
        pytest.param("CaffeNet", {"include_top": False, "pooling": "avg"}, marks=pytest.mark.slow),
        pytest.param("InceptionV3", {"stem": "79"}, marks=pytest.mark.slow),
        ("ResNet20", {}),
        pytest.param("ResNet18V2", {}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_graph_does_not_depend_on_which_weights_are_inputs(name, options, large, tmp_path, monkeypatch):
    model = small(name, options, classifier_activation=None)
    randomize(model)
    monkeypatch.setattr(_onnx, "LARGE", large)
    graph = exported(model, tmp_path)
    kinds = collections.Counter(node.op_type for node in graph.node)
    convolutions = sum(
        {"SplitConv2D": 2}.get(type(layer).__name__, isinstance(layer, keras.layers.Conv2D)) for layer in model.layers
    )
    bands = sum(type(layer).__name__ == "LocalResponseNormalization" for layer in model.layers)
    tables = sum(type(layer).__name__ == "ConnectionTableConv2D" for layer in model.layers)
    assert kinds["Conv"] == convolutions + bands + tables
    # Batch normalization after each convolution is folded into it, unless its weights are inputs too
    if name in ("InceptionV3", "ResNet20") and large > 1:
        assert not kinds["BatchNormalization"] and kinds["Mul"] == 1  # the preprocessing
    assert sum(4 * np.prod(tensor.dims) for tensor in graph.initializer) < 4 * model.count_params() + 400_000  # bands


def test_a_layer_that_is_used_twice_gets_two_weights(tmp_path, monkeypatch):
    # Each use of the convolution is followed by another normalization, which is folded into it.
    monkeypatch.setattr(_onnx, "LARGE", 1)
    x = keras.Input((12, 12, 3))
    shared = keras.layers.Conv2D(4, 3, name="shared")
    ways = [keras.layers.BatchNormalization()(shared(keras.layers.Rescaling(k)(x))) for k in (1.0, -2.0)]
    model = keras.Model(x, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(keras.layers.Add()(ways))))
    randomize(model)
    assert np.ptp(model.predict(random_images(model, 2), verbose=0)) > 0.1
    graph = exported(model, tmp_path)
    assert [node.op_type for node in graph.node].count("Conv") == 2


def test_a_network_that_sees_three_sizes_holds_its_weights_once(tmp_path):
    model = applications.DeepLabASPP(classes=3, input_shape=(33, 33, 3), backbone="ResNet20", multi_scale=True)
    randomize(model)
    info = ModelInfo(("a", "b", "c"), Preprocessing((33, 33), 3), task="segmentation")
    export_model(model, tmp_path, ["onnx"], info=info)
    graph = onnx.load(next(tmp_path.glob("*.onnx"))).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3 * len({node.input[1] for node in convolutions})
    assert sum(np.prod(tensor.dims) for tensor in graph.initializer) < 1.05 * model.count_params()


@pytest.mark.parametrize(
    "activation, value, folded", [("relu", 0.0, True), (None, 0.0, False), ("relu", 1.0, False)], ids=str
)
def test_max_pools_pad_by_themselves_where_zeros_change_nothing(activation, value, folded):
    """Only after a ReLU is zero the smallest value. The file is compared with TensorFlow's results."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 8)).astype("float32")

    def compute(image, variables):
        y = tf.nn.conv2d(image, variables[0], 1, "VALID")
        y = tf.nn.relu(y) if activation else y - 4.0
        y = tf.pad(y, [(0, 0), (1, 1), (0, 2), (0, 0)], constant_values=value)
        return {"pooled": tf.nn.max_pool2d(y, 3, 2, "VALID")}

    proto = _onnx.convert(compute, [kernel], (), tf.TensorSpec((None, 12, 12, 3), tf.float32, "image"), 17)
    assert ("Pad" not in {node.op_type for node in proto.graph.node}) == folded
    images = np.random.default_rng(1).normal(size=(2, 12, 12, 3)).astype("float32")
    (pooled,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(["pooled"], {"image": images})
    expected = compute(images, [kernel])["pooled"]
    assert np.abs(pooled - expected).max() < 1e-5


def test_recurrent_layers_become_recurrent_operators(tmp_path):
    """Their weights must be constants, by which tf2onnx recognizes them."""
    x = keras.Input((16, 16, 3))
    rows = keras.layers.Reshape((16, 48))(x)
    y = keras.layers.Bidirectional(keras.layers.LSTM(100))(rows)
    model = keras.Model(x, keras.layers.Dense(4, "softmax")(y))
    graph = exported(model, tmp_path)
    assert "LSTM" in {node.op_type for node in graph.node} and "Loop" not in {node.op_type for node in graph.node}
