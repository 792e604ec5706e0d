"""Pipelines drop no image, count none twice, and repeat under a seed."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_cnns.data import Preprocessing, image_reader, make_dataset, open_source
from keras_cnns.data.dataset_state import Position
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.geometry import AUGMENTATIONS, distort, pad_crop_flip
from keras_cnns.data.pipeline import reading
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError, OutputError, SourceError
from keras_cnns.evaluation._views import views_dataset, whole_dataset
from keras_cnns.evaluation.protocols import PROTOCOLS


@pytest.fixture
def split():
    images = np.random.default_rng(0).integers(0, 256, (23, 8, 8, 3), dtype="uint8")
    return ArraySplit(images, np.arange(23))


RECORD = Preprocessing((8, 8), mean=(100.0,), scale=(0.02,))


def passes(data, count=1):
    return [np.concatenate([labels.numpy() for _, labels in data]).tolist() for _ in range(count)]


@pytest.mark.parametrize("batch", [1, 5, 23, 100])
@pytest.mark.parametrize("in_memory", [True, False])
def test_every_image_once(split, batch, in_memory, monkeypatch):
    if not in_memory:
        monkeypatch.setattr(image_reader, "CACHE_BYTES", 0)
    data = make_dataset(split, RECORD, batch)
    assert len(data) == -(-23 // batch)
    assert passes(data, 2) == [list(range(23))] * 2
    images = np.concatenate([images.numpy() for images, _ in data])
    np.testing.assert_allclose(images, (split.items - 100.0) * 0.02, rtol=1e-5, atol=1e-6)
    shuffled = passes(make_dataset(split, RECORD, batch, shuffle=True, seed=3), 2)
    assert shuffled[0] != shuffled[1] and all(sorted(order) == list(range(23)) for order in shuffled)
    assert shuffled == passes(make_dataset(split, RECORD, batch, shuffle=True, seed=3), 2)
    if batch == 1:
        assert shuffled != passes(make_dataset(split, RECORD, batch, shuffle=True, seed=4), 2)


def test_no_pass_waits_for_the_tuner(split):
    """The thread of the tuner can double the time of a pass."""
    datasets = [
        make_dataset(split, RECORD, 5),
        make_dataset(split, RECORD, 5, shuffle=True, augmentation="pad-crop-flip", position=Position()),
        views_dataset(split, RECORD, PROTOCOLS["ten-crop"], [9], 5),
        whole_dataset(split, RECORD, 9, 5),
    ]
    assert [data.options().autotune.enabled for data in datasets] == [False] * 4
    assert split.elements().options().autotune.enabled is None  # TensorFlow's default, which is to tune


def test_images_stay_uint8_without_normalization(split):
    images, _ = next(iter(make_dataset(split, RECORD, 23, normalize=False)))
    assert images.dtype == "uint8"
    np.testing.assert_array_equal(images, split.items)


def test_gray_and_color_are_converted(split):
    gray = Preprocessing((8, 8), 1)
    images, _ = next(iter(make_dataset(split, gray, 23, normalize=False)))
    expected = split.items @ np.array([0.299, 0.587, 0.114])
    assert np.abs(images.numpy()[..., 0] - expected).max() <= 1.5
    back, _ = next(iter(make_dataset(ArraySplit(images.numpy(), split.labels), RECORD, 23, normalize=False)))
    np.testing.assert_array_equal(back, np.repeat(images, 3, axis=-1))


def test_each_image_gets_its_own_shift():
    """Every output is a crop of the padded input, mirrored or not."""
    images = np.random.default_rng(0).integers(1, 256, (64, 8, 10, 3), dtype="uint8")
    out = pad_crop_flip(images, np.array([1, 2])).numpy()
    assert out.shape == images.shape and out.dtype == np.uint8
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)])
    offsets = []
    for before, after in zip(padded, out, strict=True):
        crops = {(i, j): before[i : i + 8, j : j + 10] for i in range(9) for j in range(9)}
        places = [
            (i, j, flip) for (i, j), c in crops.items() for flip in (0, 1) if (c[:, :: 1 - 2 * flip] == after).all()
        ]
        assert len(places) == 1
        offsets += places
    assert len(set(offsets)) > 40 and 20 < sum(flip for _, _, flip in offsets) < 44
    np.testing.assert_array_equal(out, pad_crop_flip(images, np.array([1, 2])))
    assert (out != pad_crop_flip(images, np.array([1, 3])).numpy()).any()
    still = pad_crop_flip(images, np.array([1, 2]), pad=0, flip=False)
    np.testing.assert_array_equal(still, images)


def moments(image):
    """Return mass, center, deviations along x and y, and slant of a blob."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    mass = image.sum()
    cx, cy = (image * x).sum() / mass, (image * y).sum() / mass
    xx, yy, xy = ((image * a).sum() / mass for a in ((x - cx) ** 2, (y - cy) ** 2, (x - cx) * (y - cy)))
    return mass, cx, cy, xx**0.5, yy**0.5, xy / yy


