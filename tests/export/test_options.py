"""Every option works in its formats, and contradictions are refused."""

import hashlib
import itertools
import json
import re
import shutil
import subprocess
import zipfile

import keras
import numpy as np
import onnx
import pytest
from conftest import ROOT
from families import small
from image_files import image_files

from keras_cnns import applications
from keras_cnns._models import predict_pixels
from keras_cnns.data import Preprocessing
from keras_cnns.errors import ArgumentError, ConversionError, OutputExistsError, SourceError
from keras_cnns.evaluation import predict_images
from keras_cnns.export import FORMATS, QUANTIZATIONS, Options, export_model, open_artifact
from keras_cnns.export.c_array import c_sources
from keras_cnns.export.formats import format_table
from keras_cnns.export.inspection import inspect
from keras_cnns.export.options import read_labels
from keras_cnns.export.preparation import _with_split_groups
from keras_cnns.saving import ModelInfo
from keras_cnns.tasks.classifiers import without_softmax

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 1), dtype="uint8")


@pytest.fixture
def export(digits_model, tmp_path):
    """A function that exports and returns the opened artifacts by format.

    It is called as export(formats, option=...).
    """

    def run(formats, model=None, info=None, **options):
        model, info = (model, info) if model is not None else digits_model
        report = export_model(model, tmp_path, formats, Options(**options), info=info, overwrite=True)
        return {artifact.format: open_artifact(artifact.path) for artifact in report.artifacts}

    return run


def test_the_manual_has_the_table_and_the_agreements():
    manual = (ROOT / "docs" / "guides" / "export.md").read_text("utf8")
    columns, rows = format_table()
    for row in (columns, *rows):
        assert f"| {' | '.join(row)} |" in manual
    text = " ".join(manual.split())
    shares = re.search(r"float16 and int16x8 must agree on (\d+) %, dynamic and int8 on (\d+) % of the images", text)
    for names, share in ((("float16", "int16x8"), shares[1]), (("dynamic", "int8"), shares[2])):
        assert {QUANTIZATIONS[name].agreement for name in names} == {int(share) / 100}


@pytest.mark.parametrize("format, quantize", itertools.product(FORMATS, QUANTIZATIONS))
def test_only_the_quantizations_in_the_table_are_accepted(format, quantize):
    options, is_offered = Options(quantize=quantize), quantize in FORMATS[format].quantize
    if is_offered:
        options.check([format])
        return
    with pytest.raises(ArgumentError, match=re.escape(FORMATS[format].instead[quantize])):
        options.check([format])


