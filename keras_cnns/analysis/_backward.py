"""Rules for propagating a signal back through ReLU.

A rule is a visitor for `_graph.run`. It computes an operation's outputs and decides which derivative applies.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_cnns import _graph, _keras
from keras_cnns import layers as our_layers
from keras_cnns.analysis import _gradients
from keras_cnns.errors import ArgumentError

RELU_LAYERS = (keras.layers.ReLU, keras.layers.LeakyReLU)
RELU_OPERATIONS = {"ReLU", "Relu", "Relu6", "LeakyRelu"}  # classes of keras.ops and keras.activations
RELU_FUNCTIONS = {"relu", "relu6", "leaky_relu"}  # names of Keras's functions and of the backends'


class _Relu(NamedTuple):
    """A ReLU of an operation.

    Attributes:
        part: the operation, or a layer that it contains.
        attribute: "call" or "activation".
        function: the value of that attribute.
        slope: slope of the function below zero.
    """

    part: Any
    attribute: str
    function: Callable[..., Any]
    slope: float


class _Replacement(NamedTuple):
    """A function that takes the place of `getattr(part, attribute)`."""

    part: Any
    attribute: str
    function: Callable[..., Any]


def check_relu(model: keras.Model, use_instead: str) -> None:
    """Raise ArgumentError if a model has no ReLU.

    Args:
        model: functional or sequential `keras.Model`.
        use_instead: what the error recommends, such as "`saliency`".
    """
    if not any(_relus(use.operation) for use in _graph.walk(model)[1]):
        raise ArgumentError(
            f"`model` must have a ReLU, which this method treats differently from the gradient: {model.name} has "
            f"none; use {use_instead}. Received: model={model}"
        )


def is_relu(operation: keras.Operation) -> bool:
    """Return whether an operation ends with a ReLU without negative outputs."""
    return any(relu.slope == 0 for relu in _relus(operation))


def gradient_rule(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
    """Compute an operation with its ordinary derivative."""
    return compute()


def deconvnet_rule(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
    """Compute an operation whose ReLU rectifies the backward signal.

    The rule ignores the ReLU's input. Local response normalization passes the signal unchanged.

    Reference:
        Zeiler and Fergus 2014, section 2.1.
    """
    replacements = [
        _Replacement(
            relu.part, relu.attribute, _gradients.with_backward(relu.function, _rectify_with_slope(relu.slope))
        )
        for relu in _relus(operation)
    ]
    if isinstance(operation, our_layers.LocalResponseNormalization):
        unchanged = _gradients.with_backward(operation.call, lambda signal: signal)
        # Keras also passes `training`, which only chooses a faster way to the same values
        replacements = [_Replacement(operation, "call", lambda inputs, training=None: unchanged(inputs))]
    with _replaced(replacements):
        return compute()


def guided_rule(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
    """Compute an operation whose ReLU rectifies the signal where it was active.

    Reference:
        Springenberg et al. 2015, section 3.4.
    """

    def guided(relu: _Relu) -> Callable[[Any], Any]:
        # An identity in front: its backward function rectifies the signal before the ReLU's own derivative applies.
        rectify = _gradients.with_backward(lambda x: x, _rectify_with_slope(relu.slope))
        return lambda inputs: rectify(relu.function(inputs))

    with _replaced([_Replacement(relu.part, relu.attribute, guided(relu)) for relu in _relus(operation)]):
        return compute()


def _relus(operation: keras.Operation) -> list[_Relu]:
    """Return each ReLU that an operation is or contains."""
    parts = _keras.all_layers(operation) if isinstance(operation, keras.layers.Layer) else [operation]
    relus = []
    for part in parts:
        activation = getattr(part, "activation", None)
        if isinstance(part, RELU_LAYERS) or type(part).__name__ in RELU_OPERATIONS:
            relus.append(_Relu(part, "call", part.call, getattr(part, "negative_slope", 0.0)))
        elif activation is not None and getattr(activation, "__name__", None) in RELU_FUNCTIONS:
            relus.append(_Relu(part, "activation", activation, abs(float(activation(-1.0)))))
    return relus


def _rectify_with_slope(slope: float) -> Callable[[Any], Any]:
    """Return a function that applies a (leaky) ReLU to the signal."""
    return lambda signal: ops.relu(signal) - slope * ops.relu(-signal) if slope else ops.relu(signal)


@contextlib.contextmanager
def _replaced(replacements: list[_Replacement]) -> Iterator[None]:
    """Replace functions of layers while they compute, and put the originals back.

    The functions are written into `vars(part)`, because Keras tracks whatever is set as an attribute.
    """
    originals = [(vars(part), attribute, vars(part).get(attribute)) for part, attribute, _ in replacements]
    try:
        for part, attribute, function in replacements:
            vars(part)[attribute] = function
        yield
    finally:
        for attributes, attribute, function in originals:
            if function is None:  # the method of the class was in use
                del attributes[attribute]
            else:
                attributes[attribute] = function
