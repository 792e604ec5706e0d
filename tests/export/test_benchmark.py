"""Benchmarks: complete, measured in turns, each runtime by itself; and accuracies that are the real ones."""

import dataclasses
import json
import os
import sys
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras_cnns.export._subjects import in_common

from keras_cnns import applications
from keras_cnns.data import Preprocessing, open_source
from keras_cnns.errors import ArgumentError, ArtifactError
from keras_cnns.export import Options, benchmark, export_model
from keras_cnns.export._benchmark import export_usual
from keras_cnns.export.runtimes import RuntimeProcess

pytestmark = pytest.mark.slow  # tests/cli/test_benchmark.py is the quick one


@pytest.fixture(scope="module")
def biased():
    """The network that ships, but it says "3" far too often."""
    model = applications.NiN(weights="digits")
    bias = model.get_layer("cccp6").bias
    bias.assign(bias + 12 * np.eye(10, dtype="float32")[3])
    return model


@pytest.fixture(scope="module")
def artifacts(digits_model, biased, tmp_path_factory):
    """Both networks, in several ways, by file name."""
    folder = tmp_path_factory.mktemp("exports")
    model, record = digits_model
    found = {}
    for name, network, formats, options in (
        ("plain", model, ("saved_model", "tflite", "onnx"), {}),
        ("biased", biased, ("tflite",), {}),
        ("four", model, ("tflite",), {"batch": 4}),
        ("outside", model, ("onnx",), {"preprocess": False, "layout": "nchw"}),
    ):
        options = Options(verify=False, **options)
        report = export_model(network, folder, formats, options, info=record, stem=name)
        found.update({one.path.name: one.path for one in report.artifacts})
    return found


class Recorder:
    """What was asked of which process and answered, and how many threads it had at the end."""

    def __init__(self, monkeypatch):
        self.asked, self.modules, self.threads = [], {}, {}
        ask = RuntimeProcess.ask

        def recorded(process, **request):
            answer = ask(process, **request)
            name = process.path.name
            self.asked.append((request["do"], name))
            if request["do"] == "describe":
                self.modules[name] = set(answer["modules"])
            if request["do"] == "memory" and sys.platform == "linux":
                self.threads[name] = len(os.listdir(f"/proc/{process.process.pid}/task"))
            return answer

        monkeypatch.setattr(RuntimeProcess, "ask", recorded)


@pytest.fixture(scope="module")
def measured(digits_model, artifacts):
    """The network and its artifacts in all formats, and what was asked of the processes."""
    model, record = digits_model
    paths = [artifacts[name] for name in ("plain_saved_model", "plain.tflite", "plain.onnx", "biased.tflite")]
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorder = Recorder(monkeypatch)
        result = benchmark(model, paths, info=record, batches=(1, 3), rounds=2)
    return result, recorder


@pytest.fixture(scope="module")
def alone(artifacts, tmp_path_factory):
    """Artifacts without their model, with three threads each; one of them says nothing of itself."""
    import onnx

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
        assert 4 * 349_674 < row.bytes < 1.1 * 4 * 349_674
        assert row.peak_memory > 10e6
        assert [one.batch for one in row.timings] == [1, 3]
        for one in row.timings:
            assert 0 < one.median <= one.p90
            assert one.throughput == pytest.approx(one.batch / one.median)
    # TensorFlow itself is larger than the others with a small network
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
    right, wrong = (float((one.predict(pixels, verbose=0).argmax(1) == test.labels).mean()) for one in (model, biased))
    assert 0.1 < wrong < right - 0.05  # so that the rows cannot be each other's
    found = {row.name: row.accuracy for row in measured[0].rows}
    assert found.pop("biased.tflite") == wrong
    assert set(found.values()) == {right} == {row.accuracy for row in alone[0].rows}


def test_all_are_asked_in_turns(measured):
    _, recorder = measured
    names = {name for _, name in recorder.asked}
    asked = [name for do, name in recorder.asked if do == "time"]
    assert len(names) == 5 and len(asked) == 2 * 5 * 3  # batch sizes, subjects, and a round before the two that count
    assert asked[::2] == asked[1::2]
    rounds = [tuple(asked[k : k + 10 : 2]) for k in range(0, 30, 10)]
    assert all(set(one) == names for one in rounds) and len(set(rounds)) > 1
    # All live at once; and memory comes before the accuracy's batch sizes, which nobody asked for
    assert [do for do, _ in recorder.asked] == 5 * ["describe"] + 30 * ["time"] + 5 * ["memory"] + 5 * ["run"]