@pytest.mark.parametrize(
    "formats, options, message",
    [
        (["tflite"], {"layout": "nchw"}, "--layout applies to the format onnx only"),
        (["saved_model"], {"opset": 17}, "--opset applies to the format onnx only"),
        (["onnx"], {"integer_only": True, "quantize": "int8"}, "--integer-only applies to the format tflite only"),
        (["tflite"], {"integer_only": True}, "needs --quantize int8. Received: integer_only=True, quantize=none"),
        (["tflite", "onnx"], {"integer_only": True, "quantize": "int8"}, "needs --format tflite"),
        (["tflite"], {"integer_only": True, "quantize": "int8", "io": "float32"}, "needs --io uint8 or int8"),
        (["onnx"], {"quantize": "int8", "io": "int8"}, "an int8 input is for TFLite files with --quantize int8"),
        (["tflite"], {"io": "int8"}, "an int8 input is for TFLite files"),
        (["onnx"], {"preprocess": False, "io": "uint8"}, "takes normalized values, which no uint8 holds"),
        (["onnx"], {"quantize": "int4"}, "Did you mean 'int8'"),
        (["onnx"], {"opset": 12}, "`opset` must be one of 13, 14"),
        (["onnx"], {"layout": "chwn"}, "`layout` must be one of nhwc, nchw"),
        (["onnx"], {"batch": 0}, "`batch` must be a whole number of at least 1"),
        (["onnx"], {"input_size": 2.5}, "`input_size` must be a whole number"),
        (["onnx"], {"min_agreement": 2}, "`min_agreement` must lie between 0 and 1"),
        (["onnx"], {"tolerance": float("inf")}, "`tolerance` must lie between 0 and 1"),
        (["onnx"], {"preprocess": False, "io": "uint8", "quantize": "int8"}, "which no uint8 holds"),
        (["onnx"], {"calibration": "digits"}, "nothing is fitted otherwise"),
        (["onix"], {}, "Did you mean 'onnx'"),
    ],
)
def test_wrong_and_contradictory_options_are_refused(formats, options, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        Options(**options).check(formats)


@pytest.mark.slow
def test_float_input_and_a_fixed_batch(export, digits_model):
    model, record = digits_model
    expected = predict_pixels(model, PIXELS, record.preprocessing)
    for run in export(FORMATS, io="float32", batch=5).values():
        assert run.inputs["image"]["dtype"] == "float32" and run.inputs["image"]["shape"] == [5, 32, 32, 1]
        np.testing.assert_allclose(run(PIXELS.astype("float32"))["probabilities"], expected, atol=1e-5)


@pytest.mark.slow
def test_without_preprocessing(export, digits_model):
    model, record = digits_model
    images = record.preprocessing.normalize(PIXELS.astype("float32"))
    for run in export(["tflite", "onnx"], preprocess=False).values():
        np.testing.assert_allclose(run(images)["probabilities"], model.predict(images, verbose=0), atol=1e-5)
        assert run.card["preprocessing"]["inside"] is False and "normalized" in run.card["input"]["values"]


@pytest.mark.slow
def test_logits_are_those_of_a_network_built_without_softmax(export, digits_model):
    _, record = digits_model
    network = applications.NiN(weights="digits", classifier_activation=None)
    expected = predict_pixels(network, PIXELS, record.preprocessing)
    for run in export(["tflite", "onnx"], logits=True).values():
        outputs = run(PIXELS)
        assert list(outputs) == ["logits"]
        np.testing.assert_allclose(outputs["logits"], expected, atol=1e-3)


@pytest.mark.parametrize("way", ["dense", "layer", "sigmoid", "none", "operation"])
def test_the_softmax_of_any_model_is_found(way):
    x = keras.Input((8, 8, 3))
    y = keras.layers.Flatten()(x)
    dense = keras.layers.Dense(4, {"dense": "softmax", "sigmoid": "sigmoid"}.get(way))
    z = dense(y)
    if way == "layer":
        z = keras.layers.Activation("linear")(keras.layers.Softmax()(z))
    if way == "operation":
        z = keras.ops.softmax(z)
    model, images = keras.Model(x, z), np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    expected = images.reshape(3, -1) @ np.asarray(dense.kernel) + np.asarray(dense.bias)
    np.testing.assert_allclose(without_softmax(model).predict(images, verbose=0), expected, rtol=1e-4, atol=1e-5)
    nested = keras.Model(x, model(x))
    if way != "none":
        with pytest.raises(ArgumentError, match="inside a nested model"):
            without_softmax(nested)


def test_onnx_layout_and_opset(export, digits_model, tmp_path):
    model, record = digits_model
    run = export(["onnx"], layout="nchw", opset=15)["onnx"]
    assert run.inputs["image"]["shape"] == [None, 1, 32, 32]
    expected = predict_pixels(model, PIXELS, record.preprocessing)
    # The function takes channels last, whatever the layout of the file
    np.testing.assert_allclose(run(PIXELS)["probabilities"], expected, atol=1e-5)
    graph = onnx.load(next(tmp_path.glob("*.onnx")))
    assert [opset.version for opset in graph.opset_import if not opset.domain] == [15]
    assert "Transpose" not in {node.op_type for node in graph.graph.node}


@pytest.mark.slow
def test_auxiliary_heads_are_kept(export, tmp_path):
    model = small("GoogLeNet", {"auxiliary": True})
    pixels = np.random.default_rng(0).integers(0, 256, (2, *model.input_shape[1:]), dtype="uint8")
    record = Preprocessing(model.input_shape[1:3], 3, mean=(120.0,), scale=(1 / 64,))
    expected = model.predict(record.normalize(pixels.astype("float32")), verbose=0)
    runs = export(["tflite", "onnx"], model, ModelInfo(preprocessing=record), auxiliary=True)
    for run in runs.values():
        outputs = run(pixels)
        assert set(outputs) == {"probabilities", "loss1_predictions", "loss2_predictions"}
        for name, values in zip(("probabilities", "loss1_predictions", "loss2_predictions"), expected, strict=True):
            np.testing.assert_allclose(outputs[name], values, atol=1e-4)
    with pytest.raises(ArgumentError, match="nin has no auxiliary heads to keep"):
        export(["onnx"], applications.NiN(), None, auxiliary=True)


def test_input_size_fixes_a_free_size(export):
    free = applications.NiN(variant="mnist", input_shape=(None, None, 1))
    record = Preprocessing((28, 28), 1, shorter_side=32)
    run = export(["onnx"], free, ModelInfo(preprocessing=record), input_size=56)["onnx"]
    assert run.inputs["image"]["shape"] == [None, 56, 56, 1] and run.card["preprocessing"]["shorter_side"] == 64
    run = export(["tflite"], free, None, input_size=20)["tflite"]
    assert run.card["preprocessing"]["size"] == [20, 20]
    with pytest.raises(ArgumentError, match="must have a known size .for export: --input-size"):
        export(["onnx"], free, None)
    with pytest.raises(ArgumentError, match="nin cannot take images of 2x2x1"):
        export(["onnx"], free, None, input_size=2)
    half = applications.NiN(variant="mnist", input_shape=(None, 40, 1))
    with pytest.raises(ArgumentError, match="takes images of Nonex40 pixels and no others"):
        export(["onnx"], half, None, input_size=20)
    with pytest.raises(ArgumentError, match="takes images of 32x32 pixels and no others; leave out --input-size"):
        export(["onnx"], applications.NiN(), None, input_size=64)


@pytest.mark.slow
def test_labels_replace_the_class_names(export, digits_model, tmp_path):
    names = [f"ziffer {k} größer" for k in range(10)]
    model, record = digits_model
    for format, run in export(["tflite", "onnx"], labels=names, verify_data="digits").items():
        assert run.card["classes"] == names, format
    (tmp_path / "labels.txt").write_text("one\ntwo\n\nthree\n", "utf8")
    assert read_labels(tmp_path / "labels.txt") == ("one", "two", "three")
    for labels, message in (
        (names[:9], "one class name for each of the model's 10 classes"),
        (["a"] * 10, "'a' more than once"),
    ):
        with pytest.raises(ArgumentError, match=message):
            export(["onnx"], labels=labels)
    (tmp_path / "labels.txt").write_bytes("\ufeffone\r\ntwo\r\n".encode())  # as a Windows editor writes it
    assert read_labels(tmp_path / "labels.txt") == ("one", "two")
    with pytest.raises(ArgumentError, match="a class name is one line of text. Received: 'a.nb'"):
        export(["onnx"], labels=["a\nb", *names[1:]])
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(SourceError, match="empty.txt: is empty"):
        read_labels(tmp_path / "empty.txt")
    # The source of the calibration images has the names that the model was trained with, not the new ones
    export(["tflite"], labels=names, quantize="int8")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    for path in ("bytes.txt", "missing.txt"):
        with pytest.raises(SourceError, match=f"{path}: cannot be read"):
            read_labels(tmp_path / path)


@pytest.mark.slow
def test_artifacts_describe_themselves(export, digits_model, tmp_path):
    import tensorflow as tf
    from tensorflow.lite.python import schema_py_generated as schema

    _, record = digits_model
    cards = [run.card for run in export(FORMATS).values()]
    assert cards[0] == cards[1] == cards[2]
    assert cards[0]["classes"] == list("0123456789") and len(cards[0]["source"]["weights_sha256"]) == 64
    assert cards[0]["preprocessing"] == {
        "size": [32, 32],
        "channels": 1,
        "shorter_side": None,
        "mean": list(record.preprocessing.mean),
        "scale": list(record.preprocessing.scale),
        "inside": True,
    }
    labels = "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"
    (lite,), (graph,), folder = tmp_path.glob("*.tflite"), tmp_path.glob("*.onnx"), tmp_path / "nin_saved_model"
    with zipfile.ZipFile(lite) as archive:
        assert archive.read("labels.txt").decode() == labels and archive.testzip() is None
    model = schema.Model.GetRootAs(lite.read_bytes(), 0)
    entries = {model.Metadata(k).Name(): model.Metadata(k).Buffer() for k in range(model.MetadataLength())}
    assert b'"classes"' in model.Buffers(entries[b"keras_cnns.json"]).DataAsNumpy().tobytes()
    metadata = {entry.key: entry.value for entry in onnx.load(graph).metadata_props}
    assert metadata["labels.txt"] == labels
    assert (folder / "assets" / "labels.txt").read_text() == labels
    signatures = tf.saved_model.load(str(folder)).signatures
    assert set(signatures) == {"serving_default", "serve_image_bytes"}


@pytest.mark.slow
def test_serve_image_bytes_reads_files_as_the_package_does(digits_model, tmp_path):
    import tensorflow as tf

    x = keras.Input((20, 24, 3))
    y = keras.layers.Dense(7, "softmax")(keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(x)))
    model = keras.Model(x, y, name="small")
    names = tuple("abcdefg")
    info = ModelInfo(class_names=names, preprocessing=Preprocessing((20, 24), 3, shorter_side=30, scale=(1 / 255,)))
    export_model(model, tmp_path, ["saved_model"], info=info)
    files, refused = image_files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    loaded = tf.saved_model.load(str(tmp_path / "small_saved_model"))
    serve = loaded.signatures["serve_image_bytes"]
    outputs = serve(image_bytes=tf.constant(list(files.values())))
    outputs = {name: values.numpy() for name, values in outputs.items()}
    expected = predict_images(model, [tmp_path / name for name in files], info.preprocessing)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    order = np.argsort(-expected, axis=1)[:, :5]
    assert [[label.decode() for label in row] for row in outputs["top_labels"]] == np.array(names)[order].tolist()
    np.testing.assert_allclose(outputs["top_probabilities"], np.take_along_axis(expected, order, 1), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[1\] is a CMYK JPEG"):
        serve(image_bytes=tf.constant([files["rgb.png"], refused["cmyk.jpg"]]))


@pytest.mark.parametrize(
    "options, kind",
    [
        ({"groups": 3, "strides": 2}, "SplitConv2D"),
        ({"groups": 6, "strides": (2, 1)}, "SplitConv2D"),  # TensorFlow has no depthwise convolution with two strides
        ({"groups": 6, "strides": 2, "padding": "same", "use_bias": False}, "DepthwiseConv2D"),
        ({"groups": 6, "dilation_rate": 2, "activation": "relu"}, "DepthwiseConv2D"),
    ],
)
def test_grouped_convolutions_are_replaced_by_equal_ones(options, kind):
    x = keras.Input((9, 11, 6))
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Conv2D(12, 3, name="grouped", **options)(x)))
    random = np.random.default_rng(0)
    model.set_weights([random.normal(size=weight.shape) for weight in model.weights])
    images = random.normal(size=(2, 9, 11, 6)).astype("float32")
    copy = _with_split_groups(model)
    assert type(copy.get_layer("grouped")).__name__ == kind
    np.testing.assert_allclose(copy(images), model(images), rtol=1e-4, atol=1e-4)


