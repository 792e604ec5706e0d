"""The summary of a source with masks counts pixels and images of each class, and finds masks that cannot be used."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from keras_cnns.cli import data as cli_data
from PIL import Image

from keras_cnns import data
from keras_cnns.data.masks import read_mask, write_mask


@pytest.fixture
def folder(tmp_path):
    """A folder of 12 training images and 3 test images, the last of which has the first training image's pixels."""
    random = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 3)):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(random.integers(0, 256, (40, 50, 3), "uint8")).save(
                tmp_path / split / "images" / f"{k}.png"
            )
            mask = random.integers(0, 3, (40, 50))
            mask[mask == 2] = 2 if k == 0 and split == "train" else 255
            write_mask(mask, tmp_path / split / "masks" / f"{k}.png")
    (tmp_path / "classes.txt").write_text("ground\nroad\ncar\n")
    (tmp_path / "test" / "images" / "2.png").write_bytes((tmp_path / "train" / "images" / "0.png").read_bytes())
    return tmp_path


def test_pixels_and_images_of_each_class(folder):
    summary = data.summarize(data.open_source(folder))
    masks = {split: [read_mask(path) for path in (folder / split / "masks").iterdir()] for split in ("train", "test")}
    for split, arrays in masks.items():
        assert summary.pixels[split] == tuple(sum(int((mask == k).sum()) for mask in arrays) for k in range(3))
        assert summary.ignored[split] == sum(int((mask == 255).sum()) for mask in arrays)
        assert sum(summary.pixels[split]) + summary.ignored[split] == 2000 * len(arrays)
    assert summary.counts == {"train": (12, 12, 1), "test": (3, 3, 0)} and summary.examined == summary.examples
    texts = {finding.kind: finding.text for finding in summary.findings}
    assert sorted(texts) == ["duplicate", "few", "missing"] and texts["missing"] == "test has no image of car"
    assert texts["few"] == "fewer than 10 training images: car"
    assert json.loads(json.dumps(summary.to_json()))["pixels"]["train"] == list(summary.pixels["train"])
    part = data.summarize(data.open_source(folder), sample=2)
    assert sum(part.pixels["train"]) + part.ignored["train"] == 4000 and max(part.counts["train"]) == 2
    assert all("among those examined" in finding.text for finding in part.findings)
    assert data.summarize(data.open_source("digits")).pixels == {}


def test_masks_that_cannot_be_used_are_named(folder):
    source = data.open_source(folder)
    write_mask(np.zeros((40, 51), int), folder / "train" / "masks" / "3.png")
    write_mask(np.full((40, 50), 3), folder / "train" / "masks" / "4.png")
    (folder / "test" / "masks" / "1.png").write_bytes(b"")
    (folder / "test" / "images" / "0.png").write_bytes(b"")
    summary = data.summarize(source)
    images, masks = summary.findings[:2]
    assert (images.kind, masks.kind) == ("unreadable", "unreadable")
    names = tuple(f"{folder}/{name}" for name in ("train/masks/3.png", "train/masks/4.png", "test/masks/1.png"))
    assert summary.unreadable == (f"{folder}/test/images/0.png", *names) and masks.names == names
    assert masks.text.startswith(f"3 masks cannot be used, the first: {names[0]}: is a mask of 51x40 pixels")
    assert summary.counts["train"][0] == 10


def test_cnn_data_shows_both(folder, tmp_path):
    result = CliRunner().invoke(cli_data.command, [str(folder), "--preview", str(tmp_path / "grid.png")])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    pixels = data.summarize(data.open_source(folder)).pixels
    (road,) = (line.split() for line in lines if line.split()[:1] == ["road"])
    assert road == ["road", "12", f"{pixels['train'][1] / sum(pixels['train']):.2%}", "3",
                    f"{pixels['test'][1] / sum(pixels['test']):.2%}"]  # fmt: skip
    assert any(line.startswith("pixels to ignore: ") and line.endswith("% of test") for line in lines)
    assert not any(line.startswith("the classes of") for line in lines)
    assert Image.open(tmp_path / "grid.png").size[0] > 100
    (folder / "test" / "masks" / "1.png").write_bytes(b"")
    result = CliRunner().invoke(cli_data.command, [str(folder)])
    assert "error: 1 mask cannot be used" in result.output and result.exception.exit_code == 1
    assert str(result.exception) == "1 of the images and masks examined cannot be read. Replace or remove them."
