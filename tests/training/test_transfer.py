"""Weights from another network, and frozen layers."""

import re
import warnings

import keras
import numpy as np
import pytest

from keras_cnns import applications, recipes
from keras_cnns.data.sources import Source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.saving import load_model
from keras_cnns.training import freeze, train, transfer_weights

NET_A = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]  # VGG, section 3.1


def network(widths=(4, 6, 3), name="net"):
    x = inputs = keras.Input((8,))
    for k, width in enumerate(widths):
        x = keras.layers.Dense(width, "relu", name=f"fc{k}")(x)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="bn")(x), name=name)


def same(model, other, name):
    pairs = zip(model.get_layer(name).get_weights(), other.get_layer(name).get_weights(), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, atol=1e-8) for a, b in pairs)


def test_layers_that_fit_are_copied():
    model, source = network(), network((4, 6, 5))
    source.get_layer("fc0").bias.assign(np.arange(4.0))
    before = model.get_layer("fc2").get_weights()[0]
    assert transfer_weights(model, source) == ["fc0", "fc1"]
    assert same(model, source, "fc0") and same(model, source, "fc1")
    assert (model.get_layer("fc2").get_weights()[0] == before).all()
    model = network()
    assert transfer_weights(model, source, ["fc1"]) == ["fc1"] and not same(model, source, "fc0")


def test_the_deep_vggs_start_from_net_a():
    """Only the convolutions, because the dense layers fill half a gigabyte."""
    small = {"include_top": False, "input_shape": (32, 32, 3)}
    deep, net_a = applications.VGG16(**small), applications.VGG11(**small)
    assert transfer_weights(deep, net_a, NET_A[:4]) == NET_A[:4]
    assert all(same(deep, net_a, name) for name in NET_A[:4]) and not same(deep, net_a, "conv4_1")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: transfer_weights(network(), network(), ["fc9"]), "net has no layer with weights of that name"),
        (lambda: transfer_weights(network(), network((4, 6, 5), "other"), ["fc0", "fc2"]), "fc2 has .*6, 3.*6, 5"),
        (
            lambda: transfer_weights(network(), network((5, 7, 5), "other")),
            "net has no layer with the name and the sha",
        ),
        (lambda: transfer_weights(network(), network(), "fc0"), "`layers` must be a list"),
        (lambda: freeze(network(), ["fc0", "fx1"]), "the nearest are fc1, .*Received: names: 'fx1'"),
        (lambda: freeze(network(), ["fc*", "bn"]), "must keep layers that train"),
        (lambda: freeze(network(), "fc0"), "`names` must be a list"),
    ],
)
def test_layers_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_nothing_is_copied_or_frozen_where_one_does_not_fit():
    model, source = network(), network((4, 6, 5))
    with pytest.raises(ArgumentError):
        transfer_weights(model, source, ["fc0", "fc2"])
    with pytest.raises(ArgumentError):
        freeze(model, ["fc0", "none"])
    assert not same(model, source, "fc0") and model.get_layer("fc0").trainable


def test_frozen_layers_keep_their_weights(tmp_path):
    model, start = network(), network()
    start.set_weights(model.get_weights())
    freeze(model, ["fc[0]", "bn"])
    model.compile("sgd", "mse")
    random = np.random.default_rng(0)
    model.fit(random.normal(size=(32, 8)), random.normal(size=(32, 3)), verbose=0)
    assert same(model, start, "fc0") and same(model, start, "bn") and not same(model, start, "fc1")


# ---- Training from trained weights

STILL = recipes.FINE_TUNING.replace(epochs=1, batch_size=16, learning_rate=1e-12, warmup_steps=0, precision="float32")


def noise(class_names, size=28):
    """Return a source of gray noise."""
    images = np.random.default_rng(0).integers(0, 256, (40, size, size, 1), dtype="uint8")
    return Source("noise", class_names, (size, size, 1), {"train": ArraySplit(images, np.arange(40) % 2)})


DIGITS = tuple("0123456789")


@pytest.mark.parametrize(
    "class_names, kept",
    [
        (DIGITS[::-1], True),
        pytest.param(tuple("abcdefghij"), False, marks=pytest.mark.slow),
        pytest.param(("even", "odd"), False, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_training_starts_from_trained_weights(class_names, kept, tmp_path):
    """With nearly no learning rate, only a new classifier differs."""
    weights = applications.weights_info("NiN", "mnist")
    run = (applications.NiN, noise(class_names), STILL, tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        info = train(*run, weights=weights, quiet=True)
    assert sum(bool(re.search("cccp6 must be trained from scratch", str(warning.message))) for warning in caught) == (
        not kept
    )
    begun, shipped = load_model(tmp_path / "model.keras"), load_model(weights.path)
    layers = [layer.name for layer in begun.layers if layer.weights]
    differing = [name for name in layers if not same(begun, shipped, name)]
    assert len(layers) == 9 and differing == ([] if kept else ["cccp6"])
    if not kept:
        maps = begun.get_layer("cccp6")  # As the builder initializes them
        assert np.std(maps.kernel) == pytest.approx(0.01, rel=0.2) and np.allclose(maps.bias, 1)
    assert info.preprocessing == weights.preprocessing and info.network["variant"] == "mnist"
    assert info.network["classes"] == len(class_names) and info.training["weights"] == "mnist"
    assert info.training["earlier"] == [weights.training["command"]]
    assert applications.create_model(info.builder, **info.network).count_params() == begun.count_params()
    with pytest.raises(ArgumentError, match="holds another run"):
        train(*run, resume=True, quiet=True)


def test_trained_weights_keep_their_size(tmp_path):
    weights, source = applications.weights_info("NiN", "mnist"), noise(DIGITS, 20)
    info = train(applications.NiN, source, STILL, tmp_path / "own", weights=weights, quiet=True)
    assert info.network["input_shape"] == (28, 28, 1) and info.preprocessing.shape == (28, 28, 1)
    assert info.preprocessing.mean == weights.preprocessing.mean
    with pytest.raises(ArgumentError, match=r"`input_shape` must be \(28, 28, 1\) with weights='mnist'"):
        train(applications.NiN, source, STILL, tmp_path / "other", weights=weights, input_size=24, quiet=True)
