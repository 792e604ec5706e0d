"""Order, shuffling and division among processes of records in both formats."""

import numpy as np
import pytest
import tensorflow as tf

from keras_cnns.data import Preprocessing, Share, make_dataset, open_source
from keras_cnns.data import _records as module
from keras_cnns.data._records import read_records

COUNT, SHARDS = 103, 5


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Paths of five TFRecord files of twenty records each, such as "2:17"."""
    folder = tmp_path_factory.mktemp("records")
    paths = [str(folder / f"{k}.tfrecord") for k in range(5)]
    for k, path in enumerate(paths):
        with tf.io.TFRecordWriter(path) as writer:
            for number in range(20):
                writer.write(f"{k}:{number}".encode())
    return paths


def texts(data):
    return [record.decode() for record in data.as_numpy_iterator()]


def test_records_in_order(shards):
    parts = [(shards[1], 15, 5), (shards[3], 0, 2)]
    assert texts(read_records(parts, False)) == ["1:15", "1:16", "1:17", "1:18", "1:19", "3:0", "3:1"]


def test_records_of_many_files_are_mixed_by_the_seed(shards, monkeypatch):
    monkeypatch.setattr(module, "FILES", 2)
    parts = [(path, 0, 20) for path in shards]
    orders = [texts(read_records(parts, False, seed)) for seed in (1, 1, 2)]
    everything = texts(read_records(parts, False))
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(order) == sorted(everything) and order != everything for order in orders)
    assert len({text[0] for text in orders[0][:8]}) == 2  # two files in turns


@pytest.fixture(scope="module", params=["tfrecord", "array_record"])
def stored(request, tmp_path_factory):
    """A dataset in five files, with each image's number as its pixels."""
    import tensorflow_datasets as tfds

    images = np.broadcast_to(np.arange(COUNT, dtype="uint8")[:, None, None, None], (COUNT, 4, 4, 3))
    folder = tmp_path_factory.mktemp(request.param)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="numbered",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(4, 4, 3)), "label": tfds.features.ClassLabel(num_classes=3)}
        ),
        split_datasets={
            name: tf.data.Dataset.from_tensor_slices({"image": images, "label": np.arange(COUNT) % 3})
            for name in ("train", "test")
        },
        data_dir=folder,
        file_format=request.param,
        download_config=tfds.download.DownloadConfig(num_shards=SHARDS),
    )
    return open_source("tfds:numbered", data_dir=folder)


def numbers(data):
    """Return the numbers of the images in batches, and check their labels."""
    numbers_of_images = []
    for images, labels, *_ in data:
        numbers_of_batch = np.asarray(images)[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(labels, numbers_of_batch % 3)
        numbers_of_images += numbers_of_batch.tolist()
    return numbers_of_images


def test_both_formats_return_every_image_once(stored):
    split = stored.split("train")
    assert split.builder.info.splits["train"].num_shards == SHARDS
    assert numbers(split.shuffled(1).batch(10)) != numbers(split.elements().batch(10))
    for data in (split.elements(), split.shuffled(1)):
        assert sorted(numbers(data.batch(10))) == list(range(COUNT))
    assert numbers(split.shuffled(1).batch(10)) == numbers(split.shuffled(1).batch(10))
    first, second = split.divide(0.3, 0)
    parts = [numbers(part.shuffled(1).batch(10)) for part in (first, second)]
    assert sorted(parts[0] + parts[1]) == list(range(COUNT)) and [len(part) for part in parts] == [72, 31]
    assert np.bincount(split.read_labels()).tolist() == [35, 34, 34]


def test_each_process_opens_only_its_files(stored):
    split, preprocessing = stored.split("train"), Preprocessing((4, 4), 3, mean=(0.0,), scale=(1.0,))
    parts = [split.portion(k, 2) for k in (0, 1)]
    paths = [{path for path, *_ in part._file_parts()} for part in parts]
    assert len(paths[0]) == len(paths[1]) == 3 and len(paths[0] & paths[1]) == 1  # both read the file in the middle
    first, second = (numbers(make_dataset(split, preprocessing, 8, shuffle=True, share=Share(2, k, 2))) for k in (0, 1))
    assert len(first) == len(second) == 52  # one process has 51 images and repeats one of them
    assert sorted(set(first) | set(second)) == list(range(COUNT)) and not set(first) & set(second)
