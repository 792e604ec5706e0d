"""The loss of detectors with default boxes."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_cnns")
class MultiBoxLoss(keras.losses.Loss):
    """Smooth L1 of offsets, and cross-entropy with hard negatives.

    Default boxes that are to find an object count in both. Of the others, those of the largest cross-entropy count in
    that alone, some for each one with an object. The sum is divided by the number of default boxes with an object in
    the whole batch.

    Args:
        negatives: default boxes without an object that count, for each one with an object in the same image.
        min_negatives: number of them in an image without objects. With 0, as in the paper, such an image has no loss.
        name: name of the loss.
        **kwargs: arguments of `keras.losses.Loss`.

    Call arguments:
        y_true: float32 (batch, boxes, 5): offsets, and the class, 0 for none.
        y_pred: float32 (batch, boxes, 4 + 1 + classes): offsets and logits.

    Reference:
        W. Liu et al.: SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325, section 2.2, equations 1 to 3.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns.tasks.multibox_loss import MultiBoxLoss
        >>> wanted = np.zeros((1, 3, 5), "float32")
        >>> wanted[0, 0] = (0.5, 0, 0, 0, 2)
        >>> round(float(MultiBoxLoss()(wanted, np.zeros((1, 3, 8), "float32"))), 3)  # 3 log 4 + 0.5 * 0.5**2
        4.284
    """

    def __init__(self, negatives: float = 3.0, min_negatives: int = 0, name: str = "multibox", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.negatives, self.min_negatives = negatives, min_negatives

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return losses of images, whose mean is that of the batch."""
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        classes = ops.cast(y_true[..., 4], "int32")
        has_object = classes > 0
        distance = ops.abs(y_true[..., :4] - y_pred[..., :4])
        smooth = ops.where(distance < 1, 0.5 * ops.square(distance), distance - 0.5)
        offsets = ops.where(has_object, ops.sum(smooth, -1), 0.0)

        logits = y_pred[..., 4:]
        of_class = ops.sum(logits * ops.one_hot(classes, logits.shape[-1]), -1)
        entropy = ops.logsumexp(logits, -1) - of_class
        objects = ops.sum(ops.cast(has_object, "float32"), -1, keepdims=True)
        wanted = ops.maximum(self.negatives * objects, ops.where(objects > 0, 0.0, float(self.min_negatives)))
        # Ranks instead of a threshold, as in low precision many are equal. Entropies are not below 0, so that boxes
        # with an object are the last.
        order = ops.argsort(ops.where(has_object, 1.0, -ops.stop_gradient(entropy)), axis=-1)
        ranks = ops.cast(ops.argsort(order, axis=-1), "float32")
        counts = has_object | (~has_object & (ranks < wanted))
        of_image = ops.sum(offsets + ops.where(counts, entropy, 0.0), -1)
        images = ops.cast(ops.shape(of_image)[0], "float32")
        return of_image * images / ops.maximum(ops.sum(objects), 1.0)

    def get_config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {**super().get_config(), "negatives": self.negatives, "min_negatives": self.min_negatives}
