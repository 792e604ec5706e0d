"""Folders of images: what counts as an image, and what is left out is named."""

import pytest
from PIL import Image

from keras_cnns.data import Preprocessing, open_images
from keras_cnns.data.pipeline import read_pixels
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning


def put(folder, count, suffix=".png", first=0):
    """Write images into a folder, each of its own gray, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(first, first + count):
        Image.new("RGB", (40, 40), (k, k, k)).save(folder / "image.png")
        paths.append(folder / f"{k:03}{suffix}")
        (folder / "image.png").rename(paths[-1])
    return paths


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
