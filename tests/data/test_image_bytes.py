"""Decoding in a graph gives the same pixels as `read_image`."""

import io

import numpy as np
import pytest
import tensorflow as tf
from image_files import image_files

from keras_cnns.data import read_image
from keras_cnns.data.image_bytes import decode_image_bytes

READABLE, REFUSED = image_files()
FAULTS = {
    "cmyk.jpg": "cmyk.jpg is a CMYK JPEG",
    "xmp.jpg": "xmp.jpg notes its orientation outside of EXIF",
    "text.png": "text.png notes its orientation outside of EXIF",
    "gray2_one_transparent.png": "has a transparent color that programs read differently",
    "rgb16_one_transparent.png": "has a transparent color that programs read differently",
    "tiny.png": "tiny.png has a side of fewer than 4 pixels",
    "cut.png": "Invalid PNG data",
    "cut.jpg": "jpeg::Uncompress failed",
}


@pytest.fixture(scope="module")
def decode():
    """decode(content, channels, name) -> uint8 array, in a graph traced once."""
    text = tf.TensorSpec((), tf.string)
    graphs = {
        channels: tf.function(
            lambda content, name, channels=channels: decode_image_bytes(content, channels, name), (text, text)
        )
        for channels in (1, 3)
    }
    return lambda content, channels, name="x": graphs[channels](tf.constant(content), tf.constant(name)).numpy()


def test_the_pixels_are_those_of_read_image(decode):
    differing = {}
    for name, content in READABLE.items():
        for channels in (1, 3):
            expected, pixels = read_image(io.BytesIO(content), channels), decode(content, channels)
            if pixels.shape != expected.shape or (pixels != expected).any():
                differing[name, channels] = pixels.shape, expected.shape
    assert not differing


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_it_would_read_differently_are_refused(decode, name):
    fault = FAULTS.get(name, f"{name} is neither a JPEG nor a PNG file")
    with pytest.raises(tf.errors.InvalidArgumentError, match=fault):
        decode(REFUSED[name], 3, name)


@pytest.mark.slow
def test_the_pixels_of_photographs(decode, flowers):
    for path in sorted(flowers.glob("test/*/*.jpg")):
        np.testing.assert_array_equal(decode(path.read_bytes(), 3), read_image(path))
