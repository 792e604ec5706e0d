"""How a signal passes each ReLU on its way down to the image, in place of the ReLU's derivative."""

import contextlib

import keras
from keras import ops

from keras_cnns import _graph, _keras
from keras_cnns import layers as our_layers
from keras_cnns.analysis import _gradients
from keras_cnns.errors import ArgumentError

RELU_LAYERS = (keras.layers.ReLU, keras.layers.LeakyReLU)
RELU_OPERATIONS = {"ReLU", "Relu", "Relu6", "LeakyRelu"}  # of keras.ops and keras.activations
RELU_FUNCTIONS = {"relu", "relu6", "leaky_relu"}  # Keras's, and those of the backends


def check_relu(model, use_instead):
    """Raise ArgumentError if a model has no ReLU."""
    if not any(_relus(use.operation) for use in _graph.walk(model)[1]):
        raise ArgumentError(
            f"`model` must have a ReLU, which this method treats otherwise than the gradient does: {model.name} has "
            f"none; take {use_instead}. Received: model={model}"
        )


def is_relu(operation):
    """Return whether an operation ends with a ReLU that gives no value below zero."""
    return any(slope == 0 for *_, slope in _relus(operation))


def derivative(name, operation, compute):
    """Visit an operation: the signal passes it by its own derivative. For `_graph.run`."""
    return compute()


def deconvolution(name, operation, compute):
    """Visit an operation: a ReLU passes the signal through a ReLU, whatever its input was; LRN passes it as it is.

    For `_graph.run`; Zeiler and Fergus 2014, section 2.1.
    """
    replaced = [
        (part, attribute, _gradients.with_backward(function, _rectifier(slope)))
        for part, attribute, function, slope in _relus(operation)
    ]
    if isinstance(operation, our_layers.LocalResponseNormalization):
        replaced = [(operation, "call", _gradients.with_backward(operation.call, lambda signal: signal))]
    with _in_place(replaced):
        return compute()


def guided(name, operation, compute):
    """Visit an operation: a ReLU passes the signal through a ReLU and through its own derivative.

    For `_graph.run`; Springenberg et al. 2015, section 3.4.
    """

    def both(function, slope):
        through_relu = _gradients.with_backward(lambda x: x, _rectifier(slope))
        return lambda inputs: through_relu(function(inputs))

    replaced = [(part, attribute, both(function, slope)) for part, attribute, function, slope in _relus(operation)]
    with _in_place(replaced):
        return compute()


def _relus(operation):
    """Return (part, its attribute, the function there, slope below zero) of each ReLU that an operation is or has."""
    parts = _keras.all_layers(operation) if isinstance(operation, keras.layers.Layer) else [operation]
    found = []
    for part in parts:
        activation = getattr(part, "activation", None)
        if isinstance(part, RELU_LAYERS) or type(part).__name__ in RELU_OPERATIONS:
            found.append((part, "call", part.call, getattr(part, "negative_slope", 0.0)))
        elif getattr(activation, "__name__", None) in RELU_FUNCTIONS:
            found.append((part, "activation", activation, abs(float(activation(-1.0)))))
    return found


def _rectifier(slope):
    return lambda signal: ops.relu(signal) - slope * ops.relu(-signal) if slope else ops.relu(signal)


@contextlib.contextmanager
def _in_place(replaced):
    """Let layers have other functions while they compute.

    Written into the objects' own dictionaries: Keras tracks what is set as an attribute.
    """
    kept = [(vars(part), attribute, vars(part).get(attribute)) for part, attribute, _ in replaced]
    try:
        for part, attribute, function in replaced:
            vars(part)[attribute] = function
        yield
    finally:
        for own, attribute, function in kept:
            if function is None:
                del own[attribute]
            else:
                own[attribute] = function
