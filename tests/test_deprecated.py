"""Old names work, with a warning that says the new one; the page lists them all."""

import ast
import dataclasses
import re

import pytest
from conftest import ROOT

import keras_cnns
from keras_cnns._deprecated import REMOVED_IN, gathered, renamed


@renamed(picture="image")
def shape_of(image):
    return image


@renamed(pictures="images", on_pictures="on_images")
@dataclasses.dataclass(frozen=True)
class Record:
    images: str

    def on_images(self):
        return self.images * 2


@dataclasses.dataclass(frozen=True)
class Style:
    name: str = "plain"
    width: int = 1
    height: int = 1


@gathered(into="style", record=Style, names=("width", "height"))
def draw(image, *, style="plain"):
    """Return what it was called with."""
    return image, style


def test_arguments():
    with pytest.warns(DeprecationWarning, match=r"`shape_of\(picture=...\)` is now called `shape_of\(image=...\)`"):
        assert shape_of(picture=3) == 3
    assert shape_of(image=3) == shape_of(3) == 3


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"width": 3}, Style(width=3)),
        ({"width": 3, "height": 2}, Style(width=3, height=2)),
        ({"style": "bold", "width": 3}, Style("bold", width=3)),
        ({"style": Style("bold", height=2), "width": 3}, Style("bold", width=3, height=2)),
    ],
)
def test_arguments_that_a_record_now_holds(options, expected):
    with pytest.warns(DeprecationWarning) as warnings:
        assert draw("image", **options) == ("image", expected)
    assert [warning.filename for warning in warnings] == [__file__] * len(warnings)
    messages = [str(warning.message) for warning in warnings]
    assert all("is now called `draw(style=Style(" in message for message in messages)
    assert len(messages) == len(options.keys() & {"width", "height"})


def test_a_record_or_its_shorthand_needs_no_warning(recwarn):
    assert draw("image") == ("image", "plain") and draw("image", style="bold") == ("image", "bold")
    assert draw("image", style=Style("bold")) == ("image", Style("bold"))
    assert not recwarn.list and draw.__doc__ == "Return what it was called with."


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


def deprecated_names():
    """Yield the old names that decorators and lazy packages accept, from the source."""
    for path in (ROOT / "keras_cnns").rglob("*.py"):
        for call in [node for node in ast.walk(ast.parse(path.read_text("utf8"))) if isinstance(node, ast.Call)]:
            function = getattr(call.func, "id", "")
            for keyword in call.keywords:
                if function == "renamed":
                    yield keyword.arg
                elif (function, keyword.arg) in (("lazy", "renamed"), ("gathered", "names")):
                    yield from ast.literal_eval(keyword.value)


def test_the_page_lists_every_deprecated_name():
    page = (ROOT / "docs" / "deprecations.md").read_text("utf8")
    names = set(deprecated_names())
    assert {"read_picture", "picture_size", "mixup"} <= names
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []
    assert f"removed in version {REMOVED_IN}" in page


def test_old_names_go_with_the_next_minor_version():
    """When the version becomes that one, this test says that the names are to be removed."""
    major, minor, _ = map(int, keras_cnns.__version__.split("."))
    assert REMOVED_IN == f"{major}.{minor + 1}"
