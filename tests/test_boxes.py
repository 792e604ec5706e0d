"""Overlaps, matching and suppression, compared with Keras, TensorFlow and loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cnns.errors import ArgumentError
from keras_cnns.tasks.boxes import Detections, areas, best_detections, iou, match, suppress


def random_boxes(count, seed=0, size=100):
    random = np.random.default_rng(seed)
    corner, sides = random.uniform(0, 0.7 * size, (count, 2)), random.uniform(1, 0.5 * size, (count, 2))
    return np.concatenate([corner, corner + sides], 1).astype("float32")


def test_iou_equals_kerass():
    first, second = random_boxes(20), random_boxes(30, seed=1)
    expected = keras.utils.bounding_boxes.compute_iou(first, second, bounding_box_format="yxyx")
    np.testing.assert_allclose(iou(first, second), expected, atol=1e-5)
    np.testing.assert_allclose(iou(first, first).diagonal(), 1)


def test_the_last_row_and_column_may_count():
    """VOC's boxes of one pixel have the area 1."""
    first, second = random_boxes(5).round(), random_boxes(6, seed=1).round()
    grown = [boxes + np.float32([0, 0, 1, 1]) for boxes in (first, second)]
    np.testing.assert_allclose(iou(first, second, extent=1), iou(*grown))
    assert areas([[3, 3, 3, 3]], extent=1).tolist() == [1]


def test_boxes_without_area_overlap_nothing():
    degenerate = [[5, 5, 5, 9], [9, 9, 2, 2], [4, 4, 4, 4]]
    assert not iou(degenerate, [*degenerate, [0, 0, 10, 10]]).any()
    assert iou(np.zeros((0, 4)), degenerate).shape == (0, 3)


def matched_by_loops(overlaps, threshold):
    matches, pairs = [-1] * len(overlaps), sorted(np.ndindex(*overlaps.shape), key=lambda pair: -overlaps[pair])
    taken = set()
    for place, number in pairs:
        if matches[place] < 0 and number not in taken and overlaps[place, number] > 0:
            matches[place] = number
            taken.add(number)
    for place, row in enumerate(overlaps):
        if matches[place] < 0 and row.max() >= threshold:
            matches[place] = int(row.argmax())
    return matches


@pytest.mark.parametrize("objects", [1, 3, 40])
def test_matching_equals_loops(objects):
    overlaps = iou(random_boxes(60), random_boxes(objects, seed=2))
    assert match(overlaps, 0.4).tolist() == matched_by_loops(overlaps, 0.4)


def test_each_object_is_found_and_some_are_found_twice():
    overlaps = iou(random_boxes(300), random_boxes(8, seed=2))
    found = match(overlaps, 0.4)
    assert set(found.tolist()) == set(range(-1, 8)) and (found >= 0).sum() > 12
    assert overlaps[found >= 0].max(1).min() > 0


def test_two_objects_do_not_lose_their_common_default_box():
    """Implementations in which each object takes its best box, one after the other, lose the first of these."""
    assert match(np.array([[0.9, 0.8], [0.3, 0.1], [0.0, 0.2]])).tolist() == [0, -1, 1]


def test_images_without_objects_match_nothing():
    assert match(np.zeros((4, 0))).tolist() == [-1] * 4
    assert match(np.zeros((0, 2))).tolist() == []
    with pytest.raises(ArgumentError, match="must be .default boxes, objects."):
        match(np.zeros(3))


@pytest.mark.parametrize("threshold", [0.2, 0.45, 0.7])
def test_suppression_equals_tensorflows(threshold):
    boxes = random_boxes(200)
    scores = np.random.default_rng(3).uniform(size=200).round(2).astype("float32")  # with ties
    for limit in (5, 200):
        expected = tf.image.non_max_suppression(boxes, scores, limit, threshold).numpy()
        np.testing.assert_array_equal(suppress(boxes, scores, threshold, limit), expected)


def test_detections_are_those_of_each_class_alone():
    boxes = random_boxes(80)
    scores = np.random.default_rng(3).uniform(size=(80, 3)).astype("float32")
    found = best_detections(boxes, scores, least_score=0.3, candidates=50, threshold=0.3, limit=20)
    rows = []
    for label in range(3):
        best = [place for place in np.argsort(-scores[:, label]) if scores[place, label] > 0.3][:50]
        kept = tf.image.non_max_suppression(boxes[best], scores[best, label], 20, 0.3).numpy()
        rows += [(scores[best[k], label], label, *boxes[best[k]]) for k in kept]
    rows = sorted(rows, reverse=True)[:20]
    assert len(found) == 20 and found.labels.tolist() == [row[1] for row in rows]
    np.testing.assert_array_equal(found.scores, [row[0] for row in rows])
    np.testing.assert_array_equal(found.boxes, [row[2:] for row in rows])
    assert len(best_detections(boxes, 0 * scores)) == len(Detections.none()) == 0
