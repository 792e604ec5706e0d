"""Saliency against linear models, finite differences, and explicit ReLUs."""

import keras
import numpy as np
import pytest
from analysis.helpers import random_images
from keras import layers, ops

from keras_cnns import applications
from keras_cnns.analysis import guided, saliency
from keras_cnns.errors import ArgumentError


def dense_network(*hidden):
    """Return a network of dense layers with random weights and biases."""
    steps = [layers.Dense(units, "relu", bias_initializer="normal") for units in hidden]
    return keras.Sequential([keras.Input((3, 4, 2)), layers.Flatten(), *steps, layers.Dense(5, "softmax")])


def test_the_gradient_of_a_linear_model_is_its_weights():
    model, x = dense_network(), random_images(6, 3, 4, 2)
    kernel, bias = model.layers[-1].get_weights()
    found = saliency(model, x, target=3)
    np.testing.assert_allclose(found.gradients, np.tile(kernel[:, 3].reshape(1, 3, 4, 2), (6, 1, 1, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.scores, x.reshape(6, -1) @ kernel[:, 3] + bias[3], rtol=1e-4)
    np.testing.assert_allclose(found.maps, np.abs(found.gradients).max(-1))
    assert found.maps.shape == (6, 3, 4) and (found.targets == 3).all()
    # The control: the gradient of the probability differs.
    probabilities = np.asarray(model(x))
    assert np.abs(found.gradients * probabilities[:, 3].reshape(-1, 1, 1, 1) - found.gradients).max() > 0.01


def test_finite_differences(digits_model):
    model = digits_model[0]
    x = random_images(2, *model.inputs[0].shape[1:])
    found = saliency(model, x, target=[4, 7])
    step = 1e-2
    random = np.random.default_rng(1)
    for n, where in enumerate(random.normal(size=x.shape).astype("float32")):
        where /= np.linalg.norm(where)
        ahead, behind = (saliency(model, x + sign * step * where, [4, 7]).scores[n] for sign in (1, -1))
        slope = (ahead - behind) / (2 * step)
        assert abs(slope - np.sum(found.gradients[n] * where)) < 0.02 * np.linalg.norm(found.gradients[n])
    assert np.abs(saliency(model, x, target=[7, 4]).gradients - found.gradients).max() > 1e-3  # the control


def explicit(model, x, target, pass_relu):
    """Return the signal propagated back through two dense layers with ReLU.

    Args:
        pass_relu: function from the signal and the ReLU's input to the signal after the ReLU.
    """
    (w1, b1), (w2, b2), (w3, _) = (layer.get_weights() for layer in model.layers[1:])
    flat = x.reshape(len(x), -1)
    before1 = flat @ w1 + b1
    before2 = np.maximum(before1, 0) @ w2 + b2
    signal = pass_relu(np.tile(w3[:, target], (len(x), 1)), before2)
    return (pass_relu(signal @ w2.T, before1) @ w1.T).reshape(x.shape)


RULES = {
    "gradient": lambda signal, before: signal * (before > 0),
    "guided": lambda signal, before: np.maximum(signal, 0) * (before > 0),
    "deconvolution": lambda signal, before: np.maximum(signal, 0),
}


def test_gradient_and_guided_gradient_follow_their_rules():
    model, x = dense_network(16, 12), random_images(5, 3, 4, 2)
    by_hand = {name: explicit(model, x, 2, rule) for name, rule in RULES.items()}
    found = {"gradient": saliency(model, x, 2).gradients, "guided": guided(model, x, 2).gradients}
    for name, gradients in found.items():
        for other, wanted in by_hand.items():
            assert np.allclose(gradients, wanted, rtol=1e-4, atol=1e-6) == (name == other), (name, other)
    np.testing.assert_array_equal(guided(model, x, 2).scores, saliency(model, x, 2).scores)


def test_relus_written_as_layers_and_operations():
    x = inputs = keras.Input((3, 4, 2))
    inner = keras.Sequential([keras.Input((24,)), layers.Dense(16, bias_initializer="normal"), layers.ReLU()])
    x = ops.relu(layers.Dense(12, bias_initializer="normal")(inner(layers.Flatten()(inputs))))
    model = keras.Model(inputs, layers.Dense(5, "softmax")(x))
    plain = dense_network(16, 12)
    plain.set_weights(model.get_weights())
    x = random_images(5, 3, 4, 2)
    np.testing.assert_allclose(guided(model, x).gradients, guided(plain, x).gradients, rtol=1e-5, atol=1e-7)


@pytest.mark.kernels
def test_targets_batches_and_heads():
    model, x = dense_network(16), random_images(7, 3, 4, 2)
    probabilities = np.asarray(model(x))
    found = saliency(model, x)
    assert (found.targets == probabilities.argmax(1)).all() and len(set(found.targets)) > 1
    targets = np.arange(7) % 5
    whole = guided(model, x, targets)
    for n, target in enumerate(targets):
        single = guided(model, x[n : n + 1], int(target))
        np.testing.assert_allclose(whole.gradients[n], single.gradients[0], rtol=1e-5, atol=1e-7)
        # The products summed in a score may cancel, so rounding is relative to their size and not to the score.
        np.testing.assert_allclose(whole.scores[n], single.scores[0], rtol=1e-5, atol=1e-6)
    parts = guided(model, x, targets, batch_size=3)
    np.testing.assert_allclose(parts.gradients, whole.gradients, rtol=1e-5, atol=1e-7)
    # Auxiliary heads are ignored, and a model may output logits.
    inputs = keras.Input((3, 4, 2))
    y = layers.Dense(5, name="logits")(layers.Flatten()(inputs))
    heads = keras.Model(inputs, [layers.Softmax(name="predictions")(y), layers.Softmax(name="other")(y * 2)])
    logits = keras.Model(inputs, y)
    np.testing.assert_array_equal(saliency(heads, x, 1).gradients, saliency(logits, x, 1).gradients)


def test_mixed_precision_is_computed_in_float32():
    plain, x = dense_network(16), random_images(3, 3, 4, 2)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed = dense_network(16)
    finally:
        keras.config.set_dtype_policy("float32")
    mixed.set_weights(plain.get_weights())
    np.testing.assert_array_equal(guided(mixed, x, 1).gradients, guided(plain, x, 1).gradients)


def test_the_saliency_of_a_trained_network_is_on_the_object(shapes_model, untrained_shapes_model, shapes):
    """Compare the saliency's share on the object with its area."""
    x, masks = shapes.images[:60].astype("float32"), shapes.masks[:60]
    gains = []
    for model in (shapes_model, untrained_shapes_model):
        maps = saliency(model, x, shapes.labels[:60]).maps
        gains.append(maps[masks].sum() / maps.sum() / masks.mean())
    assert gains[0] > 1.5 and gains[1] < 1.3


def test_bad_inputs_are_rejected():
    model, x = dense_network(16), random_images(2, 3, 4, 2)
    for target in (5, -1):
        with pytest.raises(ArgumentError, match=f"`target` must lie between 0 and 4. Received: target={target}"):
            saliency(model, x, target)
    for target in ([1, 2, 3], 1.5, "disc"):
        with pytest.raises(ArgumentError, match="`target` must be a class number, or one for each of 2 images"):
            guided(model, x, target)
    with pytest.raises(ArgumentError, match=r"`images` must be \(images, 3, 4, 2\)"):
        saliency(model, x[:, :2])
    with pytest.raises(ArgumentError, match="`batch_size` must be"):
        saliency(model, x, batch_size=-1)
    with pytest.raises(ArgumentError, match="`model` must have a ReLU, .* use `saliency`"):
        guided(applications.LeNet5(), np.zeros((1, 32, 32, 1)))
    assert saliency(applications.LeNet5(), np.zeros((1, 32, 32, 1))).maps.shape == (1, 32, 32)
    maps = keras.Sequential([keras.Input((3, 4, 2)), layers.Conv2D(2, 1, activation="relu")])
    with pytest.raises(ArgumentError, match="must output one vector per image"):
        saliency(maps, x)
