"""Sources with boxes: each format by hand, each fault named, and real sets."""

import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from keras_cnns import data
from keras_cnns.data.box_sources import read_voc_boxes
from keras_cnns.data.box_target import from_bytes
from keras_cnns.data.masks import write_mask
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning

OBJECT = """
  <object><name>{}</name><difficult>{}</difficult>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
    <bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
XML = "<annotation><size><width>{}</width><height>{}</height></size>{}</annotation>"


def write_image(path, size=(60, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    color = np.random.default_rng(len(str(path))).integers(0, 255, 3)
    Image.new("RGB", size, tuple(color.tolist())).save(path)


def voc(folder, objects, size=(60, 40), lists=None):
    """Write a VOC folder; `objects` has (name, difficult, xmin, ymin, xmax, ymax) by image."""
    (folder / "Annotations").mkdir(parents=True)
    for name, of_image in objects.items():
        write_image(folder / "JPEGImages" / f"{name}.jpg")
        text = XML.format(*size, "".join(OBJECT.format(*each) for each in of_image))
        (folder / "Annotations" / f"{name}.xml").write_text(text, "utf8")
    for part, names in (lists or {}).items():
        (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names), "utf8")
    return folder


def found_in(split):
    """Return the objects of each image by the name of its file."""
    names = [path.replace("\\", "/").rsplit("/", 1)[1] for path in split.items]
    return dict(zip(names, map(from_bytes, split.targets), strict=True))


def test_voc_counts_pixels_from_one_and_includes_the_last(tmp_path):
    objects = {"a": [("dog", 1, 11, 5, 20, 8)], "b": [("cat", 0, 1, 1, 60, 40)], "c": []}
    voc(tmp_path, objects, lists={"train": ["a -1", "c"], "val": ["b"]})
    source = data.open_source(tmp_path)
    assert len(source.class_names) == 20 and list(source.splits) == ["train", "validation"]
    (dog, nothing), (cat,) = (list(found_in(source.split(name)).values()) for name in ("train", "validation"))
    assert dog["boxes"].tolist() == [[4, 10, 8, 20]] and dog["difficult"].tolist() == [True]
    assert source.class_names[dog["labels"][0]] == "dog" and not len(nothing["labels"])
    assert cat["boxes"].tolist() == [[0, 0, 40, 60]] and cat["areas"].tolist() == [2400]


def test_faulty_boxes_are_mended_or_left_out_and_noted(tmp_path):
    objects = {
        "a": [("x", 0, 5, 5, 5, 9), ("x", 0, 20, 12, 11, 3)],  # no area; corners exchanged
        "b": [("x", 0, 50, 30, 90, 35), ("x", 0, 70, 1, 80, 9), ("y", 0, 3, 3, 9, 9)],  # reaches out; outside
    }
    (tmp_path / "set").mkdir()
    source = read_voc_boxes(voc(tmp_path / "set", objects, size=(61, 40)))
    rows = {path.rsplit("/", 1)[1]: of_image for path, of_image in source.splits[""]}
    assert rows["a.jpg"][:, :4].tolist() == [[2, 10, 12, 20]]
    assert rows["b.jpg"][:, :5].tolist() == [[29, 49, 35, 61, 0], [2, 2, 9, 9, 1]]
    notes = " ".join(source.notes)
    for sentence in (
        "1 box without area are left out",
        "1 box whose corners are exchanged",
        "1 box outside their image",
        "1 box that reach beyond their image",
        "a.xml says 61x40 pixels, and its image has 60x40",
    ):
        assert sentence in notes
    assert source.class_names == ("x", "y")


@pytest.mark.parametrize(
    "content, sentence",
    [
        ("<annotation><object><name>x</name></object></annotation>", "an object without <bndbox>"),
        ("<annotation>", "is no annotation of PASCAL VOC"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation/>", "defines entities"),
        (XML.format(60, 40, OBJECT.format("x", 0, 1, 1, "nan", 9)), "give it four numbers, in pixels"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(content, sentence, tmp_path):
    voc(tmp_path, {"a": [("x", 0, 1, 1, 9, 9)], "b": [("x", 0, 1, 1, 9, 9)]})
    (tmp_path / "Annotations" / "b.xml").write_text(content, "utf8")
    with pytest.raises(SourceError, match=rf"b.xml.*{sentence}"):
        data.open_source(tmp_path)


def test_classes_may_be_named_and_others_are_refused(tmp_path):
    voc(tmp_path, {"a": [("cat", 0, 1, 1, 9, 9)], "b": [("dgo", 0, 1, 1, 9, 9)]})
    (tmp_path / "classes.txt").write_text("dog\ncat\n", "utf8")
    with pytest.raises(SourceError, match=r"b.xml: has an object of the class 'dgo'.*Did you mean 'dog'"):
        data.open_source(tmp_path)


def test_images_and_annotations_without_each_other_are_left_out(tmp_path):
    voc(tmp_path, {name: [("x", 0, 1, 1, 9, 9)] for name in "abc"}, lists={"trainval": ["a", "b", "c", "d"]})
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    write_image(tmp_path / "JPEGImages" / "d.jpg")
    with pytest.warns(SourceWarning):
        source = data.open_source(tmp_path)
    assert source.split("all").examples == 2
    assert {skipped.reason for skipped in source.skipped} == {
        "without an image in JPEGImages",
        "listed without annotations in Annotations",
    }


def yolo(folder, texts, names=None):
    for name, lines in texts.items():
        write_image(folder / "images" / f"{name}.png")
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        if lines is not None:
            (folder / "labels" / f"{name}.txt").write_text("\n".join(lines), "utf8")
    if names:
        (folder / "data.yaml").write_text(names, "utf8")
    return folder


@pytest.mark.parametrize(
    "names, expected",
    [
        ("path: .\nnames: ['cat', \"big dog\"]\nnc: 2", ("cat", "big dog")),
        ("names:\n  0: cat\n  1: dog # the other\n", ("cat", "dog")),
        ("names:\n- cat\n- dog\n", ("cat", "dog")),
        (None, ("class 0", "class 1")),
    ],
)
def test_yolo_boxes_are_relative_centers(names, expected, tmp_path):
    texts = {"a": ["1 0.5 0.5 0.5 0.25", ""], "b": [], "c": None, "d": ["0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.3"]}
    source = data.open_source(yolo(tmp_path, texts, names))
    assert source.class_names == expected
    found = found_in(source.split("all"))
    assert found["a.png"]["boxes"].tolist() == [[15, 15, 25, 45]] and found["a.png"]["labels"].tolist() == [1]
    assert not len(found["b.png"]["labels"]) and not len(found["c.png"]["labels"])
    np.testing.assert_allclose(found["d.png"]["boxes"], [[4, 6, 20, 30]], rtol=1e-6)  # around the polygon


@pytest.mark.parametrize(
    "line, sentence",
    [("0 0.5 0.5 0.5", "class center_x"), ("a b", "cannot be used"), ("7 .5 .5 .1 .1", "has an object of class 7")],
)
def test_lines_of_yolo_that_cannot_be_used_are_named(line, sentence, tmp_path):
    with pytest.raises(SourceError, match=f"a.txt: .*{sentence}"):
        data.open_source(yolo(tmp_path, {"a": [line], "b": []}, "names: [x, y]"))


def test_boxes_of_an_image_that_was_turned_are_those_of_the_shown_one(tmp_path):
    yolo(tmp_path, {"a": ["0 0.25 0.5 0.1 0.2"], "b": []}, "names: [x]")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "images" / "a.png", exif=turned)
    found = found_in(data.open_source(tmp_path).split("all"))["a.png"]
    np.testing.assert_allclose(found["boxes"], [[24, 8, 36, 12]], rtol=1e-6)  # of 60 rows and 40 columns


def coco(folder, changes=None):
    for name in ("a.jpg", "b.jpg"):
        write_image(folder / "images" / name)
    content = {
        "images": [{"id": k, "file_name": f"{'ab'[k]}.jpg", "width": 60, "height": 40} for k in range(2)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 7, "bbox": [10, 5, 20, 30], "area": 333.5, "iscrowd": 0},
            {"id": 2, "image_id": 0, "category_id": 3, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        ],
    }
    (folder / "boxes.json").write_text(json.dumps({**content, **(changes or {})}), "utf8")
    return f"{folder / 'boxes.json'}#boxes"


def test_coco_boxes_have_areas_and_crowds(tmp_path):
    source = data.open_source(coco(tmp_path))
    found = found_in(source.split("all"))
    assert source.class_names == ("cat", "dog") and source.name.endswith("#boxes")
    assert found["a.jpg"]["boxes"].tolist() == [[5, 10, 35, 30], [0, 0, 40, 60]]
    assert found["a.jpg"]["labels"].tolist() == [1, 0] and found["a.jpg"]["areas"].tolist() == [333.5, 2400]
    assert found["a.jpg"]["crowd"].tolist() == [False, True] and not len(found["b.jpg"]["labels"])


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"annotations": [{"image_id": 0, "category_id": 7}]}, "lacks a field of the COCO format"),
        ({"annotations": [{"image_id": 9, "category_id": 7, "bbox": [1, 1, 2, 2]}]}, "annotations of the image 9"),
        ({"annotations": []}, "no image has an object"),
        ({"categories": {}}, "has no list categories"),
    ],
)
def test_coco_files_that_cannot_be_used_are_named(changes, sentence, tmp_path):
    with pytest.raises(SourceError, match=f"boxes.json: .*{sentence}"):
        data.open_source(coco(tmp_path, changes))


@pytest.mark.parametrize(
    "header, box",
    [
        ("top,left,bottom,right", "5,10,35,30"),
        ("xmin;ymin;xmax;ymax", "10;5;30;35"),
        ("x,y,width,height", "10,5,20,30"),
    ],
)
def test_tables_have_one_line_per_box(header, box, tmp_path):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    comma = ";" if ";" in header else ","
    rows = [f"path,class,{header},split", f"a.png,cat,{box},train", f"a.png,dog,{box},train", "b.png,,,,,,test"]
    (tmp_path / "boxes.csv").write_text("\n".join(row.replace(",", comma) for row in rows), "utf8")
    source = data.open_source(tmp_path / "boxes.csv")
    assert source.class_names == ("cat", "dog")
    assert found_in(source.split("train"))["a.png"]["boxes"].tolist() == [[5, 10, 35, 30]] * 2
    assert not len(found_in(source.split("test"))["b.png"]["labels"])


def test_a_table_names_the_line_that_is_wrong(tmp_path):
    write_image(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("path,class,x,y,width,height\na.png,cat,1,2,3,4\na.png,cat,1,,3,4\n", "utf8")
    with pytest.raises(SourceError, match=r"boxes.csv: line 3 has no box"):
        data.open_source(tmp_path / "boxes.csv")


def test_a_name_that_ends_in_boxes_needs_some(tmp_path):
    (tmp_path / "cats").mkdir()
    with pytest.raises(ArgumentError, match="has no boxes that can be read"):
        data.open_source(f"{tmp_path}#boxes")


def test_a_voc_folder_with_masks_has_boxes_by_name(tmp_path):
    voc(tmp_path, {name: [("dog", 0, 1, 1, 9, 9)] for name in "ab"})
    (tmp_path / "SegmentationClass").mkdir()
    for name in "ab":
        write_mask(np.ones((40, 60), "uint8"), tmp_path / "SegmentationClass" / f"{name}.png")
    assert isinstance(data.open_source(tmp_path).target, data.Mask)
    assert isinstance(data.open_source(f"{tmp_path}#boxes").target, data.Boxes)


def test_images_with_boxes_are_trained_on_at_their_size(tmp_path):
    """Boxes of files follow their images through the pipeline."""
    voc(tmp_path, {name: [("dog", 0, 1, 1, 30, 20)] for name in "abcd"})
    split = data.open_source(tmp_path).split("all")
    _, targets = next(iter(data.make_dataset(split, data.Preprocessing((80, 120)), 4)))
    assert targets["boxes"].numpy().tolist() == [[[0, 0, 40, 60]]] * 4


def test_blood_cells(shared, tmp_path):
    """Counts of its README, less two boxes without area."""
    with tarfile.open(shared / "bccd.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    source = data.open_source(tmp_path / "bccd")
    assert {name: split.examples for name, split in source.splits.items()} == {
        "train": 205,
        "validation": 87,
        "test": 72,
    }
    labels = np.concatenate([from_bytes(target)["labels"] for target in source.split("all").targets])
    counts = dict(zip(source.class_names, np.bincount(labels).tolist(), strict=True))
    assert counts == {"Platelets": 361, "RBC": 4155 - 2, "WBC": 372}
    (note,) = source.notes[""]
    assert "2 boxes without area are left out" in note and "BloodImage_00338.xml" in note


def test_raccoons(shared, tmp_path):
    """One class, images of many sizes, lists beside the folders."""
    with tarfile.open(shared / "raccoon.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    source = data.open_source(tmp_path / "raccoon")
    assert source.class_names == ("raccoon",)
    assert {name: split.examples for name, split in source.splits.items()} == {"train": 160, "test": 40}
    assert sum(len(from_bytes(target)["labels"]) for target in source.split("all").targets) == 217
