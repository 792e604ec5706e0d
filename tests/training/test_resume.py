"""That a resumed run ends as one that was never stopped."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import zipfile

import keras
import numpy as np
import pytest
from colors import colors as all_colors
from killing import Killed, killed_at, save_each_step

from keras_cnns import _files, recipes, training
from keras_cnns.data.dataset_state import Position
from keras_cnns.errors import ArgumentError, Interrupted, ModelFileError, TrainingError
from keras_cnns.saving import load_model, read_info
from keras_cnns.training import _train, checkpoint, compilation, train
from keras_cnns.training.identity import RunIdentity

PLAIN = recipes.Recipe("plain", learning_rate=0.02, batch_size=8, epochs=4, precision="float32")
STEPS = 9  # per epoch of 71 images


def Net(classes=10, input_shape=(8, 8, 3)):
    """Build a small network with batch statistics and dropout."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv1")(inputs)
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization(name="bn")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(classes, activation="softmax", dtype="float32", name="predictions")(x)
    return keras.Model(inputs, outputs, name="net")


def colors(seed=0):
    """Return 80 training and 20 test images."""
    return all_colors(size=(8, 8), seed=seed)


@pytest.fixture(autouse=True)
def as_before():
    """Switch deterministic operations off again for other tests."""
    yield
    from tensorflow.python.framework.config import disable_op_determinism

    disable_op_determinism()


@pytest.fixture
def often(monkeypatch):
    """Write a checkpoint after every step, in executions of one step."""
    save_each_step(monkeypatch)


def killed_after(monkeypatch, output, recipe, steps, **options):
    """Kill a run after so many steps; return its checkpoint's (epoch, step)."""
    with killed_at(steps, monkeypatch):
        train(Net, colors(), recipe, output, **options)
    state, _ = checkpoint.read(output / "checkpoint.npz")
    return state["epoch"], state["step"]


def weights_of(output):
    return load_model(output / "model.keras").get_weights()


def same(weights, others):
    return all((a == b).all() for a, b in zip(weights, others, strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in (
                {"precision": "mixed_bfloat16", "augmentation": "pad-crop-flip", "mixup": 0.2, "optimizer": "sgd"},
                {"schedule": "plateau", "patience": 1, "augmentation": "crop-flip"},
                {"moving_average": 0.9, "accumulation": 2, "clip_norm": 1.0},
                {"balance": "repeat", "precision": "mixed_float16"},
            )
        ),
    ],
    ids=lambda changes: "-".join(map(str, changes)) or "plain",
)
def test_a_resumed_run_ends_with_the_very_same_weights(tmp_path, monkeypatch, often, changes):
    recipe = PLAIN.replace(**changes)
    whole = train(Net, colors(), recipe, tmp_path / "whole", deterministic=True)
    for steps in (3, STEPS, 2 * STEPS + 5):
        output = tmp_path / str(steps)
        place = killed_after(monkeypatch, output, recipe, steps, deterministic=True)
        assert place in (divmod(steps, STEPS), (steps // STEPS - 1, STEPS - 1))
        resumed = train(Net, colors(), recipe, output, resume=True, deterministic=True)
        assert same(weights_of(output), weights_of(tmp_path / "whole"))
        assert resumed.metrics == whole.metrics
        assert (output / "log.csv").read_bytes() == (tmp_path / "whole" / "log.csv").read_bytes()
        assert not (output / "checkpoint.npz").exists()
        assert resumed.training["epochs"] == 4 and resumed.training["complete"]
        if whole.training["best_epoch"]:
            assert resumed.training["best_epoch"] == whole.training["best_epoch"]
            best = [load_model(run / "best.keras").get_weights() for run in (output, tmp_path / "whole")]
            assert same(*best)


CHILD = """
import os, signal, sys
sys.path[:0] = {paths!r}
import numpy as np
from pathlib import Path
from tests.training.test_resume import PLAIN, Net, colors
from keras_cnns import training
from keras_cnns.training import _callbacks, checkpoint, compilation
checkpoint.SHARE = 1e9
_callbacks.callbacks.__kwdefaults__["minutes"] = 0.0
compilation._steps_per_execution = lambda model, batch_size: 1
{more}
training.train(Net, colors(), PLAIN, Path({output!r}), deterministic=True)
"""
KILL = """
when, written, real = {when}, 0, np.savez
def savez(file, **arrays):
    global written
    written += 1
    if written == when and {inside}:
        file.write(b"PK half a checkpoint")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    real(file, **arrays)
    if written == when:
        os.kill(os.getpid(), signal.SIGKILL)
np.savez = savez
"""


def run_child(output, more):
    """Train in a child process."""
    root = str(_root())
    script = CHILD.format(paths=[root, f"{root}/tests"], more=textwrap.dedent(more), output=str(output))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )


def _root():
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.mark.slow
@pytest.mark.parametrize(
    "when, inside",
    [(5, True), (14, False), (20, True)],
)
def test_a_run_that_was_killed_is_resumed_from_its_last_checkpoint(tmp_path, often, when, inside):
    output = tmp_path / "run"
    done = run_child(output, KILL.format(when=when, inside=inside))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert any(path.name.startswith(".checkpoint-") for path in output.iterdir())
    state, _ = checkpoint.read(output / "checkpoint.npz")
    assert (state["epoch"], state["step"]) == divmod(when - 2, STEPS)  # The first was written before the first step
    (output / ".checkpoint-notes.npz").write_text("mine")
    resumed = train(Net, colors(), PLAIN, output, resume=True, deterministic=True)
    whole = train(Net, colors(), PLAIN, tmp_path / "whole", deterministic=True)
    assert resumed.metrics == whole.metrics and same(weights_of(output), weights_of(tmp_path / "whole"))
    hidden = [path.name for path in output.iterdir() if path.name.startswith(".")]
    assert hidden == [".checkpoint-notes.npz"]


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, often):
    output = tmp_path / "run"
    limit = f"""
        import resource
        real, log = np.savez, Path({str(output / "log.csv")!r})
        def savez(file, **arrays):
            if log.exists() and log.stat().st_size > 0:  # After the first epoch
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            real(file, **arrays)
        np.savez = savez
    """
    done = run_child(output, limit)
    assert done.returncode == 1 and "checkpoint.npz: cannot be written (File too large)" in done.stderr
    assert "Free some space there" in done.stderr
    state, _ = checkpoint.read(output / "checkpoint.npz")  # The one before is complete
    assert (state["epoch"], state["step"]) == (0, STEPS - 1)
    resumed = train(Net, colors(), PLAIN, output, resume=True, deterministic=True)
    assert resumed.training["complete"]