def test_each_process_holds_its_runtime_alone(measured):
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

    from keras_cnns.export import _keras_runner, _runner

    told = []
    for name in ("intra", "inter"):
        monkeypatch.setattr(tf.config.threading, f"set_{name}_op_parallelism_threads", told.append)
    if format == "keras":
        _keras_runner.open_keras(digits_file, 3)
    else:
        _runner.open_saved_model(artifacts["plain_saved_model"], 3)
    assert told == [3, 1]


def test_a_fixed_batch_size_is_the_only_one(alone):
    rows = by_name(alone[0])
    assert rows["four.tflite"].fixed_batch == 4
    assert [one.batch for one in rows["four.tflite"].timings] == [4]
    assert rows["four.tflite"].timing(2) is None and rows["plain.tflite"].timing(2).batch == 2


def test_a_foreign_artifact_says_nothing_of_itself(alone):
    rows = by_name(alone[0])
    assert rows["foreign.onnx"].quantize is None and rows["outside.onnx"].quantize == "none"


def test_without_labels_there_is_no_accuracy(artifacts, tmp_path):
    twin = tmp_path / "plain.tflite"
    twin.write_bytes(artifacts["plain.tflite"].read_bytes())
    result = benchmark(None, [artifacts["plain.tflite"], twin], batches=(1,), rounds=1)
    assert [row.accuracy for row in result.rows] == [None, None]
    assert result.images == "64 digits of scikit-learn" and set(result.versions) == {"ai-edge-litert"}
    # Two of one name are told apart by their paths
    assert [row.name for row in result.rows] == [str(artifacts["plain.tflite"]), str(twin)]


@pytest.mark.parametrize(
    "arguments, part",
    [
        ({"artifacts": []}, "give a model or artifacts"),
        ({"artifacts": "model.pb"}, "the name of an artifact ends in one of"),
        ({"artifacts": ["missing.onnx"]}, "there is no such artifact. Received: artifact='missing.onnx'"),
        ({"batches": ()}, "`batches` must"),
        ({"batches": (1, 0)}, "`batches` must be whole, of at least 1. Received: batches=0"),
        ({"batches": (1, "8")}, "Received: batches='8'"),
        ({"threads": -1}, "`threads` must"),
        ({"rounds": 0}, "`rounds` must"),
    ],
)
def test_wrong_arguments(arguments, part):
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
    assert threading.active_count() <= before  # of earlier tests some may have ended meanwhile


def test_what_cannot_be_compared_is_named(artifacts, digits_model, tmp_path):
    model, record = digits_model
    other = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(10)], name="other")
    small = export_model(other, tmp_path, "tflite", Options(verify=False)).artifacts[0].path
    with pytest.raises(ArgumentError, match="measure other.tflite, which takes 16x16x1 and not 32x32x1 as plain"):
        benchmark(None, [artifacts["plain.tflite"], small], rounds=1)
    named = []
    for order in ("abcdefghij", "jihgfedcba"):
        options = Options(verify=False, labels=tuple(order))
        named += export_model(model, tmp_path, "tflite", options, info=record, stem=order).artifacts
    with pytest.raises(ArgumentError, match="measure jihgfedcba.tflite, whose classes are not those of abcdefghij"):
        benchmark(None, [one.path for one in named], rounds=1)
    # Numbers say nothing of what a class is
    benchmark(None, [artifacts["plain.tflite"], named[0].path], rounds=1, batches=(1,))


def test_a_free_model_takes_the_size_of_its_artifacts():
    def subject(name, side, shape):
        return SimpleNamespace(name=name, path=name, preprocessing=Preprocessing(side, 3), class_names=(), shape=shape)

    free = subject("model", (32, 32), (None, None, 3))
    fixed = subject("a.tflite", (64, 48), (64, 48, 3))
    assert in_common([free, fixed]) == (fixed.preprocessing, ())
    assert in_common([free]) == (free.preprocessing, ())
    with pytest.raises(ArgumentError, match="which takes 64x48x3 and not 32x32x3 as model"):
        in_common([subject("model", (32, 32), (32, 32, 3)), fixed])


def test_what_is_exported_for_a_benchmark(digits_model, tmp_path):
    model, record = digits_model
    said = []
    paths = export_usual(model, tmp_path / "all", record, stem="nin", progress=said.append)
    assert [path.name for path in paths] == [
        "nin_saved_model",
        "nin.tflite",
        "nin.onnx",
        "nin-int8.tflite",
        "nin-int8.onnx",
    ]
    assert all(path.exists() for path in paths) and not [text for text in said if "without" in text]
    # A model of another program: there are no images to fit ranges on
    other = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)], name="other")
    paths = export_usual(other, tmp_path / "plain", progress=said.append)
    assert [path.name for path in paths] == ["other_saved_model", "other.tflite", "other.onnx"]
    assert "without int8: " in said[-1] and "Received: quantize=int8" in said[-1]
