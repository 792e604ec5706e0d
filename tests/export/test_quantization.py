"""Quantized artifacts are small, accurate and calibrated on real images."""

import dataclasses
import itertools

import keras
import numpy as np
import onnx
import pytest
from families import random_images, randomize, small
from PIL import Image

from keras_cnns import data
from keras_cnns.data import Preprocessing
from keras_cnns.errors import ArgumentError, ArtifactError, SourceError, VerificationError
from keras_cnns.export import (
    FORMATS,
    QUANTIZATIONS,
    Options,
    _artifact_checks,
    _tflite,
    export_model,
    inspection,
    open_artifact,
)
from keras_cnns.export.preparation import prepare_model
from keras_cnns.export.quantization import choose_calibration
from keras_cnns.saving import ModelInfo

QUANTIZED = [
    pytest.param(format, quantize, marks=[] if quantize == "int8" else [pytest.mark.slow])
    for format, quantize in itertools.product(FORMATS, QUANTIZATIONS)
    if quantize != "none" and quantize in FORMATS[format].quantize
]


@pytest.fixture(scope="module")
def float_bytes(digits_model, tmp_path_factory):
    """Bytes of the shipped network in float32, by format."""
    model, record = digits_model
    report = export_model(model, tmp_path_factory.mktemp("float"), FORMATS, Options(verify=False), info=record)
    return {artifact.format: artifact.bytes for artifact in report.artifacts}


@pytest.mark.parametrize("format, quantize", QUANTIZED)
def test_the_shipped_network_in_every_quantization(digits_model, format, quantize, float_bytes, tmp_path):
    model, record = digits_model
    report = export_model(model, tmp_path, [format], Options(quantize=quantize), info=record)
    (artifact,) = report.artifacts
    assert artifact.path.name == f"nin-{quantize}{FORMATS[format].suffix}"
    # The accuracy is measured here again, independently of the report
    test = data.open_source("digits").split("test")
    outputs = open_artifact(artifact.path)(test.items)["probabilities"]
    accuracy = float((outputs.argmax(1) == test.labels).mean())
    assert accuracy == artifact.parity.accuracy >= 0.99 * report.accuracy
    share = {"float16": 0.51, "dynamic": 0.27, "int8": 0.27, "int16x8": 0.28}[quantize]
    assert artifact.bytes <= share * float_bytes[format]


