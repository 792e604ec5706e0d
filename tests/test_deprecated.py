"""Old names work, with a warning that says the new one; the page lists them all."""

import dataclasses

import pytest

import keras_cnns
from keras_cnns._deprecated import renamed


@renamed(picture="image")
def shape_of(image):
    return image


@renamed(pictures="images", on_pictures="on_images")
@dataclasses.dataclass(frozen=True)
class Record:
    images: str

    def on_images(self):
        return self.images * 2


def test_arguments():
    with pytest.warns(DeprecationWarning, match=r"`shape_of\(picture=...\)` is now called `shape_of\(image=...\)`"):
        assert shape_of(picture=3) == 3
    assert shape_of(image=3) == shape_of(3) == 3


def test_attributes():
    record = Record("a")
    with pytest.warns(DeprecationWarning, match="`Record.pictures` is now called `Record.images`"):
        assert record.pictures == "a"
    with pytest.warns(DeprecationWarning, match="works until version"):
        assert record.on_pictures() == "aa"


@pytest.mark.parametrize(
    "part, old, new", [("data", "read_picture", "read_image"), ("evaluation", "predict_pictures", "predict_images")]
)
def test_public_names(part, old, new):
    module = getattr(keras_cnns, part)
    with pytest.warns(DeprecationWarning, match=f"`keras_cnns.{part}.{old}` is now called"):
        assert getattr(module, old) is getattr(module, new)
    assert old not in dir(module)
