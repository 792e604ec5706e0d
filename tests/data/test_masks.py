"""Masks are read as the class numbers that they hold, and everything else is refused with its reason."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from keras_cnns import data
from keras_cnns.data.masks import colors, from_colors, read_mask, write_mask
from keras_cnns.errors import ArgumentError, OutputError, SourceError

LABELS = np.array([[0, 1, 2, 3], [3, 2, 1, 0], [2, 2, 255, 1]], "uint8")


def save(path, labels=LABELS, mode="L", **options):
    """Write labels as an image of a mode, with a palette if it has one."""
    image = Image.fromarray(labels)
    if mode == "P":
        image = Image.frombytes("P", image.size, labels.tobytes())
        image.putpalette(colors().tobytes())
    elif mode == "I;16":
        image = Image.fromarray(labels.astype("uint16"))
    elif mode != image.mode:
        image = image.convert(mode)
    image.save(path, **options)
    return path


# Known from VOC's own tool, the function labelcolormap
def test_the_first_colors_are_those_of_voc():
    known = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128], [0, 128, 128]]
    known += [[128, 128, 128], [64, 0, 0], [192, 0, 0], [64, 128, 0]]
    assert colors(11).tolist() == known and colors()[255].tolist() == [224, 224, 192]
    assert colors(21)[20].tolist() == [0, 64, 128] and len(np.unique(colors(), axis=0)) == 256


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("P", ".png"), ("L", ".png"), ("I;16", ".png"), ("P", ".bmp"), ("L", ".tif"), ("L", ".pgm")],
)
def test_class_numbers_are_read_as_they_are(tmp_path, mode, suffix):
    mask = read_mask(save(tmp_path / f"mask{suffix}", mode=mode), 4, LABELS.shape)
    np.testing.assert_array_equal(mask, LABELS)
    assert mask.dtype == np.uint8


def test_small_numbers_of_bits(tmp_path):
    """Pillow stretches gray values of 2 and 4 bits, which would make class 1 class 85 or 17."""
    two = LABELS & 1
    Image.fromarray(two * 255).convert("1").save(tmp_path / "one.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "one.png", 2), two)
    for bits in (2, 4):
        labels = LABELS & 3
        save(tmp_path / "palette.png", labels, "P", bits=bits)
        np.testing.assert_array_equal(read_mask(tmp_path / "palette.png", 4), labels)
        gray = gray_png(labels, bits)
        assert Image.open(io.BytesIO(gray)).mode == "L"
        (tmp_path / "gray.png").write_bytes(gray)
        np.testing.assert_array_equal(read_mask(tmp_path / "gray.png", 4), labels)


def gray_png(labels, bits):
    """Return a gray PNG of few bits, which Pillow cannot write."""
    import struct
    import zlib

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = labels.shape
    rows = np.unpackbits(labels[..., None], axis=-1)[..., -bits:].reshape(height, -1)
    lines = b"".join(b"\0" + np.packbits(row).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_what_is_written_is_read(tmp_path):
    labels = np.random.default_rng(0).integers(0, 256, (37, 21))
    for name in ("a.png", "b c.1.PNG", "ü.png"):
        write_mask(labels, tmp_path / name)
        np.testing.assert_array_equal(read_mask(str(tmp_path / name)), labels)
    image = Image.open(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colors()[labels])
    (tmp_path / "link.png").symlink_to(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "link.png"), labels)
    write_mask(np.array([[True, False]]), tmp_path / "a.png")  # replaces it
    assert read_mask(tmp_path / "a.png").tolist() == [[1, 0]]
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b c.1.PNG", "ü.png", "link.png"}


@pytest.mark.parametrize("mask", [np.zeros((2, 2, 1), "uint8"), np.array([[256]]), np.array([[-1]]), np.ones((2, 2))])
def test_other_arrays_are_not_written(tmp_path, mask):
    with pytest.raises(ArgumentError, match="`mask` must be an array .* from 0 to 255. Received: shape="):
        write_mask(mask, tmp_path / "mask.png")
    with pytest.raises(ArgumentError, match=r"must end in .png. Received: path='mask.jpg'"):
        write_mask(LABELS, "mask.jpg")
    with pytest.raises(OutputError, match="cannot be written"):
        write_mask(LABELS, tmp_path / "nowhere" / "mask.png")
    assert not list(tmp_path.iterdir())


def fault(path, *arguments, **options):
    with pytest.raises(SourceError) as caught:
        read_mask(path, *arguments, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.endswith(".")
    return message.removeprefix(f"{path}: ")


def test_every_fault_is_named_with_its_cure(tmp_path):
    assert fault(tmp_path / "none.png") == "there is no such mask. Add it, or remove its image."
    (tmp_path / "text.png").write_text("no image")
    assert "is no image in a format that is known. Save class numbers as" in fault(tmp_path / "text.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), "uint8")
    whole = save(tmp_path / "whole.png", noise).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as a mask (" in fault(tmp_path / "half.png")
    (tmp_path / "folder.png").mkdir()
    assert "cannot be read as a mask (Is a directory). Replace it." in fault(tmp_path / "folder.png")
    for mode in ("RGB", "RGBA", "LA"):
        message = fault(save(tmp_path / "color.png", mode=mode))
        assert message.startswith(f"is a color image (mode {mode})") and "palette or gray PNG" in message
        assert "keras_cnns.data.masks.from_colors" in message
    message = fault(save(tmp_path / "lossy.jpg"))
    assert message.startswith("is a mask in the format JPEG, which may change class numbers. Save class numbers as")
    assert "format GIF, which may change" in fault(save(tmp_path / "mask.gif", mode="P"))
    assert "format JPEG," in fault(save(tmp_path / "lossy.tif", compression="jpeg"))
    Image.fromarray(LABELS.astype("float32")).save(tmp_path / "float.tif")
    assert fault(tmp_path / "float.tif") == "has floating-point pixels. Save class numbers as a palette or gray PNG."
    Image.fromarray(LABELS.astype("uint16") * 100).save(tmp_path / "wide.png")
    assert fault(tmp_path / "wide.png").startswith("has the label 25500, and labels are from 0 to 255. ")


def test_labels_and_sizes_are_checked(tmp_path):
    path = save(tmp_path / "mask.png")
    message = fault(path, 3)
    assert message.startswith("has the label 3 at row 0, column 3, and there are 3 classes, 0 to 2. Correct the label")
    assert read_mask(path, 4).max() == 255
    np.testing.assert_array_equal(read_mask(path, 3, ignore=3), np.where(LABELS == 3, 255, LABELS))
    message = fault(path, size=(6, 4))
    assert message == "is a mask of 4x3 pixels, and its image has 4x6. Save it with the size of its image."
    assert fault(path, size=(4, 3)).endswith("has 3x4. Turn it: the camera's orientation of the image is applied when "
                                             "the image is read.")  # fmt: skip


def test_an_orientation_is_applied_as_to_images(tmp_path):
    image = Image.fromarray(LABELS)
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), np.rot90(LABELS, -1))


def test_colors_become_classes():
    labels = np.arange(256, dtype="uint8").reshape(16, 16)
    np.testing.assert_array_equal(from_colors(colors()[labels]), labels)
    palette = [(255, 0, 0), (0, 0, 0), (0, 255, 0)]
    pixels = np.array(palette, "uint8")[[[2, 0], [1, 1]]]
    assert from_colors(pixels, palette).tolist() == [[2, 0], [1, 1]]
    pixels[1, 0] = 7, 8, 9
    with pytest.raises(ArgumentError, match=r"row 1, column 0 has a color .* Received: color=\(7, 8, 9\)"):
        from_colors(pixels, palette)
    with pytest.raises(ArgumentError, match="`pixels` must be a uint8 array"):
        from_colors(pixels[..., 0])
    with pytest.raises(ArgumentError, match="`palette` must have one color"):
        from_colors(pixels, [1, 2])


def test_masks_are_targets():
    images, masks = np.zeros((3, 4, 5, 3), "uint8"), np.full((3, 4, 5), 255, "uint8")
    split = data.ArraySplit(images, masks, data.Mask(2))
    assert split.labels is None and split.target == data.Mask(2) and split.targets.dtype == np.uint8
    assert split.take([0, 2]).targets.shape == (2, 4, 5) and split.divide(0.34, 0)[1].examples == 1
    names = data.Mask().as_array(["a.png", "a much longer name.png"], 2)
    assert names.dtype == object and names.tolist() == ["a.png", "a much longer name.png"]
    for wrong in (masks[0], masks.astype(int), masks[:2], ["a", "b"], [1, 2, 3], [b"a", b"b", b"c"]):
        with pytest.raises(ArgumentError, match="`labels` must be uint8 masks .* one for each of 3 images"):
            data.Mask(2).as_array(wrong, 3)
    with pytest.raises(ArgumentError, match="must be from 0 to 1, or 255 .* Received: label=2"):
        data.Mask(2).as_array(np.full((1, 2, 2), 2, "uint8"), 1)
    with pytest.raises(ArgumentError, match="`count` must be from 1 to 255 classes"):
        data.Mask(256)
    with pytest.raises(ArgumentError, match="`ignore` must be a label from 0 to 255"):
        data.Mask(2, -1)


@pytest.mark.parametrize(
    ("augment", "reason"),
    [
        (data.Augment(mixup=0.2), "cannot be mixed"),
        (data.Augment(cutmix=1.0), "cannot be mixed"),
        (data.Augment("distort"), "distortions move pixels"),
        (data.Augment(rand_augment=0.5), "RandAugment may move pixels"),
    ],
)
def test_what_masks_cannot_follow(augment, reason):
    assert reason in data.Mask(2).refusal(augment)
    assert data.Mask(2).refusal(data.Augment("crop-flip", erasing=0.3)) is None
