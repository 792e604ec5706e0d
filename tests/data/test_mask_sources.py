"""Images find their masks, in folders, in PASCAL VOC and in COCO files."""

import json
import pickle
import subprocess
import sys
import tarfile
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_cnns import data
from keras_cnns.data import coco, mask_sources
from keras_cnns.data.masks import colors, read_mask, write_mask
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning

SIZE = 10, 12


def put(folder, names, masks=None, images="images", labels="masks", classes=3):
    """Write images, and masks of the same stems with labels from 0 up to classes."""
    for inner in (images, labels):
        (folder / inner).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name in names:
        Image.fromarray(random.integers(0, 256, (*SIZE, 3), "uint8")).save(folder / images / name, format="PNG")
    for name in names if masks is None else masks:
        write_mask(random.integers(0, classes, SIZE), folder / labels / f"{name.rpartition('.')[0]}.png")


def sizes(source):
    return {name: split.examples for name, split in source.splits.items()}


def test_pairs_have_equal_stems(tmp_path):
    names = ["a.jpg", "b c.1.png", "d.v2.JPG", "e.e.PNG", "ü.png", "x.json#1.png", "10.png", "9.png"]
    put(tmp_path, names)
    (tmp_path / "masks" / "10.png").rename(tmp_path / "elsewhere.png")
    (tmp_path / "masks" / "10.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = data.open_source(tmp_path)
    assert source.class_names == ("sky", "road", "car") and source.target == data.Mask(3)
    assert sizes(source) == {"train": 6, "test": 2} and source.image_shape == (None, None, 3)
    assert "20% of the images, drawn with seed 0" in source.notes["test"][0]
    whole = source.split("all")
    assert sorted(path.rpartition("/")[2] for path in whole.items) == sorted(names)
    for image, mask in zip(whole.items, whole.targets, strict=True):
        assert image.rpartition(".")[0].replace("/images/", "/masks/") == mask.rpartition(".")[0]
        assert read_mask(mask, 3, SIZE).shape == SIZE
    # Names of masks move with their images
    for part in (*whole.divide(0.5, 1), *whole.partition((0.5, 0.5), 1), whole.sample(3)):
        pairs = zip(part.items, part.targets, strict=True)
        assert all("/masks/" in mask and "/images/" in image for image, mask in pairs)
    elements = list(whole.elements().as_numpy_iterator())
    assert [tuple(name.decode() for name in pair) for pair in elements] == list(
        zip(whole.items, whole.targets, strict=True)
    )


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_splits_in_folders(tmp_path, layout):
    for split, count in (("Train", 5), ("val", 3), ("test", 2)):
        folders = [layout.format(split=split, kind=kind) for kind in ("images", "Masks")]
        put(tmp_path, [f"{split}{k}.png" for k in range(count)], None, *folders)
    source = data.open_source(tmp_path)
    assert sizes(source) == {"train": 5, "validation": 3, "test": 2}
    assert source.class_names == ("class 0", "class 1", "class 2")
    assert source.notes[""] == (
        "the classes are numbered up to the largest label in 5 masks; classes.txt may name them",
    )


def test_a_split_without_masks_is_left_out(tmp_path):
    put(tmp_path / "train", ["a.png", "b.png"])
    put(tmp_path / "test", ["c.png"], [])
    (tmp_path / "test" / "masks").rmdir()
    with pytest.warns(SourceWarning, match="left out 1 file in .*test/images, which has no masks, as .*c.png"):
        source = data.open_source(tmp_path)
    assert sizes(source) == {"train": 2}


def test_what_has_no_counterpart_is_named(tmp_path):
    put(tmp_path, ["a.png", "b.png", "c.png", "d.png"], ["b.png", "c.png", "e.png"])
    (tmp_path / "masks" / "notes.txt").write_text("notes")
    with pytest.warns(SourceWarning) as caught:
        source = data.open_source(tmp_path)
    text = str(caught[0].message)
    assert f"2 files without a mask of the same name in {tmp_path}/masks, as {tmp_path}/images/a.png" in text
    assert f"1 file without an image of the same name in {tmp_path}/images, as {tmp_path}/masks/e.png" in text
    assert "1 file of another kind (.txt)" in text and len(source.skipped) == 3
    assert sizes(source) == {"train": 1, "test": 1}


def test_folders_that_cannot_be_used(tmp_path):
    put(tmp_path / "suffix", ["a.png", "b.png"], ["a_mask.png", "b_mask.png"])
    with pytest.raises(SourceError, match="the first names are a.png and a_mask.png. Give each mask the name"):
        data.open_source(tmp_path / "suffix")
    put(tmp_path / "empty", ["a.png"], [])
    with pytest.raises(SourceError, match="masks: has no images. Add some"):
        data.open_source(tmp_path / "empty")
    put(tmp_path / "twice", ["a.png", "a.jpg"])
    with pytest.raises(SourceError, match="a.png: has the name of a.jpg, up to the suffix"):
        data.open_source(tmp_path / "twice")
    put(tmp_path / "one", ["a.png"])
    with pytest.raises(SourceError, match="two splits need two images, and there is one"):
        data.open_source(tmp_path / "one")
    put(tmp_path / "color", ["a.png", "b.png"])
    for name in "ab":
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "color" / "masks" / f"{name}.png")
    with pytest.raises(SourceError, match="masks/a.png: is a color image"):
        data.open_source(tmp_path / "color")
    # One damaged mask is found when it is read, and by cnn-data
    put(tmp_path / "damaged", ["a.png", "b.png"])
    (tmp_path / "damaged" / "masks" / "a.png").write_bytes(b"no image")
    assert sizes(data.open_source(tmp_path / "damaged")) == {"train": 1, "test": 1}


