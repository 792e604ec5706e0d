"""Compiling a network as a recipe says."""

import math
from typing import TYPE_CHECKING, Any

import keras

from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.tasks.registry import DEFAULT
from keras_cnns.tasks.task import Task, for_heads

# Compiled models that earlier versions saved look for InverseDecay in this module
from keras_cnns.training.optimizers import InverseDecay as InverseDecay
from keras_cnns.training.optimizers import optimizer, optimizer_by_part
from keras_cnns.training.transfer import freeze

if TYPE_CHECKING:  # these import TensorFlow, which JAX does not need
    from keras_cnns.training.devices import Distribution


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
    task: Task | None = None,
) -> keras.Model:
    """Compile a network as a recipe and a task say.

    The recipe gives the optimizer, the task the loss and metrics: for a classifier cross-entropy and accuracy.

    Layers that `recipe.freeze` names are frozen first, as `freeze` does it.

    Args:
        model: functional `keras.Model` whose output is logits or probabilities (batch, classes). Auxiliary heads after
            the first output give the same; `targets` gives each its labels.
        recipe: `Recipe`; with `soft_labels`, the labels must be one-hot.
        steps_per_epoch: batches per epoch, which with `recipe.epochs` sets the schedule's length.
        steps_per_execution: steps in one call of the compiled function, within which callbacks are not called. None: so
            many that the calls themselves take little of the time, which is 1 except for small networks.
        distribution: `Distribution` on which the model trains; call this within its scope. None: one device.
        task: the `Task` of the network; None: it is a classifier.

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
    is_shared = distribution is not None and distribution.engine is not None
    objective = (task or DEFAULT).objective(model, recipe, is_shared=is_shared)
    if recipe.freeze:
        freeze(model, recipe.freeze)
    steps = steps_per_epoch * recipe.epochs
    model_optimizer = optimizer_by_part(model, recipe, steps) if recipe.rates else optimizer(recipe, steps)
    if distribution is not None and distribution.mirrored:
        steps_per_execution = 1  # In Keras's loop over steps TensorFlow cannot read a distributed iterator
    if steps_per_execution is None:
        steps_per_execution = min(_steps_per_execution(model, recipe.batch_size), steps_per_epoch)
    model.compile(model_optimizer, steps_per_execution=steps_per_execution, **objective)
    return model


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
    return for_heads(model, labels)
