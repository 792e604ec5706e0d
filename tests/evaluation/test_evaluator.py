"""Evaluation counts every image once, in float32, with classes matched by name."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, Source, open_source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import evaluate, predict_images, predict_split, score


@pytest.mark.kernels
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_is_evaluated_in_float32(policy, tmp_path):
    """Otherwise accuracy would depend on the processor and differ from the export's."""
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype="uint8")
    split, record = ArraySplit(images, np.arange(12) % 4), Preprocessing((6, 5))
    Image.fromarray(images[0]).save(tmp_path / "image.png")

    def build(policy):
        x = inputs = keras.Input((6, 5, 3))
        x = keras.layers.Flatten(dtype=policy)(keras.layers.Conv2D(8, 3, activation="relu", dtype=policy)(x))
        return keras.Model(inputs, keras.layers.Dense(4, activation="softmax", dtype=policy)(x))

    plain, mixed = build("float32"), build(policy)
    mixed.set_weights(plain.get_weights())
    np.testing.assert_array_equal(
        predict_split(mixed, split, record)[0], predict_split([plain, plain], split, record)[0]
    )
    paths = [tmp_path / "image.png"]
    np.testing.assert_array_equal(predict_images(mixed, paths, record), predict_images(plain, paths, record))


def linear_model(activation):
    """Return a model whose class is the brightest of three channels."""
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Activation(activation)(x))


@pytest.mark.parametrize("activation", ["softmax", "linear"])
@pytest.mark.parametrize("batch", [1, 4, 10, 64])
def test_metrics_are_exact_at_any_batch_size(activation, batch):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (10, 6, 6, 3), dtype="uint8")
    labels = np.arange(10) % 3
    record = Preprocessing((6, 6), mean=(128.0,), scale=(1 / 16,))
    result = evaluate(linear_model(activation), ArraySplit(images, labels), record, "abc", batch_size=batch)
    logits = (images.astype("float64").mean((1, 2)) - 128) / 16
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = score(probabilities, labels, "abc")
    assert (result.examples, result.top1) == (10, expected.top1)
    assert result.loss == pytest.approx(expected.loss, rel=1e-5)


@pytest.mark.parametrize("kind", ["layer", "activation", "op", "cast", "nested", "dense"])
def test_probabilities_are_distinguished_from_logits(kind):
    from keras_cnns.tasks.classifiers import gives_probabilities

    inputs = keras.Input((6, 6, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    assert not gives_probabilities(keras.Model(inputs, x))
    assert not gives_probabilities(keras.Model(inputs, keras.layers.Activation("relu")(x)))
    ends = {
        "layer": keras.layers.Softmax(),
        "activation": keras.layers.Activation("softmax"),
        "op": keras.ops.softmax,
        "cast": lambda x: keras.layers.Activation("linear", dtype="float32")(keras.layers.Softmax()(x)),
        "nested": lambda x: keras.Model(y := keras.Input((3,)), keras.layers.Softmax()(y))(x),
        "dense": keras.layers.Dense(4, activation="softmax"),
    }
    assert gives_probabilities(keras.Model(inputs, ends[kind](x)))


def test_models_and_classes_that_do_not_fit_are_refused():
    split = ArraySplit(np.zeros((4, 6, 6, 3), "uint8"), [0, 1, 0, 1])
    with pytest.raises(ArgumentError, match="has 3 classes and the images have 2"):
        evaluate(linear_model("softmax"), split, Preprocessing((6, 6)), "ab")
    two = keras.Model(x := keras.Input((6, 6, 3)), [keras.layers.Flatten()(x), keras.layers.Flatten()(x)])
    with pytest.raises(ArgumentError, match="must output one vector per image"):
        evaluate(two, split, Preprocessing((6, 6)), "ab")
    flat = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    with pytest.raises(ArgumentError, match="must take one batch of images"):
        evaluate(flat, split, Preprocessing((6, 6)), "ab")


def test_class_names_of_a_split_are_matched_by_name():
    """The split numbers its classes in another order than the model."""
    images = np.zeros((6, 6, 6, 3), "uint8")
    images[np.arange(6), ..., np.arange(6) % 3] = 200
    named = Source("made", ("b", "c", "a"), (6, 6, 3), {"test": ArraySplit(images, (np.arange(6) - 1) % 3)})
    record = Preprocessing((6, 6))
    assert named.split("test").class_names == ("b", "c", "a")
    assert evaluate(linear_model("softmax"), named.split("test"), record, "abc").top1 == 1
    by_position = ArraySplit(images, (np.arange(6) - 1) % 3)
    assert evaluate(linear_model("softmax"), by_position, record, "abc").top1 == 0
    with pytest.raises(ArgumentError, match="it does not know x, y, z.*classes x, y, z"):
        other = Source("other", ("x", "y", "z"), (6, 6, 3), {"test": by_position})
        evaluate(linear_model("softmax"), other.split("test"), record, "abc")


def test_the_shipped_network_has_the_accuracy_of_its_record(digits_model):
    model, record = digits_model
    source = open_source("digits")
    result = evaluate(model, source.split("test"), record.preprocessing, source.class_names)
    assert result.examples == record.metrics["test"]["examples"] == 360
    assert result.top1 >= 0.99
    assert abs(result.top1 - record.metrics["test"]["top1"]) <= 1 / 360  # its record is from another precision


def test_image_files_are_classified(digits_model, tmp_path):
    model, record = digits_model
    test = open_source("digits").split("test")
    paths = []
    for k in range(6):
        image = Image.fromarray(test.items[k, ..., 0])
        paths.append(tmp_path / f"{k}.png")
        (image if k % 2 else image.convert("RGB").resize((96, 96), Image.Resampling.BICUBIC)).save(paths[-1])
    for batch in (1, 4, 100):
        probabilities = predict_images(model, paths, record.preprocessing, batch_size=batch)
        assert probabilities.shape == (6, 10)
        assert (probabilities.argmax(1) == test.labels[:6]).sum() >= 5