def test_masks_of_0_and_255_are_a_trap(tmp_path):
    put(tmp_path, ["a.png", "b.png"])
    for name in "ab":
        write_mask(255 * np.eye(10, 12, dtype=int), tmp_path / "masks" / f"{name}.png")
    with pytest.raises(SourceError, match="no label but 0 and 255, and 255 marks .* Number the classes from 0, as 0"):
        data.open_source(tmp_path)
    (tmp_path / "classes.txt").write_text("ground\nroad\n")
    notes = data.open_source(tmp_path).notes[""]
    assert notes == ("the masks that were read have only ground, and 255, which marks pixels to ignore",)


def test_names_of_classes(tmp_path):
    put(tmp_path, ["a.png", "b.png"])
    names = tmp_path / "class_names.txt"
    names.write_text("_background_\ncat\n__ignore__\n")  # as labelme writes them
    source = data.open_source(tmp_path)
    assert source.class_names == ("_background_", "cat") and source.target == data.Mask(2, ignore=2)
    assert source.notes[""] == ("the label 2, __ignore__, is ignored",)
    names.write_text("cat\ndog\n")
    with pytest.raises(SourceError, match="a.png: has the label 2 at row .*, and there are 2 classes, 0 to 1"):
        data.open_source(tmp_path)
    for text, message in (
        ("a\n\nb", "line 2 is empty, and line k names class k - 1"),
        ("a\nb\na", "names a twice"),
        ("void", "names 0 classes; masks hold from 1 to 255"),
        ("\n".join(map(str, range(256))), "names 256 classes"),
    ):
        names.write_text(text)
        with pytest.raises(SourceError, match=f"class_names.txt: {message}"):
            data.open_source(tmp_path)
    names.write_bytes(b"\xff\xfe")
    with pytest.raises(SourceError, match="is not UTF-8 text"):
        data.open_source(tmp_path)
    names.write_text("a\nb\nc\n")
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(SourceError, match=r"has classes.txt and class_names.txt, which both name the classes"):
        data.open_source(tmp_path)


def test_identity_follows_the_files(tmp_path):
    put(tmp_path / "set", ["a.png", "b.png", "c.png"])
    first = data.open_source(tmp_path / "set").split("all")
    again = data.open_source(tmp_path / "set").split("all")
    before = first.identity()
    assert before == again.identity() and first.fingerprint() == again.fingerprint()
    assert pickle.loads(pickle.dumps(first.targets)).tolist() == first.targets.tolist()
    write_mask(np.ones((30, 30), int), first.targets[0])
    changed = data.open_source(tmp_path / "set").split("all")
    assert changed.identity() == first.identity() != before and changed.fingerprint() == first.fingerprint()
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = data.open_source(tmp_path / "moved").split("all")
    assert moved.identity() != changed.identity() and moved.fingerprint() == first.fingerprint()
    swapped = moved._copy(targets=moved.targets[::-1])
    assert swapped.fingerprint() != moved.fingerprint() and swapped.identity() != moved.identity()


def put_voc(folder, lists, names):
    put(folder, [f"{name}.jpg" for name in names], None, "JPEGImages", "SegmentationClass")
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for part, listed in lists.items():
        (folder / "ImageSets" / "Segmentation" / f"{part}.txt").write_text("".join(f"{name}\n" for name in listed))


