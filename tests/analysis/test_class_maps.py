"""Class maps: exact where they can be, and on trained networks they lie on the object."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_cnns import applications
from keras_cnns.analysis import class_activation_map, grad_cam
from keras_cnns.data import open_source
from keras_cnns.errors import ArgumentError


def random_images(model, count=3):
    (_, height, width, channels) = model.inputs[0].shape
    shape = (count, height or 24, width or 24, channels)
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def shaken(model, seed=1):
    """Biases and statistics that are not zeros and ones, so that to forget one shows."""
    random = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, (layers.Dense, layers.Conv2D, layers.BatchNormalization)):
            layer.set_weights([w if w.ndim > 1 else random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return model


def network(end, shape=(24, 24, 3), name="small"):
    """Two convolutions, the maps 6x6 with 8 channels, and an end."""
    inputs = layers.Input(shape)
    x = layers.Conv2D(6, 3, 2, "same", activation="relu", name="conv1")(inputs)
    x = layers.Conv2D(8, 3, 2, "same", activation="relu", name="conv2")(x)
    return shaken(keras.Model(inputs, end(x), name=name))


def dense(x):
    return layers.Dense(5, "softmax", name="fc")(layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x)))


def kept_dimensions(x):
    """As MobileNet ends."""
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Reshape((5,))(layers.Conv2D(5, 1, name="conv_preds")(x))
    return layers.Activation("softmax")(x)


def two_steps(x):
    x = layers.BatchNormalization()(layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    return layers.Dense(5)(layers.Identity()(x))


def average_pool(x):
    return layers.Dense(5, "softmax")(layers.Flatten()(layers.AveragePooling2D(6)(x)))


def mean_of_keras_ops(x):
    return layers.Dense(5, "softmax")(ops.reshape(ops.mean(x, axis=(-3, -2), keepdims=True), (-1, 8)))


def maps_themselves(x):
    return layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="maps")(x)))


def nested(x):
    head = keras.Sequential([layers.Input((6, 6, 8)), layers.GlobalAveragePooling2D(), layers.Dense(5)])
    return head(layers.ReLU()(x))


def shared_relu(x):
    """One layer used twice: only its second maps go into the pool."""
    relu = layers.ReLU(name="relu")
    return layers.Dense(5)(layers.GlobalAveragePooling2D()(relu(layers.Conv2D(8, 3, name="conv3")(relu(x)))))


ENDS = [dense, kept_dimensions, two_steps, average_pool, mean_of_keras_ops, maps_themselves, nested, shared_relu]


def logits_of(model, images):
    """What the softmax gets; without one, what the model gives. Up to a number for each image."""
    found = model.predict(images, verbose=0)
    has_softmax = abs(found.sum(axis=1) - 1).max() < 1e-4
    return np.log(found) if has_softmax else found


@pytest.mark.parametrize("end", ENDS)
def test_the_mean_of_a_map_plus_the_bias_is_the_logit(end):
    model = network(end)
    images = random_images(model)
    by_class = [class_activation_map(model, images, target) for target in range(5)]
    logits = np.stack([found.maps.mean(axis=(1, 2)) + found.bias for found in by_class], axis=1)
    np.testing.assert_allclose(logits, np.stack([found.scores for found in by_class], axis=1), rtol=1e-5, atol=1e-5)
    expected = logits_of(model, images)
    np.testing.assert_allclose(*(x - x.mean(axis=1, keepdims=True) for x in (logits, expected)), rtol=1e-4, atol=1e-5)
    if end is not maps_themselves:  # which has its bias in the maps
        means = np.stack([found.maps.mean(axis=(1, 2)) for found in by_class], axis=1)
        assert abs(means - logits).max() > 0.1
    else:
        np.testing.assert_array_equal(by_class[0].bias, 0)
    assert by_class[0].maps.std(axis=(1, 2)).min() > 1e-3  # they are no constants


def test_a_map_is_the_weighted_sum_of_the_channels():
    """Zhou et al. 2016, equation 2."""
    model = network(dense)
    images = random_images(model)
    maps = keras.Model(model.input, model.get_layer("conv2").output).predict(images, verbose=0)
    weights, bias = model.get_layer("fc").get_weights()
    found = class_activation_map(model, images, [4, 0, 2], batch_size=2)
    expected = np.einsum("nhwc,cn->nhw", maps, weights[:, [4, 0, 2]])
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.bias, bias[[4, 0, 2]])
    assert found.targets.tolist() == [4, 0, 2] and found.layer == "conv2" and found.image_size == (24, 24)
    wrong = np.einsum("nhwc,cn->nhw", maps, weights[:, [0, 4, 2]])
    assert abs(found.maps - wrong).max() > 0.1


def test_nins_maps_are_its_last_ones():
    model = applications.NiN()
    images = random_images(model, 2)
    last = keras.Model(model.input, model.get_layer("cccp6").output).predict(images, verbose=0)
    found = class_activation_map(model, images, 3)
    np.testing.assert_allclose(found.maps, last[..., 3], atol=1e-6)
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)), found.scores, rtol=1e-5)
    assert found.layer == "cccp6" and (found.bias == 0).all()
    assert abs(found.maps - last[..., 4]).max() > 1e-3


@pytest.mark.parametrize("name, layer", [("GoogLeNet", "inception_5b_output"), ("ResNet20", "conv4_3_out")])
def test_networks_with_a_pool_and_a_dense_layer(name, layer):
    model = shaken(getattr(applications, name)(classes=7))
    images = random_images(model, 2)
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
    model = shaken(build(**options))
    images = random_images(model, 1)
    found = class_activation_map(model, images, 3)
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + found.bias, found.scores, rtol=1e-4, atol=1e-4)
    cam = grad_cam(model, images, found.layer, 3)
    scale = abs(found.maps).max()
    np.testing.assert_allclose(cam.maps * found.maps[0].size / scale, np.maximum(found.maps, 0) / scale, atol=1e-4)


def test_half_precision_is_exact_too():
    with_policy = keras.dtype_policies.get("mixed_bfloat16")
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(with_policy)
        model = network(dense)
    finally:
        keras.config.set_dtype_policy(before)
    found = class_activation_map(model, random_images(model))
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)) + found.bias, found.scores, rtol=1e-5, atol=1e-5)


def flattened(x):
    return layers.Dense(5, "softmax", name="fc8")(layers.Flatten(name="flatten")(x))


def hidden_layer(x):
    return layers.Dense(5)(layers.Dense(7, "relu", name="fc1")(layers.GlobalAveragePooling2D()(x)))


def largest(x):
    return layers.Dense(5)(layers.GlobalMaxPooling2D(name="gmp")(x))


def part_of_the_map(x):
    return layers.Dense(5)(layers.Flatten(name="flatten")(layers.AveragePooling2D(3, name="pool")(x)))


def two_pools(x):
    pools = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    return layers.Dense(5)(layers.Concatenate(name="both")(pools))


@pytest.mark.parametrize(
    "end, name",
    [(flattened, "conv2"), (hidden_layer, "fc1"), (largest, "gmp"), (part_of_the_map, "pool"), (two_pools, "both")],
)
def test_other_ends_have_none(end, name):
    model = network(end)
    with pytest.raises(ArgumentError, match=f"`{name}` is neither. Use `grad_cam`. Received: model=small"):
        class_activation_map(model, random_images(model))
    assert grad_cam(model, random_images(model)).maps.shape == (3, 6, 6)
    inputs = layers.Input((4, 4, 5))
    with pytest.raises(ArgumentError, match="no layer stands in front of the pool"):
        class_activation_map(keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs)), np.zeros((1, 4, 4, 5)))


@pytest.mark.parametrize("end", [dense, kept_dimensions, two_steps, maps_themselves])
def test_grad_cam_is_the_positive_part_of_an_exact_map(end):
    """Selvaraju et al. 2017, section 3.1: Grad-CAM generalizes class activation maps."""
    model = network(end)
    images = random_images(model)
    exact = class_activation_map(model, images, 2)
    found = grad_cam(model, images, target=2, batch_size=2)
    assert found.layer == exact.layer and found.bias is None
    np.testing.assert_allclose(found.maps * 36, np.maximum(exact.maps, 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-5)
    other = grad_cam(model, images, target=3)
    assert abs(other.maps - found.maps).max() > 1e-3


def test_grad_cam_of_a_flattened_end():
    """The gradient of a linear layer is its weights, so that their mean over the positions weighs the channels."""
    model = network(flattened)
    images = random_images(model)
    maps = keras.Model(model.input, model.get_layer("conv2").output).predict(images, verbose=0)
    weights = model.get_layer("fc8").get_weights()[0].reshape(6, 6, 8, 5)
    found = grad_cam(model, images, "conv2", 1)
    expected = np.maximum(np.einsum("nhwc,c->nhw", maps, weights.mean(axis=(0, 1))[:, 1]), 0)
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4, atol=1e-6)
    unweighted = np.maximum(np.einsum("nhwc,hwc->nhw", maps, weights[..., 1]), 0)
    assert abs(found.maps - unweighted).max() > 0.1 * found.maps.max()
    assert grad_cam(model, images, model.get_layer("conv1")).maps.shape == (3, 12, 12)


@pytest.mark.parametrize(
    "name, layer, side",
    [("NiN", "cccp6", 8), ("LeNet5", "S4", 5), ("ResNet20", "conv4_3_out", 8)],
)
def test_the_layer_that_grad_cam_takes(name, layer, side):
    model = getattr(applications, name)()
    found = grad_cam(model, random_images(model, 1))
    assert found.layer == layer and found.maps.shape == (1, side, side)


def pooled(x):
    x = layers.MaxPooling2D(2, name="pool")(layers.Dropout(0.5)(layers.ReLU(name="relu")(x)))
    return layers.Dense(5)(layers.Flatten()(x))


def test_pools_and_dropout_are_passed_over():
    model = network(pooled)
    assert grad_cam(model, random_images(model)).layer == "relu"


# Maps at the images' size


def valid_network(padding):
    inputs = layers.Input((24, 24, 3))
    x = layers.Conv2D(4, 9, 3, padding, name="conv")(inputs)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_values_go_to_the_centers_of_what_their_positions_see(padding):
    model = valid_network(padding)
    found = class_activation_map(model, random_images(model))
    large = found.on_images()
    assert large.shape == (3, 24, 24) and large.dtype == "float32"
    # Without padding, position 0 sees the pixels 0 to 8; with it, 3 of them lie in front of the image
    first = {"valid": 4, "same": 1}[padding]
    centers = first + 3 * np.arange(found.maps.shape[1])
    np.testing.assert_allclose(large[:, centers][:, :, centers], found.maps, rtol=1e-5)
    between = (2 * found.maps[:, 1] + found.maps[:, 2]) / 3
    np.testing.assert_allclose(large[:, centers[1] + 1][:, centers], between, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(large[:, 0, 0], large[:, first, first])  # beyond the outermost center
    if padding == "valid":
        plain = dataclasses.replace(found, field=None).on_images()
        assert abs(plain - large).max() > 0.1 * abs(found.maps).max()


def test_without_a_field_positions_share_the_image():
    def resized(x):
        return dense(layers.Resizing(4, 4, name="resizing")(x))

    model = network(resized)
    found = class_activation_map(model, random_images(model))
    assert found.field is None and found.maps.shape == (3, 4, 4)
    large = found.on_images()
    # Each has 6 pixels; the middle between the third and the fourth is its own
    middle = large.reshape(3, 4, 6, 4, 6)[:, :, 2:4, :, 2:4].mean(axis=(2, 4))
    np.testing.assert_allclose(middle[:, 1:3, 1:3], found.maps[:, 1:3, 1:3], rtol=0.2, atol=0.2 * np.ptp(found.maps))
    constant = np.ones_like(found.maps)
    np.testing.assert_allclose(dataclasses.replace(found, maps=constant).on_images(), 1)


def test_a_model_for_any_size():
    model = network(dense, (None, None, 3))
    found = class_activation_map(model, np.random.default_rng(0).normal(size=(2, 40, 32, 3)))
    assert found.maps.shape == (2, 10, 8) and found.image_size == (40, 32) and found.field is not None
    assert grad_cam(model, np.zeros((1, 40, 32, 3))).on_images().shape == (1, 40, 32)


# Trained networks


def peaks_in_boxes(maps, boxes):
    """Share of the images whose map has its largest value inside the box."""
    rows, columns = np.unravel_index(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[1:])
    top, left, bottom, right = boxes.T
    return np.mean((top <= rows) & (rows < bottom) & (left <= columns) & (columns < right))


@pytest.mark.parametrize("method", [class_activation_map, grad_cam])
def test_peaks_lie_on_the_object_of_a_trained_network(method, shapes, shapes_model, untrained_shapes_model):
    height, width = (shapes.boxes[:, 2:] - shapes.boxes[:, :2]).T
    chance = np.mean(height * width) / 32**2
    assert 0.2 < chance < 0.35
    maps = method(shapes_model, shapes.images, target=shapes.labels).on_images()
    assert peaks_in_boxes(maps, shapes.boxes) > 0.95
    # In the boxes of other images, which often are around the middle too
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
    # The mean of the class's own map, nothing added, tells the classes apart
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
def test_bad_arguments(method, arguments, text):
    model = network(dense)
    with pytest.raises(ArgumentError, match="Received: ") as raised:
        method(**{"model": model, "images": random_images(model), **arguments})
    assert text in str(raised.value)


@pytest.mark.parametrize(
    "layer, text", [("conv3", "Did you mean 'conv2'"), ("fc", "`layer` must give maps"), ("relu", "used once")]
)
def test_bad_layers(layer, text):
    model = network(shared_relu if layer == "relu" else dense)
    with pytest.raises(ArgumentError, match="Received: layer=") as raised:
        grad_cam(model, random_images(model), layer)
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
def test_on_jax(python):
    done = python(ON_JAX, KERAS_BACKEND="jax")
    assert done.stdout.strip().endswith("fine"), done.stderr
