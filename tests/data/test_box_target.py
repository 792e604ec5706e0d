"""Boxes move with their images: each object has a color of its own."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cnns import data
from keras_cnns.data.box_target import COLUMNS, from_bytes
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.geometry import AUGMENTATIONS
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks.boxes import iou

# Each on another line from black, so that no smooth edge has the color of another object
COLORS = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)], "uint8") * np.uint8(240)
WINDOWS = [name for name, geometry in AUGMENTATIONS.items() if geometry.window]


def objects(count, height, width, seed=0, most=6):
    """Return images with rectangles that do not touch, and their targets."""
    random = np.random.default_rng(seed)
    images = np.zeros((count, height, width, 3), "uint8")
    targets = []
    for image in images:
        boxes, labels = [], []
        for label in range(random.integers(0, most + 1)):
            sides = random.integers(8, 30, 2)
            top, left = random.integers(0, (height - sides[0], width - sides[1]))
            bottom, right = top + sides[0], left + sides[1]
            if not image[max(top - 6, 0) : bottom + 6, max(left - 6, 0) : right + 6].any():
                image[top:bottom, left:right] = COLORS[label]
                boxes.append((top, left, bottom, right))
                labels.append(label)
        targets.append({"boxes": boxes, "labels": labels})
    return images, targets


def seen_boxes(image, label):
    """Return the box around the pixels of an object's color, or None."""
    close = ((image > 120) == (COLORS[label] > 0)).all(-1)
    rows, columns = (np.flatnonzero(close.sum(axis) > 2) for axis in (1, 0))
    return (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) if len(rows) else None


def check(images, targets, least=0.75):
    """Check that each box is around its object, and return how many were."""
    checked = 0
    for image, boxes, labels in zip(np.asarray(images), targets["boxes"], targets["labels"], strict=True):
        for box, label in zip(np.asarray(boxes), np.asarray(labels), strict=True):
            if label >= 0 and min(box[2] - box[0], box[3] - box[1]) > 4:
                assert iou([box], [seen_boxes(image, label)])[0, 0] > least
                checked += 1
            elif label < 0:
                assert (box == -1).all()
    return checked


def batches(split, size=(96, 128), **options):
    rule = {name: options.pop(name) for name in ("shorter_side", "fit") if name in options}
    return list(
        data.make_dataset(split, data.Preprocessing(size, 3, **rule), 8, normalize=False, shuffle=True, **options)
    )


@pytest.mark.parametrize("options", [{}, {"shorter_side": 140}, {"fit": "pad"}])
def test_boxes_follow_the_resize_rule(options):
    images, targets = objects(16, 120, 200)
    split = data.ArraySplit(images, targets, data.Boxes(6))
    assert sum(check(*batch) for batch in batches(split, **options)) > 15


@pytest.mark.parametrize("geometry", WINDOWS)
@pytest.mark.parametrize("suffix", [None, "png", "jpg"])
def test_boxes_follow_every_window(geometry, suffix, tmp_path):
    images, targets = objects(16, 240, 320)
    split = data.ArraySplit(images, targets, data.Boxes(6))
    if suffix:
        paths = [str(tmp_path / f"{k}.{suffix}") for k in range(16)]
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(path, **({"quality": 98, "subsampling": 0} if suffix == "jpg" else {}))
        split = FileSplit(np.array(paths, object), split.targets, data.Boxes(6))
    seen = sum(
        check(*batch, least=0.6) for seed in range(3) for batch in batches(split, augmentation=geometry, seed=seed)
    )
    assert seen > 15


@pytest.mark.parametrize("seed", range(4))
def test_boxes_moved_by_a_view_come_back(seed):
    """Random windows, some of which reach beyond the image; what lies within one returns to its place."""
    random, target = np.random.default_rng(seed), data.Boxes()
    for _ in range(50):
        start = random.uniform(40, 50, (5, 2))
        boxes = np.concatenate([start, start + random.uniform(2, 10, (5, 2))], 1).astype("float32")
        split = data.ArraySplit(np.zeros((1, 100, 100, 3), "uint8"), [{"boxes": boxes, "labels": range(5)}], target)
        height, width = random.uniform(90, 200, 2)
        view = data.View((random.uniform(-20, 30), random.uniform(-20, 30), height, width), (64, 48), bool(seed % 2))
        rows = target.move(target.read(split.targets[0], None, []), view).numpy()
        np.testing.assert_allclose(view.back(rows[:, :4]), boxes[rows[:, 4].astype(int)], atol=1e-3)
        assert len(rows) == 5
        np.testing.assert_allclose(rows[:, 7], (rows[:, 2:4] - rows[:, :2]).prod(-1), rtol=1e-3)


