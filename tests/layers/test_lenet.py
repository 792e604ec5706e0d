"""LeNet-5's layers, compared with loops over the paper's definitions."""

import keras
import numpy as np
import pytest

from keras_cnns.layers import ConnectionTableConv2D, RBFOutput, TrainableSubsampling, scaled_tanh
from keras_cnns.saving import load_model, save_model

TABLE = ((0, 1), (1, 2, 3), (0,), (0, 1, 2, 3))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_scaled_tanh_is_one_at_one():
    np.testing.assert_allclose(scaled_tanh(np.float32([-1, 0, 1, 100])), [-1, 0, 1, 1.7159], atol=1e-4)


def test_table_convolution_equals_loops():
    x = random(2, 7, 6, 4)
    layer = ConnectionTableConv2D(TABLE, 3)
    layer.build(x.shape)
    layer.set_weights([random(3, 3, 10), random(4)])
    kernel, bias = (np.asarray(w) for w in layer.weights)
    expected = np.zeros((2, 5, 4, 4)) + bias
    connection = 0
    for k, row in enumerate(TABLE):
        for m in row:
            for i in range(5):
                for j in range(4):
                    expected[:, i, j, k] += (x[:, i : i + 3, j : j + 3, m] * kernel[..., connection]).sum((1, 2))
            connection += 1
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert layer.count_params() == 3 * 3 * 10 + 4
    macs = 5 * 4 * 3 * 3 * 10
    assert layer.compute_cost(x.shape) == {"macs": macs, "connections": macs + 5 * 4 * 4}
    assert layer.compute_output_shape((None, 7, None, 4)) == (None, 5, None, 4)


def test_every_connection_gets_its_own_gradient():
    import tensorflow as tf

    layer = ConnectionTableConv2D(TABLE, 3)
    x = tf.constant(random(1, 5, 5, 4))
    layer.build(x.shape)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x))
    gradient = tape.gradient(total, layer.kernel).numpy()
    seen = [m for row in TABLE for m in row]
    for connection, m in enumerate(seen):
        # The derivative of the sum of an output map, for one weight, is the sum of the pixels that the weight sees.
        expected = [[x.numpy()[0, i : i + 3, j : j + 3, m].sum() for j in range(3)] for i in range(3)]
        np.testing.assert_allclose(gradient[..., connection], expected, atol=1e-5)


def test_a_table_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="once, in increasing order"):
        ConnectionTableConv2D(((1, 0),), 3)
    with pytest.raises(ValueError, match="input maps from 0 to 2"):
        ConnectionTableConv2D(((0, 3),), 3)(keras.Input((5, 5, 3)))


@pytest.mark.parametrize("height, width", [(6, 4), (7, 5)])
def test_subsampling_equals_loops(height, width):
    x = random(2, height, width, 3)
    layer = TrainableSubsampling(scaled_tanh)
    np.testing.assert_allclose(TrainableSubsampling()(x[:, :2, :2])[:, 0, 0], x[:, :2, :2].mean((1, 2)), atol=1e-6)
    layer.build(x.shape)
    coefficient, bias = random(3, seed=1), random(3, seed=2)
    layer.set_weights([coefficient, bias])
    expected = np.zeros((2, height // 2, width // 2, 3))
    for i in range(height // 2):
        for j in range(width // 2):
            total = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].sum((1, 2))
            expected[:, i, j] = 1.7159 * np.tanh(2 / 3 * (coefficient * total + bias))
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert layer.compute_output_shape((None, height, None, 3)) == (None, height // 2, None, 3)


def test_rbf_is_the_squared_distance():
    codes = np.sign(random(5, 12))
    x = random(3, 12, seed=1)
    layer = RBFOutput(codes)
    expected = [[((row - code) ** 2).sum() for code in codes] for row in x]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5)
    np.testing.assert_allclose(layer(codes).numpy().diagonal(), 0)
    assert [w.shape for w in layer.weights] == [(5, 12)] and not layer.trainable_weights
    mixed = RBFOutput(codes, dtype="mixed_bfloat16")
    assert mixed(x).dtype == "float32"
    np.testing.assert_array_equal(mixed(x), layer(x))


def test_codes_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"the shape \(classes, features\)"):
        RBFOutput([1, -1])
    with pytest.raises(ValueError, match="`codes` must have 7 features"):
        RBFOutput(np.ones((3, 5)))(keras.Input((7,)))


@pytest.mark.parametrize("fresh", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_saved_layers_compute_the_same(fresh, tmp_path, python):
    inputs = keras.Input((8, 8, 4))
    x = ConnectionTableConv2D(TABLE, 3, activation=scaled_tanh)(inputs)
    x = TrainableSubsampling(scaled_tanh)(x)
    x = RBFOutput(np.sign(random(3, 36)))(keras.layers.Flatten()(x))
    model = keras.Model(inputs, x)
    model.set_weights([random(*w.shape, seed=9) for w in model.get_weights()])
    save_model(model, tmp_path / "model.keras")
    x = random(2, 8, 8, 4)
    expected = model.predict(x, verbose=0)
    if not fresh:
        np.testing.assert_array_equal(load_model(tmp_path / "model.keras").predict(x, verbose=0), expected)
        copy = keras.models.clone_model(model)
        np.testing.assert_array_equal(
            copy.layers[-1].codes, model.layers[-1].codes
        )  # clone_model draws new random weights, but codes are not random
        return
    np.save(tmp_path / "x.npy", x)
    done = python(
        "import sys, numpy as np; from keras_cnns.saving import load_model\n"
        "np.save(sys.argv[3], load_model(sys.argv[1]).predict(np.load(sys.argv[2]), verbose=0))",
        tmp_path / "model.keras",
        tmp_path / "x.npy",
        tmp_path / "y.npy",
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
