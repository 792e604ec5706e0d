"""Class activation maps: exact, and on the object in trained networks."""

import dataclasses

import keras
import numpy as np
import pytest
from analysis.class_map_networks import (
    average_pool,
    dense,
    flattened,
    hidden_layer,
    kept_dimensions,
    largest,
    maps_themselves,
    mean_of_keras_ops,
    nested,
    network,
    part_of_the_map,
    randomize_vectors,
    shared_relu,
    two_pools,
    two_steps,
)
from analysis.helpers import images_for, peaks_in_boxes
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import class_activation_map, grad_cam
from keras_cnns.data import open_source
from keras_cnns.errors import ArgumentError

ENDS = [dense, kept_dimensions, two_steps, average_pool, mean_of_keras_ops, maps_themselves, nested, shared_relu]


def logits_of(model, images):
    """Return the logits up to a constant per image."""
    found = model.predict(images, verbose=0)
    has_softmax = abs(found.sum(axis=1) - 1).max() < 1e-4
    return np.log(found) if has_softmax else found


@pytest.mark.parametrize("end", ENDS)
def test_the_mean_of_a_map_plus_the_bias_is_the_logit(end):
    model = network(end)
    images = images_for(model)
    by_class = [class_activation_map(model, images, target) for target in range(5)]
    logits = np.stack([found.maps.mean(axis=(1, 2)) + found.bias for found in by_class], axis=1)
    np.testing.assert_allclose(logits, np.stack([found.scores for found in by_class], axis=1), rtol=1e-5, atol=1e-5)
    expected = logits_of(model, images)
    np.testing.assert_allclose(*(x - x.mean(axis=1, keepdims=True) for x in (logits, expected)), rtol=1e-4, atol=1e-5)
    if end is not maps_themselves:  # whose maps contain the bias
        means = np.stack([found.maps.mean(axis=(1, 2)) for found in by_class], axis=1)
        assert abs(means - logits).max() > 0.1
    else:
        np.testing.assert_array_equal(by_class[0].bias, 0)
    assert by_class[0].maps.std(axis=(1, 2)).min() > 1e-3  # the maps are not constant


def test_a_map_is_the_weighted_sum_of_the_channels():
    """Zhou et al. 2016, equation 2."""
    model = network(dense)
    images = images_for(model)
    maps = keras.Model(model.input, model.get_layer("conv2").output).predict(images, verbose=0)
    weights, bias = model.get_layer("fc").get_weights()
    found = class_activation_map(model, images, [4, 0, 2], batch_size=2)
    expected = np.einsum("nhwc,cn->nhw", maps, weights[:, [4, 0, 2]])
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.bias, bias[[4, 0, 2]])
    assert found.targets.tolist() == [4, 0, 2] and found.layer == "conv2" and found.image_size == (24, 24)
    wrong = np.einsum("nhwc,cn->nhw", maps, weights[:, [0, 4, 2]])
    assert abs(found.maps - wrong).max() > 0.1


def test_maps_of_network_in_network_are_its_last_maps():
    model = applications.NiN()
    images = images_for(model, 2)
    last = keras.Model(model.input, model.get_layer("cccp6").output).predict(images, verbose=0)
    found = class_activation_map(model, images, 3)
    np.testing.assert_allclose(found.maps, last[..., 3], atol=1e-6)
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)), found.scores, rtol=1e-5)
    assert found.layer == "cccp6" and (found.bias == 0).all()
    assert abs(found.maps - last[..., 4]).max() > 1e-3


