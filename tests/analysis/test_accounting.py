"""Costs of networks against the papers' figures and other code."""

import json

import facts
import keras
import numpy as np
import pytest
from analysis.helpers import SubclassedModel
from families import small
from keras import layers, ops

from keras_cnns import applications
from keras_cnns.analysis import LayerCost, account, accounting
from keras_cnns.errors import ArgumentError

ZEROS = {"kernel_initializer": "zeros"}


def rows_by_name(model, **options):
    return {row.layer: row for row in account(model, **options).rows}


# ---- the papers' figures


def test_lenet5_layer_by_layer():
    found = account(applications.LeNet5())
    rows = {row.layer: row for row in found.rows}
    for layer, published in facts.LENET5.items():
        assert (rows[layer].trainable, rows[layer].connections) == published, layer
    assert (found.trainable, found.fixed, found.connections) == (60_000, 840, 340_908)
    assert (rows["rbf"].fixed, rows["rbf"].connections) == (840, 840)


def test_three_3x3_cost_27_c_squared_and_a_7x7_costs_49():
    """VGG paper, section 2.3."""
    c, x = 8, keras.Input((32, 32, 8))
    three = keras.Sequential([x, *(layers.Conv2D(c, 3, padding="same", use_bias=False) for _ in range(3))])
    large = keras.Sequential([x, layers.Conv2D(c, 7, padding="same", use_bias=False)])
    assert (account(three).trainable, account(large).trainable) == (27 * c * c, 49 * c * c)
    assert account(three).macs * 49 == account(large).macs * 27


def test_reduction_saves_parameters_in_inception_3a():
    rows = rows_by_name(applications.GoogLeNet(**ZEROS))
    biases = {name: row.output_shape[-1] for name, row in rows.items()}
    parts = [f"inception_3a_{part}" for part in ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5")]
    assert sum(rows[part].trainable - biases[part] for part in parts) == 157_184
    x = keras.Input((28, 28, 192))
    naive = [layers.Conv2D(*shape, padding="same", use_bias=False)(x) for shape in ((64, 1), (128, 3), (32, 5))]
    assert account(keras.Model(x, naive)).trainable == 387_072


def test_a_bottleneck_against_two_3x3_of_the_same_width():
    """ResNet paper, section 4.1, for 256 channels."""
    rows = rows_by_name(applications.ResNet50(**ZEROS))
    assert sum(rows[f"conv2_2_conv{k}"].trainable for k in (1, 2, 3)) == 69_632
    x = keras.Input((56, 56, 256))
    basic = keras.Sequential([x, *(layers.Conv2D(256, 3, padding="same", use_bias=False) for _ in range(2))])
    assert account(basic).trainable == 1_179_648


def test_3x1_and_1x3_save_a_third_of_the_multiply_adds():
    """Inception v3 paper, section 3.2, for equal numbers of channels."""
    rows = rows_by_name(applications.InceptionV3(**ZEROS))
    pair = rows["mixed_7b_3x3_2a"].macs + rows["mixed_7b_3x3_2b"].macs
    x = keras.Input((8, 8, 384))
    whole = account(keras.Sequential([x, layers.Conv2D(384, 3, padding="same", use_bias=False)])).macs
    assert 3 * pair == 2 * whole


def test_alexnets_parameters_are_in_dense_layers_and_its_work_in_convolutions():
    found = account(applications.AlexNet(**ZEROS))
    dense = [row for row in found.rows if row.kind == "Dense"]
    assert sum(row.trainable for row in dense) == 58_631_144 and found.trainable == 60_965_224
    assert sum(row.macs for row in dense) / found.macs < 0.09


# ---- the same numbers by other code


def profiled_macs(model):
    """Return the multiply-adds that TensorFlow's profiler counts.

    They are half of the floating-point operations in convolutions and matrix products.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2_as_graph
    from tensorflow.python.profiler import model_analyzer, option_builder

    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    frozen, definition = convert_variables_to_constants_v2_as_graph(function)
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
        options = option_builder.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        profile = model_analyzer.profile(graph, options=options, cmd="op")
    kinds = {child.name: child.total_float_ops for child in _leaves(profile)}
    return sum(flops for kind, flops in kinds.items() if kind in ("Conv2D", "MatMul", "DepthwiseConv2dNative")) // 2


def _leaves(node):
    """Yield each kind of operation; the profiler's totals are cumulative."""
    children = list(node.children)
    if children:
        (child,) = children
        yield type("Leaf", (), {"name": node.name, "total_float_ops": node.total_float_ops - child.total_float_ops})
        yield from _leaves(child)
    else:
        yield node


# No networks with local response normalization, which is a convolution in the graph
PROFILED = [
    ("LeNet5Modern", {}),
    ("NiN", {}),
    pytest.param("VGG11", {}, marks=pytest.mark.slow),
    pytest.param("GoogLeNet", {"batch_norm": True}, marks=pytest.mark.slow),
    pytest.param("InceptionV3", {"stem": "79"}, marks=pytest.mark.slow),
    ("ResNet18", {}),
    ("ResNet20", {}),
]


@pytest.mark.parametrize("name, options", PROFILED, ids=str)
def test_macs_equal_tensorflows_profile(name, options):
    model = small(name, options)
    assert account(model).macs == profiled_macs(model)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) for n in ("MobileNet", "Xception", "ResNet50")]
)
def test_macs_equal_tensorflows_profile_for_keras_applications(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=7)
    assert account(model).macs == profiled_macs(model)


