"""Unit activity and gradient flow, against values computed by hand."""

import keras
import numpy as np
import pytest
from analysis.helpers import SubclassedModel, random_images
from keras import layers, ops

from keras_cnns import _render
from keras_cnns.analysis import _gradients, gradient_flow, unit_activity
from keras_cnns.errors import ArgumentError


def three_units(separate=False):
    """Return a network with units of 0, 1.5, and the image's positive part."""
    inputs = keras.Input((6, 5, 1))
    conv = layers.Conv2D(3, 1, activation=None if separate else "relu", name="conv")
    x = conv(inputs)
    conv.set_weights([np.array([0.0, 0.0, 1.0]).reshape(1, 1, 1, 3), np.array([-1.0, 1.5, 0.0])])
    x = layers.ReLU(name="relu")(x) if separate else x
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax", name="dense")(x), name="three")


# ---- activity


@pytest.mark.parametrize("separate", [False, True])
def test_activity_of_constructed_units(separate):
    images = random_images(40, 6, 5, 1)
    (found,) = unit_activity(three_units(separate), images)
    assert found.layer == ("relu" if separate else "conv") and found.dead.tolist() == [0]
    positive = np.maximum(images, 0)
    np.testing.assert_allclose(found.mean, [0, 1.5, positive.mean()], rtol=1e-5)
    np.testing.assert_allclose(found.maximum, [0, 1.5, positive.max()], rtol=1e-6)
    np.testing.assert_allclose(found.zeros, [1, 0, (images <= 0).mean()], rtol=1e-6)
    assert found.sparsity == pytest.approx((1 + (images <= 0).mean()) / 3)
    (silent,) = unit_activity(three_units(separate), -np.abs(images))  # whether a unit is dead depends on the images
    assert silent.dead.tolist() == [0, 2]


def test_batches_of_any_kind_give_the_same_activity():
    import tensorflow as tf

    images = random_images(40, 6, 5, 1)
    model = three_units()
    (whole,) = unit_activity(model, images)
    dataset = tf.data.Dataset.from_tensor_slices((images, np.zeros(40))).batch(16)
    for batches in ([images[:7], images[7:8], images[8:]], dataset, ((images[k : k + 9], 0) for k in range(0, 40, 9))):
        (found,) = unit_activity(model, batches)
        for name in ("mean", "maximum", "zeros"):
            np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-5, err_msg=name)


def test_default_and_named_layers(shapes, shapes_model):
    images = shapes.images[:8].astype("float32")
    assert [activity.layer for activity in unit_activity(shapes_model, images)] == ["relu1", "relu2", "relu3"]
    found = unit_activity(shapes_model, images, ["conv1", shapes_model.get_layer("gap")])
    assert [(activity.layer, len(activity.mean)) for activity in found] == [("conv1", 16), ("gap", 3)]
    part = keras.Model(shapes_model.input, shapes_model.get_layer("conv1").output)
    np.testing.assert_allclose(found[0].mean, part.predict(images, verbose=0).mean((0, 1, 2)), rtol=1e-4, atol=1e-4)
    tanh = keras.Sequential(
        [keras.Input((6, 5, 1)), layers.Conv2D(2, 3, activation="tanh", name="c"), layers.Flatten()]
    )
    assert [activity.layer for activity in unit_activity(tanh, random_images(2, 6, 5, 1))] == ["c"]


def test_a_layer_used_twice_has_two_activities():
    inputs = keras.Input((4, 4, 1))
    relu = layers.ReLU(name="relu")
    x = layers.GlobalMaxPooling2D()(relu(-relu(inputs) - 1))
    first, second = unit_activity(keras.Model(inputs, x), random_images(3, 4, 4, 1))
    assert first.layer == second.layer == "relu" and len(first.dead) == 0 and len(second.dead) == 1


# ---- gradients


def test_the_gradient_of_a_linear_classifier():
    """It is images.T @ (probabilities - one-hot labels) / images."""
    model = keras.Sequential([keras.Input((3, 2, 1)), layers.Flatten(), layers.Dense(4, "softmax", name="dense")])
    images, labels = random_images(7, 3, 2, 1), np.array([0, 1, 2, 3, 0, 1, 1])
    errors = (model.predict(images, verbose=0) - np.eye(4)[labels]) / 7
    kernel, bias = images.reshape(7, 6).T @ errors, errors.sum(0)
    (flow,) = gradient_flow(model, images, labels)
    assert flow.layer == "dense"  # the name in the model, not that of the copy without softmax
    assert flow.gradient_norm == pytest.approx(np.sqrt((kernel**2).sum() + (bias**2).sum()), rel=1e-5)
    assert flow.weight_norm == pytest.approx(np.linalg.norm(model.get_weights()[0]), rel=1e-5)
    assert flow.ratio == pytest.approx(flow.gradient_norm / flow.weight_norm)
    (other,) = gradient_flow(model, images, (labels + 1) % 4)
    assert other.gradient_norm != pytest.approx(flow.gradient_norm, rel=1e-2)
    (same,) = gradient_flow(model, images, labels, loss="sparse_categorical_crossentropy")
    assert same.gradient_norm == pytest.approx(flow.gradient_norm, rel=1e-4)
    (squares,) = gradient_flow(model, images, np.eye(4)[labels], loss=lambda y, p: ops.mean((y - p) ** 2))
    assert squares.gradient_norm < flow.gradient_norm


