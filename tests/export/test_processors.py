"""int8 ONNX files compute the same on every processor."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from keras_cnns import saving
from keras_cnns.data import Preprocessing, open_source
from keras_cnns.errors import ArtifactError, VerificationError
from keras_cnns.export import Options, _artifact_checks, _runner, export_model, open_artifact
from keras_cnns.export.parity import Bounds, Reference, check_fusion, compare
from keras_cnns.export.preparation import prepare_model
from keras_cnns.saving import ModelInfo

INFO = ModelInfo(preprocessing=Preprocessing((12, 12), 3, mean=(120.0,), scale=(1 / 64,)))
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 12, 12, 3), dtype="uint8")


def network():
    """A network with neighboring large weights of one sign, whose products saturate."""
    keras.utils.set_random_seed(0)
    x = keras.Input((12, 12, 3))
    y = keras.layers.Conv2D(8, 3, activation="relu", name="first")(x)
    y = keras.layers.Conv2D(8, 3, activation="relu", kernel_initializer="ones", name="second")(y)
    y = keras.layers.GlobalAveragePooling2D(name="pool")(y)
    return keras.Model(x, keras.layers.Dense(5, "softmax", name="classes")(y), name="small")


@pytest.fixture(scope="module", params=[None, "vnni"])
def exported(request, tmp_path_factory):
    """(target, artifact, ONNX model) of that network in int8."""
    options = Options(quantize="int8", calibration=PIXELS, min_agreement=0.0, target=request.param, verify=False)
    (artifact,) = export_model(network(), tmp_path_factory.mktemp("int8"), ["onnx"], options, info=INFO).artifacts
    return request.param, artifact, onnx.load(artifact.path)


def test_products_of_pairs_fit_into_16_bits(exported):
    # AVX2 adds two products of uint8 activations and int8 weights in int16, and saturates above its maximum.
    target, _, proto = exported
    weights = [numpy_helper.to_array(tensor) for tensor in proto.graph.initializer]
    largest = max(np.abs(values.astype(int)).max() for values in weights if values.dtype == np.int8 and values.ndim > 1)
    assert (255 * 2 * largest <= 32767) == (target is None) and largest == (127 if target else 64)


def test_the_reference_evaluator_gives_the_same(exported):
    _, artifact, proto = exported
    image = PIXELS[:2]
    (probabilities,) = ReferenceEvaluator(proto).run(None, {"image": image})
    np.testing.assert_allclose(probabilities, open_artifact(artifact.path)(image)["probabilities"], atol=0.01)


def test_results_of_dense_layers_stay_in_float32(tmp_path):
    # OpenCV 5 refuses a Gemm whose bias and result are both quantized, whatever activation follows.
    x = y = keras.Input((12, 12, 3))
    y = keras.layers.Flatten()(y)
    for activation in ("relu", "tanh", "sigmoid"):
        y = keras.layers.Dense(8, activation, bias_initializer="ones")(y)
    model = keras.Model(x, keras.layers.Dense(5, "softmax", bias_initializer="ones")(y))
    options = Options(quantize="int8", calibration=PIXELS, verify=False)
    (artifact,) = export_model(model, tmp_path, ["onnx"], options, info=INFO).artifacts
    nodes = onnx.load(artifact.path).graph.node
    results = {node.output[0] for node in nodes if node.op_type == "Gemm"}
    assert len(results) == 4
    assert not [node for node in nodes if node.op_type == "QuantizeLinear" and node.input[0] in results]


def test_the_noise_of_each_layer_is_stored(exported):
    target, artifact, proto = exported
    assert list(artifact.contents.layers) == ["first", "second", "pool", "classes"] and artifact.contents.opset == 19
    assert min(artifact.contents.layers.values()) > 25
    # The softmax stays in float32: with steps of 1/255 its small probabilities would be zero
    (softmax,) = (node for node in proto.graph.node if node.op_type == "Softmax")
    assert softmax.output[0] == "probabilities"
    if target is None:
        assert onnxruntime.InferenceSession(artifact.path).get_outputs()[0].shape == ["batch", 5]


@pytest.mark.parametrize("opset", [18, pytest.param(21, marks=pytest.mark.slow), 23])
def test_opsets_above_those_of_tf2onnx(opset, tmp_path):
    (artifact,) = export_model(network(), tmp_path, ["onnx"], Options(opset=opset), info=INFO).artifacts
    assert artifact.contents.opset == opset and artifact.parity.max_difference < 1e-5
    # The file ran with and without optimizations of the graph
    assert artifact.parity.unfused.examples == 64 and artifact.parity.unfused.max_difference < 1e-5


def test_saturating_kernels_are_detected():
    # Measured with nin:digits and weights of 8 bits: 41.6 dB unfused, 18.5 fused on AVX2, 41.0 on VNNI.
    logits = np.random.default_rng(0).normal(size=(50, 10)).astype("float32")
    noise = np.random.default_rng(1).normal(size=logits.shape).astype("float32")
    signal = np.square(logits - logits.mean(1, keepdims=True)).sum()
    noise /= np.sqrt(np.square(noise - noise.mean(1, keepdims=True)).sum() / signal)

    def at(decibels, quantize="int8"):
        return dataclasses.replace(
            compare(Reference(logits, "logits"), logits + noise * 10 ** (-decibels / 20), Bounds(quantize)),
            signal_to_noise=decibels,
        )

    exact = dataclasses.replace(at(90.0), signal_to_noise=None)
    with pytest.raises(ArtifactError, match="18.5 dB, without them of 41.6: .* saturate.*--target avx2"):
        check_fusion(at(18.5), at(41.6))
    with pytest.raises(ArtifactError, match="saturate"):
        check_fusion(at(30.0), exact)
    for fused, unfused in ((41.0, 41.6), (16.9, 18.0), (45.0, 60.0), (20.0, 15.0)):
        check_fusion(at(fused), at(unfused))
    check_fusion(exact, at(30.0))
    check_fusion(at(60.0, "none"), at(90.0, "none"))  # float32 values are bounded elsewhere


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 (Debian's qemu-user) is not installed")
@pytest.mark.parametrize("target, right", [(None, True), ("vnni", False)])
def test_a_processor_without_vnni(target, right, digits_model, tmp_path):
    # QEMU emulates a processor that has AVX2 but neither AVX-512 nor VNNI, so that its kernels run here.
    model, record = digits_model
    options = Options(quantize="int8", target=target, verify=False)
    (artifact,) = export_model(model, tmp_path, ["onnx"], options, info=record).artifacts
    images = open_source("digits").split("test").items[:60]
    np.save(tmp_path / "images.npy", images)
    program = Path(_runner.__file__)
    # The runner imports only NumPy and ONNX Runtime; importing more would take minutes in the emulator
    subprocess.run(
        ["qemu-x86_64", "-cpu", "max", os.path.realpath(sys.executable), "-c"]
        + [
            "import sys; sys.path.insert(0, sys.argv[1]); import _runner, numpy\n"
            "run = _runner.open_onnx(sys.argv[2], 1)\n"
            "numpy.save(sys.argv[3], _runner.run_in_batches(run, numpy.load(sys.argv[4]))['probabilities'])"
        ]
        + [str(program.parent), str(artifact.path), str(tmp_path / "probabilities.npy"), str(tmp_path / "images.npy")],
        env={**os.environ, "PYTHONPATH": str(Path(np.__file__).parent.parent)},
        check=True,
        timeout=900,
    )
    here, unfused = (
        _runner.run_in_batches(_runner.open_onnx(artifact.path, 1, fused), images)["probabilities"]
        for fused in (True, False)
    )
    there = np.load(tmp_path / "probabilities.npy")
    expected = model.predict(record.preprocessing.normalize(images.astype("float32")), verbose=0)
    reference = Reference(expected, "probabilities")
    fused_parity, unfused_parity = (compare(reference, outputs, Bounds("int8")) for outputs in (there, unfused))
    if right:
        check_fusion(fused_parity, unfused_parity)
        np.testing.assert_allclose(there, here, atol=0.01)
    else:
        with pytest.raises(ArtifactError, match="saturate"):
            check_fusion(fused_parity, unfused_parity)


def test_constant_outputs_prove_nothing(tmp_path, cli):
    """Any artifact would give the model's class."""
    model = network()
    classes = model.get_layer("classes")
    classes.set_weights([np.zeros_like(classes.get_weights()[0]), np.arange(5, dtype="float32")])
    with pytest.raises(VerificationError, match="the same output for all 64 images .*nothing is proven.*--no-verify"):
        export_model(model, tmp_path / "out", ["tflite"], info=INFO)
    assert not (tmp_path / "out").exists()
    saving.save_model(model, tmp_path / "dead.keras", INFO)
    code, out, err = cli("export", tmp_path / "dead.keras", "--format", "tflite", "--output", tmp_path / "out")
    assert code == 1 and not out and "nothing is proven" in err
    assert export_model(model, tmp_path / "out", ["tflite"], Options(verify=False), info=INFO).artifacts


