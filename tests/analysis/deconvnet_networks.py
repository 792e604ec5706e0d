"""Networks for the tests of the deconvnet."""

import keras
import numpy as np
from keras import layers, ops


def randomize(model, low=-1.0, high=1.0, seed=1):
    """Draw weights between `low` and `high`, variances positive; return the model."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = random.uniform(low, high, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def two_convolutions(relu):
    """Return a network with two convolutions and a max pool between them.

    Args:
        relu: function (tensor, filters, name) that applies a convolution of that name and a ReLU.
    """
    x = inputs = keras.Input((12, 11, 2))
    x = relu(x, 5, "conv1")
    x = relu(layers.MaxPooling2D(2, name="pool")(x), 4, "conv2")
    return randomize(keras.Model(inputs, layers.Conv2D(3, 1, name="last")(x)))


def after_convolution(relu):
    return lambda x, filters, name: relu(layers.Conv2D(filters, 3, name=name)(x))


def nested(x, filters, name):
    inner = keras.Sequential([keras.Input(x.shape[1:]), layers.Conv2D(filters, 3, name=name), layers.ReLU()])
    return inner(x)


# All ways to write a ReLU
RELUS = {
    "activation": lambda x, filters, name: layers.Conv2D(filters, 3, activation="relu", name=name)(x),
    "layer as activation": lambda x, filters, name: layers.Conv2D(filters, 3, activation=layers.ReLU(), name=name)(x),
    "ReLU layer": after_convolution(lambda x: layers.ReLU()(x)),
    "Activation layer": after_convolution(lambda x: layers.Activation("relu")(x)),
    "keras.ops.relu": after_convolution(ops.relu),
    "keras.activations.relu": after_convolution(keras.activations.relu),
    "leaky with slope 0": after_convolution(lambda x: layers.LeakyReLU(0.0)(x)),
    "high cap": after_convolution(lambda x: layers.ReLU(max_value=1e6)(x)),
    "nested models": nested,
}


def linear(*steps, shape=(9, 8, 4)):
    """Return a model of layers, the last named "last", and a ReLU."""
    model = keras.Sequential([keras.Input(shape), *steps])
    model.layers[-1].name = "last"
    return randomize(keras.Model(model.inputs, layers.ReLU()(model.outputs[0])))
