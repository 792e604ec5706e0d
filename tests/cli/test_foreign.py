"""Options that describe models of other programs: scaling, class names, layers."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_cnns import saving
from keras_cnns.data import Preprocessing

LAYER = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return 2 * inputs

print("said by the module")
"""


@pytest.fixture
def model(tmp_path):
    """Save and return a model of pixels / 255.

    Its second class means that the image is red.
    """
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Dense(2, "softmax", name="fc")(keras.layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, x, name="own")
    model.get_layer("fc").set_weights([np.array([[-2.0, 2.0], [0, 0], [0, 0]]), np.array([1.0, -1.0])])
    model.save(tmp_path / "own.keras")
    return model


@pytest.fixture
def image(tmp_path):
    """Return the path and the pixels of an image with little red."""
    pixels = np.full((8, 8, 3), (60, 0, 0), "uint8")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    return tmp_path / "image.png", pixels


def predicted(cli, *arguments):
    code, out, err = cli("predict", *arguments, "--json")
    assert code == 0, err
    predictions = json.loads(out)[0]["predictions"]
    return {prediction["class"]: prediction["probability"] for prediction in predictions}, err


def save_model_with_own_layer(module):
    """Save own.keras with a layer of a module, which is written too."""
    Path(f"{module}.py").write_text(LAYER, "utf8")
    defined = {"__name__": module}
    exec(LAYER, defined)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(defined["Doubled"]()(inputs)))
    keras.Model(inputs, x).save("own.keras")


def test_a_warning_about_raw_pixels_names_the_options_that_help(cli, model, image, tmp_path):
    path, pixels = image
    found, err = predicted(cli, tmp_path / "own.keras", path)
    assert found["class 1"] > 0.999 and "no layer of it normalizes them" in err and "--scale 1/255" in err
    (tmp_path / "labels.txt").write_text("dark\nred\n", "utf8")
    right = model.predict_on_batch(pixels[None] / np.float32(255))[0]
    given = (tmp_path / "own.keras", path, "--labels", tmp_path / "labels.txt")
    for arguments in (("--scale", "1/255"), ("--deviation", "255"), ("--scale", "0.00392156862745098")):
        found, err = predicted(cli, *given, *arguments)
        assert found["dark"] == pytest.approx(right[0], abs=1e-6) and err == ""
    found, _ = predicted(cli, *given, "--mean", "127.5,10,10", "--deviation", "127.5,1,1")
    moved = (pixels[None] - np.float32([127.5, 10, 10])) / np.float32([127.5, 1, 1])
    assert found["red"] == pytest.approx(model.predict_on_batch(moved)[0, 1], abs=1e-6)


def test_every_command_that_takes_a_model_has_the_options(cli, model, image, tmp_path):
    Image.fromarray(np.full((8, 8, 3), (250, 0, 0), "uint8")).save(tmp_path / "red.png")
    for name, file in (("dark", image[0]), ("red", tmp_path / "red.png")):
        (tmp_path / "set" / "test" / name).mkdir(parents=True)
        (tmp_path / "set" / "train" / name).mkdir(parents=True)
        for split in ("train", "test"):
            (tmp_path / "set" / split / name / "1.png").write_bytes(file.read_bytes())
    own = tmp_path / "own.keras"
    code, out, err = cli("evaluate", own, "--data", tmp_path / "set", "--scale", "1/255", "--json")
    assert code == 0 and json.loads(out)["top1"] == 1
    code, out, err = cli("evaluate", own, "--data", tmp_path / "set", "--json")
    assert code == 0 and json.loads(out)["top1"] == 0.5
    code, out, err = cli(
        "visualize", own, image[0], "--scale", "1/255", "--what", "saliency", "--output", tmp_path / "v"
    )
    assert code == 0, err
    for command in ("export", "benchmark", "visualize", "evaluate", "predict"):
        _, out, _ = cli(command, "--help")
        assert all(f"{name} " in out for name in ("--scale", "--mean", "--deviation", "--labels", "--import")), command


