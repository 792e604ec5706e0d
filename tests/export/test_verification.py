"""Verification fails when it should: exceeded bounds, runtimes that die, changed files."""

import dataclasses
import json
import os
import shutil
import signal
import threading
import time
import zipfile

import keras
import numpy as np
import onnx
import pytest

from keras_cnns import _files
from keras_cnns.errors import ArgumentError, ArtifactError, OutputError, OutputExistsError, VerificationError
from keras_cnns.export import (
    FORMATS,
    Options,
    _runner,
    _saved_model,
    export_model,
    exporter,
    inspection,
    runtimes,
    verify,
)
from keras_cnns.export.parity import Bounds, Reference, compare
from keras_cnns.saving import ModelInfo
from keras_cnns.tasks import classifiers


@pytest.fixture(scope="module")
def exported(digits_model, tmp_path_factory):
    """A folder with the shipped network in all formats, and in int8."""
    model, record = digits_model
    folder = tmp_path_factory.mktemp("exports")
    export_model(model, folder, FORMATS, info=record, stem="nin")
    export_model(model, folder, ["tflite"], Options(quantize="int8"), info=record, stem="nin")
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    """A copy of that folder, which a test may change."""
    return shutil.copytree(exported, tmp_path / "a folder with spaces, Ünïcödé")


def softmax(logits):
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype("float32")


def compared(expected, outputs, kind, labels=None, largest_logit=0.0, **bounds):
    """The `Parity` of two arrays of outputs."""
    return compare(Reference(expected, kind, labels, largest_logit), outputs, Bounds(**bounds))


LOGITS = np.random.default_rng(0).normal(size=(20, 10)).astype("float32")


def test_float32_outputs_and_logits_have_bounds():
    reference = softmax(LOGITS)
    assert not compared(reference, reference, "probabilities").fault
    off = reference.copy()
    off[3, 2] += 2e-4
    assert "outputs differ by" in compared(reference, off, "probabilities").fault
    assert not compared(reference, off, "probabilities", tolerance=1e-2).fault
    # With a thousand nearly equal classes, a change of 5 % of a small probability exceeds only the bound of the logits
    equal = np.full((2, 1000), 1e-3, "float32")
    changed = equal.copy()
    changed[0, 0] += 5e-5
    parity = compared(equal, changed, "probabilities")
    assert parity.max_difference <= parity.bound and "logits differ" in parity.fault
    # The bound of logits is relative to the largest of them
    assert not compared(LOGITS * 100, LOGITS * 100 + 5e-3, "logits").fault
    assert "outputs differ" in compared(LOGITS * 100, LOGITS * 100 + 5e-2, "logits").fault
    for broken, message in (
        (np.full_like(reference, np.nan), "NaN or infinite"),
        (reference[:, :3], "and not float32"),
    ):
        with pytest.raises(ArtifactError, match=message):
            compared(reference, broken, "probabilities")


def test_bounds_grow_with_the_logits():
    # Probabilities do not show that their logits are thousands, and that float32 keeps only three decimals of them.
    reference = softmax(LOGITS)
    off = reference.copy()
    off[3] = softmax(LOGITS[3:4] + 5e-3 * np.eye(10)[2])[0]
    assert compared(reference, off, "probabilities").fault
    assert compared(reference, off, "probabilities", largest_logit=15.0).fault
    assert not compared(reference, off, "probabilities", largest_logit=1000.0).fault


def test_a_network_with_large_logits_is_exported(tmp_path):
    # Its weights are for pixels of 0 to 1 and it gets 0 to 255, but the artifact computes the same.
    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3))
    y = keras.layers.Flatten()(keras.layers.Conv2D(32, 3, kernel_initializer="he_normal", activation="relu")(x))
    model = keras.Model(x, keras.layers.Dense(200, "softmax", kernel_initializer="he_normal")(y))
    for artifact in export_model(model, tmp_path, ["tflite", "onnx"]).artifacts:
        assert artifact.parity.logit_bound > 0.01 and artifact.parity.disagreements == 0


def test_near_ties_are_no_disagreements():
    tie = np.array([[0.5, 0.5 - 1e-6]], "float32")
    assert compared(tie, tie[:, ::-1].copy(), "probabilities").disagreements == 0
    clear = np.array([[0.9, 0.1]], "float32")
    assert compared(clear, clear[:, ::-1].copy(), "probabilities").disagreements == 1
    assert compared(clear, clear, "probabilities", np.array([1])).accuracy == 0.0


