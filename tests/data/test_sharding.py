"""Processes together read each image once, with weights for repeats."""

import numpy as np
import pytest

from keras_cnns.data import Position, Preprocessing, Share, make_dataset
from keras_cnns.data.splits import ArraySplit

PREPROCESSING = Preprocessing((2, 2), 1, mean=(0.0,), scale=(1.0,))


def numbered(count):
    """Return a split of images whose pixels are their number."""
    images = np.broadcast_to(np.arange(count, dtype="uint8")[:, None, None, None], (count, 2, 2, 1))
    return ArraySplit(np.ascontiguousarray(images), np.arange(count) % 3)


def read(count, batch_size, share=None, **options):
    """Return (numbers of the images, weights) of each batch of a pass."""
    data = make_dataset(numbered(count), PREPROCESSING, batch_size, share=share, **options)
    batches = []
    for images, labels, *weights in data:
        numbers = images.numpy()[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(labels, numbers % 3)
        batches.append((numbers, weights[0].numpy() if weights else np.ones(len(numbers))))
    return batches


@pytest.mark.parametrize(
    "count", [64, 67, 70, *(pytest.param(count, marks=pytest.mark.slow) for count in (33, 65, 71))]
)
@pytest.mark.parametrize("processes, devices", [(1, 2), (1, 4), (2, 2), (2, 4), (4, 4), (4, 8)])
def test_processes_together_read_the_batches_of_one_process(count, processes, devices):
    whole = read(count, 16, shuffle=True, seed=3)
    parts = [read(count, 16, Share(devices, k, processes), shuffle=True, seed=3) for k in range(processes)]
    assert {len(part) for part in parts} == {len(whole)}
    for number, (images, _) in enumerate(whole):
        each = [part[number] for part in parts]
        rows = {len(numbers) for numbers, _ in each}
        assert len(rows) == 1 and processes * rows.pop() % devices == 0
        numbers, weights = map(np.concatenate, zip(*each, strict=True))
        # The weighted mean over all rows is the mean over the images, for any values
        values = np.random.default_rng(number).normal(size=256)
        assert (weights * values[numbers]).mean() == pytest.approx(values[images].mean(), abs=1e-5)
        if number < len(whole) - 1:
            assert (weights == 1).all() and sorted(numbers) == sorted(images)


@pytest.mark.parametrize("count", [64, 65, 67, 71, 3])
@pytest.mark.parametrize("processes, devices", [(1, 4), (2, 4), (4, 4)])
def test_counting_weights_count_each_image_once(count, processes, devices):
    counts = np.zeros(count)
    for k in range(processes):
        for numbers, weights in read(count, 8, Share(devices, k, processes), counting=True):
            np.add.at(counts, numbers, weights)
    np.testing.assert_allclose(counts, 1.0)


def test_a_pass_resumed_in_the_middle_has_the_same_rows():
    share, position = Share(4, 1, 2), Position()
    data = make_dataset(
        numbered(71), PREPROCESSING, 16, shuffle=True, augmentation="shift", seed=1, position=position, share=share
    )
    position.assign(5)
    whole = list(data)
    position.assign(5, 3)
    rest = list(data)
    assert len(whole) == 5 and len(rest) == 2
    for expected_batch, batch in zip(whole[3:], rest, strict=True):
        for expected, part in zip(expected_batch, batch, strict=True):
            np.testing.assert_array_equal(part, expected)
    position.assign(6)
    assert not np.array_equal(next(iter(data))[0], whole[0][0])


def test_windows_are_those_of_one_process():
    sizes, preprocessing = (24, 24), Preprocessing((8, 8), 1)
    images = np.random.default_rng(0).integers(0, 256, (12, *sizes, 1), dtype="uint8")
    split, options = ArraySplit(images, np.arange(12)), {"shuffle": True, "augmentation": "crop-flip", "seed": 2}
    whole = list(make_dataset(split, preprocessing, 4, **options))
    parts = [list(make_dataset(split, preprocessing, 4, share=Share(2, k, 2), **options)) for k in (0, 1)]
    for (batch, labels), *shares in zip(whole, *parts, strict=True):
        images = {int(label): image for batch, labels in shares for image, label in zip(batch, labels, strict=True)}
        for image, label in zip(batch, labels, strict=True):
            np.testing.assert_array_equal(image, images[int(label)])


def test_a_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"a multiple of that, as 96 or 104\. Received: batch_size=100"):
        make_dataset(numbered(8), PREPROCESSING, 100, share=Share(8))


def test_a_position_can_stay():
    position = Position()
    data = make_dataset(numbered(64), PREPROCESSING, 16, shuffle=True, position=position)
    position.stay()
    first, again = [next(iter(data))[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(first, again)
    position.stay(False)
    other, another = [next(iter(data))[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(first, other)
    assert not np.array_equal(other, another)
