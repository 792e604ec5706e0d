"""Layers that work on channels, compared with their definitions."""

import keras
import numpy as np
import pytest

from keras_cnns.layers import (
    BatchNormalization,
    CeilAveragePooling2D,
    CeilMaxPooling2D,
    ConnectionTableConv2D,
    LocalResponseNormalization,
    Maxout,
    SplitConv2D,
    ZeroPadShortcut,
)
from keras_cnns.saving import load_model, save_model


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def lrn(x, n, k, alpha, beta, divide_alpha):
    """Compute the formula of section 3.3, channel by channel."""
    x, out = x.astype("float64"), np.zeros(x.shape)
    for c in range(x.shape[-1]):
        window = x[..., max(0, c - n // 2) : c + n // 2 + 1]
        out[..., c] = x[..., c] / (k + (alpha / n if divide_alpha else alpha) * (window**2).sum(-1)) ** beta
    return out


@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0])
@pytest.mark.parametrize("divide_alpha", [False, True])
@pytest.mark.parametrize("n, channels", [(5, 16), (3, 7), (5, 2), (1, 4)])
def test_lrn_equals_the_formula(n, channels, divide_alpha, beta):
    x = 30 * random(2, 5, 4, channels)
    layer = LocalResponseNormalization(n, k=1.5, alpha=0.01, beta=beta, divide_alpha=divide_alpha)
    np.testing.assert_allclose(layer(x), lrn(x, n, 1.5, 0.01, beta, divide_alpha), rtol=2e-5)


def test_lrn_equals_tensorflows_and_its_defaults_are_the_papers():
    import tensorflow as tf

    x = 100 * random(2, 6, 6, 96)
    expected = tf.nn.local_response_normalization(x, depth_radius=2, bias=2, alpha=1e-4, beta=0.75)
    np.testing.assert_allclose(LocalResponseNormalization()(x), expected, rtol=2e-5)
    assert np.abs(expected / x - 2**-0.75).max() > 0.1  # the neighbors matter


def test_lrn_gradient_equals_tensorflows():
    import tensorflow as tf

    x = tf.constant(50 * random(1, 3, 3, 8))
    gradients = []
    for function in (LocalResponseNormalization(), lambda x: tf.nn.lrn(x, 2, 2.0, 1e-4, 0.75)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(function(x) ** 2)
        gradients.append(tape.gradient(total, x))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("divide_alpha", [False, True])
@pytest.mark.parametrize("n, channels", [(5, 48), (3, 16), (1, 32), (33, 64), (35, 64), (5, 7), (5, 2)])
def test_lrn_trains_as_it_predicts(n, channels, divide_alpha):
    """Outputs and gradients, with and without blocks of channels."""
    import tensorflow as tf

    layer = LocalResponseNormalization(n, k=1.5, alpha=0.01, divide_alpha=divide_alpha)
    x, upstream = tf.constant(20 * random(2, 4, 3, channels)), tf.constant(random(2, 4, 3, channels, seed=1))
    outputs, gradients = [], []
    for training in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs.append(layer(x, training=training))
        gradients.append(tape.gradient(outputs[-1], x, upstream))
    np.testing.assert_allclose(*outputs, rtol=2e-5)
    np.testing.assert_allclose(*gradients, rtol=0, atol=1e-5 * np.abs(gradients[1]).max())
    assert np.abs(gradients[1] - upstream * outputs[1] / x).max() > 1e-3  # the neighbors matter


def test_lrn_trains_images_of_any_size_in_bfloat16():
    import tensorflow as tf

    layer = LocalResponseNormalization(alpha=0.01, dtype="mixed_bfloat16")
    x = 20 * random(2, 5, 4, 32)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 32))])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=True)
        return outputs, tape.gradient(outputs, x)

    outputs, gradients = gradient(x)
    assert outputs.dtype == "bfloat16" and gradients.shape == x.shape
    np.testing.assert_array_equal(tf.cast(outputs, "float32"), tf.cast(layer(x), "float32"))


@pytest.mark.slow
def test_lrn_trains_under_jax(python):
    done = python(
        """
import jax, numpy as np, keras
from keras_cnns.layers import LocalResponseNormalization
layer = LocalResponseNormalization(alpha=0.01)
x = 20 * np.random.default_rng(0).normal(size=(2, 4, 3, 48)).astype("float32")
results = [jax.jit(jax.value_and_grad(lambda x: (layer(x, training=t) ** 2).sum()))(x) for t in (True, False)]
for ours, theirs in zip(*results):
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
assert keras.backend.backend() == "jax"
""",
        KERAS_BACKEND="jax",
        CUDA_VISIBLE_DEVICES="-1",
    )
    assert done.returncode == 0, done.stderr


