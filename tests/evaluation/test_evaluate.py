"""Metrics against plain loops; every image counted once."""

import json
import warnings

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, Source
from keras_cnns.data.sources import open_source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import (
    draw_mistakes,
    draw_predictions,
    draw_result,
    evaluate,
    predict_images,
    predict_split,
    score,
)


def test_score_equals_plain_loops():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(8), size=50)
    labels = random.integers(0, 7, 50)  # the last class has no images
    names = [f"c{k}" for k in range(8)]
    result = score(probabilities, labels, names)
    top1 = top5 = loss = 0
    confusion = np.zeros((8, 8), int)
    for row, label in zip(probabilities, labels, strict=True):
        ranked = sorted(range(8), key=lambda k: -row[k])
        top1 += ranked[0] == label
        top5 += label in ranked[:5]
        loss -= np.log(row[label])
        confusion[label, ranked[0]] += 1
    assert (result.examples, result.top1, result.top5) == (50, top1 / 50, top5 / 50)
    assert result.loss == pytest.approx(loss / 50)
    assert np.array(result.confusion).tolist() == confusion.tolist()
    assert result.per_class["c7"] is None
    assert result.per_class["c0"] == pytest.approx(confusion[0, 0] / confusion[0].sum())
    assert set(result.summary()) == {"examples", "top1", "top5", "loss"}


@pytest.mark.kernels
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_is_measured_in_float32(policy, tmp_path):
    """Whatever it was trained in: or the accuracy would depend on the processor, and the export would have another."""
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype="uint8")
    split, record = ArraySplit(images, np.arange(12) % 4), Preprocessing((6, 5))
    Image.fromarray(images[0]).save(tmp_path / "image.png")

    def built(policy):
        x = inputs = keras.Input((6, 5, 3))
        x = keras.layers.Flatten(dtype=policy)(keras.layers.Conv2D(8, 3, activation="relu", dtype=policy)(x))
        return keras.Model(inputs, keras.layers.Dense(4, activation="softmax", dtype=policy)(x))

    plain, mixed = built("float32"), built(policy)
    mixed.set_weights(plain.get_weights())
    np.testing.assert_array_equal(
        predict_split(mixed, split, record)[0], predict_split([plain, plain], split, record)[0]
    )
    paths = [tmp_path / "image.png"]
    np.testing.assert_array_equal(predict_images(mixed, paths, record), predict_images(plain, paths, record))


def test_precision_recall_and_f1_equal_those_of_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support

    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 60)  # no images of the last two classes
    predicted = np.where(random.random(60) < 0.6, labels, random.integers(0, 4, 60))
    predicted[predicted == 2] = 5  # class 2 has images and no prediction, class 5 the reverse, class 6 neither
    result = score(np.eye(7)[predicted], labels, "abcdefg")
    theirs = precision_recall_fscore_support(labels, predicted, labels=range(7), zero_division=np.nan)
    for ours, expected in zip((result.precision, result.recall, result.f1), theirs, strict=False):
        assert [np.nan if value is None else value for value in ours.values()] == pytest.approx(expected, nan_ok=True)
    assert result.precision["c"] is None and result.f1["c"] == 0 and result.recall["f"] is None
    assert result.precision["g"] is result.recall["g"] is result.f1["g"] is None
    values = json.loads(json.dumps(result.to_json()))
    assert values["precision"] == result.precision and values["f1"] == result.f1 and values["recall"]["g"] is None


def test_few_classes_and_ties():
    result = score([[0.5, 0.5], [0.5, 0.5]], [0, 1], ["a", "b"])
    assert (result.top1, result.top5) == (0.5, 1.0)
    with pytest.raises(ValueError, match="no images"):
        score(np.zeros((0, 2)), [], ["a", "b"])


def test_calibration_equals_a_plain_loop():
    random = np.random.default_rng(1)
    probabilities, labels = random.dirichlet(np.full(4, 0.3), size=400), random.integers(0, 4, 400)
    result = score(probabilities, labels, "abcd")
    error, kept = 0, []
    for low in range(15):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels, strict=True)
            if low / 15 <= row.max() < (low + 1) / 15
        ]
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            kept.append((len(inside), confidence, accuracy))
            error += len(inside) / 400 * abs(confidence - accuracy)
    assert result.calibration_error == pytest.approx(error)
    np.testing.assert_allclose([(b.examples, b.confidence, b.accuracy) for b in result.reliability], kept)
    assert error > 0.2  # the labels are drawn without regard to the probabilities


def test_who_is_as_often_right_as_sure_is_calibrated():
    probabilities = np.tile([0.75, 0.25], (400, 1))
    assert score(probabilities, np.arange(400) % 4 == 0, "ab").calibration_error == pytest.approx(0)
    assert score([[1.0, 0.0]] * 10, [1] * 10, "ab").calibration_error == pytest.approx(1)


