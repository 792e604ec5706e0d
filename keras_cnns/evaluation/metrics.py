"""Metrics of predicted probabilities. NumPy only."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_cnns.errors import ArgumentError

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
class Result:
    """The metrics of a model on a split.

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

    def summary(self) -> dict[str, float]:
        """Return the scalar metrics, which model files and manifests keep."""
        return {key: getattr(self, key) for key in ("examples", "top1", "top5", "loss")}


def score(probabilities: ArrayLike, labels: ArrayLike, class_names: Sequence[str]) -> Result:
    """Return the `Result` of predicted probabilities.

    Args:
        probabilities: float array (images, classes).
        labels: whole numbers (images,), the true classes.
        class_names: one name per column.

    Raises:
        ArgumentError: (a ValueError) if there is no image, or a probability is NaN or infinite.

    Examples:
        >>> from keras_cnns import evaluation
        >>> evaluation.score([[0.9, 0.1], [0.4, 0.6]], [0, 0], ["cat", "dog"]).top1
        0.5
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels, "int64")
    check_examples(len(labels))
    if not np.isfinite(probabilities).all():
        raise ArgumentError("the model outputs NaN or infinite values; train it again.")
    classes = len(class_names)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    confusion = np.zeros((classes, classes), "int64")
    np.add.at(confusion, (labels, order[:, 0]), 1)
    totals = confusion.sum(1)
    true_class = probabilities[np.arange(len(labels)), labels]
    calibration_error, reliability = _calibration(probabilities.max(1), order[:, 0] == labels)
    return Result(
        examples=len(labels),
        top1=float(np.mean(order[:, 0] == labels)),
        top5=float(np.mean((order[:, :5] == labels[:, None]).any(1))),
        loss=float(-np.log(np.maximum(true_class, 1e-12)).mean()),
        per_class={
            name: float(confusion[k, k] / totals[k]) if totals[k] else None for k, name in enumerate(class_names)
        },
        confusion=tuple(map(tuple, confusion.tolist())),
        calibration_error=calibration_error,
        reliability=reliability,
    )


def check_examples(count: int) -> None:
    """Raise ArgumentError if a split to evaluate on is empty.

    Args:
        count: number of images.
    """
    if not count:
        raise ArgumentError("there are no images to measure on: the split is empty. Received: examples=0")


def _calibration(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[float, tuple[Bin, ...]]:
    """Return the expected calibration error and the bins with images."""
    bin_numbers = np.minimum((confidence * BINS).astype("int64"), BINS - 1)
    bins = tuple(
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(correct[inside].mean()))
        for inside in (bin_numbers == number for number in np.unique(bin_numbers))
    )
    error = sum(part.examples * abs(part.confidence - part.accuracy) for part in bins) / len(confidence)
    return float(error), bins
