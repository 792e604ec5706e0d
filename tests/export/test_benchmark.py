"""Benchmarks are complete and measured in turns, with correct accuracies."""

import dataclasses
import json
import os
import sys
import threading
from types import SimpleNamespace

import keras
import numpy as np
import onnx
import pytest

from keras_cnns import applications
from keras_cnns.data import Preprocessing, open_source
from keras_cnns.errors import ArgumentError, ArtifactError
from keras_cnns.export import Options, _keras_runner, _runner, benchmark, export_model
from keras_cnns.export._benchmark_subjects import find_common_input
from keras_cnns.export._usual_exports import export_usual
from keras_cnns.export.runtimes import RuntimeProcess
from keras_cnns.saving import ModelInfo

pytestmark = pytest.mark.slow  # tests/cli/test_benchmark.py has quick tests


@pytest.fixture(scope="module")
def biased():
    """The shipped network with a bias towards "3"."""
    model = applications.NiN(weights="digits")
    bias = model.get_layer("cccp6").bias
    bias.assign(bias + 12 * np.eye(10, dtype="float32")[3])
    return model


@pytest.fixture(scope="module")
def artifacts(digits_model, biased, tmp_path_factory):
    """Paths of both networks' artifacts with several options, by file name."""
    folder = tmp_path_factory.mktemp("exports")
    model, record = digits_model
    paths = {}
    for name, network, formats, options in (
        ("plain", model, ("saved_model", "tflite", "onnx"), {}),
        ("biased", biased, ("tflite",), {}),
        ("four", model, ("tflite",), {"batch": 4}),
        ("outside", model, ("onnx",), {"preprocess": False, "layout": "nchw"}),
    ):
        options = Options(verify=False, **options)
        report = export_model(network, folder, formats, options, info=record, stem=name)
        paths.update({artifact.path.name: artifact.path for artifact in report.artifacts})
    return paths


class Recorder:
    """Records each process's requests, modules and number of threads."""

    def __init__(self, monkeypatch):
        self.requests, self.modules, self.threads = [], {}, {}
        ask = RuntimeProcess.ask

        def ask_and_record(process, **request):
            answer = ask(process, **request)
            name = process.path.name
            self.requests.append((request["do"], name))
            if request["do"] == "describe":
                self.modules[name] = set(answer["modules"])
            if request["do"] == "memory" and sys.platform == "linux":
                self.threads[name] = len(os.listdir(f"/proc/{process.process.pid}/task"))
            return answer

        monkeypatch.setattr(RuntimeProcess, "ask", ask_and_record)


