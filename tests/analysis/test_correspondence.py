"""Correspondence against a double loop and all permutations."""

import itertools

import keras
import numpy as np
import pytest

from keras_cnns import _render
from keras_cnns.analysis import _correspondence, correspondence
from keras_cnns.data import make_shapes
from keras_cnns.errors import ArgumentError

LAYER = "relu3"


@pytest.fixture(scope="module")
def triangles():
    """Eight images of triangles, and boxes around their top corner."""
    drawn = make_shapes(8, kinds="triangle", seed=3, spread=0.0, radius=0.25)
    (top, left, _, right) = drawn.boxes.T
    middle = (left + right) // 2
    return drawn.images.astype("float32"), np.stack([top - 1, middle - 3, top + 5, middle + 3], 1)


def signs_by_hand(model, images, boxes, fill=0.0):
    part = keras.Model(model.input, model.get_layer(LAYER).output)
    hidden = images.copy()
    for image, (top, left, bottom, right) in zip(hidden, boxes, strict=True):
        image[top:bottom, left:right] = fill
    before, after = (np.asarray(part(x)).reshape(len(x), -1) for x in (images, hidden))
    change = before - after
    change[np.abs(change) < 1e-6 * before.max(1, keepdims=True)] = 0
    return np.sign(change)


def score_by_hand(signs):
    pairs = [(signs[i] != signs[j]).mean() for i in range(len(signs)) for j in range(len(signs)) if i != j]
    return np.mean(pairs)


def test_the_score_equals_a_double_loop(triangles, shapes_model):
    images, boxes = triangles
    found = correspondence(shapes_model, images, boxes, LAYER, random_parts=3, permutations=9, fill=120.0)
    signs = signs_by_hand(shapes_model, images, boxes, 120.0)
    assert found.score == pytest.approx(score_by_hand(signs), abs=1e-3)
    assert found.changed == pytest.approx((signs != 0).mean(), abs=1e-3)
    assert found.distances.shape == (8, 8) and (found.distances.diagonal() == 0).all()
    assert found.distances.sum() / 56 == pytest.approx(found.score)
    with_other_fill = score_by_hand(signs_by_hand(shapes_model, images, boxes, 0.0))
    assert abs(with_other_fill - found.score) > 1e-2
    random = np.random.default_rng(0)  # the boxes that seed 0 draws
    boxes = _correspondence._random_boxes(boxes, images.shape, 3, random)
    for k, score in enumerate(found.random_scores):
        assert score == pytest.approx(score_by_hand(signs_by_hand(shapes_model, images, boxes[:, k], 120.0)), abs=1e-3)


def test_count_differing_signs():
    signs = np.random.default_rng(0).integers(-1, 2, (7, 20_000)).astype("int8")
    expected = [[(a != b).sum() for b in signs] for a in signs]
    assert (_correspondence._count_differing_signs(signs) == expected).all()


def test_the_p_value_is_the_share_of_all_choices_that_score_as_low(triangles, shapes_model):
    images, boxes = triangles[0][:3], triangles[1][:3]
    elsewhere = [_correspondence._random_boxes(boxes, images.shape, 1, np.random.default_rng(k))[:, 0] for k in (5, 6)]
    for place in (boxes, *elsewhere):
        found = correspondence(shapes_model, images, place, LAYER, random_parts=4, permutations=20_000, seed=1)
        random = _correspondence._random_boxes(place, images.shape, 4, np.random.default_rng(1))
        choices = np.concatenate([place[:, None], random], 1)
        signs = np.stack([signs_by_hand(shapes_model, images, choices[:, k]) for k in range(5)], 1)
        scores = [
            score_by_hand(np.stack([signs[i, k] for i, k in enumerate(chosen)]))
            for chosen in itertools.product(range(5), repeat=3)
        ]
        share = np.mean(np.array(scores) <= scores[0] + 1e-9)
        assert found.p_value == pytest.approx(share, abs=0.012)


def test_the_same_corner_corresponds_and_random_places_do_not(triangles, shapes_model):
    images, boxes = triangles
    fill = images.mean((0, 1, 2))
    found = correspondence(shapes_model, images, boxes, LAYER, permutations=999, fill=fill)
    assert found.score < found.random_scores.mean() - 2 * found.random_scores.std()
    assert found.p_value < 0.01
    random, p_values = np.random.default_rng(7), []
    for seed in range(16):
        places = _correspondence._random_boxes(boxes, images.shape, 1, random)[:, 0]
        other = correspondence(shapes_model, images, places, LAYER, 6, permutations=199, seed=seed, fill=fill)
        p_values.append(other.p_value)
    # The p-values of random places are uniform: their mean is 1/2 with a standard deviation of 0.07.
    assert 0.3 < np.mean(p_values) < 0.7 and np.mean(np.array(p_values) < 0.1) < 0.35


def test_a_part_that_changes_nothing(triangles, shapes_model):
    """All signs are 0 and so equal; `changed` tells."""
    images = np.full((3, 32, 32, 3), 50.0, "float32")
    found = correspondence(shapes_model, images, (3, 3, 9, 9), LAYER, 5, permutations=19, fill=50.0)
    assert (found.score, found.changed, found.p_value) == (0, 0, 1)


def test_the_seed_repeats_the_result(triangles, shapes_model):
    arguments = shapes_model, triangles[0][:4], triangles[1][:4], LAYER, 5, 99
    first, again, other = (correspondence(*arguments, seed=seed) for seed in (0, 0, 1))
    assert (first.random_scores == again.random_scores).all() and first.p_value == again.p_value
    assert (first.random_scores != other.random_scores).any() and first.score == other.score


def test_bad_arguments_are_rejected(triangles, shapes_model):
    images, boxes = triangles
    for changed, message in (
        ({"parts": boxes[:3]}, r"`parts` must be whole numbers \(8, 4\)"),
        ({"parts": boxes.astype(float)}, "`parts` must be whole numbers"),
        ({"parts": (0, 0, 33, 5)}, "`parts` must be boxes in images of 32 x 32"),
        ({"parts": (5, 5, 5, 9)}, "with top above bottom"),
        ({"layer": "relu4"}, "must be a layer of shapes. Did you mean 'relu"),
        ({"images": images[:1]}, "`images` must be two images at least"),
        ({"fill": [1.0, 2.0]}, "`fill` must be a number, or one for each channel"),
        ({"random_parts": 0}, "`random_parts` must be a whole number, at least 1"),
        ({"permutations": 1.5}, "`permutations` must be a whole number, at least 1"),
    ):
        with pytest.raises(ArgumentError, match=message):
            correspondence(**{"model": shapes_model, "images": images, "parts": boxes, "layer": LAYER, **changed})


def test_correspondence_bars(triangles, shapes_model, tmp_path):
    from PIL import Image

    images, boxes = triangles
    found = {
        name: correspondence(shapes_model, images, place, LAYER, 5, 99)
        for name, place in (("top corner", boxes), ("beside it", boxes + [0, 6, 0, 6]))
    }
    _render.correspondence_bars(found, tmp_path / "bars.png", "Correspondence")
    assert min(Image.open(tmp_path / "bars.png").size) > 300
