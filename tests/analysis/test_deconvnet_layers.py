"""DeconvNet through each kind of layer: adjoints, switches, and normalization."""

import keras
import numpy as np
import pytest
from analysis.deconvnet_networks import linear, randomize
from analysis.helpers import random_images
from keras import layers, ops

from keras_cnns.analysis import DeconvNet, _gradients, _outputs, feature_maps
from keras_cnns.layers import (
    CeilAveragePooling2D,
    CeilMaxPooling2D,
    ConnectionTableConv2D,
    LocalResponseNormalization,
    Maxout,
    SplitConv2D,
    TrainableSubsampling,
    ZeroPadShortcut,
)


def one_relu(relu):
    """Return a model of f(x1) - 2 f(x2) + 5, f the ReLU."""
    x = keras.Input((1, 1, 2))
    model = keras.Model(x, layers.Conv2D(1, 1, name="last")(relu(x)))
    model.layers[-1].set_weights([np.array([1.0, -2.0]).reshape(1, 1, 2, 1), np.array([5.0])])
    return model


@pytest.mark.parametrize(
    "relu, image, wanted",
    [
        # Inputs below zero do not stop the signal: 5 arrives at x1, while -10 at x2 is cut off.
        (layers.ReLU(), (-1, -2), (5, 0)),
        (layers.ReLU(), (2, 3), (1, 0)),
        (layers.ReLU(max_value=1.0), (2, 3), (4, 0)),
        (layers.ReLU(threshold=2.5), (2, 3), (0, 2)),
        (layers.Activation("relu6"), (7, 3), (5, 0)),
        (layers.ReLU(negative_slope=0.25), (-1, -2), (5.75, -11.5 * 0.25)),
        (layers.LeakyReLU(0.25), (-1, -2), (5.75, -11.5 * 0.25)),
        (lambda x: keras.activations.leaky_relu(x, negative_slope=0.25), (-1, -2), (5.75, -11.5 * 0.25)),
        (lambda x: ops.leaky_relu(x, 0.25), (-1, -2), (5.75, -11.5 * 0.25)),
        (layers.Activation("leaky_relu"), (-1, -2), (5.6, -11.2 * 0.2)),
        (layers.ReLU(negative_slope=1.0), (-1, -2), (8, -16)),
        # `maximum` is not recognized as a ReLU, so it applies its derivative.
        (lambda x: ops.maximum(layers.ReLU(negative_slope=1.0)(x), 0.0), (-1, 2), (0, -2)),
    ],
)
def test_each_kind_of_relu(relu, image, wanted):
    image = np.array(image, "float32").reshape(1, 1, 1, 2)
    model = one_relu(relu)
    np.testing.assert_allclose(DeconvNet(model).project(image, "last", 0).ravel(), wanted, rtol=1e-5)


def branches():
    x = keras.Input((9, 8, 4))
    a, b = layers.Conv2D(3, 3, padding="same")(x), layers.Conv2D(3, 1)(x)
    both = layers.Concatenate()([layers.Add()([a, b]), layers.Subtract()([b, x[..., :3]]), layers.Average()([a, b])])
    return randomize(keras.Model(x, layers.ReLU()(layers.Conv2D(3, 1, name="last")(both))))


