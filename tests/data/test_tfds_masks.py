"""Datasets of tensorflow-datasets with masks, written to disk here without a network."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_cnns.data import Preprocessing, make_dataset, open_source, summarize
from keras_cnns.data._tfds_masks import mask_keys
from keras_cnns.data.read_errors import reading
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.tasks import task_for

NAMES = ["red", "green", "blue"]


def store(folder, name, masks_of, labels=NAMES, **more):
    """Write images whose brightest channel at each pixel is its class."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    random = np.random.default_rng(0)
    splits = {}
    for split, count in {"train": 20, "test": 6}.items():
        masks = random.integers(0, 3, (count, 12, 16))
        images = random.integers(0, 60, (count, 12, 16, 3)) + 150 * np.eye(3, dtype="int64")[masks]
        stored = {"image": images.astype("uint8"), "mask": masks_of(masks.astype("uint8"))[..., None]}
        splits[split] = tf.data.Dataset.from_tensor_slices({**stored, **{key: [0] * count for key in more}})
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(), "mask": tfds.features.LabeledImage(labels=labels), **more}
        ),
        split_datasets=splits,
        data_dir=folder,
    )
    return folder


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    def with_border(masks):
        masks[:, 0] = 255
        return masks

    return store(tmp_path_factory.mktemp("tfds"), "rooms", with_border)


def read_all(split):
    with reading(split):
        images, masks = zip(*make_dataset(split, Preprocessing((12, 16)), 7, normalize=False), strict=True)
    return np.concatenate(images), np.concatenate(masks)


def test_images_and_masks_are_read(rooms):
    source = open_source("tfds:rooms#mask", data_dir=rooms)
    assert source.class_names == tuple(NAMES) and task_for(source.target).scored == "pixel"
    train = source.split("train")
    first, second = train.divide(0.25, seed=0)
    assert (train.examples, first.examples, second.examples) == (20, 15, 5)
    for split in (train, second, source.split("test")):
        images, masks = read_all(split)
        assert masks.dtype == np.uint8 and (masks[:, 0] == 255).all() and len(images) == split.examples
        np.testing.assert_array_equal(images[:, 1:].argmax(-1), masks[:, 1:])
    for _, mask in train.encoded():
        assert mask.shape == (12, 16) and set(np.unique(mask)) <= {0, 1, 2, 255}
    summary = summarize(source)
    assert summary.pixels["train"] == tuple(np.bincount(read_all(train)[1].ravel(), minlength=3)[:3].tolist())
    assert summary.ignored == {"train": 20 * 16, "test": 6 * 16}


def test_shuffled_and_augmented_masks_stay_with_their_images(rooms):
    split = open_source("tfds:rooms#mask", data_dir=rooms).split("train")
    with reading(split):
        batches = list(
            make_dataset(split, Preprocessing((12, 16)), 5, shuffle=True, augmentation="pad-crop-flip", normalize=False)
        )
    for images, masks in batches:
        inside = masks.numpy() != 255
        np.testing.assert_array_equal(images.numpy().argmax(-1)[inside], masks.numpy()[inside])
    assert sum(len(images) for images, _ in batches) == 20


def test_a_set_with_labels_gives_labels_unless_masks_are_asked_for(tmp_path):
    import tensorflow_datasets as tfds

    folder = store(tmp_path, "both", lambda masks: masks, label=tfds.features.ClassLabel(names=["in", "out"]))
    assert open_source("tfds:both", data_dir=folder).class_names == ("in", "out")
    assert open_source("tfds:both#mask", data_dir=folder).class_names == tuple(NAMES)


def test_oxfords_trimaps_have_two_classes():
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(), "segmentation_mask": tfds.features.Image(shape=(None, None, 1))}
    )
    info = SimpleNamespace(name="oxford_iiit_pet", features=features)
    keys, labels = mask_keys("tfds:oxford_iiit_pet#segmentation_mask", info, "segmentation_mask")
    assert keys == ("image", "segmentation_mask") and labels.names == ("pet", "background")
    assert labels.table()[[0, 1, 2, 3, 4, 255]].tolist() == [-1, 0, 1, 255, -1, 255]
    other = SimpleNamespace(name="unknown", features=features)
    with pytest.raises(SourceError, match="does not name the classes of its masks"):
        mask_keys("tfds:unknown#segmentation_mask", other, "segmentation_mask")


def test_what_is_wrong_is_named(rooms, tmp_path):
    with pytest.raises(SourceError, match="For its masks, write tfds:rooms#mask"):
        open_source("tfds:rooms", data_dir=rooms)
    with pytest.raises(SourceError, match="has no mask 'masks'; its masks are mask. Did you mean 'mask'"):
        open_source("tfds:rooms#masks", data_dir=rooms)
    folder = store(tmp_path, "wrong", lambda masks: masks + 1)
    source = open_source("tfds:wrong#mask", data_dir=folder)
    with pytest.raises(SourceError, match="tfds:wrong/1.0.0: has a mask with a label above its 3 classes"):
        read_all(source.split("train"))
    with pytest.raises(ArgumentError, match="classes of masks are not numbered anew"):
        source.with_classes(("blue", "green", "red"))
