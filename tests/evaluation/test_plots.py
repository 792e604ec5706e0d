"""Plots of predictions and results."""

import warnings

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import open_source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.evaluation import draw_mistakes, draw_predictions, draw_result, score


def test_wrong_predictions_are_red(digits_model, tmp_path):
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


def test_mistakes_are_drawn_worst_first(digits_model, tmp_path, monkeypatch):
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
def test_plots_of_a_result_are_large_enough(tmp_path, classes):
    random = np.random.default_rng(0)
    names = [f"a class with a long name, {k}" for k in range(classes)]
    result = score(random.dirichlet(np.ones(classes), size=200), random.integers(0, classes, 200), names)
    draw_result(result, tmp_path / "out", "a model")
    for name in ("confusion.png", "reliability.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert min(image.size) >= 400
