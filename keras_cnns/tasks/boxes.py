"""Arithmetic of boxes: overlaps, matching and suppression. NumPy only.

Boxes are float32 (n, 4), each top, left, bottom, right in pixels ("yxyx" in `keras.utils.bounding_boxes`, whose
functions convert and encode them).
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from keras_cnns.errors import ArgumentError

BLOCK = 128  # boxes whose overlaps with others are computed together
Boxes = NDArray[np.float32]  # (n, 4): top, left, bottom, right


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """The objects that a model finds in an image.

    Attributes:
        boxes: float32 (n, 4), top, left, bottom, right in pixels of the image.
        labels: int64 (n,), numbers of classes.
        scores: float32 (n,), best first.

    Examples:
        >>> from keras_cnns.tasks.boxes import Detections
        >>> len(Detections.none())
        0
    """

    boxes: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def none(cls) -> "Detections":
        """Return the detections of an image without objects."""
        return cls(np.zeros((0, 4), "float32"), np.zeros(0, "int64"), np.zeros(0, "float32"))

    def above(self, score: float) -> "Detections":
        """Return the detections of at least a score.

        Args:
            score: 0 to 1.
        """
        is_kept = self.scores >= score
        return Detections(self.boxes[is_kept], self.labels[is_kept], self.scores[is_kept])

    def __len__(self) -> int:
        return len(self.scores)


def intersections(first: Boxes, second: Boxes, extent: float = 0.0) -> NDArray[np.float64]:
    """Return the common area of all pairs of boxes.

    Args:
        first: boxes (n, 4).
        second: boxes (m, 4).
        extent: added to each side, as in `iou`.

    Returns:
        float64 (n, m), in square pixels.
    """
    first, second = (np.asarray(boxes, "float64").reshape(-1, 4) for boxes in (first, second))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return np.maximum(high - low + extent, 0).prod(-1)


def areas(boxes: Boxes, extent: float = 0.0) -> NDArray[np.float64]:
    """Return the areas of boxes, which are 0 for inverted ones.

    Args:
        boxes: boxes (n, 4).
        extent: added to each side, as in `iou`.

    Returns:
        float64 (n,), in square pixels.
    """
    boxes = np.asarray(boxes, "float64").reshape(-1, 4)
    return np.maximum(boxes[:, 2:] - boxes[:, :2] + extent, 0).prod(-1)


def iou(first: Boxes, second: Boxes, extent: float = 0.0) -> NDArray[np.float64]:
    """Return the intersection over union of all pairs of boxes.

    Args:
        first: boxes (n, 4).
        second: boxes (m, 4).
        extent: added to each side. 1 takes the last row and column for a part of the box, as PASCAL VOC's program does.

    Returns:
        float64 (n, m), 0 to 1; 0 where both boxes have no area.

    Examples:
        >>> from keras_cnns.tasks.boxes import iou
        >>> iou([[0, 0, 4, 4]], [[0, 2, 4, 6], [8, 8, 9, 9]]).round(3).tolist()
        [[0.333, 0.0]]
    """
    common = intersections(first, second, extent)
    union = areas(first, extent)[:, None] + areas(second, extent) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def match(overlaps: NDArray[np.float64], threshold: float = 0.5) -> NDArray[np.int64]:
    """Return which object each default box is to find.

    First the pair of the largest overlap is matched, then the largest one of the others, and so on, until each object
    has a default box. Then every other default box gets the object that it overlaps most, if by enough.

    Args:
        overlaps: intersections over union, (default boxes, objects).
        threshold: smallest overlap of the second step.

    Returns:
        int64 (default boxes,): the number of an object, or -1. An object that overlaps no default box has none.

    Reference:
        W. Liu et al.: SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns.tasks.boxes import match
        >>> match(np.array([[0.3, 0.4], [0.2, 0.1], [0.6, 0.0]])).tolist()
        [1, -1, 0]
    """
    overlaps = np.asarray(overlaps, "float64")
    if overlaps.ndim != 2:
        raise ArgumentError(f"`overlaps` must be (default boxes, objects). Received: shape={overlaps.shape}")
    matches = np.full(len(overlaps), -1, "int64")
    if not overlaps.size:
        return matches
    free = overlaps.copy()
    for _ in range(min(free.shape)):
        place, number = np.unravel_index(free.argmax(), free.shape)
        if free[place, number] <= 0:
            break
        matches[place] = number
        free[place], free[:, number] = -1, -1
    best = overlaps.argmax(1)
    is_near = (matches < 0) & (overlaps[np.arange(len(best)), best] >= threshold)
    matches[is_near] = best[is_near]
    return matches


def suppress(boxes: Boxes, scores: NDArray[np.float32], threshold: float, limit: int) -> NDArray[np.int64]:
    """Return the places of boxes that overlap no better one.

    Args:
        boxes: boxes (n, 4).
        scores: (n,).
        threshold: boxes whose intersection over union with a kept one is larger are left out.
        limit: largest number of boxes.

    Returns:
        int64, the best first; of equal scores the first.

    Examples:
        >>> from keras_cnns.tasks.boxes import suppress
        >>> suppress([[0, 0, 4, 4], [0, 0, 4, 5], [8, 8, 9, 9]], [0.7, 0.9, 0.1], 0.5, 10).tolist()
        [1, 2]
    """
    order = np.argsort(-np.asarray(scores, "float32"), kind="stable")
    sides = np.asarray(boxes, "float32").reshape(-1, 4)[order].T
    kept: list[int] = []
    is_waiting = np.ones(len(order), bool)
    for start in range(0, len(order), BLOCK):
        # The overlaps of some of the best with all that follow are computed at once
        block = slice(start, min(start + BLOCK, len(order)))
        overlaps = _overlaps(sides[:, block], sides[:, start:]) > threshold
        for place in range(block.start, block.stop):
            if is_waiting[place]:
                kept.append(place)
                if len(kept) == limit:
                    return order[kept]
                is_waiting[start:] &= ~overlaps[place - start]
    return order[kept]


def _overlaps(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return intersections over union of boxes (4, n) and (4, m)."""
    top, left, bottom, right = first[:, :, None]
    common = np.minimum(bottom, second[2]) - np.maximum(top, second[0])
    np.maximum(common, 0, out=common)
    common *= np.maximum(np.minimum(right, second[3]) - np.maximum(left, second[1]), 0)
    areas, others = ((box[2] - box[0]) * (box[3] - box[1]) for box in ((top, left, bottom, right), second))
    return common / np.maximum(areas + others - common, np.float32(1e-6))


