"""Transformations pixel by pixel, and networks whose invariance is known."""

import math

import keras
import numpy as np
import pytest
from analysis.helpers import SubclassedModel, random_images
from keras import layers

from keras_cnns import _render, applications
from keras_cnns.analysis import invariance_curve, transform_images
from keras_cnns.errors import ArgumentError


def moved_by_hand(image, kind, value, fill):
    """Return the transformed image, computed pixel by pixel."""
    height, width, _ = image.shape

    def at(y, x):
        return image[y, x] if 0 <= y < height and 0 <= x < width else fill

    result = np.empty_like(image)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    angle = math.radians(value) if kind == "rotation" else 0
    factor = value if kind == "scale" else 1
    for i in range(height):
        for j in range(width):
            up, right = middle_y - i, j - middle_x
            # The point that the rotation by `angle` moves to this pixel
            from_right = (right * math.cos(angle) + up * math.sin(angle)) / factor
            from_up = (up * math.cos(angle) - right * math.sin(angle)) / factor
            y, x = middle_y - from_up, middle_x + from_right
            if kind == "translation":
                y, x = i - value, j
            top, left = math.floor(y), math.floor(x)
            down, across = y - top, x - left
            above = (1 - across) * at(top, left) + across * at(top, left + 1)
            below = (1 - across) * at(top + 1, left) + across * at(top + 1, left + 1)
            result[i, j] = (1 - down) * above + down * below
    return result


@pytest.mark.parametrize("size", [(9, 9), (8, 8), (10, 7)], ids=str)
@pytest.mark.parametrize(
    "kind, values",
    [("translation", (0, 1, -3, 20)), ("scale", (1, 2, 0.5, 1.3)), ("rotation", (0, 90, 30, -45, 200, 360))],
)
def test_transformations_pixel_by_pixel(size, kind, values):
    images, fill = random_images(2, *size, 2), np.array([-0.7, 0.4], "float32")
    for value in values:
        moved = transform_images(images, kind, value, fill)
        expected = np.stack([moved_by_hand(image, kind, value, fill) for image in images])
        np.testing.assert_allclose(moved, expected, atol=1e-5, err_msg=f"{kind} {value}")
    other = {"translation": 3, "scale": 1 / 1.3, "rotation": -200}[kind]  # the control: the opposite direction
    assert np.abs(transform_images(images, kind, other, fill) - moved).max() > 0.1


def test_translations_shift_rows():
    images = random_images(1, 5, 4, 1)
    moved = transform_images(images, "translation", 2, fill=7.0)
    assert (moved[:, 2:] == images[:, :-2]).all() and (moved[:, :2] == 7).all()
    moved = transform_images(images, "translation", -1)
    assert (moved[:, :-1] == images[:, 1:]).all() and (moved[:, -1] == 0).all()


def test_right_angles_turn_counterclockwise():
    images = random_images(2, 6, 6, 3)
    for turns in range(4):
        moved = transform_images(images, "rotation", 90 * turns)
        np.testing.assert_allclose(moved, np.rot90(images, turns, (1, 2)), atol=1e-5)
    assert np.abs(transform_images(images, "rotation", 90) - np.rot90(images, -1, (1, 2))).max() > 0.1


@pytest.mark.parametrize("kind, nothing", [("translation", 0), ("scale", 1), ("rotation", 0), ("rotation", 360)])
def test_the_identity_changes_nothing(shapes, shapes_model, kind, nothing):
    images = shapes.images[:5].astype("float32")
    curve = invariance_curve(shapes_model, images, kind, [nothing])
    assert (curve.first_distance == 0).all() and (curve.last_distance == 0).all()
    np.testing.assert_allclose(curve.probability[:, 0], shapes_model.predict(images, verbose=0).max(1), atol=1e-6)


