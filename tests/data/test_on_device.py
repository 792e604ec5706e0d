"""Images kept on the device, without tensorflow."""

import keras
import numpy as np
import pytest
from conftest import without

from keras_cnns.data import Preprocessing, keep_on_device
from keras_cnns.data.on_device import ImagesOnDevice
from keras_cnns.errors import ArgumentError

IMAGES = np.random.default_rng(0).integers(1, 256, (40, 12, 10, 3), dtype="uint8")
RECORD = Preprocessing((12, 10), 3, mean=(120.0,), scale=(1 / 64,))
PLAIN = Preprocessing((12, 10), 3, mean=(0.0,), scale=(1.0,))


def small_model():
    x = keras.Input((12, 10, 3))
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(x))
    return keras.Model(x, keras.layers.Dense(3, "softmax", name="predictions")(y), name="small")


def test_images_are_not_augmented_outside_training():
    model = small_model()
    trainer = keep_on_device(model, IMAGES, RECORD)
    places = np.array([3, 39, 3, 0])
    expected = model.predict(RECORD.normalize(IMAGES[places].astype("float32")), verbose=0)
    np.testing.assert_allclose(trainer.predict(places, verbose=0), expected, atol=1e-5)
    assert {id(weight) for weight in model.trainable_weights} == {id(weight) for weight in trainer.trainable_weights}


@pytest.mark.parametrize("flip", [True, False])
def test_each_output_is_a_window_of_its_padded_image(flip):
    """The window is found by search; many offsets occur."""
    layer = ImagesOnDevice(IMAGES, PLAIN, 4, flip, seed=1)
    found = np.asarray(layer(np.arange(40), training=True))
    offsets, mirrors = set(), 0
    for image, changed in zip(IMAGES, found, strict=True):
        padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
        windows = {
            (top, left, mirror): (padded[top : top + 12, left : left + 10][:, :: -1 if mirror else 1])
            for top in range(9)
            for left in range(9)
            for mirror in (False, True)
        }
        (hit,) = [key for key, window in windows.items() if np.array_equal(window, changed)]
        offsets.add(hit[:2])
        mirrors += hit[2]
    assert len(offsets) > 20 and {top for top, _ in offsets} >= {0, 4, 8}
    assert 8 <= mirrors <= 32 if flip else mirrors == 0
    again = ImagesOnDevice(IMAGES, PLAIN, 4, flip, seed=1)
    np.testing.assert_array_equal(again(np.arange(40), training=True), found)
    assert not np.array_equal(layer(np.arange(40), training=True), found)  # each step draws new shifts


@pytest.mark.slow
def test_the_model_trains():
    keras.utils.set_random_seed(0)
    labels = np.arange(40) % 3
    bright = (IMAGES // 4 + (60 * labels)[:, None, None, None]).astype("uint8")
    model = small_model()
    trainer = keep_on_device(model, bright, RECORD)
    trainer.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    held_out = (np.arange(30, 40), labels[30:])
    history = trainer.fit(
        np.arange(30), labels[:30], validation_data=held_out, epochs=40, batch_size=10, verbose=0
    ).history
    assert history["val_loss"][-1] < 0.7 * history["val_loss"][0]
    expected = model.predict(RECORD.normalize(bright[30:].astype("float32")), verbose=0).argmax(1)
    assert (expected == labels[30:]).mean() == pytest.approx(history["val_accuracy"][-1])


@pytest.mark.parametrize(
    "images, options, message",
    [
        (IMAGES / 255, {}, "`images` must be uint8 of shape .images, 12, 10, 3"),
        (IMAGES[:, :8], {}, "Received: dtype=uint8, shape=.40, 8, 10, 3"),
        (IMAGES, {"augmentation": "distort"}, "for others use `make_dataset`"),
    ],
)
def test_wrong_arguments_are_refused(images, options, message):
    with pytest.raises(ArgumentError, match=message):
        keep_on_device(small_model(), images, RECORD, **options)


@pytest.mark.slow
def test_jax_trains_without_tensorflow(python):
    done = python(
        without("tensorflow")
        + """
import keras, numpy as np
from keras_cnns import applications, data, recipes, training
keras.utils.set_random_seed(0)
labels = np.arange(64) % 2
images = (np.random.default_rng(0).integers(0, 60, (64, 32, 32, 3)) + 120 * labels[:, None, None, None]).astype("uint8")
model = applications.ResNet20(classes=2)
record = data.Preprocessing((32, 32), 3, mean=(120.0,), scale=(1 / 64,))
trainer = data.keep_on_device(model, images, record)
recipe = recipes.RESNET_CIFAR10.replace(epochs=3, batch_size=32, warmup_steps=0, learning_rate=0.05)
training.compile_model(trainer, recipe, 2)
losses = trainer.fit(np.arange(64), labels, epochs=3, batch_size=32, verbose=0).history["loss"]
assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
print(losses[-1] < losses[0], np.isfinite(losses).all())
""",
        KERAS_BACKEND="jax",
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
