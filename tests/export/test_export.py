"""Artifacts equal their model in every format, and wrong ones fail verification."""

import dataclasses
import shutil

import keras
import numpy as np
import onnx
import pytest

from keras_cnns import applications
from keras_cnns._models import as_float32, predict_pixels
from keras_cnns.data import Preprocessing
from keras_cnns.errors import (
    ArgumentError,
    ConversionError,
    OutputError,
    OutputExistsError,
    SourceError,
    VerificationError,
)
from keras_cnns.export import FORMATS, Options, _tflite, export_model, exporter, open_artifact, writers
from keras_cnns.export.sample_images import choose_images
from keras_cnns.saving import ModelInfo


@pytest.fixture(scope="module")
def exported(digits_model, tmp_path_factory):
    """The report of the shipped network in all formats."""
    folder = tmp_path_factory.mktemp("exports")
    model, record = digits_model
    return export_model(model, folder, FORMATS, info=record, stem="nin-digits")


def test_every_format_equals_the_model(exported, digits_model):
    model, record = digits_model
    assert [artifact.format for artifact in exported.artifacts] == list(FORMATS)
    assert exported.examples == 360 and exported.images == "360 test images of digits"
    assert exported.accuracy >= 0.99 and exported.parameters == 349_674
    for artifact in exported.artifacts:
        assert artifact.parity.max_difference <= 1e-5 and artifact.parity.agreement == 1.0
        assert artifact.parity.accuracy == exported.accuracy
        # Each weight is stored once; a SavedModel's graph is larger, because it decodes image files too
        graph_bytes = 300_000 if artifact.format == "saved_model" else 0.1 * 4 * 349_674
        assert 4 * 349_674 < artifact.bytes < 4 * 349_674 + graph_bytes


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_artifacts_take_batches_of_any_size(exported, digits_model, format, batch):
    model, record = digits_model
    path = next(artifact.path for artifact in exported.artifacts if artifact.format == format)
    images = np.random.default_rng(batch).integers(0, 256, (batch, 32, 32, 1), dtype="uint8")
    outputs = open_artifact(path)(images)
    assert list(outputs) == ["probabilities"] and outputs["probabilities"].dtype == np.float32
    # Normalized by NumPy, independently of the artifact's preprocessing
    pixels = (images.astype("float32") - np.float32(record.preprocessing.mean)) * np.float32(record.preprocessing.scale)
    expected = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(outputs["probabilities"].sum(1), 1, atol=1e-5)