def test_distances_and_probabilities_by_hand(shapes, shapes_model):
    images = shapes.images[:300:7].astype("float32")
    values = [-4, 0, 3]
    curve = invariance_curve(
        shapes_model, images, "translation", values, target=1, first="relu2", last="maps", fill=9.0
    )
    assert (curve.kind, curve.first_layer, curve.last_layer) == ("translation", "relu2", "maps")
    assert curve.values.tolist() == values and (curve.targets == 1).all()
    for layer, distance, norm in (
        ("relu2", curve.first_distance, curve.first_norm),
        ("maps", curve.last_distance, curve.last_norm),
    ):
        part = keras.Model(shapes_model.input, shapes_model.get_layer(layer).output)
        before = part.predict(images, verbose=0)
        np.testing.assert_allclose(norm, np.sqrt((before**2).sum((1, 2, 3))), rtol=1e-4)
        for k, value in enumerate(values):
            after = part.predict(transform_images(images, "translation", value, 9.0), verbose=0)
            expected = np.sqrt(((after - before) ** 2).sum((1, 2, 3)))
            np.testing.assert_allclose(distance[:, k], expected, rtol=1e-4, atol=1e-4)
    after = shapes_model.predict(transform_images(images, "translation", -4, 9.0), verbose=0)
    np.testing.assert_allclose(curve.probability[:, 0], after[:, 1], atol=1e-5)
    own = invariance_curve(shapes_model, images, "translation", [0])
    assert (own.targets == shapes_model.predict(images, verbose=0).argmax(1)).all()


def test_a_global_average_does_not_change_under_a_shift_and_maps_do():
    """The object stays inside a plain background, so the maps only move."""
    images = np.zeros((3, 32, 32, 1), "float32")
    images[:, 12:20, 12:20] = random_images(3, 8, 8, 1)

    def network(head):
        x = inputs = keras.Input((32, 32, 1))
        for _ in range(2):
            x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        return keras.Model(inputs, layers.Dense(4, activation="softmax")(head(x)))

    shares = {}
    for head in (layers.GlobalAveragePooling2D(name="head"), layers.Flatten(name="head")):
        curve = invariance_curve(network(head), images, "translation", [-6, 6])
        assert curve.last_layer == "head"
        first, last = curve.first_distance.T / curve.first_norm, curve.last_distance.T / curve.last_norm
        shares[type(head)] = last
        assert (first > 0.5).all()
    assert (shares[layers.GlobalAveragePooling2D] < 1e-5).all()
    assert (shares[layers.Flatten] > 0.5).all()


def test_a_disc_keeps_its_class_under_rotation_and_a_triangle_loses_it(shapes, shapes_model):
    images = shapes.images[:60].astype("float32")
    labels = shapes.labels[:60]
    curve = invariance_curve(shapes_model, images, "rotation", [0, 60, 180, 240], target=labels)
    means = {kind: curve.probability[labels == k].mean(0) for k, kind in enumerate(shapes.class_names)}
    assert (means["disc"] > 0.8).all()
    for kind in ("triangle", "inverted_triangle"):  # a triangle repeats after a third of a turn
        assert means[kind][[0, 3]].min() > 0.7 and means[kind][[1, 2]].max() < 0.3


@pytest.mark.parametrize(
    "name, first, last", [("NiN", "conv1", "gap"), ("LeNet5", "C1", "F6"), ("ZFNet", "conv1", "fc7")]
)
def test_default_layers(name, first, last):
    from keras_cnns.analysis import _outputs

    model = getattr(applications, name)(kernel_initializer="zeros")
    assert (_outputs.first_layer(model), _outputs.last_layer(model)) == (first, last)


def test_auxiliary_heads_are_ignored():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, name="conv")(inputs)
    vector = layers.GlobalMaxPooling2D(name="pool")(x)
    heads = [layers.Dense(n, activation="softmax", name=name)(vector) for n, name in ((2, "predictions"), (5, "aux"))]
    curve = invariance_curve(keras.Model(inputs, heads), random_images(2, 8, 8, 1), "scale", [1, 1.5])
    assert (curve.first_layer, curve.last_layer) == ("conv", "pool") and curve.targets.max() < 2


def test_default_values(shapes, shapes_model):
    images = shapes.images[:1].astype("float32")
    assert invariance_curve(shapes_model, images, "translation").values.tolist() == list(range(-8, 9))
    assert invariance_curve(shapes_model, images, "scale").values[[0, -1]].tolist() == [1.0, 1.8]
    assert invariance_curve(shapes_model, images, "rotation").probability.shape == (1, 25)


