"""Projections: an explicit unpool-ReLU-transposed-convolution chain, adjoints, and what a unit sees."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

from keras_cnns import _graph, applications
from keras_cnns.analysis import (
    DeconvNet,
    _backward,
    _gradients,
    _outputs,
    draw_projections,
    feature_maps,
    receptive_field,
)
from keras_cnns.errors import ArgumentError
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


def random_images(count, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype("float32")


def randomized(model, low=-1.0, high=1.0, seed=1):
    """All weights drawn anew; variances stay positive."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        drawn = random.uniform(low, high, weight.shape)
        weight.assign(np.abs(drawn) + 0.5 if "variance" in weight.path else drawn)
    return model


# One network, its ReLUs written in every way that there is


def network(relu):
    """Two convolutions with a max pool in between; `relu` makes "conv1" and "conv2" out of a tensor."""
    x = inputs = keras.Input((12, 11, 2))
    x = relu(x, 5, "conv1")
    x = relu(layers.MaxPooling2D(2, name="pool")(x), 4, "conv2")
    return randomized(keras.Model(inputs, layers.Conv2D(3, 1, name="last")(x)))


def behind(function):
    return lambda x, filters, name: function(layers.Conv2D(filters, 3, name=name)(x))


def nested(x, filters, name):
    inner = keras.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(filters, 3, name=name), layers.ReLU()])
    return inner(x)


RELUS = {
    "activation": lambda x, filters, name: layers.Conv2D(filters, 3, activation="relu", name=name)(x),
    "layer as activation": lambda x, filters, name: layers.Conv2D(filters, 3, activation=layers.ReLU(), name=name)(x),
    "ReLU layer": behind(lambda x: layers.ReLU()(x)),
    "Activation layer": behind(lambda x: layers.Activation("relu")(x)),
    "keras.ops.relu": behind(ops.relu),
    "keras.activations.relu": behind(keras.activations.relu),
    "leaky with slope 0": behind(lambda x: layers.LeakyReLU(0.0)(x)),
    "high cap": behind(lambda x: layers.ReLU(max_value=1e6)(x)),
    "nested models": nested,
}