def test_grouped_convolutions_are_exported(export, tmp_path):
    """Those of Keras would become ONNX files that ONNX Runtime rejects.

    A convolution per channel is one operator, and the weights' hash is that of the model as it was saved.
    """
    x = keras.Input((16, 16, 3))
    y = keras.layers.Conv2D(8, 3, groups=4, activation="relu", strides=2)(keras.layers.Conv2D(8, 3)(x))
    y = keras.layers.Conv2D(8, 3, groups=8, padding="same")(y)
    model = keras.Model(x, keras.layers.Dense(5, "softmax")(keras.layers.GlobalAveragePooling2D()(y)))
    runs = export(["tflite", "onnx"], model, None)
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(json.dumps([array.dtype.name, *array.shape]).encode() + array.tobytes())
    assert {run.card["source"]["weights_sha256"] for run in runs.values()} == {digest.hexdigest()}
    assert inspect(tmp_path / f"{model.name}.onnx", "onnx").operators["Conv"] == 1 + 4 + 1
    assert inspect(tmp_path / f"{model.name}.tflite", "tflite").operators["DEPTHWISE_CONV_2D"] == 1
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype="uint8")
    for run in runs.values():
        np.testing.assert_allclose(run(pixels)["probabilities"], model(pixels.astype("float32")), atol=1e-4)


