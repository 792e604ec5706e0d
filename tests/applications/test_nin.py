"""Network In Network: counts and shapes of the facts, numerics against a plain NumPy forward."""

import facts
import keras
import numpy as np
import pytest

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS


@pytest.mark.parametrize("name, options, count", facts.PARAMETERS)
def test_parameters(name, options, count):
    model = getattr(applications, name)(**options)
    assert model.count_params() == count
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == count


@pytest.mark.parametrize("name, options, layers", facts.LAYERS)
def test_stages(name, options, layers):
    model = getattr(applications, name)(**options)
    for layer, (shape, count) in layers.items():
        assert model.get_layer(layer).output.shape == (None, *shape), layer
        assert model.get_layer(layer).count_params() == count, layer
    if name == "NiN" and not options:
        assert [layer.name for layer in model.layers[1:]] == list(layers)


@pytest.mark.parametrize("name, options, count", facts.MACS)
def test_macs(name, options, count):
    model = getattr(applications, name)(**options)
    kernels = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert sum(int(np.prod(k.kernel.shape)) * int(np.prod(k.output.shape[1:3])) for k in kernels) == count


def test_every_public_builder_has_facts_and_tests():
    names = set(applications.list_models())
    assert names == set(FACTS) == {name for name, _, _ in facts.PARAMETERS} == {name for name, _, _ in facts.LAYERS}
    for name, record in FACTS.items():
        assert (name, {}, record.parameters) in facts.PARAMETERS
        assert (name, {}, record.macs) in facts.MACS
        model = getattr(applications, name)()
        assert model.input_shape[1:] == record.input_shape and model.output_shape[1] == record.classes


def numpy_forward(model, x, second_pool):
    """NiN by its definition, with the model's weights: one picture, plain loops."""

    def conv(x, layer):
        kernel, bias = (np.asarray(w) for w in model.get_layer(layer).weights)
        side = kernel.shape[0]
        padded = np.pad(x, [(side // 2,) * 2, (side // 2,) * 2, (0, 0)])
        out = np.zeros((*x.shape[:2], kernel.shape[-1]))
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                out[i, j] = np.tensordot(padded[i : i + side, j : j + side], kernel, 3) + bias
        return np.maximum(out, 0)

    def pool(x, reduce):
        size = [1 + -(-(side - 3) // 2) for side in x.shape[:2]]
        return np.array(
            [
                [reduce(x[2 * i : 2 * i + 3, 2 * j : 2 * j + 3], axis=(0, 1)) for j in range(size[1])]
                for i in range(size[0])
            ]
        )

    for layer in ("conv1", "cccp1", "cccp2"):
        x = conv(x, layer)
    x = pool(x, np.max)
    for layer in ("conv2", "cccp3", "cccp4"):
        x = conv(x, layer)
    x = pool(x, {"average": np.mean, "max": np.max}[second_pool])
    for layer in ("conv3", "cccp5", "cccp6"):
        x = conv(x, layer)
    logits = x.mean((0, 1))
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("second_pool", ["average", "max"])
@pytest.mark.parametrize("shape", [(12, 12, 3), (13, 10, 1)])
def test_forward_equals_numpy(second_pool, shape):
    model = applications.NiN(variant="mnist", input_shape=shape, second_pool=second_pool)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(random.normal(0.2, 0.1, layer.bias.shape))
    x = random.normal(size=(1, *shape)).astype("float32")
    expected = numpy_forward(model, x[0].astype("float64"), second_pool)
    assert expected.max() < 0.9  # else the comparison says little
    np.testing.assert_allclose(model.predict(x, verbose=0)[0], expected, rtol=1e-4)


@pytest.mark.parametrize("name, minimum", [(name, record.minimum) for name, record in FACTS.items()])
def test_the_smallest_input_works_and_a_smaller_one_is_refused(name, minimum):
    builder = getattr(applications, name)
    model = builder(input_shape=(minimum, minimum, 1), classes=4)
    assert np.isfinite(model.predict(np.ones((1, minimum, minimum, 1)), verbose=0)).all()
    with pytest.raises(ValueError, match=f"at least {minimum}x{minimum} pixels.*Received: input_shape="):
        builder(input_shape=(minimum - 1, minimum, 1))


@pytest.mark.parametrize("name", applications.list_models())
def test_the_arguments_of_keras_applications(name):
    builder = getattr(applications, name)
    side = 64
    body = builder(include_top=False, input_shape=(None, None, 3))
    assert len(body.output_shape) == 4 and body.output_shape[1:3] == (None, None)
    channels = body.output_shape[-1]
    for pooling in ("avg", "max"):
        pooled = builder(include_top=False, input_shape=(side, side, 3), pooling=pooling)
        assert pooled.output_shape == (None, channels)
        pooled.set_weights(body.get_weights())
        x = np.random.default_rng(0).normal(size=(2, side, side, 3)).astype("float32")
        reduce = {"avg": np.mean, "max": np.max}[pooling]
        maps = body.predict(x, verbose=0)
        np.testing.assert_allclose(pooled.predict(x, verbose=0), reduce(maps, axis=(1, 2)), rtol=1e-4, atol=1e-5)
    four = builder(input_shape=(side, side, 4), classes=7, classifier_activation=None, name="mine")
    assert four.name == "mine" and four.input_shape == (None, side, side, 4) and four.output_shape == (None, 7)
    given = keras.Input((side, side, 3), name="given")
    nested = builder(input_tensor=keras.layers.Rescaling(2.0)(given), classes=3)
    assert nested.input is given
    assert "HeNormal" in str(four.get_layer("conv1").get_config())


def test_numpy_integers_are_integers():
    model = applications.NiN(classes=np.int64(7), input_shape=np.array([16, 16, 1]))
    assert model.input_shape == (None, 16, 16, 1) and model.output_shape == (None, 7)


def test_logits_are_what_softmax_takes():
    logits = applications.NiN(classifier_activation=None)
    probabilities = applications.NiN()
    probabilities.set_weights(logits.get_weights())
    x = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
    z = logits.predict(x, verbose=0)
    expected = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities.predict(x, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize("name", applications.list_models())
def test_it_learns(name):
    """Every tensor gets a gradient; the loss falls on a fixed batch; training differs from inference by dropout."""
    import tensorflow as tf

    side = max(16, FACTS[name].minimum)
    model = getattr(applications, name)(
        input_shape=(side, side, 3), classes=4, dropout=0.0, bias_initializer=keras.initializers.Constant(0.1)
    )
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, side, side, 3)).astype("float32"), np.arange(8) % 4
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True)))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, model.trainable_weights), strict=True):
        assert np.isfinite(gradient).all() and np.any(gradient), weight.path
    model.compile("adam", "sparse_categorical_crossentropy")
    losses = model.fit(x, y, epochs=10, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]

    dropped = getattr(applications, name)(input_shape=(side, side, 3), classes=4, dropout=0.5)
    assert not np.allclose(dropped(x, training=True), dropped(x, training=False))
    kept = getattr(applications, name)(input_shape=(side, side, 3), classes=4, dropout=0.0)
    np.testing.assert_array_equal(kept(x, training=True), kept(x, training=False))


