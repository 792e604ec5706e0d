"""DeepLab-LargeFOV and DeepLab with atrous spatial pyramid pooling."""

import inspect
from functools import partial

import keras
import numpy as np
import numpy_networks
import pytest
import tensorflow as tf
from families import random_images, randomize

from keras_cnns import _graph, applications
from keras_cnns.applications._backbones import subsampled
from keras_cnns.applications.deeplab import deeplab_backbones
from keras_cnns.saving import ModelInfo, load_model, save_model

NETWORKS = ("DeepLabLargeFOV", "DeepLabASPP")
SMALL = {"backbone": "NiN", "classes": 3, "classifier_activation": None}


def build(name, shape=(21, 26, 3), **options):
    return getattr(applications, name)(input_shape=shape, **{**SMALL, **options})


def run(model, x):
    """Compute without compiling, which takes long."""
    return np.asarray(model(x, training=False))


def assert_equals_numpy(model, maps, stride, rates, last):
    randomize(model)
    x = random_images(model, 1)
    weights = {layer.name: [np.asarray(w) for w in layer.weights] for layer in model.layers if layer.weights}
    expected = numpy_networks.deeplab(weights, x[0].astype("float64"), maps, stride, rates, last)
    ours = run(model, x)[0]
    assert ours.shape == expected.shape and np.ptp(expected) > 1e-2 * np.abs(expected).max()
    assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()


def test_forward_of_the_pyramid_equals_numpy():
    rates = {"_c0": 1, "_c1": 2, "_c2": 5}
    model = build("DeepLabASPP", backbone="ResNet20", rates=tuple(rates.values()))
    assert_equals_numpy(model, numpy_networks.resnet20_maps, 4, rates, "fc1")


def test_the_largest_scores_of_three_scales_count(tmp_path):
    options = {"backbone": "ResNet20", "rates": (1, 2), "classifier_activation": "softmax"}
    plain, model = build("DeepLabASPP", **options), build("DeepLabASPP", multi_scale=True, **options)
    randomize(plain)
    assert model.count_params() == plain.count_params() and len(model.layers) == len(plain.layers) + 8
    save_model(plain, tmp_path / "plain.keras", ModelInfo())
    of_file = {**options, "weights": tmp_path / "plain.keras", "classifier_activation": None}
    loaded = build("DeepLabASPP", multi_scale=True, **of_file)
    x = random_images(plain, 2)
    scores = keras.Model(plain.input, plain.get_layer("score").output)
    by_scale = [scores(x, training=False)]
    for height, width in ((15, 19), (10, 13)):
        smaller = build("DeepLabASPP", shape=(height, width, 3), **{**options, "classifier_activation": None})
        smaller.set_weights(plain.get_weights())
        by_scale.append(tf.image.resize(smaller(tf.image.resize(x, (height, width)), training=False), x.shape[1:3]))
    fused, *heads = (np.asarray(output) for output in loaded(x, training=False))
    for found, expected in zip((fused, *heads), (np.max(by_scale, axis=0), *by_scale), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(fused).max())
    assert np.abs(heads[0] - fused).max() > 0.01 * np.abs(fused).max()


