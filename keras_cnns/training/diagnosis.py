"""Finding where a loss became NaN or infinite.

The steps from the last checkpoint are repeated one by one.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnns import _keras
from keras_cnns.training._variables import copies, finite, put_back


@dataclasses.dataclass(frozen=True)
class Fault:
    """The place where numbers stopped being finite.

    Attributes:
        step: counted from 0 within the batches that were repeated.
        layer: name of the layer; of the input layer if the images are at fault, of the nested model for a layer in it.
        what: what happened, as a clause.
    """

    step: int
    layer: str
    what: str

    def __str__(self):
        return f"layer {self.layer}: {self.what}"


def find_fault(model: keras.Model, batches: Iterable[Any], limit: int) -> Fault | None:
    """Find the first step whose loss or weights are not finite.

    With accumulated gradients, one that is not finite shows in the step that adds them to the weights.

    Args:
        model: compiled functional or sequential `keras.Model`. It trains one batch per step, whatever its
            `steps_per_execution`, and is left as it was before the step at fault.
        batches: iterable of (images, labels) or (images, labels, weights), as `fit` takes them.
        limit: largest number of steps to take.

    Returns:
        `Fault`, or None if there is none.
    """
    if not model.optimizer.built:  # Otherwise the variables that the first step adds could not be restored
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = copies(variables)
    for step, batch in zip(range(limit), batches, strict=False):
        images, labels, *weights = keras.tree.map_structure(_for_backend, tuple(batch))
        logs = _train(model, images, labels, *weights)
        after = copies(variables)  # Also the values before the next step, so that one copy per step is enough
        spoiled = _spoiled(model, variables, after)
        if math.isfinite(logs["loss"]) and not spoiled:
            before = after
            continue
        with put_back(variables, before):  # A forward pass in training mode changes statistics
            place = _in_forward_pass(model, images) or _in_loss(model, logs)
        if place is None and (inner := _clipping(model.optimizer)) is not None:
            # Clipping by the norm of all gradients spreads one that is not finite to every layer, so repeat without it
            with put_back(variables, before), _unclipped(model, inner):
                _train(model, images, labels, *weights)
                spoiled = _spoiled(model, variables, copies(variables)) or spoiled
        # Gradients are computed from the loss downward, so that the fault began in the last of the layers
        layer, what = place or (spoiled[-1], "the gradient of its weights, or the update from it, overflowed")
        return Fault(step, layer, what)
    return None


def _train(model, *batch):
    """Take one step, and return its losses by name."""
    model.reset_metrics()
    logs = model.train_on_batch(*batch, return_dict=True)  # Metrics among them need not be numbers
    return {name: float(value) for name, value in logs.items() if name.split("_")[-1] == "loss"}


def _in_forward_pass(model, images):
    """Return (layer, what) if the forward pass is not finite, or None."""
    for layer in model.layers:
        if not all(map(finite, copies(layer.weights))):
            return layer.name, "its weights were not finite"
    graph = _keras.as_functional(model)
    # In this order each use of a layer comes after those it takes from. So the first one whose output is not finite had
    # finite inputs
    nodes = _keras.nodes_from_inputs(graph)
    watched = [(node, floats) for node in nodes if (floats := [x for x in node.outputs if _is_float(x)])]
    checks = [ops.all(ops.stack([ops.all(ops.isfinite(x)) for x in floats])) for _, floats in watched]
    outcomes = keras.Model(graph.input, checks)(images, training=True)
    for (node, _), outcome in zip(watched, outcomes, strict=True):
        if not bool(ops.convert_to_numpy(outcome)):
            if node.is_input:
                return node.operation.name, "the images hold values that are not finite"
            return node.operation.name, "its output stopped being finite"
    return None


def _in_loss(model, logs):
    """Return (layer, what) if the loss alone is not finite, or None."""
    if math.isfinite(logs["loss"]):
        return None
    for layer in model.layers:
        penalties = [weight.regularizer(weight) for weight in layer.trainable_weights if weight.regularizer is not None]
        if not all(map(finite, copies(penalties))):
            return layer.name, "the penalty on its weights was not finite"
    heads = model.output_names
    head = next((name for name in heads if not math.isfinite(logs.get(f"{name}_loss", 0.0))), heads[0])
    return head, "the loss of its output was not finite"


def _spoiled(model, variables, values):
    """Return the names of layers with weights that are not finite."""
    bad = {id(variable) for variable, value in zip(variables, values, strict=True) if not finite(value)}
    return [layer.name for layer in model.layers if any(id(weight) in bad for weight in layer.trainable_weights)]


def _clipping(optimizer):
    """Return the optimizer that clips by a global norm, or None."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return optimizer if getattr(optimizer, "global_clipnorm", None) is not None else None


@contextlib.contextmanager
def _unclipped(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Train without clipping within the context."""
    norm, optimizer.global_clipnorm = optimizer.global_clipnorm, None
    model.make_train_function(force=True)
    try:
        yield
    finally:
        optimizer.global_clipnorm = norm
        model.make_train_function(force=True)


def _for_backend(value):
    """Return a part of a batch as Keras takes it.

    Under another backend than TensorFlow, its tensors become arrays.
    """
    return value if value is None or ops.is_tensor(value) else np.asarray(value)


def _is_float(tensor):
    return keras.backend.is_float_dtype(tensor.dtype)