@pytest.mark.parametrize(
    "quantize, images, wrong, fails",
    [
        ("float16", 1000, 10, False),
        ("float16", 1000, 11, True),
        ("int16x8", 200, 2, False),
        ("int8", 1000, 30, False),
        ("int8", 1000, 31, True),
        ("dynamic", 200, 6, False),
        ("dynamic", 200, 7, True),
        ("int8", 10, 1, False),  # with few images, one may differ
        ("int8", 10, 2, True),
    ],
)
def test_each_quantization_needs_its_agreement(quantize, images, wrong, fails):
    reference = np.tile(np.float32([4.0, 0.0, 0.0]), (images, 1))
    outputs = reference.copy()
    outputs[:wrong] = [0.0, 4.0, 0.0]
    parity = compared(reference, outputs, "logits", quantize=quantize)
    assert parity.disagreements == wrong and parity.agreement == pytest.approx(1 - wrong / images)
    assert ("get another class" in parity.fault) == fails
    assert not compared(reference, outputs, "logits", quantize=quantize, min_agreement=0.5).fault
    assert compared(reference, outputs, "logits", quantize=quantize, min_agreement=1.0).fault or images < 200


def test_accuracy_must_be_kept():
    # 3 % of the classes may differ, but not if each difference is an error of the artifact.
    labels = np.zeros(1000, "int64")
    reference = np.tile(np.float32([1.0, 0.0]), (1000, 1))
    for wrong, fails in ((10, False), (11, True)):
        outputs = reference.copy()
        outputs[:wrong] = [0.0, 1.0]
        parity = compared(reference, outputs, "logits", labels, quantize="int8")
        assert parity.accuracy == 1 - wrong / 1000 and ("its accuracy is" in parity.fault) == fails


def test_signal_to_noise_and_top_five_are_measured():
    noise = np.random.default_rng(1).normal(size=LOGITS.shape).astype("float32")
    noise *= np.sqrt(((LOGITS - LOGITS.mean(1, keepdims=True)) ** 2).sum() / (noise**2).sum() / 100)
    parity = compared(LOGITS, LOGITS + noise, "logits", quantize="int8")
    assert parity.signal_to_noise == pytest.approx(20, abs=0.01)  # the noise has a hundredth of the power
    assert compared(LOGITS, LOGITS, "logits").signal_to_noise is None
    reversed_order = compared(LOGITS, -LOGITS, "logits", quantize="int8")
    assert reversed_order.top5_agreement == 0.0 and parity.top5_agreement == 1.0


def test_batches_of_several_sizes_are_tried():
    sizes = []

    def run(images):
        sizes.append(len(images))
        return {"output": images.reshape(len(images), -1).astype("float32")}

    images = np.arange(80, dtype="uint8").reshape(80, 1, 1, 1)
    run.input = {"shape": [None, 1, 1, 1]}
    np.testing.assert_array_equal(_runner.run_in_batches(run, images)["output"][:, 0], np.arange(80))
    assert sizes == [1, 3, 64, 12]
    sizes.clear()
    run.input = {"shape": [32, 1, 1, 1]}  # a fixed batch is padded, and the padding is cut off
    np.testing.assert_array_equal(_runner.run_in_batches(run, images)["output"][:, 0], np.arange(80))
    assert sizes == [32, 32, 32]


@pytest.mark.slow
@pytest.mark.parametrize(
    "format, runtime", [("saved_model", "tensorflow"), ("tflite", "ai_edge_litert"), ("onnx", "onnxruntime")]
)
def test_the_process_imports_only_its_runtime(exported, format, runtime):
    with runtimes.RuntimeProcess(exported / f"nin{FORMATS[format].suffix}", format) as process:
        modules = set(process.ask(do="describe")["modules"])
    assert runtime in modules and "keras_cnns" not in modules
    assert not ({"tensorflow", "ai_edge_litert", "onnxruntime", "onnx", "keras"} - {runtime}) & modules - (
        {"keras"} if format == "saved_model" else set()
    )


def test_a_process_that_dies_is_an_error(exported):
    with runtimes.RuntimeProcess(exported / "nin.onnx", "onnx") as process:
        process.ask(do="describe")
        os.kill(process.process.pid, signal.SIGKILL)
        with pytest.raises(ArtifactError, match="killed by signal 9 .the system may have run out of memory"):
            process.ask(do="describe")


