"""DeconvNet against an explicit chain of unpooling, ReLU and transposed convolution."""

import keras
import numpy as np
import pytest
from analysis.deconvnet_networks import RELUS, randomize, two_convolutions
from analysis.helpers import SubclassedModel, random_images
from keras import layers, ops
from PIL import Image

from keras_cnns import _graph, applications
from keras_cnns.analysis import (
    DeconvNet,
    _backward,
    _gradients,
    _outputs,
    draw_projections,
    guided,
    saliency,
    top_activations,
)
from keras_cnns.errors import ArgumentError


def convolve(x, kernel, bias):
    """Return a 3x3 convolution, computed position by position from its definition."""
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
    """Return the maxima of 2x2 windows, and their places in x."""
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
    """Compute the activation, and project it back as in the paper."""
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


def layer_after_second_relu(model):
    """Return the name of the layer whose output goes into "last"."""
    return _graph.walk(model)[1][-2].name


@pytest.mark.parametrize("relu", RELUS)
def test_projection_equals_the_explicit_chain(relu):
    model = two_convolutions(RELUS[relu])
    images = random_images(3, 12, 11, 2)
    found = DeconvNet(model).project(images, layer_after_second_relu(model), unit=2)
    wanted = np.stack([explicit_projection(model, image, 2) for image in images])
    assert found.dtype == "float32" and found.shape == images.shape and np.abs(found).max() > 1
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_gradient_and_guided_gradient_differ_from_the_explicit_chain():
    model = two_convolutions(RELUS["ReLU layer"])
    images = random_images(3, 12, 11, 2)
    wanted = np.stack([explicit_projection(model, image, 2) for image in images])

    def with_rule(rule):
        def energy(x):
            maps = ops.reshape(_outputs.layer_tensor(model, x, layer_after_second_relu(model), rule)[..., 2], (3, -1))
            return ops.max(maps, axis=1) ** 2 / 2

        return _gradients.gradients(energy, images)[1][0]

    np.testing.assert_allclose(with_rule(_backward.deconvnet_rule), wanted, rtol=1e-4, atol=1e-4)
    for other in (_backward.gradient_rule, _backward.guided_rule):
        assert np.abs(with_rule(other) - wanted).max() > 0.1 * np.abs(wanted).max()


def test_the_model_is_left_unchanged():
    for relu in RELUS.values():
        model = two_convolutions(relu)
        images = random_images(2, 12, 11, 2)
        before, parts = model(images).numpy(), model._flatten_layers()
        states = [(part, dict(vars(part))) for part in parts]
        DeconvNet(model).project(images, "last", 0)
        for part, state in states:
            assert {k: v for k, v in vars(part).items() if k in ("call", "activation")} == {
                k: v for k, v in state.items() if k in ("call", "activation")
            }
        assert (model(images).numpy() == before).all()

    layer = layers.ReLU()
    with pytest.raises(ZeroDivisionError):
        _backward.deconvnet_rule("relu", layer, lambda: 1 / 0)
    assert "call" not in vars(layer)


@pytest.mark.kernels
def test_the_batch_size_does_not_matter():
    model, x = two_convolutions(RELUS["ReLU layer"]), random_images(5, 12, 11, 2)
    whole = DeconvNet(model).project(x, "last", 1)
    np.testing.assert_allclose(DeconvNet(model).project(x, "last", 1, batch_size=2), whole, rtol=1e-5, atol=1e-6)


def test_mixed_precision_is_computed_in_float32():
    x = random_images(2, 12, 11, 2)
    plain = two_convolutions(RELUS["activation"])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = two_convolutions(RELUS["activation"])
    finally:
        keras.config.set_dtype_policy("float32")
    wanted = DeconvNet(plain).project(x, "conv2", 1)
    np.testing.assert_array_equal(DeconvNet(mixed).project(x, mixed.get_layer("conv2"), 1), wanted)
    assert np.abs(mixed(x).numpy().astype("float32") - plain(x).numpy()).max() > 1e-3  # the control: bfloat16 shows


def test_a_trained_unit_is_projected_onto_its_object(shapes_model, untrained_shapes_model, shapes):
    """Compare the projection's share on the object with its area."""
    x = shapes.images[:60].astype("float32")
    gains = []
    for model in (shapes_model, untrained_shapes_model):
        sizes = np.zeros(shapes.masks[:60].shape)
        for unit in range(3):
            of_class = shapes.labels[:60] == unit
            sizes[of_class] = np.abs(DeconvNet(model).project(x[of_class], "maps", unit, "all")).sum(-1)
        gains.append(sizes[shapes.masks[:60]].sum() / sizes.sum() / shapes.masks[:60].mean())
    assert gains[0] > 2 and gains[1] < 1.7


def test_draw_projections(tmp_path, digits_model):
    model, record = digits_model
    x = random_images(12, *model.inputs[0].shape[1:])
    path = tmp_path / "units.png"
    tops = draw_projections(model, x, "conv2", [0, 3, 5], path, count=4)
    assert [top.unit for top in tops] == [0, 3, 5] and all(len(top.values) == 4 for top in tops)
    with Image.open(path) as plot:
        pixels = np.asarray(plot.convert("RGB")).astype(int)
    assert pixels.shape[1] > 900 and pixels.shape[0] > 500
    colors = {tuple(color) for color in pixels.reshape(-1, 3)}
    assert (205, 224, 240) in colors and (0, 0, 0) in colors


def test_bad_inputs_are_rejected():
    model, x = two_convolutions(RELUS["activation"]), random_images(2, 12, 11, 2)
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

    with pytest.raises(ArgumentError, match="must be a functional model"):
        DeconvNet(SubclassedModel())


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
def test_jax_gives_the_same_results(python, tmp_path):
    x = keras.Input((12, 11, 2))
    y = layers.MaxPooling2D(3, 2)(layers.Conv2D(5, 3, activation="relu", name="conv1")(x))
    y = ops.relu(layers.Conv2D(4, 3, name="conv2")(y))
    y = layers.Conv2D(3, 1, name="last")(layers.LeakyReLU(0.1)(layers.BatchNormalization()(y)))
    model = randomize(keras.Model(x, layers.Softmax()(layers.GlobalAveragePooling2D()(y))))
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
