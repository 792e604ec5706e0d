"""CRF-RNN: FCN-8s and a conditional random field in one network."""

import inspect

import keras
import numpy as np
import numpy_networks
import pytest
from families import random_images, randomize

from keras_cnns import applications
from keras_cnns.saving import ModelInfo, load_model, save_model

# NiN's stride is 4, so that the maps of the CRF are as large as the padded image
SMALL = {"backbone": "NiN", "classes": 3, "classifier_activation": None, "dropout": 0.0, "color_std": 1.0}


def build(shape=(11, 10, 3), **options):
    return applications.CRFasRNN(input_shape=shape, **{**SMALL, **options})


def run(model, x):
    """Compute without compiling, which takes long."""
    return np.asarray(model(x, training=False))


def weights_by_layer(model):
    return {layer.name: [np.asarray(w) for w in layer.weights] for layer in model.layers if layer.weights}


def randomize_all(model, seed=0):
    """Give all weights random values, also the matrices of the CRF."""
    randomize(model, seed)
    random = np.random.default_rng(seed)
    model.get_layer("crf").set_weights([random.normal(size=(3, 3)) for _ in range(3)])


def test_forward_on_all_pixels_equals_numpy():
    """The authors' names score2, with a bias, and score4 take the places of upscore2 and upscore_pool4."""
    model = build(crf_on="image", iterations=3, position_std=5.0, spatial_std=2.0)
    randomize_all(model)
    x = random_images(model, 1)
    weights = weights_by_layer(model)
    coarse = keras.Model(model.input, model.get_layer("coarse").output)
    fcn = applications.FCN8s(input_shape=(11, 10, 3), backbone="NiN", classes=3, classifier_activation=None)
    weights["upscore2"], weights["upscore_pool4"] = weights["score2"][:1], weights["score4"]
    for layer in fcn.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
    model.get_layer("score2").bias.assign(np.zeros(3))
    np.testing.assert_allclose(run(coarse, x), run(fcn, x), rtol=1e-4, atol=1e-4)
    scores = run(coarse, x)[0].astype("float64")
    settings = {"iterations": 3, "position_std": 5.0, "color_std": 1.0, "spatial_std": 2.0}
    expected = numpy_networks.mean_field(scores, x[0].astype("float64"), weights["crf"], **settings)
    np.testing.assert_allclose(run(model, x)[0], expected, atol=1e-4 * np.abs(expected).max())
    model.get_layer("score2").bias.assign(np.ones(3))
    assert np.abs(run(coarse, x) - run(fcn, x)).max() > 0.1


@pytest.mark.parametrize("shape", [(40, 72, 3), (None, None, 3)])
def test_forward_on_maps_averages_the_image(shape):
    """With a total stride of 32 the maps have every eighth pixel, and the widths are an eighth."""
    model = build(shape, backbone="NiNImageNet", crf_on="maps", iterations=2, position_std=16.0, spatial_std=8.0)
    randomize_all(model)
    for layer in model.layers:
        if layer.name.startswith("conv") or layer.name.startswith("cccp"):
            layer.bias.assign(np.abs(layer.bias))
    x = np.random.default_rng(0).normal(size=(1, 40, 72, 3)).astype("float32")
    names = ("fuse_pool3", "crf_image", "crf", "score")
    fused, image, refined, score = (
        np.asarray(y)
        for y in keras.Model(model.input, [model.get_layer(name).output for name in names])(x, training=False)
    )
    padded = np.pad(x[0], [(12, 12), (12, 12), (0, 0)])
    assert padded.shape == (64, 96, 3) and fused.shape == (1, 8, 12, 3)
    np.testing.assert_allclose(image[0], padded.reshape(8, 8, 12, 8, 3).mean((1, 3)), atol=1e-5)
    settings = {"iterations": 2, "position_std": 2.0, "color_std": 1.0, "spatial_std": 1.0}
    matrices = weights_by_layer(model)["crf"]
    expected = numpy_networks.mean_field(fused[0].astype("float64"), image[0].astype("float64"), matrices, **settings)
    np.testing.assert_allclose(refined[0], expected, atol=1e-4 * np.abs(expected).max())
    assert score.shape == (1, 40, 72, 3)


