"""Damage inside a JPEG is warned of, although decoders pass over it."""

import warnings

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, image_files, jpeg_damage
from keras_cnns.data.pipeline import read_files
from keras_cnns.errors import SourceError, SourceWarning


@pytest.fixture
def damaged(tmp_path):
    """A folder with a good JPEG and two damaged ones.

    One lacks bytes in its middle, the other has a stray marker too. Decoders show all three.
    """
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (64, 96, 3), dtype="uint8")
    Image.fromarray(noise).save(tmp_path / "good.jpg", quality=80)
    whole = bytearray((tmp_path / "good.jpg").read_bytes())
    del whole[len(whole) // 2 : len(whole) // 2 + 500]
    (tmp_path / "damaged.jpg").write_bytes(whole)
    whole[-400:-398] = b"\xff\x03"
    (tmp_path / "marked.jpg").write_bytes(whole)
    return tmp_path


def test_damage_in_the_middle_of_a_jpeg_is_warned_of(damaged, capfd):
    for name, is_damaged in (("good", False), ("damaged", True)):
        content = (damaged / f"{name}.jpg").read_bytes()
        assert bool(jpeg_damage.decoder_warning(content)) == is_damaged
    assert "Corrupt" not in capfd.readouterr().err
    with pytest.warns(SourceWarning, match="damaged.jpg: is a JPEG that is damaged in its middle .Corrupt JPEG data"):
        read_files([damaged / "damaged.jpg"], Preprocessing((8, 8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_files([damaged / "good.jpg"], Preprocessing((8, 8)))
        image_files.read_window(damaged / "good.jpg")
    with pytest.warns(SourceWarning, match="marked.jpg: is a JPEG that is damaged"):
        try:
            image_files.read_window(damaged / "marked.jpg")
        except SourceError:
            pass


def test_a_thumbnail_in_the_header_is_no_damage(damaged):
    exif = Image.Exif()
    exif[0x927C] = b"\xff\xd8\xff\xda\xff\x03\xff\xd9"  # as cameras write it
    for options in ({"exif": exif}, {"progressive": True}, {"optimize": True}):
        with Image.open(damaged / "good.jpg") as image:
            image.save(damaged / "other.jpg", **options)
        assert not jpeg_damage._has_stray_markers((damaged / "other.jpg").read_bytes()), options