@pytest.mark.slow
def test_tensors_of_layers_are_exported_too(export):
    """Keras's Normalization keeps statistics in tensors that are not variables."""
    x = keras.Input((16, 16, 3))
    y = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[900.0, 1000.0, 1100.0])(x)
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3, activation="relu")(y))
    model = keras.Model(x, keras.layers.Dense(5, "softmax")(y))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype="uint8")
    expected = model.predict(pixels.astype("float32"), verbose=0)
    for run in export(["tflite", "onnx"], model, None).values():
        np.testing.assert_allclose(run(pixels)["probabilities"], expected, atol=1e-4)
    calibration = np.tile(pixels, (20, 1, 1, 1))
    export(["onnx"], model, None, quantize="int8", calibration=calibration, batch=77, min_agreement=0.0)


def test_an_ensemble_gets_no_second_softmax(export):
    x = keras.Input((16, 16, 3))
    y = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(x))
    model = keras.Model(x, keras.layers.Average()([keras.layers.Dense(3, "softmax")(y) for _ in range(2)]), name="two")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype="uint8")
    info = ModelInfo(class_names=("a", "b", "c"))
    run = export(["onnx"], model, info)["onnx"]
    np.testing.assert_allclose(run(pixels)["probabilities"], model(pixels.astype("float32")), atol=1e-4)
    with pytest.raises(ArgumentError, match="two gives probabilities, and its softmax was not found"):
        export(["onnx"], model, info, logits=True)


