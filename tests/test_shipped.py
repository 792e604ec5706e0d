"""Shipped weights, and the scripts that make and measure them."""

import configparser
import dataclasses
import fnmatch
import hashlib
import json

import _shipped
import measure_accuracy
import numpy as np
import pytest
import ship_weights
import weights_table
from conftest import ROOT

from keras_cnns import applications, data, evaluation, recipes, saving

ENTRIES = _shipped.entries()
# Largest difference of logits, as a share of their range. Other kernels, and JAX, differ by up to 1e-6 (November 2026).
CLOSE = 2e-5


@pytest.mark.kernels
@pytest.mark.parametrize("entry", ENTRIES, ids=_shipped.full_name)
def test_shipped_weights_still_compute_the_stored_logits(entry):
    """A single weight that is 1 % larger is noticed."""
    model = applications.create_model(entry["builder"], weights=entry["name"], classifier_activation=None)
    preprocessing = applications.weights_info(entry["builder"], entry["name"]).preprocessing
    with np.load(_shipped.FIXED_POINTS / f"{entry['file'].removesuffix('.keras')}.npz") as file:
        stored = file["logits"]
    assert stored.dtype == np.float32 and len({tuple(row) for row in stored.tolist()}) == 16

    def difference():
        return np.abs(_shipped.verification_logits(model, preprocessing) - stored).max() / np.ptp(stored)

    assert difference() < CLOSE
    kernel = model.trainable_weights[0]
    values = np.array(kernel)
    values.flat[np.abs(values).argmax()] *= 1.01
    kernel.assign(values)
    assert difference() > 4 * CLOSE


def test_verification_images_never_change():
    images = _shipped.verification_images((32, 28, 3))
    assert images.shape == (16, 32, 28, 3) and images.dtype == np.uint8
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "ac7040988663b0222eadc727123ea5b034698c1ab3daf42b6f4b4dd280a1fe75"


def test_every_file_has_stored_logits_and_a_figure():
    stems = {entry["file"].removesuffix(".keras") for entry in ENTRIES}
    assert {path.stem for path in _shipped.FIXED_POINTS.iterdir()} == stems
    for entry in ENTRIES:
        assert 10_000 < _shipped.image(entry).stat().st_size < 150_000


def test_shipped_files_have_at_most_40_megabytes():
    assert sum(path.stat().st_size for path in _shipped.SHIPPED.iterdir() if path.is_file()) <= 40e6


