"""Stopping a training run, and extending a complete one."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from colors import colors as all_colors
from conftest import ROOT
from PIL import Image

from keras_cnns import recipes
from keras_cnns.data import open_source
from keras_cnns.errors import ArgumentError, Interrupted, OutputExistsError, TrainingError
from keras_cnns.saving import load_model, read_info
from keras_cnns.training import _signals, checkpoint, holds_photographs, precision, results, train
from keras_cnns.training import _train as module

PLAIN = recipes.Recipe("plain", learning_rate=0.02, batch_size=8, epochs=4, schedule="constant", precision="float32")


def Net(classes=10, input_shape=(8, 8, 3)):
    """A small network with batch normalization."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization(name="bn")(x))
    outputs = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="predictions")(x)
    return keras.Model(inputs, outputs, name="net")


def colors(count=30):
    """Return so few images that an epoch is one execution."""
    return all_colors(count, 9, size=(8, 8))


def same(run, other):
    """Return whether the models of two runs have the same weights."""
    weights = (load_model(folder / "model.keras").get_weights() for folder in (run, other))
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(*weights, strict=True))


class Sends(keras.callbacks.CSVLogger):
    """Send this process a signal in the first step of training."""

    number = signal.SIGINT

    def on_train_batch_begin(self, batch, logs=None):
        if not _signals.active().came:
            os.kill(os.getpid(), self.number)


def test_the_time_is_over_when_an_epoch_is_one_call(tmp_path):
    stopped = train(Net, colors(), PLAIN, tmp_path, max_minutes=1e-9, quiet=True)
    assert stopped.training["epochs"] == 1 and not stopped.training["complete"]
    state, _ = checkpoint.read(tmp_path / "checkpoint.npz")
    assert (state["epoch"], state["step"]) == (1, 0)
    with pytest.raises(OutputExistsError, match="unfinished run: resume it with --resume"):
        train(Net, colors(), PLAIN, tmp_path, quiet=True)
    # The end of the last epoch is the end of the run, however late it is
    last = train(Net, colors(), PLAIN.replace(epochs=1), tmp_path / "last", max_minutes=1e-9, quiet=True)
    assert last.training["complete"] and "test" in last.metrics


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM], ids=str)
def test_a_signal_is_acknowledged_and_loses_no_epoch(tmp_path, monkeypatch, capfd, number):
    monkeypatch.setattr(Sends, "number", number)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks, "CSVLogger", Sends)
        patch.setattr(checkpoint, "SHARE", 1e-9)  # Otherwise the checkpoint may have been written anyway
        with pytest.raises(Interrupted, match="after 1 of 4 epochs"):
            train(Net, colors(), PLAIN, tmp_path, quiet=True)
    assert "stopping: after this step; press Ctrl-C again to quit without saving" in capfd.readouterr().err
    assert signal.getsignal(number) is before and _signals.active() is None
    state, _ = checkpoint.read(tmp_path / "checkpoint.npz")
    assert (state["epoch"], state["step"]) == (1, 0)