def test_objects_whose_center_is_not_shown_are_left_out_and_others_cut():
    target = data.Boxes()
    rows = np.zeros((3, len(COLUMNS)), "float32")
    rows[:, :4] = [(0, 0, 10, 10), (0, 8, 10, 30), (20, 20, 30, 30)]
    rows[:, 4] = range(3)
    moved = target.move(tf.constant(rows), data.View((0, 10, 20, 20), (20, 20))).numpy()
    assert moved[:, :5].tolist() == [[0, 0, 10, 20, 1]]
    moved = target.move(tf.constant(rows), data.View((0, 10, 20, 20), (40, 20), tf.constant(True))).numpy()
    assert moved[:, :5].tolist() == [[0, 0, 20, 20, 1]]


def test_images_without_objects_are_legal():
    split = data.ArraySplit(np.zeros((3, 32, 32, 3), "uint8"), [{"boxes": [], "labels": []}] * 3, data.Boxes(2))
    ((images, targets),) = batches(split, (32, 32), augmentation="inception-crop")
    assert targets["boxes"].shape == (3, 0, 4) and targets["labels"].dtype == tf.int32


def test_flags_and_areas_are_kept():
    target = {"boxes": [[1, 2, 5, 8], [0, 0, 4, 4]], "labels": [1, 0], "difficult": [True, False], "areas": [7.5, 3]}
    split = data.ArraySplit(np.zeros((1, 8, 16, 3), "uint8"), [target], data.Boxes(2))
    (((_, found),)) = batches(split, (16, 16))
    assert found["difficult"].numpy().tolist() == [[True, False]] and not found["crowd"].numpy().any()
    assert found["areas"].numpy().tolist() == [[15.0, 6.0]]
    held = from_bytes(split.targets[0])
    assert held["labels"].tolist() == [1, 0] and held["areas"].tolist() == [7.5, 3]


