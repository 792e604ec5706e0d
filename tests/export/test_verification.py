"""A verification that can fail: bounds, runtimes that die, files that are no longer what was exported."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

from keras_cnns.errors import ArgumentError, ArtifactError, OutputExistsError, VerificationError
from keras_cnns.export import FORMATS, Options, _runner, export_model, inspection, runtimes, verify
from keras_cnns.export.parity import compare
from keras_cnns.saving import ModelInfo


@pytest.fixture(scope="module")
def exported(digits_model, tmp_path_factory):
    """A folder with the network that ships in all formats, and in int8."""
    model, record = digits_model
    folder = tmp_path_factory.mktemp("exports")
    export_model(model, folder, FORMATS, info=record, stem="nin")
    export_model(model, folder, ["tflite"], Options(quantize="int8"), info=record, stem="nin")
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "a folder with spaces, Ünïcödé")


def softmax(logits):
    return (np.exp(logits) / np.exp(logits).sum(1, keepdims=True)).astype("float32")


LOGITS = np.random.default_rng(0).normal(size=(20, 10)).astype("float32")


def test_bounds_of_float32():
    reference = softmax(LOGITS)
    assert not compare(reference, reference, "probabilities").fault
    off = reference.copy()
    off[3, 2] += 2e-4
    assert "outputs differ by" in compare(reference, off, "probabilities").fault
    assert not compare(reference, off, "probabilities", tolerance=1e-2).fault
    # A thousand nearly equal classes: a twentieth of a small probability is below the bound, but not in the logits
    flat = np.full((2, 1000), 1e-3, "float32")
    bent = flat.copy()
    bent[0, 0] += 5e-5
    parity = compare(flat, bent, "probabilities")
    assert parity.max_difference <= parity.bound and "logits differ" in parity.fault
    # Logits: relative to the largest, and no smaller than 1e-4
    assert not compare(LOGITS * 100, LOGITS * 100 + 5e-3, "logits").fault
    assert "outputs differ" in compare(LOGITS * 100, LOGITS * 100 + 5e-2, "logits").fault
    for broken, message in ((np.full_like(reference, np.nan), "not finite"), (reference[:, :3], "and not float32")):
        with pytest.raises(ArtifactError, match=message):
            compare(reference, broken, "probabilities")


def test_rounding_grows_with_the_logits():
    """Probabilities alone do not show that their logits are thousands, of which float32 keeps three decimals."""
    reference = softmax(LOGITS)
    off = reference.copy()
    off[3] = softmax(LOGITS[3:4] + 5e-3 * np.eye(10)[2])[0]
    assert (
        compare(reference, off, "probabilities").fault and compare(reference, off, "probabilities", largest=15.0).fault
    )
    assert not compare(reference, off, "probabilities", largest=1000.0).fault


def test_a_network_with_large_logits_is_exported(tmp_path):
    """Pixels as they are, and weights for pixels of 0 to 1: nothing is wrong with the artifact."""
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3))
    y = keras.layers.Flatten()(keras.layers.Conv2D(32, 3, kernel_initializer="he_normal", activation="relu")(x))
    model = keras.Model(x, keras.layers.Dense(200, "softmax", kernel_initializer="he_normal")(y))
    for artifact in export_model(model, tmp_path, ["tflite", "onnx"]).artifacts:
        assert artifact.parity.logit_bound > 0.01 and artifact.parity.disagreements == 0


def test_what_counts_as_a_disagreement():
    tie = np.array([[0.5, 0.5 - 1e-6]], "float32")
    assert compare(tie, tie[:, ::-1].copy(), "probabilities").disagreements == 0  # the model itself hardly decides
    clear = np.array([[0.9, 0.1]], "float32")
    assert compare(clear, clear[:, ::-1].copy(), "probabilities").disagreements == 1
    assert compare(clear, clear, "probabilities", np.array([1])).accuracy == 0.0


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
        ("int8", 10, 1, False),  # few images: one may differ
        ("int8", 10, 2, True),
    ],
)
def test_agreements(quantize, images, wrong, fails):
    reference = np.tile(np.float32([4.0, 0.0, 0.0]), (images, 1))
    outputs = reference.copy()
    outputs[:wrong] = [0.0, 4.0, 0.0]
    parity = compare(reference, outputs, "logits", quantize=quantize)
    assert parity.disagreements == wrong and parity.agreement == pytest.approx(1 - wrong / images)
    assert ("get another class" in parity.fault) == fails
    assert not compare(reference, outputs, "logits", quantize=quantize, min_agreement=0.5).fault
    assert compare(reference, outputs, "logits", quantize=quantize, min_agreement=1.0).fault or images < 200


def test_accuracy_must_be_kept():
    """A disagreement of 3 % is allowed, but not if all of it makes right answers wrong."""
    labels = np.zeros(1000, "int64")
    reference = np.tile(np.float32([1.0, 0.0]), (1000, 1))
    for wrong, fails in ((10, False), (11, True)):
        outputs = reference.copy()
        outputs[:wrong] = [0.0, 1.0]
        parity = compare(reference, outputs, "logits", labels, quantize="int8")
        assert parity.accuracy == 1 - wrong / 1000 and ("its accuracy is" in parity.fault) == fails


def test_signal_to_noise_and_top_five():
    noise = np.random.default_rng(1).normal(size=LOGITS.shape).astype("float32")
    noise *= np.sqrt(((LOGITS - LOGITS.mean(1, keepdims=True)) ** 2).sum() / (noise**2).sum() / 100)
    parity = compare(LOGITS, LOGITS + noise, "logits", quantize="int8")
    assert parity.signal_to_noise == pytest.approx(20, abs=0.01)  # a hundredth of the power
    assert compare(LOGITS, LOGITS, "logits").signal_to_noise is None
    reversed_order = compare(LOGITS, -LOGITS, "logits", quantize="int8")
    assert reversed_order.top5_agreement == 0.0 and parity.top5_agreement == 1.0


def test_batches_of_several_sizes_are_tried():
    sizes = []

    def run(images):
        sizes.append(len(images))
        return {"output": images.reshape(len(images), -1).astype("float32")}

    images = np.arange(80, dtype="uint8").reshape(80, 1, 1, 1)
    run.inputs = {"image": {"shape": [None, 1, 1, 1]}}
    np.testing.assert_array_equal(_runner.in_batches(run, images)["output"][:, 0], np.arange(80))
    assert sizes == [1, 3, 64, 12]
    sizes.clear()
    run.inputs = {"image": {"shape": [32, 1, 1, 1]}}  # a fixed batch is filled up, and cut again
    np.testing.assert_array_equal(_runner.in_batches(run, images)["output"][:, 0], np.arange(80))
    assert sizes == [32, 32, 32]


@pytest.mark.slow
@pytest.mark.parametrize(
    "format, runtime", [("saved_model", "tensorflow"), ("tflite", "ai_edge_litert"), ("onnx", "onnxruntime")]
)
def test_the_process_holds_its_runtime_alone(exported, format, runtime):
    with runtimes.RuntimeProcess(exported / f"nin{FORMATS[format].suffix}", format) as process:
        modules = set(process.ask(do="describe")["modules"])
    assert runtime in modules and "keras_cnns" not in modules
    assert not ({"tensorflow", "ai_edge_litert", "onnxruntime", "onnx", "keras"} - {runtime}) & modules - (
        {"keras"} if format == "saved_model" else set()
    )


def test_a_process_that_dies(exported):
    with runtimes.RuntimeProcess(exported / "nin.onnx", "onnx") as process:
        process.ask(do="describe")
        os.kill(process.process.pid, signal.SIGKILL)
        with pytest.raises(ArtifactError, match="killed by signal 9 .the system may have run out of memory"):
            process.ask(do="describe")


def test_a_process_that_hangs(exported, tmp_path, monkeypatch):
    program = tmp_path / "hangs.py"
    program.write_text("import time\ntime.sleep(1000)")
    monkeypatch.setattr(runtimes, "SECONDS", 0.2)
    with (
        runtimes.RuntimeProcess(exported / "nin.onnx", "onnx", program=str(program)) as process,
        pytest.raises(ArtifactError, match="gave no answer for 0.2 seconds"),
    ):
        process.ask(do="describe")


def test_a_killed_child_keeps_everything_back(digits_model, tmp_path, monkeypatch):
    model, record = digits_model
    program = tmp_path / "dies.py"
    program.write_text("import os, sys\nprint('out of luck', file=sys.stderr)\nos.kill(os.getpid(), 11)")
    monkeypatch.setattr(runtimes.RuntimeProcess.__init__, "__defaults__", (0, str(program)))
    with pytest.raises(VerificationError, match="killed by signal 11; its last line: out of luck"):
        export_model(model, tmp_path / "out", ["onnx"], info=record)
    assert not (tmp_path / "out").exists()


def test_a_missing_runtime_is_named(cli, tmp_path, monkeypatch):
    program = tmp_path / "without.py"
    blocked = "import sys\nsys.modules['ai_edge_litert'] = None\nsys.argv[0] = RUNNER\nexec(open(RUNNER).read())\n"
    program.write_text(blocked.replace("RUNNER", repr(_runner.__file__)))
    monkeypatch.setattr(runtimes.RuntimeProcess.__init__, "__defaults__", (0, str(program)))
    code, out, err = cli("export", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 4 and "this needs the package ai-edge-litert, which is not installed" in err and not out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", [pytest.param("nin_saved_model", marks=pytest.mark.slow), "nin.tflite", "nin.onnx", "nin-int8.tflite"]
)
def test_verify_what_was_made_earlier(copied, name, digits_model):
    model, record = digits_model
    report = verify(copied / name, model, info=record)
    (artifact,) = report.artifacts
    assert artifact.path == copied / name and report.accuracy >= 0.99 and not artifact.parity.fault
    assert report.options.quantize == ("int8" if "int8" in name else "none")


def test_verify_sees_what_was_changed_since(copied, digits_model):
    model, record = digits_model
    path = copied / "nin.onnx"
    bias = np.asarray(model.get_layer("cccp6").bias)
    path.write_bytes(path.read_bytes().replace(bias.tobytes(), (bias + np.eye(10, dtype="float32")[0] / 9).tobytes()))
    with pytest.raises(VerificationError, match="nin.onnx is not the file that was exported: its sha256") as raised:
        verify(path, model, info=record)
    assert "Nothing was kept" not in str(raised.value) and path.exists()
    (copied / "manifest.json").unlink()  # without it the numbers tell
    said = []
    with pytest.raises(VerificationError, match="outputs differ by"):
        verify(path, model, info=record, progress=said.append)
    assert "no manifest tells the sha256 of nin.onnx" in said[0]


def test_verify_sees_another_model_and_other_labels(copied, digits_model):
    model, record = digits_model
    other = type(model).from_config(model.get_config())
    other.set_weights([weight * 1.001 for weight in model.get_weights()])
    for name in ("nin.tflite", "nin-int8.tflite"):  # integers cannot tell a thousandth; what the file says can
        with pytest.raises(VerificationError, match="it was made of other weights"):
            verify(copied / name, other, info=record)
    swapped = ModelInfo(class_names=tuple("1023456789"), preprocessing=record.preprocessing)
    with pytest.raises(VerificationError, match="its labels are not the model's: '0' stands where '1' should"):
        verify(copied / "nin.tflite", model, info=swapped)


def rewrite(path, name, change):
    """Change the text `name` that an artifact carries, where programs read it."""
    import zipfile

    import onnx

    if path.is_dir():
        file = path / "assets" / name
        file.write_text(change(file.read_text("utf8")), "utf8")
    elif path.suffix == ".onnx":
        model = onnx.load(path)
        for one in model.metadata_props:
            if one.key == name:
                one.value = change(one.value)
        onnx.save(model, path)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {one: archive.read(one).decode() for one in archive.namelist()}
            start = min(one.header_offset for one in archive.infolist())
        path.write_bytes(path.read_bytes()[:start])
        with zipfile.ZipFile(path, "a") as archive:
            for one, text in members.items():
                archive.writestr(one, change(text) if one == name else text)


@pytest.mark.parametrize("name", [pytest.param("nin_saved_model", marks=pytest.mark.slow), "nin.tflite", "nin.onnx"])
def test_verify_reads_what_users_read(copied, digits_model, name):
    """labels.txt is what programs take the names from; the card what tells them how to feed it."""
    model, record = digits_model
    (copied / "manifest.json").unlink()
    rewrite(copied / name, "labels.txt", lambda text: "".join(text.splitlines(True)[::-1]))
    with pytest.raises(VerificationError, match="its labels are not the model's: '9' stands where '0' should"):
        verify(copied / name, model, info=record)
    rewrite(copied / name, "labels.txt", lambda text: "".join(text.splitlines(True)[::-1]))
    rewrite(copied / name, "keras_cnns.json", lambda text: text.replace('"shorter_side": null', '"shorter_side": 40'))
    with pytest.raises(VerificationError, match="what it says of its preprocessing is not so"):
        verify(copied / name, model, info=record)


@pytest.mark.parametrize("card", ["[]", "null", '{"options": 5}', '{"options": {"quantize": [1]}}', "{"])
def test_cards_that_are_none(copied, digits_model, card):
    model, record = digits_model
    (copied / "manifest.json").unlink()
    rewrite(copied / "nin.tflite", "keras_cnns.json", lambda text: card)
    with pytest.raises(VerificationError, match="nin.tflite does not compute"):
        verify(copied / "nin.tflite", model, info=record)


@pytest.mark.slow
def test_verify_sees_permuted_labels_in_a_saved_model(digits_model, tmp_path, monkeypatch):
    """The names that `serve_image_bytes` gives stand in the graph, not in the assets."""
    from keras_cnns.export import writers

    model, record = digits_model
    right = writers._serve_image_bytes

    def wrong(servable, prepared):
        import dataclasses

        return right(servable, dataclasses.replace(prepared, class_names=tuple("1023456789")))

    monkeypatch.setattr(writers, "_serve_image_bytes", wrong)
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
def test_verify_sees_image_files_that_are_read_otherwise(digits_model, tmp_path, monkeypatch, part, wrong, kind):
    """Plain PNG files alone are decoded rightly by anything."""
    import tensorflow as tf

    from keras_cnns.data import image_bytes

    model, record = digits_model
    monkeypatch.setattr(image_bytes, part, wrong(tf))
    with pytest.raises(VerificationError, match=f"serve_image_bytes, for {kind}"):
        export_model(model, tmp_path, ["saved_model"], info=record)


def test_artifacts_that_are_none(tmp_path, digits_model, copied):
    model, record = digits_model
    with pytest.raises(ArgumentError, match="the name of an artifact ends in one of _saved_model, .tflite, .onnx"):
        verify(tmp_path / "model.pt", model, info=record)
    with pytest.raises(ArgumentError, match="there is no such artifact"):
        verify(tmp_path / "model.onnx", model, info=record)
    for name in ("nin.tflite", "nin.onnx"):
        (tmp_path / name).write_bytes((copied / name).read_bytes()[:5000])
        with pytest.raises(VerificationError, match=f"{name} does not compute"):
            verify(tmp_path / name, model, info=record)


def test_sizes_that_do_not_fit_the_weights(exported, digits_model, tmp_path, monkeypatch):
    """The converter that loses its weights writes a file of 13 KB; Keras's SavedModel has each weight twice."""
    model, record = digits_model
    for factor, message in ((0.3, "some are missing"), (3, "some stand there more than once")):
        real = inspection.size
        monkeypatch.setattr(inspection, "size", lambda path, real=real, factor=factor: int(real(path) * factor))
        with pytest.raises(VerificationError, match=message):
            verify(exported / "nin.tflite", model, info=record)
        monkeypatch.setattr(inspection, "size", real)


