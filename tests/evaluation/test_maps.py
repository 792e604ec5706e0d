"""Whole images as networks see them that give each pixel a class."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cnns import data, tasks
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import CRF, PROTOCOLS, Protocol, evaluate
from keras_cnns.evaluation.maps import whole_images

NAMES = ("dark", "medium", "bright")
RECORD = data.Preprocessing((12, 16), mean=(100.0, 110.0, 120.0), scale=(1 / 64,))


@pytest.fixture(scope="module")
def model():
    """A network whose scores depend on what lies to the left, so that a mirrored image has others."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 16, 3))
    x = keras.layers.ZeroPadding2D(((1, 1), (2, 0)))(inputs)
    x = keras.layers.Conv2D(3, 3, name="score")(x)
    return keras.Model(inputs, keras.layers.Softmax(name="predictions")(x), name="left")


@pytest.fixture(scope="module")
def split():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (5, 30, 50, 3), dtype="uint8")
    return data.ArraySplit(images, random.integers(0, 3, (5, 30, 50)).astype("uint8"), data.Mask(3))


def expected(model, image, sizes, mirrors):
    """Return the mean of a model's maps at some sizes, by TensorFlow's functions alone."""
    maps = []
    kernel, bias = model.get_layer("score").get_weights()
    for size in sizes:
        small = tf.image.resize(image[None].astype("float32"), size, antialias=True)
        small = tf.cast(tf.round(small), tf.float32)
        for mirror in mirrors:
            x = (small[:, :, ::-1] if mirror else small) - np.float32([100, 110, 120])
            x = tf.pad(x / 64, [(0, 0), (1, 1), (2, 0), (0, 0)])
            found = tf.nn.softmax(tf.nn.conv2d(x, kernel, 1, "VALID") + bias)
            maps.append(tf.image.resize(found[:, :, ::-1] if mirror else found, image.shape[:2])[0])
    return np.mean(maps, axis=0)


@pytest.mark.parametrize(
    ("protocol", "scales", "sizes", "mirrors"),
    [
        ("center", None, [(12, 16)], [False]),
        ("mirror", None, [(12, 16)], [False, True]),
        ("multi-scale", None, [(6, 8), (9, 12), (12, 16), (15, 20), (18, 24), (21, 28)], [False, True]),
        ("mirror", (9, 24), [(9, 12), (24, 32)], [False, True]),
    ],
)
def test_views_are_averaged_in_the_size_of_the_image(model, split, protocol, scales, sizes, mirrors):
    predictor = tasks.task_for(split.target).predictor(model, NAMES)
    seen = whole_images([predictor], [RECORD], PROTOCOLS[protocol], scales)
    streamed = [each for maps, _ in seen.stream(split, 6, iter) for each in maps]
    assert len(streamed) == 5
    for image, found in zip(split.items, streamed, strict=True):
        wanted = expected(model, image, sizes, mirrors)
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        np.testing.assert_array_equal(seen.mask(image), wanted.argmax(-1))


def test_the_models_of_several_files_are_averaged(model, split):
    other = keras.models.clone_model(model)
    other.set_weights([-weight for weight in model.get_weights()])
    single = [evaluate(each, split, RECORD, NAMES).loss for each in (model, other)]
    both = evaluate([model, other], split, RECORD, NAMES)
    assert both.loss < min(single)  # The mean of probabilities is never worse than the mean of losses
    predictors = [tasks.task_for(split.target).predictor(each, NAMES) for each in (model, other)]
    seen = whole_images(predictors, [RECORD, RECORD], PROTOCOLS["center"])
    image = split.items[0]
    wanted = (expected(model, image, [RECORD.size], [False]) + expected(other, image, [RECORD.size], [False])) / 2
    np.testing.assert_array_equal(seen.mask(image), wanted.argmax(-1))


def test_the_crf_sees_the_image_in_its_own_size(model, split):
    predictor, crf = tasks.task_for(split.target).predictor(model, NAMES), CRF(iterations=2, color_std=30)
    plain = whole_images([predictor], [RECORD], PROTOCOLS["center"])
    refined = whole_images([predictor], [RECORD], PROTOCOLS["center"], crf=crf)
    for image, (before, after) in zip(
        split.items,
        zip(*(next(iter(each.stream(split, 999, iter)))[0] for each in (plain, refined)), strict=True),
        strict=True,
    ):
        np.testing.assert_allclose(after, crf.refine(before, image), rtol=1e-5)
    assert evaluate(model, split, RECORD, NAMES, crf=crf).confusion != evaluate(model, split, RECORD, NAMES).confusion


def test_the_worst_images_are_remembered():
    metric, masks = tasks.MaskMetric(NAMES), []
    for wrong in (3, 0, 9, 5, 0, 1, 2, 4, 6, 7, 8):  # pixels of an image of ten
        mask = np.zeros((2, 5), "uint8")
        found = np.zeros(10, "int64")
        found[:wrong] = 1
        metric.update([np.eye(3, dtype="float32")[found.reshape(2, 5)]], [mask])
        masks.append(mask)
    worst = metric.result().worst
    assert list(worst) == [2, 10, 9, 8, 3, 7, 0, 6]
    assert worst[2] == pytest.approx(0.05)  # IoU 1/10 of dark, 0 of medium
    assert metric.result().to_json()["worst"][0] == {"place": 2, "mean_iou": pytest.approx(0.05)}


def test_what_cannot_be_seen_is_named(model, split):
    for protocol in ("ten-crop", "144-crop", Protocol("mine", positions=((0.0, 0.0),))):
        with pytest.raises(ArgumentError, match="choose center, mirror or multi-scale"):
            evaluate(model, split, RECORD, NAMES, protocol=protocol)
    with pytest.raises(ArgumentError, match="sides in pixels, at least 1"):
        evaluate(model, split, RECORD, NAMES, scales=())
    fitted = data.Preprocessing((12, 16), mean_image=np.zeros((12, 16, 3), "float32"))
    with pytest.raises(ArgumentError, match="fitted pixel by pixel"):
        evaluate(model, split, fitted, NAMES, protocol="multi-scale")
    inputs = keras.Input((12, 16, 3))
    flat = keras.layers.Reshape((12, 16, 3))(keras.layers.Dense(576)(keras.layers.Flatten()(inputs)))
    with pytest.raises(ArgumentError, match="takes images of 12x16 only .* leave out scales"):
        evaluate(keras.Model(inputs, flat), split, RECORD, NAMES, scales=(24,))


def test_a_crf_is_for_masks():
    digits = data.open_source("digits").split("test").sample(20)
    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))
    with pytest.raises(ArgumentError, match="these images have no masks"):
        evaluate(network, digits, data.Preprocessing((8, 8), 1), list("0123456789"), crf=CRF())
