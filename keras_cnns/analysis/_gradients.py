"""Gradients as NumPy arrays, on TensorFlow and JAX.

No other module of the package differentiates for an analysis.
"""

from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_cnns import _graph
from keras_cnns.analysis._outputs import as_array
from keras_cnns.errors import ArgumentError


def gradients(function: Callable[..., Any], *inputs: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a function's value, and the gradients of its sum.

    Args:
        function: maps as many tensors as there are inputs to one tensor.
        *inputs: float arrays.

    Returns:
        The value, and a list with the gradient for each input; all are float32 arrays.

    Raises:
        ArgumentError: on a backend other than TensorFlow and JAX.
    """
    tensors = [ops.convert_to_tensor(x, "float32") for x in inputs]
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        by_input = tape.gradient(value, tensors, unconnected_gradients="zero")
    elif backend == "jax":
        import jax

        def sum_and_value(*tensors: Any) -> tuple[Any, Any]:
            value = function(*tensors)
            return ops.sum(value), value

        differentiate = jax.value_and_grad(sum_and_value, argnums=tuple(range(len(tensors))), has_aux=True)
        (_, value), by_input = differentiate(*tensors)
    else:
        raise ArgumentError(f"gradients need the backend tensorflow or jax. Received: KERAS_BACKEND={backend}")
    return as_array(value), [as_array(x) for x in by_input]


def layer_gradients(
    model: keras.Model, images: np.ndarray, layers: Collection[str], score: Callable[[Any], Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return outputs of layers, and a score's gradients with respect to them.

    Args:
        model: functional `keras.Model`.
        images: float array (images, height, width, channels), as the model takes them.
        layers: names of layers with one output that are used once.
        score: function from the model's output tensor to a tensor, whose sum is differentiated.

    Returns:
        A dictionary from layer name to (output, gradient), float32 arrays of the same shape.
    """
    outputs = {}

    def keep(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
        output = compute()
        if name in layers:
            outputs[name] = output
        return output

    tensor = ops.convert_to_tensor(images, "float32")
    _graph.run(model, tensor, keep)
    names = list(outputs)

    # The gradient with respect to a layer's output is that with respect to a zero added to it.
    def score_with_shifts(*shifts: Any) -> Any:
        shift_of = dict(zip(names, shifts, strict=True))

        def shift(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
            output = compute()
            return output + ops.cast(shift_of[name], output.dtype) if name in shift_of else output

        return score(_graph.run(model, tensor, shift))

    _, by_layer = gradients(score_with_shifts, *(np.zeros(outputs[name].shape, "float32") for name in names))
    return {name: (as_array(outputs[name]), gradient) for name, gradient in zip(names, by_layer, strict=True)}


def with_backward(function: Callable[[Any], Any], backward: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function with the same values and another gradient.

    Args:
        function: maps a tensor to a tensor of the same shape and dtype.
        backward: maps the gradient with respect to the output to the gradient with respect to the input.
    """

    @ops.custom_gradient
    def replaced(x: Any) -> Any:
        def gradient(*upstream: Any, **_: Any) -> Any:
            return backward(upstream[0])

        return function(x), gradient

    # A layer calls it with the keyword `inputs`, which JAX's custom gradients do not accept.
    def call(inputs: Any) -> Any:
        return replaced(inputs)

    return call


def weight_gradients(
    model: keras.Model, images: np.ndarray, score: Callable[[Any], Any], training: bool = False
) -> list[np.ndarray]:
    """Return the gradient of a score with respect to each trainable variable.

    The model is left unchanged, including moving averages and seeds.

    Args:
        model: functional `keras.Model`.
        images: float array (images, height, width, channels), as the model takes them.
        score: function from the model's output tensor to a tensor, whose sum is differentiated.
        training: whether the model runs as in training.

    Returns:
        float32 arrays in the order of `model.trainable_variables`.
    """
    if not model.trainable_variables:
        return []
    tensor = ops.convert_to_tensor(images, "float32")
    fixed = [variable.value for variable in model.non_trainable_variables]

    def score_of(*weights: Any) -> Any:
        outputs, _ = model.stateless_call(weights, fixed, tensor, training=training)
        return score(tree.flatten(outputs)[0])

    return gradients(score_of, *map(as_array, model.trainable_variables))[1]
