"""Corruptions against their definitions, and accuracy on corrupted images."""

import numpy as np
import pytest

from keras_cnns.data import open_source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import CORRUPTIONS, corrupt, evaluate, robustness


@pytest.fixture
def images():
    """Return smooth gray images, of which nothing is clipped."""
    down, across = np.mgrid[0:64, 0:64] / 64
    gray = 110 + 25 * np.sin(5 * across) + 15 * down
    return np.stack([np.stack([gray, gray + 5, gray - 5], -1)] * 3).round().astype("uint8")


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_corruption_keeps_the_shape_and_grows_with_severity(images, name, channels):
    if name in ("jpeg", "blur"):  # these hardly change smooth images
        images = np.random.default_rng(0).integers(60, 180, images.shape, dtype="uint8")
    images = images[..., :channels]
    before = images.copy()
    corrupted = [corrupt(images, name, severity) for severity in range(1, 6)]
    np.testing.assert_array_equal(images, before)
    assert all(changed.dtype == np.uint8 and changed.shape == images.shape for changed in corrupted)
    distance = [np.abs(changed.astype(float) - images).mean() for changed in corrupted]
    assert 0 < distance[0] and all(a < b for a, b in zip(distance, distance[1:], strict=False)), distance


def test_corruptions_match_their_definitions(images):
    np.testing.assert_array_equal(corrupt(images, "brightness", 1), (images + 25.5).round())
    shifted = corrupt(images, "shift", 3)
    np.testing.assert_array_equal(shifted[:, :, 8:], images[:, :, :-8])
    np.testing.assert_array_equal(shifted[:, :, :8], images[:, :, :1].repeat(8, 2))
    noise = corrupt(images, "noise", 1).astype(float) - images
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.02)
    mean = images.mean((1, 2), keepdims=True)
    np.testing.assert_array_equal(corrupt(images, "contrast", 2), (mean + 0.3 * (images - mean)).round())
    assert len(np.unique(corrupt(images[:1], "pixelate", 5)[0, 0, :, 0])) <= 16
    np.testing.assert_array_equal(corrupt(images, "noise", 2), corrupt(images, "noise", 2))
    with pytest.raises(ArgumentError, match="severity=6"):
        corrupt(images, "blur", 6)


@pytest.mark.slow
def test_robustness_counts_like_evaluate(digits_model):
    model, record = digits_model
    split = open_source("digits").split("test")
    found = robustness(model, split, record.preprocessing, corruptions=["shift", "contrast"], batch_size=100)
    result = evaluate(model, split, record.preprocessing, record.class_names)
    assert (found.examples, found.clean) == (360, result.top1)
    for severity in (1, 5):
        moved = ArraySplit(corrupt(split.items, "shift", severity), split.labels)
        expected = evaluate(model, moved, record.preprocessing, record.class_names).top1
        assert found.corrupted["shift"][severity - 1] == expected
    assert found.corrupted["shift"][4] < found.clean
    assert found.mean == pytest.approx(np.mean([found.corrupted["shift"], found.corrupted["contrast"]]))
    assert found.to_json()["corrupted"]["shift"] == list(found.corrupted["shift"])


def test_wrong_arguments_are_refused(digits_model):
    model, record = digits_model
    split = open_source("digits").split("test")
    with pytest.raises(ArgumentError, match="Did you mean 'noise'"):
        robustness(model, split, record.preprocessing, corruptions=["nois"])
    with pytest.raises(ArgumentError, match="Did you mean 'blur'"):
        corrupt(split.items, "blurr", 1)
    with pytest.raises(ArgumentError, match="split is empty"):
        robustness(model, split.take(np.arange(0)), record.preprocessing)
