"""That masks move with their images."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cnns import data
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.geometry import AUGMENTATIONS
from keras_cnns.errors import ArgumentError

STEP = 40  # gray levels between two classes
CLASSES = 6


def blocks(count, height, width, seed=0, side=24):
    """Return images whose gray level tells the class of each pixel, and their masks."""
    random = np.random.default_rng(seed)
    small = random.integers(0, CLASSES, (count, -(-height // side), -(-width // side)))
    masks = np.kron(small, np.ones((1, side, side), "int64"))[:, :height, :width].astype("uint8")
    return np.repeat((masks * STEP + 20)[..., None], 3, axis=-1).astype("uint8"), masks


def inner(mask):
    """Return where a mask has one class in a neighborhood of five by five pixels, none of them outside."""
    padded = np.pad(mask, 2, constant_values=254)
    shifted = [padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(5) for x in range(5)]
    return np.ptp(shifted, axis=0) == 0


def check(images, masks):
    """Check that images show what their masks say, and that enough was seen."""
    images, masks = np.asarray(images, "float32")[..., 0], np.asarray(masks)
    seen = 0
    for image, mask in zip(images, masks, strict=True):
        known = inner(mask) & (mask != 255)
        np.testing.assert_array_equal(np.round((image[known] - 20) / STEP), mask[known])
        seen += known.sum()
    assert seen > 0.2 * masks.size


def batches(split, size=(48, 64), **options):
    rule = {name: options.pop(name) for name in ("shorter_side", "fit") if name in options}
    preprocessing = data.Preprocessing(size, 3, **rule)
    return data.make_dataset(split, preprocessing, 8, normalize=False, shuffle=True, seed=3, **options)


def test_places_are_the_centers_of_pixels():
    rows, columns = data.View((10, 20, 4, 8), (2, 4)).places()
    assert rows.tolist() == [11, 13] and columns.tolist() == [21, 23, 25, 27]
    assert data.View((10, 20, 4, 8), (2, 4), mirrored=True).places()[1].tolist() == [27, 25, 23, 21]
    as_tensors = data.View(tf.constant([10.0, 20, 4, 8]), (2, 4), tf.constant(True)).places()
    assert [places.numpy().tolist() for places in as_tensors] == [[11, 13], [27, 25, 23, 21]]


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_moved_by_a_view_equals_the_image_moved_by_it(seed):
    """50 windows each, some of them larger than the image; the image is moved by Pillow's affine map."""
    random, target = np.random.default_rng(seed), data.Mask()
    images, masks = blocks(1, 96, 120, seed)
    same = total = 0
    for _ in range(50):
        height, width = random.uniform(12, 150, 2)
        top, left = random.uniform(-30, 60, 2)
        size, mirrored = tuple(random.integers(16, 90, 2).tolist()), bool(random.integers(2))
        view = data.View((top, left, height, width), size, mirrored)
        moved = target.move(tf.constant(masks[0]), view).numpy()
        coefficients = (width / size[1], 0, left, 0, height / size[0], top)
        nearest = Image.Resampling.NEAREST
        other = Image.fromarray(masks[0] + 1).transform(size[::-1], Image.Transform.AFFINE, coefficients, nearest)
        expected = np.asarray(other) - np.uint8(1)  # what comes in from outside is 0, and then 255
        expected = expected[:, ::-1] if mirrored else expected
        same, total = same + (moved == expected).sum(), total + moved.size
        assert ((moved == 255) == (expected == 255)).mean() > 0.99
    assert same / total > 0.999


@pytest.mark.parametrize("geometry", [name for name in AUGMENTATIONS if name != "distort"])
def test_masks_in_arrays_follow_every_geometry(geometry):
    images, masks = blocks(16, 96, 128, side=32)
    seen = list(batches(data.ArraySplit(images, masks, data.Mask()), augmentation=geometry))
    for shown, moved in seen:
        check(shown, moved)
    assert len(seen) == 2
    if geometry != "none":  # The augmentation does something to the masks
        plain = next(iter(batches(data.ArraySplit(images, masks, data.Mask()))))[1]
        assert (seen[0][1].numpy() != plain.numpy()).mean() > 0.01


@pytest.mark.parametrize("options", [{}, {"shorter_side": 70}, {"fit": "pad"}])
def test_masks_follow_the_resize_rule(options):
    images, masks = blocks(8, 90, 150, side=30)
    for shown, moved in batches(data.ArraySplit(images, masks, data.Mask()), **options):
        check(shown, moved)


@pytest.mark.parametrize("size", [(48, 64), (64, 48)])
def test_the_padding_of_a_mask_is_ignored(size):
    images, masks = np.full((8, 90, 150, 3), 255, "uint8"), np.zeros((8, 90, 150), "uint8")
    ((shown, moved),) = batches(data.ArraySplit(images, masks, data.Mask()), size, fit="pad")
    np.testing.assert_array_equal(moved == 255, shown[..., 0] == 0)  # the mean of this record is black
    assert 0.2 < (moved.numpy() == 255).mean() < 0.6 or size == (48, 64)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("geometry", ["none", "inception-crop", "scale-jitter"])
def test_masks_in_arrays_follow_files_that_are_decoded_in_part(tmp_path, suffix, geometry):
    """A JPEG is decoded within its window, at a reduced size; other files as a whole."""
    images, masks = blocks(8, 400, 560, side=80)
    paths = [str(tmp_path / f"{k}.{suffix}") for k in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path, **({"quality": 95} if suffix == "jpg" else {}))
    split = FileSplit(np.array(paths, object), masks, data.Mask())
    for shown, moved in batches(split, augmentation=geometry):
        check(shown, moved)


def test_pixels_that_come_in_from_outside_are_ignored():
    images, masks = np.full((8, 32, 32, 3), 200, "uint8"), np.full((8, 32, 32), 5, "uint8")
    split = data.ArraySplit(images, masks, data.Mask())
    preprocessing = data.Preprocessing((32, 32), 3)
    shown, moved = next(iter(data.make_dataset(split, preprocessing, 8, normalize=False, augmentation="shift")))
    outside = shown.numpy()[..., 0] == 0
    assert outside.any() and np.array_equal(moved.numpy() == 255, outside)
    assert set(np.unique(moved)) == {5, 255}


def test_masks_of_another_size_are_refused():
    with pytest.raises(ArgumentError, match=r"masks must have the size of their images, \(8, 9\)"):
        data.ArraySplit(np.zeros((4, 8, 9, 3), "uint8"), np.zeros((4, 9, 8), "uint8"), data.Mask())


def test_what_masks_cannot_follow_is_refused():
    split = data.ArraySplit(*blocks(4, 48, 48)[:1], blocks(4, 48, 48)[1], data.Mask())
    for augmentation, reason in (
        ("distort", "choose another geometry"),
        (data.Augment(rand_augment=0.5), "RandAugment may move pixels"),
        (data.Augment(mixup=0.2), "the class of a pixel cannot be mixed"),
    ):
        with pytest.raises(ArgumentError, match=reason):
            batches(split, augmentation=augmentation)


def test_files_that_are_read_again_give_the_same_pixels(tmp_path, monkeypatch):
    images, masks = blocks(8, 400, 560, side=80)
    paths = [str(tmp_path / f"{k}.jpg") for k in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    split = FileSplit(np.array(paths, object), masks, data.Mask())
    ((first, _),) = batches(split, augmentation="inception-crop")
    monkeypatch.setattr("keras_cnns.data.file_split.PASSED_ON", 0)
    ((again, _),) = batches(split, augmentation="inception-crop")
    np.testing.assert_array_equal(first, again)
