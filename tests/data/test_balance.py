"""Balanced classes: weights, exact counts, and noise on repeats only."""

import keras
import numpy as np
import pytest

from keras_cnns.data import Preprocessing, class_weights, drop_surplus, make_dataset, open_source, repeat_scarce
from keras_cnns.data._tfds_split import TfdsSplit
from keras_cnns.data.balance import add_noise
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError

COUNTS = [5, 12, 2]
RECORD = Preprocessing((6, 6), 1)


@pytest.fixture
def split():
    images = np.random.default_rng(0).integers(100, 150, (19, 6, 6, 1), dtype="uint8")
    return ArraySplit(images, np.random.default_rng(1).permutation(np.repeat([0, 1, 2], COUNTS)))


@pytest.fixture
def files(folder_of_images):
    for k in range(7):
        (folder_of_images / "red" / f"{k}.png").unlink()
    split = open_source(folder_of_images).split("train")
    assert np.bincount(split.labels).tolist() == [10, 4]
    return split


def pixels(split, record=RECORD, **options):
    images, labels = zip(*make_dataset(split, record, 7, normalize=False, **options), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_weights_are_inverse_frequencies_with_mean_1(split):
    weights = class_weights(split)
    assert weights == pytest.approx({label: 19 / (3 * count) for label, count in enumerate(COUNTS)})
    assert np.mean([weights[label] for label in split.labels]) == pytest.approx(1)
    assert len({round(weights[label] * count, 9) for label, count in enumerate(COUNTS)}) == 1
    gap = ArraySplit(split.items[:3], [0, 2, 2])
    assert class_weights(gap) == pytest.approx({0: 1.5, 1: 1.0, 2: 0.75})


def test_fit_accepts_the_weights(split):
    """Without learning, the weighted loss is the mean loss of the classes."""
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = make_dataset(split, RECORD, 19)
    weighted = model.fit(data, class_weight=class_weights(split), shuffle=False, verbose=0).history["loss"][0]
    parts = [split.take(np.flatnonzero(split.labels == label)) for label in range(3)]
    own = [model.evaluate(make_dataset(part, RECORD, 19), verbose=0) for part in parts]
    assert weighted == pytest.approx(np.mean(own), rel=1e-4)


def test_scarce_classes_are_repeated_until_equal(split):
    before = split.items.copy()
    balanced = repeat_scarce(split)
    images, labels = pixels(balanced)
    assert balanced.examples == 36 == len(images) and np.bincount(labels).tolist() == [12, 12, 12]
    np.testing.assert_array_equal(labels, balanced.labels)
    np.testing.assert_array_equal(images[:19], split.items)  # every image once, unchanged
    for label, count in enumerate(COUNTS):
        of_class = images[labels == label].reshape(12, -1)
        different, times = np.unique(of_class, axis=0, return_counts=True)
        assert len(different) == count and set(times) <= {12 // count, -(-12 // count)}
    np.testing.assert_array_equal(split.items, before)
    np.testing.assert_array_equal(pixels(repeat_scarce(split))[0], images)
    assert any((pixels(repeat_scarce(split, seed=seed))[0] != images).any() for seed in (1, 2, 3))
    shuffled = make_dataset(balanced, RECORD, 36, normalize=False, shuffle=True)
    assert sorted(next(iter(shuffled))[1].numpy().tolist()) == sorted(labels.tolist())


def test_noise_is_added_to_repeats_only(split):
    exact, noisy = (pixels(repeat_scarce(split, noise=noise))[0] for noise in (0.0, 6.0))
    assert noisy.dtype == np.uint8
    np.testing.assert_array_equal(noisy[:19], exact[:19])
    difference = noisy[19:].astype("float64") - exact[19:]
    assert (np.abs(difference).reshape(17, -1).max(1) > 0).all()
    assert difference.std() == pytest.approx(6.0, abs=0.6) and abs(difference.mean()) < 0.8
    assert len(np.unique(difference.reshape(17, -1), axis=0)) == 17  # each repeat has its own noise
    np.testing.assert_array_equal(pixels(repeat_scarce(split, noise=6.0))[0], noisy)
    np.testing.assert_array_equal(pixels(repeat_scarce(split, noise=6.0))[0], noisy)


def test_noise_stays_within_the_range_of_pixels():
    for value in (0, 255):
        noisy = add_noise(np.full((40, 40, 3), value, "uint8"), (1, 2), 30.0).numpy()
        assert noisy.dtype == np.uint8 and np.abs(noisy.astype(int) - value).max() > 60
        assert (noisy == value).mean() == pytest.approx(0.5, abs=0.05)  # the other half was clipped


def test_surplus_images_are_dropped(split):
    balanced = drop_surplus(split)
    assert isinstance(balanced, ArraySplit) and np.bincount(balanced.labels).tolist() == [2, 2, 2]
    label_of = {image.tobytes(): label for image, label in zip(split.items, split.labels, strict=True)}
    assert [label_of[image.tobytes()] for image in balanced.items] == balanced.labels.tolist()
    assert len({image.tobytes() for image in balanced.items}) == 6
    np.testing.assert_array_equal(drop_surplus(split).items, balanced.items)
    assert any((drop_surplus(split, seed).items != balanced.items).any() for seed in (1, 2, 3))


@pytest.mark.parametrize("augmentation", ["none", "inception-crop"])
def test_files_are_balanced(files, augmentation):
    dropped = drop_surplus(files)
    assert np.bincount(dropped.labels).tolist() == [4, 4] and set(dropped.items) <= set(files.items)
    record = Preprocessing((16, 16))
    exact, noisy = (
        pixels(repeat_scarce(files, noise=noise), record, augmentation=augmentation) for noise in (0.0, 20.0)
    )
    assert np.bincount(exact[1]).tolist() == [10, 10]
    np.testing.assert_array_equal(noisy[0][:14], exact[0][:14])
    assert ((noisy[0][14:] != exact[0][14:]).reshape(6, -1).mean(1) > 0.5).all()
    for image, label in zip(*exact, strict=True):
        assert image.mean((0, 1)).argmax() == (2, 0)[label]


def test_a_broken_repeat_is_named(files):
    from keras_cnns.data.pipeline import reading
    from keras_cnns.errors import SourceError

    balanced = repeat_scarce(files, noise=3.0)
    with open(files.items[-1], "wb") as file:
        file.write(b"no image")
    with pytest.raises(SourceError, match="is no image"), reading(balanced):
        pixels(balanced, Preprocessing((8, 8)))


def test_an_image_is_never_in_two_parts(split):
    balanced = repeat_scarce(split)
    for divide in (lambda: balanced.divide(0.1, 0), lambda: balanced.partition([0.5, 0.5], 0)):
        with pytest.raises(ArgumentError, match="divide first"):
            divide()
    assert balanced.sample(4).examples == 4
    assert len({repeat_scarce(split, noise=noise, seed=seed).identity() for noise in (0, 1) for seed in (0, 1)}) == 4


def test_wrong_arguments_are_refused(split):
    for noise in (-1.0, float("nan")):
        with pytest.raises(ArgumentError, match="`noise` must be"):
            repeat_scarce(split, noise=noise)
    for function in (repeat_scarce, drop_surplus):
        with pytest.raises(ArgumentError, match="their labels are known.*Received: split=TfdsSplit"):
            function(TfdsSplit(None, ("image", "label"), [("train", 0, 3)]))
        with pytest.raises(ArgumentError, match="Received: split=RepeatedSplit"):
            function(repeat_scarce(split))
