"""The preprocessing record: its arithmetic, JSON, and the equivalent Keras layer."""

import json

import numpy as np
import pytest

from keras_cnns.data import Preprocessing, fit_preprocessing, open_source, prepare
from keras_cnns.data.preprocessing import fit_normalization

GRAY = Preprocessing((32, 32), 1, mean=(78.8,), scale=(0.0112,))
COLOR = Preprocessing((24, 20), 3, shorter_side=32, mean=(125.3, 123.0, 113.9), scale=(1 / 63.0, 1 / 62.1, 1 / 66.7))

BLUE_FIRST = Preprocessing((9, 8), mean=(103.939, 116.779, 123.68), scale=(1.0,), channel_order="BGR")


@pytest.mark.parametrize("record", [GRAY, COLOR, Preprocessing((8, 8)), Preprocessing((8, 8), 3, mean=(1, 2, 3))])
def test_the_layer_equals_normalize(record):
    import keras

    pixels = np.random.default_rng(0).integers(0, 256, (2, *record.shape), dtype="uint8")
    expected = (pixels.astype("float64") - np.array(record.mean)) * np.array(record.scale)
    np.testing.assert_allclose(record.normalize(pixels.astype("float32")), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(record.as_layer()(pixels), expected, rtol=1e-5, atol=2e-5)
    inputs = keras.Input(record.shape, dtype="uint8")
    model = keras.Model(inputs, record.as_layer()(inputs))
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, rtol=1e-5, atol=2e-5)


def test_bgr_equals_the_preprocessing_of_keras_applications():
    """VGG and ResNet of keras.applications take blue first."""
    import keras

    pixels = np.random.default_rng(0).integers(0, 256, (2, *BLUE_FIRST.shape)).astype("float32")
    expected = keras.applications.vgg16.preprocess_input(pixels.copy())
    np.testing.assert_allclose(BLUE_FIRST.normalize(pixels), expected, atol=1e-4)
    np.testing.assert_allclose(BLUE_FIRST.normalize(keras.ops.convert_to_tensor(pixels)), expected, atol=1e-4)
    np.testing.assert_allclose(BLUE_FIRST.normalize(pixels[0]), expected[0], atol=1e-4)
    inputs = keras.Input(BLUE_FIRST.shape)
    model = keras.Model(inputs, BLUE_FIRST.normalize(inputs))
    np.testing.assert_allclose(model.predict(pixels, verbose=0), expected, atol=1e-4)
    with pytest.raises(ValueError, match="call `normalize`"):
        BLUE_FIRST.as_layer()
    assert "channel_order" not in COLOR.to_json()  # so that older versions read the file
    fitted = fit_preprocessing(open_source("digits").split("train"), GRAY, "zero-one")
    assert fitted.channel_order == "RGB"


@pytest.mark.parametrize("record", [GRAY, COLOR, BLUE_FIRST])
def test_json_restores_the_record(record):
    assert Preprocessing.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("values", [None, {}, {"size": [8, 8], "crop": 3}, {"size": 8}, {"size": ["a", 8]}])
def test_foreign_json_is_refused(values):
    with pytest.raises(ValueError):
        Preprocessing.from_json(values)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"size": (0, 8)}, "`size` must be"),
        ({"size": (8, 8), "channels": 2}, "`channels` must be 1"),
        ({"size": (8, 9), "shorter_side": 8}, "`shorter_side` must be at least.* 9"),
        ({"size": (8, 8), "channel_order": "bgr"}, "`channel_order` must be 'RGB', or with three channels 'BGR'"),
        ({"size": (8, 8), "channels": 1, "channel_order": "BGR"}, "`channel_order` must be 'RGB'"),
        ({"size": (8, 8), "mean": (1.0, 2.0)}, "`mean` must have one value"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**fields)


def test_statistics_come_from_the_training_split_alone():
    source = open_source("digits")
    train = source.split("train")
    record = fit_preprocessing(train, Preprocessing((32, 32), 1))
    pixels = train.items.astype("float64")
    assert record.mean[0] == pytest.approx(pixels.mean()) and 1 / record.scale[0] == pytest.approx(pixels.std())
    everything = np.concatenate([pixels, source.split("test").items])
    assert abs(record.mean[0] - everything.mean()) > 1e-3


def test_a_channel_that_never_varies_stays_finite():
    mean, scale = fit_normalization([40.0], [160.0], 10)
    assert (mean, scale) == ((4.0,), (1.0,))