def test_a_wheel_contains_the_files():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    patterns = [text.strip() for text in config["options.package_data"]["keras_cnns.saved_models"].split(",")]
    needed = {"manifest.json", *(entry["file"] for entry in ENTRIES)}
    assert needed == {name for name in needed if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    assert not any(fnmatch.fnmatch("nin-digits.h5", pattern) for pattern in patterns)


def entry_of(builder, source, augmentation):
    return {"builder": builder, "data": {"source": source}, "recipe": {"augmentation": augmentation}}


@pytest.mark.parametrize(
    "builder, source, augmentation, error",
    [
        ("LeNet5", "mnist.npz", "distort", 0.8),
        ("LeNet5", "mnist.npz", "none", 0.95),
        ("NiN", "cifar10.npz", "pad-crop-flip", 8.81),
        ("NiN", "cifar10.npz", "none", 10.41),
        ("NiN", "mnist.npz", "distort", 0.47),
        ("NiN", "fashion_mnist.npz", "distort", None),
        ("NiN", "digits", "distort", None),
        ("ResNet20", "cifar10.npz", "none", 8.75),
    ],
)
def test_the_published_error_is_that_of_the_same_augmentation(builder, source, augmentation, error):
    assert _shipped.published_error(entry_of(builder, source, augmentation)) == error


@pytest.fixture
def small(tmp_path):
    """The path of a small `.npz`, and its arrays.

    It has 12 training and 9 test images of three classes.
    """
    random, arrays = np.random.default_rng(0), {}
    for part, count in (("train", 12), ("test", 9)):
        arrays[f"x_{part}"] = random.integers(0, 256, (count, 28, 28), dtype="uint8")
        arrays[f"y_{part}"] = np.arange(count, dtype="uint8") % 3
    np.savez(tmp_path / "small.npz", **arrays)
    return tmp_path / "small.npz", arrays


def test_the_sha256_of_data_is_that_of_its_arrays(small, tmp_path):
    path, arrays = small
    first = _shipped.data_sha256(data.open_source(path))
    by_hand = hashlib.sha256()
    for key in ("y_train", "y_test", "x_train", "x_test"):
        by_hand.update(arrays[key].astype("<i8" if key.startswith("y") else "u1").tobytes())
    assert first == by_hand.hexdigest()
    # The same data, written by another program
    other = {key: values[:, None].astype("int64") if key.startswith("y") else values for key, values in arrays.items()}
    np.savez_compressed(tmp_path / "packed.npz", class_names=np.array(["a", "b", "c"]), **other)
    assert _shipped.data_sha256(data.open_source(tmp_path / "packed.npz")) == first
    arrays["x_test"][4, 3, 2] ^= 1
    np.savez(tmp_path / "changed.npz", **arrays)
    assert _shipped.data_sha256(data.open_source(tmp_path / "changed.npz")) != first


def test_data_that_are_not_arrays_are_an_error(folder_of_images):
    with pytest.raises(SystemExit, match="come from digits or an .npz file"):
        _shipped.data_sha256(data.open_source(folder_of_images))


def test_the_sha256_of_the_real_data_is_in_the_manifest(shared):
    known = {entry["data"]["source"]: entry["data"]["sha256"] for entry in ENTRIES}
    assert _shipped.data_sha256(data.open_source("digits")) == known["digits"]
    assert _shipped.data_sha256(data.open_source(shared / "mnist" / "mnist.npz")) == known["mnist.npz"]


@pytest.mark.kernels
def test_measured_accuracy_is_as_recorded(tmp_path, capsys):
    assert measure_accuracy.main([str(tmp_path), "nin:digits"]) == 0
    out = capsys.readouterr().out
    assert "0.28 %    0.28 %         -  same  as recorded" in out and out.endswith("All as recorded.\n")


@pytest.fixture
def digits_entry(monkeypatch):
    """A copy of the only entry, whose measurement returns its recorded metrics."""
    entry = json.loads(json.dumps(next(entry for entry in ENTRIES if _shipped.full_name(entry) == "nin:digits")))
    measured = json.loads(json.dumps(entry["metrics"]["test"]))
    monkeypatch.setattr(_shipped, "entries", lambda: [entry])
    monkeypatch.setattr(_shipped, "measure", lambda file, source, protocol: {**measured, "protocol": protocol})
    return entry


@pytest.mark.parametrize("images, code", [(0, 0), (1, 0), (2, 1)])
def test_an_accuracy_that_differs_by_more_than_one_image_fails(digits_entry, capsys, images, code):
    digits_entry["metrics"]["test"]["top1"] -= images / 360
    assert measure_accuracy.main([]) == code
    reported = "nin:digits: 0.28 % test error (center) is not the recorded 0.83 %." in capsys.readouterr().out
    assert reported == bool(code)


def test_an_accuracy_may_differ_by_a_thousandth():
    recorded = {"examples": 10_000, "top1": 0.9103}
    assert _shipped.agree({"examples": 10_000, "top1": 0.9093 + 1e-9}, recorded)
    assert not _shipped.agree({"examples": 10_000, "top1": 0.9092}, recorded)
    assert not _shipped.agree({"examples": 10_000, "top1": 0.9114}, recorded)
    assert not _shipped.agree({"examples": 9_999, "top1": 0.9103}, recorded)


def test_other_data_than_the_recorded_fail(digits_entry, capsys):
    digits_entry["data"]["sha256"] = "0" * 64
    assert measure_accuracy.main([]) == 1
    out = capsys.readouterr().out
    assert "OTHER DIFFERS" in out and "not the images or labels that nin:digits was measured on" in out


def test_the_recipes_protocol_is_measured_too(digits_entry, capsys):
    digits_entry["recipe"]["protocol"] = "ten-crop"
    digits_entry["metrics"]["test, ten-crop"] = {**digits_entry["metrics"]["test"], "top1": 0.5}
    assert measure_accuracy.main([]) == 1
    assert "0.28 % test error (ten-crop) is not the recorded 50.00 %" in capsys.readouterr().out


def test_missing_or_damaged_data_are_named(tmp_path, capsys, digits_entry):
    digits_entry["data"]["source"] = "cifar10.npz"
    assert measure_accuracy.main([str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert f"{tmp_path / 'cifar10.npz'} is missing, so nin:digits could not be measured" in out
    assert "keras.datasets.cifar10.load_data()" in out and "All as recorded" not in out
    (tmp_path / "cifar10.npz").write_bytes(b"PK")
    assert measure_accuracy.main([str(tmp_path)]) == 1
    assert "is damaged or no .npz file" in capsys.readouterr().out


def test_an_unknown_name_is_an_error_that_suggests_another(capsys):
    with pytest.raises(SystemExit) as caught:
        measure_accuracy.main([".", "nin:digit"])
    assert caught.value.code == 2 and "Did you mean 'nin:digits'?" in capsys.readouterr().err


@pytest.fixture
def a_run(small, tmp_path, monkeypatch):
    """A folder as cnn-train writes it, with nothing shipped yet.

    The recipe has the protocol ten-crop.

    (run folder, data path, source, model, record)
    """
    path, _ = small
    source = data.open_source(path)
    model = applications.LeNet5Modern(classes=3)
    record = saving.ModelInfo(
        class_names=source.class_names,
        preprocessing=data.Preprocessing((28, 28), channels=1),
        builder="LeNet5Modern",
        network={"classes": 3, "input_shape": (28, 28, 1)},
        recipe=recipes.LENET5_MODERN_MNIST.replace(protocol="ten-crop").to_json(),
        data=source.record(),
        training={
            "command": f"cnn-train {tmp_path}/first/model.keras --data {path} --output {tmp_path / 'run'}",
            "weights": f"{tmp_path}/first/model.keras",
            "earlier": [f"cnn-train LeNet5Modern --data {path} --output {tmp_path}/first --resume"],
            "interrupted": False,
            "complete": True,
        },
    )
    result = evaluation.evaluate(model, source.split("test"), record.preprocessing, record.class_names)
    record = dataclasses.replace(record, metrics={"test": result.summary()})
    for folder in ("run", "ships", "points"):
        (tmp_path / folder).mkdir()
    saving.save_model(model, tmp_path / "run" / "model.keras", record)
    (tmp_path / "ships" / "manifest.json").write_text('{"weights": []}')
    monkeypatch.setattr(_shipped, "SHIPPED", tmp_path / "ships")
    monkeypatch.setattr(_shipped, "MANIFEST", tmp_path / "ships" / "manifest.json")
    monkeypatch.setattr(_shipped, "FIXED_POINTS", tmp_path / "points")
    return tmp_path / "run", path, source, model, record


@pytest.fixture
def shipped_run(a_run):
    """The same run, shipped under the name "small"."""
    run, path, *_ = a_run
    ship_weights.main([str(run), "small", "--data", str(path), "--license", "Apache-2.0."])
    return a_run


def test_shipping_needs_a_license(a_run, capsys):
    run, path, *_ = a_run
    with pytest.raises(SystemExit):
        ship_weights.main([str(run), "small", "--data", str(path)])
    assert "lenet5modern:small needs --license" in capsys.readouterr().err and not _shipped.entries()


def test_the_manifest_describes_the_file_and_the_training_of_a_shipped_run(shipped_run, tmp_path):
    _, _, source, *_ = shipped_run
    (entry,) = _shipped.entries()
    file = tmp_path / "ships" / "lenet5modern-small.keras"
    assert entry["file"] == file.name and entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert entry["data"] == {"source": "small.npz", "sha256": _shipped.data_sha256(source)}
    assert weights_table.commands(entry) == [
        "cnn-train LeNet5Modern --data small.npz --output first",
        "cnn-train first/model.keras --data small.npz --output run",
    ]
    assert entry["training"]["weights"] == "first/model.keras"


def test_the_manifest_has_the_metrics_of_one_view_and_of_the_recipes_protocol(shipped_run):
    _, _, source, model, record = shipped_run
    (entry,) = _shipped.entries()
    assert entry["metrics"]["test"] == {"protocol": "center", **record.metrics["test"]}
    ten_crops = evaluation.evaluate(
        model, source.split("test"), record.preprocessing, record.class_names, protocol="ten-crop"
    ).summary()
    assert ten_crops != record.metrics["test"]
    assert entry["metrics"]["test, ten-crop"] == {"protocol": "ten-crop", **ten_crops}


def test_a_shipped_run_has_the_logits_of_the_verification_images(shipped_run, tmp_path):
    *_, model, record = shipped_run
    images = record.preprocessing.normalize(_shipped.verification_images((28, 28, 1)).astype("float32"))
    with np.load(tmp_path / "points" / "lenet5modern-small.npz") as points:
        probabilities = np.exp(points["logits"]) / np.exp(points["logits"]).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, model.predict_on_batch(images), atol=1e-6)


def test_shipped_weights_are_replaced_only_if_asked(shipped_run, capsys):
    run, path, *_ = shipped_run
    arguments = [str(run), "small", "--data", str(path)]
    with pytest.raises(SystemExit):
        ship_weights.main(arguments)
    assert "lenet5modern:small ships already: with --replace" in capsys.readouterr().err
    ship_weights.main([*arguments, "--replace"])
    assert [entry["license"] for entry in _shipped.entries()] == ["Apache-2.0."]


def test_shipping_a_shipped_file_renews_its_entry(shipped_run, tmp_path):
    _, path, *_ = shipped_run
    file = tmp_path / "ships" / "lenet5modern-small.keras"
    content, (entry,) = file.read_bytes(), _shipped.entries()
    ship_weights.main([str(file), "small", "--data", str(path)])
    assert file.read_bytes() == content and _shipped.entries() == [entry]


@pytest.mark.parametrize("change", ["incomplete", "another accuracy"])
def test_an_incomplete_or_contradictory_run_does_not_ship(a_run, change):
    run, path, _, model, record = a_run
    if change == "incomplete":
        record = dataclasses.replace(record, training={**record.training, "complete": False})
    else:
        shifted = (record.metrics["test"]["top1"] + 0.5) % 1
        record = dataclasses.replace(record, metrics={"test": {**record.metrics["test"], "top1": shifted}})
    saving.save_model(model, run / "model.keras", record, overwrite=True)
    match = "not complete" if change == "incomplete" else "its record says .* Give the data of its training"
    with pytest.raises(SystemExit, match=match):
        ship_weights.main([str(run), "small", "--data", str(path), "--license", "Apache-2.0."])
    assert not _shipped.entries() and list((run.parent / "ships").iterdir()) == [_shipped.MANIFEST]