def test_artifacts_have_the_documented_names_and_types(exported):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    saved, lite, graph = (artifact.path for artifact in exported.artifacts)
    signature = tf.saved_model.load(str(saved)).signatures["serving_default"]
    assert signature.structured_input_signature[1]["image"].shape.as_list() == [None, 32, 32, 1]
    assert signature.structured_input_signature[1]["image"].dtype == tf.uint8
    interpreter = Interpreter(model_path=str(lite))
    assert interpreter.get_signature_list()["serving_default"] == {"inputs": ["image"], "outputs": ["probabilities"]}
    assert not [op for op in interpreter._get_ops_details() if op["op_name"].startswith("Flex")]
    model = onnx.load(str(graph))
    assert [opset.version for opset in model.opset_import if not opset.domain] == [17]
    (image,), (output,) = model.graph.input, model.graph.output
    assert (image.name, output.name) == ("image", "probabilities")
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    for value in (image, output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


def change_one_weight(path, format, size=1e-2):
    """Change a bias of the last layer in an artifact."""
    bias = np.asarray(applications.NiN(weights="digits").get_layer("cccp6").bias)
    old, new = bias.tobytes(), np.concatenate([[bias[0] + size], bias[1:]]).astype("float32").tobytes()
    files = sorted(path.rglob("variables.data*")) if format == "saved_model" else [path]
    for file in files:
        content = file.read_bytes()
        assert content.count(old) == 1
        file.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("format", [pytest.param("saved_model", marks=pytest.mark.slow), "tflite", "onnx"])
def test_verification_sees_one_changed_weight(digits_model, format, tmp_path, monkeypatch):
    """The artifact is changed between its writing and its verification."""
    model, record = digits_model
    write = exporter.write

    def write_and_change(job, format, path, target):
        seconds = write(job, format, path, target)
        change_one_weight(path, format)
        return seconds

    monkeypatch.setattr(exporter, "write", write_and_change)
    with pytest.raises(VerificationError, match=f"nin{FORMATS[format].suffix} does not compute what the model"):
        export_model(model, tmp_path / "out", [format], info=record)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "fault, message",
    [
        ("preprocessing", "outputs differ by"),
        ("softmax", "outputs differ by"),
        ("permuted", "outputs differ by"),
        ("names", "its outputs are called"),
        ("type", "it takes float32 and not uint8"),
    ],
)
def test_verification_sees_wrong_artifacts(digits_model, fault, message, tmp_path, monkeypatch):
    model, record = digits_model
    servable = _tflite.Servable

    def with_fault(prepared, input_type, **options):
        changed = {}
        if fault == "preprocessing":
            changed["preprocessing"] = dataclasses.replace(prepared.preprocessing, scale=(0.0113,))
        if fault == "softmax":
            changed["softmax"] = (True,)
        if fault == "permuted":
            permute = keras.layers.Dense(10, use_bias=False, kernel_initializer="zeros")
            changed["model"] = keras.Model(model.input, permute(model.output))
            permute.set_weights([np.roll(np.eye(10, dtype="float32"), 1, axis=0)])
        if fault == "names":
            changed["outputs"] = ("output",)
        input_type = "float32" if fault == "type" else input_type
        return servable(dataclasses.replace(prepared, **changed), input_type, **options)

    monkeypatch.setattr(_tflite, "Servable", with_fault)
    with pytest.raises(VerificationError, match=message):
        export_model(model, tmp_path / "out", ["tflite"], info=record)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_one_wrong_artifact_means_that_none_is_kept(digits_model, tmp_path, monkeypatch):
    model, record = digits_model
    write = exporter.write

    def write_and_change(job, format, path, target):
        write(job, format, path, target)
        if format == "onnx":
            change_one_weight(path, format)

    monkeypatch.setattr(exporter, "write", write_and_change)
    (tmp_path / "nin.tflite").write_text("an older file")
    with pytest.raises(VerificationError, match="nin.onnx.*run by ONNX Runtime.*Nothing was kept"):
        export_model(model, tmp_path, ["tflite", "onnx"], info=record, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["nin.tflite"]
    assert (tmp_path / "nin.tflite").read_text() == "an older file"


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_a_model_trained_in_mixed_precision_is_exported_in_float32(digits_model, policy, tmp_path):
    _, record = digits_model
    keras.config.set_dtype_policy(policy)
    try:
        mixed = applications.NiN(weights="digits")
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.get_layer("conv1").compute_dtype == policy.removeprefix("mixed_")
    exact = as_float32(mixed)
    assert all(layer.compute_dtype == "float32" for layer in exact.layers)
    report = export_model(mixed, tmp_path, FORMATS, info=record)
    assert report.accuracy >= 0.99
    assert max(artifact.parity.max_difference for artifact in report.artifacts) <= 1e-5 and report.options == Options()


def test_a_classifier_of_logits_gets_its_softmax(digits_model, tmp_path):
    model, record = digits_model
    logits = applications.NiN(weights="digits", classifier_activation=None)
    export_model(logits, tmp_path, ["onnx"], info=record, stem="logits")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), dtype="uint8")
    probabilities = open_artifact(tmp_path / "logits.onnx")(images)["probabilities"]
    np.testing.assert_allclose(probabilities, predict_pixels(model, images, record.preprocessing), atol=1e-5)


def foreign_model(channels=3):
    """A model of another program, without a record and without softmax."""
    inputs = keras.Input((20, 24, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, padding="same")(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.SeparableConv2D(6, 3, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(2)(x), name="foreign")


@pytest.mark.slow
def test_a_foreign_model_is_exported_as_it_is(tmp_path):
    model = foreign_model()
    report = export_model(model, tmp_path, FORMATS)
    assert report.images == "64 crops of scikit-learn's two photographs" and report.accuracy is None
    images = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3), dtype="uint8")
    for artifact in report.artifacts:
        outputs = open_artifact(artifact.path)(images)["output"]
        np.testing.assert_allclose(outputs, model.predict(images.astype("float32"), verbose=0), atol=1e-4)
    gray = export_model(foreign_model(1), tmp_path / "gray", ["onnx"])
    assert gray.images == "64 digits of scikit-learn"


