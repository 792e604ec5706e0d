"""FCN-32s, FCN-16s and FCN-8s: their scores, sizes, stages and weights."""

import inspect
from functools import partial

import keras
import numpy as np
import numpy_networks
import pytest
from families import random_images, randomize

from keras_cnns import _graph, applications
from keras_cnns.applications._backbones import Backbone, backbones, dense_as_convolutions
from keras_cnns.saving import ModelInfo, load_model, save_model

NETWORKS = {"FCN32s": 32, "FCN16s": 16, "FCN8s": 8}
NIN = {"backbone": "NiN", "classes": 3}
OFFSETS = {"FCN32s": (None, None, 19), "FCN16s": (5, None, 27), "FCN8s": (5, 9, 31)}
SCALES = (0.01, 0.0001)


def build(name, shape=(13, 10, 3), **options):
    return getattr(applications, name)(input_shape=shape, **{**NIN, "classifier_activation": None, **options})


def run(model, x):
    """Compute without compiling, which takes long."""
    return np.asarray(model(x, training=False))


def weights_by_layer(model):
    return {layer.name: [np.asarray(w) for w in layer.weights] for layer in model.layers if layer.weights}


def assert_equals_numpy(model, x, maps, stride, finest, **options):
    """Compare with random weights everywhere, also in score layers and transposed convolutions."""
    randomize(model)
    expected = numpy_networks.fcn(weights_by_layer(model), x.astype("float64"), maps, stride, finest, **options)
    ours = run(model, x[None])[0]
    assert ours.shape == expected.shape and np.ptp(expected) > 1e-2 * np.abs(expected).max()
    assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("name, finest", NETWORKS.items())
def test_forward_equals_numpy(name, finest, known):
    x = np.random.default_rng(1).normal(size=(13, 10, 3)).astype("float32")
    model = build(name, x.shape if known else (None, None, 3))
    assert_equals_numpy(model, x, numpy_networks.nin_maps, 4, finest)


def test_forward_of_the_network_that_is_trained_at_once_equals_numpy():
    x = np.random.default_rng(1).normal(size=(13, 10, 3)).astype("float32")
    assert_equals_numpy(build("FCN8s", at_once=True), x, numpy_networks.nin_maps, 4, 8, scales=SCALES)


@pytest.mark.slow
@pytest.mark.parametrize("caffe", [False, True])
def test_forward_with_vgg16_equals_numpy(caffe):
    x = np.random.default_rng(1).normal(size=(33, 40, 3)).astype("float32")
    model = build("FCN8s", x.shape, backbone="VGG16", caffe_padding=caffe)
    maps = partial(numpy_networks.vgg16_maps, caffe=caffe)
    assert_equals_numpy(model, x, maps, 32, 8, offsets=OFFSETS["FCN8s"] if caffe else None)


@pytest.mark.slow
def test_forward_of_the_authors_fcn_alexnet_equals_numpy():
    x = 300 * np.random.default_rng(1).normal(size=(33, 40, 3)).astype("float32")
    model = build("FCN32s", x.shape, backbone="CaffeNet", caffe_padding=True)
    assert_equals_numpy(model, x, numpy_networks.caffenet_maps, 32, 32, offsets=(None, None, 18))