def test_an_agreement_has_an_interval():
    # Clopper and Pearson: if 24 of 24 agree, the agreement is at least .025 ** (1 / 24).
    logits = np.tile(np.float32([4.0, 0.0]), (24, 1)) + np.arange(24, dtype="float32")[:, None] % 3
    parity = compare(Reference(logits, "logits"), logits, Bounds("int8"))
    assert parity.agreement_interval == pytest.approx((0.025 ** (1 / 24), 1.0)) and parity.classes == 1
    assert parity.to_json()["agreement_interval"][0] == pytest.approx(0.857, abs=1e-3)


def test_target_and_layers_on_the_command_line(tmp_path, cli):
    arguments = ["export", "nin:digits", "--format", "onnx", "--output", tmp_path]
    code, _, err = cli(*arguments, "--target", "avx2")
    assert code == 2 and "`target` decides the bits of int8 weights" in err
    code, _, err = cli(*arguments, "--quantize", "int8", "--target", "avx")
    assert code == 2 and "Did you mean 'avx2'" in err
    code, out, err = cli(*arguments, "--quantize", "int8", "--layers")
    assert code == 0, err
    assert "cccp6" in out and "Same class for 360 of 360 images: between 99.0% and 100.0% of all" in out


def test_files_of_earlier_versions_may_lack_newer_options():
    prepared = prepare_model(network(), INFO, Options(), "small")
    card = json.loads(json.dumps(prepared.card("")))
    del card["options"]["target"]
    _artifact_checks.check_card({"card": card, "labels": ""}, prepared)
    card["options"]["batch"] = 3
    with pytest.raises(ArtifactError, match="its description of its options is wrong"):
        _artifact_checks.check_card({"card": card, "labels": ""}, prepared)