def test_bad_arguments_are_rejected(shapes, shapes_model):
    images = shapes.images[:2].astype("float32")
    for arguments, message in (
        (("rotatoin",), "`kind` must be one of .* Did you mean 'rotation'"),
        (("translation", [0.5]), "`values` must be a list of whole pixels"),
        (("scale", [0, 1]), "`values` must be a list of factors above 0"),
        (("rotation", []), "`values` must be a list of degrees"),
        (("scale", [1], 3), "`target` must lie between 0 and 2"),
        (("scale", [1], 0, "conv9"), "must be a layer of shapes. Did you mean 'conv"),
    ):
        with pytest.raises(ArgumentError, match=message):
            invariance_curve(shapes_model, images, *arguments)
    with pytest.raises(ArgumentError, match="`images` must be"):
        invariance_curve(shapes_model, images[:, :16], "scale")
    with pytest.raises(ArgumentError, match="`fill` must be a number, or one for each channel"):
        transform_images(images, "scale", 2, fill=[1, 2])

    with pytest.raises(ArgumentError, match="the model has no known input"):
        invariance_curve(SubclassedModel(), images, "scale")
    channels_first = keras.Sequential(
        [keras.Input((3, 32, 32)), layers.GlobalMaxPooling2D(data_format="channels_first")]
    )
    with pytest.raises(ArgumentError, match="`model` must have its channels last"):
        invariance_curve(channels_first, np.zeros((1, 3, 32, 32)), "scale")


def test_invariance_curves(shapes, shapes_model, tmp_path):
    from PIL import Image

    images = shapes.images[:9].astype("float32")
    for count in (4, 9):
        curves = [invariance_curve(shapes_model, images[:count], kind, [1, 2]) for kind in ("scale", "rotation")]
        path = tmp_path / f"{count}.png"
        _render.invariance_curves(curves, path, "Invariance", shapes.class_names)
        assert Image.open(path).size[0] > 1000


JAX = """
import sys
import numpy as np, keras
keras.utils.set_random_seed(0)
from keras import layers
from keras_cnns import analysis
model = keras.Sequential([keras.Input((12, 12, 2)), layers.Conv2D(4, 3, activation="relu", name="conv"),
    layers.BatchNormalization(), layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax", name="dense")])
random = np.random.default_rng(0)
model.set_weights([random.uniform(0.1, 0.5, w.shape) - 0.2 * (w.ndim > 1) for w in model.get_weights()])
images = random.normal(size=(6, 12, 12, 2)).astype("float32")
labels = np.arange(6) % 3
curves = [analysis.invariance_curve(model, images, kind, [1, 3]) for kind in ("translation", "scale", "rotation")]
part = analysis.correspondence(model, images, (2, 3, 7, 8), "conv", permutations=99)
(activity,) = analysis.unit_activity(model, images)
flows = [analysis.gradient_flow(model, images, labels, training=training) for training in (False, True)]
snapshots = analysis.FeatureSnapshots(images, "conv", (0, 2))
model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
vectors = analysis.features(model, images)
model.fit(images, labels, shuffle=False, batch_size=6, epochs=2, verbose=0, callbacks=[snapshots])
np.savez(sys.argv[1], *[x for c in curves for x in (c.first_distance, c.last_distance, c.probability)],
    [part.score, part.p_value], activity.mean, activity.zeros, [[layer.ratio for layer in flow] for flow in flows],
    vectors, snapshots.maps["conv"])
"""


@pytest.mark.slow
def test_jax_gives_the_same_results(python, tmp_path):
    """Also for correspondence, unit activity, gradient flow, features and snapshots."""
    found = []
    for backend in ("tensorflow", "jax"):
        path = tmp_path / f"{backend}.npz"
        done = python(JAX, path, KERAS_BACKEND=backend)
        assert done.returncode == 0, done.stderr
        found.append(np.load(path))
    assert len(found[0].files) == 15
    for name in found[0].files:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=2e-3, atol=1e-4, err_msg=name)