@pytest.mark.parametrize("name, layer", [("GoogLeNet", "inception_5b_output"), ("ResNet20", "conv4_3_out")])
def test_networks_with_a_pool_and_a_dense_layer(name, layer):
    model = randomize_vectors(getattr(applications, name)(classes=7))
    images = images_for(model, 2)
    found = class_activation_map(model, images)
    assert found.layer == layer and found.bias.all()
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + found.bias, found.scores, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.targets, model.predict(images, verbose=0).argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "build, options",
    [
        (applications.ResNet18V2, {}),
        (applications.InceptionV3, {"auxiliary": True}),
        (applications.NiNImageNet, {}),
        (keras.applications.MobileNet, {"weights": None}),
        (keras.applications.DenseNet121, {"weights": None}),
        (keras.applications.EfficientNetB0, {"weights": None}),
    ],
)
def test_larger_networks(build, options):
    model = randomize_vectors(build(**options))
    images = images_for(model, 1)
    found = class_activation_map(model, images, 3)
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + found.bias, found.scores, rtol=1e-4, atol=1e-4)
    cam = grad_cam(model, images, found.layer, 3)
    scale = abs(found.maps).max()
    np.testing.assert_allclose(cam.maps * found.maps[0].size / scale, np.maximum(found.maps, 0) / scale, atol=1e-4)


def test_half_precision_is_exact():
    with_policy = keras.dtype_policies.get("mixed_bfloat16")
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(with_policy)
        model = network(dense)
    finally:
        keras.config.set_dtype_policy(before)
    found = class_activation_map(model, images_for(model))
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + found.bias, found.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "end, name",
    [(flattened, "conv2"), (hidden_layer, "fc1"), (largest, "gmp"), (part_of_the_map, "pool"), (two_pools, "both")],
)
def test_other_ends_have_no_class_activation_map(end, name):
    model = network(end)
    with pytest.raises(ArgumentError, match=f"`{name}` is neither. Use `grad_cam`. Received: model=small"):
        class_activation_map(model, images_for(model))
    assert grad_cam(model, images_for(model)).maps.shape == (3, 6, 6)
    inputs = layers.Input((4, 4, 5))
    with pytest.raises(ArgumentError, match="no layer stands in front of the pool"):
        class_activation_map(keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs)), np.zeros((1, 4, 4, 5)))


# ---- maps at the images' size


