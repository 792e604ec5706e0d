"""Metrics of predictions that are at hand."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_cnns.tasks.class_metric import ClassMetric, ClassResult


def score(probabilities: ArrayLike, labels: ArrayLike, class_names: Sequence[str]) -> ClassResult:
    """Return the `tasks.ClassResult` of predicted probabilities.

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
    metric = ClassMetric(class_names)
    metric.update(np.asarray(probabilities), np.asarray(labels, "int64"))
    return metric.result()
