"""Augmentations against plain loops over the same draws."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cnns.data import Augment, Preprocessing, make_dataset
from keras_cnns.data.augment import ColorComponents, by_layer, color_noise
from keras_cnns.data.crops import DRAWS, crop_by_area, crop_of_jittered, crop_of_resized
from keras_cnns.data.dataset_state import Position
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.geometry import AUGMENTATIONS, pad_crop_flip
from keras_cnns.data.image_files import cut, read_image, read_window
from keras_cnns.data.pipeline import fit_color
from keras_cnns.data.sharding import Share
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError

WINDOWS = sorted(name for name, change in AUGMENTATIONS.items() if change.window)
SEED = np.array([1, 2])
COMPONENTS = ColorComponents((0.2, 0.02, 0.004), ((0.6, 0.8, 0.0), (0.8, -0.6, 0.0), (0.0, 0.0, 1.0)))


def random_draws(seed, count):
    return np.random.default_rng(seed).random((count, DRAWS))


def smooth(height, width, seed=0):
    """Return an image without sharp edges, different everywhere."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype="uint8")
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))


def bilinear(pixels, size):
    """Resize by a loop over the output, with pixel centers at halves."""
    out = np.zeros((*size, pixels.shape[-1]))
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = (
                np.clip((k + 0.5) * n / m - 0.5, 0, n - 1) for k, n, m in zip((i, j), pixels.shape, size, strict=False)
            )
            top, left = int(y), int(x)
            below, right = min(top + 1, pixels.shape[0] - 1), min(left + 1, pixels.shape[1] - 1)
            upper = pixels[top, left] * (1 - (x - left)) + pixels[top, right] * (x - left)
            lower = pixels[below, left] * (1 - (x - left)) + pixels[below, right] * (x - left)
            out[i, j] = upper * (1 - (y - top)) + lower * (y - top)
    return out


# Windows


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (60, 300), (10, 10), (4, 4)])
def test_windows_lie_inside_the_image(name, shape):
    record = Preprocessing((224, 224))
    for draws in [*random_draws(0, 300), np.zeros(DRAWS), np.full(DRAWS, np.nextafter(1, 0))]:
        top, left, height, width = AUGMENTATIONS[name].window(*shape, draws, record)
        assert 0 <= top <= top + height <= shape[0] and 0 <= left <= left + width <= shape[1] and min(height, width) > 0


def test_crop_of_resized_is_the_crop_of_the_resized_image():
    """The window has the input size, and all places are equally likely."""
    record = Preprocessing((224, 224), shorter_side=256)
    windows = np.array([crop_of_resized(512, 768, draws, record) for draws in random_draws(0, 4000)])
    assert (windows[:, 2:] == 448).all()  # 224 of 256 is 448 of 512
    for place, room in ((0, 512 - 448), (1, 768 - 448)):
        counts = np.bincount(windows[:, place], minlength=room + 1)
        assert len(counts) == room + 1  # every place occurs, both ends included
        chi = ((counts - 4000 / (room + 1)) ** 2 / (4000 / (room + 1))).sum()
        assert chi < room + 5 * math.sqrt(2 * room)
    no_rule = [crop_of_resized(512, 768, draws, Preprocessing((224, 224))) for draws in random_draws(0, 10)]
    assert no_rule == [tuple(window) for window in windows[:10]]  # without a resize rule the ratio is 256/224
    assert crop_of_resized(512, 768, np.zeros(DRAWS), Preprocessing((112, 112), shorter_side=128))[2:] == (448, 448)


@pytest.mark.parametrize("high", [512, 480])
def test_jittered_scales_are_uniform(high):
    sizes = np.array(
        [crop_of_jittered(2240, 2240, d, Preprocessing((224, 224)), high=high)[2] for d in random_draws(1, 4000)]
    )
    sides = np.round(224 * 2240 / sizes)  # the shorter side for which the crop has that size
    assert sides.min() == 256 and sides.max() == high
    assert abs(sides.mean() - (256 + high) / 2) < 5 * (high - 256) / math.sqrt(12 * 4000)
    counts = np.histogram(sides, bins=8, range=(256, high))[0]
    assert counts.min() > 400
    half = [crop_of_jittered(2240, 2240, d, Preprocessing((112, 112)), high=high)[2] for d in random_draws(1, 50)]
    # In proportion to the input size, up to rounding to whole pixels
    np.testing.assert_allclose(half, sizes[:50], rtol=0.006)