@pytest.fixture(scope="module")
def measured(digits_model, artifacts):
    """The benchmark of the network and its artifacts, and its recorder."""
    model, record = digits_model
    paths = [artifacts[name] for name in ("plain_saved_model", "plain.tflite", "plain.onnx", "biased.tflite")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        result = benchmark(model, paths, info=record, batches=(1, 3), rounds=2)
    return result, recorder


@pytest.fixture(scope="module")
def alone(artifacts, tmp_path_factory):
    """The benchmark of artifacts without their model, and its recorder.

    Each runtime may use three threads. One artifact carries no card.
    """
    foreign = onnx.load(artifacts["plain.onnx"])
    del foreign.metadata_props[:]
    path = tmp_path_factory.mktemp("foreign") / "foreign.onnx"
    onnx.save(foreign, path)
    paths = [artifacts["four.tflite"], artifacts["plain.tflite"], artifacts["outside.onnx"], path]
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        result = benchmark(None, paths, "digits", batches=2, rounds=2, threads=3)
    return result, recorder


def by_name(result):
    return {row.name: row for row in result.rows}


def test_rows_are_complete(measured, artifacts, digits_model):
    result, _ = measured
    rows = by_name(result)
    assert [(row.runtime, row.quantize, row.fixed_batch) for row in result.rows] == [
        ("Keras", "none", None),
        ("tf.saved_model", "none", None),
        ("LiteRT", "none", None),
        ("ONNX Runtime", "none", None),
        ("LiteRT", "none", None),
    ]
    assert list(rows) == [digits_model[0].name, "plain_saved_model", "plain.tflite", "plain.onnx", "biased.tflite"]
    assert rows["plain.tflite"].bytes == artifacts["plain.tflite"].stat().st_size
    for row in result.rows:
        # A SavedModel's graph is larger, because it decodes image files too
        graph_bytes = 300_000 if row.runtime == "tf.saved_model" else 0.1 * 4 * 349_674
        assert 4 * 349_674 < row.bytes < 4 * 349_674 + graph_bytes
        assert row.peak_memory > 10e6
        assert [timing.batch for timing in row.timings] == [1, 3]
        for timing in row.timings:
            assert 0 < timing.median <= timing.p90
            assert timing.throughput == pytest.approx(timing.batch / timing.median)
    # TensorFlow alone takes more memory than another runtime with a small network
    assert rows["plain_saved_model"].peak_memory > 2 * rows["plain.tflite"].peak_memory
    assert result.images == "360 test images of digits" and result.examples == 360
    assert set(result.versions) == {"keras", "tensorflow", "ai-edge-litert", "onnxruntime"}


def test_json_holds_everything(measured):
    result, _ = measured
    values = json.loads(json.dumps(result.to_json()))
    assert values["rounds"] == 2 and values["threads"] == 0 and "cores" in values["machine"]
    assert [row["name"] for row in values["rows"]] == [row.name for row in result.rows]
    assert values["rows"][0]["timings"][1] == dataclasses.asdict(result.rows[0].timings[1])


def test_accuracies_are_those_of_keras_and_numpy(measured, alone, digits_model, biased):
    model, record = digits_model
    test = open_source("digits").split("test")
    pixels = (test.items - np.float32(record.preprocessing.mean)) * np.float32(record.preprocessing.scale)
    good, bad = (
        float((network.predict(pixels, verbose=0).argmax(1) == test.labels).mean()) for network in (model, biased)
    )
    assert 0.1 < bad < good - 0.05  # a mix-up of rows would show
    accuracies = {row.name: row.accuracy for row in measured[0].rows}
    assert accuracies.pop("biased.tflite") == bad
    assert set(accuracies.values()) == {good} == {row.accuracy for row in alone[0].rows}


def test_all_are_timed_in_turns(measured):
    _, recorder = measured
    names = {name for _, name in recorder.requests}
    timed = [name for do, name in recorder.requests if do == "time"]
    # Two batch sizes, five subjects, and a round before the two that count
    assert len(names) == 5 and len(timed) == 2 * 5 * 3
    assert timed[::2] == timed[1::2]
    rounds = [tuple(timed[k : k + 10 : 2]) for k in range(0, 30, 10)]
    assert all(set(order) == names for order in rounds) and len(set(rounds)) > 1
    # All processes live at once, and memory is read before accuracy is measured with other batch sizes
    assert [do for do, _ in recorder.requests] == 5 * ["describe"] + 30 * ["time"] + 5 * ["memory"] + 5 * ["run"]


def test_each_process_imports_only_its_runtime(measured):
    _, recorder = measured
    for name in ("plain.tflite", "plain.onnx"):
        assert not recorder.modules[name] & {"keras", "tensorflow", "keras_cnns"}
    assert "ai_edge_litert" in recorder.modules["plain.tflite"] and "onnxruntime" in recorder.modules["plain.onnx"]
    assert "ai_edge_litert" not in recorder.modules["plain.onnx"]
    assert {"keras", "tensorflow"} <= recorder.modules["model.keras"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_threads_reach_the_runtimes(alone, artifacts, monkeypatch):
    recorder = Recorder(monkeypatch)
    paths = [artifacts["plain.tflite"], artifacts["outside.onnx"]]
    result = benchmark(None, paths, batches=2, rounds=1, threads=1)
    assert result.threads == 1 and alone[0].threads == 3
    for path in paths:
        assert alone[1].threads[path.name] - recorder.threads[path.name] == 2


@pytest.mark.parametrize("format", ["keras", "saved_model"])
def test_threads_reach_tensorflow(artifacts, digits_file, format, monkeypatch):
    import tensorflow as tf

    limits = []
    for name in ("intra", "inter"):
        monkeypatch.setattr(tf.config.threading, f"set_{name}_op_parallelism_threads", limits.append)
    if format == "keras":
        _keras_runner.open_keras(digits_file, 3)
    else:
        _runner.open_saved_model(artifacts["plain_saved_model"], 3)
    assert limits == [3, 1]


def test_a_fixed_batch_size_is_measured_alone(alone):
    rows = by_name(alone[0])
    assert rows["four.tflite"].fixed_batch == 4
    assert [timing.batch for timing in rows["four.tflite"].timings] == [4]
    assert rows["four.tflite"].timing(2) is None and rows["plain.tflite"].timing(2).batch == 2


def test_a_foreign_artifact_has_no_known_quantization(alone):
    rows = by_name(alone[0])
    assert rows["foreign.onnx"].quantize is None and rows["outside.onnx"].quantize == "none"


def test_without_labels_there_is_no_accuracy(artifacts, tmp_path):
    twin = tmp_path / "plain.tflite"
    twin.write_bytes(artifacts["plain.tflite"].read_bytes())
    result = benchmark(None, [artifacts["plain.tflite"], twin], batches=(1,), rounds=1)
    assert [row.accuracy for row in result.rows] == [None, None]
    assert result.images == "64 digits of scikit-learn" and set(result.versions) == {"ai-edge-litert"}
    # Files with the same name are shown with their whole paths
    assert [row.name for row in result.rows] == [str(artifacts["plain.tflite"]), str(twin)]


@pytest.mark.parametrize(
    "arguments, part",
    [
        ({"artifacts": []}, "give a model or artifacts"),
        ({"artifacts": "model.pb"}, "the name of an artifact ends in one of"),
        ({"artifacts": ["missing.onnx"]}, "there is no such artifact. Received: artifact='missing.onnx'"),
        ({"batches": ()}, "`batches` must"),
        ({"batches": (1, 0)}, "`batches` must be a whole number of at least 1. Received: batches=0"),
        ({"batches": (1, "8")}, "Received: batches='8'"),
        ({"threads": -1}, "`threads` must"),
        ({"rounds": 0}, "`rounds` must"),
    ],
)
def test_wrong_arguments_are_refused(arguments, part):
    with pytest.raises(ArgumentError, match="Received") as raised:
        benchmark(**{"model": None, "artifacts": ["missing.tflite"], **arguments})
    assert part in str(raised.value)


@pytest.mark.parametrize("format, runtime", [("tflite", "LiteRT"), ("onnx", "ONNX Runtime")])
def test_a_broken_file_is_named(artifacts, format, runtime, tmp_path):
    path = tmp_path / f"cut.{format}"
    path.write_bytes(artifacts[f"plain.{format}"].read_bytes()[:1000])
    before = threading.active_count()
    with pytest.raises(ArtifactError, match=rf"cut.{format}: {runtime} cannot run it .*Export the model again"):
        benchmark(None, [artifacts["plain.tflite"], path], rounds=1)
    assert threading.active_count() <= before  # threads of earlier tests may have ended since


def test_artifacts_that_cannot_be_compared_are_named(artifacts, digits_model, tmp_path):
    model, record = digits_model
    other = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(10)], name="other")
    small = export_model(other, tmp_path, "tflite", Options(verify=False)).artifacts[0].path
    with pytest.raises(ArgumentError, match="measure other.tflite, which takes 16x16x1 and not 32x32x1 as plain"):
        benchmark(None, [artifacts["plain.tflite"], small], rounds=1)
    artifacts_by_order = []
    for order in ("abcdefghij", "jihgfedcba"):
        options = Options(verify=False, labels=tuple(order))
        artifacts_by_order += export_model(model, tmp_path, "tflite", options, info=record, stem=order).artifacts
    with pytest.raises(ArgumentError, match="measure jihgfedcba.tflite, whose classes are not those of abcdefghij"):
        benchmark(None, [artifact.path for artifact in artifacts_by_order], rounds=1)
    # An artifact without class names may be compared with any other
    unnamed = ModelInfo(preprocessing=record.preprocessing)
    (artifact,) = export_model(model, tmp_path, "tflite", Options(verify=False), info=unnamed, stem="unnamed").artifacts
    benchmark(None, [artifact.path, artifacts_by_order[0].path], rounds=1, batches=(1,))