def test_the_manifest(copied, digits_model):
    model, record = digits_model
    noted = json.loads((copied / "manifest.json").read_text("utf8"))["artifacts"]
    assert sorted(noted) == ["nin-int8.tflite", "nin.onnx", "nin.tflite", "nin_saved_model"]
    for name, entry in noted.items():
        assert entry["sha256"] == inspection.sha256(copied / name) and entry["bytes"] == inspection.size(copied / name)
        assert entry["images"] == "360 test images of digits" and entry["parity"]["accuracy"] >= 0.99
        assert entry["source"]["name"] == "nin" and len(entry["source"]["weights_sha256"]) == 64
        assert entry["versions"]["onnxruntime"] and sum(entry["contents"]["operators"].values()) > 9
    assert noted["nin.onnx"]["contents"]["opset"] == 17 and noted["nin.onnx"]["calibration"] is None
    quantized = noted["nin-int8.tflite"]
    assert quantized["calibration"]["seed"] == 0 and len(quantized["calibration"]["sha256"]) == 64
    assert quantized["inputs"]["image"]["scale"] == 1.0 and quantized["inputs"]["image"]["zero_point"] == 0
    # What is gone is no longer listed; what is there stays so
    (copied / "nin.tflite").unlink()
    export_model(model, copied, ["onnx"], Options(logits=True), info=record, stem="second")
    noted = json.loads((copied / "manifest.json").read_text("utf8"))["artifacts"]
    assert sorted(noted) == ["nin-int8.tflite", "nin.onnx", "nin_saved_model", "second.onnx"]