def test_a_process_that_hangs_is_an_error(exported, tmp_path, monkeypatch):
    program = tmp_path / "hangs.py"
    program.write_text("import time\ntime.sleep(1000)")
    monkeypatch.setattr(runtimes, "TIMEOUT", 0.2)
    with (
        runtimes.RuntimeProcess(exported / "nin.onnx", "onnx", program=str(program)) as process,
        pytest.raises(ArtifactError, match="gave no answer for 0.2 seconds"),
    ):
        process.ask(do="describe")


def test_nothing_is_kept_if_the_runtime_dies(digits_model, tmp_path, monkeypatch):
    model, record = digits_model
    program = tmp_path / "dies.py"
    program.write_text("import os, sys\nprint('out of luck', file=sys.stderr)\nos.kill(os.getpid(), 11)")
    monkeypatch.setattr(runtimes, "PROGRAM", str(program))
    with pytest.raises(VerificationError, match="killed by signal 11; its last line: out of luck"):
        export_model(model, tmp_path / "out", ["onnx"], info=record)
    assert not (tmp_path / "out").exists()


def test_a_missing_runtime_is_named(cli, tmp_path, monkeypatch):
    program = tmp_path / "without.py"
    blocked = "import sys\nsys.modules['ai_edge_litert'] = None\nsys.argv[0] = RUNNER\nexec(open(RUNNER).read())\n"
    program.write_text(blocked.replace("RUNNER", repr(_runner.__file__)))
    monkeypatch.setattr(runtimes, "PROGRAM", str(program))
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 4 and "this needs the package ai-edge-litert, which is not installed" in err and not out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", [pytest.param("nin_saved_model", marks=pytest.mark.slow), "nin.tflite", "nin.onnx", "nin-int8.tflite"]
)
def test_an_earlier_export_is_verified(copied, name, digits_model):
    model, record = digits_model
    report = verify(copied / name, model, info=record)
    (artifact,) = report.artifacts
    assert artifact.path == copied / name and report.accuracy >= 0.99 and not artifact.parity.fault
    assert report.options.quantize == ("int8" if "int8" in name else "none")


def test_verify_sees_a_changed_file(copied, digits_model):
    model, record = digits_model
    path = copied / "nin.onnx"
    bias = np.asarray(model.get_layer("cccp6").bias)
    path.write_bytes(path.read_bytes().replace(bias.tobytes(), (bias + np.eye(10, dtype="float32")[0] / 9).tobytes()))
    with pytest.raises(VerificationError, match="nin.onnx is not the file that was exported: its sha256") as raised:
        verify(path, model, info=record)
    assert "Nothing was kept" not in str(raised.value) and path.exists()
    (copied / "manifest.json").unlink()  # without a manifest, the outputs are compared
    lines = []
    with pytest.raises(VerificationError, match="outputs differ by"):
        verify(path, model, info=record, progress=lines.append)
    assert "no manifest has the sha256 of nin.onnx" in lines[0]


def test_verify_sees_another_model_and_other_labels(copied, digits_model):
    model, record = digits_model
    other = type(model).from_config(model.get_config())
    other.set_weights([weight * 1.001 for weight in model.get_weights()])
    for name in ("nin.tflite", "nin-int8.tflite"):  # int8 outputs do not show a change of 0.1 %, the hash does
        with pytest.raises(VerificationError, match="it was made from other weights"):
            verify(copied / name, other, info=record)
    swapped = ModelInfo(class_names=tuple("1023456789"), preprocessing=record.preprocessing)
    with pytest.raises(VerificationError, match="its labels are not the model's: '0' instead of '1'"):
        verify(copied / "nin.tflite", model, info=swapped)


def rewrite(path, name, change):
    """Change the text `name` that an artifact carries."""
    if path.is_dir():
        file = path / "assets" / name
        file.write_text(change(file.read_text("utf8")), "utf8")
    elif path.suffix == ".onnx":
        model = onnx.load(path)
        for entry in model.metadata_props:
            if entry.key == name:
                entry.value = change(entry.value)
        onnx.save(model, path)
    else:
        with zipfile.ZipFile(path) as archive:
            texts = {member: archive.read(member).decode() for member in archive.namelist()}
            start = min(member.header_offset for member in archive.infolist())
        path.write_bytes(path.read_bytes()[:start])
        with zipfile.ZipFile(path, "a") as archive:
            for member, text in texts.items():
                archive.writestr(member, change(text) if member == name else text)


