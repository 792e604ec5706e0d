"""From probabilities and labels to a result. NumPy only."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from keras_cnns.errors import ArgumentError

BINS = 15  # of the reliability curve, as in Guo et al.


@dataclasses.dataclass(frozen=True)
class Bin:
    """Images whose most probable class got a probability of about the same size.

    Attributes:
        examples: number of images.
        confidence: mean of that probability.
        accuracy: share of the images whose class it is.
    """

    examples: int
    confidence: float
    accuracy: float


@dataclasses.dataclass(frozen=True)
class Result:
    """How a model did on a split.

    Attributes:
        examples: number of images, each counted once.
        top1: share of images whose most probable class is theirs; of equal ones the first counts.
        top5: share of images whose class is among the five most probable; 1.0 with five classes or fewer.
        loss: mean cross-entropy, in nats.
        per_class: class name to top-1 of its images, which is its recall; None for a class without any.
        confusion: rows are true classes, columns predicted ones, in images.
        calibration_error: expected calibration error: how far confidence and accuracy are apart, mean over all
            images.
        reliability: a `Bin` for each fifteenth of the confidence that has images, from low to high.

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
        """Class name to the share of the images predicted as it that are of it; None if none was predicted as it."""
        predicted = np.sum(self.confusion, axis=0).tolist()
        return {
            name: self.confusion[k][k] / predicted[k] if predicted[k] else None for k, name in enumerate(self.per_class)
        }

    @property
    def recall(self) -> dict[str, float | None]:
        """Class name to the share of its images that are predicted as it, as `per_class`; None without images."""
        return dict(self.per_class)

    @property
    def f1(self) -> dict[str, float | None]:
        """Class name to the harmonic mean of precision and recall; None for a class of no image, true or predicted.

        It is 0 for a class that has images and of which none is predicted rightly.
        """
        sums = (np.sum(self.confusion, axis=0) + np.sum(self.confusion, axis=1)).tolist()
        return {name: 2 * self.confusion[k][k] / sums[k] if sums[k] else None for k, name in enumerate(self.per_class)}

    def to_json(self):
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

    def summary(self):
        """Return the numbers alone, as model files and manifests keep them."""
        return {key: getattr(self, key) for key in ("examples", "top1", "top5", "loss")}


def score(probabilities, labels, class_names):
    """Return the `Result` of predicted probabilities.

    Args:
        probabilities: float array (examples, classes).
        labels: whole numbers (examples,).
        class_names: one a column.

    Raises:
        ArgumentError: (a ValueError) if there is no image, or a probability is not finite.
    """
    probabilities, labels = np.asarray(probabilities, "float64"), np.asarray(labels, "int64")
    check_examples(len(labels))
    if not np.isfinite(probabilities).all():
        raise ArgumentError("the model gives values that are not finite (NaN or infinity); train it again.")
    classes = len(class_names)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    confusion = np.zeros((classes, classes), "int64")
    np.add.at(confusion, (labels, order[:, 0]), 1)
    totals = confusion.sum(1)
    own = probabilities[np.arange(len(labels)), labels]
    return Result(
        examples=len(labels),
        top1=float(np.mean(order[:, 0] == labels)),
        top5=float(np.mean((order[:, :5] == labels[:, None]).any(1))),
        loss=float(-np.log(np.maximum(own, 1e-12)).mean()),
        per_class={
            name: float(confusion[k, k] / totals[k]) if totals[k] else None for k, name in enumerate(class_names)
        },
        confusion=tuple(map(tuple, confusion.tolist())),
        **_calibration(probabilities.max(1), order[:, 0] == labels),
    )


def check_examples(count):
    """Raise ArgumentError if a split to measure on has no images."""
    if not count:
        raise ArgumentError("there are no images to measure on: the split is empty. Received: examples=0")


def _calibration(confidence, right):
    places = np.minimum((confidence * BINS).astype("int64"), BINS - 1)
    bins = tuple(
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for inside in (places == k for k in np.unique(places))
    )
    error = sum(one.examples * abs(one.confidence - one.accuracy) for one in bins) / len(confidence)
    return {"calibration_error": float(error), "reliability": bins}