@pytest.mark.parametrize("name", facts.KERAS)
def test_keras_applications_have_the_published_costs(name):
    found = account(getattr(keras.applications, name)(weights=None))
    assert (found.trainable, found.macs) == facts.KERAS[name]
    assert found.not_counted == ()


def counted_by_hand(layer, x):
    """Count the outputs that change with each weight of a layer."""
    layer(x)
    total = 0
    weights = layer.get_weights()
    for k, weight in enumerate(weights):
        for index in np.ndindex(weight.shape):
            only = [np.zeros_like(w) for w in weights]
            only[k][index] = 1
            if len(weights) > 2 and k < 2:  # in a separable layer, one kernel acts through the other
                only[1 - k][:] = 1
            layer.set_weights(only)
            changed = np.asarray(layer(x)) != 0
            total += changed[..., 0].sum() if len(weights) > 2 and k == 0 else changed.sum()
    layer.set_weights(weights)
    return total


LAYERS = [
    layers.Conv2D(3, 3),
    layers.Conv2D(4, (3, 2), strides=2, groups=2),
    layers.Conv2D(3, 2, dilation_rate=2, use_bias=False),
    layers.DepthwiseConv2D(3, depth_multiplier=2),
    layers.Dense(5),
    layers.Conv2DTranspose(3, 2, strides=2, use_bias=False),
    layers.SeparableConv2D(3, 3, depth_multiplier=2),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.name)
def test_connections_equal_the_definition(layer):
    """There is no padding, so every weight counts at every position."""
    x = np.ones((1, 7, 6, 4), "float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), type(layer).from_config(layer.get_config())])
    (row,) = account(model).rows
    biases = np.prod(row.output_shape) if layer.use_bias else 0
    assert row.connections == counted_by_hand(model.layers[0], x)
    assert row.macs == row.connections - biases


@pytest.mark.parametrize("rank", [1, 3])
def test_layers_of_rank_1_and_3(rank):
    x = keras.Input((6,) * rank + (2,))
    conv, pool = getattr(layers, f"Conv{rank}D"), getattr(layers, f"MaxPooling{rank}D")
    model = keras.Sequential([x, conv(3, 3), pool(2)])
    conv_row, pool_row = account(model).rows
    assert conv_row.macs == 3**rank * 2 * 3 * 4**rank
    assert (pool_row.macs, pool_row.connections) == (0, 2**rank * 3 * 2**rank)


# ---- any functional model


def test_nested_models_and_shared_layers():
    body = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3, name="conv"), layers.GlobalMaxPooling2D(name="pool")],
        name="body",
    )
    left, right = keras.Input((8, 8, 3)), keras.Input((6, 10, 3))
    dense = layers.Dense(2, name="dense")
    joined = layers.Concatenate(name="join")([body(left), body(right)])
    model = keras.Model([left, right], {"a": dense(joined), "b": dense(joined * 2)})
    found = account(model)
    by_name = {}
    for row in found.rows:
        by_name.setdefault(row.layer, []).append(row)
    assert [row.trainable for row in by_name["body/conv"]] == [112, 0]  # the weights are shared
    assert [row.macs for row in by_name["body/conv"]] == [36 * 108, 32 * 108]  # 6x6 and 4x8 positions
    assert [row.output_shape for row in by_name["body/conv"]] == [(6, 6, 4), (4, 8, 4)]
    assert [row.trainable for row in by_name["dense"]] == [18, 0] and [row.macs for row in by_name["dense"]] == [16, 16]
    assert found.trainable == model.count_params() and found.not_counted == ()
    assert found.input_shapes == ((8, 8, 3), (6, 10, 3))
    assert found.macs == 68 * 108 + 32