def test_each_image_gets_its_own_small_affine_map():
    """A blob moves, grows, is squeezed and leans, within the limits given."""
    y, x = np.mgrid[:41, :41] - 20.0
    blob = (250 * np.exp(-(x**2 + y**2) / (2 * 4.0**2))).astype("uint8")
    images = np.repeat(blob[None, ..., None], 200, axis=0)

    def distorted_moments(**only):
        arguments = {**dict.fromkeys(("shift", "scale", "squeeze", "shear"), 0.0), **only}
        out = distort(images, np.array([1, 2]), **arguments).numpy()
        assert out.dtype == np.uint8 and out.shape == images.shape
        return np.array([moments(image[..., 0].astype("float64")) for image in out]).T

    _, x0, y0, dx0, dy0, _ = moments(blob.astype("float64"))
    still = distort(images, np.array([1, 2]), shift=0.0, scale=0.0, squeeze=0.0, shear=0.0)
    np.testing.assert_array_equal(still, images)
    _, cx, cy, dx, dy, lean = distorted_moments(shift=0.1)
    assert np.abs(cx - x0).max() == pytest.approx(4.1, abs=0.3) and np.abs(cy - y0).max() == pytest.approx(4.1, abs=0.3)
    assert abs(np.corrcoef(cx, cy)[0, 1]) < 0.2 and np.abs(lean).max() < 0.05
    _, cx, cy, dx, dy, lean = distorted_moments(scale=0.2)
    assert np.abs([cx - x0, cy - y0]).max() < 0.1
    np.testing.assert_allclose(dx / dx0, dy / dy0, atol=0.03)
    assert (dx / dx0).min() == pytest.approx(0.8, abs=0.04) and (dx / dx0).max() == pytest.approx(1.2, abs=0.04)
    _, _, _, dx, dy, _ = distorted_moments(squeeze=0.2)
    np.testing.assert_allclose(dx / dx0 * dy / dy0, 1, atol=0.05)
    assert (dx / dx0).max() == pytest.approx(1.2, abs=0.04)
    _, _, _, _, dy, lean = distorted_moments(shear=0.3)
    assert np.abs(lean).max() == pytest.approx(0.3, abs=0.03) and lean.min() < -0.2 and lean.max() > 0.2
    np.testing.assert_allclose(dy, dy0, atol=0.1)


@pytest.mark.parametrize("augmentation", sorted(set(AUGMENTATIONS) - {"none"}))
def test_augmentation_changes_from_pass_to_pass_and_repeats_under_a_seed(split, augmentation):
    def twice():
        data = make_dataset(split, RECORD, 23, augmentation=augmentation, seed=5)
        return [next(iter(data))[0].numpy() for _ in range(2)]

    first, second = twice()
    assert (first != second).any()
    np.testing.assert_array_equal([first, second], twice())


@pytest.fixture
def photographs(tmp_path):
    """Return a split of 30 JPEG and PNG files of different sizes."""
    random = np.random.default_rng(0)
    paths = []
    for k in range(30):
        coarse = Image.fromarray(random.integers(0, 256, (5, 5, 3), dtype="uint8"))
        paths.append(tmp_path / f"{k:02}.{'png' if k % 6 == 5 else 'jpg'}")
        coarse.resize((40 + k, 50 - k % 7), Image.BICUBIC).save(paths[-1])
    return FileSplit(np.array([str(path) for path in paths]), np.arange(30))


WAYS = pytest.mark.parametrize("augmentation", ["none", "inception-crop"])


