"""A small classifier of shapes, trained and untrained."""

import keras
import pytest
from keras import layers

from keras_cnns.data import make_shapes

KINDS = ("disc", "triangle", "inverted_triangle")  # turned upside down, only the disc keeps its class


def shapes_network():
    """Return a small network like NiN for pixels of 0 to 255."""
    inputs = layers.Input((32, 32, 3))
    x = layers.Rescaling(1 / 127.5, -1, name="rescaling")(inputs)
    for k, (filters, size) in enumerate(((16, 5), (32, 3), (32, 3)), 1):
        x = layers.Conv2D(filters, size, padding="same", use_bias=False, name=f"conv{k}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"bn{k}")(x)
        x = layers.ReLU(name=f"relu{k}")(x)
        if k < 3:
            x = layers.MaxPooling2D(2, name=f"pool{k}")(x)
    x = layers.Conv2D(len(KINDS), 1, name="maps")(x)  # 8x8
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    return keras.Model(inputs, layers.Activation("softmax", name="predictions")(x), name="shapes")


@pytest.fixture(scope="session")
def shapes():
    """60 images of each kind, which the network was not trained on."""
    return make_shapes(180, kinds=KINDS, seed=1)


@pytest.fixture(scope="session")
def shapes_model():
    """The trained network; it takes `shapes.images` as they are."""
    keras.utils.set_random_seed(0)
    model = shapes_network()
    training = make_shapes(1024, kinds=KINDS)
    optimizer = keras.optimizers.Adam(0.01)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    model.fit(training.images.astype("float32"), training.labels, batch_size=64, epochs=4, verbose=0)
    return model


@pytest.fixture(scope="session")
def untrained_shapes_model():
    """The randomly initialized network."""
    keras.utils.set_random_seed(0)
    return shapes_network()
