"""cnn-train writes a model file, resumes, and explains what it cannot train."""

import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from conftest import ROOT, one_sentence

from keras_cnns import recipes
from keras_cnns.saving import read_info


@pytest.fixture
def small_npz(tmp_path):
    """Return a file of bright and dark images, which are learned quickly."""
    random = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 80), ("test", 20)):
        y = np.arange(count) % 2
        x = random.integers(0, 100, (count, 12, 12), dtype="uint8") + (130 * y[:, None, None]).astype("uint8")
        parts |= {f"x_{part}": x, f"y_{part}": y}
    np.savez(tmp_path / "small.npz", class_names=["dark", "bright"], **parts)
    return tmp_path / "small.npz"


def test_train_evaluate_and_export_a_file_of_arrays(cli, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "NiN", "--data", "small.npz", "--epochs", 6, "--seed", 4, "--json")
    info = json.loads(out)
    assert info["training"]["command"] == "cnn-train NiN --data small.npz --epochs 6 --seed 4 --json"
    assert code == 0 and info["output"] == "runs/nin-small" and info["metrics"]["test"]["examples"] == 20
    assert "recipe short, 6 epochs" in err and "epoch 6/6" in err
    assert read_info("runs/nin-small/model.keras").class_names == ("dark", "bright")
    code, out, err = cli("evaluate", "runs/nin-small/model.keras", "--data", "small.npz", "--json")
    assert code == 0 and json.loads(out)["top1"] == pytest.approx(info["metrics"]["test"]["top1"], abs=0.051)
    code, out, err = cli("export", "runs/nin-small/model.keras", "--format", "all")
    assert code == 0 and "20 test images of small.npz" in out
    (tmp_path / "small.npz").unlink()
    code, out, err = cli("export", "runs/nin-small/model.keras", "--format", "onnx", "--force")
    assert code == 0 and "64 digits of scikit-learn" in out and "Accuracy was not measured" in out
    code, out, err = cli("train", "NiN", "--data", "digits", "--output", "runs/nin-small", "--epochs", 1)
    assert code == 2 and one_sentence(err, "the output exists", "model.keras")


