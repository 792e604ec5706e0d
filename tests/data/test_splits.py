"""Divisions of a source are exact, disjoint, stratified and reproducible."""

import shutil

import numpy as np
import pytest
from PIL import Image

from keras_cnns.data import Source, open_source, repeat_scarce, split_source
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.splits import ArraySplit, Split
from keras_cnns.data.splitting import exact_counts, exact_totals
from keras_cnns.errors import ArgumentError, SourceError

SHARES = {"train": 0.65, "validation": 0.25, "test": 0.10}


def numbered(counts, start=0):
    """Return a split with these counts per class; images encode their numbers."""
    examples = sum(counts)
    images = np.arange(start, start + examples, dtype="<u4").view("uint8").reshape(examples, 2, 2, 1)
    return ArraySplit(images, np.repeat(np.arange(len(counts)), counts))


def numbers(split):
    return split.items.reshape(-1, 4).view("<u4").ravel().tolist()


def source_of(**splits):
    return Source("made", tuple("abcdefgh"), (2, 2, 1), splits)


def test_exact_counts_for_any_sizes_and_shares():
    random = np.random.default_rng(0)
    for k in range(500):
        shares = random.dirichlet(np.ones(random.integers(1, 4)))
        sizes = random.integers(1, (8, 300)[k % 2], random.integers(1, 30))
        counts = exact_counts(sizes, shares)
        assert (counts.sum(1) == sizes).all()
        assert (counts.sum(0) == exact_totals(sizes.sum(), shares)).all()
        assert (np.abs(counts - sizes[:, None] * shares) < 1 + 1e-6).all() and counts.min() >= 0
    assert exact_totals(1000, [0.65, 0.25, 0.10]).tolist() == [650, 250, 100]
    assert exact_totals(7, [0.5, 0.3, 0.2]).tolist() == [4, 2, 1]


def test_every_part_gets_scarce_classes_if_its_total_allows():
    counts = exact_counts([4, 207, 4, 307], list(SHARES.values()))
    assert counts.min() == 1 and counts.sum(0).tolist() == exact_totals(522, list(SHARES.values())).tolist()


def test_65_25_10():
    source = source_of(train=numbered([300, 200, 37]), test=numbered([50, 50, 13], start=1000))
    parts = split_source(source, SHARES, seed=3)
    assert list(parts.splits) == ["train", "validation", "test"] and source.splits["train"].examples == 537
    found = {name: numbers(split) for name, split in parts.splits.items()}
    assert [len(images) for images in found.values()] == [423, 162, 65] == exact_totals(650, [0.65, 0.25, 0.1]).tolist()
    everything = sorted(number for images in found.values() for number in images)
    assert everything == sorted(numbers(source.split("train")) + numbers(source.split("test")))  # disjoint and whole
    for name, split in parts.splits.items():
        of_class = np.bincount(split.labels)
        assert np.abs(of_class - SHARES[name] * np.array([350, 250, 50])).max() < 1
        labels = {}
        for original in source.splits.values():
            labels |= zip(numbers(original), original.labels, strict=True)
        assert split.labels.tolist() == [labels[number] for number in found[name]]
    again = split_source(source, dict(reversed(SHARES.items())), seed=3)
    assert {name: numbers(split) for name, split in again.splits.items()} == found
    other = split_source(source, SHARES, seed=4)
    assert numbers(other.split("test")) != found["test"]


def test_splits_that_are_not_named_stay():
    source = source_of(train=numbered([40, 40]), test=numbered([10, 10], start=500))
    parts = split_source(source, {"validation": 0.2, "train": 0.8})
    assert {name: split.examples for name, split in parts.splits.items()} == {"train": 64, "validation": 16, "test": 20}
    assert parts.split("test") is source.split("test") and parts.class_names == source.class_names
    assert max(numbers(parts.split("validation")) + numbers(parts.split("train"))) < 500


def test_folders(folder_of_images):
    source = open_source(folder_of_images)
    parts = split_source(source, SHARES)
    assert [split.examples for split in parts.splits.values()] == [16, 6, 2]
    files = [set(split.items) for split in parts.splits.values()]
    assert all(isinstance(split, FileSplit) for split in parts.splits.values()) and len(set.union(*files)) == 24
    assert files[2] <= set(source.split("test").items)  # no image moves from the training split to the test split
    assert set(parts.split("test").labels) == {0, 1}
    Image.new("RGB", (20, 20), "red").save(folder_of_images / "red" / "new.png")
    grown = split_source(open_source(folder_of_images), SHARES)
    moved = sum(len(before - set(grown.split(name).items)) for name, before in zip(parts.splits, files, strict=True))
    assert moved <= 3