@pytest.mark.parametrize("name", [pytest.param("nin_saved_model", marks=pytest.mark.slow), "nin.tflite", "nin.onnx"])
def test_verify_checks_labels_and_card(copied, digits_model, name):
    # Programs take class names from labels.txt, and the input's description from the card.
    model, record = digits_model
    (copied / "manifest.json").unlink()
    rewrite(copied / name, "labels.txt", lambda text: "".join(text.splitlines(True)[::-1]))
    with pytest.raises(VerificationError, match="its labels are not the model's: '9' instead of '0'"):
        verify(copied / name, model, info=record)
    rewrite(copied / name, "labels.txt", lambda text: "".join(text.splitlines(True)[::-1]))
    rewrite(copied / name, "keras_cnns.json", lambda text: text.replace('"shorter_side": null', '"shorter_side": 40'))
    with pytest.raises(VerificationError, match="its description of its preprocessing is wrong"):
        verify(copied / name, model, info=record)


@pytest.mark.parametrize("card", ["[]", "null", '{"options": 5}', '{"options": {"quantize": [1]}}', "{"])
def test_broken_cards_are_errors(copied, digits_model, card):
    model, record = digits_model
    (copied / "manifest.json").unlink()
    rewrite(copied / "nin.tflite", "keras_cnns.json", lambda text: card)
    with pytest.raises(VerificationError, match="nin.tflite does not compute"):
        verify(copied / "nin.tflite", model, info=record)


@pytest.mark.slow
def test_verify_sees_permuted_labels_in_a_saved_model(digits_model, tmp_path, monkeypatch):
    # The names that `serve_image_bytes` gives are in the graph, not in the assets.
    model, record = digits_model
    original = _saved_model.image_bytes_function

    def permuted(servable, prepared):
        return original(servable, dataclasses.replace(prepared, class_names=tuple("1023456789")))

    monkeypatch.setattr(_saved_model, "image_bytes_function", permuted)
    with pytest.raises(VerificationError, match="serve_image_bytes: its labels are not the model's"):
        export_model(model, tmp_path, ["saved_model"], info=record)


@pytest.mark.slow
@pytest.mark.parametrize(
    "part, wrong, kind",
    [
        ("_turned", lambda tf: lambda pixels, orientation: pixels, "a JPEG turned by its camera"),
        ("_decode_png", lambda tf: lambda content, name: tf.io.decode_png(content, channels=3), "a transparent PNG"),
    ],
)
def test_verify_sees_wrongly_decoded_image_files(digits_model, tmp_path, monkeypatch, part, wrong, kind):
    # Plain PNG files alone would not show it, because any decoder reads them.
    import tensorflow as tf

    from keras_cnns.data import image_bytes

    model, record = digits_model
    monkeypatch.setattr(image_bytes, part, wrong(tf))
    with pytest.raises(VerificationError, match=f"serve_image_bytes, for {kind}"):
        export_model(model, tmp_path, ["saved_model"], info=record)


def test_missing_and_damaged_artifacts_are_errors(tmp_path, digits_model, copied):
    model, record = digits_model
    with pytest.raises(ArgumentError, match="the name of an artifact ends in one of _saved_model, .tflite, .onnx"):
        verify(tmp_path / "model.pt", model, info=record)
    with pytest.raises(ArgumentError, match="there is no such artifact"):
        verify(tmp_path / "model.onnx", model, info=record)
    for name in ("nin.tflite", "nin.onnx"):
        (tmp_path / name).write_bytes((copied / name).read_bytes()[:5000])
        with pytest.raises(VerificationError, match=f"{name} does not compute"):
            verify(tmp_path / name, model, info=record)


def test_sizes_must_fit_the_weights(exported, digits_model, tmp_path, monkeypatch):
    # A conversion that loses its weights writes a file of 13 KB; Keras's own SavedModel has each weight twice.
    model, record = digits_model
    for factor, message in ((0.3, "some are missing"), (3, "some are stored more than once")):
        size = inspection.size
        monkeypatch.setattr(inspection, "size", lambda path, size=size, factor=factor: int(size(path) * factor))
        with pytest.raises(VerificationError, match=message):
            verify(exported / "nin.tflite", model, info=record)
        monkeypatch.setattr(inspection, "size", size)