def caffe_pool(side, size=2):
    """Return the side after a pool of stride 2 that rounds up."""
    return 1 + -(-(side - size) // 2)


@pytest.mark.parametrize("side", [*range(1, 200), 500, 1199])
def test_caffes_padding_and_offsets_fit_every_size(side):
    """The arithmetic of the authors' files, from the sizes of layers alone."""
    pools = [side + 198]
    for _ in range(5):
        pools.append(caffe_pool(pools[-1]))
    fc7 = pools[5] - 6
    assert (fc7 - 1) * 32 + 64 >= 19 + side  # upscore
    upscore2 = (fc7 - 1) * 2 + 4
    assert pools[4] >= 5 + upscore2 and (upscore2 - 1) * 16 + 32 >= 27 + side  # upscore16
    upscore_pool4 = (upscore2 - 1) * 2 + 4
    assert pools[3] >= 9 + upscore_pool4 and (upscore_pool4 - 1) * 8 + 16 >= 31 + side  # upscore8
    x = (side + 200 - 11) // 4 + 1  # conv1 of CaffeNet
    for _ in range(3):
        x = caffe_pool(x, 3)
    assert (x - 6) * 32 + 63 >= 18 + side


def output_shape(model, height, width):
    return _graph.walk(model, (height, width, 3))[1][-1].outputs[0].shape


@pytest.mark.slow
@pytest.mark.parametrize("name, backbone", [*((name, "VGG16") for name in NETWORKS), ("FCN32s", "CaffeNet")])
def test_caffes_padding_returns_every_size(name, backbone):
    model = build(name, (None, None, 3), backbone=backbone, caffe_padding=True, kernel_initializer="zeros")
    for side in range(1, 201):
        assert output_shape(model, side, 201 - side) == (None, side, 201 - side, 3)
    for height, width in ((1, 37), (50, 20)):
        assert model(np.ones((1, height, width, 3), "float32")).shape == (1, height, width, 3)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_size_comes_back(name):
    model = build(name, (None, None, 3), kernel_initializer="zeros")
    assert model.output_shape == (None, None, None, 3)
    for side in range(4, 101):
        assert output_shape(model, side, 104 - side) == (None, side, 104 - side, 3)
    for height, width in ((7, 9), (8, 16)):
        assert model(np.ones((2, height, width, 3), "float32")).shape == (2, height, width, 3)


@pytest.mark.parametrize("options", [{}, {"upsampling": "resize"}], ids=str)
def test_images_of_any_size_are_predicted_compiled(options):
    """Keras's layer for resizing fails there, if sizes are unknown."""
    model = build("FCN8s", (None, None, 3), backbone="LeNet5Modern", **options)
    randomize(model)
    for height, width in ((13, 10), (8, 16)):
        x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype("float32")
        np.testing.assert_allclose(model.predict(x, verbose=0), run(model, x), rtol=1e-4, atol=1e-5)


QUICK_BACKBONES = ("LeNet5", "LeNet5Modern", "NiNImageNet", "ResNet20")


@pytest.mark.parametrize(
    "backbone", [pytest.param(b, marks=[] if b in QUICK_BACKBONES else [pytest.mark.slow]) for b in backbones()]
)
def test_every_backbone_gives_every_size_back(backbone):
    model = build("FCN8s", (None, None, 3), backbone=backbone, kernel_initializer="zeros")
    for height, width in ((64, 37), (71, 100)):
        assert output_shape(model, height, width) == (None, height, width, 3)
    assert model(np.ones((1, 40, 33, 3), "float32")).shape == (1, 40, 33, 3)


def test_every_classifier_but_maxout_can_be_a_backbone():
    assert {*backbones(), "Maxout"} == set(applications.list_models("classification"))
    for name in NETWORKS:
        with pytest.raises(ValueError, match="`backbone` must be one of 'LeNet5', .* Received: backbone='Maxout'"):
            getattr(applications, name)(backbone="Maxout")


@pytest.mark.parametrize("name", NETWORKS)
def test_score_layers_start_at_zero_and_fixed_kernels_stay(name):
    model = build(name, classifier_activation="softmax", dropout=0.0)
    x, y = random_images(model, 4), np.random.default_rng(0).integers(0, 3, (4, 13, 10))
    np.testing.assert_allclose(run(model, x), 1 / 3, rtol=1e-6)
    before = weights_by_layer(model)
    model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for layer, values in weights_by_layer(model).items():
        kept = np.array_equal(values[0], before[layer][0])
        assert kept == layer.startswith("upscore"), layer


@pytest.mark.parametrize("name", NETWORKS)
def test_learned_upsampling_starts_bilinear_and_trains(name):
    fixed, learned = build(name), build(name, learned_upsampling=True)
    upscores = [layer.name for layer in fixed.layers if layer.name.startswith("upscore")]
    assert upscores and all(fixed.get_layer(layer).trainable_weights == [] for layer in upscores)
    for layer in upscores:
        np.testing.assert_array_equal(fixed.get_layer(layer).kernel, learned.get_layer(layer).kernel)
        assert len(learned.get_layer(layer).trainable_weights) == 1


@pytest.mark.parametrize("name", NETWORKS)
def test_resizing_equals_transposed_convolutions_except_near_the_border(name):
    transposed, resized = build(name, (40, 40, 3)), build(name, (40, 40, 3), upsampling="resize")
    assert not [layer for layer in resized.layers if layer.name.startswith("upscore") and layer.weights]
    randomize(transposed)
    for layer in resized.layers:
        if layer.weights:
            layer.set_weights(transposed.get_layer(layer.name).get_weights())
    for layer in transposed.layers:
        if layer.name.startswith("upscore"):
            layer.kernel.assign(build(name).get_layer(layer.name).kernel)
    x = random_images(transposed, 2)
    ours, theirs = run(transposed, x), run(resized, x)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(ours[inner], theirs[inner], atol=1e-5 * np.abs(theirs).max())
    assert np.abs(ours - theirs).max() > 1e-2 * np.abs(theirs).max()


@pytest.fixture
def coarse(tmp_path):
    """A trained FCN-32s, and its file with a record."""
    model = build("FCN32s", (40, 40, 3))
    randomize(model)
    model.get_layer("upscore").kernel.assign(build("FCN32s").get_layer("upscore").kernel)
    network = {"backbone": "NiN", "classes": 3, "input_shape": (40, 40, 3)}
    save_model(model, tmp_path / "coarse.keras", ModelInfo(builder="FCN32s", network=network))
    return model, tmp_path / "coarse.keras"


def test_16s_starts_with_the_scores_of_32s(coarse):
    """Its score_pool4 is zero, so that only the interpolation differs.

    Linear interpolation of interpolated values is the same straight line, except across a position of the last maps,
    where it cuts the corner. With a stride of 4, pixels 0 and 3 of four lie where both are the same.
    """
    model, path = coarse
    finer = applications.FCN16s(weights=path, classifier_activation=None)
    x = random_images(model, 2)
    np.testing.assert_array_equal(
        run(keras.Model(finer.input, finer.get_layer("score_fr").output), x),
        run(keras.Model(model.input, model.get_layer("score_fr").output), x),
    )
    ours, theirs = run(finer, x), run(model, x)
    same = [k for k in range(4, 36) if k % 4 in (0, 3)]
    tolerance = 1e-5 * np.abs(theirs).max()
    np.testing.assert_allclose(ours[:, same][:, :, same], theirs[:, same][:, :, same], atol=tolerance)
    # Elsewhere corners are cut, by a quarter of the difference of neighbors at most
    inner = (slice(None), slice(4, -4), slice(4, -4))
    assert tolerance < np.abs(ours - theirs)[inner].max() < 0.25 * np.ptp(theirs)


def test_8s_starts_with_the_scores_of_16s(coarse, tmp_path):
    """With a stride of 4 both enlarge twice two times, and so compute the same numbers."""
    _, path = coarse
    middle = applications.FCN16s(weights=path, classifier_activation=None)
    random = np.random.default_rng(2)
    for weight in middle.get_layer("score_pool4").weights:
        weight.assign(random.normal(size=weight.shape))
    middle.save_weights(tmp_path / "middle.weights.h5")  # a file without a record
    finer = build("FCN8s", (40, 40, 3), weights=tmp_path / "middle.weights.h5")
    x = random_images(middle, 2)
    np.testing.assert_array_equal(run(finer, x), run(middle, x))


def test_stages_may_be_left_out_but_not_reversed(coarse, tmp_path):
    _, path = coarse
    finer = applications.FCN8s(weights=path, input_shape=(None, None, 3))
    assert finer.output_shape == (None, None, None, 3) and not np.any(finer.get_layer("score_pool3").kernel)
    middle = applications.FCN16s(weights=path)
    save_model(middle, tmp_path / "middle.keras", ModelInfo(builder="FCN16s", network={"backbone": "NiN"}))
    with pytest.raises(ValueError, match="FCN32s: the file holds a FCN16s"):
        applications.FCN32s(weights=tmp_path / "middle.keras")
    with pytest.raises(ValueError, match="the weights do not fit the network: .*missing there: pad"):
        build("FCN8s", weights=nin_file(tmp_path))


def nin_file(folder):
    applications.NiN(classes=3, input_shape=(13, 10, 3)).save(folder / "nin.keras")
    return folder / "nin.keras"


def test_options_and_classes_come_from_the_record_of_the_weights(coarse, tmp_path):
    model, path = coarse
    again = applications.FCN32s(weights=path, classifier_activation=None)
    x = random_images(model, 2)
    np.testing.assert_array_equal(run(again, x), run(model, x))
    with pytest.raises(ValueError, match="`backbone` must be 'NiN' with weights"):
        applications.FCN32s(weights=path, backbone="VGG16")
    with pytest.raises(ValueError, match="`weights` replace those of the backbone"):
        applications.FCN32s(weights=path, backbone_weights="digits")
    with pytest.warns(UserWarning, match="no classifier for these classes: score_fr, upscore must be trained"):
        other = applications.FCN32s(weights=path, classes=5)
    assert other.output_shape == (None, 40, 40, 5) and not np.any(other.get_layer("score_fr").kernel)
    np.testing.assert_array_equal(other.get_layer("conv2").kernel, model.get_layer("conv2").kernel)


def test_a_saved_network_computes_the_same(tmp_path):
    model = build("FCN8s", (None, None, 3), at_once=True)
    randomize(model)
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 21, 18, 3)).astype("float32")
    np.testing.assert_array_equal(run(again, x), run(model, x))
    rebuilt = keras.Model.from_config(model.get_config())
    rebuilt.set_weights(model.get_weights())
    np.testing.assert_array_equal(run(rebuilt, x), run(model, x))


