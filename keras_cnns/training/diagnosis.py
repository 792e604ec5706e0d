"""Why a loss stopped being a number: the steps from the last checkpoint once more, one by one, and the layer named."""

import contextlib
import dataclasses
import math

import keras
import numpy as np
from keras import ops

from keras_cnns.training._variables import copies, finite, put_back


@dataclasses.dataclass(frozen=True)
class Fault:
    """Where numbers stopped being finite.

    Attributes:
        step: counted from 0 within the batches that were looked at.
        layer: its name; that of the input layer if the images are at fault, and that of a nested model for all in it.
        what: happened, as a clause.
    """

    step: int
    layer: str
    what: str

    def __str__(self):
        return f"layer {self.layer}: {self.what}"


def find_fault(model, batches, limit):
    """Return the `Fault` of the first step whose loss or weights are not finite, None if there is none.

    Where gradients are accumulated, one that is not finite shows in the step that adds them to the weights.

    Args:
        model: compiled functional or sequential `keras.Model`; it trains, one batch a step whatever its
            `steps_per_execution`, and is left as it was before the step at fault.
        batches: iterable of (images, labels) or (images, labels, weights), as `fit` takes them.
        limit: most steps to take.
    """
    if not model.optimizer.built:  # or what the first step adds to it could not be put back
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = copies(variables)
    for step, batch in zip(range(limit), batches, strict=False):
        images, labels, *weights = keras.tree.map_structure(_for_backend, tuple(batch))
        logs = _train(model, images, labels, *weights)
        after = copies(variables)  # which is also what was before the next step: one copy a step
        spoiled = _spoiled(model, variables, after)
        if math.isfinite(logs["loss"]) and not spoiled:
            before = after
            continue
        with put_back(variables, before):  # a forward pass in training changes statistics
            found = _in_forward_pass(model, images) or _in_loss(model, logs)
        if found is None and (inner := _clipping(model.optimizer)) is not None:
            # Clipping by the norm of all gradients spreads one that is not finite to every layer
            with put_back(variables, before), _unclipped(model, inner):
                _train(model, images, labels, *weights)
                spoiled = _spoiled(model, variables, copies(variables)) or spoiled
        # The gradient goes from the loss down, so that it began in the last of the layers
        return Fault(step, *(found or (spoiled[-1], "the gradient of its weights, or the update from it, overflowed")))
    return None


def _train(model, *batch):
    """Take one step, and return its own loss, and that of each head."""
    model.reset_metrics()
    logs = model.train_on_batch(*batch, return_dict=True)  # metrics among them, which need not be numbers
    return {name: float(value) for name, value in logs.items() if name.split("_")[-1] == "loss"}


def _in_forward_pass(model, images):
    """Return (layer, what) for the model as it was before the step; None if all that it computes is finite."""
    for layer in model.layers:
        if not all(map(finite, copies(layer.weights))):
            return layer.name, "its weights were not finite"
    graph = getattr(model, "_functional", None) or model
    # All uses of layers and functions, in an order in which each comes behind what it takes; so the first that gives
    # what is not finite was given what is
    nodes = [node for _, nodes in sorted(graph._nodes_by_depth.items(), reverse=True) for node in nodes]
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
    """Return (layer, what) for a loss that is not finite though all outputs are; None if the loss is finite."""
    if math.isfinite(logs["loss"]):
        return None
    for layer in model.layers:
        penalties = [one.regularizer(one) for one in layer.trainable_weights if one.regularizer is not None]
        if not all(map(finite, copies(penalties))):
            return layer.name, "the penalty on its weights was not finite"
    heads = model.output_names
    head = next((one for one in heads if not math.isfinite(logs.get(f"{one}_loss", 0.0))), heads[0])
    return head, "the loss of its output was not finite"


def _spoiled(model, variables, values):
    """Return the names of the layers whose trainable weights are not finite, in the network's order."""
    bad = {id(one) for one, value in zip(variables, values, strict=True) if not finite(value)}
    return [layer.name for layer in model.layers if any(id(one) in bad for one in layer.trainable_weights)]


def _clipping(optimizer):
    """Return the optimizer, or the one within it, that clips by the norm of all gradients; None if none does."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return optimizer if getattr(optimizer, "global_clipnorm", None) is not None else None


@contextlib.contextmanager
def _unclipped(model, optimizer):
    norm, optimizer.global_clipnorm = optimizer.global_clipnorm, None
    model.make_train_function(force=True)
    try:
        yield
    finally:
        optimizer.global_clipnorm = norm
        model.make_train_function(force=True)


def _for_backend(value):
    """Return a part of a batch as Keras takes it; TensorFlow's tensors, under another backend, as an array."""
    return value if value is None or ops.is_tensor(value) else np.asarray(value)


def _is_float(tensor):
    return keras.backend.is_float_dtype(tensor.dtype)
