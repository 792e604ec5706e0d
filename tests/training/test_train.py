"""What a run writes, and what it keeps when something goes wrong."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from colors import colors, press_ctrl_c
from PIL import Image

from keras_cnns import applications, recipes
from keras_cnns.data.sources import open_source
from keras_cnns.errors import Interrupted, OutputError, OutputExistsError, SourceError, TrainingError
from keras_cnns.saving import load_model, read_info
from keras_cnns.training import _train as module
from keras_cnns.training import compilation, compile_model, train

QUICK = recipes.SHORT.replace(epochs=2, batch_size=16, precision="float32", warmup_steps=2)


def Tiny(classes=10, input_shape=(12, 12, 3), kernel_initializer="he_normal"):
    """A classifier that learns red from blue in seconds."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, 2, activation="relu", kernel_initializer=kernel_initializer)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax", dtype="float32")(x), name="tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run of twelve epochs, and what `train` returned."""
    folder = tmp_path_factory.mktemp("run") / "run"
    keras.utils.set_random_seed(0)
    recipe = QUICK.replace(epochs=12, learning_rate=2e-2)
    return folder, train(Tiny, colors(), recipe, folder, seed=3, command="cnn-train ...")


def test_a_run_writes_six_files(run):
    names = sorted(path.name for path in run[0].iterdir())
    assert names == ["best.keras", "curve.png", "final_state.npz", "log.csv", "model.keras", "run.json"]


def test_a_run_measures_validation_and_test_images(run):
    _, info = run
    assert info.metrics["test"]["top1"] == 1.0 and info.metrics["test"]["examples"] == 20
    assert info.metrics["validation"]["examples"] == 9


def test_the_record_says_how_the_network_was_made(run):
    folder, info = run
    assert read_info(folder / "model.keras") == info
    assert info.class_names == ("red", "green", "blue") and info.builder == "Tiny"
    assert info.network == {"classes": 3, "input_shape": (12, 12, 3)}
    assert info.training["epochs"] == 12 and info.training["seed"] == 3 and not info.training["interrupted"]
    assert info.training["pictures"] == 71 and info.data == {"source": "colors"}


def test_log_and_run_json_hold_every_epoch(run):
    folder, _ = run
    record = json.loads((folder / "run.json").read_text())
    assert len(record["history"]["val_accuracy"]) == 12 and record["recipe"]["epochs"] == 12
    log = (folder / "log.csv").read_text().splitlines()
    assert len(log) == 13 and log[0].startswith("epoch,accuracy,")


def test_the_curve_is_drawn(run):
    curve = Image.open(run[0] / "curve.png")
    assert curve.size[0] > 800 and len(set(np.asarray(curve.convert("L")).ravel().tolist())) > 20


def test_the_written_model_predicts_the_test_labels(run):
    folder, info = run
    model, test = load_model(folder / "model.keras"), colors().split("test")
    x = info.preprocessing.normalize(test.items.astype("float32"))
    assert (model.predict(x, verbose=0).argmax(1) == test.labels).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(tmp_path):
    weights = []
    for k, seed in enumerate((1, 1, 2)):
        train(Tiny, colors(), QUICK.replace(augmentation="pad-crop-flip"), tmp_path / str(k), seed=seed)
        weights.append(load_model(tmp_path / str(k) / "model.keras").get_weights())
    for first, same, other in zip(*weights, strict=True):
        np.testing.assert_allclose(first, same, rtol=1e-5, atol=1e-6)
        assert first.size < 4 or not np.allclose(first, other)


def test_statistics_come_from_the_training_part_alone(tmp_path):
    source = colors()
    info = train(Tiny, source, QUICK.replace(epochs=1), tmp_path / "run", seed=5)
    training, _ = source.split("train").divide(module.VALIDATION_SHARE, 5)
    np.testing.assert_allclose(info.preprocessing.mean, training.items.mean((0, 1, 2)), rtol=1e-6)


def test_an_existing_run_is_kept(tmp_path):
    (tmp_path / "log.csv").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine too")
    with pytest.raises(OutputExistsError, match="log.csv"):
        train(Tiny, colors(), QUICK, tmp_path)
    assert (tmp_path / "log.csv").read_text() == "mine"
    train(Tiny, colors(), QUICK, tmp_path, overwrite=True)
    assert (tmp_path / "log.csv").read_text() != "mine" and (tmp_path / "notes.txt").read_text() == "mine too"


def test_ctrl_c_keeps_what_was_learned(tmp_path, monkeypatch):
    press_ctrl_c(monkeypatch, step=7)  # In the second epoch of five steps
    monkeypatch.setattr(compilation, "_steps_per_execution", lambda *_: 1)
    with pytest.raises(Interrupted, match=r"interrupted after 1 of 9 epochs.*model.keras"):
        train(Tiny, colors(), QUICK.replace(epochs=9), tmp_path / "run")
    info = read_info(tmp_path / "run" / "model.keras")
    assert info.training["interrupted"] and info.training["epochs"] == 1 and "test" not in info.metrics
    assert load_model(tmp_path / "run" / "model.keras").name == "tiny"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted({*module.FILES} - {module.FINAL})