def valid_network(padding):
    inputs = layers.Input((24, 24, 3))
    x = layers.Conv2D(4, 9, 3, padding, name="conv")(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_values_are_at_the_centers_of_receptive_fields(padding):
    model = valid_network(padding)
    found = class_activation_map(model, images_for(model))
    large = found.on_images()
    assert large.shape == (3, 24, 24) and large.dtype == "float32"
    # Without padding, position 0 sees pixels 0 to 8; with padding, 3 of them lie in front of the image.
    first = {"valid": 4, "same": 1}[padding]
    centers = first + 3 * np.arange(found.maps.shape[1])
    np.testing.assert_allclose(large[:, centers][:, :, centers], found.maps, rtol=1e-5)
    between = (2 * found.maps[:, 1] + found.maps[:, 2]) / 3
    np.testing.assert_allclose(large[:, centers[1] + 1][:, centers], between, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(large[:, 0, 0], large[:, first, first])  # beyond the outermost center
    if padding == "valid":
        plain = dataclasses.replace(found, field=None).on_images()
        assert abs(plain - large).max() > 0.1 * abs(found.maps).max()


def test_without_a_receptive_field_positions_divide_the_image():
    def resized(x):
        return dense(layers.Resizing(4, 4, name="resizing")(x))

    model = network(resized)
    found = class_activation_map(model, images_for(model))
    assert found.field is None and found.maps.shape == (3, 4, 4)
    large = found.on_images()
    # Each position has 6 pixels, and its center is between the third and the fourth.
    middle = large.reshape(3, 4, 6, 4, 6)[:, :, 2:4, :, 2:4].mean(axis=(2, 4))
    np.testing.assert_allclose(middle[:, 1:3, 1:3], found.maps[:, 1:3, 1:3], rtol=0.2, atol=0.2 * np.ptp(found.maps))
    constant = np.ones_like(found.maps)
    np.testing.assert_allclose(dataclasses.replace(found, maps=constant).on_images(), 1)


def test_a_model_of_open_size():
    model = network(dense, (None, None, 3))
    found = class_activation_map(model, np.random.default_rng(0).normal(size=(2, 40, 32, 3)))
    assert found.maps.shape == (2, 10, 8) and found.image_size == (40, 32) and found.field is not None
    assert grad_cam(model, np.zeros((1, 40, 32, 3))).on_images().shape == (1, 40, 32)


# ---- trained networks


@pytest.mark.parametrize("method", [class_activation_map, grad_cam])
def test_peaks_lie_on_the_object_of_a_trained_network(method, shapes, shapes_model, untrained_shapes_model):
    height, width = (shapes.boxes[:, 2:] - shapes.boxes[:, :2]).T
    chance = np.mean(height * width) / 32**2
    assert 0.2 < chance < 0.35
    maps = method(shapes_model, shapes.images, target=shapes.labels).on_images()
    assert peaks_in_boxes(maps, shapes.boxes) > 0.95
    # The control: boxes of other images, many of which are near the center too.
    assert peaks_in_boxes(maps, np.roll(shapes.boxes, 1, axis=0)) < 0.7
    untrained = method(untrained_shapes_model, shapes.images, target=shapes.labels).on_images()
    assert peaks_in_boxes(untrained, shapes.boxes) < chance


def test_peaks_lie_on_the_digit_in_the_network_that_ships(digits_model):
    model, info = digits_model
    test = open_source("digits").split("test")
    images = np.asarray(info.preprocessing.normalize(test.items[:60].astype("float32")))
    boxes = []
    for image in test.items[:60, ..., 0]:
        where = np.argwhere(image > 128)
        boxes.append([*where.min(axis=0), *where.max(axis=0) + 1])
    boxes = np.array(boxes)
    chance = np.mean(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) / 32**2
    found = class_activation_map(model, images, test.labels[:60])
    assert peaks_in_boxes(found.on_images(), boxes) > 0.9 > chance + 0.2
    untrained = class_activation_map(applications.NiN(**info.network), images, test.labels[:60])
    assert peaks_in_boxes(untrained.on_images(), boxes) < chance + 0.1
    # Network in Network has no bias after the pool: the mean of the map alone is the logit.
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)), found.scores, rtol=1e-5)
    right = class_activation_map(model, images)
    assert (right.targets == test.labels[:60]).mean() > 0.95


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"target": 5}, "`target` must lie between 0 and 4"),
        ({"target": [0, 1]}, "one for each of 3 images"),
        ({"target": 1.5}, "`target`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"images": np.zeros((1, 8, 8, 3))}, "`images` must be (images, 24, 24, 3)"),
        ({"images": np.full((1, 24, 24, 3), np.nan)}, "finite"),
    ],
)
@pytest.mark.parametrize("method", [class_activation_map, grad_cam])
def test_bad_arguments_are_rejected(method, arguments, text):
    model = network(dense)
    with pytest.raises(ArgumentError, match="Received: ") as raised:
        method(**{"model": model, "images": images_for(model), **arguments})
    assert text in str(raised.value)


ON_JAX = """
import keras, numpy as np
from keras import layers
from keras_cnns.analysis import class_activation_map, filters, grad_cam, occlusion_map
assert keras.backend.backend() == "jax"
inputs = layers.Input((12, 12, 3))
x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
model = keras.Model(inputs, layers.Dense(3, "softmax", bias_initializer="normal")(layers.GlobalAveragePooling2D()(x)))
images = np.random.default_rng(0).normal(size=(3, 12, 12, 3))
exact, cam = class_activation_map(model, images, 1), grad_cam(model, images, target=1)
np.testing.assert_allclose(exact.maps.mean(axis=(1, 2)) + exact.bias, exact.scores, rtol=1e-4, atol=1e-5)
np.testing.assert_allclose(cam.maps * 100, np.maximum(exact.maps, 0), rtol=1e-4, atol=1e-4)
assert occlusion_map(model, images).scores.shape == (3, 10, 10) and filters(model, "conv").shape == (4, 3, 3, 3)
print("fine")
"""


@pytest.mark.slow
def test_class_maps_on_jax(python):
    done = python(ON_JAX, KERAS_BACKEND="jax")
    assert done.stdout.strip().endswith("fine"), done.stderr