def test_lrn_computes_in_float32_under_mixed_precision():
    layer = LocalResponseNormalization(alpha=1.0, dtype="mixed_bfloat16")
    x = random(1, 4, 4, 8)
    out = layer(x)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    rounded = np.asarray(keras.ops.cast(keras.ops.cast(x, "bfloat16"), "float32"))
    expected = keras.ops.cast(lrn(rounded, 5, 2.0, 1.0, 0.75, False).astype("float32"), "bfloat16")
    np.testing.assert_array_equal(keras.ops.cast(out, "float32"), keras.ops.cast(expected, "float32"))


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(2, 4, 3, 30), (3, 30)])
def test_maxout_is_the_largest_of_adjacent_channels(pieces, shape):
    x = random(*shape)
    expected = x.reshape(*shape[:-1], 30 // pieces, pieces).max(-1)
    layer = Maxout(pieces)
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(shape) == expected.shape


def test_maxout_needs_a_multiple_of_its_pieces():
    with pytest.raises(ValueError, match="must be a multiple of `pieces`"):
        Maxout(4)(keras.Input((5, 5, 6)))
    with pytest.raises(ValueError, match="must be a multiple of `pieces`"):
        Maxout(4)(random(1, 5, 5, 6))
    with pytest.raises(ValueError, match="`pieces` must be at least 1"):
        Maxout(0)


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2, "padding": "same", "activation": "relu"},
        {"groups": 4, "strides": 2, "use_bias": False},
        {"groups": 1, "padding": "same"},
        {"groups": 2, "dilation_rate": 2},
    ],
)
def test_split_convolution_equals_keras_grouped_one_with_the_same_weights(options):
    x = random(2, 9, 8, 8)
    split, grouped = SplitConv2D(12, 3, **options), keras.layers.Conv2D(12, 3, **options)
    expected = grouped(x)
    split.build(x.shape)
    split.set_weights(grouped.get_weights())  # the shapes are equal
    np.testing.assert_allclose(split(x), expected, atol=1e-5)
    assert split(keras.Input((9, 8, 8))).shape == grouped(keras.Input((9, 8, 8))).shape


def test_split_convolution_trains_as_the_grouped_one():
    import tensorflow as tf

    x, gradients = random(2, 6, 6, 8), []
    split, grouped = SplitConv2D(4, 3, groups=2), keras.layers.Conv2D(4, 3, groups=2)
    for layer in (split, grouped):
        layer.build(x.shape)
        layer.set_weights(split.get_weights())
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(x) ** 2)
        gradients.append(tape.gradient(loss, layer.trainable_weights))
    for split_gradient, grouped_gradient in zip(*gradients, strict=True):
        np.testing.assert_allclose(split_gradient, grouped_gradient, rtol=1e-4, atol=1e-4)


def test_split_convolution_refuses_channels_first():
    with pytest.raises(ValueError, match="`data_format` must be 'channels_last'"):
        SplitConv2D(4, 3, groups=2, data_format="channels_first")


def test_split_convolution_runs_no_grouped_kernel():
    """Grouped kernels train slowly, and ONNX Runtime refuses them.

    Here every kernel sees its whole input.
    """
    import tensorflow as tf

    layer = SplitConv2D(8, 3, groups=2)
    layer.build((None, 8, 8, 6))
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec((1, 8, 8, 6))).graph
    operations = graph.get_operations()
    convolutions = [operation for operation in operations if operation.type == "Conv2D"]
    assert len(convolutions) == 2
    assert not [operation for operation in operations if "XlaMustCompile" in operation.node_def.attr]
    for convolution in convolutions:
        images, kernel = convolution.inputs
        assert images.shape[-1] == kernel.shape[2] == 3


@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("height, width", [(8, 8), (7, 9)])
def test_zero_pad_shortcut_subsamples_and_appends_zeros(strides, height, width):
    x = random(2, height, width, 3)
    subsampled = x[:, ::strides, ::strides]
    expected = np.zeros((*subsampled.shape[:3], 5), "float32")
    expected[..., :3] = subsampled
    layer = ZeroPadShortcut(5, strides)
    np.testing.assert_array_equal(layer(x), expected)
    assert layer(keras.Input((height, width, 3))).shape[1:] == expected.shape[1:]
    unknown = keras.Input((None, None, 3))
    np.testing.assert_array_equal(keras.Model(unknown, layer(unknown)).predict(x, verbose=0), expected)
    with pytest.raises(ValueError, match="`filters` must be at least the number of channels, 6"):
        layer(keras.Input((8, 8, 6)))


@pytest.mark.parametrize(
    "layer",
    [
        LocalResponseNormalization(3, 1.0, 0.2, 0.75, True),
        Maxout(3),
        SplitConv2D(4, 3, groups=2, padding="same"),
        ZeroPadShortcut(8, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_a_saved_layer_computes_the_same(layer, tmp_path):
    inputs = keras.Input((6, 7, 6))
    model = keras.Model(inputs, layer(inputs))
    save_model(model, tmp_path / "model.keras")
    x = random(1, 6, 7, 6)
    np.testing.assert_array_equal(
        load_model(tmp_path / "model.keras").predict(x, verbose=0), model.predict(x, verbose=0)
    )


def test_an_even_window_is_an_error():
    with pytest.raises(ValueError, match="`n` must be odd"):
        LocalResponseNormalization(4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LocalResponseNormalization(
            np.int64(3), np.float64(2), np.float64(1e-4), np.float64(0.5), np.bool_(True)
        ),
        lambda: LocalResponseNormalization(np.int32(3), np.float32(2), np.float32(1e-4), np.float32(0.75)),
        lambda: Maxout(np.int64(2)),
        lambda: SplitConv2D(np.int64(4), np.int64(3), groups=np.int64(2)),
        lambda: ZeroPadShortcut(np.int64(8), np.int64(2)),
        lambda: ConnectionTableConv2D(np.array([[0, 1], [2, 5]]), np.int64(3)),
        lambda: CeilMaxPooling2D(np.int64(3), np.array([2, 2])),
        lambda: CeilAveragePooling2D(np.int64(3), np.int64(2)),
        lambda: BatchNormalization(axis=np.int64(3), momentum=np.float64(0.9), epsilon=np.float32(1e-3)),
    ],
)
def test_layers_accept_and_save_numbers_of_numpy(make, tmp_path):
    """A sweep with np.linspace or np.arange passes them."""
    inputs = keras.Input((8, 8, 6))
    model = keras.Model(inputs, make()(inputs))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 6)).astype("float32")
    expected = model.predict_on_batch(x)
    assert expected.dtype == np.float32
    save_model(model, tmp_path / "model.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "model.keras").predict_on_batch(x), expected)