@pytest.mark.slow
def test_a_model_of_keras_applications_is_exported(tmp_path):
    model = keras.applications.MobileNetV2(input_shape=(32, 32, 3), weights=None, classes=5, alpha=0.35)
    # With the moving statistics of a new network all images get the same output, which is refused
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(np.random.default_rng(0).uniform(0, 255, (64, 32, 32, 3)), training=True)
    model.save(tmp_path / "mobilenet.keras")
    report = export_model(tmp_path / "mobilenet.keras", tmp_path / "out", FORMATS)
    assert {artifact.format: artifact.parity.fault for artifact in report.artifacts} == dict.fromkeys(FORMATS, "")
    assert report.source["name"] == "mobilenet.keras"


@pytest.mark.slow
def test_the_ceil_pooling_layers_are_exported(tmp_path):
    """At odd sizes, the graph holds the package's own pooling layers."""
    for second_pool in ("average", "max"):
        model = applications.NiN(variant="mnist", input_shape=(34, 31, 3), second_pool=second_pool, classes=4)
        assert "Ceil" in str([type(layer) for layer in model.layers])
        export_model(model, tmp_path / second_pool, FORMATS)


def test_models_that_cannot_be_exported_are_refused(tmp_path):
    free = applications.NiN(input_shape=(None, None, 3))
    with pytest.raises(ArgumentError, match="without a preprocessing record.*known size"):
        export_model(free, tmp_path, ["onnx"])
    maps = applications.NiN(include_top=False)
    with pytest.raises(ArgumentError, match="must output one vector per image"):
        export_model(maps, tmp_path, ["onnx"])
    with pytest.raises(ArgumentError, match="Did you mean 'tflite'"):
        export_model(free, tmp_path, ["tflit"])
    assert not list(tmp_path.iterdir())


def test_recurrent_layers_need_a_fixed_batch(tmp_path):
    """The converter's own error names operators of TensorFlow and no cure."""
    rows = keras.Input((8, 8, 1))
    states = keras.layers.GRU(4)(keras.layers.Reshape((8, 8))(rows))
    model = keras.Model(rows, keras.layers.Dense(3, "softmax")(states), name="rows")
    options = Options(verify=False)
    with pytest.raises(ConversionError, match="rows.tflite: .*recurrent.* --batch 1, or build .*unroll=True") as raised:
        export_model(model, tmp_path / "out", ["tflite"], options)
    assert "TensorList" not in str(raised.value) and not (tmp_path / "out").exists()
    (artifact,) = export_model(model, tmp_path, ["tflite"], dataclasses.replace(options, batch=1)).artifacts
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), dtype="uint8")
    probabilities = open_artifact(artifact.path)(image)["probabilities"]
    np.testing.assert_allclose(probabilities, model(image.astype("float32")), atol=1e-5)


def test_too_little_memory_is_an_error_with_a_cure(digits_model, tmp_path, monkeypatch):
    import tensorflow as tf

    model, record = digits_model
    protobuf = ValueError("Failed to serialize proto")  # VGG-16 to ONNX ends so under `ulimit -v 7500000`
    for error in (MemoryError("9 GiB"), tf.errors.ResourceExhaustedError(None, None, "OOM"), protobuf):

        def write(job, path, error=error):
            raise error

        monkeypatch.setitem(writers.WRITERS, "tflite", write)
        with pytest.raises(ConversionError, match="nin.tflite: .*memory.*about [0-9.]+ GB.*ulimit -v"):
            export_model(model, tmp_path / "out", ["tflite"], Options(verify=False), info=record)


@pytest.mark.slow
def test_a_free_input_size_is_fixed_by_the_record(tmp_path):
    free = applications.NiN(variant="mnist", input_shape=(None, None, 1))
    info = ModelInfo(class_names=tuple("abcdefghij"), preprocessing=Preprocessing((21, 20), 1))
    export_model(free, tmp_path, FORMATS, info=info)
    images = np.zeros((2, 21, 20, 1), "uint8")
    assert open_artifact(tmp_path / "nin.onnx")(images)["probabilities"].shape == (2, 10)