def convolve(x, kernel, bias):
    """Position by position, as the definition has it."""
    rows, columns = x.shape[0] - 2, x.shape[1] - 2
    out = np.zeros((rows, columns, kernel.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        out[i, j] = np.tensordot(x[i : i + 3, j : j + 3], kernel, 3) + bias
    return out


def convolve_back(signal, kernel, shape):
    out = np.zeros(shape)
    for i, j in np.ndindex(signal.shape[:2]):
        out[i : i + 3, j : j + 3] += kernel @ signal[i, j]
    return out


def pool(x):
    """Return maxima of 2x2 and their places in x."""
    rows, columns, channels = x.shape[0] // 2, x.shape[1] // 2, x.shape[2]
    out, switches = np.zeros((rows, columns, channels)), {}
    for i, j, c in np.ndindex(rows, columns, channels):
        window = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        k, m = np.unravel_index(window.argmax(), (2, 2))
        switches[i, j, c] = 2 * i + k, 2 * j + m, c
        out[i, j, c] = window.max()
    return out, switches


def unpool(signal, switches, shape):
    out = np.zeros(shape)
    for place, switch in switches.items():
        out[switch] = signal[place]
    return out


def explicit_projection(model, image, unit):
    """Up through both convolutions and down again: rectify, filter, unpool, rectify, filter."""
    kernel1, bias1, kernel2, bias2 = (weight.numpy() for weight in model.weights[:4])
    map1 = np.maximum(convolve(image, kernel1, bias1), 0)
    pooled, switches = pool(map1)
    map2 = np.maximum(convolve(pooled, kernel2, bias2), 0)
    signal = np.zeros_like(map2)
    place = (*np.unravel_index(map2[..., unit].argmax(), map2.shape[:2]), unit)
    signal[place] = map2[place]
    signal = convolve_back(np.maximum(signal, 0), kernel2, pooled.shape)
    signal = unpool(signal, switches, map1.shape)
    return convolve_back(np.maximum(signal, 0), kernel1, image.shape)


def layer_behind_second_relu(model):
    """The layer whose output goes into `last`."""
    return _graph.walk(model)[1][-2].name


@pytest.mark.parametrize("way", RELUS)
def test_the_explicit_chain(way):
    model = network(RELUS[way])
    images = random_images(3, 12, 11, 2)
    found = DeconvNet(model).project(images, layer_behind_second_relu(model), unit=2)
    wanted = np.stack([explicit_projection(model, image, 2) for image in images])
    assert found.dtype == "float32" and found.shape == images.shape and np.abs(found).max() > 1
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_neither_the_gradient_nor_the_guided_gradient_is_the_explicit_chain():
    model = network(RELUS["ReLU layer"])
    images = random_images(3, 12, 11, 2)
    wanted = np.stack([explicit_projection(model, image, 2) for image in images])

    def with_rule(visit):
        def energy(x):
            maps = ops.reshape(_outputs.layer_tensor(model, x, layer_behind_second_relu(model), visit)[..., 2], (3, -1))
            return ops.max(maps, axis=1) ** 2 / 2

        return _gradients.gradients(energy, images)[1][0]

    np.testing.assert_allclose(with_rule(_backward.deconvnet_rule), wanted, rtol=1e-4, atol=1e-4)
    for other in (_backward.gradient_rule, _backward.guided_rule):
        assert np.abs(with_rule(other) - wanted).max() > 0.1 * np.abs(wanted).max()


def test_the_model_is_left_as_it_was():
    for way in RELUS:
        model = network(RELUS[way])
        images = random_images(2, 12, 11, 2)
        before, parts = model(images).numpy(), model._flatten_layers()
        states = [(part, dict(vars(part))) for part in parts]
        DeconvNet(model).project(images, "last", 0)
        for part, state in states:
            assert {k: v for k, v in vars(part).items() if k in ("call", "activation")} == {
                k: v for k, v in state.items() if k in ("call", "activation")
            }
        assert (model(images).numpy() == before).all()

    relu = layers.ReLU()
    with pytest.raises(ZeroDivisionError):
        _backward.deconvnet_rule("relu", relu, lambda: 1 / 0)
    assert "call" not in vars(relu)


# One layer after the other


def one_relu(relu):
    """f(x1) - 2 f(x2) + 5, f a ReLU."""
    x = keras.Input((1, 1, 2))
    model = keras.Model(x, layers.Conv2D(1, 1, name="last")(relu(x)))
    model.layers[-1].set_weights([np.array([1.0, -2.0]).reshape(1, 1, 2, 1), np.array([5.0])])
    return model


@pytest.mark.parametrize(
    "relu, image, wanted",
    [
        # Both inputs below zero: what comes down goes on all the same, 5 for x1, and -10 for x2 is cut off
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
        # No ReLU to us, so the derivative, beside one that is
        (lambda x: ops.maximum(layers.ReLU(negative_slope=1.0)(x), 0.0), (-1, 2), (0, -2)),
    ],
)
def test_what_each_kind_of_relu_does(relu, image, wanted):
    image = np.array(image, "float32").reshape(1, 1, 1, 2)
    model = one_relu(relu)
    np.testing.assert_allclose(DeconvNet(model).project(image, "last", 0).ravel(), wanted, rtol=1e-5)


def linear(*steps, shape=(9, 8, 4)):
    """A model that ends with a layer named `last`, and one of its own kind of ReLU behind it."""
    model = keras.Sequential([keras.Input(shape), *steps])
    model.layers[-1].name = "last"
    return randomized(keras.Model(model.inputs, layers.ReLU()(model.outputs[0])))


def branches():
    x = keras.Input((9, 8, 4))
    a, b = layers.Conv2D(3, 3, padding="same")(x), layers.Conv2D(3, 1)(x)
    both = layers.Concatenate()([layers.Add()([a, b]), layers.Subtract()([b, x[..., :3]]), layers.Average()([a, b])])
    return randomized(keras.Model(x, layers.ReLU()(layers.Conv2D(3, 1, name="last")(both))))


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
    "dropout, idle in inference": lambda: linear(layers.Dropout(0.5)),
    "branches": branches,
}


@pytest.mark.parametrize("kind", LINEAR)
def test_adjoint_of_every_linear_layer(kind):
    """<project(x), v> = <a(x), A v>, A v without what A gives for nothing."""
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
    """Return, for each position and channel of a pool, where its maximum is."""
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
    """Where windows overlap, a maximum of several comes back as often."""
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
        one = net.project(x, model.layers[0], unit, position="all")
        assert not one[..., np.arange(3) != unit].any()
        found += one
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    # The adjoint of a forward pass with these switches
    v = random_images(2, 8, 10, 3, seed=1)
    up = sum(x[place] * v[place] for place in places.values())
    assert abs(np.sum(found * v) - up) <= 1e-4 * abs(up)
    # The control: an average pool puts it everywhere
    average = keras.Sequential([keras.Input((8, 10, 3)), layers.AveragePooling2D(2), layers.ReLU()])
    assert (DeconvNet(average).project(x, average.layers[0], 0, "all")[..., 0] != 0).mean() > 0.9


def test_of_equal_maxima_the_first_gets_all():
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.MaxPooling2D(2, name="pool"), layers.ReLU()])
    found = DeconvNet(model).project(np.ones((1, 4, 4, 1)), "pool", 0, "all")[0, ..., 0]
    assert (found == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]).all()


