"""How well maps predict the class of each pixel. NumPy only."""

import dataclasses
import heapq
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns import _files, _render, typing
from keras_cnns.data.masks import IGNORE
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks.task import Column, Metric, Result, Table, check_examples, check_finite

Map = NDArray[np.float32]  # (height, width, classes), probabilities
ClassMap = NDArray[np.uint8]  # (height, width), the class of each pixel; 255 is not counted

KEPT = 8  # places of the worst images that are kept


@dataclasses.dataclass(frozen=True)
class MaskResult(Result):
    """The metrics of class maps on a split.

    They come from one count over all its pixels. A pixel whose class is not known (255) does not count. n_ij is the
    number of pixels of class i that are predicted as class j, and t_i the number of pixels of class i.

    Attributes:
        examples: number of images.
        pixels: number of pixels whose class is known.
        pixel_accuracy: sum of n_ii / sum of t_i, 0 to 1.
        mean_accuracy: mean over classes of n_ii / t_i, 0 to 1, over those that have pixels.
        mean_iou: mean over classes of n_ii / (t_i + sum of n_ji - n_ii), the intersection over union, 0 to 1. A class
            without pixels, true or predicted, is left out.
        frequency_weighted_iou: the same, each class weighted by its share of the pixels.
        loss: mean cross-entropy per pixel, in nats.
        iou: dictionary from class name to intersection over union, 0 to 1; None for a class that is left out.
        accuracy: dictionary from class name to n_ii / t_i, 0 to 1; None for a class without pixels.
        confusion: n_ij, row by row.
        worst: dictionary from the places in the split of up to 8 images to their own mean IoU, 0 to 1, the worst first.
            Images without mistakes are not among them.

    Reference:
        J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, section 5.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import tasks
        >>> metric = tasks.MaskMetric(["background", "cat"])
        >>> probabilities = np.array([[[0.9, 0.1], [0.4, 0.6]]])
        >>> metric.update([probabilities], [np.array([[0, 0]], "uint8")])
        >>> metric.result().headline
        'mean IoU 25.00%, pixel accuracy 50.00%, loss 0.5108'
    """

    examples: int
    pixels: int
    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    loss: float
    iou: Mapping[str, float | None]
    accuracy: Mapping[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    worst: Mapping[int, float] = dataclasses.field(default_factory=dict)

    @property
    def headline(self) -> str:
        """Mean IoU, pixel accuracy and loss, as `Result.headline`."""
        return f"mean IoU {self.mean_iou:.2%}, pixel accuracy {self.pixel_accuracy:.2%}, loss {self.loss:.4f}"

    def summary(self) -> dict[str, float]:
        """Return numbers of images and pixels, and the means, as `Result.summary`."""
        names = ("examples", "pixels", "pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", "loss")
        return {name: getattr(self, name) for name in names}

    def table(self) -> Table:
        """Return share, accuracy and IoU of each class, as `Result.table`."""
        totals = [sum(counts) for counts in self.confusion]

        def percent(value):
            return "" if value is None else f"{value:.2%}"

        rows = [
            (name, percent(total / self.pixels), percent(self.accuracy[name]), percent(self.iou[name]))
            for name, total in zip(self.iou, totals, strict=True)
        ]
        rows.append(("mean", "", percent(self.mean_accuracy), percent(self.mean_iou)))
        columns: tuple[Column, ...] = (
            ("class", "left", 0),
            ("pixels", "right", 0),
            ("accuracy", "right", 1),
            ("IoU", "right", 0),
        )
        note = (
            f"{self.pixels:,} pixels of {self.examples:,} images; IoU weighted by frequency "
            f"{self.frequency_weighted_iou:.2%}"
        )
        return Table(columns, tuple(rows), (note,))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        worst = [{"place": place, "mean_iou": value} for place, value in self.worst.items()]
        return {**dataclasses.asdict(self), "confusion": list(map(list, self.confusion)), "worst": worst}

    def draw(self, folder: typing.Path, title: str) -> None:
        """Draw confusion.png, in percent of each class's pixels, as `Result.draw`."""
        folder, counts = Path(folder), np.array(self.confusion, "float64")
        percent = np.round(100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)).astype("int64")
        _files.make_folder(folder)
        title = f"{title}\npercent of the pixels of each class"
        _render.confusion_matrix(tuple(map(tuple, percent.tolist())), list(self.iou), folder / "confusion.png", title)


