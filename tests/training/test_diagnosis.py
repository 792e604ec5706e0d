"""That the place of the first value that is not finite is named."""

import keras
import numpy as np
import pytest

from keras_cnns.training.diagnosis import find_fault


def network(heads=("predictions",), activation="softmax"):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv1")(inputs)
    x = keras.layers.BatchNormalization(name="bn1")(x)
    x = keras.layers.Conv2D(4, 3, name="conv2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = [keras.layers.Dense(3, activation, name=name)(x) for name in heads]
    return keras.Model(inputs, outputs if len(heads) > 1 else outputs[0])


def compiled(model, rate=0.01, **options):
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.SGD(rate), dict.fromkeys(model.output_names, loss), **options)
    return model


def batches(count=6, labels=lambda y: y):
    random = np.random.default_rng(0)
    return [(random.normal(size=(4, 8, 8, 3)), labels(random.integers(0, 3, 4))) for _ in range(count)]


def test_finite_training_has_no_fault():
    model, data = compiled(network()), iter(batches())
    assert find_fault(model, data, 4) is None and int(model.optimizer.iterations) == 4
    assert len(list(data)) == 2  # No batch was lost


def test_an_output_that_overflows():
    model = network()
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.full(kernel.shape, 3e38))
    fault = find_fault(compiled(model), batches(), 6)
    assert (fault.step, fault.layer) == (0, "conv2") and str(fault) == "layer conv2: its output stopped being finite"


def test_an_image_with_a_nan():
    data = batches()
    data[2][0][1, 2, 3, 0] = np.nan
    model = compiled(network())
    fault = find_fault(model, data, 6)
    assert (fault.step, fault.layer) == (2, "images") and "images" in fault.what
    assert int(model.optimizer.iterations) == 2
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_weights_that_were_nan_before():
    model = network()
    model.get_layer("bn1").gamma.assign(np.full(4, np.nan))
    fault = find_fault(compiled(model), batches(), 6)
    assert (fault.step, fault.layer, fault.what) == (0, "bn1", "its weights were not finite")


def test_a_rate_that_is_far_too_high():
    twin, losses = compiled(network(), rate=1e30), []
    for x, y in batches():
        losses.append(twin.train_on_batch(x, y))
        if not np.isfinite(losses[-1]).all() or not all(np.isfinite(w).all() for w in twin.get_weights()):
            break
    model = compiled(network(), rate=1e30)
    fault = find_fault(model, batches(), 6)
    assert fault.step == len(losses) - 1
    assert fault.layer in ("conv1", "bn1", "conv2", "pool", "predictions")
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


class Steep(keras.layers.Layer):
    """Return the input, but with gradients that are NaN."""

    def __init__(self, **options):
        super().__init__(**options)
        self.scale = self.add_weight(shape=(), initializer="zeros", name="scale")

    def call(self, x):
        return x + keras.ops.sqrt(self.scale * self.scale * keras.ops.sum(x * x))


@pytest.mark.parametrize("norm", [None, 1.0])
def test_a_gradient_that_overflows(norm):
    inputs = keras.Input((8, 8, 3))
    x = Steep(name="steep")(keras.layers.Conv2D(4, 3, name="conv1")(inputs))
    x = keras.layers.Conv2D(4, 3, name="conv2")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax", name="predictions")(x))
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(0.01, global_clipnorm=norm), "sparse_categorical_crossentropy")
    fault = find_fault(model, batches(), 6)
    assert (fault.step, fault.layer) == (0, "steep") and "gradient" in fault.what
    assert model.optimizer.global_clipnorm == norm  # With clipping one such gradient spoils every layer
    for weight, restored in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, restored)


def test_the_state_is_that_before_the_bad_step():
    """Weights, statistics, random states, and the momentum of a new optimizer."""

    def new_model():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 3), name="images")
        x = keras.layers.Dropout(0.5, seed=1)(keras.layers.Conv2D(4, 3, name="conv1")(inputs))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
        model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(x))
        model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        return model

    for bad in (0, 2):
        data = batches()
        twin, model = new_model(), new_model()
        twin.optimizer.build(twin.trainable_variables)
        for x, y in data[:bad]:
            twin.train_on_batch(x, y)
        data[bad][0][0, 0, 0, 0] = np.nan
        assert find_fault(model, data, 6).step == bad
        ours, theirs = ([*each.variables, *each.optimizer.variables] for each in (model, twin))
        for variable, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (variable, other)), err_msg=variable.path)


def test_a_fault_that_only_training_mode_has():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(2.5e38, name="large")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(keras.layers.Dropout(0.5, name="drop")(x))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(x))
    data = [(np.ones_like(x), y) for x, y in batches()]
    assert find_fault(compiled(model), data, 6).layer == "drop"


def test_steps_are_counted_one_by_one_whatever_an_execution_has():
    data = batches(10)
    data[5][0][0, 0, 0, 0] = np.inf
    model = compiled(network(), steps_per_execution=4)
    x, y = (np.concatenate(some) for some in zip(*batches(8), strict=True))
    model.fit(x, y, batch_size=4, verbose=0)
    fault = find_fault(model, iter(data), 10)
    assert (fault.step, fault.layer) == (5, "images") and int(model.optimizer.iterations) == 8 + 5