def test_files_have_the_name_of_the_model(export, digits_model, tmp_path):
    model, record = digits_model
    dotted = keras.Model(model.input, model.output, name="net_0.50_64")
    export(["onnx"], dotted, record)
    assert (tmp_path / "net_0.50_64.onnx").exists()
    with pytest.raises(ArgumentError, match="`stem` must be the name of a file and not a path"):
        export_model(model, tmp_path, ["onnx"], info=record, stem="../escaped")


@pytest.mark.parametrize(
    "format, layer, operator",
    [("onnx", keras.ops.erfinv, "Erfinv"), ("tflite", keras.ops.erf, "Erf")],
)
def test_operators_that_a_format_lacks_are_named(export, tmp_path, format, layer, operator):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, keras.layers.Dense(3)(layer(keras.layers.Flatten()(x))), name="odd")
    with pytest.raises(ConversionError, match=f"odd.{format}: the converter cannot write odd .*{operator}"):
        export([format], model, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_is_exported(export, tmp_path, approximate):
    x = keras.Input((8, 8, 3))
    hidden = keras.layers.Dense(8)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(x)))
    gelu = keras.ops.gelu(hidden, approximate=approximate)
    model = keras.Model(x, keras.layers.Dense(3)(gelu), name="gelu")
    assert export(["onnx", "tflite"], model, None).keys() == {"onnx", "tflite"}


def test_options_may_be_paths_and_numpy_numbers(export, tmp_path):
    options = {"data_dir": tmp_path, "tolerance": np.float32(1e-3), "verify_data": "digits"}
    assert export(["tflite"], **options)["tflite"].inputs


def test_sequential_models_are_exported(export, tmp_path):
    layers = [keras.Input((12, 12, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)]
    model = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3, "softmax")], name="row")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), dtype="uint8")
    for options in ({}, {"logits": True}):
        (values,) = export(["onnx"], model, None, **options)["onnx"](pixels).values()
        if options:
            values = np.exp(values - values.max(1, keepdims=True))
            values /= values.sum(1, keepdims=True)
        np.testing.assert_allclose(values, np.asarray(model(pixels.astype("float32"))), atol=1e-4)


def test_models_with_two_inputs_or_outputs_are_refused(tmp_path):
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(keras.layers.Add()([first, second]))
    both = keras.Model([first, second], keras.layers.Dense(2)(flat), name="both")
    with pytest.raises(ArgumentError, match="both: the model must take one batch of images"):
        export_model(both, tmp_path, ["onnx"])
    flat = keras.layers.Flatten()(first)
    forked = keras.Model(first, [keras.layers.Dense(2)(flat), keras.layers.Dense(3)(flat)], name="forked")
    with pytest.raises(ArgumentError, match="forked: the model must output one vector per image"):
        export_model(forked, tmp_path, ["onnx"])


