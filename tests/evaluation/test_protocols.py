"""Protocols and their views, against slices written by hand."""

import keras
import numpy as np
import pytest

from keras_cnns import recipes
from keras_cnns.data import Preprocessing
from keras_cnns.data.pipeline import prepare
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import PROTOCOLS, Protocol, evaluate, grid, predict_split, views
from keras_cnns.evaluation.protocols import FIVE, find_protocol, shorter_sides
from keras_cnns.recipes.record import PROTOCOL_NAMES

RECORD = Preprocessing((6, 6), shorter_side=8, mean=(120.0,), scale=(1 / 60,))


def random_images(count, height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype="uint8")


def test_recipes_and_protocols_have_the_same_names():
    assert tuple(PROTOCOLS) == PROTOCOL_NAMES
    assert {recipe.protocol for recipe in recipes.RECIPES.values()} <= set(PROTOCOLS)


@pytest.mark.parametrize(
    "name, count",
    [("center", 1), ("ten-crop", 10), ("144-crop", 144), ("dense", 2), ("mirror", 2), ("multi-scale", 12)],
)
def test_protocols_have_the_papers_number_of_views(name, count):
    protocol = PROTOCOLS[name]
    assert protocol.views(max(1, len(protocol.scales))) == count


def test_the_center_view_is_the_image_of_training_and_prediction():
    for shape in ((8, 13), (30, 21), (6, 6)):
        image = random_images(1, *shape)[0]
        for record in (RECORD, Preprocessing((6, 6))):
            (shown,) = views(image, record, PROTOCOLS["center"]).numpy()
            np.testing.assert_array_equal(shown, prepare(image, record).numpy())


def test_the_mirror_protocol_shows_that_image_and_its_mirror_image():
    for record in (RECORD, Preprocessing((6, 6))):
        image = random_images(1, 8, 13)[0]
        shown = prepare(image, record).numpy()
        found = views(image, record, PROTOCOLS["mirror"]).numpy()
        np.testing.assert_array_equal(found, np.stack([shown, shown[:, ::-1]]))
    split, model = ArraySplit(random_images(4, 6, 6), [0, 1, 2, 0]), small_model()
    mirrored = ArraySplit(split.items[:, :, ::-1], split.labels)
    record = Preprocessing((6, 6))
    one, other, both = (
        predict_split(model, of, record, protocol=protocol)[0]
        for of, protocol in ((split, "center"), (mirrored, "center"), (split, "mirror"))
    )
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-5)


def test_scales_below_the_input_are_for_masks():
    with pytest.raises(ArgumentError, match="at least those of the network's input, 6. .*protocol='multi-scale'"):
        evaluate(
            small_model(), ArraySplit(random_images(4, 9, 14), [0, 1, 2, 0]), RECORD, "abc", protocol="multi-scale"
        )
    with pytest.raises(ArgumentError, match="`scales` must be at least 1"):
        Protocol("small crops", scales=(0.5,))


def test_ten_crops_equal_slices():
    image = random_images(1, 8, 11)[0]  # its shorter side is that of the record, so that nothing is resized
    crops = [image[:6, :6], image[:6, 5:], image[2:, :6], image[2:, 5:], image[1:7, 2:8]]
    expected = np.stack([*crops, *(crop[:, ::-1] for crop in crops)])
    np.testing.assert_array_equal(views(image, RECORD, PROTOCOLS["ten-crop"]).numpy(), expected)
    with pytest.raises(AssertionError):  # the order matters
        np.testing.assert_array_equal(views(image, RECORD, PROTOCOLS["ten-crop"]).numpy(), expected[::-1])


@pytest.mark.parametrize("upright", [False, True])
def test_squares_and_whole_equal_slices(upright):
    image = random_images(1, 8, 13)[0]
    squares = [image[:, 0:8], image[:, 2:10], image[:, 5:13]]
    if upright:
        image = image.transpose(1, 0, 2)
        squares = [square.transpose(1, 0, 2) for square in squares]
    protocol = Protocol("mine", squares=True, positions=FIVE, whole=True, mirror=True)
    found = views(image, RECORD, protocol).numpy()
    assert len(found) == protocol.views() == 36
    for k, square in enumerate(squares):
        crops = [square[:6, :6], square[:6, 2:], square[2:, :6], square[2:, 2:], square[1:7, 1:7]]
        np.testing.assert_array_equal(found[6 * k : 6 * k + 5], crops)
        small = keras.ops.image.resize(square.astype("float32"), (6, 6), antialias=True)
        np.testing.assert_array_equal(found[6 * k + 5], np.clip(np.round(np.asarray(small)), 0, 255))
    np.testing.assert_array_equal(found[18:], found[:18, :, ::-1])