def test_voc(tmp_path):
    names = [f"2007_00{k}" for k in range(5)]
    put_voc(tmp_path, {"train": names[:3], "val": names[3:], "trainval": names, "test": ["2008_1"]}, names)
    put(tmp_path, ["2008_1.jpg", "unused.jpg"], [], "JPEGImages", "SegmentationClass")
    with pytest.warns(SourceWarning, match="left out 1 file listed without a mask in SegmentationClass, as .*2008_1"):
        source = data.open_source(tmp_path)
    assert sizes(source) == {"train": 3, "validation": 2} and source.target == data.Mask(21)
    assert source.class_names[0] == "background" and source.class_names[15] == "person" and not source.notes
    assert source.split("train").targets[0].endswith("SegmentationClass/2007_000.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    (lists / "train.txt").unlink()
    assert sizes(data.open_source(tmp_path)) == {"train": 4, "test": 1}
    (lists / "trainval.txt").unlink()
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    assert data.open_source(tmp_path).class_names == ("a", "b", "c")
    (lists / "train.txt").write_text("none\n")
    with pytest.raises(SourceError, match="no image to train on has a mask in SegmentationClass.* Add the masks"):
        data.open_source(tmp_path)


def test_shapes():
    source = data.open_source("shapes")
    assert sizes(source) == {"train": 400, "test": 100} and source.target == data.Mask(4)
    assert source.class_names == ("background", "disc", "triangle", "square") and source.image_shape == (64, 64, 3)
    train = source.split("train")
    np.testing.assert_array_equal(train.targets, data.open_source("drawn:shapes").split("train").targets)
    for k in range(6):
        assert set(np.unique(train.targets[k])) == {0, 1 + k % 3}
        inside = train.targets[k] > 0
        assert train.items[k][inside].mean() > train.items[k][~inside].mean() + 50
    assert data.reopen_source(source.record()).name == "shapes"


def test_a_folder_called_shapes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "shapes", ["a.png", "b.png"])
    source = data.open_source("shapes")
    assert source.name == "./shapes" and "this is the folder shapes; drawn shapes are drawn:shapes" in source.notes[""]
    drawn = data.open_source("drawn:shapes")
    assert sizes(drawn)["train"] == 400 and data.reopen_source(drawn.record()).split("train").examples == 400
    assert data.reopen_source(source.record()).split("train").examples == 1


RUNS = {"counts": [3, 2, 15], "size": [4, 5]}
CORNERS = [[0, 3, 2, 3, 2, 4, 0, 4], [4, 3, 5, 3, 5, 4, 4, 4]]
# An image of 5 x 4 pixels; polygons in the coordinates of COCO, in which the first pixel reaches from 0 to 1
FILE = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 4, "width": 5},
        {"id": 3, "file_name": "b.png", "height": 4, "width": 5},
    ],
    "categories": [{"id": 30, "name": "dog"}, {"id": 4, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 4, "iscrowd": 0, "segmentation": [[1, 0, 4, 0, 4, 2, 1, 2]]},
        # Three zeros down the first column, then two ones: its last pixel and the first one of the next column
        {"id": 2, "image_id": 7, "category_id": 30, "iscrowd": 1, "segmentation": RUNS},
        {"id": 3, "image_id": 7, "category_id": 30, "segmentation": CORNERS},
        {"id": 4, "image_id": 7, "category_id": 30, "segmentation": []},
    ],
}
DRAWN = [[0, 2, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0], [2, 2, 0, 0, 2]]


def put_coco(folder, content=FILE, name="instances.json", images=""):
    (folder / images).mkdir(parents=True, exist_ok=True)
    for image in FILE["images"]:
        Image.new("RGB", (5, 4), "orange").save(folder / images / image["file_name"])
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("a.json", ""),
        ("b.JSON", "images"),
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_default.json", "images"),
        ("annotations/some.json", ""),
    ],
)
def test_coco(tmp_path, name, images):
    source = data.open_source(put_coco(tmp_path, name=name, images=images))
    assert source.class_names == ("background", "cat", "dog") and source.target == data.Mask(3)
    whole = source.split("all")
    pairs = zip(whole.items, whole.targets, strict=True)
    masks = {path.rpartition("/")[2]: read_mask(mask, 3, (4, 5)) for path, mask in pairs}
    assert masks["a.png"].tolist() == DRAWN and not masks["b.png"].any()
    assert all(data.read_image(path).shape == (4, 5, 3) for path in whole.items)


def test_a_changed_coco_file_is_read_again(tmp_path):
    path = put_coco(tmp_path)
    split = data.open_source(path).split("all")
    identity, (name,) = split.identity(), [mask for mask in split.targets if mask.endswith("#7")]
    assert read_mask(name).max() == 2
    put_coco(tmp_path, {**FILE, "annotations": []})
    assert read_mask(name).max() == 0 and split.identity() != identity