@WAYS
@pytest.mark.parametrize("cached", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_each_file_is_read_once_in_a_seeded_order(photographs, augmentation, cached, tmp_path, monkeypatch):
    monkeypatch.setattr(image_reader, "CACHE_BYTES", 0)
    cache = tmp_path / "cache" if cached else None

    def batches(seed, **changes):
        record = Preprocessing((16, 16))
        data = make_dataset(photographs, record, 7, augmentation=augmentation, seed=seed, cache=cache, **changes)
        assert len(data) == 5
        return [[part.numpy() for part in batch] for _ in range(2) for batch in data]

    plain = batches(1)
    assert np.concatenate([labels for _, labels in plain]).tolist() == [*range(30)] * 2
    shuffled, again, other = batches(1, shuffle=True), batches(1, shuffle=True), batches(2, shuffle=True)
    parts = (shuffled[:5], shuffled[5:], other[:5])
    orders = [np.concatenate([labels for _, labels in part]).tolist() for part in parts]
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    for (images, labels), (images_again, labels_again) in zip(shuffled, again, strict=True):
        np.testing.assert_array_equal(images, images_again)
        np.testing.assert_array_equal(labels, labels_again)


@WAYS
def test_images_cached_on_disk_do_not_need_their_files(photographs, augmentation, tmp_path):
    folder = tmp_path / "kept"

    def read(split=photographs, size=16):
        data = make_dataset(split, Preprocessing((size, size)), 30, augmentation=augmentation, seed=3, cache=folder)
        return next(iter(data))[0].numpy()

    direct = next(iter(make_dataset(photographs, Preprocessing((16, 16)), 30, augmentation=augmentation, seed=3)))[0]
    first = read()
    assert np.abs(first - direct.numpy()).mean() < 0.03  # without a cache, a large JPEG is decoded at a smaller size
    assert len(list(folder.iterdir())) == 1
    made = next(folder.iterdir()).stat().st_mtime_ns
    np.testing.assert_array_equal(read(), first)
    assert next(folder.iterdir()).stat().st_mtime_ns == made
    read(photographs.take(np.arange(10)))
    assert len(list(folder.iterdir())) == 2  # another split has another file
    read(size=20)
    # Whole images are cached for every input size
    assert len(list(folder.iterdir())) == (3 if augmentation == "none" else 2)
    os.utime(photographs.items[0], ns=(1, 1))
    read()
    assert len(list(folder.iterdir())) == (4 if augmentation == "none" else 3)  # a changed file is read again


def test_an_unusable_cache_is_an_error(photographs, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="taken: cannot be written"):
        make_dataset(photographs, Preprocessing((16, 16)), 7, cache=tmp_path / "taken")
    with open(photographs.items[3], "wb"):
        pass
    with pytest.raises(SourceError, match=r"03.jpg: is no image"):
        make_dataset(photographs, Preprocessing((16, 16)), 7, cache=tmp_path / "cache")
    assert not any((tmp_path / "cache").iterdir())  # nothing half written


def damage(path, kind):
    whole = open(path, "rb").read()
    if kind == "missing":
        os.remove(path)
        return
    content = {
        "empty": b"",
        "cut off": whole[: len(whole) // 2],
        "garbage": whole[: len(whole) // 2] + bytes(range(1, 200)) * 20 + b"\xff\xd9",
        "header alone": whole[:250] + b"\xff\xd9",
        "text": b"these are notes",
    }[kind]
    with open(path, "wb") as file:
        file.write(content)


@WAYS
@pytest.mark.parametrize(
    "kind",
    ["missing", "cut off", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("empty", "header alone", "text"))],
)
def test_a_broken_image_in_the_middle_is_named_or_skipped(photographs, augmentation, kind):
    damage(photographs.items[13], kind)
    damage(photographs.items[23], kind)

    def read(**changes):
        data = make_dataset(photographs, Preprocessing((16, 16)), 4, augmentation=augmentation, **changes)
        with reading(photographs):
            return data, np.concatenate([labels.numpy() for _, labels in data]).tolist()

    with pytest.raises(SourceError, match=r"(13.jpg|23.png): (is no image|cannot be read)"):
        read()
    assert not photographs.skipped
    with pytest.raises(SourceError):
        read(shuffle=True)
    data, labels = read(skip_broken=True)
    assert labels == [k for k in range(30) if k not in (13, 23)]
    assert data.cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert list(photographs.skipped) == [photographs.items[13], photographs.items[23]]
    assert "13.jpg: " in str(photographs.skipped[photographs.items[13]])
    assert read(skip_broken=True)[1] == labels and len(photographs.skipped) == 2  # each is noted once
    assert sorted(read(skip_broken=True, shuffle=True)[1]) == labels


def test_an_image_that_tensorflow_refuses_is_named_if_the_window_reaches_the_damage(photographs):
    damage(photographs.items[13], "garbage")
    data = make_dataset(photographs, Preprocessing((16, 16)), 4, augmentation="crop-flip")
    with pytest.raises(SourceError, match=r"13.jpg: (cannot be read|is a JPEG that TensorFlow cannot decode)"):
        with reading(photographs):
            for _ in range(5):
                list(data)


def test_the_pipeline_may_keep_reading_while_the_broken_file_is_sought(photographs, monkeypatch):
    list(make_dataset(photographs, Preprocessing((16, 16)), 4, augmentation="crop-flip"))
    assert len(photographs.decoding) > 1

    def read_on(path):
        photographs.decoding.append(path)

    monkeypatch.setattr("keras_cnns.data.file_split.read_image", read_on)
    assert photographs.fault(tf.errors.InvalidArgumentError(None, None, "jpeg::Uncompress failed")) is None


def test_skipped_images_are_known_once_cached_on_disk(photographs, tmp_path):
    damage(photographs.items[3], "cut off")
    data = make_dataset(photographs, Preprocessing((8, 8)), 7, cache=tmp_path / "cache", skip_broken=True)
    assert data.cardinality() == 5 and passes(data)[0] == [k for k in range(30) if k != 3]
    assert len(photographs.skipped) == 1


def test_other_errors_are_not_changed(photographs):
    with pytest.raises(ZeroDivisionError), reading(photographs):
        list(make_dataset(photographs, Preprocessing((16, 16)), 4, augmentation="crop-flip"))
        raise ZeroDivisionError


def test_large_splits_are_shuffled_as_a_whole(monkeypatch):
    """Files sorted by class must not come nearly sorted."""
    monkeypatch.setattr(image_reader, "CACHE_BYTES", 0)
    monkeypatch.setattr("keras_cnns.data.splits.SHUFFLE", 10)
    items = np.arange(1000).astype("uint8").reshape(-1, 1, 1, 1)
    order = passes(make_dataset(ArraySplit(items, np.arange(1000)), Preprocessing((1, 1), 1), 50, shuffle=True))[0]
    assert np.abs(np.corrcoef(order, np.arange(1000))[0, 1]) < 0.15


def test_a_misspelt_augmentation_is_refused(split):
    with pytest.raises(ArgumentError, match="Did you mean 'pad-crop-flip'"):
        make_dataset(split, RECORD, 4, augmentation="pad_crop_flip")


def test_real_photographs_are_read(flowers):
    source = open_source(flowers)
    assert source.class_names == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert [source.split(name).examples for name in ("train", "test")] == [220, 80]
    data = make_dataset(source.split("test"), Preprocessing((48, 48), shorter_side=56), 16, normalize=False)
    images = np.concatenate([images.numpy() for images, _ in data])
    assert images.shape == (80, 48, 48, 3) and 60 < images.mean() < 180 and images.std() > 40


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_file_of_prepared_images_is_named_and_written_again(folder_of_images, tmp_path, damage):
    train = open_source(folder_of_images).split("train")

    def images():
        with reading(train):
            data = make_dataset(train, Preprocessing((8, 8)), 4, cache=tmp_path / "c")
            return np.concatenate([batch for batch, _ in data])

    before, (file,) = images(), (tmp_path / "c").glob("*.tfrecord")
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    data = make_dataset(train, Preprocessing((8, 8)), 4, cache=tmp_path / "c")
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flipped" else content[: len(content) // 20 * 19])
    with pytest.raises(SourceError, match=f"{file.name}: this file of prepared images was damaged"), reading(train):
        for _ in data:
            pass
    np.testing.assert_array_equal(images(), before)
