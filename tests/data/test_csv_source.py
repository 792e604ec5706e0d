"""CSV files of paths and labels."""

import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, open_source, reopen_source
from keras_cnns.data.pipeline import read_pixels
from keras_cnns.errors import ArgumentError, SourceError


@pytest.fixture
def table(tmp_path):
    """A function that writes lines into list.csv, next to images/0.png to images/11.png."""
    (tmp_path / "images").mkdir()
    for k in range(12):
        Image.new("L", (8, 8), 20 * k).save(tmp_path / "images" / f"{k}.png")

    def write(*lines, encoding="utf8"):
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n", encoding)
        return tmp_path / "list.csv"

    return write


def test_a_table_with_a_column_of_splits(table, tmp_path):
    parts = ("train", "Train", "valid", "test")
    lines = [f"{k % 3},{tmp_path if k == 4 else '.'}/images/{k}.png,{parts[k // 3]},x" for k in range(12)]
    source = open_source(table("Label,path,SPLIT,other", *lines))
    assert source.class_names == ("0", "1", "2") and not source.notes
    assert {name: split.examples for name, split in source.splits.items()} == {"train": 6, "validation": 3, "test": 3}
    images, labels = read_pixels(source.split("test"), Preprocessing((8, 8), 1))
    assert images[:, 0, 0, 0].tolist() == [180, 200, 220] and labels.tolist() == [0, 1, 2]
    assert reopen_source(source.record()).split("test").items.tolist() == source.split("test").items.tolist()


@pytest.mark.parametrize("divider", ",;\t")
def test_a_table_without_a_column_of_splits_is_divided(table, divider):
    lines = [divider.join((f"images/{k}.png", ("dog", "grün")[k % 2])) for k in range(12)]
    source = open_source(table(divider.join(("path", "label")), *lines, "", encoding="utf-8-sig"))
    assert source.class_names == ("dog", "grün") and source.split("all").examples == 12
    assert "the test split is 20% of each class" in source.notes["test"][0]


@pytest.mark.parametrize(
    "lines, message",
    [
        (["image,label", "images/0.png,a"], "first line must name the columns path and label.*lacks path"),
        (["path,label", "images/0.png,a", "images/1.png,"], "line 3 has no label"),
        (["path,label", "images/0.png,a", "images/1.png"], "line 3 has no label"),
        (["path,label,split", "images/0.png,a,dev"], "line 2 has a split that is not known.*Received: 'dev'"),
        (["path,label,split", "images/0.png,a,test"], "has no row to train on"),
        (["path,label"], "has no row to train on"),
        (["path,label", "0.png,a"], "there is no file .*0.png, which its first row names"),
        (["path,label", "images/0.png,a", "images/1.png,a"], "has one class only"),
        (
            ["path,label,split", "images/0.png,a,train", "images/1.png,b,train", "images/2.png,c,test"],
            "the split test has labels that no row of the training split has: c",
        ),
        (["path,label", "images/0.png,a", "images/1.png,b"], r"these 2 classes have one: 'a' \(.*images\)"),
    ],
)
def test_errors_name_the_line_and_the_fault(table, lines, message):
    with pytest.raises(SourceError, match=message):
        open_source(table(*lines))


def test_a_table_that_is_missing_or_not_utf8(tmp_path):
    with pytest.raises(ArgumentError, match="there is no such file"):
        open_source(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("path,label\nx,gr\xfcn\n".encode("latin1"))
    with pytest.raises(SourceError, match="latin.csv: is not UTF-8 text"):
        open_source(tmp_path / "latin.csv")