@pytest.mark.parametrize("name", applications.list_models())
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_map_is_born_alive(name, seed):
    """With He's weights there, about half of the maps start at zero for most pictures, and without a gradient."""
    keras.utils.set_random_seed(seed)
    side = max(24, FACTS[name].minimum)
    x = np.random.default_rng(seed).normal(size=(8, side, side, 3)).astype("float32")
    builder = getattr(applications, name)

    def means(**options):
        model = builder(input_shape=(side, side, 3), classes=20, **options)
        return keras.Model(model.input, model.get_layer("gap").output).predict(x, verbose=0)

    assert means().min() > 0
    assert (means(kernel_initializer="he_normal", bias_initializer="zeros") < 0.1).mean() > 0.2


def test_an_explicit_initializer_is_every_layers():
    model = applications.NiN(kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(0.25))
    for layer in model.layers:
        if layer.weights:
            assert not np.any(layer.kernel) and np.all(np.asarray(layer.bias) == 0.25)


def test_the_last_activation_is_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = applications.NiN()
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("conv1").compute_dtype == "bfloat16"
    assert model.get_layer("gap").compute_dtype == model.get_layer("predictions").compute_dtype == "float32"
    assert model.predict(np.ones((1, 32, 32, 3)), verbose=0).dtype == "float32"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "cifar"}, "`variant` must be one of.*'cifar10'.*Received: variant='cifar'"),
        ({"second_pool": "min"}, "`second_pool` must be one of None, 'average', 'max'"),
        ({"classes": 0}, "`classes` must be a whole number of at least 1. Received: classes=0"),
        ({"pooling": "mean", "include_top": False}, "`pooling` must be one of None, 'avg', 'max'"),
        ({"input_shape": 32}, r"`input_shape` must be \(height, width, channels\)"),
        ({"classes": True}, "`classes` must be a whole number"),
        ({"weights": "a.weights.h5"}, "weights come from a .keras file"),
        ({"input_shape": (32, 32)}, r"`input_shape` must be \(height, width, channels\)"),
        ({"weights": "digit"}, "there are digits. Did you mean 'digits'"),
        ({"weights": "no/such.keras"}, "there is no such weights file"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        applications.NiN(**options)


def test_wrong_widths_are_named():
    with pytest.raises(ValueError, match="`widths` must have four values"):
        applications.NiNImageNet(widths=(96, 256))


def test_input_shape_that_contradicts_input_tensor_is_refused():
    with pytest.raises(ValueError, match="must be that of `input_tensor`"):
        applications.NiN(input_tensor=keras.Input((32, 32, 3)), input_shape=(28, 28, 3))


def test_channels_first_is_refused_with_the_reason():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels last.*set_image_data_format"):
            applications.NiN()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.slow
def test_it_runs_under_jax(python, tmp_path):
    done = python(
        """
import numpy as np, keras, sys
from keras_cnns import applications, saving
x = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype("float32")
model = applications.NiN(weights="digits")
np.save(sys.argv[1], model.predict(x, verbose=0))
fresh = applications.NiN(input_shape=(33, 32, 1), classes=3, dropout=0.0)
fresh.compile("adam", "sparse_categorical_crossentropy")
z = np.random.default_rng(0).normal(size=(4, 33, 32, 1))
losses = fresh.fit(z, np.arange(4) % 3, epochs=8, verbose=0).history["loss"]
assert losses[-1] < losses[0], losses
assert "tensorflow" not in sys.modules
print(keras.backend.backend())
""",
        out := tmp_path / "jax.npy",
        KERAS_BACKEND="jax",
    )
    assert done.stdout.strip() == "jax", done.stderr
    x = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype("float32")
    ours = applications.NiN(weights="digits").predict(x, verbose=0)
    np.testing.assert_allclose(np.load(out), ours, atol=1e-5)