@pytest.mark.slow
def test_outputs_that_exist_are_kept(digits_model, tmp_path):
    model, record = digits_model
    (tmp_path / "nin_saved_model").mkdir()
    (tmp_path / "nin_saved_model" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="nin_saved_model.*"):
        export_model(model, tmp_path, ["saved_model"], info=record)
    assert (tmp_path / "nin_saved_model" / "notes.txt").exists()
    with pytest.raises(OutputExistsError, match="other things than a SavedModel"):
        export_model(model, tmp_path, ["saved_model"], info=record, overwrite=True)
    assert (tmp_path / "nin_saved_model" / "notes.txt").read_text() == "mine"
    (tmp_path / "nin.onnx").mkdir()
    (tmp_path / "nin.onnx" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="nin.onnx: cannot be written .a folder of that name is there"):
        export_model(model, tmp_path, ["onnx"], info=record, overwrite=True)
    assert (tmp_path / "nin.onnx" / "thesis.txt").read_text() == "mine"
    for _ in range(2):
        export_model(model, tmp_path / "new", ["saved_model"], info=record, overwrite=True)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["manifest.json", "nin_saved_model"]


def test_an_output_that_cannot_be_written_is_an_error(digits_model, tmp_path):
    model, record = digits_model
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_model(model, tmp_path / "file" / "exports", ["tflite"], info=record)


@pytest.mark.slow
def test_a_full_disk_leaves_nothing(python, tmp_path):
    done = python(
        """
import resource, signal, sys
from keras_cnns import applications, errors, export
model, record = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for format in export.FORMATS:
    try:
        export.export_model(model, sys.argv[1], [format], info=record)
    except errors.OutputError as error:
        print(format, error)
""",
        tmp_path / "exports",
    )
    for format in FORMATS:
        assert f"{format} " in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("cannot be written") == 3 and not (tmp_path / "exports").exists()


def test_images_come_from_a_source_the_model_or_scikit_learn(digits_model, folder_of_images):
    _, record = digits_model
    chosen = choose_images(record.preprocessing, record)
    assert chosen.images.shape == (360, 32, 32, 1) and chosen.labels.shape == (360,)
    with pytest.raises(ArgumentError, match="must be those of the model.*it does not know blue, red"):
        choose_images(record.preprocessing, record, verify_data=folder_of_images, class_names=record.class_names)
    color = Preprocessing((40, 30), 3)
    named = choose_images(color, None, verify_data=str(folder_of_images))
    assert named.images.shape == (4, 40, 30, 3) and "4 test images of" in named.description
    with pytest.raises(ArgumentError, match="a source of images is"):
        choose_images(color, None, verify_data="nowhere")
    gone = ModelInfo(class_names=("a", "b"), preprocessing=color, data={"source": "/no/such/folder"})
    fallback = choose_images(color, gone)
    assert fallback.labels is None and fallback.images.shape == (64, 40, 30, 3) and fallback.images.std() > 30
    np.testing.assert_array_equal(fallback.images, choose_images(color).images)
    (folder_of_images / "red" / "0.png").write_bytes(b"")
    (folder_of_images / "blue" / "0.png").write_bytes(b"")
    shutil.rmtree(folder_of_images / "blue")
    with pytest.raises(SourceError, match="one class only"):
        choose_images(color, None, verify_data=str(folder_of_images))


def test_classes_in_another_order_are_matched_by_name(folder_of_images):
    color = Preprocessing((20, 24), 3)
    swapped = ModelInfo(class_names=("red", "blue"), preprocessing=color, data={"source": str(folder_of_images)})
    chosen = choose_images(color, swapped, class_names=swapped.class_names)
    assert (chosen.images.mean((1, 2)).argmax(1) == np.array([0, 2])[chosen.labels]).all()


@pytest.mark.slow
def test_export_is_refused_on_another_backend(python, tmp_path):
    done = python(
        """
import keras, sys
keras.backend.backend = lambda: "jax"
from keras_cnns import applications, export
try:
    export.export_model(applications.NiN(), sys.argv[1], ["onnx"])
except ValueError as error:
    print(error)
""",
        tmp_path,
    )
    assert "set KERAS_BACKEND=tensorflow" in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name, options", [("NiN", {"variant": v}) for v in ("cifar10", "cifar100", "mnist", "svhn")])
def test_every_variant_in_every_format(name, options, tmp_path):
    report = export_model(applications.create_model(name, **options), tmp_path, FORMATS)
    assert len(report.artifacts) == 3


@pytest.mark.slow
def test_the_imagenet_network_in_every_format_at_full_size(tmp_path):
    report = export_model(applications.NiNImageNet(), tmp_path, FORMATS)
    assert len(report.artifacts) == 3 and report.parameters == 7_595_176