def test_the_result_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build("FCN8s", classifier_activation="softmax")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("score_fr").compute_dtype == "bfloat16"
    randomize(model)
    probabilities = run(model, random_images(model, 1))
    assert probabilities.dtype == "float32" and model.get_layer("predictions").compute_dtype == "float32"
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_the_backbone_starts_from_its_weights():
    model = applications.FCN8s(backbone="NiN", backbone_weights="digits", input_shape=(None, None, 1), classes=2)
    nin = applications.NiN(weights="digits")
    assert nin.get_layer("conv1").filters == 96  # an option that the weights decide
    for layer in nin.layers:
        if layer.weights and layer.name != "cccp6":
            for ours, theirs in zip(model.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_dense_layers_become_convolutions_exactly():
    """The same maps give the same vector, at every position."""
    maps = keras.Input((6, 6, 2))
    x = keras.layers.Flatten()(maps)
    for name in ("fc6", "fc7"):
        x = keras.layers.Dense(4096, "relu", name=name)(x)
    dense = keras.Model(maps, x)
    larger = keras.Input((8, 7, 2))
    initializers = {"kernel_initializer": "zeros", "bias_initializer": "zeros"}
    convolutions = keras.Model(larger, dense_as_convolutions(larger, 6, "valid", 0.5, initializers))
    for name, side in (("fc6", 6), ("fc7", 1)):
        kernel, bias = dense.get_layer(name).get_weights()
        convolutions.get_layer(name).set_weights([kernel.reshape(side, side, -1, 4096), bias])
    pixels = np.random.default_rng(0).normal(size=(1, 8, 7, 2)).astype("float32")
    ours = run(convolutions, pixels)
    assert ours.shape == (1, 3, 2, 4096)
    for i in range(3):
        for j in range(2):
            theirs = run(dense, pixels[:, i : i + 6, j : j + 6])[0]
            np.testing.assert_allclose(ours[0, i, j], theirs, atol=1e-6)


@pytest.mark.slow
def test_dense_layers_of_a_file_become_convolutions(tmp_path):
    classifier = applications.CaffeNet(classes=3)
    save_model(classifier, tmp_path / "caffenet.keras")
    model = build("FCN32s", (64, 64, 3), backbone="CaffeNet", backbone_weights=tmp_path / "caffenet.keras")
    maps = np.random.default_rng(0).normal(size=(1, 6, 6, 256)).astype("float32")
    x = keras.ops.reshape(maps, (1, -1))
    y = maps
    for name in ("fc6", "fc7"):
        x = classifier.get_layer(name)(x)
        y = keras.ops.relu(
            keras.ops.conv(y, model.get_layer(name).kernel, padding="valid") + model.get_layer(name).bias
        )
    assert y.shape == (1, 1, 1, 4096)
    np.testing.assert_allclose(np.ravel(y), np.ravel(x), rtol=1e-4, atol=1e-4)
    kernel, _ = classifier.get_layer("fc6").get_weights()
    np.testing.assert_array_equal(np.reshape(model.get_layer("fc6").kernel, kernel.shape), kernel)
    np.testing.assert_array_equal(model.get_layer("conv4").kernel, classifier.get_layer("conv4").kernel)
    small = applications.CaffeNet(classes=3, input_shape=(100, 100, 3), kernel_initializer="zeros")
    save_model(
        small,
        tmp_path / "small.keras",
        ModelInfo(builder="CaffeNet", network={"input_shape": (100, 100, 3), "classes": 3}),
    )
    with pytest.raises(ValueError, match="CaffeNet: fc6 of these weights sees maps of 2x2, and must see 6x6"):
        Backbone("CaffeNet", {}, tmp_path / "small.keras").trained_weights(3)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("FCN8s", {"upsampling": "nearest"}, "`upsampling` must be one of None, 'transposed', 'resize'"),
        ("FCN8s", {"caffe_padding": "yes"}, "`caffe_padding` must be one of None, False, True"),
        ("FCN8s", {"at_once": 2}, "`at_once` must be one of None, False, True"),
        ("FCN8s", {"caffe_padding": True}, "the authors' files give `caffe_padding` for VGG16 alone.*backbone='NiN'"),
        ("FCN32s", {"caffe_padding": True}, "for VGG16, AlexNet, CaffeNet alone"),
        (
            "FCN8s",
            {"backbone": "VGG16", "caffe_padding": True, "upsampling": "resize"},
            "the offsets of `caffe_padding`",
        ),
        ("FCN8s", {"classes": 0}, "`classes` must be a whole number"),
        ("FCN8s", {"dropout": 1.0}, "`dropout` must be a share"),
        ("FCN8s", {"weights": "voc"}, "FCN8s: there are no weights of that name; none ship"),
        ("FCN8s", {"shape": (4, 3, 3)}, "NiN: images must be at least 6x6 pixels"),
    ],
)
def test_an_error_names_the_wrong_argument(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_docstring_of_8s_names_the_layers(name):
    text = inspect.getdoc(applications.FCN8s) + inspect.getdoc(getattr(applications, name))
    backbone = {layer.name for layer in applications.NiN(include_top=False).layers}
    for layer in build(name).layers[1:]:
        assert layer.name in backbone or layer.name in text, layer.name


def test_the_list_of_networks_can_be_limited_to_a_task():
    tasks = [applications.list_models(task) for task in ("classification", "segmentation", "detection")]
    assert sorted(sum(tasks, [])) == applications.list_models() and set(NETWORKS) <= set(tasks[1])
    with pytest.raises(ValueError, match="`task` must be None or one of 'classification', 'detection', 'segmentation'"):
        applications.list_models("detection of cats")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")  # of tf2onnx
@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_files_of_other_runtimes_compute_the_same_for_images_of_any_size(upsampling, tmp_path):
    """Padding and cutting are part of the file, with the size of the image as a variable."""
    import onnxruntime
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    model = build("FCN8s", (None, None, 3), upsampling=upsampling)
    randomize(model)
    x = np.random.default_rng(0).normal(size=(1, 50, 41, 3)).astype("float32")
    expected = run(model, x)
    model.export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = Interpreter(model_content=converter.convert())
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, x)
    interpreter.invoke()
    lite = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (onnx,) = session.run(None, {session.get_inputs()[0].name: x})
    for ours in (lite, onnx):
        np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


JAX = """
import numpy as np, keras
from keras_cnns import applications
assert keras.backend.backend() == "jax"
model = applications.FCN8s(backbone="NiN", input_shape=(None, None, 3), classes=3, dropout=0.0)
model.compile("adam", "sparse_categorical_crossentropy")
x = np.random.default_rng(0).normal(size=(2, 13, 10, 3)).astype("float32")
losses = model.fit(x, (x[..., 0] > 0).astype("int32"), epochs=3, verbose=0).history["loss"]
assert losses[-1] < losses[0] and model.predict(x[:, :9], verbose=0).shape == (2, 9, 10, 3)
"""


@pytest.mark.slow
def test_training_under_jax(python):
    done = python(JAX, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
