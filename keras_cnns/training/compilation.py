"""Compiling a network as a recipe says."""

import functools
import math
from typing import TYPE_CHECKING, Any

import keras

from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.tasks import classifiers

# Compiled models that earlier versions saved look for InverseDecay in this module
from keras_cnns.training.optimizers import InverseDecay as InverseDecay
from keras_cnns.training.optimizers import optimizer, optimizer_by_part
from keras_cnns.training.transfer import freeze

if TYPE_CHECKING:  # these import TensorFlow, which JAX does not need
    from keras_cnns.training.devices import Distribution


EXACT = "_exactly"  # end of the names of weighted metrics, which replace others in validation


def set_biases(model: keras.Model, recipe: Recipe) -> None:
    """Set the biases of a model to the recipe's initial values.

    Args:
        model: a network that has not been trained.
        recipe: `Recipe`, whose `biases` count.

    Raises:
        ArgumentError: if the model has no such layer, or the layer has no biases.

    Examples:
        >>> from keras_cnns import applications, recipes, training
        >>> model = applications.LeNet5Modern()
        >>> training.set_biases(model, recipes.SHORT.replace(biases={"C3": 1.0}))
        >>> set(model.get_layer("C3").get_weights()[1].tolist())
        {1.0}
    """
    layers = {layer.name: layer for layer in model.layers}
    for name, value in recipe.biases.items():
        bias = getattr(layers.get(name), "bias", None)
        if bias is None:
            raise ArgumentError(
                f"{model.name} has no biases in a layer {name!r}, as the recipe {recipe.name} has. "
                f"Received: biases={dict(recipe.biases)}"
            )
        bias.assign(keras.ops.full(bias.shape, value, bias.dtype))


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    steps_per_epoch: int,
    *,
    steps_per_execution: int | None = None,
    distribution: "Distribution | None" = None,
) -> keras.Model:
    """Compile a classifier with the recipe's optimizer, cross-entropy and accuracy.

    Layers that `recipe.freeze` names are frozen first, as `freeze` does it.

    Args:
        model: functional `keras.Model` whose output is logits or probabilities (batch, classes). Auxiliary heads after
            the first output give the same; `targets` gives each its labels.
        recipe: `Recipe`; with `soft_labels`, the labels must be one-hot.
        steps_per_epoch: batches per epoch, which with `recipe.epochs` sets the schedule's length.
        steps_per_execution: steps in one call of the compiled function, within which callbacks are not called. None: so
            many that the calls themselves take little of the time, which is 1 except for small networks.
        distribution: `Distribution` on which the model trains; call this within its scope. None: one device.

    Returns:
        The model.

    Raises:
        ArgumentError: if the model has auxiliary heads and the recipe no weight for them, or the reverse; or if no
            layer fits a pattern of `recipe.rates` or `recipe.freeze`.

    Examples:
        >>> from keras_cnns import applications, recipes, training
        >>> model = training.compile_model(applications.LeNet5Modern(), recipes.SHORT, steps_per_epoch=100)
        >>> type(model.optimizer).__name__
        'AdamW'
    """
    if (len(model.outputs) > 1) != (recipe.auxiliary_weight > 0):
        raise ArgumentError(
            f"a network with auxiliary heads needs a recipe with a weight for them, and one without needs 0; "
            f"{model.name} has {len(model.outputs) - 1}. Received: auxiliary_weight={recipe.auxiliary_weight}"
        )
    if recipe.freeze:
        freeze(model, recipe.freeze)
    steps = steps_per_epoch * recipe.epochs
    model_optimizer = optimizer_by_part(model, recipe, steps) if recipe.rates else optimizer(recipe, steps)
    if distribution is not None and distribution.mirrored:
        steps_per_execution = 1  # In Keras's loop over steps TensorFlow cannot read a distributed iterator
    if steps_per_execution is None:
        steps_per_execution = min(_steps_per_execution(model, recipe.batch_size), steps_per_epoch)
    loss, accuracy, entropy = _loss_and_metrics(recipe, from_logits=not classifiers.gives_probabilities(model))
    exact = []
    if distribution is not None and distribution.engine is not None:
        # Some images of a shared batch are repeated, for which weights make up; only weighted metrics use them
        exact = [type(accuracy)(name=f"accuracy{EXACT}"), entropy(name=f"cross_entropy{EXACT}")]
    if len(model.outputs) == 1:
        model.compile(
            model_optimizer,
            loss,
            metrics=[accuracy],
            weighted_metrics=exact or None,
            steps_per_execution=steps_per_execution,
        )
        return model
    main, *auxiliary = model.output_names
    weights = {main: 1.0, **dict.fromkeys(auxiliary, recipe.auxiliary_weight)}
    model.compile(
        model_optimizer,
        dict.fromkeys(weights, loss),
        loss_weights=weights,
        # Keras averages a head's loss over batches, of which the last is smaller; a metric counts every image once
        metrics={main: [accuracy, entropy(name="cross_entropy")]},
        weighted_metrics={main: exact} if exact else None,
        steps_per_execution=steps_per_execution,
    )
    return model


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


def _steps_per_execution(model, batch_size):
    """Return how many steps take about 50 ms, from 1 to 32."""
    work = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        output = getattr(layer, "output", None)
        if kernel is not None and hasattr(output, "shape"):
            places = output.shape[1:-1] if len(output.shape) == 4 else ()
            work += math.prod(kernel.shape) * math.prod(side or 1 for side in places)
    # About as many multiply-adds a forward pass takes in 50 ms
    once = 2e9 if keras.distribution.list_devices()[0].startswith("cpu") else 2e11
    return 2 ** max(0, min(5, int(math.log2(once / max(work * batch_size, 1)))))


def targets(model: keras.Model, labels: Any) -> Any:
    """Return labels in the form that `fit` takes.

    Args:
        model: `keras.Model` with one or several heads.
        labels: array or tensor of labels.

    Returns:
        The labels themselves for one head; for several, a dictionary from each head's name to the labels.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import applications, training
        >>> model = applications.GoogLeNet(classes=10, auxiliary=True)
        >>> sorted(training.targets(model, np.array([3, 7])))
        ['loss1_predictions', 'loss2_predictions', 'predictions']
    """
    return labels if len(model.outputs) == 1 else dict.fromkeys(model.output_names, labels)