def test_a_file_can_be_exported_by_its_path(digits_file, tmp_path):
    report = export_model(digits_file, tmp_path, "onnx")
    assert report.artifacts[0].path == tmp_path / "nin-digits.onnx" and report.accuracy >= 0.99
    assert report.source["name"] == "nin-digits.keras" and len(report.source["sha256"]) == 64


@pytest.mark.slow
def test_a_model_trained_under_jax(python, tmp_path):
    """The artifacts are compared with outputs that JAX computed."""
    done = python(
        """
import sys, keras, numpy as np
from keras_cnns import applications, data, saving
keras.utils.set_random_seed(0)
model = applications.ResNet20(input_shape=(32, 32, 3), classes=3)
x = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype="uint8")
record = data.Preprocessing((32, 32), 3, mean=(120.0,), scale=(1 / 64,))
model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
model.fit(record.normalize(x.astype("float32")), np.arange(32) % 3, epochs=4, verbose=0)
info = saving.ModelInfo(class_names=("a", "b", "c"), preprocessing=record)
saving.save_model(model, sys.argv[1] + "/jax.keras", info)
np.savez(sys.argv[1] + "/jax.npz", x=x, y=model.predict(record.normalize(x.astype("float32")), verbose=0))
""",
        tmp_path,
        KERAS_BACKEND="jax",
    )
    assert done.returncode == 0, done.stderr
    report = export_model(tmp_path / "jax.keras", tmp_path / "out", FORMATS)
    with np.load(tmp_path / "jax.npz") as kept:
        for artifact in report.artifacts:
            probabilities = open_artifact(artifact.path)(kept["x"])["probabilities"]
            np.testing.assert_allclose(probabilities, kept["y"], atol=1e-4)


def test_format_all_leaves_out_formats_without_the_quantization(digits_model, tmp_path, cli, monkeypatch):
    from keras_cnns import export

    written = []

    def record_formats(model, output, formats, *_, **__):
        written.extend(formats)
        raise ArgumentError("enough")

    monkeypatch.setattr(export, "export_model", record_formats, raising=False)
    code, _, err = cli("export", "nin:digits", "--format", "all", "--quantize", "int8", "--output", tmp_path)
    assert code == 2 and written == ["tflite", "onnx"]
    assert "saved_model is left out with --quantize int8: TensorFlow would only compute in float32 again" in err
    code, _, err = cli("export", "--format", "all", "--quantize", "int7", "--output", tmp_path)
    assert code == 2 and "Did you mean 'int8'" in err


def test_a_c_array_holds_the_same_bytes(export, digits_model, tmp_path):
    export(["tflite"], c_array=True, verify=False)
    model, source = next(tmp_path.glob("*.tflite")), next(tmp_path.glob("*.cc"))
    assert source.with_suffix(".h").exists() and source.stem == model.stem
    content = bytes(int(value, 16) for value in re.findall(r"0x(\w\w)", source.read_text()))
    assert content == model.read_bytes()
    digits, record = digits_model
    model.unlink()
    with pytest.raises(OutputExistsError, match=re.escape(str(source))):
        export_model(digits, tmp_path, ["tflite"], Options(c_array=True, verify=False), info=record)
    with pytest.raises(ArgumentError, match="--c-array applies to the format tflite only"):
        export(["onnx"], c_array=True)
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: the array was compared, but not compiled")
    content = bytes(range(256))
    for name, text in c_sources(content, "2 nets-int8").items():
        (tmp_path / name).write_text(text)
    (tmp_path / "main.cc").write_text(
        """
#include <cstdint>
#include <cstdio>
#include "2 nets-int8.h"
int main() {
  fwrite(model_2_nets_int8, 1, model_2_nets_int8_len, stdout);
  return reinterpret_cast<uintptr_t>(model_2_nets_int8) % 16;
}
"""
    )
    program, sources = tmp_path / "program", [tmp_path / "main.cc", tmp_path / "2 nets-int8.cc"]
    subprocess.run([compiler, "-Wall", "-Werror", "-o", program, *sources], check=True)
    assert subprocess.run([program], capture_output=True, check=True).stdout == content