@pytest.mark.parametrize("crf_on", ["maps", "image"])
def test_every_size_comes_back_and_every_weight_gets_a_gradient(crf_on):
    import tensorflow as tf

    model = build((None, None, 3), crf_on=crf_on, classifier_activation="softmax")
    randomize(model)
    x = np.random.default_rng(0).normal(size=(2, 9, 13, 3)).astype("float32")
    y = np.random.default_rng(0).integers(0, 3, (2, 9, 13))
    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, outputs))
    assert outputs.shape == (2, 9, 13, 3)
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert np.isfinite(gradient).all() and np.any(gradient), weight.path


def test_it_starts_from_fcn8s(tmp_path):
    """Without messages of the CRF it computes the same scores."""
    fcn = applications.FCN8s(input_shape=(11, 10, 3), backbone="NiN", classes=3, classifier_activation=None)
    kernels = {name: fcn.get_layer(name).get_weights() for name in ("upscore2", "upscore_pool4")}
    randomize(fcn)
    for name, kernel in kernels.items():
        fcn.get_layer(name).set_weights(kernel)
    network = {"backbone": "NiN", "classes": 3, "input_shape": (11, 10, 3)}
    save_model(fcn, tmp_path / "fcn.keras", ModelInfo(builder="FCN8s", network=network))
    for crf_on in ("maps", "image"):
        model = applications.CRFasRNN(weights=tmp_path / "fcn.keras", crf_on=crf_on, classifier_activation=None)
        spatial, bilateral, compatibility = model.get_layer("crf").get_weights()
        np.testing.assert_array_equal([spatial, bilateral, compatibility], [3 * np.eye(3), 5 * np.eye(3), -np.eye(3)])
        model.get_layer("crf").set_weights([spatial, bilateral, 0 * compatibility])
        x = random_images(model, 2)
        np.testing.assert_allclose(run(model, x), run(fcn, x), atol=1e-5)


def test_a_saved_network_computes_the_same_with_more_iterations_too(tmp_path):
    model = build(crf_on="image", iterations=5)
    randomize_all(model)
    options = {"backbone": "NiN", "crf_on": "image", "color_std": 1.0, "position_std": 160.0, "spatial_std": 3.0}
    network = {"classes": 3, "input_shape": (11, 10, 3), **options}
    save_model(model, tmp_path / "model.keras", ModelInfo(builder="CRFasRNN", network=network))
    x = random_images(model, 2)
    np.testing.assert_array_equal(run(load_model(tmp_path / "model.keras"), x), run(model, x))
    again = applications.CRFasRNN(weights=tmp_path / "model.keras", classifier_activation=None)
    np.testing.assert_array_equal(run(again, x), run(model, x))
    longer = applications.CRFasRNN(weights=tmp_path / "model.keras", classifier_activation=None, iterations=10)
    assert np.any(run(longer, x) != run(model, x))
    with pytest.raises(ValueError, match="`color_std` must be 1.0 with weights"):
        applications.CRFasRNN(weights=tmp_path / "model.keras", color_std=3.0)


def test_the_result_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(classifier_activation="softmax")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("score2").compute_dtype == "bfloat16" and model.get_layer("crf").compute_dtype == "float32"
    assert run(model, random_images(model, 1)).dtype == "float32"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"crf_on": "pixels"}, "`crf_on` must be one of None, 'maps', 'image'"),
        ({"backbone": "VGG16", "caffe_padding": True}, "with `caffe_padding` the maps reach beyond the image"),
        ({"caffe_padding": True}, "CRFasRNN: the authors' files give `caffe_padding` for VGG16 alone"),
        ({"iterations": 0}, "`iterations` must be positive"),
    ],
)
def test_an_error_names_the_wrong_argument(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_the_docstring_names_the_layers():
    text = inspect.getdoc(applications.CRFasRNN)
    backbone = {layer.name for layer in applications.NiN(include_top=False).layers}
    for crf_on in ("maps", "image"):
        for layer in build(crf_on=crf_on).layers[1:]:
            assert layer.name in (*backbone, "pad") or layer.name in text, layer.name
