"""A source reopened from a model file's record has the same splits."""

import json

import keras
import numpy as np
import pytest
from conftest import one_sentence

from keras_cnns import recipes, saving
from keras_cnns.data import Preprocessing, open_source, reopen_source, split_source
from keras_cnns.errors import ArgumentError
from keras_cnns.export.options import Options
from keras_cnns.export.quantization import choose_calibration
from keras_cnns.export.sample_images import choose_images
from keras_cnns.training import train

SHARES = {"train": 0.65, "validation": 0.25, "test": 0.10}


@pytest.fixture
def npz(tmp_path):
    """An .npz file of 100 images, each encoding its number."""
    images = np.arange(100, dtype="<u4").view("uint8").reshape(100, 2, 2, 1)
    labels = np.arange(100) % 3
    path = tmp_path / "numbers.npz"
    np.savez(path, x_train=images[:80], y_train=labels[:80], x_test=images[80:], y_test=labels[80:])
    return path


def Linear(classes=3, input_shape=(2, 2, 1)):
    """Return the smallest classifier."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(keras.layers.Flatten()(inputs)))


def recorded(source):
    """Return the record of a source as read from a model file."""
    return json.loads(json.dumps({**source.record(), "data_dir": None}))


def same(first, second):
    """Return whether two sources have the same splits, images and labels."""
    return list(first.splits) == list(second.splits) and all(
        np.array_equal(first.split(name).items, second.split(name).items)
        and np.array_equal(first.split(name).labels, second.split(name).labels)
        for name in first.splits
    )


@pytest.mark.parametrize("kind", ["npz", "folder_of_images", "digits"])
def test_a_reopened_source_has_the_same_splits(kind, request):
    opened = open_source("digits" if kind == "digits" else request.getfixturevalue(kind))
    assert opened.record() == {"source": opened.name} and same(reopen_source(recorded(opened)), opened)
    once = split_source(opened, SHARES, seed=np.int64(3))
    twice = split_source(once, {"train": np.float32(0.5), "validation": 0.5}, seed=1)
    for source in (once, twice):
        again = reopen_source(recorded(source))
        assert same(again, source) and not same(again, opened) and again.record() == source.record()
    assert not same(once, twice)


def test_only_the_recorded_source_is_divided(npz, folder_of_images, tmp_path, monkeypatch):
    source = split_source(open_source(npz), SHARES)
    other = tmp_path / "other.npz"
    other.write_bytes(npz.read_bytes())
    assert same(reopen_source(recorded(source), other), open_source(npz))
    assert same(reopen_source(None, npz), open_source(npz))
    monkeypatch.chdir(tmp_path)
    assert same(reopen_source(recorded(source), "numbers.npz"), source)  # another spelling of the path
    (tmp_path / "digits").mkdir()
    assert reopen_source({"source": "./digits", "divisions": source.divisions}, "digits").divisions == ()
    (tmp_path / "digits").rmdir()
    folder_of_images.rename(tmp_path / "digits")
    folder = open_source("digits")
    assert folder.class_names == ("blue", "red") and "scikit-learn's digits are sklearn:digits" in folder.notes[""][0]
    assert (
        reopen_source(recorded(folder)).class_names
        == reopen_source(recorded(folder), "digits").class_names
        == ("blue", "red")
    )
    digits = open_source("sklearn:digits")
    for again in (reopen_source(recorded(digits)), reopen_source(recorded(digits), "sklearn:digits")):
        assert digits.name == "digits" and again.class_names == tuple("0123456789")


@pytest.mark.parametrize(
    "record, message",
    [
        (None, "does not say which images it was trained on"),
        ({}, "does not say which images it was trained on"),
        ({"source": "digits", "divisions": [{"shares": {"train": 1.0}}]}, "does not say how its images were divided"),
        ({"source": "digits", "divisions": 3}, "does not say how its images were divided"),
        (
            {"source": "digits", "divisions": [{"shares": [1.0], "seed": 0}]},
            "does not say how its images were divided",
        ),
        ({"source": "digits", "divisions": [{"shares": {"trian": 1.0}, "seed": 0}]}, "Received: 'trian'"),
        ({"source": "digist"}, "Did you mean 'digits'"),
    ],
)
def test_records_that_cannot_be_used(record, message):
    with pytest.raises(ArgumentError, match=message):
        reopen_source(record)


def test_cnn_evaluate_measures_on_the_recorded_splits(cli, npz, tmp_path):
    source = split_source(open_source(npz), SHARES)
    model = Linear()
    info = saving.ModelInfo(source.class_names, Preprocessing((2, 2), 1), data=recorded(source))
    saving.save_model(model, tmp_path / "model.keras", info)
    for name, split in source.splits.items():
        code, out, err = cli("evaluate", tmp_path / "model.keras", "--data", npz, "--split", name, "--json")
        assert code == 0 and np.sum(json.loads(out)["confusion"], axis=1).tolist() == np.bincount(split.labels).tolist()
        assert "is divided as it was for the training" in err
    other = tmp_path / "other.npz"
    other.write_bytes(npz.read_bytes())
    code, out, err = cli("evaluate", tmp_path / "model.keras", "--data", other, "--json")
    assert code == 0 and json.loads(out)["examples"] == 20
    one_sentence(err, f"was trained on a part of {npz}, which was divided for it", f"{other} has its own splits")


def test_training_records_the_division(npz, tmp_path):
    source = split_source(open_source(npz), SHARES)
    recipe = recipes.SHORT.replace(epochs=1, precision="float32", augmentation="none")
    train(Linear, source, recipe, tmp_path, quiet=True)
    assert same(reopen_source(saving.read_info(tmp_path / "model.keras").data), source)


@pytest.mark.parametrize("named", [False, True])
def test_artifacts_are_verified_and_calibrated_on_the_recorded_splits(npz, named):
    source, plain = split_source(open_source(npz), SHARES), Preprocessing((2, 2), 1)
    info, name = saving.ModelInfo(source.class_names, plain, data=recorded(source)), npz if named else None
    sample = choose_images(plain, info, name)
    np.testing.assert_array_equal(sample.images, source.split("test").items)
    options = Options(quantize="int8", calibration_samples=1000, calibration=name)
    calibration = choose_calibration(options, plain, info, info.class_names)
    np.testing.assert_array_equal(calibration.images, source.split("train").items)