def test_gradients_of_a_network_by_small_steps():
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(2, 3, activation="tanh", name="conv")(inputs)
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    model = keras.Model(inputs, layers.Dense(3, name="dense")(x))
    images, labels = random_images(5, 6, 6, 1), np.array([0, 1, 2, 0, 1])

    def loss():
        logits = model.predict_on_batch(images).astype("float64")
        return np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels])

    weights, squares = model.get_weights(), [0.0] * 4
    for k, weight in enumerate(weights):
        for index in np.ndindex(weight.shape):
            losses = []
            for step in (0.02, -0.02):
                changed = [w.copy() for w in weights]
                changed[k][index] += step
                model.set_weights(changed)
                losses.append(loss())
            squares[k] += ((losses[0] - losses[1]) / 0.04) ** 2
    model.set_weights(weights)
    flows = gradient_flow(model, images, labels)
    assert [flow.layer for flow in flows] == ["conv", "dense"]
    for flow, steps in zip(flows, (squares[:2], squares[2:]), strict=True):
        assert flow.gradient_norm == pytest.approx(np.sqrt(sum(steps)), rel=2e-3)


def test_training_uses_the_statistics_of_the_batch(shapes, shapes_model):
    """A kernel's scale does not matter then, so its gradient is orthogonal."""
    images, labels = shapes.images[:24].astype("float32"), shapes.labels[:24]
    labels = (labels + 1) % 3  # wrong labels have large gradients
    before = [np.array(w) for w in shapes_model.get_weights()]
    names = [v.path for v in shapes_model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy()
    cosines = {}
    for training in (True, False):
        found = _gradients.weight_gradients(shapes_model, images, lambda outputs: loss(labels, outputs), training)
        gradient = found[names.index("conv2/kernel")]
        kernel = np.asarray(shapes_model.get_layer("conv2").kernel)
        cosines[training] = abs((gradient * kernel).sum()) / np.linalg.norm(gradient) / np.linalg.norm(kernel)
    assert cosines[True] < 2e-3 < 1e-2 < cosines[False]
    for now, was in zip(shapes_model.get_weights(), before, strict=True):
        assert (now == was).all()  # moving averages are unchanged too
    flows = [gradient_flow(shapes_model, images, labels, training=training) for training in (True, False)]
    assert flows[0][0].gradient_norm != pytest.approx(flows[1][0].gradient_norm, rel=1e-3)


def test_gradients_vanish_in_deep_sigmoid_networks():
    def share(activation, initializer):
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
        for k in range(12):
            model.add(layers.Dense(32, activation, kernel_initializer=initializer, name=f"dense{k}"))
        model.add(layers.Dense(3, "softmax"))
        flows = gradient_flow(model, random_images(16, 8, 8, 1), np.arange(16) % 3)
        return flows[1].gradient_norm / flows[11].gradient_norm

    assert share("sigmoid", "glorot_uniform") < 1e-4 < 0.05 < share("relu", "he_normal")


def test_nested_and_frozen_layers_and_auxiliary_heads():
    body = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="conv"), layers.Flatten()], name="body")
    inputs = keras.Input((8, 8, 1))
    x = body(inputs)
    heads = [layers.Dense(2, "softmax", name=name)(x) for name in ("predictions", "aux")]
    frozen = layers.Dense(3, name="frozen", trainable=False)
    model = keras.Model(inputs, [layers.Dense(2, "softmax", name="predictions")(frozen(x)), heads[1]])
    flows = gradient_flow(model, random_images(4, 8, 8, 1), np.array([0, 1, 0, 1]))
    assert [flow.layer for flow in flows] == ["body/conv", "predictions"]
    assert all(flow.gradient_norm > 0 for flow in flows)


# ---- both


def test_bad_arguments_are_rejected(shapes, shapes_model):
    images, labels = shapes.images[:3].astype("float32"), shapes.labels[:3]
    with pytest.raises(ArgumentError, match="must be a layer of shapes. Did you mean 'relu"):
        unit_activity(shapes_model, images, ["relu7"])
    with pytest.raises(ArgumentError, match="`images` must have an image"):
        unit_activity(shapes_model, [])
    with pytest.raises(ArgumentError, match="`images` must be"):
        unit_activity(shapes_model, [images[..., :1]])
    for wrong in ([0, 1], [0, 1, 3], [0.0, 1.0, 2.0]):
        with pytest.raises(ArgumentError, match=r"`labels` must be whole numbers \(3,\) from 0 to 2"):
            gradient_flow(shapes_model, images, wrong)
    fixed = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten()])
    with pytest.raises(ArgumentError, match="`model` must have trainable weights"):
        gradient_flow(fixed, random_images(1, 4, 4, 1), [0])

    with pytest.raises(ArgumentError, match="no known input"):
        unit_activity(SubclassedModel(), images)
    assert len(labels) == 3


def test_charts(shapes, shapes_model, tmp_path):
    from PIL import Image

    images, labels = shapes.images[:8].astype("float32"), shapes.labels[:8]
    _render.unit_activity_chart(unit_activity(shapes_model, images), tmp_path / "units.png", "Units")
    _render.gradient_flow_chart(gradient_flow(shapes_model, images, labels), tmp_path / "gradients.png", "Gradients")
    dead = unit_activity(three_units(), -np.ones((1, 6, 5, 1), "float32"))
    _render.unit_activity_chart(dead, tmp_path / "dead.png", "Units")
    for name in ("units", "gradients", "dead"):
        assert Image.open(tmp_path / f"{name}.png").size[0] > 600
