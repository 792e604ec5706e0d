"""Models of two classes with one output, for the second class."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from keras_cnns import analysis, applications, data, evaluation, saving
from keras_cnns.data import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.export.parity import Bounds, Reference, compare
from keras_cnns.tasks import classifiers

NAMES = ("cat", "dog")
RECORD = Preprocessing((16, 16), 3, scale=(1 / 255,))


def ending(units, activation, nested=False):
    """Return a small network; its weights differ in the last layer only."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D(name="gap")(layers.Conv2D(4, 3, activation="relu", name="conv1")(inputs))
    model = keras.Model(inputs, layers.Dense(units, activation, name="fc")(x), name="small")
    return keras.Model(outer := keras.Input((16, 16, 3)), model(outer), name="small") if nested else model


@pytest.fixture
def twins():
    """Return a model with one sigmoid, and an equivalent softmax."""
    binary, twin = ending(1, "sigmoid"), ending(2, "softmax")
    kernel = np.array([[3.0], [-2.0], [2.0], [-2.5]], "float32")
    binary.get_layer("fc").set_weights([kernel, np.array([0.3], "float32")])
    twin.get_layer("fc").set_weights([kernel * [[-0.5, 0.5]], np.array([-0.15, 0.15], "float32")])
    return binary, twin


@pytest.fixture
def images():
    return (
        np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype="uint8")
        // np.arange(1, 25, dtype="uint8")[:, None, None, None]
    )


@pytest.fixture
def source(images, tmp_path):
    labels = np.arange(24) % 2
    np.savez(tmp_path / "two.npz", x_train=images, y_train=labels, x_test=images, y_test=labels, class_names=NAMES)
    return data.open_source(str(tmp_path / "two.npz"))


def test_a_sigmoid_has_the_metrics_of_its_softmax_twin(twins, source):
    binary, twin = (evaluation.evaluate(model, source.split("test"), RECORD, NAMES) for model in twins)
    assert 0 < binary.top1 < 1 and len(binary.confusion) == 2  # both classes are predicted
    assert binary.top1 == twin.top1 and binary.confusion == twin.confusion and binary.per_class == twin.per_class
    np.testing.assert_allclose(binary.loss, twin.loss, rtol=1e-5)
    for protocol in ("ten-crop", "dense"):
        both = [evaluation.predict_split(m, source.split("test"), RECORD, protocol=protocol)[0] for m in twins]
        np.testing.assert_allclose(*both, atol=1e-6)
    both = [evaluation.robustness(m, source.split("test"), RECORD, corruptions=["blur"]).to_json() for m in twins]
    assert both[0] == both[1]


def test_a_sigmoid_has_the_maps_of_its_softmax_twin(twins, images):
    normalized = np.asarray(RECORD.normalize(images[:6].astype("float32")))
    for target in (None, 0, 1):
        binary, twin = (analysis.class_activation_map(model, normalized, target) for model in twins)
        np.testing.assert_array_equal(binary.targets, twin.targets)
        np.testing.assert_allclose(binary.maps, twin.maps, atol=1e-6)
        binary, twin = (analysis.saliency(model, normalized, target).gradients for model in twins)
        np.testing.assert_allclose(binary, twin, atol=1e-6)
    binary, twin = (analysis.occlusion_map(model, normalized[:1]).scores for model in twins)
    np.testing.assert_allclose(binary, twin, atol=1e-6)
    binary, twin = (analysis.gradient_flow(model, normalized, np.arange(6) % 2) for model in twins)
    assert [flow.layer for flow in binary] == [flow.layer for flow in twin] == ["conv1", "fc"]
    np.testing.assert_allclose(binary[0].gradient_norm, twin[0].gradient_norm, rtol=1e-4)
    assert analysis.features(twins[0], normalized).shape == (6, 4)


def test_a_sigmoid_in_a_nested_model_is_recognized(source):
    flat, nested = (
        evaluation.predict_split(ending(1, "sigmoid", is_nested), source.split("test"), RECORD)[0]
        for is_nested in (False, True)
    )
    np.testing.assert_array_equal(flat, nested)


def test_a_linear_output_is_a_logit_if_two_classes_are_named(twins, source, tmp_path):
    linear = ending(1, None)
    linear.set_weights(twins[0].get_weights())
    result = evaluation.evaluate(linear, source.split("test"), RECORD, NAMES)
    assert result.confusion == evaluation.evaluate(twins[0], source.split("test"), RECORD, NAMES).confusion
    file = tmp_path / "image.png"
    Image.fromarray(source.split("test").items[0]).save(file)
    both = [evaluation.predict_images(m, [file], RECORD, class_names=NAMES) for m in (linear, twins[0])]
    np.testing.assert_allclose(*both, atol=1e-6)
    with pytest.raises(ArgumentError, match="small gives one number per image and ends without a sigmoid.*--labels"):
        evaluation.predict_images(linear, [file], RECORD)
    with pytest.raises(ArgumentError, match="ends with an activation that makes it neither a probability nor a logit"):
        evaluation.predict_images(ending(1, "tanh"), [file], RECORD, class_names=NAMES)


