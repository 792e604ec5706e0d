"""DeconvNet at single positions, and the support of projections against receptive fields."""

import keras
import numpy as np
import pytest
from analysis.deconvnet_networks import RELUS, linear, two_convolutions
from analysis.helpers import random_images
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import DeconvNet, feature_maps, receptive_field
from keras_cnns.layers import CeilMaxPooling2D, LocalResponseNormalization, ZeroPadShortcut


@pytest.mark.kernels
def test_max_is_the_strongest_position():
    model = two_convolutions(RELUS["activation"])
    x = random_images(4, 12, 11, 2)
    net, maps = DeconvNet(model), feature_maps(model, x, "conv2")[..., 2]
    strongest = net.project(x, "conv2", 2)
    for n, unit_map in enumerate(maps):
        place = np.unravel_index(unit_map.argmax(), unit_map.shape)
        here = net.project(x[n : n + 1], "conv2", 2, position=place)
        # Sums may be in another order for a batch of four than for a batch of one.
        np.testing.assert_allclose(strongest[n : n + 1], here, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(here, net.project(x[n : n + 1], "conv2", 2, position=list(map(int, place))))
        lowest = np.unravel_index(unit_map.argmin(), unit_map.shape)
        assert np.abs(net.project(x[n : n + 1], "conv2", 2, lowest) - here).max() > 1e-3
    # The projection of a silent unit is zero.
    bias = model.get_layer("conv2").bias
    bias.assign(bias.numpy() - 1000)
    assert not net.project(x, "conv2", 2).any() and not net.project(x, "conv2", 2, "all").any()


def test_positions_add_up_if_there_is_no_relu_on_the_way():
    model = linear(layers.Conv2D(3, 3, padding="same"), shape=(4, 5, 2))
    x, net = random_images(2, 4, 5, 2), DeconvNet(model)
    total = sum(net.project(x, "last", 1, place) for place in np.ndindex(4, 5))
    np.testing.assert_allclose(net.project(x, "last", 1, "all"), total, rtol=1e-4, atol=1e-5)


def inception(x, filters, name):
    """Return a small module, figure 2(b) of Szegedy et al. 2014."""
    relu = {"activation": "relu", "padding": "same"}
    small = layers.Conv2D(filters, 3, **relu)(layers.Conv2D(filters, 1, **relu)(x))
    large = layers.Conv2D(filters, 5, **relu)(layers.Conv2D(filters, 1, **relu)(x))
    pooled = layers.Conv2D(filters, 1, **relu)(layers.MaxPooling2D(3, 1, padding="same")(x))
    return layers.Concatenate(name=name)([layers.Conv2D(filters, 1, **relu)(x), small, large, pooled])


def two_inceptions():
    inputs = keras.Input((33, 36, 2))
    x = layers.Conv2D(4, 3, 2, activation="relu", name="conv1")(inputs)
    x = inception(LocalResponseNormalization(name="norm")(x), 2, "inception1")
    x = inception(layers.MaxPooling2D(3, 2, padding="same")(x), 2, "inception2")
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="relu", name="last")(x))


def residual():
    x = inputs = keras.Input((24, 25, 1))
    for k, stride in enumerate((1, 2)):
        y = layers.Conv2D(4, 3, stride, "same", use_bias=False)(x)
        y = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.ReLU()(layers.BatchNormalization()(y)))
        y = layers.BatchNormalization()(y)
        x = layers.ReLU(name=f"out{k}")(layers.Add()([y, ZeroPadShortcut(4, stride)(x)]))
    return keras.Model(inputs, x)


def uneven():
    steps = [
        layers.ZeroPadding2D(((2, 0), (0, 1))),
        layers.Conv2D(3, (5, 2), (1, 2), activation="relu"),
        CeilMaxPooling2D(3, 2),
        layers.Conv2D(3, 3, dilation_rate=(1, 2), activation="relu", name="last"),
        layers.GlobalAveragePooling2D(),
    ]
    return keras.Sequential([keras.Input((26, 41, 1)), *steps])


NETWORKS = {
    "two inceptions": (two_inceptions, "last"),
    "two inceptions, the first": (two_inceptions, "inception1"),
    "residual": (residual, "out1"),
    "uneven": (uneven, "last"),
    "NiN": (lambda: applications.NiN(include_top=False, input_shape=(40, 40, 1)), "cccp3"),
    "AlexNet": (lambda: applications.AlexNet(include_top=False, input_shape=(131, 131, 1)), "conv3"),
    "GoogLeNet": (lambda: applications.GoogLeNet(include_top=False, input_shape=(96, 96, 1)), "inception_3b_1x1"),
}


def seen_by(field, position, sides):
    """Return a field's first and last pixel, and whether it is inside."""
    first = np.array(field.offset) + np.array(position) * field.stride - (np.array(field.size) - 1) / 2
    last = first + field.size - 1
    return np.maximum(first, 0), np.minimum(last, np.array(sides) - 1), (first >= 0).all() and (last < sides).all()


def support(projections):
    """Return the first and the last nonzero pixel along each axis."""
    any_pixel = (projections != 0).any(axis=(0, 3))
    ends = [(where.nonzero()[0][0], where.nonzero()[0][-1]) for where in (any_pixel.any(1), any_pixel.any(0))]
    return np.array(ends).T


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name[0].isupper() else []) for name in NETWORKS]
)
def test_the_support_of_a_projection_is_the_receptive_field(name):
    """Take the union over many images.

    The switches of a single image leave out all but the maxima. Weights are positive, so that nothing cancels. The
    controls are fields of another offset, stride or size.
    """
    build, layer = NETWORKS[name]
    model = build()
    random = np.random.default_rng(1)
    for convolution in model.layers:
        if hasattr(convolution, "kernel"):
            shape = convolution.kernel.shape
            convolution.kernel.assign(random.uniform(0.2, 1.0, shape) / np.prod(shape[:-1]))
    sides = model.inputs[0].shape[1:3]
    x = random.uniform(0, 1, (24, *model.inputs[0].shape[1:])).astype("float32")
    field, net = receptive_field(model, layer), DeconvNet(model)
    rows, columns = feature_maps(model, x[:1], layer).shape[1:3]
    unit = 5 if layer == "inception1" else 0  # unit 5 is in the 5x5 branch, which has the largest field
    inside = 0
    for position in {(rows // 2, columns // 2), (rows // 2 - 1, columns // 2), (0, 0), (rows - 1, columns - 1)}:
        first, last, whole = seen_by(field, position, sides)
        found = support(net.project(x, layer, unit, position))
        assert (found[0] >= first).all() and (found[1] <= last).all(), position
        if whole:
            inside += 1
            assert (found == [first, last]).all(), position
            for other in ([first + 1, last + 1], [first, last - 1], [first - 1, last]):
                assert (found != other).any()
    assert inside
    if name == "two inceptions, the first":
        narrow = support(net.project(x, layer, 0, (rows // 2, columns // 2)))  # the 1x1 branch has the field of conv1
        assert (narrow[1] - narrow[0] + 1 == receptive_field(model, "conv1").size).all()


def test_the_switches_of_a_single_image_leave_out_part_of_the_field():
    model = two_convolutions(RELUS["activation"])
    projection = DeconvNet(model).project(random_images(1, 12, 11, 2), "conv2", 1, (1, 1))
    assert (projection[0, 2:10, 2:10] == 0).any() and receptive_field(model, "conv2").size == (8, 8)
