"""cnn-benchmark prints a table or JSON, draws, and refuses bad input."""

import json

import pytest
from conftest import one_sentence
from keras_cnns.cli._reports import milliseconds
from keras_cnns.cli.benchmark import _draw

from keras_cnns.export import Options, export_model
from keras_cnns.export._benchmark import Benchmark, BenchmarkRow, Timing


@pytest.fixture(scope="module")
def folder(digits_model, tmp_path_factory):
    """Return a folder of artifacts, one of which takes four images."""
    folder = tmp_path_factory.mktemp("exports")
    model, record = digits_model
    for stem, formats, batch in (("nin", ("tflite", "onnx"), None), ("four", ("tflite",), 4)):
        export_model(model, folder, formats, Options(verify=False, batch=batch), info=record, stem=stem)
    return folder


@pytest.mark.slow
def test_without_arguments_the_default_model_is_exported_and_measured(cli, ink, tmp_path):
    plot = tmp_path / "new" / "chart.png"
    code, out, err = cli("benchmark", "--rounds", 1, "--batch", 2, "--json", "--plot", plot)
    assert code == 0 and "no MODEL was given: measuring nin:digits" in err
    rows = json.loads(out)["rows"]
    assert [(row["name"], row["runtime"], row["quantize"]) for row in rows] == [
        ("nin", "Keras", "none"),
        ("nin-digits_saved_model", "tf.saved_model", "none"),
        ("nin-digits.tflite", "LiteRT", "none"),
        ("nin-digits.onnx", "ONNX Runtime", "none"),
        ("nin-digits-int8.tflite", "LiteRT", "int8"),
        ("nin-digits-int8.onnx", "ONNX Runtime", "int8"),
    ]
    assert all([timing["batch"] for timing in row["timings"]] == [2] and row["accuracy"] > 0.98 for row in rows)
    size, share = ink(plot)
    assert min(size) > 200 and 0.01 < share < 0.5


def test_artifacts_are_measured_without_a_model(cli, folder):
    paths = [folder / "nin.tflite", folder / "four.tflite", folder / "nin.onnx"]
    arguments = ("--data", "digits", "--rounds", 2, "--batch", 1, "--batch", 8, "--threads", 1, "--wide")
    code, out, err = cli("benchmark", *paths, *arguments)
    assert code == 0 and "nin:digits" not in err and "writing" not in err
    assert out.startswith("On 360 test images of digits; medians of 2 calls, 1 thread each, ")
    head = next(line.split() for line in out.splitlines() if "runtime" in line)
    assert [head[k + 1] for k, word in enumerate(head) if word == "batch"] == ["1", "4", "8"]
    rows = {line.split()[0]: line for line in out.splitlines() if " MB " in line}
    assert list(rows) == ["nin.tflite", "four.tflite", "nin.onnx"]
    assert all("99.72%" in row for row in rows.values())
    assert rows["four.tflite"].count(" ms ") == 2 and rows["nin.tflite"].count(" ms ") == 4
    assert "four.tflite takes exactly 4 images per call." in out and "Accuracy was not" not in out


def test_accuracy_is_not_measured_without_labels(cli, folder):
    code, out, _ = cli("benchmark", folder / "nin.tflite", "--rounds", 1, "--batch", 1)
    assert code == 0 and "On 64 digits of scikit-learn" in out
    assert "Accuracy was not measured: these images have no labels that the model knows." in out


def measured(*rows):
    return Benchmark("images", 10, 0, 1, "2 cores", {}, rows)


def row(name, batches, accuracy=0.9, size=1e6, runtime="LiteRT"):
    timings = tuple(Timing(batch, 1e-3 * batch, 2e-3 * batch, 1e3) for batch in batches)
    return BenchmarkRow(name, runtime, "none", int(size), 10**8, accuracy, None, timings)


@pytest.mark.parametrize(
    "rows, missing",
    [
        ([row("a.tflite", (1, 8)), row("four.tflite", (4,)), row("b.onnx", (1, 8), 0.5, 1e8, "ONNX Runtime")], "four"),
        ([row("a.tflite", (8,), None)], ""),  # without an accuracy the vertical axis shows the file size
        ([row(f"a long name with a number {k}.tflite", (1,)) for k in range(12)], ""),  # all points coincide
        ([row("模型.tflite", (1,), 0.0), row("b.onnx", (1,), 1.0, 1e3, "another runtime")], ""),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_chart_is_drawn_and_missing_rows_are_named(ink, rows, missing, tmp_path, capsys):
    _draw(measured(*rows), tmp_path / "chart.png", "nin:digits")
    err = capsys.readouterr().err
    assert (f"so not drawn: {missing}" in err) if missing else not err
    size, share = ink(tmp_path / "chart.png")
    assert min(size) > 200 and 0.01 < share < 0.5


def test_milliseconds_have_three_digits():
    assert [milliseconds(value) for value in (0.000234, 0.00234, 0.0234, 0.234, 12.3)] == [
        "0.234 ms",
        "2.34 ms",
        "23.4 ms",
        "234 ms",
        "12,300 ms",
    ]


@pytest.mark.parametrize(
    "arguments, part",
    [
        (["nin:digit"], "Did you mean 'digits'"),
        (["model.pb"], "MODEL is a .keras file or one of "),
        (["missing.keras"], "there is no such model file"),
        (["missing.tflite"], "there is no such artifact. Received: artifact='missing.tflite'"),
        (["nin:digits", "missing.onnx"], "there is no such artifact. Received: artifact='missing.onnx'"),
        (["nin:digits", "model.pb"], "the name of an artifact ends in one of"),
        (["--batch", "0"], "'--batch'"),
        (["--threads", "-1"], "'--threads'"),
        (["--rounds", "0"], "'--rounds'"),
    ],
)
def test_wrong_usage_is_exit_code_2(cli, arguments, part):
    code, out, err = cli("benchmark", *arguments)
    assert code == 2 and not out and one_sentence(err, part)


def test_a_missing_source_is_named(cli, folder):
    code, out, err = cli("benchmark", folder / "nin.tflite", "--data", "digit")
    assert code == 2 and not out and one_sentence(err, "digit")


def test_a_broken_file_is_exit_code_1(cli, folder, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes((folder / "nin.tflite").read_bytes()[:1000])
    code, out, err = cli("benchmark", path)
    assert code == 1 and not out and one_sentence(err, "cut.tflite: LiteRT cannot run it", "Export the model again")


def test_an_existing_drawing_is_kept_without_force(cli, ink, folder, tmp_path):
    path = tmp_path / "chart.png"
    path.write_text("an older one")
    code, out, err = cli("benchmark", folder / "nin.tflite", "--plot", path)
    assert code == 2 and not out and one_sentence(err, str(path), "--force")
    assert path.read_text() == "an older one"
    code, _, _ = cli("benchmark", folder / "nin.tflite", "--plot", path, "--force", "--rounds", 1)
    assert code == 0 and ink(path)
