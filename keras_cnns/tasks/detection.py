"""Detection: an image has any number of objects, each in a box."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_cnns import _models
from keras_cnns.data.box_target import Boxes
from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.tasks.box_metric import BoxMetric
from keras_cnns.tasks.boxes import Detections, best_detections
from keras_cnns.tasks.multibox_loss import MultiBoxLoss
from keras_cnns.tasks.task import Encoding, Monitor, Predictor, Task

OUTPUTS = ("boxes", "scores")
SETTINGS = ("least_score", "candidates", "suppression", "limit")  # attributes of the layer "boxes"


class Detection(Task):
    """Finding objects in an image, each in a box of one class.

    A model outputs a dictionary: "boxes" (batch, n, 4), top, left, bottom, right in pixels of its input, and "scores"
    (batch, n, classes). To train, it also outputs "predictions", and its layer "boxes" has a method `encode`, as
    `layers.SSDBoxes`. Predictions are a list of `boxes.Detections`.
    """

    name = "detection"
    target = Boxes()
    monitor = Monitor("loss", record="loss", title="loss", form=".4f", is_better="smaller")
    shown = (("mean_ap", "mAP", ".2%"), ("mean_ap50", "AP50", ".2%"), ("mean_recall", "recall", ".2%"))
    scored = "object"

    def check(self, model: keras.Model) -> None:
        """Raise ArgumentError unless images become boxes and scores, as `Task.check`."""
        _models.image_input(model)
        outputs = model.output if isinstance(getattr(model, "output", None), dict) else {}
        shapes = {name: tuple(tensor.shape) for name, tensor in outputs.items()}
        boxes, scores = (shapes.get(name, ()) for name in OUTPUTS)
        if len(boxes) != 3 or boxes[-1] != 4 or len(scores) != 3 or scores[1] != boxes[1]:
            cure = "" if shapes else " This one finds no boxes: choose a network as SSD, or images with labels for it."
            raise ArgumentError(
                f"{model.name}: the model must output a dictionary with 'boxes' (batch, n, 4) and 'scores' (batch, n, "
                f"classes).{cure} Received: outputs={shapes or [tuple(x.shape) for x in model.outputs]}"
            )

    def objective(self, model: keras.Model, recipe: Recipe, *, is_shared: bool = False) -> dict[str, Any]:
        """Return the multibox loss, as `Task.objective`."""
        if recipe.soft_labels or recipe.auxiliary_weight:
            raise ArgumentError(
                "the classes of boxes are neither mixed nor smoothed, and there are no auxiliary heads: leave out "
                f"mixup, cutmix, label_smoothing and auxiliary_weight. Received: recipe={recipe.name!r}"
            )
        layer = _coder(model)
        return {"loss": {"predictions": MultiBoxLoss(layer.negatives, layer.min_negatives)}}

    def encoding(self, model: keras.Model, recipe: Recipe) -> Encoding:
        """Return what each default box is to find, as `Task.encoding`.

        Crowds, which are regions of many objects, are left out.
        """
        layer = _coder(model)

        def encode(targets: Mapping[str, Any]) -> dict[str, Any]:
            import tensorflow as tf

            labels = tf.where(targets["crowd"], -1, targets["labels"])
            return {"predictions": layer.encode(targets["boxes"], labels)}

        return Encoding(encode=encode)

    def deployed(self, model: keras.Model) -> keras.Model:
        """Return the model from images to boxes and scores, as `Task.deployed`."""
        return keras.Model(model.input, [model.output[name] for name in OUTPUTS], name=model.name)

    def predictor(self, model: keras.Model, class_names: Sequence[str] = ()) -> Predictor:
        """Return the model with the best detections of each image, as `Task.predictor`."""
        self.check(model)
        network = _models.as_float32(self.deployed(model))
        classes = network.outputs[1].shape[-1]
        if class_names and classes != len(class_names):
            raise ArgumentError(
                f"{network.name} has {classes} classes and the objects have {len(class_names)}; choose the source that "
                f"the model was trained for. Received: class_names={tuple(class_names)[:10]}"
            )
        layer = next((layer for layer in model.layers if layer.name == "boxes"), None)
        settings = {name: getattr(layer, name) for name in SETTINGS if hasattr(layer, name)}
        if "suppression" in settings:
            settings["threshold"] = settings.pop("suppression")
        return Predictor(network, functools.partial(_detections, settings))

    def metric(self, class_names: Sequence[str]) -> BoxMetric:
        """Return a metric of average precision, as `Task.metric`."""
        return BoxMetric(class_names)


def _coder(model: keras.Model) -> Any:
    """Return the layer that says what default boxes are to find.

    Raises:
        ArgumentError: if there is none, or no output to compare.
    """
    for layer in model.layers:
        if layer.name == "boxes" and hasattr(layer, "encode") and "predictions" in model.output:
            return layer
    raise ArgumentError(
        f"{model.name}: to train, a model needs an output 'predictions' and a layer 'boxes' that encodes, as "
        f"layers.SSDBoxes. Received: outputs={list(model.output)}"
    )


def _detections(settings: Mapping[str, Any], outputs: Sequence[Any]) -> list[Detections]:
    """Return the best detections of each image."""
    boxes, scores = (np.asarray(values, "float32") for values in outputs)
    return [best_detections(*of_image, **settings) for of_image in zip(boxes, scores, strict=True)]
