"""Our batch normalization, compared with Keras's own.

Outputs, gradients, moving statistics, and whole networks.
"""

import collections
import contextlib

import keras
import numpy as np
import onnx
import pytest
from families import randomize, small
from sklearn.datasets import load_sample_image

from keras_cnns import _models
from keras_cnns.data import Preprocessing
from keras_cnns.export import export_model
from keras_cnns.export.inspection import inspect
from keras_cnns.export.options import Options
from keras_cnns.layers import BatchNormalization, normalization
from keras_cnns.saving import ModelInfo

tf = pytest.importorskip("tensorflow")
KerasBatchNormalization = keras.layers.BatchNormalization
# Largest difference, as a share of the largest value, from rounding to the outputs' dtype or from float32 sums
ROUNDING = {"float32": 1e-5, "mixed_bfloat16": 2**-7, "mixed_float16": 2**-10}


@pytest.fixture
def fused(monkeypatch):
    """A list with the arguments of each call of the fused operation."""
    calls, original = [], normalization._fused

    def counted(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(normalization, "_fused", counted)
    return calls


@contextlib.contextmanager
def dtype_policy(policy):
    """Set the global dtype policy for a while."""
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy("float32")


def assert_close(ours, theirs, share=1e-5):
    """Check that arrays differ by a share of the largest value.

    If all values are smaller than 0.01, the share is of 0.01.
    """
    ours, theirs = (np.asarray(keras.ops.cast(x, "float32")) for x in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=share * max(np.abs(theirs).max(), 0.01))


def pair(shape, **options):
    """Return our layer and Keras's with the same random weights."""
    layers = BatchNormalization(**options), KerasBatchNormalization(**options)
    for layer in layers:
        layer.build((None, *shape[1:]))
        random = np.random.default_rng(1)
        layer.set_weights([random.uniform(0.5, 2, weight.shape) for weight in layer.weights])
    return layers


def step(layer, x, weights, training=True, jit=None):
    """Return the outputs and the gradients of their weighted sum.

    The gradients are those for x, gamma and beta.
    """

    def run(x):
        watched = [x, *(variable.value for variable in (layer.gamma, layer.beta) if variable is not None)]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = layer(x, training=training)
            total = tf.reduce_sum(tf.cast(outputs, "float32") * weights)
        return [outputs, *tape.gradient(total, watched)]

    return run(x) if jit is None else tf.function(run, jit_compile=jit)(x)


def batches(shape, count=3):
    """Return different batches, and weights for the sum of the outputs."""
    random = np.random.default_rng(0)
    xs = [random.normal(k - 1, k + 1, shape).astype("float32") for k in range(count)]
    return [tf.constant(x) for x in xs], random.normal(size=shape).astype("float32")


@pytest.mark.parametrize(
    "jit", [None, False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "graph", "xla"]
)
@pytest.mark.parametrize("policy", ROUNDING)
def test_training_steps_equal_keras_own(policy, jit, fused):
    shape = (4, 5, 6, 7)
    ours, theirs = pair(shape, dtype=policy, momentum=0.8)
    xs, weights = batches(shape)
    for x in xs:
        results, expected = step(ours, x, weights, jit=jit), step(theirs, x, weights, jit=jit)
        assert [result.dtype for result in results] == [result.dtype for result in expected]
        assert results[0].dtype == keras.DTypePolicy(policy).compute_dtype
        for mine, keras_own in zip(results, expected, strict=True):
            assert_close(mine, keras_own, ROUNDING[policy])
        for mine, keras_own in zip(ours.weights, theirs.weights, strict=True):  # the moving statistics too
            assert mine.dtype == "float32"
            assert_close(mine, keras_own)
    assert len(fused) == len(xs)


OPTIONS = {
    "defaults": {},
    "momentum": {"momentum": 0.37},
    "no momentum": {"momentum": 0.0},
    "large epsilon": {"epsilon": 0.3},
    "small epsilon": {"epsilon": 1e-5},
    "no offset": {"center": False},
    "no scale": {"scale": False},
    "neither": {"center": False, "scale": False},
    "axis 3": {"axis": 3},
    "regularized": {"gamma_regularizer": "l2", "beta_constraint": "non_neg"},
}


@pytest.mark.parametrize("shape", [(4, 5, 6, 7), (1, 3, 2, 1), (1, 1, 1, 3), (2, 1, 1, 3)], ids=str)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_and_sizes_equal_keras_own(name, shape, fused):
    """A batch of one pixel has variance 0.

    For two pixels, gradients cancel out except for rounding.
    """
    ours, theirs = pair(shape, **OPTIONS[name])
    xs, weights = batches(shape)
    share = 2e-4 if ours.epsilon < 1e-4 or np.prod(shape[:-1]) == 2 else 1e-5
    for x in xs:
        for mine, keras_own in zip(step(ours, x, weights), step(theirs, x, weights), strict=True):
            assert_close(mine, keras_own, share)
    for mine, keras_own in zip(ours.weights, theirs.weights, strict=True):
        assert_close(mine, keras_own)
    assert len(fused) == 3 and len(ours.losses) == len(theirs.losses)


FALLS_BACK = {
    "channels first": ((4, 5, 6, 7), {"axis": 1}),
    "rows": ((4, 5, 6, 7), {"axis": 2}),
    "vectors": ((8, 5), {}),
    "sequences": ((4, 6, 5), {}),
    "volumes": ((2, 3, 4, 3, 5), {}),
    "float64": ((4, 5, 6, 7), {"dtype": "float64"}),
    "synchronized": ((4, 5, 6, 7), {"synchronized": True}),
    "renorm": ((4, 5, 6, 7), {"renorm": True}),
}


@pytest.mark.parametrize("case", FALLS_BACK)
def test_unusual_cases_are_computed_by_keras(case, fused):
    shape, options = FALLS_BACK[case]
    ours, theirs = pair(shape, **options)
    xs, weights = batches(shape)
    for x in xs:
        for mine, keras_own in zip(step(ours, x, weights), step(theirs, x, weights), strict=True):
            np.testing.assert_array_equal(mine, keras_own)
    for mine, keras_own in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(mine, keras_own)
    assert not fused


def test_a_masked_batch_is_computed_by_keras(fused):
    ours, theirs = pair((4, 5, 6, 7))
    (x,), _ = batches((4, 5, 6, 7), 1)
    mask = np.random.default_rng(0).random((4, 5, 6)) < 0.5
    np.testing.assert_array_equal(ours(x, training=True, mask=mask), theirs(x, training=True, mask=mask))
    np.testing.assert_array_equal(ours.moving_mean, theirs.moving_mean)
    assert not fused
    np.testing.assert_raises(AssertionError, assert_close, ours(x, training=True), theirs(x, training=True, mask=mask))


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("policy", ROUNDING)
def test_inference_and_frozen_layers_are_computed_by_keras(policy, trainable, fused):
    """So are frozen layers in training mode, whose statistics stay unchanged."""
    ours, theirs = pair((4, 5, 6, 7), dtype=policy)
    ours.trainable = theirs.trainable = trainable
    (x,), weights = batches((4, 5, 6, 7), 1)
    before = ours.get_weights()
    for training in [False] if trainable else [False, True]:
        for mine, keras_own in zip(step(ours, x, weights, training), step(theirs, x, weights, training), strict=True):
            np.testing.assert_array_equal(keras.ops.cast(mine, "float32"), keras.ops.cast(keras_own, "float32"))
    np.testing.assert_array_equal(np.stack(before), np.stack(ours.get_weights()))
    assert not fused


def test_an_empty_batch_changes_the_statistics_as_in_keras():
    ours, theirs = pair((4, 5, 6, 7))
    x = tf.zeros((0, 5, 6, 7))
    assert ours(x, training=True).shape == theirs(x, training=True).shape == (0, 5, 6, 7)
    np.testing.assert_array_equal(ours.moving_variance, theirs.moving_variance)  # NaN in both


@pytest.mark.parametrize("sizes", [(None, 5, 6, 7), (None, None, None, 7)], ids=str)
def test_sizes_may_be_unknown_in_the_graph(sizes):
    ours, theirs = pair((4, 5, 6, 7), momentum=0.5)
    for layer in (ours, theirs):
        run = tf.function(lambda x, layer=layer: layer(x, training=True), [tf.TensorSpec(sizes)])
        for x in batches((2, 5, 6, 7))[0] + batches((3, 5, 6, 7))[0]:
            run(x)
    assert_close(ours.moving_variance, theirs.moving_variance)
    assert_close(ours.moving_mean, theirs.moving_mean)


def test_second_derivatives_equal_keras_own():
    shape = (3, 4, 5, 6)
    (x,), weights = batches(shape, 1)
    results = []
    for layer in pair(shape):
        watched = [x, layer.gamma.value]
        with tf.GradientTape() as outer:
            outer.watch(watched)
            with tf.GradientTape() as inner:
                inner.watch(watched)
                total = tf.reduce_sum(layer(x, training=True) ** 3 * weights)
            total = tf.add_n([tf.reduce_sum(gradient**2) for gradient in inner.gradient(total, watched)])
        results.append(outer.gradient(total, watched))
    for mine, keras_own in zip(*results, strict=True):
        assert_close(mine, keras_own)


def test_configuration_and_weights_are_keras_own():
    options = {"momentum": 0.9, "epsilon": 1e-5, "gamma_initializer": "zeros", "beta_regularizer": "l2", "name": "bn"}
    ours, theirs = BatchNormalization(**options), KerasBatchNormalization(**options)
    assert ours.get_config() == theirs.get_config()
    assert BatchNormalization().name.startswith("batch_normalization")
    for layer in (ours, theirs):
        layer.build((None, 4, 4, 3))
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]
    described = [keras.saving.serialize_keras_object(layer) for layer in (ours, theirs)]
    # Keras writes a registered name for every class that is not in its list, and accepts that of its own class.
    assert described[0].pop("registered_name") == "BatchNormalization" and described[1].pop("registered_name") is None
    assert described[0] == described[1] and described[0]["module"] == "keras.layers"
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    assert type(restored) is KerasBatchNormalization