def test_a_layer_that_is_used_twice():
    inputs = keras.Input((8, 8, 3))
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    x = keras.layers.ReLU(name="relu")(shared(shared(inputs)))  # It overflows the second time
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    shared.kernel.assign(np.full(shared.kernel.shape, 1e25))
    assert find_fault(compiled(model), batches(), 6).layer == "shared"


def test_a_function_between_layers():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.ReLU(name="relu")(keras.ops.exp(keras.layers.Conv2D(4, 3, name="conv1")(inputs) + 1000.0))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(keras.layers.GlobalAveragePooling2D()(x)))
    assert find_fault(compiled(model), batches(), 6).layer.startswith("exp")


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_a_model_within_the_model(kind):
    layers = [keras.layers.Conv2D(4, 3), keras.layers.Conv2D(4, 3)]
    inner = keras.Sequential([keras.Input((8, 8, 3)), *layers], name="backbone")
    if kind == "functional":
        inner = keras.Model(inner.inputs, inner.outputs[0], name="backbone")
    layers[1].kernel.assign(np.full(layers[1].kernel.shape, 3e38))
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(inner(inputs))
    fault = find_fault(compiled(keras.Model(inputs, keras.layers.Dense(3, "softmax")(x))), batches(), 6)
    assert str(fault) == "layer backbone: its output stopped being finite"


@pytest.mark.parametrize("policy, value", [("mixed_float16", 6e4), ("mixed_bfloat16", 3e38)])
def test_low_precision(policy, value):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        sound, model = network(), network()
    finally:
        keras.config.set_dtype_policy(before)
    assert find_fault(compiled(sound), batches(), 4) is None
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.full(kernel.shape, value))
    model = compiled(model, rate=1e-3)
    assert (type(model.optimizer).__name__ == "LossScaleOptimizer") == (policy == "mixed_float16")
    assert str(find_fault(model, batches(), 6)) == "layer conv2: its output stopped being finite"


def test_a_penalty_that_overflows():
    model = network()
    model.get_layer("conv2").kernel.regularizer = keras.regularizers.L2(1e38)
    fault = find_fault(compiled(model), batches(), 6)
    assert str(fault) == "layer conv2: the penalty on its weights was not finite"


@pytest.mark.parametrize("weights", [None, np.array([1.0, 0.0, 2.0, np.inf])])
def test_a_loss_that_alone_is_not_finite(weights):
    data = [(x, y) if weights is None else (x, y, weights) for x, y in batches()]
    model = network(activation=None)
    loss = (lambda y, p: keras.ops.log(keras.ops.sum(p, -1) * 0.0)) if weights is None else "mse"
    model.compile("sgd", loss)
    if weights is not None:
        data = [(x, np.zeros((4, 3)), w) for x, y, w in data]
    fault = find_fault(model, data, 6)
    assert (fault.step, fault.layer) == (0, "predictions") and fault.what == "the loss of its output was not finite"


def test_several_heads():
    model = network(heads=("predictions", "side"))
    for name, value in (("conv2", 10.0), ("side", 3e38)):
        kernel = model.get_layer(name).kernel
        kernel.assign(np.full(kernel.shape, value))
    data = batches(labels=lambda y: {"predictions": y, "side": y})
    fault = find_fault(compiled(model), data, 6)
    assert (fault.step, fault.layer) == (0, "side")


def test_the_loss_of_one_head_of_several():
    model = network(heads=("predictions", "side"))
    data = [(x, (y, y), (np.ones(4), np.array([1, 1, 1, np.inf]))) for x, y in batches()]
    fault = find_fault(compiled(model), data, 6)
    assert str(fault) == "layer side: the loss of its output was not finite"


def test_finite_weights_of_images_have_no_fault():
    data = [(x, y, np.ones(4)) for x, y in batches()] + [(x, y, None) for x, y in batches()]
    model = compiled(network())
    assert find_fault(model, data[::-1], 12) is None and int(model.optimizer.iterations) == 12


@pytest.mark.slow
def test_images_from_tensorflow_under_jax(python):
    """Training under JAX reads batches from a tf.data pipeline."""
    source = """
import keras, numpy as np, tensorflow as tf
from keras_cnns.training.diagnosis import find_fault
images = np.random.default_rng(0).normal(size=(24, 8, 8, 3)).astype("float32")
images[9, 0, 0, 0] = np.nan
inputs = keras.Input((8, 8, 3), name="images")
x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, name="conv1")(inputs))
model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(x))
model.compile("adam", "sparse_categorical_crossentropy")
data = tf.data.Dataset.from_tensor_slices((images, np.arange(24) % 3)).batch(4)
fault = find_fault(model, data, 6)
assert all(np.isfinite(variable).all() for variable in model.optimizer.variables)
print(fault.step, fault)
"""
    done = python(source, KERAS_BACKEND="jax")
    assert done.stdout.splitlines()[-1:] == ["2 layer images: the images hold values that are not finite"], done.stderr