class MaskMetric(Metric):
    """A count over all pixels, from which a `MaskResult` follows.

    Args:
        class_names: names of the classes, in the order of the probabilities.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import tasks
        >>> metric = tasks.MaskMetric(["background", "cat"])
        >>> metric.update([np.array([[[0.9, 0.1]]])], [np.array([[0]], "uint8")])
        >>> metric.result().pixel_accuracy
        1.0
    """

    def __init__(self, class_names: Sequence[str]):
        self.class_names = tuple(class_names)
        self.confusion = np.zeros((len(self.class_names),) * 2, "int64")
        self.examples, self.entropy = 0, 0.0
        self._worst: list[tuple[float, int]] = []  # a heap of (-mean IoU, -place), so that the best of them is first

    def update(self, predictions: Iterable[Map], targets: Iterable[ClassMap]) -> None:
        """Add images, as `Metric.update`.

        Args:
            predictions: for each image probabilities (height, width, classes).
            targets: for each image its mask, uint8 (height, width).

        Raises:
            ArgumentError: if a probability is NaN or infinite, or a mask has another size or unknown classes.
        """
        classes = len(self.class_names)
        for probabilities, mask in zip(predictions, targets, strict=True):
            if probabilities.shape != (*mask.shape, classes):
                raise ArgumentError(
                    f"a map of {classes} classes must have the size of its mask, {mask.shape}. "
                    f"Received: shape={probabilities.shape}"
                )
            is_known = mask != IGNORE
            labels, known = mask[is_known].astype("int64"), probabilities[is_known]
            if labels.size and labels.max() >= classes:
                raise ArgumentError(
                    f"a mask has class {labels.max()}, and there are {classes} classes; pixels that shall not count "
                    f"must be {IGNORE}. Received: class_names={self.class_names[:10]}"
                )
            check_finite(known)
            pairs = classes * labels + known.argmax(-1)
            counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
            self.confusion += counts
            self._remember(counts)
            true_class = np.take_along_axis(known, labels[:, None], axis=-1).astype("float64")
            self.entropy -= float(np.log(np.maximum(true_class, 1e-12)).sum())
            self.examples += 1

    def _remember(self, counts: NDArray[np.int64]) -> None:
        """Keep the place of an image that is among the worst."""
        if counts.sum() > counts.trace():
            iou = float(np.nanmean(_iou(counts)))
            change = heapq.heappush if len(self._worst) < KEPT else heapq.heappushpop
            change(self._worst, (-iou, -self.examples))

    def result(self) -> MaskResult:
        """Return the `MaskResult` so far, as `Metric.result`.

        Raises:
            ArgumentError: if there was no pixel whose class is known.
        """
        check_examples(self.examples)
        pixels, totals, hits = int(self.confusion.sum()), self.confusion.sum(1), self.confusion.diagonal()
        if not pixels:
            raise ArgumentError(
                f"no pixel of these {self.examples} images has a known class: all are {IGNORE}. Received: pixels=0"
            )
        accuracy, iou = _shares(hits, totals), _iou(self.confusion)
        return MaskResult(
            examples=self.examples,
            pixels=pixels,
            pixel_accuracy=float(hits.sum() / pixels),
            mean_accuracy=float(np.nanmean(accuracy)),
            mean_iou=float(np.nanmean(iou)),
            frequency_weighted_iou=float(np.nansum(totals / pixels * iou)),
            loss=self.entropy / pixels,
            iou=self._by_name(iou),
            accuracy=self._by_name(accuracy),
            confusion=tuple(map(tuple, self.confusion.tolist())),
            worst={-place: -value for value, place in sorted(self._worst, reverse=True)},
        )

    def _by_name(self, values: NDArray[np.float64]) -> dict[str, float | None]:
        return {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(self.class_names, values, strict=True)
        }


def _iou(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the IoU of each class; NaN where it is absent."""
    hits = confusion.diagonal()
    return _shares(hits, confusion.sum(0) + confusion.sum(1) - hits)


def _shares(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return parts / wholes; NaN where the whole is zero."""
    return np.divide(parts, wholes, out=np.full(len(parts), np.nan), where=wholes > 0)