def best_detections(
    boxes: Boxes,
    scores: NDArray[np.float32],
    *,
    least_score: float = 0.01,
    candidates: int = 400,
    threshold: float = 0.45,
    limit: int = 200,
) -> Detections:
    """Return an image's best detections, without repetitions.

    The defaults are SSD's.

    Args:
        boxes: boxes (n, 4).
        scores: float32 (n, classes), without a background.
        least_score: detections of a lower or equal score are left out.
        candidates: number of boxes of each class that are compared, the best ones.
        threshold: as in `suppress`, which is applied class by class.
        limit: number of detections, the best ones of all classes.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns.tasks.boxes import best_detections
        >>> found = best_detections([[0, 0, 4, 4], [0, 0, 4, 5]], np.array([[0.7, 0.2], [0.9, 0.0]]))
        >>> found.labels.tolist(), found.scores.tolist(), found.boxes[:, 3].tolist()
        ([0, 1], [0.9, 0.2], [5.0, 4.0])
    """
    boxes, scores = np.asarray(boxes, "float32").reshape(-1, 4), np.asarray(scores)
    by_class = np.ascontiguousarray(scores.T)
    places, labels = [np.zeros(0, "int64")], [np.zeros(0, "int64")]
    for number, of_class in enumerate(by_class):
        above = np.flatnonzero(of_class > least_score)
        above = above[np.argsort(-of_class[above], kind="stable")][:candidates]
        kept = above[suppress(boxes[above], of_class[above], threshold, limit)]
        places.append(kept)
        labels.append(np.full(len(kept), number))
    place, label = np.concatenate(places), np.concatenate(labels)
    order = np.argsort(-scores[place, label], kind="stable")[:limit]
    place, label = place[order], label[order]
    return Detections(boxes[place], label, scores[place, label])
