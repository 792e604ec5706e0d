"""Semantic segmentation: each pixel has one class."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_cnns import _models
from keras_cnns.data.masks import IGNORE
from keras_cnns.data.targets import Mask
from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.mask_metric import MaskMetric
from keras_cnns.tasks.task import EXACT, Encoding, Monitor, Predictor, Task


class Segmentation(Task):
    """Giving each pixel of an image one class.

    Predictions are probabilities, float32 (images, height, width, classes).
    """

    name = "segmentation"
    target = Mask()
    monitor = Monitor("mean_iou", record="mean_iou", title="mean IoU", form=".2%")
    averages_views = True
    scored = "pixel"

    def check(self, model: keras.Model) -> None:
        """Raise ArgumentError unless images become maps, as `Task.check`."""
        size = _models.image_input(model)[:2]
        shapes = [tuple(output.shape) for output in model.outputs]
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1:3] != size or (shapes[0][-1] or 0) < 2:
            raise ArgumentError(
                f"{model.name}: the model must output one map of the image's size, (batch, height, width, classes), "
                f"with two classes or more. Received: outputs={shapes}"
            )

    def objective(self, model: keras.Model, recipe: Recipe, *, is_shared: bool = False) -> dict[str, Any]:
        """Return cross-entropy and mean IoU, as `Task.objective`.

        Pixels whose class is not known do not count.
        """
        if recipe.soft_labels or recipe.auxiliary_weight:
            raise ArgumentError(
                "the classes of pixels are neither mixed nor smoothed, and there are no auxiliary heads: leave out "
                f"mixup, cutmix, label_smoothing and auxiliary_weight. Received: recipe={recipe.name!r}"
            )
        from_logits = not classifiers.gives_probabilities(model)
        iou = functools.partial(
            keras.metrics.MeanIoU, model.outputs[0].shape[-1], ignore_class=IGNORE, sparse_y_pred=False
        )
        return {
            "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=IGNORE),
            "metrics": [iou(name="mean_iou")],
            "weighted_metrics": [iou(name=f"mean_iou{EXACT}")] if is_shared else None,
        }

    def encoding(self, model: keras.Model, recipe: Recipe) -> Encoding:
        """Return masks as int32, as `Task.encoding`."""
        return Encoding(encode=lambda masks: ops.cast(masks, "int32"))

    def predictor(self, model: keras.Model, class_names: Sequence[str] = ()) -> Predictor:
        """Return the model with maps of probabilities, as `Task.predictor`."""
        self.check(model)
        network = _models.as_float32(_models.main_output(model))
        classes = network.outputs[0].shape[-1]
        if class_names and classes != len(class_names):
            raise ArgumentError(
                f"{network.name} has {classes} classes and the masks have {len(class_names)}; choose the source that "
                f"the model was trained for. Received: class_names={tuple(class_names)[:10]}"
            )
        return Predictor(network, functools.partial(_to_probabilities, classifiers.gives_probabilities(network)))

    def metric(self, class_names: Sequence[str]) -> MaskMetric:
        """Return a metric of intersection over union, as `Task.metric`."""
        return MaskMetric(class_names)

    def derive(self, scores: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the best class of each pixel, as `Task.derive`."""
        return {"mask": scores.argmax(-1).astype("uint8")}


def _to_probabilities(has_softmax: bool, outputs: Any) -> np.ndarray:
    """Return maps of probabilities, if need be from logits."""
    maps = np.asarray(outputs, "float32")
    return maps if has_softmax else classifiers.softmax(maps)