def test_areas_and_aspects():
    """Area shares are uniform in 8 to 100 %; aspects lie within 3/4 to 4/3."""
    windows = np.array([crop_by_area(600, 600, draws, None) for draws in random_draws(2, 4000)])
    shares, aspects = windows[:, 2] * windows[:, 3] / 360_000, windows[:, 3] / windows[:, 2]
    assert shares.min() >= 0.079 and shares.max() <= 1 and shares.min() < 0.09
    assert aspects.min() >= 0.745 and aspects.max() <= 1.341 and aspects.min() < 0.76 and aspects.max() > 1.32
    small = shares < 0.7  # these fit for every aspect, so that no draw was rejected
    counts = np.histogram(shares[small], bins=6, range=(0.08, 0.7))[0]
    assert counts.max() / counts.min() < 1.3
    assert abs(np.log(aspects[small]).mean()) < 0.02  # as often wide as tall
    assert np.std(np.log(aspects[small])) == pytest.approx(math.log(16 / 9) / math.sqrt(12), rel=0.05)
    for k, draws in enumerate(random_draws(2, 50)):
        for attempt in draws[:40].reshape(10, 4):
            area = 360_000 * (0.08 + 0.92 * attempt[0])
            aspect = math.exp(math.log(3 / 4) + attempt[1] * math.log(16 / 9))
            height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if height <= 600 and width <= 600:
                expected = [int(attempt[2] * (601 - height)), int(attempt[3] * (601 - width)), height, width]
                break
        assert windows[k].tolist() == expected


def test_the_center_is_taken_if_no_attempt_fits():
    draws = np.full(DRAWS, 0.99)
    assert crop_by_area(100, 1000, draws, None) == (0, 433, 100, 133)
    assert crop_by_area(1000, 100, draws, None) == (433, 0, 133, 100)
    assert crop_by_area(100, 120, draws, None) == (0, 0, 100, 120)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_training_image_is_its_window_resized(name):
    """One epoch equals loops over the draws of its seed."""
    images = np.stack([smooth(40, 60, seed) for seed in range(12)])
    record, before = Preprocessing((24, 24)), images.copy()
    data = make_dataset(ArraySplit(images, np.arange(12)), record, 12, augmentation=name, seed=7, normalize=False)
    found, labels = next(data.as_numpy_iterator())
    seed = next(iter(tf.data.Dataset.random(seed=7, rerandomize_each_iteration=True).batch(2)))
    draws = tf.random.stateless_uniform((256, DRAWS), seed).numpy()[:12].tolist()
    assert labels.tolist() == list(range(12))
    for image, row, original in zip(images, draws, found, strict=True):
        top, left, height, width = AUGMENTATIONS[name].window(40, 60, row, record)
        expected = bilinear(image[top : top + height, left : left + width].astype("float64"), (24, 24))
        assert np.abs(original - (expected[:, ::-1] if row[-1] < 0.5 else expected)).max() <= 0.51
    np.testing.assert_array_equal(images, before)


def test_half_of_the_images_are_mirrored_and_windows_differ():
    image = np.zeros((32, 32, 1), "uint8")
    image[:, :16] = 200
    split = ArraySplit(np.repeat(image[None], 400, axis=0), np.zeros(400, int))
    found = next(iter(make_dataset(split, Preprocessing((24, 24), 1), 400, augmentation="inception-crop")))[0].numpy()
    dark_first = found[:, :, :4].mean((1, 2, 3)) < found[:, :, -4:].mean((1, 2, 3))
    assert 160 < dark_first.sum() < 240
    assert len({original.tobytes() for original in found}) > 100


def test_large_windows_are_averaged_down():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype="uint8")
    same = cut(pixels, (1, 2, 31, 31), (16, 16))
    np.testing.assert_array_equal(same, pixels[1:32, 2:33])
    half = cut(pixels, (0, 0, 64, 40), (16, 16))
    assert np.abs(half - pixels[:, :40].reshape(32, 2, 20, 2, 3).mean((1, 3))).max() <= 0.51
    assert cut(pixels[..., :1], (0, 0, 64, 96), (16, 16)).shape == (16, 24, 1)


# JPEG files


