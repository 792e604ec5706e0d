"""Top activations against an exhaustive search, and feature maps."""

import weakref

import keras
import numpy as np
import pytest
from analysis.helpers import random_images
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import TopActivations, feature_maps, receptive_field, top_activations
from keras_cnns.errors import ArgumentError


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((16, 14, 2))
    x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1")(x)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Dense(4, "relu", name="dense")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(3, "softmax", name="predictions")(x), name="small")


@pytest.fixture(scope="module")
def images():
    return random_images(100, 16, 14, 2)


def search(maps, unit, count=9):
    """Return (image, value, position) of the strongest activations by an exhaustive search."""
    strongest = []
    for n, image_maps in enumerate(maps):
        best, where = -np.inf, None
        for place in np.ndindex(image_maps.shape[:-1]):
            if image_maps[(*place, unit)] > best:
                best, where = image_maps[(*place, unit)], place
        strongest.append((n, best, where))
    return sorted(strongest, key=lambda row: -row[1])[:count]


@pytest.mark.parametrize("layer", ["conv1", "pool1", "conv2", "dense", "predictions"])
def test_top_activations_equal_an_exhaustive_search(model, images, layer):
    maps = feature_maps(model, images, layer)
    for unit in (0, 2):
        top, wanted = top_activations(model, images, layer, unit), search(maps, unit)
        assert (top.layer, top.unit) == (layer, unit) and isinstance(top, TopActivations)
        assert list(top.indices) == [n for n, _, _ in wanted]
        np.testing.assert_allclose(top.values, [value for _, value, _ in wanted], rtol=1e-5)
        assert [tuple(place) for place in top.positions] == [place for _, _, place in wanted]
        np.testing.assert_array_equal(top.images, images[top.indices])
        assert top.values.dtype == top.images.dtype == "float32" and top.indices.dtype == "int64"


def test_each_image_counts_once_by_its_maximum(model, images):
    """The controls rank single positions, and means of maps."""
    top = top_activations(model, images, "conv1", 1)
    maps = feature_maps(model, images, "conv1")[..., 1]
    assert len(set(top.indices)) == 9
    by_position = np.argsort(-maps.ravel(), kind="stable")[:9] // maps[0].size
    assert len(set(by_position)) < 9 and list(by_position) != list(top.indices)
    assert list(np.argsort(-maps.mean((1, 2)))[:9]) != list(top.indices)


def test_boxes_are_the_receptive_fields(model, images):
    """The unit depends only on pixels inside its box."""
    field = receptive_field(model, "conv2")
    assert field.size == (8, 8)
    top = top_activations(model, images, "conv2", 1, count=100)
    random = np.random.default_rng(1)
    sizes = set()
    for n, (top_row, left, bottom, right) in enumerate(top.boxes):
        center = np.array(field.offset) + top.positions[n] * field.stride
        assert (np.clip(center - 3.5, 0, None) == (top_row, left)).all()
        assert (np.minimum(center + 4.5, (16, 14)) == (bottom, right)).all()
        sizes.add((bottom - top_row, right - left))
        inside = np.zeros((16, 14, 1), bool)
        inside[top_row:bottom, left:right] = True
        noise = random.normal(size=(16, 14, 2))
        where = (n, *top.positions[n], 1)
        changed = [np.where(inside == kept, top.images[n], noise) for kept in (True, False)]
        kept, lost = (feature_maps(model, image[None], "conv2")[(0, *where[1:])] for image in changed)
        np.testing.assert_allclose(kept, top.values[n], rtol=1e-5, atol=1e-6)
        assert top.values[n] == 0 or abs(lost - top.values[n]) > 1e-5
    assert (8, 8) in sizes and len(sizes) > 2
    crops = top.crop(top.images)
    assert all(crop.shape == (b - t, r - lo, 2) for crop, (t, lo, b, r) in zip(crops, top.boxes, strict=True))
    np.testing.assert_array_equal(crops[0], top.images[0][slice(*top.boxes[0][::2]), slice(*top.boxes[0][1::2])])


def test_without_a_fixed_field_the_box_is_the_whole_image(model, images):
    assert (top_activations(model, images, "dense", 0).boxes == [0, 0, 16, 14]).all()
    assert top_activations(model, images, "dense", 0).positions.shape == (9, 0)


def test_batches_of_any_kind_give_the_same_result(model, images):
    """Batches are arrays, (images, labels) or a dataset."""
    import tensorflow as tf

    wanted = [top_activations(model, images, "conv2", unit) for unit in (3, 1)]
    labels = np.zeros(100)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(32)
    for source in (
        images,
        list(np.split(images, 10)),
        (batch for batch in np.split(images, 4)),
        ((batch, 0) for batch in np.split(images, 4)),
        dataset,
        images.astype("float64"),
    ):
        found = top_activations(model, source, "conv2", [3, 1], batch_size=7)
        for top, expected in zip(found, wanted, strict=True):
            assert top.unit == expected.unit and list(top.indices) == list(expected.indices)
            np.testing.assert_allclose(top.values, expected.values, rtol=1e-5)
            np.testing.assert_array_equal(top.boxes, expected.boxes)
            np.testing.assert_array_equal(top.images, expected.images)
    assert list(wanted[0].indices) != list(wanted[1].indices)


