"""How well probabilities predict classes: top-1, top-5, loss, calibration. NumPy only."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_cnns import _files, _render, typing
from keras_cnns.tasks.task import Column, Metric, Result, Table, check_examples, check_finite
from keras_cnns.typing import Labels, Probabilities

BINS = 15  # number of bins of the reliability curve, as in Guo et al.


@dataclasses.dataclass(frozen=True)
class Bin:
    """Images whose most probable class has a similar probability.

    Attributes:
        examples: number of images.
        confidence: mean probability of their most probable class, 0 to 1.
        accuracy: share of the images for which that class is correct, 0 to 1.
    """

    examples: int
    confidence: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class ClassResult(Result):
    """The metrics of a classifier on a split.

    Attributes:
        examples: number of images, each counted once.
        top1: share of images whose most probable class is correct, 0 to 1; the first class wins a tie.
        top5: share of images whose class is among the five most probable, 0 to 1; 1.0 with five classes or fewer.
        loss: mean cross-entropy per image, in nats.
        per_class: dictionary from class name to the top-1 of its images, 0 to 1, which is its recall; None for a class
            without images.
        confusion: number of images of each true class (row) that are predicted as each class (column).
        calibration_error: expected calibration error, 0 to 1: the difference between confidence and accuracy, averaged
            over all images.
        reliability: one `Bin` for each fifteenth of the confidence that has images, from low to high.

    Examples:
        >>> from keras_cnns import evaluation
        >>> result = evaluation.score([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1], ["cat", "dog"])
        >>> print(f"{result.top1:.1%} of {result.examples} images")
        66.7% of 3 images
        >>> result.recall, result.confusion
        ({'cat': 0.5, 'dog': 1.0}, ((1, 1), (0, 1)))

    Reference:
        Calibration: C. Guo, G. Pleiss, Y. Sun, K. Weinberger: On Calibration of Modern Neural Networks, ICML 2017,
        section 2.
    """

    examples: int
    top1: float
    top5: float
    loss: float
    per_class: Mapping[str, float | None]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float
    reliability: tuple[Bin, ...]

    @property
    def precision(self) -> dict[str, float | None]:
        """Dictionary from class name to precision, 0 to 1.

        It is the share of the images predicted as this class that belong to it; None if no image was predicted as it.
        """
        predicted = np.sum(self.confusion, axis=0).tolist()
        return {
            name: self.confusion[k][k] / predicted[k] if predicted[k] else None for k, name in enumerate(self.per_class)
        }

    @property
    def recall(self) -> dict[str, float | None]:
        """Dictionary from class name to recall, 0 to 1, as in `per_class`.

        It is the share of the images of this class that are predicted as it; None for a class without images.
        """
        return dict(self.per_class)

    @property
    def f1(self) -> dict[str, float | None]:
        """Dictionary from class name to F1, 0 to 1.

        F1 is the harmonic mean of precision and recall. It is 0 for a class with images if no image is predicted
        correctly. It is None for a class that no image belongs to and none is predicted as.
        """
        sums = (np.sum(self.confusion, axis=0) + np.sum(self.confusion, axis=1)).tolist()
        return {name: 2 * self.confusion[k][k] / sums[k] if sums[k] else None for k, name in enumerate(self.per_class)}

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        values = dataclasses.asdict(self)
        return {
            **values,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "confusion": list(map(list, self.confusion)),
            "reliability": list(values["reliability"]),
        }

    @property
    def headline(self) -> str:
        """Top-1, top-5 and loss, as `Result.headline`."""
        # With five classes or fewer, top-5 is always 100 %
        top5 = f" top-5 {self.top5:.2%}," if len(self.per_class) > 5 else ""
        return f"top-1 {self.top1:.2%},{top5} loss {self.loss:.4f}"

    def summary(self) -> dict[str, float]:
        """Return number of images, top-1, top-5 and loss, as `Result.summary`."""
        return {key: getattr(self, key) for key in ("examples", "top1", "top5", "loss")}

    def table(self) -> Table:
        """Return recall, precision and F1 of each class, as `Result.table`."""
        measures = (self.recall, self.precision, self.f1)
        rows = [
            (name, f"{sum(counts):,}", *("" if (value := of[name]) is None else f"{value:.2%}" for of in measures))
            for name, counts in zip(self.per_class, self.confusion, strict=True)
        ]
        rows.append(("all", f"{self.examples:,}", f"{self.top1:.2%}", "", ""))
        columns: tuple[Column, ...] = (
            ("class", "left", 0),
            ("images", "right", 0),
            ("recall", "right", 0),
            ("precision", "right", 1),
            ("F1", "right", 2),
        )
        return Table(columns, tuple(rows), (f"expected calibration error {self.calibration_error:.2%}",))

    def draw(self, folder: typing.Path, title: str) -> None:
        """Draw confusion.png and reliability.png, as `Result.draw`."""
        folder = Path(folder)
        _files.make_folder(folder)
        _render.confusion_matrix(self.confusion, list(self.per_class), folder / "confusion.png", title)
        _render.reliability(self.reliability, self.calibration_error, folder / "reliability.png", title)


class ClassMetric(Metric):
    """Counts of right and wrong classes, from which a `ClassResult` follows.

    Args:
        class_names: names of the classes, in the order of the probabilities.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import tasks
        >>> metric = tasks.ClassMetric(["cat", "dog"])
        >>> for probabilities, labels in [([[0.9, 0.1]], [0]), ([[0.4, 0.6]], [0])]:
        ...     metric.update(np.array(probabilities), np.array(labels))
        >>> metric.result().top1
        0.5
    """

    def __init__(self, class_names: Sequence[str]):
        self.class_names = tuple(class_names)
        self.confusion = np.zeros((len(self.class_names),) * 2, "int64")
        self.in_top5, self.entropy = 0, 0.0
        # Of each bin of confidence: number of images, sum of confidences, number of correct ones
        self.bins = np.zeros((3, BINS))

    def update(self, predictions: Probabilities, targets: Labels) -> None:
        """Add a batch, as `Metric.update`.

        Args:
            predictions: float array (images, classes).
            targets: whole numbers (images,), the true classes.

        Raises:
            ArgumentError: if a probability is NaN or infinite.
        """
        probabilities, labels = np.asarray(predictions, "float64"), np.asarray(targets, "int64")
        check_finite(probabilities)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        correct = order[:, 0] == labels
        np.add.at(self.confusion, (labels, order[:, 0]), 1)
        self.in_top5 += int((order[:, :5] == labels[:, None]).any(1).sum())
        true_class = probabilities[np.arange(len(labels)), labels]
        self.entropy += float(-np.log(np.maximum(true_class, 1e-12)).sum())
        confidence = probabilities.max(1)
        numbers = np.minimum((confidence * BINS).astype("int64"), BINS - 1)
        for sums, weights in zip(self.bins, (None, confidence, correct), strict=True):
            sums += np.bincount(numbers, weights, BINS)

    def result(self) -> ClassResult:
        """Return the `ClassResult` so far, as `Metric.result`."""
        examples, totals = int(self.confusion.sum()), self.confusion.sum(1)
        check_examples(examples)
        hits = self.confusion.diagonal()
        counts, confidences, correct = (sums[self.bins[0] > 0] for sums in self.bins)
        return ClassResult(
            examples=examples,
            top1=float(hits.sum() / examples),
            top5=self.in_top5 / examples,
            loss=self.entropy / examples,
            per_class={
                name: float(hits[k] / totals[k]) if totals[k] else None for k, name in enumerate(self.class_names)
            },
            confusion=tuple(map(tuple, self.confusion.tolist())),
            # The difference of the means in a bin, times its images, is the difference of the sums
            calibration_error=float(np.abs(confidences - correct).sum() / examples),
            reliability=tuple(
                Bin(int(count), float(confidence / count), float(right / count))
                for count, confidence, right in zip(counts, confidences, correct, strict=True)
            ),
        )
