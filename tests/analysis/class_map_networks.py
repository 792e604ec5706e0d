"""Small networks with different ends, for the tests of class maps."""

import keras
import numpy as np
from keras import layers, ops


def randomize_vectors(model, seed=1):
    """Set random biases and statistics, so that each matters; return the model."""
    random = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, (layers.Dense, layers.Conv2D, layers.BatchNormalization)):
            layer.set_weights([w if w.ndim > 1 else random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def network(end, shape=(24, 24, 3), name="small"):
    """Return two convolutions, with maps of 6x6x8, and an end."""
    inputs = layers.Input(shape)
    x = layers.Conv2D(6, 3, 2, "same", activation="relu", name="conv1")(inputs)
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="conv2")(x)
    return randomize_vectors(keras.Model(inputs, end(x), name=name))


def dense(x):
    return layers.Dense(5, "softmax", name="fc")(layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x)))


def kept_dimensions(x):
    """The end of MobileNet."""
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Reshape((5,))(layers.Conv2D(5, 1, name="conv_preds")(x))
    return layers.Activation("softmax")(x)


def two_steps(x):
    x = layers.BatchNormalization()(layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    return layers.Dense(5)(layers.Identity()(x))


def average_pool(x):
    return layers.Dense(5, "softmax")(layers.Flatten()(layers.AveragePooling2D(6)(x)))


def mean_of_keras_ops(x):
    return layers.Dense(5, "softmax")(ops.reshape(ops.mean(x, axis=(-3, -2), keepdims=True), (-1, 8)))


def maps_themselves(x):
    return layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="maps")(x)))


def nested(x):
    head = keras.Sequential([layers.Input((6, 6, 8)), layers.GlobalAveragePooling2D(), layers.Dense(5)])
    return head(layers.ReLU()(x))


def shared_relu(x):
    """An end that pools only the second output of a layer."""
    relu = layers.ReLU(name="relu")
    return layers.Dense(5)(layers.GlobalAveragePooling2D()(relu(layers.Conv2D(8, 3, name="conv3")(relu(x)))))


def flattened(x):
    return layers.Dense(5, "softmax", name="fc8")(layers.Flatten(name="flatten")(x))


def hidden_layer(x):
    return layers.Dense(5)(layers.Dense(7, "relu", name="fc1")(layers.GlobalAveragePooling2D()(x)))


def largest(x):
    return layers.Dense(5)(layers.GlobalMaxPooling2D(name="gmp")(x))


def part_of_the_map(x):
    return layers.Dense(5)(layers.Flatten(name="flatten")(layers.AveragePooling2D(3, name="pool")(x)))


def two_pools(x):
    pools = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    return layers.Dense(5)(layers.Concatenate(name="both")(pools))
