"""Classification: each image has one class."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from keras_cnns import _models
from keras_cnns.data.targets import ClassLabel
from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.class_metric import ClassMetric
from keras_cnns.tasks.task import EXACT, Encoding, Monitor, Predictor, Task, check_auxiliary_weight, for_heads


class Classification(Task):
    """Giving an image one class. Predictions are probabilities, float32 (images, classes)."""

    name = "classification"
    target = ClassLabel()
    monitor = Monitor("accuracy", record="top1", title="top-1", form=".2%")
    averages_views = True
    scored = "image"

    def check(self, model: keras.Model) -> None:
        """Raise ArgumentError unless one image becomes one vector, as `Task.check`."""
        classifiers.one_image_input(_models.main_output(model))

    def objective(self, model: keras.Model, recipe: Recipe, *, is_shared: bool = False) -> dict[str, Any]:
        """Return cross-entropy and accuracy, as `Task.objective`.

        Auxiliary heads after the first output have the same loss, weighted as the recipe says.
        """
        check_auxiliary_weight(model, recipe)
        loss, accuracy, entropy = _loss_and_metrics(recipe, from_logits=not classifiers.gives_probabilities(model))
        exact = [type(accuracy)(name=f"accuracy{EXACT}"), entropy(name=f"cross_entropy{EXACT}")] if is_shared else []
        if len(model.outputs) == 1:
            return {"loss": loss, "metrics": [accuracy], "weighted_metrics": exact or None}
        main, *auxiliary = model.output_names
        weights = {main: 1.0, **dict.fromkeys(auxiliary, recipe.auxiliary_weight)}
        return {
            "loss": dict.fromkeys(weights, loss),
            "loss_weights": weights,
            # Keras averages a head's loss over batches, of which the last is smaller; a metric counts every image once
            "metrics": {main: [accuracy, entropy(name="cross_entropy")]},
            "weighted_metrics": {main: exact} if exact else None,
        }

    def encoding(self, model: keras.Model, recipe: Recipe) -> Encoding:
        """Encode labels for soft losses and for several heads, as `Task.encoding`."""
        return Encoding(
            one_hot=model.outputs[0].shape[-1] if recipe.soft_labels else None,
            encode=functools.partial(for_heads, model) if len(model.outputs) > 1 else None,
        )

    def predictor(self, model: keras.Model, class_names: Sequence[str] = ()) -> Predictor:
        """Return the model as a classifier without auxiliary heads, as `Task.predictor`."""
        classifier = _models.as_float32(classifiers.as_classifier(model, class_names))
        outputs = classifier.outputs[0].shape[-1]
        if class_names and outputs != len(class_names):
            raise ArgumentError(
                f"{classifier.name} has {outputs} classes and the images have {len(class_names)}; choose the source "
                f"that the model was trained for. Received: class_names={tuple(class_names)[:10]}"
            )
        return Predictor(classifier, functools.partial(classifiers.to_probabilities, classifier))

    def image_scores(self, model: keras.Model, class_names: Sequence[str] = ()) -> keras.Model:
        """Return the model with both of two classes, as `Task.image_scores`."""
        return classifiers.two_classes(super().image_scores(model, class_names), class_names)

    def metric(self, class_names: Sequence[str]) -> ClassMetric:
        """Return a metric of top-1, top-5, loss and calibration, as `Task.metric`."""
        return ClassMetric(class_names)


def _loss_and_metrics(recipe, from_logits):
    """Return (loss, accuracy metric, maker of a cross-entropy metric) for a recipe."""
    if recipe.soft_labels:
        return (
            keras.losses.CategoricalCrossentropy(from_logits, recipe.label_smoothing),
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            functools.partial(
                keras.metrics.CategoricalCrossentropy, from_logits=from_logits, label_smoothing=recipe.label_smoothing
            ),
        )
    return (
        keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        functools.partial(keras.metrics.SparseCategoricalCrossentropy, from_logits=from_logits),
    )