def test_what_cannot_be_recorded_is_reported_before_training(tmp_path):
    recipe = QUICK.replace(network={"kernel_initializer": keras.initializers.HeNormal()})
    with pytest.raises(ValueError, match="must be JSON: name initializers"):
        train(Tiny, colors(), recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "log.csv").exists()


def test_an_unreadable_validation_image_is_reported_before_training(folder_of_images, tmp_path):
    source = open_source(folder_of_images)
    bad = source.split("train").divide(module.VALIDATION_SHARE, 0)[1].items[0]
    Path(bad).write_bytes(b"")
    with pytest.raises(SourceError, match=bad):
        train(Tiny, source, QUICK, tmp_path / "run", input_size=12)
    assert not (tmp_path / "run" / "log.csv").exists()


def test_ctrl_c_in_the_first_epoch_keeps_an_earlier_network(tmp_path, monkeypatch):
    train(Tiny, colors(), QUICK, tmp_path / "run")
    before = (tmp_path / "run" / "model.keras").read_bytes()
    press_ctrl_c(monkeypatch, step=1)
    monkeypatch.setattr(compilation, "_steps_per_execution", lambda *_: 1)
    with pytest.raises(Interrupted, match="model.keras is the earlier run's"):
        train(Tiny, colors(), QUICK, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "model.keras").read_bytes() == before


def test_ctrl_c_in_the_first_epoch_of_a_new_run_saves_the_network(tmp_path, monkeypatch):
    press_ctrl_c(monkeypatch, step=1)
    monkeypatch.setattr(compilation, "_steps_per_execution", lambda *_: 1)
    with pytest.raises(Interrupted, match="interrupted after 0 of 2 epochs"):
        train(Tiny, colors(), QUICK, tmp_path / "run")
    assert read_info(tmp_path / "run" / "model.keras").training["epochs"] == 0


def test_a_loss_that_is_nan_or_infinite_stops_the_run(tmp_path):
    recipe = QUICK.replace(optimizer="sgd", schedule="constant", learning_rate=1e30, warmup_steps=0, epochs=5)
    with pytest.raises(TrainingError, match=r"became NaN or infinite in epoch 1, step \d \(layer .*\); .*log.csv"):
        train(Tiny, colors(), recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "model.keras").exists() and (tmp_path / "run" / "log.csv").exists()


def test_an_unreadable_training_image_is_named(folder_of_images, tmp_path):
    source = open_source(folder_of_images)
    bad = source.split("train").divide(module.VALIDATION_SHARE, 0)[0].items[3]
    Path(bad).write_bytes(b"\x89PNG\r\n")
    with pytest.raises(SourceError, match=bad):
        train(Tiny, source, QUICK, tmp_path / "run", input_size=12)
    assert not (tmp_path / "run" / "model.keras").exists()


def test_an_unreadable_test_image_does_not_cost_the_training(folder_of_images, tmp_path):
    source = open_source(folder_of_images)
    bad = source.split("test").items[0]
    with open(bad, "wb") as file:
        file.write(b"\x89PNG\r\n")
    with pytest.raises(SourceError, match=f"{bad}.*The trained network is safe in"):
        train(Tiny, source, QUICK, tmp_path / "run", input_size=12)
    assert "validation" in read_info(tmp_path / "run" / "model.keras").metrics


@pytest.mark.slow
def test_images_of_all_sizes_get_the_networks_own(folder_of_images, tmp_path):
    info = train(Tiny, open_source(folder_of_images), QUICK, tmp_path / "own")
    assert info.preprocessing.size == (12, 12) and info.preprocessing.shorter_side == 12
    info = train(Tiny, open_source(folder_of_images), QUICK, tmp_path / "named", input_size=16)
    assert info.preprocessing.size == (16, 16)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        train(Tiny, colors(), QUICK, tmp_path / "file" / "run")


def test_mixed_precision_leaves_the_users_policy_alone(tmp_path):
    info = train(Tiny, colors(), QUICK.replace(precision="mixed_bfloat16"), tmp_path / "run")
    assert keras.config.dtype_policy().name == "float32" and info.training["precision"] == "mixed_bfloat16"
    model = load_model(tmp_path / "run" / "model.keras")
    assert model.layers[1].compute_dtype == "bfloat16"


@pytest.mark.parametrize("activation", ["softmax", None])
def test_the_loss_fits_the_models_last_activation(activation):
    model = applications.NiN(variant="mnist", classifier_activation=activation, input_shape=(8, 8, 1))
    compile_model(model, QUICK, 10)
    assert model.loss.from_logits == (activation is None)
    x, y = np.random.default_rng(0).normal(size=(4, 8, 8, 1)), np.arange(4)
    probabilities = model.predict(x, verbose=0)
    if activation is None:
        probabilities = np.exp(probabilities) / np.exp(probabilities).sum(1, keepdims=True)
    expected = -np.log(probabilities[np.arange(4), y]).mean()
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-4)