@pytest.mark.slow
def test_train_resumes_after_max_minutes(cli, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("NiN", "--data", "small.npz", "--epochs", 3, "--quiet", "--tensorboard", "--balance", "weights")
    code, out, err = cli("train", *arguments, "--max-minutes", 1e-9)
    assert code == 0 and err == "" and "validation" not in out
    code, out, err = cli("train", *arguments)
    assert code == 2 and one_sentence(err, "holds an unfinished run: resume it with --resume")
    code, out, err = cli("train", *arguments, "--seed", 1, "--resume")
    assert code == 2 and one_sentence(err, "checkpoint.npz belongs to another run: its")
    code, out, err = cli("train", *arguments, "--resume")
    assert code == 0 and err == "" and "test" in out
    folder = tmp_path / "runs" / "nin-small"
    info = read_info(folder / "model.keras")
    assert info.training["complete"] and info.training["epochs"] == 3 and info.recipe["balance"] == "weights"
    assert list(folder.glob("tensorboard/*/train/events*")) and not (folder / "checkpoint.npz").exists()
    code, again, err = cli("train", *arguments, "--resume")
    assert code == 0 and again == out


@pytest.mark.slow
def test_train_starts_from_trained_weights(cli, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "nin:mnist", "--data", "small.npz", "--epochs", 1, "--json")
    assert code == 0, err[-600:]
    info = json.loads(out)
    assert code == 0 and info["training"]["weights"] == "mnist" and info["network"]["classes"] == 2
    assert "NiN from mnist on small.npz: 80 training images, 2 classes; recipe fine-tuning" in err
    assert "cccp6 must be trained from scratch" in err and "UserWarning" not in err
    path = "runs/nin-small/model.keras"
    code, out, err = cli("train", path, "--data", "small.npz", "--epochs", 1, "--output", "next")
    assert code == 0 and f"NiN from {path} on small.npz" in err and "from scratch" not in err
    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    model.save("theirs.keras")
    code, out, err = cli("train", "theirs.keras", "--data", "small.npz")
    assert code == 2 and one_sentence(err, "does not say which network of keras_cnns.applications it holds")


def test_train_refuses_a_missing_gpu(cli, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    code, out, err = cli("train", "NiN", "--data", "digits", "--device", "gpu")
    assert code == 2 and one_sentence(err, "TensorFlow sees no GPU", "device='gpu'")


def test_train_takes_a_folder_of_photographs(cli, flowers, tmp_path):
    arguments = ["--epochs", 1, "--input-size", 24, "--output", tmp_path / "run", "--precision", "float32", "--json"]
    code, out, err = cli("train", "NiN", "--data", flowers, *arguments)
    info = json.loads(out)
    assert code == 0 and info["class_names"] == ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
    assert info["preprocessing"]["shorter_side"] == 27 and info["metrics"]["test"]["examples"] == 80
    photograph = next((flowers / "test" / "daisy").iterdir())
    code, out, err = cli("predict", tmp_path / "run" / "model.keras", photograph)
    assert code == 0 and sorted(line.split()[-2] for line in out.splitlines() if "%" in line) == info["class_names"]


@pytest.mark.parametrize(
    "arguments, code, parts",
    [
        (("NiM", "--data", "digits"), 2, ["there is no such network", "Did you mean 'NiN'?"]),
        (("fcn8s", "--backbone", "NiN", "--data", "digits"), 2, ["must output one vector per image"]),
        (("NiN", "--data", "digist"), 2, ["Did you mean 'digits'?"]),
        (("NiN", "--data", "digits", "--recipe", "nin-cifar"), 2, ["Did you mean 'nin-cifar10'?"]),
        (("NiNImageNet", "--data", "digits", "--recipe", "nin-digits"), 2, ["is for NiN"]),
        (("NiNImageNet", "--data", "digits"), 2, ["at least 55x55 pixels", "input_shape=(32, 32, 1)"]),
        (("NiN", "--data", "digits", "--epochs", "0"), 2, ["--epochs"]),
        (("NiN", "--data", "digits", "--precision", "half"), 2, ["--precision"]),
        (("NiN", "--data", "digits", "--output", "/proc/run"), 5, ["/proc/run: cannot be written"]),
        (("NiN",), 2, ["Missing option '--data'"]),
        (("NiN", "--data", "digits", "--seed", 2**33), 2, ["--seed"]),
        (("NiN", "--data", "digits", "--resume", "--force"), 2, ["--resume continues a run", "give one of them"]),
        (("NiN", "--data", "digits", "--max-minutes", 0), 2, ["--max-minutes"]),
        (("NiN", "--data", "digits", "--early-stopping", 0), 2, ["--early-stopping"]),
        (("NiN", "--data", "x" * 300), 3, ["cannot be read"]),
        (("nin:digit", "--data", "digits"), 2, ["there are no weights of that name", "Did you mean 'digits'?"]),
        (("nim:digits", "--data", "digits"), 2, ["Did you mean 'NiN'?"]),
        (("NiN:my.weights.h5", "--data", "digits"), 2, ["there is no such weights file"]),
        (("my.keras", "--data", "digits"), 2, ["there is no such model file"]),
    ],
)
def test_train_refuses_bad_options(cli, arguments, code, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = cli("train", *arguments)
    assert (status, out) == (code, "")
    one_sentence(err, *parts)
    assert not list(tmp_path.iterdir())


def test_train_names_bad_images(cli, folder_of_images, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder_of_images / "red" / "0.png").write_bytes(b"no image")
    code, out, err = cli("train", "NiN", "--data", folder_of_images, "--output", "run", "--input-size", 12)
    assert code == 3 and one_sentence(err, "red/0.png: is no image")
    with np.load(small_npz) as file:
        members = dict(file)
    members["x_train"] = members["x_train"].astype("float32")
    members["x_train"][0, 0, 0] = np.nan
    np.savez("nan.npz", **members)
    code, out, err = cli("train", "NiN", "--data", "nan.npz")
    assert code == 3 and one_sentence(err, "nan.npz: x_train holds values that are not finite")


@pytest.mark.slow
def test_a_network_with_dead_units_is_exit_code_1(cli, small_npz, tmp_path, monkeypatch):
    wild = recipes.SHORT.replace(
        name="wild", optimizer="sgd", schedule="constant", warmup_steps=0, learning_rate=1e30, precision="float32"
    )
    monkeypatch.setitem(recipes.RECIPES, "wild", wild)
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "NiN", "--data", "small.npz", "--recipe", "wild")
    assert (code, out) == (1, "") and one_sentence(err, "its ReLUs died", "lower learning rate")


@pytest.mark.slow
def test_ctrl_c_during_training_saves_the_run(small_npz, tmp_path):
    """A process gets a SIGINT in the middle of its epochs."""
    command = [sys.executable, "-c", "from keras_cnns.cli.train import main; main()", "NiN", "--data", str(small_npz)]
    command += ["--epochs", "5000", "--output", str(tmp_path / "run"), "--precision", "float32"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )
    log = tmp_path / "run" / "log.csv"
    deadline = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) >= 3) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and out == "" and "Traceback" not in err, err
    one_sentence(
        err, "interrupted after", "of 5000 epochs", "model.keras", "To resume: cnn-train NiN --data", "--resume"
    )
    info = read_info(tmp_path / "run" / "model.keras")
    assert info.training["interrupted"] and 1 <= info.training["epochs"] < 5000
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_full_disk_is_reported_before_training(python, small_npz, tmp_path):
    done = python(
        """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
from keras_cnns.cli.train import main
main(["NiN", "--data", sys.argv[1], "--output", sys.argv[2], "--epochs", "1"])
""",
        small_npz,
        tmp_path / "run",
    )
    assert done.returncode == 5 and "Epoch" not in done.stderr and "Traceback" not in done.stderr
    one_sentence(done.stderr, "run: cannot be written (File too large). Free some space there")
    assert not (tmp_path / "run").exists()  # the new folder is removed too