def linear_model(activation):
    """A model whose class is the brightest of three channels."""
    inputs = keras.Input((6, 6, 3))
    x = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Activation(activation)(x))


@pytest.mark.parametrize("activation", ["softmax", "linear"])
@pytest.mark.parametrize("batch", [1, 4, 10, 64])
def test_exact_at_any_batch_size(activation, batch):
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


def test_a_model_that_gives_no_numbers_is_not_measured():
    with pytest.raises(ArgumentError, match="not finite"):
        score([[np.nan, 0.5], [0.5, 0.5]], [0, 1], "ab")


@pytest.mark.parametrize("kind", ["layer", "activation", "op", "cast", "nested", "dense"])
def test_probabilities_are_told_from_logits(kind):
    from keras_cnns._models import gives_probabilities

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


def test_models_and_classes_that_do_not_fit():
    split = ArraySplit(np.zeros((4, 6, 6, 3), "uint8"), [0, 1, 0, 1])
    with pytest.raises(ArgumentError, match="tells 3 classes apart and the images have 2"):
        evaluate(linear_model("softmax"), split, Preprocessing((6, 6)), "ab")
    two = keras.Model(x := keras.Input((6, 6, 3)), [keras.layers.Flatten()(x), keras.layers.Flatten()(x)])
    with pytest.raises(ArgumentError, match="must output one vector per image"):
        evaluate(two, split, Preprocessing((6, 6)), "ab")
    flat = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    with pytest.raises(ArgumentError, match="must take one batch of images"):
        evaluate(flat, split, Preprocessing((6, 6)), "ab")


def test_a_splits_own_classes_are_matched_by_name():
    """The class is the brightest channel: a split whose labels are in another order counts all the same."""
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


def test_the_shipped_network_is_as_good_as_its_record_says(digits_model):
    model, record = digits_model
    source = open_source("digits")
    result = evaluate(model, source.split("test"), record.preprocessing, source.class_names)
    assert result.examples == record.metrics["test"]["examples"] == 360
    assert result.top1 >= 0.99
    assert abs(result.top1 - record.metrics["test"]["top1"]) <= 1 / 360  # it was trained in another precision


def test_predicting_files(digits_model, tmp_path):
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


def test_the_drawing_shows_what_was_predicted(digits_model, tmp_path):
    model, record = digits_model
    split = open_source("digits").split("test")
    draw_predictions(model, split, record.preprocessing, record.class_names, tmp_path / "a.png", "digits", count=10)
    right = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    wrong = ArraySplit(split.items, (split.labels + 1) % 10)
    draw_predictions(model, wrong, record.preprocessing, record.class_names, tmp_path / "b.png", "digits", count=10)
    marked = np.asarray(Image.open(tmp_path / "b.png").convert("RGB")).astype(int)

    names = [*"012345678", "九"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_predictions(model, split, record.preprocessing, names, tmp_path / "c.png", "数字", count=10)

    def red(pixels):
        return ((pixels[..., 0] - pixels[..., 2]) > 150).sum()

    assert red(right) < 200 < red(marked)


def test_mistakes_come_worst_first(digits_model, tmp_path, monkeypatch):
    from keras_cnns import _render

    drawn = []
    monkeypatch.setattr(_render, "prediction_grid", lambda *arguments: drawn.append(arguments), raising=False)
    _, record = digits_model
    split = open_source("digits").split("test").sample(5)
    probabilities = np.full((5, 10), 0.01)
    probabilities[np.arange(5), split.labels] = [0.9, 0.02, 0.3, 0.1, 0.9]
    probabilities[np.arange(5), (split.labels + 1) % 10] = [0.05, 0.9, 0.6, 0.8, 0.05]
    arguments = (split, record.preprocessing, record.class_names, tmp_path / "m.png", "title")
    assert draw_mistakes(probabilities, split.labels, *arguments)
    images, labels, *_ = drawn[0]
    np.testing.assert_array_equal(images, split.items[[1, 3, 2]])
    np.testing.assert_array_equal(labels, split.labels[[1, 3, 2]])
    assert not draw_mistakes(np.eye(10)[split.labels], split.labels, *arguments)
    assert len(drawn) == 1


@pytest.mark.parametrize("classes", [2, 12, 45])
def test_drawings_of_a_result(tmp_path, classes):
    random = np.random.default_rng(0)
    names = [f"a class with a long name, {k}" for k in range(classes)]
    result = score(random.dirichlet(np.ones(classes), size=200), random.integers(0, classes, 200), names)
    draw_result(result, tmp_path / "out", "a model")
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert min(image.size) >= 400
