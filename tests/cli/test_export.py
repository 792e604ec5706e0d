"""cnn-export writes verified artifacts, and refuses bad options."""

import json

import keras
import pytest
from conftest import one_sentence


@pytest.mark.slow
def test_export_without_a_model_takes_the_default(cli, tmp_path):
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 0 and "no MODEL was given: exporting nin:digits" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "nin-digits.tflite"]
    assert "nin-digits.tflite" in out and "360 test images of digits" in out
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 2 and one_sentence(err, "the output exists", "--force")
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out", "--force", "--json")
    report = json.loads(out)
    assert code == 0 and report["artifacts"][0]["parity"]["max_difference"] <= 1e-5
    assert report["accuracy"] == report["artifacts"][0]["parity"]["accuracy"] >= 0.99


def test_export_takes_a_model_of_another_program(cli, tmp_path):
    inputs = keras.Input((16, 16, 3))
    keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs))).save(tmp_path / "plain.keras")
    code, out, err = cli(
        "export", tmp_path / "plain.keras", "--format", "onnx", "--format", "tflite", "--output", tmp_path / "out"
    )
    assert code == 0 and "Accuracy was not measured" in out and "64 crops of scikit-learn's two photographs" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
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
def test_export_refuses_bad_options(cli, arguments, code, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = cli("export", *arguments)
    assert (status, out) == (code, "")
    one_sentence(err, *parts)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_failed_verification_is_exit_code_1(cli, tmp_path, monkeypatch):
    from keras_cnns.export import verification

    compare = verification.compare
    monkeypatch.setattr(
        verification, "compare", lambda a, b, *rest, **named: compare(a, b[:, ::-1].copy(), *rest, **named)
    )
    code, out, err = cli("export", "--format", "onnx", "--output", tmp_path / "out")
    assert (code, out) == (1, "") and not (tmp_path / "out").exists()
    one_sentence(err, "nin-digits.onnx does not compute what the model computes", "Nothing was kept")


@pytest.mark.slow
def test_export_passes_on_every_option(cli, digits_file, tmp_path):
    """The effect of each option is tested with `export_model`."""
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
    assert code == 1 and one_sentence(err, "its labels are not the model's: 'digit 0' instead of '0'")
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