def test_the_aspect_is_kept_and_the_center_cropped():
    """A bright square in the middle stays in the middle, and square."""
    image = np.zeros((40, 120, 3), "uint8")
    image[10:30, 50:70] = 255
    # Halved to 20 x 60 pixels, then cropped to the center 20 columns
    record = Preprocessing((20, 20), 3, shorter_side=20)
    result = prepare(image, record).numpy()
    assert result.shape == (20, 20, 3) and result.dtype == np.uint8
    assert (result[6:14, 6:14] > 250).all() and result[:4].max() < 5 and result[:, :4].max() < 5
    stretched = prepare(image, Preprocessing((20, 20), 3)).numpy()
    columns = (stretched[10, :, 0] > 127).sum()
    assert columns in (3, 4)  # a sixth of the width


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_an_image_of_the_input_size_is_not_changed(fit):
    image = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype="uint8")
    np.testing.assert_array_equal(prepare(image, Preprocessing((24, 20), fit=fit)), image)


@pytest.mark.parametrize(
    "sides, shown", [((40, 120), (7, 20)), ((120, 40), (24, 8)), ((6, 5), (24, 20)), ((1, 90), (1, 20))]
)
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_a_padded_image_is_whole_in_the_middle_of_the_mean_color(sides, shown, order):
    record = Preprocessing((24, 20), 3, fit="pad", mean=(103.9, 116.8, 123.7), scale=(1.0,), channel_order=order)
    fill = (104, 117, 124) if order == "RGB" else (124, 117, 104)
    assert record.fill == fill
    result = prepare(np.full((*sides, 3), 200, "uint8"), record).numpy()
    top, left = ((whole - part) // 2 for whole, part in zip((24, 20), shown, strict=True))
    expected = np.tile(np.uint8(fill), (24, 20, 1))
    expected[top : top + shown[0], left : left + shown[1]] = 200
    np.testing.assert_array_equal(result, expected)
    # After normalization the padding is nothing, up to the rounding of the mean
    assert np.abs(record.normalize(np.float32(result))[0, 0]).max() < 0.5 or shown == (24, 20)


def test_the_padding_of_a_mean_image_has_its_mean_color():
    mean_image = np.zeros((4, 6, 3), "float32")
    mean_image[:2] = (10, 20, 30)
    assert Preprocessing((4, 6), fit="pad", mean_image=mean_image, channel_order="BGR").fill == (15, 10, 5)


def test_the_padding_does_not_count_in_the_statistics():
    from keras_cnns import data

    images = np.full((4, 10, 40, 3), 90, "uint8")
    images[..., 20:, :] = 110
    fitted = data.fit_preprocessing(data.ArraySplit(images, [0, 0, 1, 1]), Preprocessing((20, 20), fit="pad"))
    np.testing.assert_allclose(fitted.mean, 100, atol=0.1)
    assert fitted.fit == "pad" and fitted.fill == (100, 100, 100)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"fit": "padded"}, "`fit` must be one of crop, stretch, pad"),
        ({"fit": "crop"}, "belong together"),
        ({"fit": "pad", "shorter_side": 30}, "belong together"),
        ({"fit": "pad", "contrast_bias": 1.0}, "choose another fit"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Preprocessing((24, 20), **options)


def test_records_of_every_fit_come_back_from_json():
    assert Preprocessing((4, 4)).fit == "stretch" and Preprocessing((4, 4), shorter_side=5).fit == "crop"
    for record in (Preprocessing((4, 4)), Preprocessing((4, 4), shorter_side=5), Preprocessing((4, 4), fit="pad")):
        values = record.to_json()
        assert Preprocessing.from_json(values) == record
        assert ("fit" in values) == (record.fit == "pad")  # files of earlier versions do not have it


@pytest.mark.parametrize("options", [{}, {"shorter_side": 24}, {"shorter_side": 32}, {"fit": "pad"}])
def test_known_and_unknown_sizes_give_the_same_pixels(options):
    """In tf.data, arrays have a static shape and files do not."""
    import tensorflow as tf

    image = np.random.default_rng(0).integers(0, 256, (24, 21, 3), dtype="uint8")
    record = Preprocessing((24, 20), **options)
    unknown = tf.function(lambda x: prepare(x, record), input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    np.testing.assert_array_equal(prepare(image, record), unknown(image))