def test_another_process_draws_the_same_mask(tmp_path):
    name = f"{put_coco(tmp_path)}#7"
    program = "import sys; from keras_cnns.data.masks import read_mask; print(read_mask(sys.argv[1]).tolist())"
    done = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(DRAWN), done.stderr


def test_coco_files_that_cannot_be_used(tmp_path):
    def fault(content):
        with pytest.raises(SourceError) as caught:
            data.open_source(put_coco(tmp_path, content))
        return str(caught.value)

    def changed(part, **values):
        return {**FILE, part: [{**FILE[part][0], **values}, *FILE[part][1:]]}

    assert "is no JSON file (" in fault("{")
    assert "has no list images and no list annotations and no list categories" in fault([1])
    assert "has no list annotations. A COCO file has" in fault({**FILE, "annotations": None})
    assert "another value there (KeyError: 'height')" in fault({**FILE, "images": [{"id": 1, "file_name": "a.png"}]})
    assert "an id must be a whole number, not 'x'" in fault(changed("images", id="x"))
    assert "two images have the same id" in fault(changed("images", id=3))
    assert "has annotations of the image 99, which is not among its images" in fault(
        changed("annotations", image_id=99)
    )
    assert "another value there (KeyError: 5)" in fault(changed("annotations", category_id=5))
    assert "two categories have the same id or name" in fault(changed("categories", name="cat"))
    assert "has 0 categories; masks hold from 1 to 254" in fault({**FILE, "categories": [], "annotations": []})
    assert "there is no file c.png, which its first image names, beside it" in fault(
        changed("images", file_name="c.png")
    )
    assert "has no images. Add some" in fault({**FILE, "images": [], "annotations": []})
    with pytest.raises(ArgumentError, match="there is no such file. Give the path of a COCO file"):
        data.open_source(tmp_path / "none.json")
    with pytest.raises(SourceError, match="none.json: cannot be read .No such file"):
        read_mask(tmp_path / "none.json#1")
    put_coco(tmp_path)
    with pytest.raises(SourceError, match="has no image of the id 8. Open the source again"):
        read_mask(tmp_path / "instances.json#8")
    for shape, reason in (
        ({"counts": [3, 2], "size": [4, 5]}, "are of 5 pixels, and the image has 20"),
        ({"counts": [20], "size": [5, 4]}, r"of the size \[5, 4\], and the image's is \[4, 5\]"),
        ({"counts": "3\x7f", "size": [4, 5]}, "have the character '.x7f'"),
        ({"counts": "o", "size": [4, 5]}, "end within a number"),
        ({"size": [4, 5]}, "'counts'"),
        ([[0, 0, float("nan"), 1]], "a coordinate is not finite"),
    ):
        put_coco(tmp_path, changed("annotations", segmentation=shape))
        with pytest.raises(SourceError, match=rf"annotation 1 of the image 7 cannot be drawn \(.*{reason}"):
            read_mask(tmp_path / "instances.json#7")


def test_a_category_called_background_is_it(tmp_path):
    content = {**FILE, "categories": [*FILE["categories"], {"id": 1, "name": "Background"}]}
    assert data.open_source(put_coco(tmp_path, content)).class_names == ("background", "cat", "dog")


def test_images_that_a_coco_file_names_in_vain(tmp_path):
    path = put_coco(
        tmp_path, {**FILE, "images": [*FILE["images"], {**FILE["images"][0], "id": 1, "file_name": "c.png"}]}
    )
    with pytest.warns(SourceWarning, match="left out 1 file named in instances.json that do not exist, as .*c.png"):
        assert data.open_source(path).split("all").examples == 2


def test_packed_run_lengths():
    """By hand: 6 is one group, "6"; 31 needs two; and from the fourth on, differences to the last but one."""
    assert coco._unpacked("6") == [6] and coco._unpacked("o0") == [31] and coco._unpacked("11O2") == [1, 1, -1, 3]
    decoded = coco.decode_runs({"counts": "3210", "size": [2, 4]}, (2, 4))
    np.testing.assert_array_equal(decoded, [[0, 0, 1, 1], [0, 1, 0, 1]])