def test_scales_match_the_papers_for_an_input_of_224():
    assert shorter_sides(PROTOCOLS["144-crop"], (224, 224)) == [256, 288, 320, 352]
    assert shorter_sides(PROTOCOLS["ten-crop"], (224, 224)) == [256]
    assert shorter_sides(PROTOCOLS["ten-crop"], (32, 32)) == [37]
    assert shorter_sides(PROTOCOLS["ten-crop"], (227, 227), 256) == [256]
    assert shorter_sides(PROTOCOLS["center"], (32, 32)) == [None]
    assert shorter_sides(PROTOCOLS["dense"], (224, 224), 256, [256, 384, 512]) == [256, 384, 512]


def test_a_grid_spreads_positions_evenly():
    assert grid(2, 2) == ((0, 0), (0, 1), (1, 0), (1, 1))
    image = random_images(1, 8, 10)[0]
    found = views(image, RECORD, Protocol("vgg", positions=grid(3, 3))).numpy()
    expected = [image[top : top + 6, left : left + 6] for top in (0, 1, 2) for left in (0, 2, 4)]
    np.testing.assert_array_equal(found, expected)


def small_model(size=6):
    """Return a network whose output depends on every pixel and its place."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Conv2D(5, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.mark.parametrize("name", ["center", "ten-crop", pytest.param("144-crop", marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch_size", [1, 7, 300])
def test_probabilities_are_the_mean_over_the_views(name, batch_size):
    model, images = small_model(), random_images(5, 9, 14)
    split = ArraySplit(images, np.arange(5) % 3)
    found, labels = predict_split(model, split, RECORD, protocol=name, batch_size=batch_size)
    np.testing.assert_array_equal(labels, [0, 1, 2, 0, 1])
    for image, row in zip(images, found, strict=True):
        shown = views(image, RECORD, PROTOCOLS[name]).numpy().astype("float32")
        expected = [np.asarray(model(RECORD.normalize(view[None])))[0] for view in shown]
        np.testing.assert_allclose(row, np.mean(expected, axis=0), atol=1e-6)


def test_protocols_agree_on_constant_images_only():
    images = np.broadcast_to(np.array([30, 90, 200], "uint8").reshape(3, 1, 1, 1), (3, 12, 17, 3)).copy()
    split = ArraySplit(images, [0, 1, 2])
    found = [predict_split(small_model(), split, RECORD, protocol=name)[0] for name in ("center", "ten-crop")]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    split = ArraySplit(random_images(3, 12, 17), [0, 1, 2])
    found = [predict_split(small_model(), split, RECORD, protocol=name)[0] for name in ("center", "ten-crop")]
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_several_scales_are_averaged():
    model, split = small_model(), ArraySplit(random_images(4, 9, 14), [0, 1, 2, 0])
    each = [predict_split(model, split, RECORD, protocol="ten-crop", scales=[side])[0] for side in (7, 9)]
    both, _ = predict_split(model, split, RECORD, protocol="ten-crop", scales=[7, 9])
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-6)


def test_several_models_are_averaged_each_with_its_record():
    models = [small_model(), small_model(8)]
    records = [RECORD, Preprocessing((8, 8), scale=(1 / 255,))]
    split = ArraySplit(random_images(4, 9, 14), [0, 1, 2, 0])
    each = [predict_split(model, split, record)[0] for model, record in zip(models, records, strict=True)]
    both, _ = predict_split(models, split, records)
    np.testing.assert_allclose(both, np.mean(each, axis=0), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3
    with pytest.raises(ArgumentError, match="one record for all models, or one for each"):
        predict_split(models, split, records[:1])


def test_wrong_arguments_are_refused():
    model, split = small_model(), ArraySplit(random_images(4, 9, 14), [0, 1, 2, 0])
    with pytest.raises(ArgumentError, match="Did you mean 'ten-crop'.*protocol='tencrop'"):
        evaluate(model, split, RECORD, "abc", protocol="tencrop")
    with pytest.raises(ArgumentError, match=r"at least those of the network's input, 6. Received: .*scales=\(5,\)"):
        evaluate(model, split, RECORD, "abc", protocol="ten-crop", scales=[5])
    with pytest.raises(ArgumentError, match="the split is empty"):
        evaluate(model, split.take(np.arange(0)), RECORD, "abc")
    with pytest.raises(ArgumentError, match="smaller than the crop"):
        Protocol("mine", scales=(0.5,))
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        Protocol("mine", positions=((0, 2),))
    with pytest.raises(ArgumentError, match="needs a view"):
        Protocol("mine", positions=())
    with pytest.raises(ArgumentError, match="at least two rows and columns"):
        grid(1, 5)
    assert find_protocol(PROTOCOLS["dense"]) is PROTOCOLS["dense"]