def test_maxout_and_global_max_pool_go_to_the_maximum():
    x = random_images(2, 5, 4, 6)
    model = keras.Sequential([keras.Input((5, 4, 6)), Maxout(3, name="maxout"), layers.ReLU()])
    found = DeconvNet(model).project(x, "maxout", 1, "all")
    largest = x[..., 3:].max(-1, keepdims=True)
    assert not found[..., :3].any() and (found[..., 3:] == np.where(x[..., 3:] == largest, largest, 0)).all()
    model = keras.Sequential([keras.Input((5, 4, 6)), layers.GlobalMaxPooling2D(name="pool"), layers.ReLU()])
    found = DeconvNet(model).project(x, "pool", 2)
    largest = x[..., 2].max((1, 2), keepdims=True)
    assert (found[..., 2] == np.where(x[..., 2] == largest, largest, 0)).all() and np.count_nonzero(found) == 2


def test_response_normalization_lets_the_signal_pass():
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


def test_batch_normalization_keeps_its_scale():
    model = randomized(keras.Sequential([keras.Input((3, 3, 2)), layers.BatchNormalization(name="bn"), layers.ReLU()]))
    gamma, _, _, variance = model.get_layer("bn").get_weights()
    x = random_images(2, 3, 3, 2)
    found, given = DeconvNet(model).project(x, "bn", 1, "all"), feature_maps(model, x, "bn")
    np.testing.assert_allclose(found[..., 1], given[..., 1] * gamma[1] / np.sqrt(variance[1] + 1e-3), rtol=1e-4)


# Positions, and what they see


