"""Masks decoded by TensorFlow, compared with those that Python reads."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cnns import data
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.masks import read_mask, write_mask
from keras_cnns.data.png import labels_as_gray
from keras_cnns.data.read_errors import reading
from keras_cnns.errors import SourceError

SIZE = 30, 40  # height and width
LABELS = np.random.default_rng(0).integers(0, 21, SIZE).astype("uint8")
LABELS[:3] = 255


def gray(path, labels=LABELS):
    Image.fromarray(labels).save(path)


def palette(path):
    write_mask(LABELS, path)


def repeated_colors(path):
    image = Image.fromarray(LABELS)
    image.putpalette([7, 7, 7] * 256)
    image.save(path, transparency=3)


def few_colors(path):
    image = Image.fromarray(LABELS % 4)
    image.putpalette([0, 0, 0, 99, 0, 0, 0, 99, 0, 0, 0, 99])
    image.save(path, bits=2)


def two_colors(path):
    Image.fromarray(LABELS % 2 == 1).save(path)


def sixteen_bits(path):
    Image.fromarray(LABELS.astype("uint16")).save(path)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(LABELS).save(path, exif=exif)


def with_text(path):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Comment", "drawn by hand")
    Image.fromarray(LABELS).save(path, pnginfo=text)


def bmp(path):
    with open(path, "wb") as file:
        Image.fromarray(LABELS).save(file, "BMP")


IN_GRAPH = [gray, palette, repeated_colors, with_text]
IN_PYTHON = [few_colors, two_colors, sixteen_bits, turned, bmp]


@pytest.mark.parametrize("write", IN_GRAPH + IN_PYTHON)
def test_the_labels_are_those_that_python_reads(tmp_path, write):
    write(tmp_path / "mask.png")
    content = labels_as_gray((tmp_path / "mask.png").read_bytes())
    assert bool(content) == (write in IN_GRAPH)
    if content:
        np.testing.assert_array_equal(tf.io.decode_png(content)[..., 0], read_mask(tmp_path / "mask.png"))


def masks_of(folder, mask_names, target, augmentation="none"):
    """Return the masks of a pipeline of images that are all alike."""
    image = str(folder / "image.png")
    Image.fromarray(np.zeros((*SIZE, 3), "uint8")).save(image)
    split = FileSplit(np.array([image] * len(mask_names), object), [str(folder / name) for name in mask_names], target)
    batches = data.make_dataset(split, data.Preprocessing(SIZE), 4, augmentation=augmentation)
    with reading(split):
        return np.concatenate([masks for _, masks in batches])


@pytest.mark.parametrize("ignore", [255, 7])
def test_a_pipeline_gives_these_masks(tmp_path, ignore):
    writers = [*IN_GRAPH, sixteen_bits, turned]
    for write in writers:
        write(tmp_path / f"{write.__name__}.png")
    names = [f"{write.__name__}.png" for write in writers]
    found = masks_of(tmp_path, names, data.Mask(21, ignore))
    for name, mask in zip(names, found, strict=True):
        np.testing.assert_array_equal(mask, read_mask(tmp_path / name, 21, SIZE, ignore))
    assert (found == 7).any() == (ignore == 255)


@pytest.mark.parametrize("augmentation", ["none", "crop-flip"])
@pytest.mark.parametrize("fault", ["label", "color", "missing", "damaged", "size"])
def test_what_is_wrong_is_named(tmp_path, fault, augmentation):
    wrong = tmp_path / "wrong.png"
    if fault == "label":
        gray(wrong, np.full(SIZE, 21, "uint8"))
    elif fault == "color":
        Image.fromarray(np.zeros((*SIZE, 3), "uint8")).save(wrong)
    elif fault == "size":
        gray(wrong, LABELS[:-1])
    elif fault == "damaged":
        gray(wrong)
        wrong.write_bytes(wrong.read_bytes()[:200])
    gray(tmp_path / "right.png")
    message = {"label": "label 21", "color": "color image", "missing": "no such mask", "damaged": "cannot be read"}
    with pytest.raises(SourceError, match=rf"wrong.png: .*{message.get(fault, '40x29 pixels')}"):
        masks_of(tmp_path, ["right.png", "wrong.png", "right.png"], data.Mask(21), augmentation)
