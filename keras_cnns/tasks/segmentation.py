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
from keras_cnns.tasks.task import EXACT, Encoding, Monitor, Predictor, Task, check_auxiliary_weight, for_heads


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
        shapes = [tuple(output.shape) for output in _models.main_output(model).outputs]
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1:3] != size or (shapes[0][-1] or 0) < 2:
            cure = ""
            if any(len(shape) == 2 for shape in shapes):
                cure = " This one gives each image one class: choose images with labels for it, or a network as FCN8s."
            raise ArgumentError(
                f"{model.name}: the model must output one map of the image's size, (batch, height, width, classes), "
                f"with two classes or more.{cure} Received: outputs={shapes}"
            )

    def objective(self, model: keras.Model, recipe: Recipe, *, is_shared: bool = False) -> dict[str, Any]:
        """Return cross-entropy and mean IoU, as `Task.objective`.

        Pixels whose class is not known do not count. Auxiliary heads after the first output have the same loss,
        weighted as the recipe says.
        """
        if recipe.soft_labels:
            raise ArgumentError(
                "the classes of pixels are neither mixed nor smoothed: leave out mixup, cutmix and label_smoothing. "
                f"Received: recipe={recipe.name!r}"
            )
        check_auxiliary_weight(model, recipe)
        from_logits = not classifiers.gives_probabilities(model)
        iou = functools.partial(
            keras.metrics.MeanIoU, model.outputs[0].shape[-1], ignore_class=IGNORE, sparse_y_pred=False
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=IGNORE)
        exact = [iou(name=f"mean_iou{EXACT}")] if is_shared else []
        if len(model.outputs) == 1:
            return {"loss": loss, "metrics": [iou(name="mean_iou")], "weighted_metrics": exact or None}
        main, *auxiliary = model.output_names
        weights = {main: 1.0, **dict.fromkeys(auxiliary, recipe.auxiliary_weight)}
        entropy = functools.partial(_CrossEntropy, from_logits)
        exact += [entropy(name=f"cross_entropy{EXACT}")] if is_shared else []
        return {
            "loss": dict.fromkeys(weights, loss),
            "loss_weights": weights,
            "metrics": {main: [iou(name="mean_iou"), entropy(name="cross_entropy")]},
            "weighted_metrics": {main: exact} if exact else None,
        }

    def encoding(self, model: keras.Model, recipe: Recipe) -> Encoding:
        """Return masks as int32, for each head, as `Task.encoding`."""
        return Encoding(encode=lambda masks: for_heads(model, ops.cast(masks, "int32")))

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

    def image_scores(self, model: keras.Model, class_names: Sequence[str] = ()) -> keras.Model:
        """Return the model with the mean logit over all pixels, as `Task.image_scores`.

        It is the score that Seg-Grad-CAM explains (Vinogradova, Dibrov, Myers 2020, arXiv 2002.11434).
        """
        self.check(model)
        main = _models.main_output(model)
        (logits,) = classifiers.logits_of(main)
        pool = keras.layers.GlobalAveragePooling2D(name="mean_over_pixels", dtype="float32")
        return keras.Model(main.input, pool(logits), name=main.name)

    def metric(self, class_names: Sequence[str]) -> MaskMetric:
        """Return a metric of intersection over union, as `Task.metric`."""
        return MaskMetric(class_names)

    def derive(self, scores: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the best class of each pixel, as `Task.derive`."""
        return {"mask": scores.argmax(-1).astype("uint8")}


class _CrossEntropy(keras.metrics.Mean):
    """The mean cross-entropy of pixels whose class is known.

    Args:
        from_logits: whether the outputs are logits.
        **kwargs: arguments of `keras.metrics.Mean`.
    """

    def __init__(self, from_logits: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.from_logits = from_logits

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        losses = keras.losses.sparse_categorical_crossentropy(
            y_true, y_pred, from_logits=self.from_logits, ignore_class=IGNORE
        )
        counts = ops.cast(ops.not_equal(y_true, IGNORE), losses.dtype)
        if sample_weight is not None:
            counts = counts * ops.reshape(ops.cast(sample_weight, losses.dtype), (-1, 1, 1))
        super().update_state(losses, counts)


def _to_probabilities(has_softmax: bool, outputs: Any) -> np.ndarray:
    """Return maps of probabilities, if need be from logits."""
    maps = np.asarray(outputs, "float32")
    return maps if has_softmax else classifiers.softmax(maps)
