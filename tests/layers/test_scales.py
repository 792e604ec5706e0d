"""Layers that resize by bilinear interpolation, compared with TensorFlow's resize."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cnns.layers import Rescale2D, ResizeLike

SIZES = {0.75: (9, 13), 0.5: (6, 9), 1.0: (13, 18), 1.5: (19, 27), 0.05: (1, 1)}  # of images of 13x18, by factor


def images(height=13, width=18, channels=3):
    return np.random.default_rng(0).normal(size=(2, height, width, channels)).astype("float32")


@pytest.mark.parametrize(
    "factor, size", [(0.75, (9, 13)), (0.5, (6, 9)), (1.0, (13, 18)), (1.5, (19, 27)), (0.05, (1, 1))]
)
@pytest.mark.parametrize("known", [True, False])
def test_rescaling_is_bilinear_without_averaging(factor, size, known):
    x = images()
    inputs = keras.Input(x.shape[1:] if known else (None, None, 3))
    outputs = Rescale2D(factor)(inputs)
    assert outputs.shape[1:3] == (size if known else (None, None))
    found = keras.Model(inputs, outputs).predict(x, verbose=0)
    np.testing.assert_allclose(found, tf.image.resize(x, size), atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_maps_get_the_size_of_others(known):
    x, like = images(), images(30, 11, 1)
    shapes = [each.shape[1:] if known else (None, None, each.shape[-1]) for each in (x, like)]
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, ResizeLike()(inputs))
    found = model.predict([x, like], verbose=0)
    assert model.output_shape == (None, *(like.shape[1:3] if known else (None, None)), 3)
    np.testing.assert_allclose(found, tf.image.resize(x, (30, 11)), atol=1e-5)


def test_layers_are_saved(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, ResizeLike()([Rescale2D(0.75)(inputs), inputs]))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images()), model(images()))


def test_what_cannot_be_resized_is_named():
    with pytest.raises(ValueError, match="`factor` must be positive"):
        Rescale2D(0)
    with pytest.raises(ValueError, match="a list of two tensors"):
        ResizeLike().compute_output_shape([(None, 3, 3, 1)])
