"""Weights that ship with the package."""

import hashlib
import json

import keras
import numpy as np
import pytest
from conftest import ROOT

from keras_cnns import applications
from keras_cnns.applications import _loading, _weights
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.saving import ModelInfo, read_info, save_model

MANIFEST = json.loads((ROOT / "saved_models" / "manifest.json").read_text("utf8"))["weights"]


def test_the_manifest_lists_all_files():
    files = {path.name for path in (ROOT / "saved_models").glob("*.keras")}
    assert {entry["file"] for entry in MANIFEST} == files
    assert applications.list_weights(shipped=True) == [f"{e['builder'].lower()}:{e['name']}" for e in MANIFEST]


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda e: e["file"])
def test_an_entry_of_the_manifest_equals_the_record_in_its_file(entry):
    content = (ROOT / "saved_models" / entry["file"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])
    info = read_info(ROOT / "saved_models" / entry["file"]).to_json()
    expected = {key: entry[key] for key in info}  # without the keys of the manifest alone
    expected["data"] = {key: value for key, value in entry["data"].items() if key != "sha256"}
    expected["metrics"] = {
        split: {key: value for key, value in metrics.items() if key != "protocol"}
        for split, metrics in entry["metrics"].items()
        if split in info["metrics"]
    }
    assert json.loads(json.dumps(info)) == expected
    assert len(entry["data"]["sha256"]) == 64 and entry["metrics"]["test"]["protocol"] == "center"
    assert {"command", "seed", "device", "epochs", "seconds"} <= set(entry["training"])
    assert not entry["training"]["interrupted"] and entry["license"] and entry["metrics"]["test"]["top1"] > 0.5


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda e: e["file"])
def test_shipped_weights_load_by_name(entry):
    """They equal the weights that plain Keras reads from the file."""
    model = applications.create_model(entry["builder"], weights=entry["name"])
    plain = keras.saving.load_model(ROOT / "saved_models" / entry["file"])
    for weight, expected in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert list(model.input_shape[1:]) == entry["network"]["input_shape"]
    record = applications.weights_info(entry["builder"].upper(), entry["name"])
    assert record.preprocessing.shape == model.input_shape[1:] and len(record.class_names) == model.output_shape[1]


@pytest.mark.parametrize(
    "options, argument",
    [
        ({"variant": "cifar10"}, "`variant` must be 'mnist'"),
        ({"input_shape": (28, 28, 1)}, r"`input_shape` must be \(32, 32, 1\)"),
        ({"second_pool": "max"}, "`second_pool` must be 'average'"),
    ],
)
def test_an_argument_that_contradicts_the_weights_is_an_error(options, argument):
    with pytest.raises(ArgumentError, match=f"{argument}") as caught:
        applications.NiN(weights="digits", **options)
    assert "pass weights=None, or leave" in str(caught.value)


def test_arguments_that_agree_with_the_weights_are_accepted():
    model = applications.NiN(weights="digits", variant="mnist", classes=10, input_shape=[32, 32, 1])
    assert model.count_params() == 349_674
    logits = applications.NiN(weights="digits", classifier_activation=None, dropout=0.0, name="logits")
    np.testing.assert_array_equal(logits.get_weights()[0], model.get_weights()[0])


def test_a_network_without_top_takes_other_sizes():
    body = applications.NiN(include_top=False, weights="digits", input_shape=(48, 40, 1), pooling="avg")
    whole = applications.NiN(weights="digits")
    assert body.output_shape == (None, 96)
    np.testing.assert_array_equal(body.get_layer("cccp5").kernel, whole.get_layer("cccp5").kernel)
    with pytest.raises(ArgumentError, match=r"do not fit.*of other shapes: conv1 has \(5, 5, 1, 96\)"):
        applications.NiN(include_top=False, weights="digits", input_shape=(32, 32, 3))


def test_weights_are_loaded_from_a_file(tmp_path):
    source = applications.NiN(variant="svhn", classes=3)
    save_model(source, tmp_path / "mine.keras")
    model = applications.NiN(weights=tmp_path / "mine.keras", variant="svhn", classes=3)
    for weight, expected in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    with pytest.raises(ArgumentError, match="the weights do not fit the network: of other shapes: conv1 has"):
        applications.NiN(weights=tmp_path / "mine.keras")
    with pytest.raises(ArgumentError, match=r"cccp6 has \(1, 1, 256, 3\) \(3,\), here \(1, 1, 256, 10\)"):
        applications.NiN(weights=str(tmp_path / "mine.keras"), variant="svhn")


