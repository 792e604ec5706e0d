"""Pooling that rounds up, compared with loops over Caffe's definition."""

import keras
import numpy as np
import pytest

from keras_cnns.layers import CeilAveragePooling2D, CeilMaxPooling2D, ceil_pooling

CLASSES = {"max": CeilMaxPooling2D, "average": CeilAveragePooling2D}


def caffe_pool(x, kind, pool, stride):
    """Pool windows that start every `stride` positions.

    They cover all positions and are cut off at the edge.
    """
    height, width = (1 + -(-(size - pool) // stride) for size in x.shape[1:3])
    out = np.zeros((len(x), height, width, x.shape[-1]), "float32")
    reduce = {"max": np.max, "average": np.mean}[kind]
    for i in range(height):
        for j in range(width):
            window = x[:, i * stride : i * stride + pool, j * stride : j * stride + pool]
            out[:, i, j] = reduce(window, axis=(1, 2))
    return out


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("pool, stride", [(3, 2), (2, 2), (3, 3), (4, 2), (3, 1), (5, 3)])
@pytest.mark.parametrize("height, width", [(8, 8), (9, 8), (7, 13), (5, 6), (11, 10)])
def test_pooling_equals_the_definition(kind, pool, stride, height, width):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")
    expected = caffe_pool(x, kind, pool, stride)
    known = keras.Input((height, width, 3))
    unknown = keras.Input((None, None, 3))
    for inputs in (known, unknown):
        for layer in (CLASSES[kind](pool, stride), ceil_pooling(kind, pool, stride, "pool")):
            model = keras.Model(inputs, layer(inputs))
            if inputs is known:
                assert model.output_shape == (None, *expected.shape[1:])
            np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("size, ours", [(32, False), (16, False), (7, False), (8, False)])
def test_keras_own_layer_is_used_where_the_windows_are_the_same(kind, size, ours):
    output = ceil_pooling(kind, 3, 2, "pool")(keras.Input((size, size, 1)))
    assert isinstance(output._keras_history.operation, CLASSES[kind]) == ours


def test_our_layer_is_used_where_the_windows_differ():
    for shape in ((33, 32, 1), (None, None, 1)):
        output = ceil_pooling("max", 3, 2, "pool")(keras.Input(shape))
        assert isinstance(output._keras_history.operation, CeilMaxPooling2D)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_saved_layer_computes_the_same(kind, tmp_path):
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, CLASSES[kind](3, 2, name="pool")(inputs))
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(1).normal(size=(1, 9, 6, 2)).astype("float32")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_arguments_that_do_not_round_up_are_an_error():
    with pytest.raises(ValueError, match="rounds up by itself"):
        CeilMaxPooling2D(3, 2, padding="same")
    with pytest.raises(ValueError, match="`pool_size` must be at least `strides`"):
        CeilAveragePooling2D(2, 3)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_map_too_small_for_a_window_is_an_error(kind):
    """TensorFlow itself would crash the process."""
    layer = CLASSES[kind](3, 2)
    assert layer(np.ones((1, 2, 2, 1), "float32")).shape == (1, 1, 1, 1)
    for x in (np.ones((1, 1, 8, 1), "float32"), keras.Input((8, 1, 1))):
        with pytest.raises(ValueError, match="too little is left of the image for a window"):
            layer(x)


@pytest.mark.parametrize("kind", CLASSES)
def test_gradients_equal_those_of_the_definition(kind):
    """The repeated or padded edge adds nothing to them."""
    import tensorflow as tf

    x = tf.constant(np.random.default_rng(2).permutation(36).reshape(1, 6, 6, 1).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(CLASSES[kind](3, 2)(x))
    gradient = tape.gradient(total, x).numpy()
    step = 1e-2 if kind == "average" else 0.25
    for i, j in ((0, 0), (5, 5), (4, 2), (5, 1)):
        higher, lower = x.numpy().copy(), x.numpy().copy()
        higher[0, i, j, 0] += step
        lower[0, i, j, 0] -= step
        slope = (caffe_pool(higher, kind, 3, 2).sum() - caffe_pool(lower, kind, 3, 2).sum()) / (2 * step)
        assert gradient[0, i, j, 0] == pytest.approx(slope, abs=2e-2)