@pytest.mark.parametrize(
    "shares, message",
    [
        ({"train": 0.8, "tests": 0.2}, "names parts among train, validation, test. Received: 'tests'"),
        ({"train": 0.8, "test": 0.1}, "add up to 1. Received: shares="),
        ({"train": 65, "validation": 25, "test": 10}, "add up to 1"),
        ({"train": 1.0, "test": 0.0}, "must be above 0"),
        ({}, "add up to 1"),
        ({"validation": 1.0}, "none of these splits to divide; it has train, test"),
    ],
)
def test_wrong_shares(shares, message):
    with pytest.raises(ArgumentError, match=message):
        split_source(source_of(train=numbered([4, 4]), test=numbered([4, 4])), shares)


def test_too_few_images():
    with pytest.raises(SourceError, match="2 images cannot fill 3 parts"):
        split_source(source_of(train=numbered([1, 1])), SHARES)
    with pytest.raises(SourceError, match="class 'b' is too small to leave an image for training"):
        split_source(source_of(train=numbered([40, 1, 1, 1])), {"train": 0.1, "test": 0.9})


def test_stratified_splits_share_every_class():
    items = np.arange(82, dtype="uint8").reshape(82, 1, 1, 1)
    whole = ArraySplit(items, np.repeat([0, 1, 2], [50, 30, 2]))
    for seed in range(20):
        first, second = whole.divide(0.2, seed)
        assert sorted([*first.items[:, 0, 0, 0], *second.items[:, 0, 0, 0]]) == list(range(82))
        assert np.bincount(second.labels).tolist() == [10, 6, 1]
    assert second.items.tolist() != whole.divide(0.2, 0)[1].items.tolist()


def test_a_folder_that_grows_keeps_its_split(folder_of_images):
    before = open_source(folder_of_images)
    Image.new("RGB", (20, 20), "red").save(folder_of_images / "red" / "new.png")
    after = open_source(folder_of_images)
    tested = set(after.split("test").items) - {str(folder_of_images / "red" / "new.png")}
    assert len(tested & set(before.split("train").items)) <= 1
    moved = folder_of_images.rename(folder_of_images.parent / "elsewhere")
    names = [file.rpartition("/")[2] for file in open_source(moved).split("test").items]
    assert names == [file.rpartition("/")[2] for file in after.split("test").items]


def test_a_sample_is_spread_over_the_split():
    split = ArraySplit(np.arange(100, dtype="uint8").reshape(100, 1, 1, 1), np.arange(100))
    assert split.sample(3).labels.tolist() == [0, 50, 99] and split.sample(1000).examples == 100


def test_a_fingerprint_does_not_depend_on_the_folder(folder_of_images, tmp_path):
    """The identity, by which a cache recognizes its files, does."""
    shutil.copytree(folder_of_images, tmp_path / "copy")
    here, there = (open_source(folder).split("train") for folder in (folder_of_images, tmp_path / "copy"))
    assert here.fingerprint() == there.fingerprint() and here.identity() != there.identity()
    assert here.take(np.arange(1, here.examples)).fingerprint() != here.fingerprint()
    turned = here.take(np.arange(here.examples)[::-1])
    repeats = [repeat_scarce(split).fingerprint() for split in (here, there, turned)]
    assert repeats[0] == repeats[1] != repeats[2]
    arrays = [ArraySplit(np.full((4, 2, 2, 3), value, "uint8"), np.arange(4)) for value in (1, 1, 2)]
    assert arrays[0].fingerprint() == arrays[1].fingerprint() != arrays[2].fingerprint()


def test_a_kind_of_split_must_define_the_abstract_methods():
    class Incomplete(Split):
        def elements(self):
            return None

    assert Incomplete.__abstractmethods__ == {"_relabeled", "divide", "identity", "joined", "partition", "sample"}
    with pytest.raises(TypeError, match="abstract"):
        Incomplete(3)