def test_polygons_tile_the_plane():
    """Each pixel is in one of the triangles around a point, wherever it is."""
    random = np.random.default_rng(0)
    for _ in range(20):
        middle, corners = random.uniform(0, 30, 2), np.array([[0, 0], [30, 0], [30, 20], [0, 20]])
        count = np.zeros((20, 30), int)
        for one, other in zip(corners, np.roll(corners, 1, axis=0), strict=True):
            mask = np.zeros((20, 30), "uint8")
            coco.fill_polygon(mask, [middle * (1, 2 / 3), one, other], 1)
            count += mask
        assert (count == 1).all()
    mask = np.zeros((20, 30), "uint8")
    coco.fill_polygon(mask, [(-5, -5), (50, -5), (50, 50), (-5, 50)], 9)  # beyond all borders
    assert (mask == 9).all()
    coco.fill_polygon(mask, [(-9, 3), (-5, 3), (-5, 9)], 1)
    coco.fill_polygon(mask, [(4, 4), (8, 4)], 1)
    assert (mask == 9).all()


def test_regions_are_those_of_pycocotools():
    masks = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    random = np.random.default_rng(0)
    total = different = 0
    for _ in range(40):
        region = (random.random((37, 53)) < random.random()).astype("uint8")
        packed = masks.encode(np.asfortranarray(region))
        runs = {"counts": packed["counts"].decode(), "size": [37, 53]}
        np.testing.assert_array_equal(coco.decode_runs(runs, (37, 53)), region)
        angles, radii = np.sort(random.uniform(0, 2 * np.pi, 12)), random.uniform(5, 40, 12)
        points = np.stack([50 + radii * np.cos(angles), 45 + radii * np.sin(angles)], axis=1)
        ours = np.zeros((90, 100), "uint8")
        coco.fill_polygon(ours, points, 1)
        theirs = masks.decode(masks.merge(masks.frPyObjects([points.ravel().tolist()], 90, 100)))
        total, different = total + theirs.sum(), different + (ours != theirs).sum()
    assert different < 0.02 * total  # pixels that a side crosses; pycocotools draws them on a finer grid


@pytest.fixture(scope="module")
def archives(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    with tarfile.open(shared / "samples.tar") as archive:
        archive.extractall(folder, filter="data")
    with tarfile.open(shared / "camvid.tar") as archive:  # a part, as the whole has 704 files
        names = [member for member in archive if member.name.endswith(("0.png", "0.jpg"))]
        archive.extractall(folder, names, filter="data")
    return folder


CAMVID = "Sky Building Pole Road Pavement Tree SignSymbol Fence Car Pedestrian Bicyclist Unlabelled".split()


def test_camvid(archives, tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "images").symlink_to(archives / "camvid" / split)
        (tmp_path / split / "masks").symlink_to(archives / "camvid" / f"{split}annot")
    (tmp_path / "classes.txt").write_text("\n".join(CAMVID))
    source = data.open_source(tmp_path)
    assert source.target == data.Mask(11, ignore=11) and source.class_names == tuple(CAMVID[:-1])
    train = source.split("train")
    assert train.examples > 100 and not source.skipped
    counts = np.zeros(256)
    for image, mask in zip(train.items[:40], train.targets[:40], strict=True):
        with Image.open(image) as picture:
            counts += np.bincount(read_mask(mask, 11, picture.size[::-1], ignore=11).ravel(), minlength=256)
    assert counts[11:255].sum() == 0 and 0.2 < counts[3] / counts.sum() < 0.45 and counts[255] > 0


def test_pets_and_pedestrians(archives, tmp_path):
    for name, images, masks, suffix in (
        ("pets", "images", "trimaps", ""),
        ("pennfudan", "PNGImages", "PedMasks", "_mask"),
    ):
        (tmp_path / name / "masks").mkdir(parents=True)
        (tmp_path / name / "images").symlink_to(archives / "samples" / name / images)
        for path in (archives / "samples" / name / masks).iterdir():
            (tmp_path / name / "masks" / f"{path.stem.removesuffix(suffix)}.png").symlink_to(path)
    source = data.open_source(tmp_path / "pets")
    assert len(source.class_names) == 4 and sizes(source) == {"train": 4, "test": 1}
    whole = source.split("all")
    for image, mask in zip(whole.items, whole.targets, strict=True):
        labels = read_mask(mask, 4, data.read_image(image).shape[:2])
        assert set(np.unique(labels)) == {1, 2, 3}
    assert data.open_source(tmp_path / "pennfudan").class_names[0] == "class 0"


def test_colors_of_a_written_mask_are_those_of_voc(tmp_path):
    write_mask(np.arange(21)[None], tmp_path / "mask.png")
    assert np.asarray(Image.open(tmp_path / "mask.png").convert("RGB"))[0].tolist() == colors(21).tolist()
    assert len(mask_sources.VOC_CLASSES) == 21
