"""Weights from another network, and layers that keep theirs."""

import keras
import numpy as np
import pytest

from keras_cnns import applications
from keras_cnns.errors import ArgumentError
from keras_cnns.training import freeze, transfer_weights

NET_A = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]  # VGG, section 3.1


def network(widths=(4, 6, 3), name="net"):
    x = inputs = keras.Input((8,))
    for k, width in enumerate(widths):
        x = keras.layers.Dense(width, "relu", name=f"fc{k}")(x)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="bn")(x), name=name)


def same(one, other, name):
    pairs = zip(one.get_layer(name).get_weights(), other.get_layer(name).get_weights(), strict=True)
    return all((a == b).all() for a, b in pairs)


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
    """The convolutions alone, as the dense layers of a whole one fill half a gigabyte."""
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
        (lambda: freeze(network(), ["fc0", "fx1"]), "Did you mean 'fc1'"),
        (lambda: freeze(network(), "fc0"), "`names` must be a list"),
    ],
)
def test_errors(call, message):
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
    freeze(model, ["fc0", "bn"])
    model.compile("sgd", "mse")
    random = np.random.default_rng(0)
    model.fit(random.normal(size=(32, 8)), random.normal(size=(32, 3)), verbose=0)
    assert same(model, start, "fc0") and same(model, start, "bn") and not same(model, start, "fc1")
