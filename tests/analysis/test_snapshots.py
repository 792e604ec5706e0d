"""Snapshots of features during training: their epochs and their values."""

import keras
import numpy as np
import pytest
from analysis.helpers import random_images
from keras import layers

from keras_cnns import training
from keras_cnns.analysis import FeatureSnapshots
from keras_cnns.errors import ArgumentError

IMAGES, LABELS = random_images(24, 10, 8, 1), np.arange(24) % 3


@pytest.fixture
def model():
    x = inputs = keras.Input((10, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(x)
    x = layers.Conv2D(5, 3, activation="relu", name="conv2")(layers.MaxPooling2D(2, name="pool")(x))
    outputs = layers.Dense(3, "softmax", name="dense")(layers.GlobalMaxPooling2D()(x))
    model = keras.Model(inputs, outputs, name="small")
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def maps_of(model, layer, images):
    return keras.Model(model.input, model.get_layer(layer).output).predict(images, verbose=0)


def test_snapshots_have_the_features_of_the_epochs_asked_for(model):
    snapshots = FeatureSnapshots(IMAGES[:6], {"conv1": [3, 0], "conv2": None}, epochs=(0, 1, 3, 99))
    before = maps_of(model, "conv1", IMAGES[:6])
    model.fit(IMAGES, LABELS, epochs=3, verbose=0, callbacks=[snapshots])
    after = maps_of(model, "conv1", IMAGES[:6])
    assert snapshots.taken == [0, 1, 3]
    assert {name: maps.shape for name, maps in snapshots.maps.items()} == {"conv1": (3, 2, 8, 6), "conv2": (3, 5, 2, 1)}
    assert {name: units.tolist() for name, units in snapshots.units.items()} == {
        "conv1": [3, 0],
        "conv2": [0, 1, 2, 3, 4],
    }
    for place, maps in ((0, before), (2, after)):
        strongest = maps.max((1, 2)).argmax(0)
        assert snapshots.images["conv1"][place].tolist() == strongest[[3, 0]].tolist()
        for row, unit in enumerate((3, 0)):
            expected = maps[strongest[unit], :, :, unit]
            np.testing.assert_allclose(snapshots.maps["conv1"][place, row], expected, atol=1e-5)
    for earlier in (0, 1):  # the control: features change during training
        assert np.abs(snapshots.maps["conv1"][2] - snapshots.maps["conv1"][earlier]).max() > 1e-3


def test_method_mean_is_the_mean_over_the_images(model):
    snapshots = FeatureSnapshots(IMAGES[:6], "conv1", epochs=[2], method="mean")
    model.fit(IMAGES, LABELS, epochs=2, verbose=0, callbacks=[snapshots])
    expected = np.moveaxis(maps_of(model, "conv1", IMAGES[:6]).mean(0), -1, 0)
    np.testing.assert_allclose(snapshots.maps["conv1"], expected[None], atol=1e-5)
    assert snapshots.images == {}


def test_snapshots_do_not_change_the_training(model):
    weights = model.get_weights()
    found = []
    for callbacks in ([], [FeatureSnapshots(IMAGES[:6], "conv2", epochs=range(4))]):
        keras.utils.set_random_seed(1)
        model.set_weights(weights)
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        model.fit(IMAGES, LABELS, epochs=3, batch_size=8, verbose=0, callbacks=callbacks)
        found.append(model.get_weights())
    for without, with_snapshots in zip(*found, strict=True):
        np.testing.assert_array_equal(without, with_snapshots)


def test_snapshots_together_with_other_callbacks(model, tmp_path):
    from PIL import Image

    snapshots = FeatureSnapshots(IMAGES[:6], ["conv1", "conv2"], epochs=(1, 2))
    with pytest.raises(ArgumentError, match="no snapshot has been taken"):
        snapshots.draw(tmp_path / "early.png", "Features")
    callbacks = [snapshots, *training.callbacks(tmp_path / "run")]
    model.fit(IMAGES, LABELS, validation_data=(IMAGES, LABELS), epochs=2, verbose=0, callbacks=callbacks)
    assert snapshots.taken == [1, 2] and len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 3
    snapshots.draw(tmp_path / "features.png", "Features", units=3)
    few = Image.open(tmp_path / "features.png").size
    snapshots.draw(tmp_path / "features.png", "Features")
    assert Image.open(tmp_path / "features.png").size[1] > few[1] > few[0]


def test_bad_arguments_are_rejected(model):
    for arguments, message in (
        (("conv1", (0.5,)), "`epochs` must be whole numbers from 0 on"),
        (("conv1", ()), "`epochs` must be whole numbers from 0 on"),
        (([], (1,)), "`layers` must name a layer"),
        (("conv1", (1,), "median"), "`method` must be one of strongest, mean"),
    ):
        with pytest.raises(ArgumentError, match=message):
            FeatureSnapshots(IMAGES, *arguments)
    for wanted, message in (
        ("conv3", "must be a layer of small. Did you mean 'conv"),
        ("dense", "`layers` must output maps; dense outputs vectors"),
        ({"conv1": [0, 4]}, "units of conv1 must be a list of whole numbers from 0 to 3"),
    ):
        with pytest.raises(ArgumentError, match=message):
            model.fit(IMAGES, LABELS, verbose=0, callbacks=[FeatureSnapshots(IMAGES[:6], wanted, (1,))])
    with pytest.raises(ArgumentError, match="`images` must be"):
        model.fit(IMAGES, LABELS, verbose=0, callbacks=[FeatureSnapshots(IMAGES[0], "conv1", (1,))])
