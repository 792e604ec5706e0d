"""The proof of the weights that ship: fixed points, images, sizes, and the scripts that make and measure them."""

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
# Of the logits' spread: other kernels, and JAX, differ by up to 1e-6 of it (November 2026)
CLOSE = 2e-5


@pytest.mark.kernels
@pytest.mark.parametrize("entry", ENTRIES, ids=_shipped.full_name)
def test_the_logits_come_out_again(entry):
    """Of images that depend on nothing but NumPy; and one weight that is 1 % larger is seen."""
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


def test_verification_images_are_the_same_for_ever():
    images = _shipped.verification_images((32, 28, 3))
    assert images.shape == (16, 32, 28, 3) and images.dtype == np.uint8
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "ac7040988663b0222eadc727123ea5b034698c1ab3daf42b6f4b4dd280a1fe75"


def test_every_file_has_its_fixed_point_and_its_image():
    stems = {entry["file"].removesuffix(".keras") for entry in ENTRIES}
    assert {path.stem for path in _shipped.FIXED_POINTS.iterdir()} == stems
    for entry in ENTRIES:
        assert 10_000 < _shipped.image(entry).stat().st_size < 150_000


def test_sizes():
    assert sum(path.stat().st_size for path in _shipped.SHIPPED.iterdir() if path.is_file()) <= 40e6


def test_a_wheel_takes_the_files_along():
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
def test_the_papers_error(builder, source, augmentation, error):
    assert _shipped.published_error(entry_of(builder, source, augmentation)) == error


@pytest.fixture
def small(tmp_path):
    """The path of an `.npz` of 12 training and 9 test images, 28x28, in three classes, and its arrays."""
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
    # Packed by another program
    other = {key: values[:, None].astype("int64") if key.startswith("y") else values for key, values in arrays.items()}
    np.savez_compressed(tmp_path / "packed.npz", class_names=np.array(["a", "b", "c"]), **other)
    assert _shipped.data_sha256(data.open_source(tmp_path / "packed.npz")) == first
    arrays["x_test"][4, 3, 2] ^= 1
    np.savez(tmp_path / "changed.npz", **arrays)
    assert _shipped.data_sha256(data.open_source(tmp_path / "changed.npz")) != first


def test_data_that_are_no_arrays(folder_of_images):
    with pytest.raises(SystemExit, match="come from digits or an .npz file"):
        _shipped.data_sha256(data.open_source(folder_of_images))


def test_the_real_data_are_those_of_the_manifest(shared):
    known = {entry["data"]["source"]: entry["data"]["sha256"] for entry in ENTRIES}
    assert _shipped.data_sha256(data.open_source("digits")) == known["digits"]
    assert _shipped.data_sha256(data.open_source(shared / "mnist" / "mnist.npz")) == known["mnist.npz"]


@pytest.mark.kernels
def test_accuracy_is_measured_again(tmp_path, capsys):
    assert measure_accuracy.main([str(tmp_path), "nin:digits"]) == 0
    out = capsys.readouterr().out
    assert "0.28 %    0.28 %         -  same  as recorded" in out and out.endswith("All as recorded.\n")


@pytest.fixture
def digits_entry(monkeypatch):
    """The one entry that there is, a copy, and a measurement that gives what it says without measuring."""
    entry = json.loads(json.dumps(next(one for one in ENTRIES if _shipped.full_name(one) == "nin:digits")))
    measured = json.loads(json.dumps(entry["metrics"]["test"]))
    monkeypatch.setattr(_shipped, "entries", lambda: [entry])
    monkeypatch.setattr(_shipped, "measure", lambda file, source, protocol: {**measured, "protocol": protocol})
    return entry


@pytest.mark.parametrize("images, code", [(0, 0), (1, 0), (2, 1)])
def test_an_accuracy_that_differs(digits_entry, capsys, images, code):
    digits_entry["metrics"]["test"]["top1"] -= images / 360
    assert measure_accuracy.main([]) == code
    said = "nin:digits: 0.28 % test error (center) is not the recorded 0.83 %." in capsys.readouterr().out
    assert said == bool(code)


