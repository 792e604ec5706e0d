"""Grad-CAM against class activation maps, and on networks without them."""

import keras
import numpy as np
import pytest
from analysis.class_map_networks import (
    dense,
    flattened,
    kept_dimensions,
    maps_themselves,
    network,
    shared_relu,
    two_steps,
)
from analysis.helpers import images_for
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import class_activation_map, grad_cam
from keras_cnns.errors import ArgumentError


@pytest.mark.parametrize("end", [dense, kept_dimensions, two_steps, maps_themselves])
def test_grad_cam_is_the_positive_part_of_the_class_activation_map(end):
    """Selvaraju et al. 2017, section 3.1."""
    model = network(end)
    images = images_for(model)
    exact = class_activation_map(model, images, 2)
    found = grad_cam(model, images, target=2, batch_size=2)
    assert found.layer == exact.layer and found.bias is None
    np.testing.assert_allclose(found.maps * 36, np.maximum(exact.maps, 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-5)
    other = grad_cam(model, images, target=3)
    assert abs(other.maps - found.maps).max() > 1e-3


def test_grad_cam_of_a_flattened_end():
    """The channels are weighted by the mean of the dense layer's weights."""
    model = network(flattened)
    images = images_for(model)
    maps = keras.Model(model.input, model.get_layer("conv2").output).predict(images, verbose=0)
    weights = model.get_layer("fc8").get_weights()[0].reshape(6, 6, 8, 5)
    found = grad_cam(model, images, "conv2", 1)
    expected = np.maximum(np.einsum("nhwc,c->nhw", maps, weights.mean(axis=(0, 1))[:, 1]), 0)
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-6)
    unweighted = np.maximum(np.einsum("nhwc,hwc->nhw", maps, weights[..., 1]), 0)
    assert abs(found.maps - unweighted).max() > 0.1 * found.maps.max()
    assert grad_cam(model, images, model.get_layer("conv1")).maps.shape == (3, 12, 12)


@pytest.mark.parametrize(
    "name, layer, side",
    [("NiN", "cccp6", 8), ("LeNet5", "S4", 5), ("ResNet20", "conv4_3_out", 8)],
)
def test_the_default_layer(name, layer, side):
    model = getattr(applications, name)()
    found = grad_cam(model, images_for(model, 1))
    assert found.layer == layer and found.maps.shape == (1, side, side)


def pooled(x):
    x = layers.MaxPooling2D(2, name="pool")(layers.Dropout(0.5)(layers.ReLU(name="relu")(x)))
    return layers.Dense(5)(layers.Flatten()(x))


def test_the_default_layer_is_no_pool_or_dropout():
    model = network(pooled)
    assert grad_cam(model, images_for(model)).layer == "relu"


@pytest.mark.parametrize(
    "layer, text", [("conv3", "Did you mean 'conv2'"), ("fc", "`layer` must output maps"), ("relu", "used once")]
)
def test_bad_layers_are_rejected(layer, text):
    model = network(shared_relu if layer == "relu" else dense)
    with pytest.raises(ArgumentError, match="Received: layer=") as raised:
        grad_cam(model, images_for(model), layer)
    assert text in str(raised.value)