def test_copies_of_a_model_compute_the_same():
    """A clone keeps our class; a configuration restores Keras's class."""
    model = small("ResNet20", {})
    randomize(model)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    for copy, kind in (
        (keras.models.clone_model(model), BatchNormalization),
        (type(model).from_config(model.get_config()), KerasBatchNormalization),
    ):
        kinds = {type(layer) for layer in copy.layers if isinstance(layer, KerasBatchNormalization)}
        assert kinds == {kind}
        assert [weight.path for weight in copy.weights] == [weight.path for weight in model.weights]
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy(x, training=False), model(x, training=False))


def with_keras_layers(model):
    """Return the model with Keras's own layers instead of ours."""

    def clone(layer):
        layer_class = KerasBatchNormalization if type(layer) is BatchNormalization else type(layer)
        return layer_class.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.parametrize("name", ["ResNet20", "ResNet18V2", "InceptionV2"])
def test_networks_use_our_batch_normalization(name):
    kinds = {type(layer) for layer in small(name, {}).layers if isinstance(layer, KerasBatchNormalization)}
    assert kinds == {BatchNormalization}


def trained(model):
    """Train for six steps; return the losses, and each weight's change."""
    random = np.random.default_rng(0)
    x = random.normal(1, 2, (48, *model.input_shape[1:])).astype("float32")
    y = random.integers(0, 4, 48)
    start = model.get_weights()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy", steps_per_execution=3)
    history = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history
    return history["loss"], [after - before for after, before in zip(model.get_weights(), start, strict=True)]


