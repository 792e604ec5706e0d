"""Metrics against plain loops and scikit-learn."""

import json

import numpy as np
import pytest

from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import score


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


def test_the_first_class_wins_a_tie():
    result = score([[0.5, 0.5], [0.5, 0.5]], [0, 1], ["a", "b"])
    assert (result.top1, result.top5) == (0.5, 1.0)
    with pytest.raises(ValueError, match="no images"):
        score(np.zeros((0, 2)), [], ["a", "b"])


def test_calibration_equals_a_plain_loop():
    random = np.random.default_rng(1)
    probabilities, labels = random.dirichlet(np.full(4, 0.3), size=400), random.integers(0, 4, 400)
    result = score(probabilities, labels, "abcd")
    error, bins = 0, []
    for low in range(15):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels, strict=True)
            if low / 15 <= row.max() < (low + 1) / 15
        ]
        if inside:
            confidence, accuracy = np.mean(inside, axis=0)
            bins.append((len(inside), confidence, accuracy))
            error += len(inside) / 400 * abs(confidence - accuracy)
    assert result.calibration_error == pytest.approx(error)
    np.testing.assert_allclose([(b.examples, b.confidence, b.accuracy) for b in result.reliability], bins)
    assert error > 0.2  # the labels are drawn without regard to the probabilities


def test_a_model_as_accurate_as_confident_is_calibrated():
    probabilities = np.tile([0.75, 0.25], (400, 1))
    assert score(probabilities, np.arange(400) % 4 == 0, "ab").calibration_error == pytest.approx(0)
    assert score([[1.0, 0.0]] * 10, [1] * 10, "ab").calibration_error == pytest.approx(1)


def test_nan_probabilities_are_refused():
    with pytest.raises(ArgumentError, match="NaN or infinite"):
        score([[np.nan, 0.5], [0.5, 0.5]], [0, 1], "ab")