@pytest.mark.parametrize("io", ["uint8", pytest.param("int8", marks=pytest.mark.slow)])
def test_integers_from_input_to_output(digits_model, io, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    model, record = digits_model
    options = Options(quantize="int8", integer_only=True, io=io)
    (artifact,) = export_model(model, tmp_path, ["tflite"], options, info=record).artifacts
    assert artifact.inputs["image"] == {
        "dtype": io,
        "shape": [1, 32, 32, 1],
        "scale": 1.0,
        "zero_point": 0 if io == "uint8" else -128,
    }
    assert artifact.outputs["probabilities"]["dtype"] == io and not artifact.contents.floats
    # The interpreter says so too, besides the package's own check
    interpreter = Interpreter(model_path=str(artifact.path))
    interpreter.allocate_tensors()
    assert {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details()} <= {"int8", "uint8", "int32"}


@pytest.mark.parametrize(
    "name, options",
    [
        pytest.param("AlexNet", {}, marks=pytest.mark.slow),
        ("LeNet5", {}),
        pytest.param("Maxout", {}, marks=pytest.mark.slow),
        ("ResNet20", {}),
    ],
)
def test_integer_files_hold_no_float_tensors(name, options, tmp_path):
    model = small(name, options)
    randomize(model)
    preprocessing = Preprocessing(model.input_shape[1:3], model.input_shape[-1], mean=(120.0,), scale=(1 / 64,))
    pixels = np.random.default_rng(0).integers(0, 256, (8, *model.input_shape[1:]), dtype="uint8")
    settings = Options(quantize="int8", integer_only=True, calibration=pixels, min_agreement=0.0)
    info = ModelInfo(preprocessing=preprocessing)
    (artifact,) = export_model(model, tmp_path, ["tflite"], settings, info=info).artifacts
    assert not artifact.contents.floats and not artifact.contents.dynamic and not artifact.contents.foreign


def test_a_float_output_is_no_integer_file(digits_model, tmp_path):
    model, record = digits_model
    (artifact,) = export_model(model, tmp_path, ["tflite"], Options(quantize="int8"), info=record).artifacts
    contents = inspection.inspect(artifact.path, "tflite")
    assert len(contents.floats) == 1 and contents.operators["DEQUANTIZE"] == 1  # the output
    prepared = prepare_model(model, record, Options(quantize="int8", integer_only=True), "nin")
    with pytest.raises(ArtifactError, match="it has float tensors: StatefulPartitionedCall:0"):
        _artifact_checks.inspect_artifact(artifact.path, "tflite", prepared)


def test_each_channel_keeps_its_scale(tmp_path):
    # Normalization with a mean and deviation per channel costs only the rounding of its output.
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)), name="means")
    model.layers[-1].set_weights([np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    record = Preprocessing((8, 8), 3, mean=(30.0, 120.0, 200.0), scale=(1 / 60, 1 / 58, 1 / 61))
    pixels = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype="uint8")
    # Not verified, because photographs have values outside the calibrated range
    settings = Options(quantize="int8", calibration=pixels, verify=False)
    export_model(model, tmp_path, ["tflite"], settings, info=ModelInfo(preprocessing=record))
    flat = np.tile(np.arange(0, 256, 5, dtype="uint8")[:, None, None, None], (1, 8, 8, 3))
    outputs = open_artifact(tmp_path / "means-int8.tflite")(flat)["output"]
    expected = (flat[:, 0, 0] - np.float32(record.mean)) * np.float32(record.scale)
    # Values outside the calibrated range are cut off
    is_inside = np.abs(expected) < np.abs(pixels.mean((1, 2)) - np.float32(record.mean)).max() / 70
    step = 8 / 255  # normalized values lie between -3.3 and 4.2
    assert np.abs(outputs - expected)[is_inside].max() < 2 * step


def test_calibrated_quantizations_need_images(digits_model, tmp_path):
    model, record = digits_model
    alone = ModelInfo(class_names=record.class_names, preprocessing=record.preprocessing)
    for quantize in ("int8", "int16x8"):
        with pytest.raises(ArgumentError, match="fits the ranges of activations.*with --calibration"):
            export_model(model, tmp_path, ["tflite"], Options(quantize=quantize), info=alone)
    gone = ModelInfo(preprocessing=record.preprocessing, data={"source": str(tmp_path / "gone.npz")})
    with pytest.raises(ArgumentError, match="not available; name others with --calibration"):
        export_model(model, tmp_path, ["tflite"], Options(quantize="int8"), info=gone)
    assert not list(tmp_path.iterdir())


def test_calibration_comes_from_the_training_split(digits_model):
    _, record = digits_model
    options = Options(quantize="int8", calibration_samples=100)
    calibration = choose_calibration(options, record.preprocessing, record, record.class_names)
    train, test = (data.open_source("digits").split(name).items for name in ("train", "test"))
    chosen, training, testing = ({image.tobytes() for image in images} for images in (calibration.images, train, test))
    assert chosen <= training and len(calibration.images) == 100
    only_testing = testing - training
    assert len(only_testing) > 300 and not chosen & only_testing
    again = choose_calibration(options, record.preprocessing, record, record.class_names)
    np.testing.assert_array_equal(calibration.images, again.images)
    other = choose_calibration(
        Options(quantize="int8", calibration_samples=100, seed=1), record.preprocessing, record, ()
    )
    assert calibration.to_json()["sha256"] != other.to_json()["sha256"] and other.to_json()["seed"] == 1


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda x: x / 255.0, ArgumentError, "must hold pixels as uint8.*Received: dtype=float64"),
        (lambda x: x[:, :16], ArgumentError, "must hold images of shape .images, 32, 32, 1"),
        (lambda x: x[:0], ArgumentError, "must hold images of shape"),
        (lambda x: x // 255, SourceError, "Pixels of 0 to 1 must be multiplied by 255"),
        (lambda x: np.full_like(x, 77), SourceError, "Received: pixels from 77 to 77"),
    ],
)
def test_wrong_calibration_arrays_are_refused(digits_model, change, error, message):
    _, record = digits_model
    images = change(data.open_source("digits").split("train").items[:20])
    with pytest.raises(error, match=message):
        choose_calibration(Options(quantize="int8", calibration=images), record.preprocessing, record, ())