LINEAR = {
    "valid": lambda: linear(layers.Conv2D(3, 3)),
    "same": lambda: linear(layers.Conv2D(3, (3, 4), padding="same")),
    "stride": lambda: linear(layers.Conv2D(3, 3, strides=(2, 3), padding="same")),
    "stride, even kernel": lambda: linear(layers.Conv2D(3, 4, 2, "same")),
    "dilation": lambda: linear(layers.Conv2D(3, 3, dilation_rate=2, padding="same")),
    "groups": lambda: linear(SplitConv2D(4, 3, groups=2)),
    "Keras's groups": lambda: linear(layers.Conv2D(4, 3, groups=2)),
    "depthwise": lambda: linear(layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "separable": lambda: linear(layers.SeparableConv2D(3, 3)),
    "transposed": lambda: linear(layers.Conv2DTranspose(3, 3, 2)),
    "connection table": lambda: linear(ConnectionTableConv2D(((0, 2), (1, 2, 3), (3,)), 3)),
    "average pool": lambda: linear(layers.AveragePooling2D(3, 2, padding="same")),
    "average pool that rounds up": lambda: linear(CeilAveragePooling2D(3, 2)),
    "trainable subsampling": lambda: linear(TrainableSubsampling("linear")),
    "global average pool": lambda: linear(layers.GlobalAveragePooling2D()),
    "dense": lambda: linear(layers.Flatten(), layers.Dense(3)),
    "batch normalization": lambda: linear(layers.BatchNormalization()),
    "padding and cropping": lambda: linear(layers.ZeroPadding2D(((1, 2), (0, 3))), layers.Cropping2D(((0, 1), (2, 1)))),
    "shortcut of zeros": lambda: linear(ZeroPadShortcut(6, 2)),
    "rescaling": lambda: linear(layers.Rescaling(-2.0, offset=1.0)),
    "upsampling": lambda: linear(layers.UpSampling2D(2)),
    "dropout, inactive in inference": lambda: linear(layers.Dropout(0.5)),
    "branches": branches,
}


@pytest.mark.parametrize("kind", LINEAR)
def test_projection_is_the_adjoint_of_every_linear_layer(kind):
    """<project(x), v> = <a(x), A v>.

    A v is the layer's output for v minus its output for zeros.
    """
    model = LINEAR[kind]()
    shape = model.inputs[0].shape[1:]
    x, v = random_images(2, *shape), random_images(2, *shape, seed=1)
    for unit in range(feature_maps(model, x, "last").shape[-1]):
        down = DeconvNet(model).project(x, "last", unit, position="all")
        up = feature_maps(model, v, "last") - feature_maps(model, 0 * v, "last")
        given = feature_maps(model, x, "last")
        scale = np.linalg.norm(given[..., unit]) * np.linalg.norm(up[..., unit])
        assert abs(np.sum(down * v) - np.sum(given[..., unit] * up[..., unit])) <= 1e-5 * scale, unit
        assert abs(np.sum(down * v[::-1]) - np.sum(down * v)) > 1e-3 * scale or scale == 0  # the control


def places_of_maxima(x, size, stride, rounds_up=False):
    """Return the place of each maximum of a pool."""
    found = {}
    _, height, width, channels = x.shape
    more = stride - 1 if rounds_up else 0
    for i, j in np.ndindex((height - size + more) // stride + 1, (width - size + more) // stride + 1):
        window = x[:, i * stride : i * stride + size, j * stride : j * stride + size]
        for n, c in np.ndindex(len(x), channels):
            k, m = np.unravel_index(window[n, ..., c].argmax(), window.shape[1:3])
            found[n, i, j, c] = n, i * stride + int(k), j * stride + int(m), c
    return found


@pytest.mark.parametrize("layer", [layers.MaxPooling2D(2), layers.MaxPooling2D(3, 2), CeilMaxPooling2D(3, 2)])
def test_unpooling_puts_each_maximum_back_at_its_place(layer):
    """A maximum of several overlapping windows is added several times."""
    model = keras.Sequential([keras.Input((8, 10, 3)), type(layer).from_config(layer.get_config()), layers.ReLU()])
    x = np.abs(random_images(2, 8, 10, 3)) + 0.1
    places = places_of_maxima(x, layer.pool_size[0], layer.strides[0], isinstance(layer, CeilMaxPooling2D))
    assert len(places) == feature_maps(model, x, model.layers[0]).size
    wanted = np.zeros_like(x)
    for place in places.values():
        wanted[place] += x[place]
    net = DeconvNet(model)
    found = np.zeros_like(x)
    for unit in range(3):
        projection = net.project(x, model.layers[0], unit, position="all")
        assert not projection[..., np.arange(3) != unit].any()
        found += projection
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    # The projection is the adjoint of a forward pass with the same switches.
    v = random_images(2, 8, 10, 3, seed=1)
    up = sum(x[place] * v[place] for place in places.values())
    assert abs(np.sum(found * v) - up) <= 1e-4 * abs(up)
    # The control: an average pool spreads the signal.
    average = keras.Sequential([keras.Input((8, 10, 3)), layers.AveragePooling2D(2), layers.ReLU()])
    assert (DeconvNet(average).project(x, average.layers[0], 0, "all")[..., 0] != 0).mean() > 0.9


def test_the_first_of_equal_maxima_gets_the_whole_signal():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.MaxPooling2D(2, name="pool"), layers.ReLU()])
    found = DeconvNet(model).project(np.ones((1, 4, 4, 1)), "pool", 0, "all")[0, ..., 0]
    assert (found == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]).all()


def test_maxout_and_global_max_pool_send_the_signal_to_the_maximum():
    x = random_images(2, 5, 4, 6)
    model = keras.Sequential([keras.Input((5, 4, 6)), Maxout(3, name="maxout"), layers.ReLU()])
    found = DeconvNet(model).project(x, "maxout", 1, "all")
    largest = x[..., 3:].max(-1, keepdims=True)
    assert not found[..., :3].any() and (found[..., 3:] == np.where(x[..., 3:] == largest, largest, 0)).all()
    model = keras.Sequential([keras.Input((5, 4, 6)), layers.GlobalMaxPooling2D(name="pool"), layers.ReLU()])
    found = DeconvNet(model).project(x, "pool", 2)
    largest = x[..., 2].max((1, 2), keepdims=True)
    assert (found[..., 2] == np.where(x[..., 2] == largest, largest, 0)).all() and np.count_nonzero(found) == 2


def test_response_normalization_does_not_change_the_signal():
    x = np.abs(random_images(2, 5, 4, 6)) + 1
    model = keras.Sequential(
        [keras.Input((5, 4, 6)), LocalResponseNormalization(alpha=0.1, name="norm"), layers.ReLU()]
    )
    found, given = DeconvNet(model).project(x, "norm", 3, "all"), feature_maps(model, x, "norm")
    np.testing.assert_allclose(found[..., 3], given[..., 3], rtol=1e-6)
    assert not found[..., [0, 1, 2, 4, 5]].any()

    def energy(images):
        return ops.sum(_outputs.layer_tensor(model, images, "norm")[..., 3] ** 2 / 2, axis=(1, 2))

    gradient = _gradients.gradients(energy, x)[1][0]  # the control
    assert gradient[..., [2, 4]].any() and np.abs(gradient[..., 3] - given[..., 3]).max() > 0.1


def test_batch_normalization_applies_its_scale():
    model = randomize(keras.Sequential([keras.Input((3, 3, 2)), layers.BatchNormalization(name="bn"), layers.ReLU()]))
    gamma, _, _, variance = model.get_layer("bn").get_weights()
    x = random_images(2, 3, 3, 2)
    found, given = DeconvNet(model).project(x, "bn", 1, "all"), feature_maps(model, x, "bn")
    np.testing.assert_allclose(found[..., 1], given[..., 1] * gamma[1] / np.sqrt(variance[1] + 1e-3), rtol=1e-4)