def test_ctrl_c_before_the_first_step_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    def press(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module, "fit_preprocessing", press)
    with pytest.raises(Interrupted, match="before the first step; .* is as it was"):
        train(Net, colors(), PLAIN, tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_ctrl_c_while_the_trained_network_is_measured(tmp_path, monkeypatch):
    def press(*_):
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(results, "evaluate", press)
        with pytest.raises(Interrupted, match="while the trained network was measured; it is safe in .*--resume$"):
            train(Net, colors(), PLAIN, tmp_path, quiet=True, command="cnn-train Net --data colors")
    assert read_info(tmp_path / "model.keras").training["epochs"] == 4
    assert "test" in train(Net, colors(), PLAIN, tmp_path, resume=True, quiet=True).metrics


def test_a_second_signal_quits_a_process_that_is_busy():
    """The main thread sleeps, as in a long compiled step."""
    script = """
        import os, signal, threading, time
        from keras_cnns.training import _signals
        _signals.ECHO = 0.1
        def press():
            for pause in (0.02, 0.3, 0.3):  # the second signal comes at once, and is an echo
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(pause)
        from keras_cnns._quiet import quiet
        # `quiet` holds back what libraries write, but not the acknowledgement of the signal
        with _signals.stop_signals(hard=True) as signals, quiet(), signals.stage(_signals.TRAINING, waits=True):
            threading.Timer(0.1, press).start()
            time.sleep(30)  # the handler only notes the signal, and the sleep continues
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130, done
    assert done.stderr.splitlines() == [f"stopping: {_signals.TRAINING}", "quit"]


def test_a_complete_run_is_extended(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(Net, colors(), PLAIN, whole, quiet=True)
    train(Net, colors(), PLAIN.replace(epochs=2), parts, quiet=True)
    info = train(Net, colors(), PLAIN, parts, resume=True, quiet=True)
    assert info.training["extended"] == [2] and info.training["epochs"] == 4 and info.recipe["epochs"] == 4
    assert same(whole, parts)  # The same as four epochs from the beginning
    assert len((parts / "log.csv").read_text().splitlines()) == 5
    assert (parts / "final_state.npz").exists() and not (parts / "checkpoint.npz").exists()
    with pytest.raises(ArgumentError, match="complete with 4 epochs, and can be extended to more"):
        train(Net, colors(), PLAIN.replace(epochs=3), parts, resume=True, quiet=True)
    with pytest.raises(ArgumentError, match="holds another run: its recipe.learning_rate is 0.02, not 0.1"):
        train(Net, colors(), PLAIN.replace(epochs=5, learning_rate=0.1), parts, resume=True, quiet=True)
    (parts / "final_state.npz").unlink()
    with pytest.raises(ArgumentError, match="without the final_state.npz.*model.keras"):
        train(Net, colors(), PLAIN.replace(epochs=5), parts, resume=True, quiet=True)


@pytest.mark.slow
def test_an_extended_cosine_schedule_says_how_its_rate_continues(tmp_path, capfd):
    recipe = PLAIN.replace(schedule="cosine", epochs=1)
    train(Net, colors(), recipe, tmp_path, quiet=True)
    with pytest.raises(Interrupted), pytest.MonkeyPatch.context() as patch:  # It may be stopped again
        patch.setattr(keras.callbacks, "CSVLogger", Sends)
        train(Net, colors(), recipe.replace(epochs=3), tmp_path, resume=True)
    said = capfd.readouterr().err
    assert "extends the complete run of 1 epochs to 3: the cosine schedule is that of 3 epochs" in said
    assert "continues at 0.015" in said  # .02 * (1 + cos(pi / 3)) / 2
    info = train(Net, colors(), recipe.replace(epochs=3), tmp_path, resume=True, quiet=True)
    assert info.training["extended"] == [1] and info.training["complete"]


def test_the_best_epoch_is_restored(tmp_path, monkeypatch):
    real = module.callbacks

    def with_falling_accuracy(*args, **options):  # So the first epoch's weights are the best ones
        callbacks = real(*args, **options)
        best = next(callback for callback in callbacks if type(callback).__name__ == "Best")
        best.value = None
        end = best.on_epoch_end
        best.on_epoch_end = lambda epoch, logs: end(epoch, {**logs, "val_accuracy": 1.0 - epoch / 10})
        return callbacks

    monkeypatch.setattr(module, "callbacks", with_falling_accuracy)
    info = train(Net, colors(), PLAIN, tmp_path, restore_best=True, quiet=True)
    assert info.training["restored_epoch"] == info.training["best_epoch"] == 1 and info.training["epochs"] == 4
    pair = (load_model(tmp_path / name).get_weights() for name in ("model.keras", "best.keras"))
    assert all((a == b).all() for a, b in zip(*pair, strict=True))
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["training"]["restored_epoch"] == 1 and record["run"]["restore_best"]
    with pytest.raises(ArgumentError, match="its restore_best is True, not None"):
        train(Net, colors(), PLAIN, tmp_path, resume=True, quiet=True)


def test_a_moving_average_has_no_best_epoch_to_restore(tmp_path):
    with pytest.raises(ArgumentError, match="leave out `restore_best`"):
        train(Net, colors(), PLAIN.replace(moving_average=0.9), tmp_path, restore_best=True, quiet=True)


def test_frozen_layers_are_recorded_and_stay(tmp_path):
    keras.utils.set_random_seed(0)
    begun = Net(3)
    with pytest.warns(UserWarning, match="conv1, b.* keep random weights"):
        train(Net, colors(), PLAIN.replace(freeze=["conv1", "b*"]), tmp_path, quiet=True)
    trained = load_model(tmp_path / "model.keras")
    for layer in ("conv1", "bn"):  # The statistics of batch normalization are kept too
        pairs = zip(begun.get_layer(layer).get_weights(), trained.get_layer(layer).get_weights(), strict=True)
        assert all((a == b).all() for a, b in pairs)
    assert not np.allclose(begun.get_layer("predictions").kernel, trained.get_layer("predictions").kernel)
    assert read_info(tmp_path / "model.keras").recipe["freeze"] == ["conv1", "b*"]
    assert "freeze" not in PLAIN.to_json()  # as in files and checkpoints from before there was this field
    with pytest.warns(UserWarning), pytest.raises(ArgumentError, match="its recipe.freeze is"):
        train(Net, colors(), PLAIN.replace(freeze=["conv1"]), tmp_path, resume=True, quiet=True)


@pytest.mark.parametrize(
    "decay, message",
    [(1.0, "in epoch 1, step 1 .layer"), pytest.param(0.0, "outputs are NaN", marks=pytest.mark.slow)],
)
def test_a_network_that_its_last_step_spoils_is_reported(tmp_path, decay, message):
    """The loss of the only step, before its update, is finite.

    With weight decay the weights are not finite afterwards, otherwise the outputs.
    """
    recipe = PLAIN.replace(optimizer="sgd", learning_rate=3e38, weight_decay=decay, epochs=1, batch_size=64)
    with pytest.raises(TrainingError, match=message):
        train(Net, colors(), recipe, tmp_path, quiet=True)
    assert (tmp_path / "best.keras").exists() == (not decay)


AMX = "processor\t: 0\nmodel name\t: amx_bf16 in a name\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    "cpuinfo, switch, reason",
    [
        (AMX, None, None),
        (AMX, "1", None),
        (AMX.replace("amx_bf16\n\n", "avx512_bf16\n\n"), None, None),
        (AMX.replace(" amx_bf16\n\n", "\n\n"), None, "neither AVX512-BF16 nor AMX"),
        (AMX, "0", "TF_ENABLE_ONEDNN_OPTS=0"),
        (None, None, "neither AVX512-BF16 nor AMX"),
    ],
)
def test_bfloat16_is_chosen_on_processors_with_kernels_for_it(tmp_path, monkeypatch, recwarn, cpuinfo, switch, reason):
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        pytest.skip("the GPU has its own precision")
    if cpuinfo:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr("keras_cnns._machine.CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    if switch:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", switch)
    assert precision.policy_for("auto") == ("float32" if reason else "mixed_bfloat16") and not recwarn
    assert precision.policy_for("mixed_bfloat16") == "mixed_bfloat16" and len(recwarn) == bool(reason)
    if reason:
        assert reason in str(recwarn[0].message) and "--precision float32" in str(recwarn[0].message)
    with pytest.warns(UserWarning, match="mixed_float16 is emulated here"):
        precision.policy_for("mixed_float16")


def test_photographs_are_distinguished_from_other_folders(tmp_path):
    def folder(name, mode, size):
        for label in "ab":
            (tmp_path / name / label).mkdir(parents=True)
            for k in range(6):
                Image.effect_noise(size, 50 + k).convert(mode).save(tmp_path / name / label / f"{k}.png")
        return open_source(tmp_path / name)

    assert holds_photographs(folder("photographs", "RGB", (90, 70)))
    assert not holds_photographs(folder("letters", "L", (90, 70)))
    assert not holds_photographs(folder("icons", "RGB", (32, 32)))
    assert not holds_photographs(colors())
