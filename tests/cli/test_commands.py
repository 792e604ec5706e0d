"""The commands: what they print, and one clear sentence with the right exit code for each bad input."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import keras
import numpy as np
import pytest
from conftest import ROOT, one_sentence
from PIL import Image

from keras_cnns import recipes
from keras_cnns.data import open_source
from keras_cnns.saving import read_info


@pytest.fixture
def digit_images(tmp_path):
    """Paths of six test digits as image files of several kinds, and their labels."""
    test = open_source("digits").split("test")
    kinds = [("L", "a.png"), ("RGB", "b.jpg"), ("RGBA", "c.png"), ("L", "d.bmp"), ("RGB", "e.webp"), ("L", "f.tif")]
    for k, (mode, name) in enumerate(kinds):
        Image.fromarray(test.items[k, ..., 0]).convert(mode).resize((64, 64)).save(tmp_path / name)
    return [tmp_path / name for _, name in kinds], test.labels[:6].tolist()


# ---- predict


def test_predict(cli, digit_images):
    paths, labels = digit_images
    code, out, err = cli("predict", "nin:digits", *paths, "--json")
    answers = json.loads(out)
    assert code == 0 and [one["image"] for one in answers] == [str(path) for path in paths]
    assert [int(one["predictions"][0]["class"]) for one in answers] == labels
    for one in answers:
        shown = [pair["probability"] for pair in one["predictions"]]
        assert len(shown) == 5 and shown == sorted(shown, reverse=True) and sum(shown) <= 1.0001
    code, out, err = cli("predict", "LeNet5", paths[0], "--top", 2, "--wide")  # one set of weights ships with it
    lines = [line.split() for line in out.splitlines() if "%" in line]
    assert code == 0 and len(lines) == 2 and lines[0][0] == str(paths[0])


def test_predict_folders(cli, digit_images, tmp_path):
    """Subfolders too, in order of names; hidden files are passed over, others named; CSV and JSON say the same."""
    paths, labels = digit_images
    folder = tmp_path / "of digits"
    for name, path in (("b/2.png", 0), ("b/10.jpg", 1), ("a.PNG", 2), (".hidden/x.png", 3), (".y.png", 4)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(paths[path].read_bytes())
    (folder / "notes.txt").write_text("no image")
    table = tmp_path / "new" / "table.csv"
    arguments = ("nin:digits", folder, paths[5], "--top", 2)
    code, out, err = cli("predict", *arguments, "--csv", "--output", table)
    assert (code, out) == (0, "") and "left out 1 file of another kind (.txt), as " in err and "4 images" in err
    rows = list(csv.DictReader(table.read_text("utf8").splitlines()))
    expected = [folder / "a.PNG", folder / "b" / "10.jpg", folder / "b" / "2.png", paths[5]]
    assert [row["path"] for row in rows] == [str(path) for path in expected for _ in range(2)]
    assert [row["rank"] for row in rows] == ["1", "2"] * 4
    assert [int(row["class"]) for row in rows[::2]] == [labels[k] for k in (2, 1, 0, 5)]
    code, out, err = cli("predict", *arguments, "--csv")
    assert code == 0 and out == table.read_text("utf8")
    code, out, err = cli("predict", *arguments, "--json")
    found = json.loads(out)
    assert [one["image"] for one in found] == [str(path) for path in expected]
    assert [pair["probability"] for one in found for pair in one["predictions"]] == pytest.approx(
        [float(row["probability"]) for row in rows]
    )
    code, out, err = cli("predict", *arguments, "--csv", "--output", table)
    assert code == 2 and one_sentence(err, "the output exists", "--force")
    (folder / "b" / "3.png").write_bytes(b"no image")
    code, out, err = cli("predict", *arguments, "--csv")
    assert (code, out) == (3, "") and one_sentence(err, "3.png: is no ")
    code, out, err = cli("predict", *arguments, "--csv", "--skip-broken")
    assert code == 0 and out == table.read_text("utf8") and "left out: " in err and "3.png" in err


def test_predict_with_bad_options(cli, digit_images, tmp_path):
    paths, _ = digit_images
    (tmp_path / "empty").mkdir()
    for arguments, code, part in (
        ((paths[0], "--csv", "--json"), 2, "give one of them"),
        ((paths[0], "--output", "x.csv"), 2, "--output goes with --csv or --json"),
        ((tmp_path / "empty",), 3, "empty: holds no images. Add some"),
        ((tmp_path / "A.png",), 3, "No such file or folder. Did you mean 'a.png'?"),
        (("https://example.org/a.png",), 3, "Download the image"),
    ):
        found, out, err = cli("predict", "nin:digits", *arguments)
        assert (found, out) == (code, "") and one_sentence(err, part)
    found, out, err = cli("predict", paths[0], "nin:digits")
    assert (found, out) == (2, "") and one_sentence(err, "MODEL, which comes first, is a .keras file, not an image")


def test_predict_with_bad_images(cli, digit_images, tmp_path):
    paths, _ = digit_images
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    code, out, err = cli("predict", "nin:digits", paths[0], tmp_path / "dot.png")
    assert code == 3 and out == "" and one_sentence(err, "dot.png: is only 1x1 pixels")
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    code, out, err = cli("predict", "nin:digits", paths[0], "--json")
    assert code == 3 and out == "" and one_sentence(err, "a.png: cannot be read as an image")
    code, out, err = cli("predict", "nin:digits", tmp_path / "none.png")
    assert code == 3 and one_sentence(err, "none.png", "No such file")
    code, out, err = cli("predict", "nin:digits")
    assert code == 2 and "Missing argument 'IMAGE...'" in err


# ---- which model


@pytest.mark.parametrize(
    "model, code, parts",
    [
        ("nin:digit", 2, ["there are cifar10, digits", "Did you mean 'digits'?"]),
        ("nim:digits", 2, ["Did you mean 'nin:digits'?", "Received: MODEL='nim:digits'"]),
        ("NiNImageNet", 2, ["no weights ship with NiNImageNet"]),
        ("NiN", 2, ["MODEL needs weights: choose one of nin:cifar10, nin:digits"]),
        ("missing.keras", 2, ["there is no such model file"]),
        ("https://example.org/model.keras", 2, ["MODEL cannot be an address: download the file"]),
        ("/proc", 2, ["MODEL is a .keras file, and this is a folder: it holds no .keras file"]),
    ],
)
@pytest.mark.parametrize(
    "command", [("evaluate", "--data", "digits"), ("export", "--format", "onnx"), ("predict", "a.png")]
)
def test_misspelt_models(cli, command, model, code, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, *rest = command
    found, out, err = cli(name, model, *rest)
    assert (found, out) == (code, "")
    one_sentence(err, *parts)
    assert not list(tmp_path.iterdir())


def test_a_misspelt_file_is_suggested(cli, digits_file, tmp_path):
    (tmp_path / "model.keras").write_bytes(digits_file.read_bytes())
    code, _, err = cli("evaluate", tmp_path / "modle.keras", "--data", "digits")
    assert code == 2 and one_sentence(err, "Did you mean 'model.keras'?")


@pytest.mark.parametrize("fault", ["truncated", "empty", "foreign", "hostile", "lambda", "directory"])
@pytest.mark.parametrize(
    "command", [("evaluate", "--data", "digits"), ("export", "--format", "all"), ("predict", "a.png")]
)
@pytest.mark.filterwarnings("ignore")
def test_bad_model_files(cli, digits_file, command, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, whole = tmp_path / "model.keras", digits_file.read_bytes()
    expected = {
        "truncated": "the archive ends early",
        "empty": "is empty",
        "foreign": "is no .keras file",
        "hostile": "needs the class system of os, which is not known here",
        "lambda": "holds a Lambda layer, which runs code",
        "directory": "is a folder",
    }[fault]
    if fault == "lambda":
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Lambda(lambda x: x)]).save(path)
    elif fault == "directory":
        path.mkdir()
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "foreign": b"\x00" * 100}.get(fault, b""))
    if fault == "hostile":
        path.write_bytes(whole)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        text = members["config.json"].replace(
            b'"module": "keras.layers", "class_name": "Conv2D"', b'"module": "os", "class_name": "system"'
        )
        assert text != members["config.json"]
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (members | {"config.json": text}).items():
                archive.writestr(name, content)
    name, *rest = command
    code, out, err = cli(name, "model.keras", *rest)
    assert (code, out) == (3, "")
    one_sentence(err, "model.keras: ", expected)
    assert [one.name for one in tmp_path.iterdir()] == ["model.keras"]


# ---- evaluate


def test_evaluate(cli, tmp_path):
    plot = tmp_path / "digits.png"
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", "--plot", plot, "--json")
    result = json.loads(out)
    assert code == 0 and result["examples"] == 360 and result["top1"] >= 0.99 and result["top5"] == 1.0
    assert np.array(result["confusion"]).sum() == 360 and set(result["per_class"]) == set("0123456789")
    assert Image.open(plot).size[0] > 800
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", "--plot", plot)
    assert code == 2 and out == "" and one_sentence(err, "the output exists", "--force")
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", "--split", "train", "--batch-size", 100)
    assert code == 0 and "1,437" in out and f"{'all':<5}" in out


@pytest.mark.parametrize(
    "arguments, code, parts",
    [
        (("--data", "digit"), 2, ["Did you mean 'digits'?"]),
        (("--data", "digits", "--split", "tset"), 2, ["it has train, test, all. Did you mean 'test'?"]),
        (("--data", "none.npz"), 2, ["there is no such file"]),
        (("--data", "tfds:mnist", "--data-dir", "."), 3, ["is not on disk", "tfds build mnist --data_dir ."]),
        ((), 2, []),
    ],
)
def test_evaluate_with_bad_sources(cli, arguments, code, parts):
    found, out, err = cli("evaluate", "nin:digits", *arguments)
    assert (found, out) == (code, "")
    one_sentence(err, *parts)


@pytest.mark.slow
def test_evaluate_by_protocol(cli, tmp_path):
    arguments = ["nin:digits", "--data", "digits", "--json"]
    _, plain, _ = cli("evaluate", *arguments)
    code, out, _ = cli("evaluate", *arguments, "--protocol", "ten-crop", "--scales", "32", "--output", tmp_path / "out")
    plain, crops = json.loads(plain), json.loads(out)
    assert code == 0 and (crops["protocol"], crops["scales"], crops["examples"]) == ("ten-crop", [32], 360)
    assert crops["loss"] != plain["loss"]  # digits that are mirrored
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text("utf8")) == crops
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "confusion.png",
        "mistakes.png",
        "reliability.png",
    ]
    code, _, err = cli("evaluate", *arguments, "--output", tmp_path / "out")
    assert code == 2 and "--force" in err
    code, out, _ = cli("evaluate", *arguments, "--protocol", "recipe")
    assert code == 0 and json.loads(out)["loss"] == plain["loss"]


@pytest.mark.slow
def test_evaluate_several_models_and_corruptions(cli, tmp_path):
    _, plain, _ = cli("evaluate", "nin:digits", "--data", "digits", "--json")
    code, out, _ = cli("evaluate", "nin:digits", "nin:digits", "--data", "digits", "--json")
    both = json.loads(out)
    assert code == 0 and both["models"] == ["nin:digits", "nin:digits"]
    assert both["loss"] == pytest.approx(json.loads(plain)["loss"])
    code, out, _ = cli("evaluate", "nin:digits", "--data", "digits", "--corruptions", "--output", tmp_path / "out")
    assert code == 0 and "severity 5" in out and (tmp_path / "out" / "robustness.png").exists()
    code, _, err = cli("evaluate", "nin:digits", "nin:digits", "--data", "digits", "--corruptions")
    assert code == 2 and "goes with one MODEL" in err


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["--protocol", "tencrop"], "'center', 'ten-crop', '144-crop', 'dense', 'recipe'"),
        (["--scales", "256,big"], "pixels with commas between"),
        (["--protocol", "dense", "--scales", "16"], "at least those of the network's input, 32"),
    ],
)
def test_evaluate_with_bad_protocols(cli, arguments, part):
    code, out, err = cli("evaluate", "nin:digits", "--data", "digits", *arguments)
    assert (code, out) == (2, "") and part in err


def test_evaluate_on_images_of_other_classes(cli, folder_of_images):
    code, out, err = cli("evaluate", "nin:digits", "--data", folder_of_images)
    assert code == 2 and one_sentence(err, "the classes of the images must be those of the model", "blue, red")


def test_a_model_without_a_record_is_told_about(cli, tmp_path):
    inputs = keras.Input((32, 32, 1))
    x = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, x).save(tmp_path / "plain.keras")
    code, out, err = cli("evaluate", tmp_path / "plain.keras", "--data", "digits")
    assert code == 0 and "carries no preprocessing record: it gets the pixels, 0 to 255" in err
    assert "does not name its classes; its outputs are taken for those of digits, in this order: 0, 1, 2" in err


# ---- export


@pytest.mark.slow
def test_export_without_a_model(cli, tmp_path):
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 0 and "no MODEL was given: exporting nin:digits" in err
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["manifest.json", "nin-digits.tflite"]
    assert "nin-digits.tflite" in out and "360 test images of digits" in out
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 2 and one_sentence(err, "the output exists", "--force")
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out", "--force", "--json")
    report = json.loads(out)
    assert code == 0 and report["artifacts"][0]["parity"]["max_difference"] <= 1e-5
    assert report["accuracy"] == report["artifacts"][0]["parity"]["accuracy"] >= 0.99


def test_export_of_a_foreign_model(cli, tmp_path):
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))).save(tmp_path / "plain.keras")
    code, out, err = cli(
        "export", tmp_path / "plain.keras", "--format", "onnx", "--format", "tflite", "--output", tmp_path / "out"
    )
    assert code == 0 and "Accuracy was not measured" in out and "64 crops of scikit-learn's two photographs" in out
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "plain.onnx",
        "plain.tflite",
    ]


@pytest.mark.parametrize(
    "arguments, code, parts",
    [
        (("--format", "tflight"), 2, ["--format is one of", "Did you mean 'tflite'?"]),
        ((), 2, []),
        (("--format", "onnx", "--verify-data", "digit"), 2, ["Did you mean 'digits'?"]),
        (("--format", "onnx", "--output", "/proc/exports"), 5, ["/proc/exports: cannot be written"]),
        (("--format", "onnx", "--formt", "x"), 2, ["--formt"]),
        (("--format", "onnx", "--quantize", "int9"), 2, ["Did you mean 'int8'?"]),
        (("--format", "onnx", "--batch", "two"), 2, ["--batch is 'dynamic' or a whole number"]),
        (("--format", "onnx", "--labels", "none.txt"), 3, ["none.txt: cannot be read"]),
        (("--verify-only", "gone.onnx"), 2, ["there is no such artifact"]),
        (("--verify-only", "gone.onnx", "--batch", "9"), 2, ["leave out --batch"]),
    ],
)
def test_export_with_bad_options(cli, arguments, code, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, err = cli("export", *arguments)
    assert (found, out) == (code, "")
    one_sentence(err, *parts)
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]


def test_export_over_tolerance_is_exit_code_1(cli, tmp_path, monkeypatch):
    from keras_cnns.export import verification

    compare = verification.compare
    monkeypatch.setattr(
        verification, "compare", lambda a, b, *rest, **named: compare(a, b[:, ::-1].copy(), *rest, **named)
    )
    code, out, err = cli("export", "--format", "onnx", "--output", tmp_path / "out")
    assert (code, out) == (1, "") and not (tmp_path / "out").exists()
    one_sentence(err, "nin-digits.onnx does not compute what the model computes", "Nothing was kept")


def test_a_ctrl_c_that_a_library_swallowed_stops_the_command():
    from keras_cnns.cli import _common

    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt), _common.stoppable() as note:
            try:
                os.kill(os.getpid(), number)
                time.sleep(1)
            except KeyboardInterrupt:
                pass  # as a callback from C does
            note("the next step")
        assert signal.getsignal(number) is before


@pytest.mark.slow
def test_export_with_every_option(cli, digits_file, tmp_path):
    """Option by option; what each does is tested with `export_model`."""
    (tmp_path / "names.txt").write_text("\n".join(f"digit {k}" for k in range(10)))
    out = tmp_path / "exports to go, größer"
    code, shown, err = cli(
        *("export", digits_file, "--format", "onnx", "--output", out, "--batch", 2, "--opset", 14, "--layout", "nchw"),
        *("--logits", "--io", "float32", "--labels", tmp_path / "names.txt", "--tolerance", 1e-3, "--min-agreement", 1),
        *("--verify-data", "digits", "--seed", 3),
    )
    assert code == 0 and "The model's own accuracy: 99.72%" in shown, err
    noted = json.loads((out / "manifest.json").read_text("utf8"))["artifacts"]["nin-digits.onnx"]
    assert noted["options"]["labels"][1] == "digit 1" and noted["options"]["layout"] == "nchw"
    assert noted["command"].startswith("cnn-export ") and "--opset 14" in noted["command"]
    assert noted["inputs"]["image"] == {"dtype": "float32", "shape": [2, 1, 32, 32], "scale": None, "zero_point": None}
    code, shown, err = cli("export", digits_file, "--verify-only", out / "nin-digits.onnx")
    assert code == 1 and one_sentence(err, "its labels are not the model's: 'digit 0' stands where '0' should")
    code, shown, err = cli(
        *("export", digits_file, "--format", "tflite", "--output", out, "--quantize", "int8", "--integer-only"),
        *("--calibration", "digits", "--calibration-samples", 50, "--json"),
    )
    (artifact,) = json.loads(shown)["artifacts"]
    assert code == 0 and artifact["path"].endswith("nin-digits-int8-integer.tflite"), err
    code, shown, err = cli("export", digits_file, "--verify-only", artifact["path"])
    assert code == 0 and "compared with the model on 360 test images of digits" in shown
    with open(artifact["path"], "ab") as file:
        file.write(b"x")
    code, shown, err = cli("export", digits_file, "--verify-only", artifact["path"])
    assert code == 1 and one_sentence(err, "not the file that was exported")
    code, shown, err = cli("export", digits_file, "--format", "tflite", "--output", tmp_path / "quick", "--no-verify")
    assert code == 0 and "not verified" in shown and "99" not in shown


def test_an_unexpected_error_is_exit_code_70(cli, monkeypatch):
    from keras_cnns import saving

    monkeypatch.setattr(saving, "read_info", lambda path: 1 / 0)
    code, out, err = cli("predict", str(ROOT / "saved_models" / "nin-digits.keras"), "a.png")
    assert code == 70 and one_sentence(err, "unexpected error, ZeroDivisionError", "KERAS_CNNS_TRACEBACK=1")


# ---- train


@pytest.fixture
def small_npz(tmp_path):
    """A quick set: bright against dark images of 12x12 pixels."""
    random = np.random.default_rng(0)
    parts = {}
    for part, count in (("train", 80), ("test", 20)):
        y = np.arange(count) % 2
        x = random.integers(0, 100, (count, 12, 12), dtype="uint8") + (130 * y[:, None, None]).astype("uint8")
        parts |= {f"x_{part}": x, f"y_{part}": y}
    np.savez(tmp_path / "small.npz", class_names=["dark", "bright"], **parts)
    return tmp_path / "small.npz"


def test_train_then_everything(cli, small_npz, tmp_path, monkeypatch):
    """The whole road by commands, on a file of arrays."""
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
def test_train_in_two_parts(cli, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("NiN", "--data", "small.npz", "--epochs", 3, "--quiet", "--tensorboard", "--balance", "weights")
    code, out, err = cli("train", *arguments, "--max-minutes", 1e-9)
    assert code == 0 and err == "" and "validation" not in out
    code, out, err = cli("train", *arguments)
    assert code == 2 and one_sentence(err, "holds an unfinished run: go on with it by --resume")
    code, out, err = cli("train", *arguments, "--seed", 1, "--resume")
    assert code == 2 and one_sentence(err, "checkpoint.npz belongs to another training: its")
    code, out, err = cli("train", *arguments, "--resume")
    assert code == 0 and err == "" and "test" in out
    folder = tmp_path / "runs" / "nin-small"
    info = read_info(folder / "model.keras")
    assert info.training["complete"] and info.training["epochs"] == 3 and info.recipe["balance"] == "weights"
    assert list(folder.glob("tensorboard/*/train/events*")) and not (folder / "checkpoint.npz").exists()
    code, again, err = cli("train", *arguments, "--resume")
    assert code == 0 and again == out


@pytest.mark.slow
def test_train_from_trained_weights(cli, small_npz, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "nin:mnist", "--data", "small.npz", "--epochs", 1, "--json")
    assert code == 0, err[-600:]
    info = json.loads(out)
    assert code == 0 and info["training"]["weights"] == "mnist" and info["network"]["classes"] == 2
    assert "NiN from mnist on small.npz: 80 training images, 2 classes; recipe fine-tuning" in err
    assert "cccp6 must be trained anew" in err and "UserWarning" not in err
    path = "runs/nin-small/model.keras"
    code, out, err = cli("train", path, "--data", "small.npz", "--epochs", 1, "--output", "next")
    assert code == 0 and f"NiN from {path} on small.npz" in err and "anew" not in err
    inputs = keras.Input((12, 12, 1))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    model.save("theirs.keras")
    code, out, err = cli("train", "theirs.keras", "--data", "small.npz")
    assert code == 2 and one_sentence(err, "does not say which network of keras_cnns.applications it holds")


def test_train_on_a_gpu_that_is_not_there(cli, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    code, out, err = cli("train", "NiN", "--data", "digits", "--device", "gpu")
    assert code == 2 and one_sentence(err, "TensorFlow sees no GPU", "device='gpu'")


def test_train_on_a_folder_of_photographs(cli, flowers, tmp_path):
    code, out, err = cli(
        "train",
        "NiN",
        "--data",
        flowers,
        "--epochs",
        1,
        "--input-size",
        24,
        "--output",
        tmp_path / "run",
        "--precision",
        "float32",
        "--json",
    )
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
def test_train_with_bad_options(cli, arguments, code, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, err = cli("train", *arguments)
    assert (found, out) == (code, "")
    one_sentence(err, *parts)
    assert not list(tmp_path.iterdir())


def test_train_with_bad_images(cli, folder_of_images, small_npz, tmp_path, monkeypatch):
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
def test_a_network_that_died_is_exit_code_1(cli, small_npz, tmp_path, monkeypatch):
    wild = recipes.SHORT.replace(
        name="wild", optimizer="sgd", schedule="constant", warmup_steps=0, learning_rate=1e30, precision="float32"
    )
    monkeypatch.setitem(recipes.RECIPES, "wild", wild)
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", "NiN", "--data", "small.npz", "--recipe", "wild")
    assert (code, out) == (1, "") and one_sentence(err, "its ReLUs died", "lower learning rate")


@pytest.mark.slow
def test_ctrl_c_during_training(small_npz, tmp_path):
    """A real SIGINT to a real process, in the middle of its epochs."""
    command = [
        sys.executable,
        "-c",
        "from keras_cnns.cli.train import main; main()",
        "NiN",
        "--data",
        str(small_npz),
        "--epochs",
        "5000",
        "--output",
        str(tmp_path / "run"),
        "--precision",
        "float32",
    ]
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
        err, "interrupted after", "of 5000 epochs", "model.keras", "To go on: cnn-train NiN --data", "--resume"
    )
    info = read_info(tmp_path / "run" / "model.keras")
    assert info.training["interrupted"] and 1 <= info.training["epochs"] < 5000
    assert not [one for one in (tmp_path / "run").iterdir() if one.name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_ctrl_c_while_libraries_are_imported(seconds):
    source = "from keras_cnns.cli.evaluate import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", source, "nin:digits", "--data", "digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "") and one_sentence(err, "interrupted"), err


@pytest.mark.slow
def test_another_backend_in_the_environment_does_not_matter(python):
    source = "from keras_cnns.cli.evaluate import main; main(['nin:digits', '--data', 'digits', '--json'])"
    done = python(source, KERAS_BACKEND="jax")
    assert done.returncode == 0 and json.loads(done.stdout)["examples"] == 360, done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("place, message", [("/dev/full", "No space left"), ("closed pipe", "")])
def test_stdout_that_takes_nothing(option, place, message):
    command = [sys.executable, "-c", "from keras_cnns.cli.train import main; main()", option]
    if place == "closed pipe":
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open(place, os.O_WRONLY)
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(out)
    assert done.returncode == 5 and "Traceback" not in done.stderr and message in done.stderr
    assert message or not done.stderr


@pytest.mark.slow
def test_a_full_disk_is_told_before_the_training(python, small_npz, tmp_path):
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
    assert not (tmp_path / "run").exists()  # nor is the new folder left