@pytest.mark.parametrize(
    "units, activation, message",
    [(3, "sigmoid", "small ends with 3 sigmoids.*multi-label"), (1, "softmax", "softmax of one number, which is 1")],
)
def test_models_that_are_no_classifiers_are_refused(units, activation, message, source):
    model = ending(units, activation)
    for call in (
        lambda: evaluation.evaluate(model, source.split("test"), RECORD, NAMES),
        lambda: evaluation.predict_split(model, source.split("test"), RECORD),
        lambda: evaluation.robustness(model, source.split("test"), RECORD, corruptions=["blur"]),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


def test_artifacts_are_compared_by_class():
    reference = np.array([[0.9], [0.2], [0.50001], [0.8]], "float32")
    labels = np.array([1, 0, 1, 0])
    assert compare(Reference(reference, "probabilities", labels), reference).accuracy == 0.75
    changed = np.array([[0.9], [0.7], [0.49999], [0.8]], "float32")
    parity = compare(Reference(reference, "probabilities", labels), changed, Bounds("int8"))
    assert parity.disagreements == 1 and parity.accuracy == 0.25  # the third is a near-tie and does not count
    logits = np.array([[2.0], [-1.0], [0.1], [3.0]], "float32")
    assert compare(Reference(logits, "logits", labels), logits).accuracy == 0.75
    assert compare(Reference(logits, "logits", labels), -logits, Bounds("int8")).disagreements == 4
    assert compare(Reference(reference, "output", labels), reference).accuracy is None


def test_predictions_are_decoded_by_class():
    assert applications.decode_predictions([[0.75], [0.25]], NAMES) == [
        [("dog", 0.75), ("cat", 0.25)],
        [("cat", 0.75), ("dog", 0.25)],
    ]


def test_a_file_can_name_both_classes(twins, tmp_path):
    saving.save_model(twins[0], tmp_path / "m.keras", saving.ModelInfo(NAMES, RECORD))
    model, info = saving.load_with_info(tmp_path / "m.keras")
    assert info.class_names == NAMES and classifiers.as_classifier(model).output_shape == (None, 2)


def test_commands_give_both_classes(cli, twins, source, images, tmp_path):
    twins[0].save(tmp_path / "binary.keras")
    Image.fromarray(images[0]).save(tmp_path / "image.png")
    expected = float(twins[0].predict_on_batch(images[:1] / np.float32(255))[0, 0])
    given = (tmp_path / "binary.keras", "--scale", "1/255", "--json")
    code, out, err = cli("predict", given[0], tmp_path / "image.png", *given[1:])
    found = {row["class"]: row["probability"] for row in json.loads(out)[0]["predictions"]}
    assert code == 0 and found["class 1"] == pytest.approx(expected, abs=1e-6)
    assert found["class 0"] == pytest.approx(1 - expected, abs=1e-6)
    code, out, err = cli("evaluate", *given, "--data", tmp_path / "two.npz")
    result = evaluation.evaluate(twins[0], source.split("test"), RECORD, NAMES)
    assert code == 0 and json.loads(out)["confusion"] == [list(row) for row in result.confusion]
    output = tmp_path / "seen"
    code, out, err = cli(
        "visualize", given[0], tmp_path / "image.png", *given[1:3], "--target", "1", "--output", output
    )
    assert code == 0 and (output / "cam.png").is_file(), err
    ending(3, "sigmoid").save(tmp_path / "several.keras")
    code, out, err = cli("predict", tmp_path / "several.keras", tmp_path / "image.png")
    assert (code, out) == (2, "") and f"{tmp_path / 'several.keras'}: small ends with 3 sigmoids" in err


@pytest.mark.slow
def test_exports_keep_the_single_output(twins, source, tmp_path):
    """They have two class names, and `serve_image_bytes` names the class."""
    import tensorflow as tf

    from keras_cnns import export

    info = saving.ModelInfo(NAMES, RECORD, data={"source": str(tmp_path / "two.npz")})
    result = evaluation.evaluate(twins[0], source.split("test"), RECORD, NAMES)
    report = export.export_model(twins[0], tmp_path / "out", ["saved_model", "tflite", "onnx"], info=info)
    assert report.accuracy == result.top1
    for artifact in report.artifacts:
        assert artifact.parity.agreement == 1 and artifact.parity.accuracy == result.top1
        assert artifact.outputs["probabilities"]["shape"] == [None, 1]
    served = tf.saved_model.load(str(tmp_path / "out" / "small_saved_model")).signatures["serve_image_bytes"]
    found = served(image_bytes=tf.constant([tf.io.encode_png(image).numpy() for image in source.split("test").items]))
    best = evaluation.predict_split(twins[0], source.split("test"), RECORD)[0].argmax(1)
    assert [names[0].decode() for names in found["top_labels"].numpy()] == [NAMES[k] for k in best]
    rows = export.benchmark(twins[0], [a.path for a in report.artifacts], info=info, batches=(1,), rounds=1).rows
    assert [row.accuracy for row in rows] == [result.top1] * 4
    linear = ending(1, None)
    linear.set_weights(twins[0].get_weights())
    report = export.export_model(linear, tmp_path / "logit", ["onnx"], info=info)  # the names make it a logit
    assert report.accuracy == result.top1 and set(report.artifacts[0].outputs) == {"probabilities"}
    several = export.export_model(
        ending(2, "sigmoid"), tmp_path / "several", ["onnx"], info=info, progress=(said := []).append
    )
    assert several.accuracy is None and any("multi-label" in line for line in said)