def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path, monkeypatch, often):
    output = tmp_path / "run"
    killed_after(monkeypatch, output, PLAIN, 5)
    path = output / "checkpoint.npz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content, fault in (
        (b"", "no complete checkpoint"),
        (whole[:middle], "no complete checkpoint"),
        (whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :], "damaged"),
        (b"not a zip at all", "no complete checkpoint"),
    ):
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=f"checkpoint.npz.*{fault}.*Remove it"):
            train(Net, colors(), PLAIN, output, resume=True)
        assert path.read_bytes() == content
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(ModelFileError, match="no complete checkpoint"):
        train(Net, colors(), PLAIN, output, resume=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine.txt", "mine")
    with pytest.raises(ModelFileError, match="no complete checkpoint"):
        train(Net, colors(), PLAIN, output, resume=True)
    path.unlink()
    with pytest.raises(ArgumentError, match=r"a run without its checkpoint \(.*log.csv.*--force"):
        train(Net, colors(), PLAIN, output, resume=True)
    path.write_bytes(whole)
    assert train(Net, colors(), PLAIN, output, resume=True).training["complete"]


def Wider(classes=10, input_shape=(8, 8, 3)):
    return Net(classes + 1, input_shape)


@pytest.mark.parametrize(
    "build, source, recipe, options, named",
    [
        (Wider, colors(), PLAIN, {}, "network is 'Net', not 'Wider'"),
        pytest.param(Net, colors(1), PLAIN, {}, "pictures is", marks=pytest.mark.slow),
        (Net, colors(), PLAIN.replace(epochs=5), {}, "recipe.epochs is 4, not 5"),
        (Net, colors(), PLAIN, {"seed": 3}, "pictures is|seed is 0, not 3"),
        pytest.param(
            Net, colors(), PLAIN.replace(precision="mixed_bfloat16"), {}, "recipe.precision is", marks=pytest.mark.slow
        ),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, monkeypatch, build, source, recipe, options, named):
    killed_after(monkeypatch, tmp_path, PLAIN, 1)
    before = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(ArgumentError, match=f"belongs to another run: its ({named})"):
        train(build, source, recipe, tmp_path, resume=True, **options)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before


EARLIER_IDENTITY = (
    '{"network": "Net", "arguments": {"classes": "3", "input_shape": "(8, 8, 3)"}, "recipe": {"name": "plain", '
    '"freeze": ["conv*"]}, "classes": ["red", "green", "blue"], "pictures": "00ff", "seed": 3, "precision": "float32"'
)


@pytest.mark.parametrize(
    "options, more",
    [
        ({}, "}"),
        ({"weights": "digits"}, ', "weights": "digits"}'),
        ({"weights": "digits", "restore_best": True}, ', "weights": "digits", "restore_best": true}'),
    ],
)
def test_the_identity_of_a_run_is_stored_as_by_earlier_versions(options, more):
    """Byte for byte, so that runs of earlier versions can be resumed."""
    run = RunIdentity(
        network="Net",
        arguments={"classes": "3", "input_shape": "(8, 8, 3)"},
        recipe={"name": "plain", "freeze": ("conv*",)},
        classes=("red", "green", "blue"),
        images="00ff",
        seed=3,
        precision="float32",
        **options,
    )
    assert json.dumps(run.to_json()) == EARLIER_IDENTITY + more


@pytest.mark.slow
def test_a_complete_run_is_left_as_it_is(tmp_path):
    done = train(Net, colors(), PLAIN, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert train(Net, colors(), PLAIN, tmp_path, resume=True) == done
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(ArgumentError, match="holds another run"):
        train(Net, colors(), PLAIN.replace(learning_rate=0.1), tmp_path, resume=True)


def test_resume_without_a_run_starts_one(tmp_path):
    assert train(Net, colors(), PLAIN.replace(epochs=1), tmp_path / "new", resume=True).training["complete"]


def test_two_runs_into_one_folder_are_refused(tmp_path):
    with _files.locked(tmp_path), pytest.raises(ArgumentError, match="another run is writing into this folder"):
        train(Net, colors(), PLAIN, tmp_path)
    assert list(tmp_path.iterdir()) == []
    train(Net, colors(), PLAIN.replace(epochs=1), tmp_path)


def test_a_run_whose_time_is_over_can_be_resumed(tmp_path, monkeypatch, often):
    whole = train(Net, colors(), PLAIN, tmp_path / "whole", deterministic=True)
    monkeypatch.setattr(checkpoint, "SHARE", 1e-9)  # Never except at the end
    stopped = train(Net, colors(), PLAIN, tmp_path / "run", deterministic=True, max_minutes=1e-9)
    assert not stopped.training["complete"] and not stopped.training["interrupted"]
    assert "test" not in stopped.metrics
    state, _ = checkpoint.read(tmp_path / "run" / "checkpoint.npz")
    assert (state["epoch"], state["step"]) == (0, 1)
    assert read_info(tmp_path / "run" / "model.keras").training["epochs"] == 0
    resumed = train(Net, colors(), PLAIN, tmp_path / "run", deterministic=True, resume=True, max_minutes=60)
    assert resumed.metrics == whole.metrics and same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("within", [True, False], ids=["training", "validation"])
def test_ctrl_c_says_how_to_resume(tmp_path, monkeypatch, often, within):
    whole = train(Net, colors(), PLAIN, tmp_path / "whole", deterministic=True)
    monkeypatch.setattr(checkpoint, "SHARE", 1e-9)
    batches = []

    class Press(keras.callbacks.CSVLogger):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(batch)
            if within and len(batches) == STEPS + 4:
                os.kill(os.getpid(), signal.SIGTERM)

        def on_test_batch_begin(self, batch, logs=None):
            if not within and len(batches) == 2 * STEPS:
                os.kill(os.getpid(), signal.SIGINT)

    command = "cnn-train Net --data colors --force"
    with monkeypatch.context() as patch:
        patch.setattr(keras.callbacks, "CSVLogger", Press)
        done = 1 if within else 2  # A validation is finished first
        with pytest.raises(
            Interrupted, match=rf"after {done} of 4 epochs.*To resume: cnn-train Net --data colors --resume$"
        ):
            train(Net, colors(), PLAIN, tmp_path / "run", deterministic=True, command=command)
    if within:
        state, _ = checkpoint.read(tmp_path / "run" / "checkpoint.npz")
        assert (state["epoch"], state["step"]) == (1, 4)
    resumed = train(Net, colors(), PLAIN, tmp_path / "run", deterministic=True, resume=True)
    assert resumed.metrics == whole.metrics and same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))


@pytest.mark.slow
def test_early_stopping_survives_a_resume(tmp_path, monkeypatch, often):
    recipe = PLAIN.replace(epochs=50, early_stopping=2, learning_rate=0.5, schedule="constant")
    whole = train(Net, colors(), recipe, tmp_path / "whole", deterministic=True)
    epochs = whole.training["epochs"]
    losses = json.loads((tmp_path / "whole" / "run.json").read_text())["history"]["val_loss"]
    assert 2 < epochs < 50 and min(losses) == losses[-3]
    # Killed after the last checkpoint, when nothing is left to train
    with monkeypatch.context() as patch:
        patch.setattr(_train, "finish", lambda *arguments: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            train(Net, colors(), recipe, tmp_path / "run", deterministic=True)
    resumed = train(Net, colors(), recipe, tmp_path / "run", deterministic=True, resume=True)
    assert resumed.training["epochs"] == epochs and same(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))


def test_the_layer_and_the_step_of_a_loss_that_is_not_finite_are_named(tmp_path, often):
    recipe = PLAIN.replace(optimizer="sgd", learning_rate=1e25, schedule="constant")
    with pytest.raises(
        TrainingError, match=r"in epoch 1, step \d+ \(layer (conv1|bn|predictions).*\); .*log.csv"
    ) as caught:
        train(Net, colors(), recipe, tmp_path)
    assert "lower learning rate" in str(caught.value) and (tmp_path / "log.csv").exists()


@pytest.mark.slow
def test_the_callbacks_serve_any_fit(tmp_path):
    images, labels = colors().split("train").items.astype("float32"), colors().split("train").labels

    def fit(epochs, folder, resume=False):
        keras.utils.set_random_seed(0)
        model = compilation.compile_model(Net(3), PLAIN, 10)
        callbacks = training.callbacks(folder, PLAIN, resume=resume)
        data = {"x": images, "y": labels, "validation_data": (images, labels), "batch_size": 8, "shuffle": False}
        model.fit(**data, epochs=epochs, callbacks=callbacks, verbose=0)
        return model.get_weights()

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = fit(4, tmp_path / "whole")
    fit(2, tmp_path / "parts")
    parts = fit(4, tmp_path / "parts", resume=True)
    for weight, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-5)
    assert len((tmp_path / "parts" / "log.csv").read_text().splitlines()) == 5
    assert load_model(tmp_path / "parts" / "best.keras").name == "net"