def test_layers_before_the_network_are_used_once(tmp_path):
    options = {"rates": (1, 2), "multi_scale": True}
    pixels = keras.Input((16, 16, 3))
    after = build("DeepLabASPP", input_tensor=keras.layers.Rescaling(0.5)(pixels), shape=None, **options)
    alone = build("DeepLabASPP", (16, 16, 3), **options)
    randomize(alone)
    after.set_weights(alone.get_weights())
    x = random_images(alone, 1)
    for found, expected in zip(after(x, training=False), alone(x / 2, training=False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    after.save(tmp_path / "after.keras")
    assert run(keras.models.load_model(tmp_path / "after.keras"), x).shape[0] == 4


@pytest.mark.slow
@pytest.mark.parametrize("kernel_size, rate", [(3, 12), (7, 4)])
def test_forward_of_largefov_on_a_vgg_equals_numpy(kernel_size, rate):
    options = {"kernel_size": kernel_size, "rate": rate, "channels": 16}
    model = build("DeepLabLargeFOV", (30, 41, 3), backbone="VGG11", **options)
    assert_equals_numpy(model, numpy_networks.deeplab_vgg11_maps, 8, {"": rate}, "fc8")


@pytest.mark.slow
def test_forward_of_the_pyramid_on_a_vgg_equals_numpy():
    rates = {"_c0": 2, "_c1": 4}
    model = build("DeepLabASPP", (30, 41, 3), backbone="VGG11", rates=(2, 4))
    assert_equals_numpy(model, partial(numpy_networks.deeplab_vgg11_maps, average=False), 8, rates, "fc1")


@pytest.mark.slow
def test_a_dilated_resnet_computes_what_the_network_with_strides_does(tmp_path):
    """Every fourth position of its last maps is a position of ResNet50's, and has the same neighbors."""
    strided = applications.ResNet50(include_top=False, input_shape=(65, 73, 3))
    randomize(strided)
    save_model(strided, tmp_path / "resnet.keras", ModelInfo(builder="ResNet50", network={"stride_on": "1x1"}))
    model = build("DeepLabASPP", (65, 73, 3), backbone="ResNet50", backbone_weights=tmp_path / "resnet.keras")
    dilated = keras.Model(model.input, model.get_layer("conv5_3_out").output)
    assert dilated.output_shape == (None, 9, 10, 2048) and strided.output_shape == (None, 3, 3, 2048)
    x = random_images(model, 1)
    expected = run(strided, x)
    np.testing.assert_allclose(run(dilated, x)[:, ::4, ::4], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_comes_back(name):
    model = build(name, (None, None, 3), kernel_initializer="zeros")
    for side in range(1, 60):
        shape = _graph.walk(model, (side, 60 - side, 3))[1][-1].outputs[0].shape
        assert shape == (None, side, 60 - side, 3)
    for height, width in ((1, 9), (30, 17)):
        assert model(np.ones((1, height, width, 3), "float32")).shape == (1, height, width, 3)


@pytest.mark.parametrize(
    "backbone",
    [pytest.param(b, marks=[] if b in ("NiN", "ResNet20") else [pytest.mark.slow]) for b in deeplab_backbones()],
)
def test_every_backbone_gives_maps_at_a_stride_of_at_most_eight(backbone):
    model = build("DeepLabASPP", (None, None, 3), backbone=backbone, rates=(1,), kernel_initializer="zeros")
    shapes = {use.name: use.outputs[0].shape for use in _graph.walk(model, (65, 65, 3))[1]}
    stride = 4 if backbone in ("NiN", *(f"ResNet{depth}" for depth in (20, 32, 44, 56, 110))) else 8
    assert shapes["fc1_c0"][1] == -(-65 // stride) and shapes["predictions"] == (None, 65, 65, 3)
    assert model(np.ones((1, 50, 41, 3), "float32")).shape == (1, 50, 41, 3)


def test_the_last_convolutions_start_small_and_the_network_learns():
    model = build("DeepLabASPP", classifier_activation="softmax", kernel_initializer=keras.initializers.HeNormal())
    last = [np.asarray(model.get_layer(f"fc1_c{k}").kernel) for k in range(4)]
    assert all(abs(kernel.std() - 0.01) < 1e-3 for kernel in last)
    assert not np.array_equal(last[0], last[1])
    x, y = random_images(model, 4), np.random.default_rng(0).integers(0, 3, (4, 21, 26))
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_frozen_batch_normalization_stays():
    frozen = build("DeepLabASPP", backbone="ResNet20", rates=(1, 2), freeze_batch_norm=True)
    x = random_images(frozen, 2)
    before = run(frozen, x)
    np.testing.assert_array_equal(frozen(x, training=True), before)  # there is no dropout
    np.testing.assert_array_equal(run(frozen, x), before)
    names = [layer.name for layer in frozen.layers if not layer.trainable]
    assert names == [layer.name for layer in frozen.layers if layer.name.endswith("_bn")] and names


def test_the_dense_layers_of_vgg_are_subsampled():
    random = np.random.default_rng(0)
    kernel6, bias6 = random.normal(size=(7, 7, 2, 4096)), random.normal(size=4096)
    kernel7, bias7 = random.normal(size=(1, 1, 4096, 4096)).astype("float32"), random.normal(size=4096)
    values = {"conv1_1": [bias6], "fc6": [kernel6, bias6], "fc7": [kernel7, bias7]}
    ours = subsampled(dict(values), {"_c0": 6, "_c1": 12}, 3, 1024)
    assert set(ours) == {"conv1_1", "fc6_c0", "fc6_c1", "fc7_c0", "fc7_c1"}
    np.testing.assert_array_equal(ours["fc6_c1"][0], kernel6[::3, ::3, :, ::4])
    np.testing.assert_array_equal(ours["fc6_c0"][1], bias6[::4])
    np.testing.assert_array_equal(ours["fc7_c0"][0], kernel7[..., ::4, ::4])
    np.testing.assert_array_equal(ours["fc7_c1"][1], bias7[::4])
    whole = subsampled(dict(values), {"": 4}, 7, 4096)
    np.testing.assert_array_equal(whole["fc6"][0], kernel6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_computes_the_same_and_its_weights_load(name, tmp_path):
    model = build(name, (None, None, 3))
    randomize(model)
    options = {"rates": (6, 12, 18, 24)} if name == "DeepLabASPP" else {"kernel_size": 3, "rate": 12, "channels": 1024}
    network = {"backbone": "NiN", "classes": 3, "input_shape": (None, None, 3), **options}
    save_model(model, tmp_path / "model.keras", ModelInfo(builder=name, network=network))
    x = np.random.default_rng(0).normal(size=(2, 18, 25, 3)).astype("float32")
    np.testing.assert_array_equal(run(load_model(tmp_path / "model.keras"), x), run(model, x))
    again = getattr(applications, name)(weights=tmp_path / "model.keras", classifier_activation=None)
    np.testing.assert_array_equal(run(again, x), run(model, x))
    with pytest.warns(UserWarning, match="no classifier for these classes: fc"):
        assert getattr(applications, name)(weights=tmp_path / "model.keras", classes=5).output_shape[-1] == 5


def test_the_result_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("DeepLabASPP", classifier_activation="softmax")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("fc1_c0").compute_dtype == "bfloat16"
    assert run(model, random_images(model, 1)).dtype == "float32"


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("DeepLabLargeFOV", {"rate": 0}, "`rate` must be positive and whole. Received: rate=0"),
        ("DeepLabLargeFOV", {"kernel_size": 2.5}, "`kernel_size` must be positive and whole"),
        ("DeepLabASPP", {"rates": ()}, r"`rates` must be positive and whole. Received: rates=\(\)"),
        ("DeepLabASPP", {"rates": (6, "12")}, "`rates` must be positive and whole"),
        ("DeepLabASPP", {"backbone": "GoogLeNet"}, "`backbone` must be one of 'NiN', .*Received: backbone='GoogLeNet'"),
        ("DeepLabASPP", {"weights": "a.keras", "backbone_weights": "imagenet"}, "there is no such weights file"),
    ],
)
def test_an_error_names_the_wrong_argument(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


def test_the_docstrings_name_the_layers():
    text = inspect.getdoc(applications.DeepLabASPP)
    backbone = {layer.name for layer in applications.NiN(include_top=False).layers}
    for layer in build("DeepLabASPP").layers[1:]:
        assert layer.name in backbone or layer.name in text or layer.name in ("fc1_c1", "fc1_c2"), layer.name