def test_a_free_model_takes_the_size_of_its_artifacts():
    def subject(name, side, shape):
        return SimpleNamespace(name=name, path=name, preprocessing=Preprocessing(side, 3), class_names=(), shape=shape)

    free = subject("model", (32, 32), (None, None, 3))
    fixed = subject("a.tflite", (64, 48), (64, 48, 3))
    assert find_common_input([free, fixed]) == (fixed.preprocessing, ())
    assert find_common_input([free]) == (free.preprocessing, ())
    with pytest.raises(ArgumentError, match="which takes 64x48x3 and not 32x32x3 as model"):
        find_common_input([subject("model", (32, 32), (32, 32, 3)), fixed])


def test_usual_exports_hold_int8_only_with_calibration_images(digits_model, tmp_path):
    model, record = digits_model
    lines = []
    paths = export_usual(model, tmp_path / "all", record, stem="nin", progress=lines.append)
    assert [path.name for path in paths] == [
        "nin_saved_model",
        "nin.tflite",
        "nin.onnx",
        "nin-int8.tflite",
        "nin-int8.onnx",
    ]
    assert all(path.exists() for path in paths) and not [line for line in lines if "without" in line]
    # For a model of another program there are no calibration images
    other = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)], name="other")
    paths = export_usual(other, tmp_path / "plain", progress=lines.append)
    assert [path.name for path in paths] == ["other_saved_model", "other.tflite", "other.onnx"]
    assert "without int8: " in lines[-1] and "Received: quantize=int8" in lines[-1]