def test_how_much_an_accuracy_may_differ():
    recorded = {"examples": 10_000, "top1": 0.9103}
    assert _shipped.agree({"examples": 10_000, "top1": 0.9093 + 1e-9}, recorded)
    assert not _shipped.agree({"examples": 10_000, "top1": 0.9092}, recorded)
    assert not _shipped.agree({"examples": 10_000, "top1": 0.9114}, recorded)
    assert not _shipped.agree({"examples": 9_999, "top1": 0.9103}, recorded)


def test_data_that_differ(digits_entry, capsys):
    digits_entry["data"]["sha256"] = "0" * 64
    assert measure_accuracy.main([]) == 1
    out = capsys.readouterr().out
    assert "OTHER DIFFERS" in out and "not the images or labels that nin:digits was measured on" in out


def test_a_protocol_besides_the_single_view(digits_entry, capsys):
    digits_entry["recipe"]["protocol"] = "ten-crop"
    digits_entry["metrics"]["test, ten-crop"] = {**digits_entry["metrics"]["test"], "top1": 0.5}
    assert measure_accuracy.main([]) == 1
    assert "0.28 % test error (ten-crop) is not the recorded 50.00 %" in capsys.readouterr().out


def test_data_that_are_missing(tmp_path, capsys, digits_entry):
    digits_entry["data"]["source"] = "cifar10.npz"
    assert measure_accuracy.main([str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert f"{tmp_path / 'cifar10.npz'} is missing, so nin:digits could not be measured" in out
    assert "keras.datasets.cifar10.load_data()" in out and "All as recorded" not in out
    (tmp_path / "cifar10.npz").write_bytes(b"PK")
    assert measure_accuracy.main([str(tmp_path)]) == 1
    assert "is damaged or no .npz file" in capsys.readouterr().out


def test_weights_that_do_not_ship(capsys):
    with pytest.raises(SystemExit) as caught:
        measure_accuracy.main([".", "nin:digit"])
    assert caught.value.code == 2 and "Did you mean 'nin:digits'?" in capsys.readouterr().err


@pytest.fixture
def a_run(small, tmp_path, monkeypatch):
    """A folder as cnn-train writes it, of a network whose recipe measures by ten crops; nothing ships yet."""
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


def test_a_run_ships(a_run, tmp_path, capsys):
    run, path, source, model, record = a_run
    given = [str(run), "small", "--data", str(path)]
    with pytest.raises(SystemExit):
        ship_weights.main(given)
    assert "lenet5modern:small needs --license" in capsys.readouterr().err and not _shipped.entries()

    ship_weights.main([*given, "--license", "Apache-2.0."])
    (entry,) = _shipped.entries()
    file = tmp_path / "ships" / "lenet5modern-small.keras"
    assert entry["file"] == file.name and entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert weights_table.commands(entry) == [
        "cnn-train LeNet5Modern --data small.npz --output first",
        "cnn-train first/model.keras --data small.npz --output run",
    ]
    assert entry["training"]["weights"] == "first/model.keras"
    assert entry["data"] == {"source": "small.npz", "sha256": _shipped.data_sha256(source)}
    assert entry["metrics"]["test"] == {"protocol": "center", **record.metrics["test"]}
    ten = evaluation.evaluate(
        model, source.split("test"), record.preprocessing, record.class_names, protocol="ten-crop"
    ).summary()
    assert entry["metrics"]["test, ten-crop"] == {"protocol": "ten-crop", **ten} and ten != record.metrics["test"]
    images = record.preprocessing.normalize(_shipped.verification_images((28, 28, 1)).astype("float32"))
    with np.load(tmp_path / "points" / "lenet5modern-small.npz") as points:
        shares = np.exp(points["logits"]) / np.exp(points["logits"]).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, model.predict_on_batch(images), atol=1e-6)

    with pytest.raises(SystemExit):
        ship_weights.main(given)
    assert "lenet5modern:small ships already: with --replace" in capsys.readouterr().err
    before = file.read_bytes()
    ship_weights.main([str(file), "small", "--data", str(path)])  # its entry anew
    assert file.read_bytes() == before and _shipped.entries() == [entry]
    ship_weights.main([*given, "--replace"])
    assert [one["license"] for one in _shipped.entries()] == ["Apache-2.0."]


@pytest.mark.parametrize("change", ["incomplete", "another accuracy"])
def test_a_run_that_does_not_ship(a_run, change):
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