def test_wrong_calibration_folders_are_refused(digits_model, folder_of_images, tmp_path, cli):
    (tmp_path / "empty").mkdir()
    for source, code, message in (
        (tmp_path / "empty", 3, "has no folders in it"),
        (folder_of_images, 2, "the classes of the images must be those of the model"),
        (tmp_path / "nowhere", 2, "a source of images is"),
    ):
        options = ("--format", "tflite", "--quantize", "int8", "--output", tmp_path / "out")
        exit_code, _, err = cli("export", *options, "--calibration", source)
        assert exit_code == code and message in err
        assert not (tmp_path / "out").exists()


def test_calibration_on_dark_images_fails_verification(digits_model, tmp_path):
    # Ranges of activations that are fitted on dark images cut off those of real images.
    model, record = digits_model
    dark = data.open_source("digits").split("train").items[:100] // 3
    with pytest.raises(VerificationError, match="get another class, and 10 may|its accuracy is"):
        export_model(model, tmp_path, ["onnx"], Options(quantize="int8", calibration=dark), info=record)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_local_response_normalization_stays_in_float32(tmp_path):
    """Squares of activations above 256 exceed float16."""
    model = small("AlexNet", {})
    randomize(model)
    first = model.get_layer("conv1")
    spread = np.abs(first(random_images(model, 4))).max()
    first.set_weights([weight * (2000 / spread) for weight in first.get_weights()])
    record = Preprocessing(model.input_shape[1:3], 3, mean=(120.0,), scale=(1 / 64,))
    settings = Options(quantize="float16", min_agreement=0.9)
    export_model(model, tmp_path, ["onnx"], settings, info=ModelInfo(preprocessing=record))
    graph = onnx.shape_inference.infer_shapes(onnx.load(next(tmp_path.glob("*.onnx")))).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    squares = [node for node in graph.node if node.op_type == "Mul" and node.input[0] == node.input[1]]
    assert len(squares) == 2 and {types[node.output[0]] for node in squares} == {onnx.TensorProto.FLOAT}
    half = onnx.TensorProto.FLOAT16
    assert len([node for node in graph.node if node.op_type == "Conv" and types[node.output[0]] == half]) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sigmoid", "embedding"])
def test_outputs_without_classes_are_compared_by_signal_to_noise(kind, tmp_path, monkeypatch):
    # The index of the largest value says nothing about a single number or an embedding.
    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3))
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(x))
    y = keras.layers.Dense(1, "sigmoid")(y) if kind == "sigmoid" else keras.layers.Dense(12)(y)
    model = keras.Model(x, y, name="odd")
    info = ModelInfo(preprocessing=Preprocessing((16, 16), 3))
    (artifact,) = export_model(model, tmp_path, ["tflite"], Options(quantize="float16"), info=info).artifacts
    assert artifact.parity.signal_to_noise > artifact.parity.needed_signal_to_noise == 40
    servable = _tflite.Servable

    def with_wrong_scale(prepared, *arguments, **options):
        record = dataclasses.replace(prepared.preprocessing, scale=(0.5 / 255,))
        return servable(dataclasses.replace(prepared, preprocessing=record), *arguments, **options)

    monkeypatch.setattr(_tflite, "Servable", with_wrong_scale)
    with pytest.raises(VerificationError, match="outputs have a signal-to-noise ratio of"):
        export_model(model, tmp_path / "wrong", ["tflite"], Options(quantize="float16"), info=info)


def test_a_folder_of_images_without_classes_is_enough_to_calibrate(digits_model, tmp_path):
    _, record = digits_model
    for k, image in enumerate(data.open_source("digits").split("train").items[:12]):
        Image.fromarray(image.squeeze(-1)).save(tmp_path / f"{k:02}.png")
    options = Options(quantize="int8", calibration=str(tmp_path), calibration_samples=8)
    calibration = choose_calibration(options, record.preprocessing, record, record.class_names)
    assert calibration.images.shape == (8, 32, 32, 1) and calibration.description == f"8 images of {tmp_path}"