@pytest.mark.parametrize(
    "target, sentence",
    [
        ({"boxes": [[0, 0, 4, 4]]}, "must be a dictionary with 'boxes'"),
        ({"boxes": [[0, 0, 4, 4]], "labels": [0, 1]}, "1 boxes and 2 labels"),
        ({"boxes": [[0, 0, 4, 4]], "labels": [2]}, "whole numbers from 0 to 1. Received: image 1, label=2"),
        ({"boxes": [[0, 0, 0, 4]], "labels": [1]}, "leave out those without area"),
        ({"boxes": [[0, 0, np.nan, 4]], "labels": [1]}, "boxes must be finite"),
        ("a.xml", "must be a dictionary"),
    ],
)
def test_objects_that_cannot_be_right_are_refused(target, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        data.ArraySplit(np.zeros((2, 8, 8, 3), "uint8"), [{"boxes": [], "labels": []}, target], data.Boxes(2))


def test_one_target_per_image_is_needed():
    with pytest.raises(ArgumentError, match="the objects of each of 2 images"):
        data.ArraySplit(np.zeros((2, 8, 8, 3), "uint8"), [{"boxes": [], "labels": []}], data.Boxes(2))


@pytest.mark.parametrize("options", [{"mixup": 0.2}, {"geometry": "distort"}, {"rand_augment": 0.5}], ids=str)
def test_changes_that_boxes_cannot_follow_are_refused(options):
    split = data.ArraySplit(np.zeros((2, 8, 8, 3), "uint8"), [{"boxes": [], "labels": []}] * 2, data.Boxes(2))
    with pytest.raises(ArgumentError, match="Received: augmentation"):
        data.make_dataset(split, data.Preprocessing((8, 8)), 2, augmentation=data.Augment(**options))


def test_splits_of_boxes_are_divided_joined_and_renumbered():
    images, targets = objects(20, 64, 64)
    split = data.ArraySplit(images, targets, data.Boxes(6)).named(tuple("abcdef"))
    first, second = split.divide(0.25, seed=1)
    assert (first.examples, second.examples) == (15, 5)
    joined = first.joined([second])
    assert sorted(joined.targets) == sorted(split.targets)
    assert split.fingerprint() != split.take(np.arange(20)[::-1]).fingerprint()
    renamed = split.with_classes(("z", *"fedcba"))
    for before, after in zip(split.targets, renamed.targets, strict=True):
        np.testing.assert_array_equal(6 - from_bytes(before)["labels"], from_bytes(after)["labels"])
        np.testing.assert_array_equal(from_bytes(before)["boxes"], from_bytes(after)["boxes"])


@pytest.mark.parametrize("geometry", ["none", "flip"])
def test_cached_images_keep_their_boxes(geometry, tmp_path):
    images, targets = objects(16, 120, 200)
    split = data.ArraySplit(images, targets, data.Boxes(6))
    plain, cached, again = (
        batches(split, augmentation=geometry, cache=cache) for cache in (None, tmp_path / "cache", tmp_path / "cache")
    )
    assert sum(check(*batch) for batch in cached) > 30
    for batch, other in zip(cached, again, strict=True):
        np.testing.assert_array_equal(batch[1]["boxes"], other[1]["boxes"])
    assert sum((batch[1]["labels"].numpy() >= 0).sum() for batch in plain) == sum(
        (batch[1]["labels"].numpy() >= 0).sum() for batch in cached
    )


def test_the_boxes_of_shared_batches_are_repeated_with_their_images():
    images, targets = objects(10, 64, 64, seed=2)
    split = data.ArraySplit(images, targets, data.Boxes(6))
    shared = data.make_dataset(split, data.Preprocessing((64, 64)), 8, normalize=False, share=data.Share(devices=4))
    *_, (shown, found, weights) = shared
    assert len(shown) == len(found["boxes"]) == len(weights) == 4 and weights.numpy().sum() == 4
    assert check(shown, found) > 3


def test_drawn_objects_lie_in_their_boxes():
    """Each object is brighter than its background, and its box is the smallest around it."""
    scenes = data.make_scenes(40, 96, seed=5)
    again = data.make_scenes(20, 96, seed=5)
    np.testing.assert_array_equal(scenes.images[:20], again.images)
    numbers = [len(target["labels"]) for target in scenes.targets]
    assert set(numbers) == {0, 1, 2, 3, 4}
    for image, target in zip(scenes.images.astype("float64"), scenes.targets, strict=True):
        outside = np.ones(image.shape[:2], bool)
        for top, left, bottom, right in target["boxes"].astype(int):
            outside[top:bottom, left:right] = False
        ground = np.median(image[outside], 0)
        bright = (image - ground).mean(-1) > 60
        assert not bright[outside].any()
        for top, left, bottom, right in target["boxes"].astype(int):
            rows, columns = (np.flatnonzero(bright[top:bottom, left:right].any(axis)) for axis in (1, 0))
            assert rows[0] <= 2 and columns[0] <= 2 and rows[-1] >= bottom - top - 3 and columns[-1] >= right - left - 3


def test_a_summary_counts_objects():
    boxes = [{"boxes": [[0, 0, 10, 20], [0, 0, 30, 30]], "labels": [0, 1]}, {"boxes": [], "labels": []}]
    boxes.append({"boxes": [[0, 0, 10, 5]], "labels": [1], "difficult": [True]})
    images = np.random.default_rng(0).integers(0, 256, (3, 50, 50, 3), "uint8")
    split = data.ArraySplit(images, boxes, data.Boxes(2))
    summary = data.summarize(data.Source("objects", ("a", "b"), (50, 50, 3), {"train": split}))
    facts = summary.boxes["train"]
    assert (facts.objects, facts.empty, facts.most, facts.left_out) == ((1, 2), 1, 2, 1)
    assert summary.counts["train"] == (1, 2) and facts.aspects == pytest.approx(
        np.percentile([2, 1, 0.5], [10, 50, 90])
    )
    assert facts.relative_sides == pytest.approx(np.array(facts.sides) / 50)
    assert summary.to_json()["boxes"]["train"]["objects"] == (1, 2)
