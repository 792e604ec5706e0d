"""Dense models equal their network at its size, and sliding windows beyond."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cnns import applications
from keras_cnns.data import Preprocessing
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import Protocol, dense_model, predict_split
from keras_cnns.tasks.classifiers import softmax, without_softmax


def random_images(count, height, width, channels=3):
    return np.random.default_rng(0).normal(size=(count, height, width, channels)).astype("float32")


# Small sizes if the network allows them; each ends with other layers
SMALL = {
    "LeNet5": {},
    "LeNet5Modern": {},
    "NiN": {},
    "Maxout": {"variant": "mnist"},
    "ResNet20": {},
    "AlexNet": {"input_shape": (131, 131, 3), "classes": 7},
}
FULL = {"VGG11": {}, "ZFNet": {}, "CaffeNet": {}, "GoogLeNet": {"auxiliary": True}, "InceptionV3": {}, "ResNet50V2": {}}


@pytest.mark.parametrize(
    "name, options",
    [*SMALL.items(), *(pytest.param(*item, marks=pytest.mark.slow) for item in FULL.items())],
)
def test_equals_the_network_at_the_training_size(name, options):
    model = getattr(applications, name)(**options)
    images = random_images(2, *model.inputs[0].shape[1:])
    expected = keras.tree.flatten(without_softmax(model).predict_on_batch(images))[0]
    maps = np.asarray(dense_model(model).predict_on_batch(images))
    assert maps.ndim == 4 and maps.shape[-1] == expected.shape[-1]
    # Relative to the largest logit, since networks with random weights have logits in the thousands
    np.testing.assert_allclose(maps.mean((1, 2)), expected, rtol=0, atol=1e-5 * max(10, np.abs(expected).max()))


def convolutional():
    """Return a network without padding and with a stride of 2."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(6, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def test_equals_sliding_windows():
    model, images = convolutional(), random_images(2, 18, 22)
    maps = np.asarray(dense_model(model)(images))
    assert maps.shape == (2, 4, 6, 3)
    logits = without_softmax(model)
    windows = [[logits(images[:, 2 * i : 2 * i + 12, 2 * j : 2 * j + 12]) for j in range(6)] for i in range(4)]
    expected = np.moveaxis(np.array(windows), 2, 0)
    np.testing.assert_allclose(maps, expected, atol=1e-5)
    assert np.abs(maps[:, ::-1] - expected).max() > 1e-2


def pooled(*head, pool=layers.GlobalAveragePooling2D, **options):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8, 8, 3))
    x = pool(**options)(layers.Conv2D(5, 3)(inputs))
    for layer in head:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "head, options, rows",
    [
        ([], {}, 6),
        ([layers.Dropout(0.2), layers.Dense(4)], {}, 6),
        ([layers.BatchNormalization(), layers.Dense(4, activation="softmax")], {}, 6),
        ([layers.Conv2D(4, 1), layers.Flatten(), layers.Softmax()], {"keepdims": True}, 6),
        ([layers.Conv2D(4, 1), layers.Reshape((4,))], {"keepdims": True}, 6),
        # Not linear: the mean cannot be moved to the end, so that the pool becomes a window
        ([layers.Dense(7, activation="relu"), layers.Dense(4)], {}, 1),
        ([layers.Dense(7), layers.ReLU(), layers.Dense(4)], {}, 1),
        ([layers.Dense(4)], {"pool": layers.GlobalMaxPooling2D}, 1),
    ],
)
def test_global_pools_are_moved_or_become_windows(head, options, rows):
    model, images = pooled(*head, **options), random_images(3, 8, 8)
    maps = np.asarray(dense_model(model)(images))
    assert maps.shape[:3] == (3, rows, rows)
    np.testing.assert_allclose(maps.mean((1, 2)), without_softmax(model)(images), atol=1e-5)
    assert np.asarray(dense_model(model)(random_images(1, 11, 9))).shape[1:3] == (rows + 3, rows + 1)


def test_the_original_is_not_changed():
    model, images = convolutional(), random_images(2, 12, 12)
    before = model.predict_on_batch(images)
    dense_model(model)
    np.testing.assert_array_equal(model.predict_on_batch(images), before)


def test_whole_images_equal_a_loop():
    model, record = convolutional(), Preprocessing((12, 12), mean=(100.0,), scale=(1 / 50,))
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 16, 3), dtype="uint8")
    found, _ = predict_split(model, ArraySplit(images, np.zeros(5)), record, protocol="dense", scales=[16, 20])
    dense, total = dense_model(model), 0
    for side in (16, 20):
        size = (side * 5 // 4, side)
        whole = images if side == 16 else keras.ops.image.resize(images.astype("float32"), size, antialias=True)
        whole = np.clip(np.round(np.asarray(whole)), 0, 255).astype("float32")
        for view in (whole, whole[:, :, ::-1]):
            total = total + softmax(np.asarray(dense(record.normalize(view))).mean((1, 2))) / 4
    np.testing.assert_allclose(found, total, atol=1e-5)


def test_images_of_different_sizes_are_predicted(folder_of_images):
    from keras_cnns.data import open_source

    split = open_source(folder_of_images).split("test")
    record = Preprocessing((12, 12), shorter_side=14)
    found, labels = predict_split(convolutional(), split, record, protocol=Protocol("mine", dense=True))
    assert found.shape == (split.examples, 3)
    np.testing.assert_array_equal(labels, split.labels)
    for k in range(split.examples):  # each image alone gives the same
        alone, _ = predict_split(convolutional(), split.take([k]), record, protocol=Protocol("mine", dense=True))
        np.testing.assert_allclose(found[k], alone[0], atol=1e-6)


def test_models_that_cannot_be_dense_are_refused():
    inputs = keras.Input((8, 8, 3))
    free = keras.Input((None, None, 3))
    flat = layers.Flatten()(inputs)
    gate = layers.Dense(3, "sigmoid")(layers.GlobalAveragePooling2D()(inputs))
    cases = {
        "only a dense layer": layers.Dense(3)(layers.LayerNormalization()(flat)),
        "it joins what was pooled": layers.Dense(2)(layers.Flatten()(layers.Multiply()([inputs, gate]))),
        "must come from dense layers": flat,
        "not known to work on each position": layers.Dense(3)(layers.RepeatVector(2)(layers.Dense(3)(flat)))[:, 0],
    }
    for reason, output in cases.items():
        with pytest.raises(ArgumentError, match=reason):
            dense_model(keras.Model(inputs, output))
    head = layers.Dense(3)(layers.Dense(3, "relu")(layers.GlobalAveragePooling2D()(free)))
    with pytest.raises(ArgumentError, match="no training size"):
        dense_model(keras.Model(free, head))
    whole = Preprocessing((12, 12), mean_image=np.zeros((12, 12, 3), "float32"))
    split = ArraySplit(np.zeros((2, 20, 20, 3), "uint8"), [0, 1])
    with pytest.raises(ArgumentError, match="fitted pixel by pixel"):
        predict_split(convolutional(), split, whole, protocol="dense")