def test_batches_do_not_stay_in_memory(model, images):
    alive = []

    def batches():
        living = weakref.WeakSet()
        for start in range(0, 100, 10):
            alive.append(len(living))
            batch = Batch((10, 16, 14, 2), "float32")
            batch[:] = images[start : start + 10]
            living.add(batch)
            yield batch
            del batch

    class Batch(np.ndarray):
        __hash__ = object.__hash__  # weak sets need a hash

    top_activations(model, batches(), "conv2", 1)
    assert max(alive) <= 1  # at most the batch before


def test_the_first_of_equal_images_count(model, images):
    repeated = np.concatenate([images[:4]] * 5)
    top = top_activations(model, repeated, "conv1", 1, count=7, batch_size=8)
    strongest = int(top.indices[0])
    assert list(top.indices[:5]) == [strongest + 4 * k for k in range(5)]
    assert (top.boxes[:5] == top.boxes[0]).all()


def test_fewer_images_than_asked_for(model, images):
    top = top_activations(model, images[:3], "conv1", 1)
    assert len(top.values) == len(top.boxes) == len(top.images) == 3
    assert len(top_activations(model, images, "conv1", 1, count=1).values) == 1


def test_real_digits_that_excite_a_class_map_are_of_its_class(shared):
    """The control is the untrained network."""
    with np.load(shared / "mnist" / "mnist.npz") as data:
        pixels, labels = data["x_test"][:1000, ..., None].astype("float32"), data["y_test"][:1000]
    x = np.asarray(applications.weights_info("NiN", "mnist").preprocessing.normalize(pixels))
    shares = []
    for weights in ("mnist", None):
        network = applications.NiN(weights=weights, variant="mnist")
        found = top_activations(network, x, "cccp6", range(10))
        shares.append(np.mean([labels[top.indices] == top.unit for top in found]))
    assert shares[0] > 0.9 and shares[1] < 0.4


def test_feature_maps_equal_the_model_up_to_that_layer(model, images):
    for layer in ("conv1", "pool1", "conv2", "dense", "predictions"):
        part = keras.Model(model.inputs, model.get_layer(layer).output)
        wanted = part.predict(images, verbose=0)
        for batch_size in (None, 33):
            found = feature_maps(model, images, model.get_layer(layer), batch_size)
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
            assert found.dtype == "float32"
    assert feature_maps(model, images[:1], "conv1").shape == (1, 16, 14, 6)


def test_models_that_are_nested_or_headless_or_of_open_size():
    body = applications.NiN(include_top=False, input_shape=(None, None, 3))
    x = random_images(3, 20, 24, 3)
    maps = feature_maps(body, x, "cccp5")
    assert maps.shape == (3, 5, 6, 192)
    np.testing.assert_allclose(maps, body.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    whole = keras.Sequential([keras.Input((20, 24, 3)), body, layers.GlobalAveragePooling2D()])
    np.testing.assert_allclose(feature_maps(whole, x, "nin/conv2"), feature_maps(body, x, "conv2"), rtol=1e-5)
    top, inner = top_activations(whole, x, "nin/conv2", 5), top_activations(body, x, "conv2", 5)
    np.testing.assert_array_equal(top.boxes, inner.boxes)
    with pytest.raises(ArgumentError, match="must all have one size"):
        top_activations(body, [x, x[:, :16]], "conv2", 0)


def test_dropout_is_inactive():
    x = keras.Input((4, 4, 1))
    model = keras.Model(x, layers.GlobalAveragePooling2D()(layers.Dropout(0.5, name="drop")(x)))
    ones = np.ones((2, 4, 4, 1), "float32")
    assert (feature_maps(model, ones, "drop") == 1).all()
    assert (np.asarray(model.get_layer("drop")(ones, training=True)) != 1).any()  # the control


def test_bad_inputs_are_rejected(model, images):
    with pytest.raises(ArgumentError, match="must be a layer of small. Did you mean 'conv2'"):
        top_activations(model, images, "conv_2", 0)
    with pytest.raises(ArgumentError, match="must be a layer of small"):
        feature_maps(model, images, layers.Dense(1))
    with pytest.raises(ArgumentError, match="`unit` must lie between 0 and 4, the units of conv2. Received: unit=5"):
        top_activations(model, images, "conv2", 5)
    with pytest.raises(ArgumentError, match="`unit` must lie between 0 and 4, the units of conv2. Received: unit=-1"):
        top_activations(model, images, "conv2", [0, -1])
    for unit in (1.0, "conv2", None):
        with pytest.raises(ArgumentError, match="`unit` must be a whole number"):
            top_activations(model, images, "conv2", unit)
    for count in (0, 2.0, None):
        with pytest.raises(ArgumentError, match="`count` must be a whole number of at least 1"):
            top_activations(model, images, "conv2", 0, count)
    for batch_size in (0, 2.5):
        with pytest.raises(ArgumentError, match="`batch_size` must be a whole number of at least 1"):
            top_activations(model, images, "conv2", 0, batch_size=batch_size)
    with pytest.raises(ArgumentError, match="at least one image"):
        top_activations(model, [], "conv2", 0)
    with pytest.raises(ArgumentError, match=r"`images` must be \(images, 16, 14, 2\)"):
        top_activations(model, images[..., :1], "conv2", 0)
    with pytest.raises(ArgumentError, match=r"`images` must be \(images, 16, 14, 2\)"):
        feature_maps(model, images[0], "conv2")
    two = keras.Model([keras.Input((4, 4, 1)), y := keras.Input((4, 4, 1))], layers.ReLU(name="relu")(y))
    with pytest.raises(ArgumentError, match="must take one batch of images"):
        feature_maps(two, np.zeros((1, 4, 4, 1)), "relu")