def test_arguments_left_out_come_from_the_record_in_a_file(tmp_path):
    options = {"variant": "svhn", "classes": 3, "input_shape": (24, 24, 1), "second_pool": "max"}
    save_model(applications.NiN(**options), tmp_path / "mine.keras", ModelInfo(builder="NiN", network=options))
    model = applications.NiN(weights=tmp_path / "mine.keras")
    assert model.input_shape == (None, 24, 24, 1) and model.output_shape == (None, 3)
    assert isinstance(model.get_layer("pool2"), keras.layers.MaxPooling2D)
    with pytest.raises(ArgumentError, match="`second_pool` must be 'max'"):
        applications.NiN(weights=tmp_path / "mine.keras", second_pool="average")
    with pytest.raises(ArgumentError, match="NiNImageNet: the file holds a NiN"):
        applications.NiNImageNet(weights=tmp_path / "mine.keras")


def test_a_model_is_unchanged_by_weights_that_do_not_fit(tmp_path):
    save_model(applications.NiN(variant="mnist", classes=4), tmp_path / "four.keras")
    model = applications.NiN(variant="mnist", classes=5)
    before = model.get_weights()
    record = _weights.Weights(builder="NiN", name="four", path=tmp_path / "four.keras")
    with pytest.raises(ArgumentError):
        _loading.assign(model.layers, record, top=True, heads=False)
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_an_error_names_layers_that_are_left_over(tmp_path):
    inputs = keras.Input((28, 28, 1))
    x = applications.NiN(variant="mnist", input_tensor=inputs).output
    save_model(keras.Model(inputs, keras.layers.Dense(3, name="extra")(x)), tmp_path / "more.keras")
    with pytest.raises(ArgumentError, match="left over there: extra"):
        applications.NiN(weights=tmp_path / "more.keras", variant="mnist", input_shape=(28, 28, 1))


def test_a_shipped_file_that_was_changed_is_an_error(tmp_path, monkeypatch):
    record = applications.weights_info("nin", "digits")
    changed = tmp_path / "nin-digits.keras"
    changed.write_bytes(record.path.read_bytes() + b" ")
    entry = _weights.dataclasses.replace(record, path=changed)
    monkeypatch.setattr(_weights, "_shipped", lambda: {("NiN", "digits"): entry})
    with pytest.raises(ModelFileError, match="is not the file that shipped.*Install keras_cnns again"):
        applications.NiN(weights="digits")
    changed.unlink()
    with pytest.raises(ModelFileError, match="is missing"):
        applications.NiN(weights="digits")


def test_networks_are_built_by_name_in_any_case():
    assert {"NiN", "NiNImageNet", "VGG16"} < set(applications.list_models())
    assert applications.create_model("nin", variant="mnist").count_params() == 349_674
    assert applications.create_model("nin", name="mine").name == "mine"


def test_weights_are_listed_for_all_networks_or_one():
    assert "nin:digits" in applications.list_weights("nin") and applications.list_weights("VGG11") == []
    assert applications.list_weights("VGG16") == ["vgg16:imagenet"]
    assert applications.list_weights("VGG16", shipped=True) == []


def test_an_unknown_name_is_an_error_that_suggests_another():
    with pytest.raises(ArgumentError, match="there is no such network"):
        applications.list_weights("typo")
    with pytest.raises(ArgumentError, match="Did you mean 'NiN'\\? There are AlexNet, "):
        applications.create_model("NiM")
    with pytest.raises(ArgumentError, match="NiNImageNet: there are no weights of that name; none ship"):
        applications.weights_info("NiNImageNet", "imagenet")
    with pytest.raises(ArgumentError, match="Received: weights=None"):
        applications.weights_info("NiN", None)


def test_weights_info_is_the_same_for_a_name_and_its_file():
    named = applications.weights_info("nin", "digits")
    assert applications.weights_info("nin", named.path).preprocessing == named.preprocessing


PROBABILITIES = [[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]]


def test_decode_predictions_returns_the_most_probable_classes():
    best = applications.decode_predictions(PROBABILITIES, ["a", "b", "c"], top=2)
    assert [[name for name, _ in row] for row in best] == [["b", "c"], ["a", "c"]]
    assert best[0][0][1] == pytest.approx(0.5)
    assert len(applications.decode_predictions(PROBABILITIES, ["a", "b", "c"])[0]) == 3


def test_decode_predictions_refuses_wrong_arguments():
    with pytest.raises(ArgumentError, match=r"must have the shape \(batch, 2\).*Received: shape=\(2, 3\)"):
        applications.decode_predictions(PROBABILITIES, ["a", "b"])
    with pytest.raises(ArgumentError, match="`top` must be at least 1"):
        applications.decode_predictions(PROBABILITIES, ["a", "b", "c"], top=0)
