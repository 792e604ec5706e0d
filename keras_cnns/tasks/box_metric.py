"""Average precision of boxes, as PASCAL VOC and COCO measure it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns import _files, _render, typing
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.tasks.boxes import Boxes, Detections, areas, intersections, iou
from keras_cnns.tasks.task import Column, Metric, Result, Table, check_examples

POINTS = 101  # of a precision-recall curve
SIZES = {"all": (0.0, np.inf), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
WRONG, RIGHT, IGNORED = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Rule:
    """How boxes are compared, and how precision is averaged.

    Attributes:
        title: what a report says of it.
        thresholds: intersections over union that a right detection reaches.
        sizes: names in `SIZES` of the objects that are also measured alone.
        extent: pixels added to the sides of boxes, as in `boxes.iou`.
        most: number of detections of a class and image that count, the best ones; None: all.
    """

    title: str
    thresholds: tuple[float, ...] = (0.5,)
    sizes: tuple[str, ...] = ("all",)
    extent: float = 0.0
    most: int | None = None


_VOC = "boxes with their last row and column, difficult objects left out"
RULES = {
    "coco": Rule(
        "COCO: mean over IoU of 0.50 to 0.95, 101 points, crowds left out",
        tuple(np.linspace(0.5, 0.95, 10).tolist()),
        tuple(SIZES),
        most=100,
    ),
    "voc2010": Rule(f"PASCAL VOC since 2010: IoU above 0.5, area under the curve, {_VOC}", extent=1.0),
    "voc2007": Rule(f"PASCAL VOC 2007: IoU above 0.5, 11 points, {_VOC}", extent=1.0),
}


@dataclasses.dataclass(frozen=True)
class BoxResult(Result):
    """The metrics of detected boxes on a split.

    Attributes:
        examples: number of images.
        objects: number of objects that count.
        rule: name of the rule, a key of `RULES`.
        mean_ap: mean over classes of the average precision, 0 to 1, over those that have objects.
        mean_ap50: the same at an IoU of 0.5.
        mean_recall: mean over classes of the share of objects that are found, at the rule's IoU.
        ap: dictionary from class name to average precision, 0 to 1; None for a class without objects.
        recall: dictionary from class name to the share of its objects that are found; None without objects.
        counts: dictionary from class name to the number of objects that count.
        ap_by_size: dictionary from "small", "medium" and "large" (below 32x32 and 96x96 pixels) to the mean average
            precision; None without such objects, and empty if the rule has no sizes.
        curves: dictionary from class name to the precision at 101 values of recall from 0 to 1, at an IoU of 0.5.

    Reference:
        M. Everingham et al.: The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015, section 3;
        T. Lin et al.: Microsoft COCO: Common Objects in Context, ECCV 2014, and its program cocoeval.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns.tasks.box_metric import BoxMetric
        >>> from keras_cnns.tasks.boxes import Detections
        >>> metric = BoxMetric(["cat"], rule="voc2007")
        >>> found = Detections(np.array([[0, 0, 9, 9]], "float32"), np.array([0]), np.array([0.9], "float32"))
        >>> metric.update([found], [{"boxes": [[0, 0, 9, 9]], "labels": [0]}])
        >>> metric.result().headline
        'mAP 100.00% (voc2007), recall 100.00%'
    """

    examples: int
    objects: int
    rule: str
    mean_ap: float
    mean_ap50: float
    mean_recall: float
    ap: Mapping[str, float | None]
    recall: Mapping[str, float | None]
    counts: Mapping[str, int]
    ap_by_size: Mapping[str, float | None]
    curves: Mapping[str, tuple[float, ...]]

    @property
    def headline(self) -> str:
        """Mean average precision and recall, as `Result.headline`."""
        return f"mAP {self.mean_ap:.2%} ({self.rule}), recall {self.mean_recall:.2%}"

    def summary(self) -> dict[str, float]:
        """Return numbers of images and objects, and the means, as `Result.summary`."""
        return {name: getattr(self, name) for name in ("examples", "objects", "mean_ap", "mean_ap50", "mean_recall")}

    def table(self) -> Table:
        """Return objects, average precision and recall of each class, as `Result.table`."""

        def percent(value):
            return "" if value is None else f"{value:.2%}"

        rows = [
            (name, f"{self.counts[name]:,}", percent(self.ap[name]), percent(self.recall[name])) for name in self.ap
        ]
        rows.append(("mean", f"{self.objects:,}", percent(self.mean_ap), percent(self.mean_recall)))
        columns: tuple[Column, ...] = (
            ("class", "left", 0),
            ("objects", "right", 1),
            ("AP", "right", 0),
            ("recall", "right", 2),
        )
        notes = [RULES[self.rule].title + f"; at 0.50 alone {self.mean_ap50:.2%}"]
        if self.ap_by_size:
            by_size = ", ".join(f"{name} {percent(value) or 'none'}" for name, value in self.ap_by_size.items())
            notes.append(f"objects by size: {by_size}")
        return Table(columns, tuple(rows), tuple(notes))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {**dataclasses.asdict(self), "curves": {name: list(curve) for name, curve in self.curves.items()}}

    def draw(self, folder: typing.Path, title: str) -> None:
        """Draw precision_recall.png, as `Result.draw`."""
        _files.make_folder(folder)
        curves = {name: curve for name, curve in self.curves.items() if self.ap[name] is not None}
        _render.precision_recall(curves, Path(folder) / "precision_recall.png", f"{title}\n{RULES[self.rule].title}")


class BoxMetric(Metric):
    """Which detections are right, from which a `BoxResult` follows.

    It keeps some 40 bytes for each detection.

    Args:
        class_names: names of the classes, in the order of the labels.
        rule: "coco", "voc2010" or "voc2007".

    Raises:
        ArgumentError: for an unknown rule.
    """

    def __init__(self, class_names: Sequence[str], rule: str = "coco"):
        if rule not in RULES:
            raise ArgumentError(
                f"`rule` must be one of {', '.join(RULES)}.{nearest(rule, RULES)} Received: rule={rule!r}"
            )
        self.class_names, self.rule = tuple(class_names), rule
        self.examples = 0
        # For each class the scores, and (sizes, thresholds, detections) of WRONG, RIGHT or IGNORED, image by image
        self._scores: list[list[NDArray[np.float32]]] = [[] for _ in self.class_names]
        self._verdicts: list[list[NDArray[np.int8]]] = [[] for _ in self.class_names]
        self._objects = np.zeros((len(self.class_names), len(RULES[rule].sizes)), "int64")

    def update(self, predictions: Iterable[Detections], targets: Iterable[Mapping[str, Any]]) -> None:
        """Add images, as `Metric.update`.

        Args:
            predictions: the detections of each image.
            targets: for each image a dictionary with "boxes" (n, 4) and "labels" (n,), which are -1 in rows that only
                fill up; and if known "difficult" and "crowd", both bool (n,), and "areas" (n,), in square pixels, by
                which COCO sorts objects; otherwise the areas of the boxes.
        """
        for found, target in zip(predictions, targets, strict=True):
            labels = np.asarray(target["labels"], "int64").reshape(-1)
            boxes = np.asarray(target["boxes"], "float64").reshape(-1, 4)
            flag = "crowd" if self.rule == "coco" else "difficult"
            is_left_out = np.asarray(target.get(flag, np.zeros(len(labels), bool)), bool)
            sizes = np.asarray(target.get("areas", areas(boxes)), "float64")
            for label in range(len(self.class_names)):
                truths, best = labels == label, np.flatnonzero(found.labels == label)
                if not truths.any() and not len(best):
                    continue
                best = best[np.argsort(-found.scores[best], kind="stable")][: RULES[self.rule].most]
                self._scores[label].append(found.scores[best])
                verdicts = self._judge(found.boxes[best], boxes[truths], is_left_out[truths], sizes[truths], label)
                self._verdicts[label].append(verdicts)
            self.examples += 1

    def _judge(
        self,
        found: Boxes,
        truths: Boxes,
        is_left_out: NDArray[np.bool_],
        truth_areas: NDArray[np.float64],
        label: int,
    ) -> NDArray[np.int8]:
        """Return which detections of a class are right in an image."""
        rule = RULES[self.rule]
        verdicts = np.zeros((len(rule.sizes), len(rule.thresholds), len(found)), "int8")
        if self.rule != "coco":
            self._objects[label] += np.count_nonzero(~is_left_out)
            verdicts[0, 0] = _judge_voc(iou(found, truths, rule.extent), is_left_out, rule.thresholds[0])
            return verdicts
        common = intersections(found, truths)
        # A crowd is a region of many objects: what lies in it is compared with the detection alone
        overlaps = np.where(
            is_left_out,
            np.divide(common, areas(found)[:, None], out=np.zeros_like(common), where=areas(found)[:, None] > 0),
            iou(found, truths),
        )
        largest = overlaps.max(initial=0) + 1e-9
        for number, size in enumerate(rule.sizes):
            low, high = SIZES[size]
            is_out = is_left_out | (truth_areas < low) | (truth_areas > high)
            self._objects[label, number] += np.count_nonzero(~is_out)
            is_other_size = (areas(found) < low) | (areas(found) > high)
            verdicts[number] = np.where(is_other_size, IGNORED, WRONG)
            for k, threshold in enumerate(rule.thresholds):
                if threshold <= largest:  # otherwise no detection finds an object
                    verdicts[number, k] = _judge_coco(overlaps, is_out, is_left_out, is_other_size, threshold)
        return verdicts

    def result(self) -> BoxResult:
        """Return the `BoxResult` so far, as `Metric.result`.

        Raises:
            ArgumentError: if there was no image, or no object that counts.
        """
        check_examples(self.examples)
        if not self._objects[:, 0].any():
            raise ArgumentError(
                f"these {self.examples} images have no object that counts, so that nothing can be measured. "
                "Received: objects=0"
            )
        rule = RULES[self.rule]
        shape = (len(self.class_names), len(rule.sizes), len(rule.thresholds))
        ap, recall = np.full(shape, np.nan), np.full(shape, np.nan)
        curves = np.zeros((len(self.class_names), POINTS))
        for place in np.ndindex(*shape):
            label, size, threshold = place
            if count := int(self._objects[label, size]):
                ap[place], recall[place], curve = self._average_precision(label, size, threshold, count)
                if size == 0 and threshold == 0:
                    curves[label] = curve
        return BoxResult(
            examples=self.examples,
            objects=int(self._objects[:, 0].sum()),
            rule=self.rule,
            mean_ap=float(np.nanmean(ap[:, 0])),
            mean_ap50=float(np.nanmean(ap[:, 0, 0])),
            mean_recall=float(np.nanmean(recall[:, 0])),
            ap=self._by_name(ap[:, 0].mean(-1)),
            recall=self._by_name(recall[:, 0].mean(-1)),
            counts=dict(zip(self.class_names, self._objects[:, 0].tolist(), strict=True)),
            ap_by_size={
                size: None if np.isnan(ap[:, k]).all() else float(np.nanmean(ap[:, k]))
                for k, size in enumerate(rule.sizes)
                if k
            },
            curves={name: tuple(curve) for name, curve in zip(self.class_names, curves.tolist(), strict=True)},
        )

    def _average_precision(
        self, label: int, size: int, threshold: int, count: int
    ) -> tuple[float, float, NDArray[np.float64]]:
        """Return average precision, recall, and the precision at 101 values of recall."""
        if not self._scores[label]:
            return 0.0, 0.0, np.zeros(POINTS)
        order = np.argsort(-np.concatenate(self._scores[label]), kind="stable")
        verdicts = np.concatenate([part[size, threshold] for part in self._verdicts[label]])[order]
        right, wrong = np.cumsum(verdicts == RIGHT), np.cumsum(verdicts == WRONG)
        recall = right / count
        precision = right / np.maximum(right + wrong, 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision of at least this recall
        padded = np.append(envelope, 0.0)
        curve = padded[np.searchsorted(recall, np.linspace(0, 1, POINTS), side="left")]
        if self.rule == "coco":
            average = curve.mean()
        elif self.rule == "voc2007":
            average = padded[np.searchsorted(recall, np.arange(0.0, 1.1, 0.1), side="left")].mean()
        else:
            average = np.sum(np.diff(recall, prepend=0.0) * envelope)
        return float(average), float(recall[-1]) if len(recall) else 0.0, curve

    def _by_name(self, values: NDArray[np.float64]) -> dict[str, float | None]:
        return {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(self.class_names, values, strict=True)
        }


def _judge_voc(overlaps: NDArray[np.float64], is_difficult: NDArray[np.bool_], threshold: float) -> NDArray[np.int8]:
    """Return the verdicts by the rule of PASCAL VOC.

    Each detection is compared with the object that it overlaps most, whether that is found already or not.

    Args:
        overlaps: (detections, objects), the best detection first.
        is_difficult: of each object.
        threshold: the overlap must be larger.
    """
    verdicts, taken = np.full(len(overlaps), WRONG, "int8"), set()
    for place in np.flatnonzero(overlaps.max(1, initial=0) > threshold):
        number = int(overlaps[place].argmax())
        if is_difficult[number]:
            verdicts[place] = IGNORED
        elif number not in taken:
            verdicts[place] = RIGHT
            taken.add(number)
    return verdicts


def _judge_coco(
    overlaps: NDArray[np.float64],
    is_out: NDArray[np.bool_],
    is_crowd: NDArray[np.bool_],
    is_other_size: NDArray[np.bool_],
    threshold: float,
) -> NDArray[np.int8]:
    """Return the verdicts by the rule of COCO.

    Each detection gets the object that it overlaps most among those that are free; objects that count go first.

    Args:
        overlaps: (detections, objects), the best detection first.
        is_out: whether an object does not count.
        is_crowd: whether an object is a region that any number of detections may share.
        is_other_size: whether a detection does not count unless it finds an object.
        threshold: the overlap must be at least this.
    """
    verdicts = np.where(is_other_size, IGNORED, WRONG).astype("int8")
    is_free = np.ones(overlaps.shape[1], bool)
    reaches = overlaps >= min(threshold, 1 - 1e-10)
    for place in np.flatnonzero(reaches.any(1)):
        candidates = np.flatnonzero(reaches[place] & is_free)
        counting = candidates[~is_out[candidates]]
        candidates = counting if len(counting) else candidates
        if len(candidates):
            # Of equal overlaps the last, as in the original program
            number = candidates[::-1][overlaps[place, candidates[::-1]].argmax()]
            verdicts[place] = IGNORED if is_out[number] else RIGHT
            is_free[number] = is_crowd[number]
    return verdicts
