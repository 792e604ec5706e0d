"""Average precision, compared with COCO's own program and with VOC's, written as loops."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from keras_cnns.errors import ArgumentError
from keras_cnns.tasks.box_metric import BoxMetric
from keras_cnns.tasks.boxes import Detections, iou

NAMES = ("cat", "dog", "bird", "unicorn")  # there is no unicorn


def random_case(seed, images=30):
    """Return detections and objects of many sizes; most detections are moved objects."""
    random = np.random.default_rng(seed)
    found, targets = [], []
    for _ in range(images):
        count = random.integers(0, 7)
        corner, sides = random.uniform(0, 300, (count, 2)), np.exp(random.uniform(2, 5.3, (count, 2)))
        boxes = np.concatenate([corner, corner + sides], 1).astype("float32")
        labels = random.integers(0, 3, count)
        again = random.integers(0, max(count, 1), 2 * count)
        moved = boxes[again] + random.normal(scale=0.08, size=(2 * count, 4)) * np.tile(sides[again], 2)
        stray = np.sort(random.uniform(0, 300, (4, 2, 2)), axis=1).reshape(4, 4)
        all_labels = np.concatenate([np.where(random.random(2 * count) < 0.9, labels[again], 2), [0, 1, 2, 2]])
        scores = random.uniform(size=2 * count + 4).round(2)  # with ties
        found.append(Detections(np.vstack([moved, stray]).astype("float32"), all_labels, scores.astype("float32")))
        crowd, difficult = (random.random((2, count)) < 0.15) if count else (np.zeros(0, bool), np.zeros(0, bool))
        targets.append({"boxes": boxes, "labels": labels, "crowd": crowd, "difficult": difficult})
    return found, targets


def measure(found, targets, rule, names=NAMES):
    metric = BoxMetric(names, rule)
    for k in range(0, len(found), 7):
        metric.update(found[k : k + 7], targets[k : k + 7])
    return metric.result()


def cocos(found, targets):
    """Return COCOeval after its evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def box(each):
        top, left, bottom, right = map(float, each)
        return [left, top, right - left, bottom - top]

    annotations, results = [], []
    for image, (detected, target) in enumerate(zip(found, targets, strict=True)):
        for k, (each, label) in enumerate(zip(target["boxes"], target["labels"], strict=True)):
            x, y, width, height = box(each)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(target["crowd"][k]),
                }
            )
        for each, label, score in zip(detected.boxes, detected.labels, detected.scores, strict=True):
            results.append({"image_id": image, "category_id": int(label), "bbox": box(each), "score": float(score)})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": k} for k in range(len(found))],
            "annotations": annotations,
            "categories": [{"id": k, "name": name} for k, name in enumerate(NAMES)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("seed", range(4))
def test_coco_equals_its_own_program(seed):
    found, targets = random_case(seed)
    ours, theirs = measure(found, targets, "coco"), cocos(found, targets)
    mean, at50, _, small, medium, large, *_ = theirs.stats
    assert 0.1 < ours.mean_ap < 0.9 and ours.ap["unicorn"] is None
    assert (ours.mean_ap, ours.mean_ap50) == pytest.approx((mean, at50), abs=1e-9)
    for name, expected in {"small": small, "medium": medium, "large": large}.items():
        assert ours.ap_by_size[name] == pytest.approx(expected, abs=1e-9)
    assert ours.mean_recall == pytest.approx(theirs.stats[8], abs=1e-9)
    precision = theirs.eval["precision"][:, :, :, 0, 2]  # thresholds, points, classes
    for k, name in enumerate(NAMES[:3]):
        assert ours.ap[name] == pytest.approx(precision[:, :, k].mean(), abs=1e-9)
        np.testing.assert_allclose(ours.curves[name], precision[0, :, k], atol=1e-9)


def vocs(found, targets, label, eleven):
    """Return the average precision of a class as voc_eval.py computes it, detection by detection."""
    rows = sorted(
        ((float(score), image, box) for image, each in enumerate(found)
         for score, box, own in zip(each.scores, each.boxes, each.labels, strict=True) if own == label),
        key=lambda row: -row[0],
    )  # fmt: skip
    taken, right, wrong, precision, recall = set(), 0, 0, [], []
    count = sum(((each["labels"] == label) & ~each["difficult"]).sum() for each in targets)
    for _, image, box in rows:
        target, best, number = targets[image], -1.0, None
        for k in np.flatnonzero(target["labels"] == label):
            overlap = iou([box], [target["boxes"][k]], extent=1)[0, 0]
            if overlap > best:
                best, number = overlap, k
        if best > 0.5:
            if not target["difficult"][number]:
                if (image, number) not in taken:
                    right += 1
                    taken.add((image, number))
                else:
                    wrong += 1
        else:
            wrong += 1
        recall.append(right / count)
        precision.append(right / max(right + wrong, 1))
    recall, precision = np.array(recall), np.array(precision)
    if eleven:
        return np.mean([max(precision[recall >= t], default=0) for t in np.arange(0, 1.1, 0.1)])
    recall, precision = np.array([0, *recall, 1]), np.array([0, *precision, 0])
    for k in range(len(precision) - 1, 0, -1):
        precision[k - 1] = max(precision[k - 1], precision[k])
    return ((recall[1:] - recall[:-1]) * precision[1:]).sum()


@pytest.mark.parametrize("rule", ["voc2007", "voc2010"])
def test_voc_equals_its_own_program(rule):
    found, targets = random_case(11)
    result = measure(found, targets, rule)
    expected = [vocs(found, targets, label, rule == "voc2007") for label in range(3)]
    assert list(result.ap.values())[:3] == pytest.approx(expected)
    assert result.mean_ap == result.mean_ap50 == pytest.approx(np.mean(expected))
    assert result.objects == sum((~each["difficult"]).sum() for each in targets) and not result.ap_by_size


def found_at(*boxes, scores=None):
    scores = scores or np.linspace(0.9, 0.5, len(boxes))
    return Detections(np.array(boxes, "float32").reshape(-1, 4), np.zeros(len(boxes), "int64"), np.float32(scores))


@pytest.mark.parametrize("rule", ["coco", "voc2007", "voc2010"])
def test_perfect_and_doubled_detections(rule):
    boxes = np.array([[0, 0, 50, 50], [60, 60, 90, 99]], "float32")
    target = {"boxes": boxes, "labels": [0, 0]}
    nothing = {"boxes": np.zeros((0, 4)), "labels": []}
    assert measure([found_at(*boxes), Detections.none()], [target, nothing], rule, ["cat"]).mean_ap == pytest.approx(1)
    # A box that is found twice is wrong the second time
    doubled = measure([found_at(boxes[0], boxes[0], boxes[1])], [target], rule, ["cat"])
    assert doubled.mean_recall == 1 and 0.6 < doubled.mean_ap < 0.9
    missed = measure([Detections.none()], [target], rule, ["cat"])
    assert missed.mean_ap == missed.mean_recall == 0 and missed.counts == {"cat": 2}
    # An image without objects makes what is found in it wrong
    stray = measure([found_at(*boxes), found_at([0, 0, 9, 9], scores=[0.95])], [target, nothing], rule, ["cat"])
    assert stray.mean_ap < 0.8


def test_rows_that_only_fill_up_and_inverted_boxes_count_nothing():
    target = {"boxes": [[0, 0, 9, 9], [0, 0, 0, 0]], "labels": [0, -1]}
    result = measure([found_at([0, 0, 9, 9], [9, 9, 0, 0])], [target], "coco", ["cat"])
    assert result.objects == 1 and result.mean_ap == pytest.approx(1)


def test_a_result_is_reported(tmp_path):
    result = measure(*random_case(0), "coco")
    table = result.table()
    assert (
        len(table.rows) == 5 and table.rows[3] == ("unicorn", "0", "", "") and "COCO: mean over IoU" in table.notes[0]
    )
    assert "small" in table.notes[1] and set(result.summary()) <= set(result.to_json())
    result.draw(tmp_path / "new", "Three classes")
    assert Image.open(tmp_path / "new" / "precision_recall.png").width > 500


def test_what_cannot_be_measured_is_named():
    with pytest.raises(ArgumentError, match="Did you mean 'voc2010'"):
        BoxMetric(["cat"], "voc2006")
    with pytest.raises(ArgumentError, match="there are no images"):
        BoxMetric(["cat"]).result()
    with pytest.raises(ArgumentError, match="these 1 images have no object that counts"):
        measure([found_at([0, 0, 9, 9])], [{"boxes": np.zeros((0, 4)), "labels": []}], "coco", ["cat"])
