"""Image files of every kind become the right uint8 pixels."""

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import read_image
from keras_cnns.errors import SourceError


@pytest.fixture
def ramp():
    return np.arange(20 * 30, dtype="uint16").reshape(20, 30) % 256


def test_gray_and_color(tmp_path, ramp):
    Image.fromarray(ramp.astype("uint8")).save(tmp_path / "gray.png")
    gray, color = (read_image(tmp_path / "gray.png", channels) for channels in (1, 3))
    assert gray.shape == (20, 30, 1) and color.shape == (20, 30, 3) and gray.dtype == np.uint8
    np.testing.assert_array_equal(gray[..., 0], ramp)
    np.testing.assert_array_equal(color, np.repeat(gray, 3, axis=2))


def test_sixteen_bits_become_eight(tmp_path, ramp):
    Image.fromarray((ramp * 257).astype("uint16")).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(read_image(tmp_path / "wide.png", 1)[..., 0], ramp)
    Image.fromarray(np.full((8, 8), 255, "uint16")).save(tmp_path / "dark.png")
    assert (read_image(tmp_path / "dark.png", 1) == 0).all()  # white does not depend on the brightest pixel


def test_integers_of_32_bits(tmp_path, ramp):
    Image.fromarray(ramp.astype("int32")).save(tmp_path / "bytes.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "bytes.tif", 1)[..., 0], ramp)
    Image.fromarray((ramp * 257).astype("int32")).save(tmp_path / "words.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "words.tif", 1)[..., 0], ramp)
    # Pillow opens a PGM file of 16 bits in the same mode, but its white is known
    (tmp_path / "dark.pgm").write_bytes(b"P5 8 8 65535\n" + np.full((8, 8), 255, ">u2").tobytes())
    assert (read_image(tmp_path / "dark.pgm", 1) == 0).all()


def test_transparency_becomes_white(tmp_path):
    pixels = np.zeros((10, 10, 4), "uint8")
    pixels[:5, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    read = read_image(tmp_path / "alpha.png")
    assert (read[:5] == 0).all() and (read[5:] == 255).all()
    Image.fromarray(pixels).convert("LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), read)


def test_the_cameras_orientation_is_applied(tmp_path):
    pixels = np.zeros((16, 32, 3), "uint8")
    pixels[:, :16] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif)
    read = read_image(tmp_path / "turned.jpg")
    assert read.shape == (32, 16, 3) and read[:12].min() > 200 and read[-12:].max() < 50


def test_cmyk_animation_palette_and_bits(tmp_path):
    red = Image.new("RGB", (12, 12), (200, 20, 20))
    red.convert("CMYK").save(tmp_path / "print.jpg")
    assert np.abs(read_image(tmp_path / "print.jpg").astype(int).mean((0, 1)) - (200, 20, 20)).max() < 8
    red.save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("RGB", (12, 12), "blue")])
    assert np.abs(read_image(tmp_path / "moving.gif").astype(int) - (200, 20, 20)).max() < 8
    red.convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (12, 12, 3)
    Image.new("1", (12, 12), 1).save(tmp_path / "bits.png")
    assert (read_image(tmp_path / "bits.png", 1) == 255).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
def test_a_truncated_file_is_named(tmp_path, suffix):
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype="uint8")).save(path)
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError, match=f"photo{suffix}: (is no image|cannot be read)"):
            read_image(path)


def test_files_that_are_not_images_are_named(tmp_path):
    (tmp_path / "notes.png").write_text("these are notes")
    with pytest.raises(SourceError, match="notes.png: is no image"):
        read_image(tmp_path / "notes.png")
    with pytest.raises(SourceError, match="missing.png: cannot be read.*No such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(SourceError, match="cannot be read"):
        read_image(tmp_path)
    Image.fromarray(np.ones((8, 8), "float32")).save(tmp_path / "float.tif")
    with pytest.raises(SourceError, match="float.tif.*floating-point"):
        read_image(tmp_path / "float.tif")


def test_one_pixel_is_too_small(tmp_path):
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    with pytest.raises(SourceError, match="dot.png: is only 1x1 pixels.*at least 4x4"):
        read_image(tmp_path / "dot.png")
