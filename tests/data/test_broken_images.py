"""Broken images are left out of a source and named."""

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, make_dataset, masks, open_source, without_broken
from keras_cnns.errors import SourceError


@pytest.fixture
def damaged(folder_of_images):
    """A folder of 24 images; one is empty and one truncated."""
    (folder_of_images / "red" / "3.png").write_bytes(b"")
    whole = (folder_of_images / "blue" / "5.png").read_bytes()
    (folder_of_images / "blue" / "5.png").write_bytes(whole[: len(whole) // 2])
    return folder_of_images


def test_broken_images_are_left_out_and_named(damaged):
    source = open_source(damaged)
    readable, broken = without_broken(source)
    assert sorted(path.rsplit("/", 2)[-2:] for path in broken) == [["blue", "5.png"], ["red", "3.png"]]
    assert all(path in str(error) for path, error in broken.items())
    before, after = (sum(split.examples for split in opened.splits.values()) for opened in (source, readable))
    assert (before, after) == (24, 22) and readable.class_names == source.class_names
    for name, split in readable.splits.items():
        kept = set(split.items)
        assert kept == set(source.split(name).items) - set(broken)
        labels = dict(zip(source.split(name).items, source.split(name).labels, strict=True))
        assert [labels[path] for path in split.items] == split.labels.tolist()


def test_a_class_without_a_readable_image_is_an_error(damaged):
    for path in (damaged / "red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="no image of the class 'red' can be read"):
        without_broken(open_source(damaged))


def test_arrays_stay_as_they_are():
    source = open_source("digits")
    readable, broken = without_broken(source)
    assert not broken and readable.split("test") is source.split("test")


@pytest.mark.slow
def test_training_skips_broken_images_only_on_request(damaged, cli, tmp_path):
    command = ("train", "NiN", "--data", damaged, "--epochs", 1, "--input-size", 32, "--output", tmp_path / "run")
    code, _, err = cli(*command)
    assert code == 3 and "5.png" in err or "3.png" in err
    code, out, err = cli(*command, "--force", "--skip-broken", "--json")
    assert code in (0, 1) and "left out because they cannot be read: 2 images" in err and "left out: " in err
    if code == 0:
        import json

        assert json.loads(out)["data"]["skipped"] == 2


@pytest.fixture
def damaged_masks(tmp_path):
    """A folder of 12 images with masks: one cut off, one of another size, one with a label of no class, one image."""
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    (tmp_path / "set" / "classes.txt").write_text("ground\nobject\n")
    for k in range(12):
        size = (30, 20) if k == 4 else (20, 30)
        Image.fromarray(random.integers(0, 255, (20, 30, 3), "uint8")).save(tmp_path / "set" / "images" / f"{k}.png")
        masks.write_mask(random.integers(0, 2, size, "uint8"), tmp_path / "set" / "masks" / f"{k}.png")
    masks.write_mask(np.full((20, 30), 7, "uint8"), tmp_path / "set" / "masks" / "6.png")
    for path in (tmp_path / "set" / "masks" / "2.png", tmp_path / "set" / "images" / "8.png"):
        path.write_bytes(path.read_bytes()[:60])
    return tmp_path / "set"


def test_images_without_a_readable_mask_are_left_out_and_named(damaged_masks):
    source = open_source(damaged_masks)
    readable, broken = without_broken(source)
    assert {path.rsplit("/", 1)[1] for path in broken} == {"2.png", "4.png", "6.png", "8.png"}
    assert sum(split.examples for split in readable.splits.values()) == 8
    messages = " ".join(map(str, broken.values()))
    assert "cannot be read as a mask" in messages and "is a mask of 20x30 pixels, and its image has 30x20" in messages
    assert "has the label 7" in messages and "8.png: cannot be read" in messages


@pytest.mark.parametrize("augmentation", ["none", "inception-crop"])
def test_the_pipeline_skips_images_without_a_readable_mask(damaged_masks, augmentation):
    split = open_source(damaged_masks).split("train")
    names = [path.rsplit("/", 1)[1] for path in split.items]
    options = {"augmentation": augmentation, "normalize": False}
    batches = list(make_dataset(split, Preprocessing((16, 16)), 4, skip_broken=True, **options))
    wrong = {"2.png", "4.png", "6.png", "8.png"} & set(names)
    assert wrong and {path.rsplit("/", 1)[1] for path in split.skipped} == wrong
    assert sum(len(images) for images, _ in batches) == len(names) - len(wrong)