@pytest.fixture
def photograph(tmp_path):
    def save(name="photo.jpg", shape=(150, 200), **options):
        Image.fromarray(smooth(*shape)).save(tmp_path / name, quality=90, **options)
        return tmp_path / name

    return save


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
def test_the_fused_decoder_returns_the_pixels_of_pillow(photograph, options):
    path = photograph(**options)
    whole = read_image(path)
    np.testing.assert_array_equal(read_window(path), whole)
    part = read_window(path, 3, lambda height, width: (height // 5, width // 7, 60, 101), (50, 50))
    assert np.abs(part.astype(int) - whole[30:90, 28:129]).max() <= 2
    gray = photograph("gray.png").with_suffix(".jpg")
    Image.fromarray(whole).convert("L").save(gray)
    np.testing.assert_array_equal(read_window(gray, 1), read_image(gray, 1))
    np.testing.assert_array_equal(read_window(gray, 3), read_image(gray, 3))
    np.testing.assert_array_equal(read_window(path, 1), read_image(path, 1))


@pytest.mark.parametrize("divisor", [2, 4, 8])
def test_large_windows_of_a_jpeg_are_decoded_at_a_smaller_size(photograph, divisor):
    path = photograph(shape=(320, 480))
    window = (16, 32, 256, 400)
    part = read_window(path, 3, lambda *sides: window, (256 // divisor, 256 // divisor))
    assert part.shape == (256 // divisor, 400 // divisor, 3)
    expected = cut(read_image(path), window, (256 // divisor, 256 // divisor))
    assert np.abs(part.astype(int) - expected).mean() < 2 and np.abs(part.astype(int) - expected).max() < 16


@pytest.mark.parametrize("kind", ["turned", "print", "png", "wide", "alpha"])
def test_windows_of_other_files_are_decoded_correctly(tmp_path, kind):
    original, path = Image.fromarray(smooth(60, 90)), tmp_path / "photo.jpg"
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 8
        original.save(path, exif=exif)
    elif kind == "print":
        original.convert("CMYK").save(path)
    else:
        path = tmp_path / "photo.png"
        wide = Image.fromarray(np.asarray(original.convert("L")).astype("uint16") * 257)
        {"png": original, "wide": wide, "alpha": original.convert("RGBA")}[kind].save(path)
    whole = read_image(path)
    part = read_window(path, 3, lambda height, width: (height // 4, width // 4, 20, 20), (20, 20))
    top, left = whole.shape[0] // 4, whole.shape[1] // 4
    np.testing.assert_array_equal(part, whole[top : top + 20, left : left + 20])
    split = FileSplit(np.array([str(path)] * 5), np.arange(5))
    images, _ = next(iter(make_dataset(split, Preprocessing((20, 20)), 5, augmentation="crop-flip", normalize=False)))
    assert np.abs(images.numpy().mean((0, 1, 2)) - whole.mean((0, 1))).max() < 30


def test_a_jpeg_file_and_its_pixels_in_memory_give_the_same_training_images(photograph):
    path = photograph(shape=(60, 80))
    record = Preprocessing((32, 32))
    splits = (
        FileSplit(np.array([str(path)] * 20), np.arange(20)),
        ArraySplit(np.stack([read_image(path)] * 20), range(20)),
    )
    for name in WINDOWS:
        files, arrays = (
            next(iter(make_dataset(split, record, 20, augmentation=name, seed=3, normalize=False)))[0].numpy()
            for split in splits
        )
        difference = np.abs(files.astype(int) - arrays)
        # At the edge of a crop the decoder has no neighbors to interpolate colors from
        assert difference[:, 2:-2, 2:-2].max() <= 3 and difference.mean() < 0.3
        assert len({image.tobytes() for image in files}) > (1 if name == "flip" else 10)


# Color


def test_color_noise_equals_a_loop():
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype="uint8")
    before = images.copy()
    found = color_noise(tf.cast(images, tf.float32), SEED, COMPONENTS).numpy()
    alphas = tf.random.stateless_normal((6, 3), SEED, stddev=0.1).numpy()
    for image, alpha, out in zip(images, alphas, found, strict=True):
        moved = 255 * sum(
            a * value * np.array(vector)
            for a, value, vector in zip(alpha, COMPONENTS.eigenvalues, COMPONENTS.eigenvectors, strict=True)
        )
        for row in range(5):
            for column in range(4):
                np.testing.assert_allclose(out[row, column], image[row, column] + moved, atol=1e-3)
    rounded = color_noise(images, SEED, COMPONENTS)
    np.testing.assert_array_equal(rounded, np.clip(np.round(found), 0, 255).astype("uint8"))
    np.testing.assert_array_equal(images, before)


def test_color_noise_lies_in_the_span_with_one_alpha_per_image():
    flat = ColorComponents((0.2, 0.02, 0.0), COMPONENTS.eigenvectors)
    moved = color_noise(tf.zeros((3000, 2, 2, 3)), SEED, flat).numpy()
    assert (moved == moved[:, :1, :1]).all()
    coordinates = moved[:, 0, 0] @ np.array(flat.eigenvectors).T / 255
    assert np.abs(coordinates[:, 2]).max() < 1e-6  # nothing along a direction without variance
    np.testing.assert_allclose(coordinates[:, :2].std(0), [0.02, 0.002], rtol=0.05)
    assert np.abs(np.corrcoef(coordinates[:, 0], coordinates[:, 1])[0, 1]) < 0.06
    assert len(set(coordinates[:, 0].tolist())) == 3000
    still = color_noise(tf.ones((2, 2, 2, 3)), SEED, flat, deviation=0.0)
    np.testing.assert_array_equal(still, np.ones((2, 2, 2, 3)))


def test_colors_are_fitted_on_the_split():
    random = np.random.default_rng(0)
    images = np.clip(random.normal(128, 30, (50, 8, 8, 1)) + random.normal(0, 5, (50, 8, 8, 3)), 0, 255).astype("uint8")
    found = fit_color(ArraySplit(images, np.zeros(50, int)), Preprocessing((8, 8)))
    pixels = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(
        np.array(found.eigenvectors).T @ np.diag(found.eigenvalues) @ found.eigenvectors,
        np.cov(pixels.T, bias=True),
        atol=1e-9,
    )
    assert found.eigenvalues[0] > 20 * found.eigenvalues[1]
    np.testing.assert_allclose(found.eigenvectors[0], [3**-0.5] * 3, atol=0.02)
    assert ColorComponents.from_json(found.to_json()) == found
    gray = fit_color(ArraySplit(images, np.zeros(50, int)), Preprocessing((8, 8), 1))
    assert gray.eigenvectors == ((1.0,),)


@pytest.mark.parametrize(
    "values",
    [
        {"eigenvalues": [1, 2], "eigenvectors": [[1, 0], [0, 1]]},
        {"eigenvalues": [1, 2, 3], "eigenvectors": [[1, 0, 0], [0, 1, 0]]},
        {"eigenvalues": [float("nan")], "eigenvectors": [[1]]},
        {"eigenvalues": [1]},
        {"eigenvalues": 1, "eigenvectors": [[1]]},
    ],
)
def test_wrong_color_components_are_refused(values):
    with pytest.raises(ValueError, match="eigenvalues"):
        ColorComponents.from_json(values)


# Keras's layers


@pytest.fixture
def split():
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype="uint8")
    return ArraySplit(images, np.arange(40) % 4)


RECORD = Preprocessing((16, 16), mean=(0.0,), scale=(1.0,))


FIELDS = {field.name for field in dataclasses.fields(Augment)}


def augmented(split, **changes):
    """Return a dataset; `changes` are arguments of `make_dataset` or fields of `Augment`."""
    fields = {name: changes.pop(name) for name in FIELDS & changes.keys()}
    return make_dataset(split, RECORD, 40, **{"one_hot": 4, "seed": 3, **changes}, augmentation=Augment(**fields))


def first_batch(split, **changes):
    return [part.numpy() for part in next(iter(augmented(split, **changes)))]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rand_augment": 0.5}, marks=pytest.mark.slow),
        {"color": COMPONENTS},
        {"erasing": 0.5},
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"mixup": 0.4, "cutmix": 1.0, "erasing": 0.3, "color": COMPONENTS},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_the_same_seed_gives_the_same_bytes(split, changes):
    before = split.items.copy()
    images, labels = first_batch(split, **changes)
    again, labels_again = first_batch(split, **changes)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert images.shape == (40, 16, 16, 3) and images.dtype == np.float32 and (images != first_batch(split)[0]).any()
    assert (images != first_batch(split, seed=4, **changes)[0]).any()
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-5)
    whole = first_batch(split, normalize=False, **changes)[0]
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(split.items, before)
    data = augmented(split, **changes)
    first_pass, second_pass = (next(iter(data))[0].numpy() for _ in range(2))
    np.testing.assert_array_equal(first_pass, images)
    assert (first_pass != second_pass).any()  # each pass draws again


def test_mixup_is_the_weighted_sum(split):
    images, labels = first_batch(split, mixup=1.0)
    plain, own = first_batch(split)
    order = [
        next(j for j in range(40) if _fits(mixed, plain[k], plain[j], labels[k], own[k], own[j]))
        for k, mixed in enumerate(images)
    ]
    assert len(set(order)) > 25  # a permutation, except for images that are hardly mixed


def _fits(mixed, a, b, label, label_a, label_b):
    """Return whether images and labels are mixed with the same weight."""
    difference = (a - b).ravel()
    weight = 1.0 if not difference.any() else (mixed - b).ravel() @ difference / (difference @ difference)
    return np.abs(weight * a + (1 - weight) * b - mixed).max() < 0.1 and (
        np.abs(weight * label_a + (1 - weight) * label_b - label).max() < 1e-3
    )


def test_cutmix_pastes_a_rectangle_and_mixes_labels_by_its_area(split):
    images, labels = first_batch(split, cutmix=1.0)
    plain, own = first_batch(split)
    for k, mixed in enumerate(images):
        pasted = (mixed != plain[k]).any(-1)
        kept = labels[k] @ own[k]
        if kept < 0.999:
            assert abs(pasted.mean() - (1 - kept)) < 0.14  # the rectangle is rounded to whole pixels, the weight is not
        rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
        if len(rows):
            assert pasted[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.98


def test_erasing_changes_the_given_share_of_images(split):
    plain = first_batch(split)[0]
    for share in (0.0, 0.5, 1.0):
        erased = (first_batch(split, erasing=share)[0] != plain).any((1, 2, 3))
        assert erased.mean() == pytest.approx(share, abs=0.25) and (0 < share < 1 or erased.mean() == share)


def test_a_layer_keeps_no_state_between_calls():
    layer = keras.layers.MixUp(alpha=0.5, dtype="float32")
    images, labels = tf.random.stateless_uniform((8, 4, 4, 3), SEED), tf.one_hot(tf.range(8), 8)
    run = tf.function(lambda seed: by_layer(layer, images, seed, labels))
    mixed, other, again = (run(tf.constant(seed, tf.int64))[0].numpy() for seed in ([1, 2], [3, 4], [1, 2]))
    np.testing.assert_array_equal(mixed, again)
    assert (mixed != other).any()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"mixup": 0.2, "one_hot": None}, "which must be one-hot: give the number of classes"),
        ({"cutmix": 1.0, "one_hot": None}, "which must be one-hot"),
        ({"mixup": -0.1}, "`mixup` must lie between 0 and 1"),
        ({"erasing": 1.5}, "`erasing` must lie between 0 and 1"),
        ({"rand_augment": float("nan")}, "`rand_augment` must lie"),
        ({"color_deviation": -0.1}, "`color_deviation` must not be below 0"),
        ({"color": ColorComponents((0.1,), ((1.0,),))}, "must be fitted on images of 3 channels"),
        ({"skip_broken": True, "position": Position()}, "would shift `position`"),
        ({"skip_broken": True, "share": Share(devices=2)}, "in advance, with `without_broken`"),
    ],
)
def test_wrong_arguments_are_refused(split, changes, message):
    with pytest.raises(ArgumentError, match=message):
        first_batch(split, **changes)


def test_geometry_does_not_depend_on_the_other_changes(split):
    """Each change draws from its own seed."""
    alone = first_batch(split, geometry="pad-crop-flip")[0]
    seed = next(iter(tf.data.Dataset.random(seed=3, rerandomize_each_iteration=True).batch(2)))
    np.testing.assert_array_equal(alone, pad_crop_flip(split.items, seed))
    colored = first_batch(split, geometry="pad-crop-flip", color=COMPONENTS)[0]
    noise = (colored - alone).reshape(40, -1, 3)
    assert np.ptp(noise, axis=1).max() < 1e-3
    stronger = first_batch(split, geometry="pad-crop-flip", color=COMPONENTS, color_deviation=0.3)[0]
    np.testing.assert_allclose((stronger - alone).reshape(40, -1, 3), 3 * noise, atol=1e-3)


# Augment


def test_a_name_is_short_for_an_augment(split):
    short, long = (
        make_dataset(split, RECORD, 40, augmentation=augmentation, seed=3)
        for augmentation in ("pad-crop-flip", Augment("pad-crop-flip"))
    )
    np.testing.assert_array_equal(next(iter(short))[0], next(iter(long))[0])


def test_settings_are_accepted_as_arguments_of_make_dataset_until_they_are_removed(split):
    with pytest.warns(DeprecationWarning) as caught:
        old = make_dataset(split, RECORD, 40, seed=3, augmentation="shift", color=COMPONENTS, color_deviation=0.3)
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2 and "`make_dataset(augmentation=Augment(color=...))`" in told[0]
    new = make_dataset(split, RECORD, 40, seed=3, augmentation=Augment("shift", color=COMPONENTS, color_deviation=0.3))
    np.testing.assert_array_equal(next(iter(old))[0], next(iter(new))[0])


def test_wrong_settings_are_refused_when_the_record_is_made():
    with pytest.raises(ArgumentError, match="Did you mean 'crop-flip'"):
        Augment("crop_flip")
    with pytest.raises(ArgumentError, match="`mixup` must lie between 0 and 1. Received: mixup=2"):
        Augment(mixup=2)