@pytest.mark.slow
def test_exports_and_benchmarks_use_the_given_preprocessing(cli, model, image, tmp_path):
    from keras_cnns import export

    given = (tmp_path / "own.keras", "--scale", "1/255", "--output", tmp_path / "out", "--format", "onnx")
    code, out, err = cli("export", *given)
    assert code == 0 and "carries no preprocessing" not in err, err
    right = model.predict_on_batch(image[1][None] / np.float32(255))
    found = export.open_artifact(tmp_path / "out" / "own.onnx")(image[1][None])["probabilities"]
    np.testing.assert_allclose(found, right, atol=1e-6)
    code, out, err = cli("export", *given[:3], "--verify-only", tmp_path / "out" / "own.onnx")
    assert code == 0, err
    code, out, err = cli("benchmark", *given[:3], tmp_path / "out" / "own.onnx", "--rounds", "1", "--batch", "1")
    assert code == 0, err


def test_a_normalizing_layer_is_named_without_a_warning(cli, image, tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.RandomFlip("horizontal")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255, name="to_one")(x))
    keras.Model(inputs, keras.layers.Dense(2, "softmax")(x)).save(tmp_path / "own.keras")
    _, err = predicted(cli, tmp_path / "own.keras", image[0])
    assert "which its own layer to_one normalizes" in err and "warning" not in err


@pytest.mark.parametrize(
    "arguments, part",
    [
        (("--scale", "255"), "--scale multiplies pixels of 0 to 255; for values of 0 to 1 it is 1/255"),
        (("--scale", "0"), "must not be 0"),
        (("--scale", "1/255", "--deviation", "255"), "give one of them"),
        (("--mean", "0.485,0.456,0.406"), "--mean is in pixel units, 0 to 255"),
        (("--deviation", "0.229,0.224,0.225"), "--deviation is in pixel units"),
        (("--scale", "1/0"), "one number, or three with commas between"),
        (("--mean", "nan"), "one number, or three with commas between"),
        (("--mean", "1,2"), "one number, or three with commas between"),
        (("--labels", "three.txt"), "has 2 classes, and --labels must name each of them, one per line"),
        (("--labels", "same.txt"), "must differ from each other. Received: 'a' more than once"),
        (("--import", "no_such_module"), "there is no such module"),
        (("--import", "none.py"), "there is no such file. Received: --import none.py"),
        (("--import", "broken.py"), "the module fails while it is imported (ValueError: no good)"),
    ],
)
def test_implausible_options_are_refused(cli, model, image, arguments, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (
        ("three.txt", "a\nb\nc\n"),
        ("same.txt", "a\na\n"),
        ("broken.py", "raise ValueError('no good')"),
    ):
        (tmp_path / name).write_text(text, "utf8")
    code, out, err = cli("predict", "own.keras", "image.png", *arguments)
    assert (code, out) == (2, "") and part in err


def test_options_cannot_contradict_a_record(cli, model, image, tmp_path):
    saving.save_model(model, tmp_path / "ours.keras", saving.ModelInfo(("a", "b"), Preprocessing((8, 8), 3)))
    found, err = predicted(cli, tmp_path / "ours.keras", image[0])
    assert set(found) == {"a", "b"} and err == ""
    code, out, err = cli("predict", tmp_path / "ours.keras", image[0], "--scale", "1/127.5")
    assert code == 2 and "ours.keras carries its own preprocessing record: leave out --scale" in err


@pytest.mark.slow
def test_benchmarks_import_layers_in_the_models_process(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_model_with_own_layer("own_layers_benchmark")
    given = ("--import", "own_layers_benchmark.py", "--scale", "1/255")
    try:
        code, out, err = cli("export", "own.keras", "--format", "tflite", *given)
        assert code == 0, err
        code, out, err = cli("benchmark", "own.keras", "exports/own.tflite", *given, "--rounds", "1", "--batch", "1")
        assert code == 0 and "functional" in out and "own.tflite" in out, err
    finally:
        keras.saving.get_custom_objects().pop("Doubled")


@pytest.mark.parametrize("way", ["module", "file"])
def test_own_layers_are_imported(cli, image, way, tmp_path, monkeypatch):
    """The layers are not registered, and the module's output goes to stderr."""
    monkeypatch.chdir(tmp_path)
    name = f"own_layers_{way}"
    save_model_with_own_layer(name)
    code, out, err = cli("predict", "own.keras", image[0])
    assert code == 3 and "own.keras: needs the class" in err and "--import MODULE" in err
    try:
        found, err = predicted(cli, "own.keras", image[0], "--import", name if way == "module" else f"{name}.py")
        assert len(found) == 2 and "said by the module" in err
        code, out, err = cli("info", "own.keras", "--import", name, "--wide")
        assert code == 0 and "Doubled" in out
    finally:
        keras.saving.get_custom_objects().pop("Doubled")