def test_the_manifest_describes_each_artifact(copied, digits_model):
    model, record = digits_model
    entries = json.loads((copied / "manifest.json").read_text("utf8"))["artifacts"]
    assert sorted(entries) == ["nin-int8.tflite", "nin.onnx", "nin.tflite", "nin_saved_model"]
    for name, entry in entries.items():
        assert entry["sha256"] == inspection.sha256(copied / name) and entry["bytes"] == inspection.size(copied / name)
        assert entry["images"] == "360 test images of digits" and entry["parity"]["accuracy"] >= 0.99
        assert entry["source"]["name"] == "nin" and len(entry["source"]["weights_sha256"]) == 64
        assert entry["versions"]["onnxruntime"] and sum(entry["contents"]["operators"].values()) > 9
    assert entries["nin.onnx"]["contents"]["opset"] == 17 and entries["nin.onnx"]["calibration"] is None
    quantized = entries["nin-int8.tflite"]
    assert quantized["calibration"]["seed"] == 0 and len(quantized["calibration"]["sha256"]) == 64
    assert quantized["inputs"]["image"]["scale"] == 1.0 and quantized["inputs"]["image"]["zero_point"] == 0
    # Entries of removed files are dropped, the others stay
    (copied / "nin.tflite").unlink()
    export_model(model, copied, ["onnx"], Options(logits=True), info=record, stem="second")
    entries = json.loads((copied / "manifest.json").read_text("utf8"))["artifacts"]
    assert sorted(entries) == ["nin-int8.tflite", "nin.onnx", "nin_saved_model", "second.onnx"]


def test_a_foreign_manifest_is_kept(digits_model, tmp_path):
    model, record = digits_model
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(OutputExistsError, match="not a manifest of exports, or a damaged one, and is kept"):
        export_model(model, tmp_path, ["onnx"], info=record, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_occupied_outputs_are_refused_before_anything_is_moved(digits_model, tmp_path):
    # A folder has the TFLite file's name; the ONNX file must not be left alone, without a manifest.
    model, record = digits_model
    (tmp_path / "nin.tflite").mkdir()
    for formats in (["onnx", "tflite"], ["tflite", "onnx"]):
        with pytest.raises(OutputError, match="nin.tflite: cannot be written .a folder of that name is there"):
            export_model(model, tmp_path, formats, Options(verify=False), info=record, overwrite=True)
    (tmp_path / "nin_saved_model").write_text("")
    with pytest.raises(OutputError, match="nin_saved_model: cannot be written .a file of that name is there"):
        export_model(model, tmp_path, ["onnx", "saved_model"], Options(verify=False), info=record, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nin.tflite", "nin_saved_model"]


def test_a_folder_is_locked_by_one_export_at_a_time(tmp_path):
    order = []

    def second():
        with _files.locked(tmp_path):
            order.append("second")

    with _files.locked(tmp_path):
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.2)
        order.append("first")
    other.join(5)
    assert order == ["first", "second"]


def test_an_output_that_another_export_writes_is_refused_at_once(digits_model, tmp_path, monkeypatch):
    def fail(*_):
        raise AssertionError("the model was opened")

    model, record = digits_model
    monkeypatch.setattr(exporter, "open_model", fail)
    remnant = tmp_path / ".nin-0123456789ab.onnx"
    remnant.write_text("a process that was killed left this")
    with _files.claimed(tmp_path / "nin.onnx"):
        assert not remnant.exists()
        with pytest.raises(OutputExistsError, match="another process is writing this output.*nin.onnx"):
            export_model(model, tmp_path, ["tflite", "onnx"], info=record, overwrite=True)
        with pytest.raises(AssertionError, match="the model was opened"):  # other outputs are free
            export_model(model, tmp_path, ["tflite"], info=record)
    with pytest.raises(AssertionError, match="the model was opened"):
        export_model(model, tmp_path / "a" / "new" / "folder", ["onnx"], info=record)
    assert not list(tmp_path.iterdir())


def test_equal_exports_are_equal_tflite_files(digits_model, tmp_path):
    model, record = digits_model
    contents = []
    for folder in ("first", "second"):
        export_model(model, tmp_path / folder, ["tflite"], Options(verify=False), info=record)
        contents.append((tmp_path / folder / "nin.tflite").read_bytes())
    assert contents[0] == contents[1]


def test_logits_must_give_the_probabilities(digits_model, tmp_path, monkeypatch):
    model, record = digits_model
    monkeypatch.setattr(classifiers, "without_softmax", lambda model: model)
    with pytest.raises(VerificationError, match="logits that were taken out of the model do not give its prob"):
        export_model(model, tmp_path, ["onnx"], Options(logits=True), info=record)
