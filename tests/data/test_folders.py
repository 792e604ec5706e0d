"""Which files of a folder are images; others are left out and named."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, image_files, open_images, open_source
from keras_cnns.data.pipeline import read_pixels
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning


def put(folder, count, suffix=".png", first=0):
    """Write images of different grays into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(first, first + count):
        Image.new("RGB", (40, 40), (k, k, k)).save(folder / "image.png")
        paths.append(folder / f"{k:03}{suffix}")
        (folder / "image.png").rename(paths[-1])
    return paths


def put_heic(folder, count):
    """Write files that begin like HEIC images but cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        (folder / f"{k}.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_a_flat_folder_is_an_unlabeled_split(tmp_path):
    paths = put(tmp_path / "flat", 9)
    put(tmp_path / "flat" / "inner", 2)
    with pytest.warns(SourceWarning, match="flat: left out 2 files in folders inside the folder, as .*inner"):
        split = open_images(tmp_path / "flat")
    assert split.items.tolist() == list(map(str, paths)) and set(split.labels) == {-1}
    images, _ = read_pixels(split.sample(3), Preprocessing((8, 8), 1))
    assert images.shape == (3, 8, 8, 1) and images[:, 0, 0, 0].tolist() == [0, 4, 8]
    first, second = split.partition((0.75, 0.25), 0)
    assert first.examples + second.examples == 9
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("notes")
    with pytest.raises(SourceError, match="empty: holds no images that can be read, but 1 file of another kind"):
        open_images(tmp_path / "empty")
    with pytest.raises(ArgumentError, match="must be the path of a folder"):
        open_images(tmp_path / "none")


@pytest.mark.parametrize("names", [("train", "valid", "test"), ("Train", "Val", "TEST"), ("train", "validation")])
def test_usual_names_of_the_splits(tmp_path, names):
    for name in names:
        for label in "ab":
            put(tmp_path / name / label, 3)
    put(tmp_path / "unlabeled", 2)
    with pytest.warns(SourceWarning, match="left out 2 files in folders beside those of the splits, as .*unlabeled"):
        source = open_source(tmp_path)
    expected = ("train", "validation", "test")[: len(names)]
    assert {name: split.examples for name, split in source.splits.items()} == dict.fromkeys(expected, 6)


def test_two_folders_for_one_split_are_refused(tmp_path):
    for name in ("train", "val", "validation"):
        for label in "ab":
            put(tmp_path / name / label, 2)
    with pytest.raises(SourceError, match="has val and validation, which both mean validation"):
        open_source(tmp_path)


def test_a_test_split_may_lack_a_class(tmp_path):
    for name, labels in (("train", "abc"), ("test", "ac")):
        for label in labels:
            put(tmp_path / name / label, 3)
    source = open_source(tmp_path)
    assert source.class_names == ("a", "b", "c") and source.split("test").labels.tolist() == [0, 0, 0, 2, 2, 2]
    assert source.notes == {"test": ("test has no image of b",)}
    (tmp_path / "test" / "b").mkdir()
    assert open_source(tmp_path).notes == source.notes
    (tmp_path / "train" / "b").rename(tmp_path / "train" / "d")
    put(tmp_path / "test" / "b", 1)
    with pytest.raises(SourceError, match="test: has class folders that .*train lacks: b. Add them there"):
        open_source(tmp_path)


def test_files_left_out_are_counted_and_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # makes the import fail
    image_files.can_read_heif.cache_clear()
    for label in "ab":
        put(tmp_path / label, 6)
        put(tmp_path / label / "more", 5)
        put_heic(tmp_path / label, 4)
        put(tmp_path / label, 3, "", first=50)
        put(tmp_path / label, 2, ".jpg_large", first=60)
        (tmp_path / label / "000.xml").write_text("<annotation/>")
        (tmp_path / label / "odd.bin").write_bytes(b"no image")
    put(tmp_path, 1)
    with pytest.warns(SourceWarning) as warned:
        source = open_source(tmp_path)
    assert {skipped.reason: len(skipped.paths) for skipped in source.skipped} == {
        "in folders inside a class folder": 10,
        "in HEIC format, which needs pillow-heif (pip install pillow-heif)": 8,
        "of another kind (.xml)": 2,
        "of another kind (.bin)": 2,
        "beside the class folders": 1,
    }
    text = str(warned[0].message)
    assert len(warned) == 1 and "\n" not in text and f"10 files in folders inside a class folder, as {tmp_path}" in text
    files = source.split("all").items
    assert len(files) == 22 and {Path(file).suffix for file in files} == {".png", "", ".jpg_large"}
    read_pixels(source.split("all"), Preprocessing((8, 8)))
    for path in tmp_path.glob("[ab]/*.*"):
        if path.suffix != ".HEIC" and path.is_file():
            path.unlink()
    for path in tmp_path.glob("[ab]/0??"):
        path.unlink()
    with pytest.raises(SourceError, match="a: has no images that can be read, but .*4 files in HEIC.*pip install"):
        open_source(tmp_path)
    image_files.can_read_heif.cache_clear()


def test_heic_is_read_if_the_package_is_installed(tmp_path, monkeypatch):
    registered = []
    module = SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    image_files.can_read_heif.cache_clear()
    for label in "ab":
        put_heic(tmp_path / label, 4)
    assert open_source(tmp_path).split("all").examples == 8 and registered == [True]
    image_files.can_read_heif.cache_clear()


def test_classes_txt_sets_the_order_of_the_classes(tmp_path):
    for label in ("mild", "severe", "none"):
        put(tmp_path / "set" / label, 3)
    order = tmp_path / "set" / "classes.txt"
    order.write_text("none\nmild\n\nsevere\n")
    source = open_source(tmp_path / "set")
    assert source.class_names == ("none", "mild", "severe")
    split = source.split("all")
    assert all(source.class_names[label] in file for file, label in zip(split.items, split.labels, strict=True))
    for text in ("none\nmild\n", "none\nmild\nsevere\nsevere\n", "none\nmild\nsevre\n"):
        order.write_text(text)
        with pytest.raises(SourceError, match="classes.txt: gives the order of the classes.*check 'sev"):
            open_source(tmp_path / "set")
