"""Filters of convolutions of any kind, against the outputs of the layers."""

import keras
import numpy as np
import pytest
from analysis.helpers import random_images
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import filters
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import ConnectionTableConv2D, SplitConv2D

SHAPE = (7, 8, 4)


def model_of(layer, shape=SHAPE):
    inputs = layers.Input(shape)
    return keras.Model(inputs, layer(inputs), name="model")


def image_and_outputs(model):
    images = random_images(1, *SHAPE)
    return images[0], model.predict(images, verbose=0)[0]


def convolved(image, kernels, dilation=1):
    """Return a valid convolution, computed window by window."""
    count, height, width, _ = kernels.shape
    tall, wide = (dilation * (side - 1) + 1 for side in (height, width))
    found = np.empty((image.shape[0] - tall + 1, image.shape[1] - wide + 1, count))
    for i, j in np.ndindex(found.shape[:2]):
        found[i, j] = np.tensordot(kernels, image[i : i + tall : dilation, j : j + wide : dilation], 3)
    return found


@pytest.mark.parametrize(
    "layer, dilation",
    [
        (lambda: layers.Conv2D(5, (3, 2), name="conv"), 1),
        (lambda: layers.Conv2D(5, (3, 2), dilation_rate=2, name="conv"), 2),
        (lambda: layers.SeparableConv2D(5, (3, 2), depth_multiplier=3, name="conv"), 1),
        (lambda: ConnectionTableConv2D([(0, 1), (1, 3), (0, 1, 2, 3)], 3, name="conv"), 1),
    ],
)
def test_filters_reproduce_the_output(layer, dilation):
    model = model_of(layer())
    image, outputs = image_and_outputs(model)
    found = filters(model, "conv")
    assert found.shape[-1] == 4 and found.dtype == "float32"
    np.testing.assert_allclose(convolved(image, found, dilation), outputs, rtol=1e-3, atol=1e-5)
    assert abs(convolved(image, found[:, :, ::-1], dilation) - outputs).max() > 0.01


@pytest.mark.parametrize("kind", [layers.Conv2D, SplitConv2D])
def test_filters_of_groups_have_the_channels_of_the_group(kind):
    model = model_of(kind(6, 3, groups=2, name="conv"))
    image, outputs = image_and_outputs(model)
    found = filters(model, "conv")
    assert found.shape == (6, 3, 3, 2)
    for group in range(2):
        outputs_of_group = np.s_[3 * group : 3 * group + 3]
        expected = convolved(image[..., 2 * group : 2 * group + 2], found[outputs_of_group])
        np.testing.assert_allclose(expected, outputs[..., outputs_of_group], rtol=1e-3, atol=1e-5)


def test_filters_of_depthwise_convolutions_have_one_channel():
    model = model_of(layers.DepthwiseConv2D(3, depth_multiplier=2, name="conv"))
    image, outputs = image_and_outputs(model)
    found = filters(model, "conv")
    assert found.shape == (8, 3, 3, 1)
    for k in range(8):  # sorted by input channel
        expected = convolved(image[..., [k // 2]], found[[k]])[..., 0]
        np.testing.assert_allclose(expected, outputs[..., k], rtol=1e-3, atol=1e-5)
    assert abs(convolved(image[..., [1]], found[[1]])[..., 0] - outputs[..., 1]).max() > 0.01


def test_filters_of_transposed_convolutions_spread_their_inputs():
    model = model_of(layers.Conv2DTranspose(5, 3, 2, name="conv"))
    image, outputs = image_and_outputs(model)
    found = filters(model, "conv")
    assert found.shape == (5, 3, 3, 4)
    expected = np.zeros_like(outputs)
    for i, j in np.ndindex(image.shape[:2]):
        expected[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("ohwc,c->hwo", found, image[i, j])
    np.testing.assert_allclose(expected, outputs, rtol=1e-3, atol=1e-5)


def test_lenets_missing_connections_are_zeros():
    found = filters(applications.LeNet5(), "C3")
    assert found.shape == (16, 5, 5, 6)
    connected = found.any(axis=(1, 2))
    assert connected.sum() == 60  # LeCun et al. 1998, table I
    assert connected[0].tolist() == [True] * 3 + [False] * 3 and connected[15].all()


def test_layers_in_nested_models_and_in_half_precision():
    inner = model_of(layers.Conv2D(2, 3, name="conv", dtype="mixed_bfloat16"))
    outer = keras.Sequential([layers.Input(SHAPE), inner, layers.Flatten(), layers.Dense(2, name="fc")])
    by_name, by_layer = filters(outer, "model/conv"), filters(outer, inner.get_layer("conv"))
    np.testing.assert_array_equal(by_name, by_layer)
    np.testing.assert_array_equal(by_name, inner.get_layer("conv").get_weights()[0].transpose(3, 0, 1, 2))


def test_bad_layers_are_rejected():
    model = keras.Sequential([layers.Input(SHAPE), layers.Conv2D(2, 3, name="conv1"), layers.Flatten(name="flat")])
    with pytest.raises(ArgumentError, match="Did you mean 'conv1'.* Received: layer='conv2'"):
        filters(model, "conv2")
    with pytest.raises(ArgumentError, match="a convolution of images: one of conv1; flat is a Flatten. Received: "):
        filters(model, "flat")
    none = keras.Sequential([layers.Input(SHAPE), layers.Flatten(name="flat")])
    with pytest.raises(ArgumentError, match="this model has none"):
        filters(none, "flat")