def test_a_missing_gpu_is_reported(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    with pytest.raises(ArgumentError, match="sees no GPU"):
        training.use_device("gpu")
    training.use_device("auto")
    with pytest.raises(ArgumentError, match="Did you mean 'gpu'"):
        training.use_device("gpus")


def test_a_checkpoint_costs_little_of_the_time(tmp_path, monkeypatch):
    """Writing takes a small part of the time since the last checkpoint."""
    written, now = [], [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    real = np.savez

    def slow(*arguments, **arrays):
        written.append(now[0])
        now[0] += 1.0
        real(*arguments, **arrays)

    monkeypatch.setattr(checkpoint.np, "savez", slow)
    model = compilation.compile_model(Net(3), PLAIN, 10)
    callback = checkpoint.Checkpoint(tmp_path / "c.npz", position=Position(), steps=1000, minutes=10)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(3):
        callback.on_epoch_begin(epoch)
        for step in range(1000):
            now[0] += 0.9
            callback.on_train_batch_end(step)
        callback.on_epoch_end(epoch)
    assert written[0] == 0.0 and len(written) == 7
    assert np.diff(written).min() > 1 / checkpoint.SHARE


UNDER_JAX = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
import numpy as np
import keras
from tests.training.test_resume import PLAIN, Killed, Net, colors
from keras_cnns.saving import load_model
from keras_cnns.training import _callbacks, _train, checkpoint, compilation, stops, train
assert keras.backend.backend() == "jax"
checkpoint.SHARE = 1e9
_callbacks.callbacks.__kwdefaults__["minutes"] = 0.0
compilation._steps_per_execution = lambda model, batch_size: 1
output, real, batches = Path({output!r}), stops.CtrlC.on_train_batch_end, []
def kill(self, batch, logs=None):
    batches.append(batch)
    if len(batches) == 14:
        raise Killed
train(Net, colors(), PLAIN, output / "whole", quiet=True)
stops.CtrlC.on_train_batch_end = kill
try:
    train(Net, colors(), PLAIN, output / "run", quiet=True)
except Killed:
    pass
stops.CtrlC.on_train_batch_end = real
state, _ = checkpoint.read(output / "run" / "checkpoint.npz")
assert (state["epoch"], state["step"]) == (1, 5), state
train(Net, colors(), PLAIN, output / "run", resume=True, quiet=True)
whole, run = (load_model(output / name / "model.keras").get_weights() for name in ("whole", "run"))
assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(whole, run))
rows = [(output / name / "log.csv").read_text().splitlines() for name in ("whole", "run")]
for a, b in zip(*rows, strict=True):
    assert a == b or np.allclose(*(np.array(row.split(","), float) for row in (a, b)), rtol=1e-4), (a, b)
print("done")
"""


@pytest.mark.slow
def test_a_run_is_resumed_under_jax(tmp_path):
    pytest.importorskip("jax")
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    script = UNDER_JAX.format(paths=[_root(), f"{_root()}/tests"], output=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=_root(), env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and done.stdout.endswith("done\n"), done.stderr
