"""The one place that differentiates: values and gradients as NumPy arrays, on TensorFlow and JAX."""

import keras
import numpy as np
from keras import ops, tree

from keras_cnns import _graph
from keras_cnns.analysis._outputs import as_array
from keras_cnns.errors import ArgumentError


def gradients(function, *inputs):
    """Return (value, gradients of the value's sum with respect to each input), float32 arrays.

    Args:
        function: from as many tensors as there are inputs to one tensor.
        inputs: float arrays.

    Raises:
        ArgumentError: on a backend that is neither TensorFlow nor JAX.
    """
    tensors = [ops.convert_to_tensor(x, "float32") for x in inputs]
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        found = tape.gradient(value, tensors, unconnected_gradients="zero")
    elif backend == "jax":
        import jax

        def with_sum(*tensors):
            value = function(*tensors)
            return ops.sum(value), value

        (_, value), found = jax.value_and_grad(with_sum, argnums=tuple(range(len(tensors))), has_aux=True)(*tensors)
    else:
        raise ArgumentError(f"gradients need the backend tensorflow or jax. Received: KERAS_BACKEND={backend}")
    return as_array(value), [as_array(x) for x in found]


def layer_gradients(model, images, layers, score):
    """Return {layer: (its output, the gradient of the score with respect to it)}, float32 arrays.

    Args:
        model: functional `keras.Model`.
        images: float array (images, height, width, channels), as the model takes them.
        layers: names of layers with one output that are used once.
        score: function from the model's output tensor to a tensor, whose sum is differentiated.
    """
    outputs = {}

    def keep(name, operation, compute):
        found = compute()
        if name in layers:
            outputs[name] = found
        return found

    images = ops.convert_to_tensor(images, "float32")
    _graph.run(model, images, keep)
    names = list(outputs)

    def shifted(*shifts):
        shift_of = dict(zip(names, shifts, strict=True))

        def shift(name, operation, compute):
            found = compute()
            return found + ops.cast(shift_of[name], found.dtype) if name in shift_of else found

        return score(_graph.run(model, images, shift))

    _, found = gradients(shifted, *(np.zeros(outputs[name].shape, "float32") for name in names))
    return {name: (as_array(outputs[name]), gradient) for name, gradient in zip(names, found, strict=True)}


def with_backward(function, backward):
    """Return a function with the values of another one, whose gradient is what we say.

    Args:
        function: from one tensor to one of the same shape and dtype.
        backward: function from the gradient with respect to the output to that with respect to the input.
    """

    @ops.custom_gradient
    def replaced(x):
        def gradient(*upstream, **_):
            return backward(upstream[0])

        return function(x), gradient

    def call(inputs):  # JAX's takes no keywords
        return replaced(inputs)

    return call


def weight_gradients(model, images, score, training=False):
    """Return the gradients of the score's sum with respect to each of `model.trainable_variables`, float32 arrays.

    The model stays as it is, moving averages and seeds too.

    Args:
        model: `keras.Model`.
        images: float array (images, height, width, channels), as the model takes them.
        score: function from the model's output to a tensor.
        training: whether the model runs as in training.
    """
    if not model.trainable_variables:
        return []
    images = ops.convert_to_tensor(images, "float32")
    fixed = [variable.value for variable in model.non_trainable_variables]

    def with_weights(*weights):
        outputs, _ = model.stateless_call(weights, fixed, images, training=training)
        return score(tree.flatten(outputs)[0])

    return gradients(with_weights, *map(as_array, model.trainable_variables))[1]