@pytest.mark.slow
def test_a_network_trains_as_with_keras_own(fused):
    ours = small("ResNet20", {})
    theirs = with_keras_layers(ours)
    (losses, moves), (keras_losses, keras_moves) = trained(ours), trained(theirs)
    np.testing.assert_allclose(losses, keras_losses, rtol=1e-5)
    for mine, keras_own, weight in zip(moves, keras_moves, ours.weights, strict=True):
        assert np.abs(keras_own).max() > 0, weight.path
        assert_close(mine, keras_own, 1e-3)
    normalizations = sum(isinstance(layer, KerasBatchNormalization) for layer in ours.layers)
    assert fused and len(fused) % normalizations == 0  # once per layer and tracing


@pytest.mark.slow
def test_a_network_trains_as_well_in_bfloat16():
    """Ours differs no more from float32 than Keras's own."""
    exact = small("ResNet20", {})
    start = exact.get_weights()
    with dtype_policy("mixed_bfloat16"):
        ours = small("ResNet20", {})
    ours.set_weights(start)
    (losses, moves), (keras_losses, keras_moves), (_, exact_moves) = map(
        trained, (ours, with_keras_layers(ours), exact)
    )
    np.testing.assert_allclose(losses, keras_losses, rtol=0.02)

    def deviation(moves):
        pairs = zip(moves, exact_moves, strict=True)
        return np.sqrt(sum(((move - exact_move) ** 2).sum() for move, exact_move in pairs))

    length = np.sqrt(sum((move**2).sum() for move in exact_moves))
    assert 0 < deviation(moves) < 1.2 * deviation(keras_moves) < 0.5 * length


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_fit_leaves_a_frozen_network_unchanged(fused):
    model = small("ResNet20", {})
    for layer in model.layers[:-1]:
        layer.trainable = False
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(np.ones((4, *model.input_shape[1:])), np.arange(4), verbose=0)
    for weight, value_before in zip(model.weights[:-2], before[:-2], strict=True):
        np.testing.assert_array_equal(weight, value_before)
    assert not fused