@pytest.mark.kernels
def test_positions():
    model = network(RELUS["activation"])
    x = random_images(4, 12, 11, 2)
    net, maps = DeconvNet(model), feature_maps(model, x, "conv2")[..., 2]
    strongest = net.project(x, "conv2", 2)
    for n, one in enumerate(maps):
        place = np.unravel_index(one.argmax(), one.shape)
        here = net.project(x[n : n + 1], "conv2", 2, position=place)
        # A batch of four and a batch of one may be summed in another order
        np.testing.assert_allclose(strongest[n : n + 1], here, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(here, net.project(x[n : n + 1], "conv2", 2, position=list(map(int, place))))
        lowest = np.unravel_index(one.argmin(), one.shape)
        assert np.abs(net.project(x[n : n + 1], "conv2", 2, lowest) - here).max() > 1e-3
    # A silent unit sends nothing
    bias = model.get_layer("conv2").bias
    bias.assign(bias.numpy() - 1000)
    assert not net.project(x, "conv2", 2).any() and not net.project(x, "conv2", 2, "all").any()


def test_all_positions_add_up_where_no_relu_is_on_the_way():
    model = linear(layers.Conv2D(3, 3, padding="same"), shape=(4, 5, 2))
    x, net = random_images(2, 4, 5, 2), DeconvNet(model)
    total = sum(net.project(x, "last", 1, place) for place in np.ndindex(4, 5))
    np.testing.assert_allclose(net.project(x, "last", 1, "all"), total, rtol=1e-4, atol=1e-5)


def inception(x, filters, name):
    """Figure 2(b) of Szegedy et al., small."""
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
    """Return first and last pixel of each axis of a field, and whether it is inside the image."""
    first = np.array(field.offset) + np.array(position) * field.stride - (np.array(field.size) - 1) / 2
    last = first + field.size - 1
    return np.maximum(first, 0), np.minimum(last, np.array(sides) - 1), (first >= 0).all() and (last < sides).all()


def support(projections):
    """Return first and last pixel of each axis that is not zero in some image."""
    any_pixel = (projections != 0).any(axis=(0, 3))
    ends = [(where.nonzero()[0][0], where.nonzero()[0][-1]) for where in (any_pixel.any(1), any_pixel.any(0))]
    return np.array(ends).T


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name[0].isupper() else []) for name in NETWORKS]
)
def test_the_support_of_a_projection_is_the_receptive_field(name):
    """Over many images, as each image's switches leave out what was no maximum; weights are positive.

    The controls: fields of another offset, stride or size are not what is found.
    """
    build, layer = NETWORKS[name]
    model = build()
    random = np.random.default_rng(1)
    for one in model.layers:
        if hasattr(one, "kernel"):
            one.kernel.assign(random.uniform(0.2, 1.0, one.kernel.shape) / np.prod(one.kernel.shape[:-1]))
    sides = model.inputs[0].shape[1:3]
    x = random.uniform(0, 1, (24, *model.inputs[0].shape[1:])).astype("float32")
    field, net = receptive_field(model, layer), DeconvNet(model)
    rows, columns = feature_maps(model, x[:1], layer).shape[1:3]
    unit = 5 if layer == "inception1" else 0  # of the 5x5 branch: what the others see is less
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
        narrow = support(net.project(x, layer, 0, (rows // 2, columns // 2)))  # the 1x1 branch: what conv1 sees
        assert (narrow[1] - narrow[0] + 1 == receptive_field(model, "conv1").size).all()


def test_the_switches_of_one_image_leave_part_of_the_field_out():
    model = network(RELUS["activation"])
    one = DeconvNet(model).project(random_images(1, 12, 11, 2), "conv2", 1, (1, 1))
    assert (one[0, 2:10, 2:10] == 0).any() and receptive_field(model, "conv2").size == (8, 8)


# Other matters


@pytest.mark.kernels
def test_batches_do_not_matter():
    model, x = network(RELUS["ReLU layer"]), random_images(5, 12, 11, 2)
    whole = DeconvNet(model).project(x, "last", 1)
    np.testing.assert_allclose(DeconvNet(model).project(x, "last", 1, batch_size=2), whole, rtol=1e-5, atol=1e-6)


def test_mixed_precision_is_computed_in_float32():
    x = random_images(2, 12, 11, 2)
    plain = network(RELUS["activation"])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = network(RELUS["activation"])
    finally:
        keras.config.set_dtype_policy("float32")
    wanted = DeconvNet(plain).project(x, "conv2", 1)
    np.testing.assert_array_equal(DeconvNet(mixed).project(x, mixed.get_layer("conv2"), 1), wanted)
    assert np.abs(mixed(x).numpy().astype("float32") - plain(x).numpy()).max() > 1e-3  # which it is not by itself


def test_a_trained_unit_is_projected_onto_its_object(shapes_model, untrained_shapes_model, shapes):
    """The share of a class map's projection that lies on the object, over the object's share of all pixels."""
    x = shapes.images[:60].astype("float32")
    gains = []
    for model in (shapes_model, untrained_shapes_model):
        sizes = np.zeros(shapes.masks[:60].shape)
        for unit in range(3):
            of_class = shapes.labels[:60] == unit
            sizes[of_class] = np.abs(DeconvNet(model).project(x[of_class], "maps", unit, "all")).sum(-1)
        gains.append(sizes[shapes.masks[:60]].sum() / sizes.sum() / shapes.masks[:60].mean())
    assert gains[0] > 2 and gains[1] < 1.7


def test_drawing(tmp_path, digits_model):
    model, record = digits_model
    x = random_images(12, *model.inputs[0].shape[1:])
    path = tmp_path / "units.png"
    tops = draw_projections(model, x, "conv2", [0, 3, 5], path, count=4)
    assert [top.unit for top in tops] == [0, 3, 5] and all(len(top.values) == 4 for top in tops)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape[1] > 900 and pixels.shape[0] > 500
    colors = {tuple(color) for color in pixels.reshape(-1, 3)}
    assert (205, 224, 240) in colors and (0, 0, 0) in colors


def test_bad_inputs():
    model, x = network(RELUS["activation"]), random_images(2, 12, 11, 2)
    net = DeconvNet(model)
    with pytest.raises(ArgumentError, match=r"must be a layer of .*\. Did you mean 'conv1'\? Received: layer='conv_1'"):
        net.project(x, "conv_1", 0)
    with pytest.raises(ArgumentError, match="`unit` must lie between 0 and 3, the units of conv2. Received: unit=4"):
        net.project(x, "conv2", 4)
    for unit in (-1, 1.0, "1", True, None):
        with pytest.raises(ArgumentError, match="`unit` must"):
            net.project(x, "conv2", unit)
    for position in ((3, 0), (-1, 0), (0,), (0, 0, 0), (0.5, 1), None, [[0, 1]]):
        with pytest.raises(ArgumentError, match=r"\(row, column\) in the map of conv2, 3 x 2. Received: position="):
            net.project(x, "conv2", 0, position)
    with pytest.raises(ArgumentError, match="Did you mean 'max'"):
        net.project(x, "conv2", 0, "maximum")
    for images in (x[0], x[:, :5], x[..., :1], x[:0]):
        with pytest.raises(ArgumentError, match=r"`images` must be \(images, 12, 11, 2\)"):
            net.project(images, "conv2", 0)
    with pytest.raises(ArgumentError, match="finite"):
        net.project(x * np.nan, "conv2", 0)
    with pytest.raises(ArgumentError, match="`batch_size` must be a whole number"):
        net.project(x, "conv2", 0, batch_size=0)

    with pytest.raises(ArgumentError, match="`model` must have a ReLU, .*: lenet5 has none; use `saliency`"):
        DeconvNet(applications.LeNet5())
    first = keras.Input((2, 8, 8))
    channels_first = keras.Model(
        first, layers.ReLU()(layers.Conv2D(2, 3, data_format="channels_first", name="c")(first))
    )
    with pytest.raises(ArgumentError, match="must have its channels last.*Received: c of"):
        DeconvNet(channels_first).project(np.zeros((1, 2, 8, 8)), "c", 0)
    vector = keras.Sequential([keras.Input((5,)), layers.Dense(2, "relu", name="dense")])
    with pytest.raises(ArgumentError, match="must take one batch of images"):
        DeconvNet(vector).project(np.zeros((1, 5)), "dense", 0)
    dense = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2, "relu", name="dense")])
    with pytest.raises(ArgumentError, match="or left out: dense has no map. Received: position="):
        DeconvNet(dense).project(np.zeros((1, 4, 4, 1)), "dense", 0, (0, 0))

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ArgumentError, match="must be a functional model"):
        DeconvNet(Subclassed())


