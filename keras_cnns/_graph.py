"""Walking the graph of a functional model, with nested models unfolded."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import tree

from keras_cnns import _keras
from keras_cnns.errors import ArgumentError, nearest


@dataclasses.dataclass(frozen=True)
class Use:
    """One use of a layer or of an operation of `keras.ops`.

    Attributes:
        name: the layer's name, after the name of the nested model that holds it: "backbone/conv1".
        operation: the layer or operation.
        first: False if the same layer was used before, so that its weights are counted already.
        inputs: Keras tensors that reach it. Within one walk, the same tensor is the same object everywhere.
        outputs: Keras tensors that leave it.
    """

    name: str
    operation: keras.Operation
    first: bool
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]


def walk(model: keras.Model, input_shape: Sequence[Any] | None = None) -> tuple[list[keras.KerasTensor], list[Use]]:
    """Return a model's inputs and every `Use` from input to output.

    Args:
        model: functional or sequential `keras.Model`; nested models of these kinds are unfolded.
        input_shape: shape of one example, for inputs whose sizes are not all known. A model with several inputs takes
            a list of shapes in the model's order. None: the shapes that the model has.

    Returns:
        (inputs, uses): Keras tensors of the shapes asked for, and a list of `Use`.

    Raises:
        ArgumentError: if the model is no graph of layers, or `input_shape` does not fit it.
    """
    graph = graph_of(model)
    inputs = [
        keras.KerasTensor((x.shape[0], *shape), dtype=x.dtype)
        for x, shape in zip(graph.inputs, _shapes(graph, input_shape), strict=True)
    ]
    uses: list[Use] = []
    seen = set()

    def record(name, operation, args, kwargs):
        outputs = operation.compute_output_spec(*args, **kwargs)
        taken = [x for x in tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        first = id(operation) not in seen
        seen.add(id(operation))
        uses.append(Use(name, operation, first, taken, tree.flatten(outputs)))
        return outputs

    follow(graph, inputs, record)
    return inputs, uses


def run(model: keras.Model, images: Any, visit: Callable[[str, keras.Operation, Callable[[], Any]], Any]) -> Any:
    """Run a model on a batch in inference, layer by layer.

    Args:
        model: functional or sequential `keras.Model`; nested models of these kinds are unfolded.
        images: tensor that its input takes.
        visit: function (name, operation, compute) that returns the outputs of one use of an operation; `compute()`
            computes them. The name is that of `Use`.

    Returns:
        The model's outputs.

    Raises:
        ArgumentError: if the model is no graph of layers.
    """

    def call(name, operation, args, kwargs):
        if _keras.takes_training(operation):
            kwargs = {"training": False, **kwargs}
        return visit(name, operation, lambda: operation(*args, **kwargs))

    return follow(graph_of(model), images, call)


def check_layer(model: keras.Model, layer: str | keras.Layer) -> str:
    """Return the name of a layer, given by name or as object.

    Args:
        model: functional or sequential `keras.Model`.
        layer: a layer of the model, or the name that `Use` has for it.

    Raises:
        ArgumentError: if it is not in the model.
    """
    uses = walk(model)[1]
    if not isinstance(layer, str):
        name = next((use.name for use in uses if use.operation is layer), None)
        layer = layer.name if name is None else name
    names = [use.name for use in uses]
    if layer not in names:
        raise ArgumentError(
            f"`layer` must be a layer of {model.name}.{nearest(layer, names)} Received: layer={layer!r}"
        )
    return layer


def graph_of(model: keras.Model) -> keras.Model:
    """Return a functional or sequential model as a functional one.

    Raises:
        ArgumentError: for any other model, and for a sequential one that does not know its input.
    """
    graph = _keras.as_functional(model)
    if graph is None:
        raise ArgumentError(
            f"`model` must be a functional model, or a sequential one that knows its input: {model.name} has no graph "
            f"of layers. Received: model={model}"
        )
    return graph


def follow(
    graph: keras.Model,
    tensors: Any,
    act: Callable[[str, keras.Operation, tuple, dict[str, Any]], Any],
    prefix: str = "",
) -> Any:
    """Call a function for each operation, from input to output.

    Args:
        graph: what `graph_of` returned.
        tensors: values for its inputs.
        act: function (name, operation, args, kwargs) that returns the values for an operation's outputs.
        prefix: put before each name.

    Returns:
        The values for the graph's outputs.
    """

    def use(operation):
        def call(*args, **kwargs):
            inner = _keras.as_functional(operation)
            if inner is not None:
                return follow(inner, args[0], act, f"{prefix}{operation.name}/")
            return act(prefix + operation.name, operation, args, kwargs)

        return call

    return _keras.run_through_graph(graph, tensors, use)


def _shapes(graph, input_shape):
    """Return one example's shape per input; raise ArgumentError for others."""
    known = [tuple(x.shape[1:]) for x in graph.inputs]
    if input_shape is None:
        return known
    asked = [input_shape] if isinstance(input_shape[0], int) else list(input_shape)
    fits = len(asked) == len(known) and all(
        len(shape) == len(own) and all(a in (None, b) for a, b in zip(own, shape, strict=True))
        for own, shape in zip(known, asked, strict=True)
    )
    if not fits:
        raise ArgumentError(
            f"`input_shape` must be that of the model's input, {known[0] if len(known) == 1 else known}, whose sizes "
            f"are free only where they are None. Received: input_shape={input_shape}"
        )
    return [tuple(shape) for shape in asked]