def convolutions(channels=3):
    """Return a network of two normalized convolutions with random weights."""
    x = inputs = keras.Input((12, 12, channels))
    for k in (1, 2):
        x = keras.layers.Conv2D(4, 3, use_bias=False, name=f"conv{k}")(x)
        x = keras.layers.ReLU(name=f"relu{k}")(BatchNormalization(name=f"bn{k}")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))
    randomize(model)
    return model


@pytest.mark.kernels
@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_exports_fold_batch_normalization_into_the_convolution(policy, tmp_path):
    """Export itself checks that the results are the model's."""
    with dtype_policy(policy):
        model = convolutions()
    info = ModelInfo(preprocessing=Preprocessing((12, 12), 3, mean=(120.0, 110.0, 100.0), scale=(1 / 64,)))
    # The other operators are the preprocessing's. In ONNX, the bias of the logits is an Add, or part of a Gemm.
    network = {"CONV_2D": 2, "MEAN": 1, "FULLY_CONNECTED": 1}
    preprocessing = {"none": {"MUL": 1, "ADD": 1}, "int8": {"DEPTHWISE_CONV_2D": 1}}
    photograph = load_sample_image("china.jpg")[:420, :636].reshape(35, 12, 53, 12, 3).swapaxes(1, 2)
    pieces = photograph.reshape(-1, 12, 12, 3)[::9]
    for quantize in ("none", "int8"):
        options = Options(quantize=quantize, calibration=pieces if quantize == "int8" else None, min_agreement=0.0)
        folder = tmp_path / quantize
        export_model(model, folder, ["tflite", "onnx"], options, info=info)
        operators = dict(inspect(next(folder.glob("*.tflite")), "tflite").operators)
        for extra in ("QUANTIZE", "DEQUANTIZE", "CAST"):
            operators.pop(extra, None)
        assert operators == network | preprocessing[quantize]
        kinds = collections.Counter(node.op_type for node in onnx.load(next(folder.glob("*.onnx"))).graph.node)
        assert (kinds["Conv"], kinds["Mul"] + kinds["Div"], kinds["Add"] + kinds["Sub"] + kinds["Gemm"]) == (2, 1, 2), (
            kinds
        )
        assert not kinds["BatchNormalization"]


def test_a_float32_copy_computes_the_same():
    """Export makes such a copy of a network in mixed precision."""
    with dtype_policy("mixed_bfloat16"):
        model = convolutions()
    copy = _models.as_float32(model)
    assert copy is not model and copy.get_layer("bn1").compute_dtype == "float32"
    np.testing.assert_array_equal(copy.get_layer("bn1").moving_mean, model.get_layer("bn1").moving_mean)
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype("float32")
    assert_close(model(x, training=False), copy(x, training=False), 0.03)


@pytest.mark.slow
def test_statistics_on_two_devices_are_those_of_the_whole_batch(python):
    """Another process is needed to configure two logical CPUs."""
    done = python(
        """
import contextlib
import numpy as np, keras, tensorflow as tf
from keras_cnns.layers import BatchNormalization
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(1, 2, (16, 5, 5, 3)).astype("float32")
x[:4] += 3
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
def trained(layer, scope):
    with scope:
        model = keras.Sequential([keras.Input((5, 5, 3)), layer(momentum=0.5)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, x**2, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()
theirs = keras.layers.BatchNormalization
ours = trained(BatchNormalization, mirrored.scope())
alone = trained(BatchNormalization, contextlib.nullcontext())
synchronized = trained(lambda momentum: theirs(momentum=momentum, synchronized=True), mirrored.scope())
apart = trained(theirs, mirrored.scope())
for mine, on_one_device, keras_own in zip(ours, alone, synchronized):
    np.testing.assert_allclose(mine, on_one_device, rtol=1e-4)
    np.testing.assert_allclose(mine, keras_own, rtol=1e-4)
assert not np.allclose(ours[3], apart[3], rtol=0.01)
""",
        CUDA_VISIBLE_DEVICES="-1",
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_under_jax_the_layer_computes_as_keras_own(python):
    done = python(
        """
import sys, numpy as np, keras
from keras_cnns.layers import BatchNormalization
layers = BatchNormalization(momentum=0.6), keras.layers.BatchNormalization(momentum=0.6)
x = np.random.default_rng(0).normal(2, 3, (4, 5, 5, 3)).astype("float32")
outputs = [np.asarray(layer(x, training=True)) for layer in layers]
np.testing.assert_array_equal(*outputs)
np.testing.assert_array_equal(*(layer.moving_variance for layer in layers))
assert abs(outputs[0].std() - 1) < 0.01 and keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
""",
        KERAS_BACKEND="jax",
    )
    assert done.returncode == 0, done.stderr
