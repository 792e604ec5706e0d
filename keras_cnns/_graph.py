"""Walking the graph of a functional model, layer by layer, nested models unfolded."""

import dataclasses

import keras
from keras import tree

from keras_cnns.errors import ArgumentError, nearest


@dataclasses.dataclass(frozen=True)
class Use:
    """One use of a layer or an operation of `keras.ops`.

    Attributes:
        name: the layer's name, that of a nested model in front of it: "backbone/conv1".
        operation: the layer or operation.
        first: False if the same layer was used before, so that its weights are counted already.
        inputs: Keras tensors that reach it; between models of one walk, identical objects are the same tensor.
        outputs: Keras tensors that leave it.
    """

    name: str
    operation: keras.Operation
    first: bool
    inputs: list
    outputs: list


def walk(model, input_shape=None):
    """Return (inputs, uses): Keras tensors with shapes as asked for, and every `Use` from input to output.

    Args:
        model: functional or sequential `keras.Model`; models within it are unfolded if they are such ones.
        input_shape: shape of one example, for inputs whose sizes are not all known; of several inputs a list of
            shapes in the model's order. None: as the model has them.

    Raises:
        ArgumentError: if the model is no graph of layers, or `input_shape` does not fit it.
    """
    graph = graph_of(model)
    inputs = [
        keras.KerasTensor((x.shape[0], *shape), dtype=x.dtype)
        for x, shape in zip(graph.inputs, _shapes(graph, input_shape), strict=True)
    ]
    uses, seen = [], set()

    def note(name, operation, args, kwargs):
        outputs = operation.compute_output_spec(*args, **kwargs)
        given = [x for x in tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        first = id(operation) not in seen
        seen.add(id(operation))
        uses.append(Use(name, operation, first, given, tree.flatten(outputs)))
        return outputs

    follow(graph, inputs, note)
    return inputs, uses


def run(model, images, visit):
    """Run a model on a batch in inference, layer by layer, nested models unfolded; return its outputs.

    Args:
        model: as in `walk`.
        images: tensor that its input takes.
        visit: function (name, operation, compute) that returns the outputs of one use of an operation; `compute()`
            computes them. The name is that of `Use`.

    Raises:
        ArgumentError: if the model is no graph of layers.
    """

    def call(name, operation, args, kwargs):
        if getattr(operation, "_call_has_training_arg", False):
            kwargs = {"training": False, **kwargs}
        return visit(name, operation, lambda: operation(*args, **kwargs))

    return follow(graph_of(model), images, call)


def check_layer(model, layer):
    """Return the name of a layer, given by name or itself; raise ArgumentError if it is not in the model."""
    uses = walk(model)[1]
    if not isinstance(layer, str):
        found = next((use.name for use in uses if use.operation is layer), None)
        layer = layer.name if found is None else found
    names = [use.name for use in uses]
    if layer not in names:
        raise ArgumentError(
            f"`layer` must be a layer of {model.name}.{nearest(layer, names)} Received: layer={layer!r}"
        )
    return layer


def graph_of(model):
    """Return a functional model as it is, a sequential one as a functional one; raise ArgumentError for others."""
    graph = _functional(model)
    if graph is None:
        raise ArgumentError(
            f"`model` must be a functional model, or a sequential one that knows its input: {model.name} has no graph "
            f"of layers. Received: model={model}"
        )
    return graph


def follow(graph, tensors, act, prefix=""):
    """Go through a graph from input to output, in the order of `walk`; return what stands for its outputs.

    Args:
        graph: what `graph_of` returned.
        tensors: for its inputs.
        act: function (name, operation, args, kwargs) that gives what stands for an operation's outputs.
        prefix: of the names.
    """

    def use(operation):
        def call(*args, **kwargs):
            inner = _functional(operation)
            if inner is not None:
                return follow(inner, args[0], act, f"{prefix}{operation.name}/")
            return act(prefix + operation.name, operation, args, kwargs)

        return call

    return graph._run_through_graph(tensors, operation_fn=use)


def _functional(operation):
    """Return the functional model that an operation is, None if it is none."""
    if isinstance(operation, keras.Sequential):
        operation = operation._functional
    return operation if hasattr(operation, "_run_through_graph") else None


def _shapes(graph, input_shape):
    """Return the shape of one example for each input; raise ArgumentError if one asked for does not fit."""
    known = [tuple(x.shape[1:]) for x in graph.inputs]
    if input_shape is None:
        return known
    asked = [input_shape] if isinstance(input_shape[0], int) else list(input_shape)
    fits = len(asked) == len(known) and all(
        len(one) == len(own) and all(a in (None, b) for a, b in zip(own, one, strict=True))
        for own, one in zip(known, asked, strict=True)
    )
    if not fits:
        raise ArgumentError(
            f"`input_shape` must be that of the model's input, {known[0] if len(known) == 1 else known}, whose sizes "
            f"are free only where they are None. Received: input_shape={input_shape}"
        )
    return [tuple(one) for one in asked]