def test_frozen_layers_are_fixed():
    model = small("LeNet5Modern", {})
    everything = account(model).trainable
    model.get_layer("C1").trainable = False
    found = account(model)
    assert found.fixed == 456 and found.trainable == everything - 456  # 6 x (5 x 5 x 3 + 1)


class Twice(layers.Conv2D):
    def call(self, inputs):
        return super().call(inputs) + super().call(inputs)


def test_unknown_costs_are_not_counted():
    x = keras.Input((8, 8, 3))
    y = Twice(4, 3, name="twice")(x)
    y = layers.Reshape((36, 4))(y)
    z = layers.LSTM(5, name="lstm")(y)
    product = ops.matmul(y, ops.transpose(y, (0, 2, 1)))
    model = keras.Model(x, [z, product])
    found = account(model)
    kinds = {row.kind: row for row in found.rows}
    assert set(found.not_counted) == {"twice", "lstm", kinds["Matmul"].layer}
    assert kinds["Twice"].macs is None and kinds["Twice"].connections is None and kinds["Twice"].trainable == 112
    assert found.macs == 0 and found.trainable == model.count_params()
    assert kinds["Transpose"].macs == 0


def test_compute_cost_of_a_layer_is_used():
    class Mine(layers.Layer):
        def call(self, inputs):
            return inputs

        def compute_cost(self, input_shape):
            return {"macs": input_shape[1], "connections": 7}

    model = keras.Sequential([keras.Input((9, 8, 3)), Mine()])
    assert (account(model).macs, account(model).connections) == (9, 7)


def test_open_sizes_need_an_input_shape():
    body = applications.NiN(include_top=False, input_shape=(None, None, 3), **ZEROS)
    with pytest.raises(ArgumentError, match="the sizes of the images must be known: pass `input_shape`"):
        account(body)
    whole = account(applications.NiN(include_top=False, **ZEROS))
    assert account(body, (32, 32, 3)).macs == whole.macs
    assert account(body, (64, 64, 3)).macs == 4 * whole.macs
    with pytest.raises(ArgumentError, match="`input_shape` must be that of the model's input"):
        account(body, (32, 32, 1))
    with pytest.raises(ArgumentError, match="`input_shape` must be that of the model's input"):
        account(applications.LeNet5(), (64, 64, 1))


def test_a_subclassed_model_has_no_graph():
    with pytest.raises(ArgumentError, match="must be a functional model"):
        account(SubclassedModel())
    with pytest.raises(ArgumentError, match="must be a functional model"):
        account(keras.Sequential([layers.Dense(2)]))


def test_activation_bytes_follow_the_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = account(small("ResNet20", {}))
    finally:
        keras.config.set_dtype_policy("float32")
    whole = account(small("ResNet20", {}))
    assert whole.activation_bytes == sum(4 * np.prod(row.output_shape) for row in whole.rows)
    assert half.activation_bytes == (whole.activation_bytes + 4 * 4) / 2  # the softmax of four classes stays float32


def test_to_json():
    found = account(applications.LeNet5())
    values = json.loads(json.dumps(found.to_json()))
    assert values["macs"] == 326_520 and values["rows"][0]["layer"] == "C1"
    assert values["input_shapes"] == [[32, 32, 1]]


def test_row_is_a_deprecated_name():
    with pytest.warns(DeprecationWarning, match="Row` is now called `keras_cnns.analysis.accounting.LayerCost`"):
        assert accounting.Row is LayerCost
    with pytest.raises(AttributeError, match="no_such_name"):
        accounting.no_such_name  # noqa: B018