def test_a_manifest_of_somebody_else_is_kept(digits_model, tmp_path):
    model, record = digits_model
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(OutputExistsError, match="no manifest of exports, or a damaged one, and is kept"):
        export_model(model, tmp_path, ["onnx"], info=record, overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == ["manifest.json"]


def test_places_that_are_taken_are_told_before_anything_is_moved(digits_model, tmp_path):
    """A folder where the TFLite file goes: the ONNX file must not lie there alone, without a manifest."""
    from keras_cnns.errors import OutputError

    model, record = digits_model
    (tmp_path / "nin.tflite").mkdir()
    for formats in (["onnx", "tflite"], ["tflite", "onnx"]):
        with pytest.raises(OutputError, match="nin.tflite: cannot be written .a folder of that name is there"):
            export_model(model, tmp_path, formats, Options(verify=False), info=record, overwrite=True)
    (tmp_path / "nin_saved_model").write_text("")
    with pytest.raises(OutputError, match="nin_saved_model: cannot be written .a file of that name is there"):
        export_model(model, tmp_path, ["onnx", "saved_model"], Options(verify=False), info=record, overwrite=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["nin.tflite", "nin_saved_model"]


def test_a_folder_is_noted_in_by_one_at_a_time(tmp_path):
    import threading
    import time

    from keras_cnns import _files

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


def test_of_two_exports_of_one_output_the_second_is_told_before_its_work(digits_model, tmp_path, monkeypatch):
    from keras_cnns import _files
    from keras_cnns.export import exporter

    def work(*_):
        raise AssertionError("the model was opened")

    model, record = digits_model
    monkeypatch.setattr(exporter, "_opened", work)
    left = tmp_path / ".nin-0123456789ab.onnx"
    left.write_text("a process that was killed left this")
    with _files.claimed(tmp_path / "nin.onnx"):
        assert not left.exists()
        with pytest.raises(OutputExistsError, match="another process is writing this output.*nin.onnx"):
            export_model(model, tmp_path, ["tflite", "onnx"], info=record, overwrite=True)
        with pytest.raises(AssertionError, match="the model was opened"):  # other outputs are free
            export_model(model, tmp_path, ["tflite"], info=record)
    with pytest.raises(AssertionError, match="the model was opened"):
        export_model(model, tmp_path / "a" / "new" / "folder", ["onnx"], info=record)
    assert not list(tmp_path.iterdir())


def test_equal_exports_are_equal_tflite_files(digits_model, tmp_path):
    model, record = digits_model
    for folder in ("one", "two"):
        export_model(model, tmp_path / folder, ["tflite"], Options(verify=False), info=record)
    one, two = (tmp_path / folder / "nin.tflite" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_the_logits_that_were_taken_out_are_checked(digits_model, tmp_path, monkeypatch):
    from keras_cnns import _models

    model, record = digits_model
    monkeypatch.setattr(_models, "without_softmax", lambda model: model)
    with pytest.raises(VerificationError, match="logits that were taken out of the model do not give its prob"):
        export_model(model, tmp_path, ["onnx"], Options(logits=True), info=record)
