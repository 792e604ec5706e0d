"""Padding to a multiple, cutting back, and kernels of bilinear interpolation."""

import keras
import numpy as np
import pytest

from keras_cnns.layers import BilinearKernel, BilinearUpSampling2D, CropLike, PadToMultiple


def sized(shape):
    return np.arange(1, 1 + np.prod(shape), dtype="float32").reshape(shape)


@pytest.mark.parametrize("multiple, remainder", [(32, 0), (8, 1), (4, 3), (1, 0)])
@pytest.mark.parametrize("height, width", [(1, 32), (33, 31), (17, 9), (40, 64)])
def test_padding_adds_the_fewest_zeros_evenly_and_cropping_removes_them(multiple, remainder, height, width):
    x = sized((2, height, width, 3))
    rows, columns = (
        next(n for n in range(side, side + multiple) if n % multiple == remainder) for side in x.shape[1:3]
    )
    top, left = (rows - height) // 2, (columns - width) // 2
    expected = np.zeros((2, rows, columns, 3), "float32")
    expected[:, top : top + height, left : left + width] = x
    for shape in ((height, width, 3), (None, None, 3), (height, None, 3)):
        inputs = keras.Input(shape)
        padded = PadToMultiple(multiple, remainder)(inputs)
        model = keras.Model(inputs, [padded, CropLike()([padded, inputs])])
        known = [side if None not in shape else None for side in (rows, columns)]
        assert shape[0] is None or padded.shape[1] == rows
        assert None in shape or list(padded.shape[1:3]) == known
        for ours, theirs in zip(model.predict(x, verbose=0), (expected, x), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(9, 12, 2), (None, None, 2)])
@pytest.mark.parametrize("offset", [0, 1, 3, np.int64(2)])
def test_cropping_from_an_offset(offset, shape):
    x, like = sized((1, 9, 12, 2)), sized((1, 5, 6, 7))
    inputs = [keras.Input(shape), keras.Input((*[shape[0] and 5, shape[1] and 6], 7))]
    model = keras.Model(inputs, CropLike(offset)(inputs))
    np.testing.assert_array_equal(model.predict([x, like], verbose=0), x[:, offset : offset + 5, offset : offset + 6])


def test_maps_that_are_too_small_are_an_error():
    with pytest.raises(ValueError, match="5 rows or columns after the first 5 do not fit into 9"):
        CropLike(5)([keras.Input((9, 12, 2)), keras.Input((5, 6, 1))])
    with pytest.raises(ValueError, match="5 rows or columns after the first 0 do not fit into 4"):
        CropLike()([sized((1, 4, 5, 1)), sized((1, 5, 5, 1))])
    with pytest.raises(ValueError, match="call the layer with a list of two tensors"):
        CropLike()(keras.Input((9, 12, 2)))


@pytest.mark.parametrize("multiple, remainder", [(0, 0), (-8, 0), (8, 8), (8, -1)])
def test_a_multiple_that_is_none_is_an_error(multiple, remainder):
    with pytest.raises(ValueError, match="`multiple` must be positive, and `remainder` .* Received: multiple="):
        PadToMultiple(multiple, remainder)


def test_saved_layers_compute_the_same(tmp_path):
    inputs = keras.Input((None, None, 2))
    x = PadToMultiple(np.int64(8), 1, name="pad")(inputs)
    x = keras.layers.Conv2DTranspose(2, 4, 2, use_bias=False, kernel_initializer=BilinearKernel())(x)
    x = BilinearUpSampling2D(np.int64(2), np.bool_(True), name="enlarge")(x)
    model = keras.Model(inputs, CropLike(np.int64(3), name="crop")([x, inputs]))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    pixels = sized((1, 5, 6, 2))
    np.testing.assert_array_equal(again.predict(pixels, verbose=0), model.predict(pixels, verbose=0))
    rebuilt = keras.Model.from_config(model.get_config())
    np.testing.assert_array_equal(rebuilt.predict(pixels, verbose=0), model.predict(pixels, verbose=0))
    assert again.get_layer("pad").get_config()["remainder"] == 1 and again.get_layer("crop").offset == 3
    with pytest.raises(ValueError, match="`factor` must be positive"):
        BilinearUpSampling2D(0)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 15, 16, 63, 64])
def test_a_bilinear_kernel_equals_the_formula_of_the_authors(side):
    """upsample_filt and interp of surgery.py."""
    kernel = np.asarray(BilinearKernel()((side, side, 3, 3)))
    factor = (side + 1) // 2
    center = factor - 1 if side % 2 == 1 else factor - 0.5
    for i in range(side):
        for j in range(side):
            value = (1 - abs(i - center) / factor) * (1 - abs(j - center) / factor)
            np.testing.assert_allclose(kernel[i, j], value * np.eye(3), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("factor", [2, 4, 8, 32])
def test_a_transposed_convolution_with_it_is_bilinear_resizing_except_near_the_border(factor):
    x = np.random.default_rng(0).uniform(size=(1, 6, 5, 2)).astype("float32")
    layer = keras.layers.Conv2DTranspose(
        2, 2 * factor, factor, padding="same", use_bias=False, kernel_initializer=BilinearKernel()
    )
    ours = np.asarray(layer(x))
    resized = np.asarray(keras.layers.UpSampling2D(factor, interpolation="bilinear")(x))
    inner = (slice(None), slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(ours[inner], resized[inner], atol=1e-6)
    assert np.abs(ours - resized).max() > 0.2  # it fades to zero at the border


def test_a_bilinear_kernel_between_different_channels_is_an_error():
    with pytest.raises(ValueError, match=r"as many channels in as out. Received: shape=\(4, 4, 2, 3\)"):
        BilinearKernel()((4, 4, 2, 3))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
@pytest.mark.parametrize("height, width", [(1, 1), (1, 4), (6, 5)])
def test_upsampling_equals_tensorflows_resize(factor, height, width, align_corners):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")
    size = tuple((side - 1) * factor + 1 if align_corners else side * factor for side in (height, width))
    if align_corners:
        expected = tf.compat.v1.image.resize_bilinear(x, size, align_corners=True)
    else:
        expected = tf.image.resize(x, size)
    for shape in ((height, width, 3), (None, None, 3)):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, BilinearUpSampling2D(factor, align_corners)(inputs))
        assert None in shape or model.output_shape == (None, *size, 3)
        np.testing.assert_allclose(model(x), expected, atol=1e-5)


def test_upsampling_of_an_unknown_size_is_compiled():
    """Keras's layer is not, with TensorFlow."""
    x = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("float32")
    inputs = keras.Input((None, None, 3))
    both = [BilinearUpSampling2D(2, align)(inputs) for align in (False, True)]
    ours, aligned = keras.Model(inputs, both).predict(x, verbose=0)
    np.testing.assert_allclose(ours, keras.layers.UpSampling2D(2, interpolation="bilinear")(x), atol=1e-6)
    np.testing.assert_allclose(aligned[:, ::2, ::2], x, atol=1e-6)


def test_the_layers_cost_nothing():
    assert PadToMultiple(8).compute_cost((None, 9, 9, 1)) == {"macs": 0, "connections": 0}
    assert CropLike().compute_cost([(None, 9, 9, 1), (None, 8, 8, 1)]) == {"macs": 0, "connections": 0}