JAX = """
import sys
import numpy as np
import keras
from keras_cnns import analysis
model = keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
assert keras.backend.backend() == "jax"
top = analysis.top_activations(model, x, "conv2", 1, count=3)
ones = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.MaxPooling2D(2, name="pool"), keras.layers.ReLU()])
np.savez(
    sys.argv[3],
    projected=analysis.DeconvNet(model).project(x, "conv2", 1),
    whole=analysis.DeconvNet(model).project(x, "last", 1, "all"),
    saliency=analysis.saliency(model, x).gradients,
    guided=analysis.guided(model, x, target=1).gradients,
    indices=top.indices, values=top.values, boxes=top.boxes,
    first=analysis.DeconvNet(ones).project(np.ones((1, 4, 4, 1)), "pool", 0, "all"),
)
"""


@pytest.mark.slow
def test_the_same_on_jax(python, tmp_path):
    from keras_cnns.analysis import guided, saliency, top_activations

    x = keras.Input((12, 11, 2))
    y = layers.MaxPooling2D(3, 2)(layers.Conv2D(5, 3, activation="relu", name="conv1")(x))
    y = ops.relu(layers.Conv2D(4, 3, name="conv2")(y))
    y = layers.Conv2D(3, 1, name="last")(layers.LeakyReLU(0.1)(layers.BatchNormalization()(y)))
    model = randomized(keras.Model(x, layers.Softmax()(layers.GlobalAveragePooling2D()(y))))
    images = random_images(4, 12, 11, 2)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    done = python(JAX, tmp_path / "model.keras", tmp_path / "images.npy", tmp_path / "found.npz", KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    top = top_activations(model, images, "conv2", 1, count=3)
    wanted = {
        "projected": DeconvNet(model).project(images, "conv2", 1),
        "whole": DeconvNet(model).project(images, "last", 1, "all"),
        "saliency": saliency(model, images).gradients,
        "guided": guided(model, images, target=1).gradients,
        "indices": top.indices,
        "values": top.values,
        "boxes": top.boxes,
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    assert (found["first"][0, ..., 0] == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]).all()
