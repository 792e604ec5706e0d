"""Datasets of tensorflow-datasets, written to disk here without a network."""

import shutil

import keras
import numpy as np
import pytest
from conftest import one_sentence

from keras_cnns.data import (
    Preprocessing,
    class_weights,
    fit_preprocessing,
    make_dataset,
    open_source,
    reopen_source,
    repeat_scarce,
    split_source,
    summarize,
)
from keras_cnns.data.dataset_state import Position, measure_waiting
from keras_cnns.data.pipeline import reading
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.evaluation import evaluate

NAMES = ["red", "green", "blue"]
FILES = "stripes/1.0.0"


def colored(random, count):
    """Return noisy images whose brightest channel is their class."""
    labels = np.where(np.arange(count) % 2, 0, np.arange(count) // 2 % 3)
    images = random.integers(0, 60, (count, 12, 16, 3), dtype="uint8")
    images[np.arange(count), ..., labels] += 150
    return {"image": images, "label": labels}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, arrays) of the dataset "stripes", stored from a `tf.data.Dataset`."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder, random = tmp_path_factory.mktemp("tfds"), np.random.default_rng(0)
    arrays = {"train": colored(random, 60), "test": colored(random, 12)}
    tfds.dataset_builders.store_as_tfds_dataset(
        name="stripes",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {"image": tfds.features.Image(shape=(12, 16, 3)), "label": tfds.features.ClassLabel(names=NAMES)}
        ),
        split_datasets={name: tf.data.Dataset.from_tensor_slices(stored) for name, stored in arrays.items()},
        data_dir=folder,
    )
    return folder, arrays


def as_stored(images):
    """Return the sorted bytes of images, whose order on disk is random."""
    return sorted(image.tobytes() for image in np.asarray(images))


def read_all(split):
    with reading(split):
        images, labels = zip(*make_dataset(split, Preprocessing((12, 16)), 7, normalize=False), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_the_stored_images_and_labels_are_read(written):
    folder, arrays = written
    source = open_source("tfds:stripes", data_dir=folder)
    assert source.class_names == tuple(NAMES) and source.image_shape == (12, 16, 3)
    for name, stored in arrays.items():
        split = source.split(name)
        images, labels = read_all(split)
        assert as_stored(images) == as_stored(stored["image"]) and split.examples == len(images)
        np.testing.assert_array_equal(images.mean((1, 2)).argmax(1), labels)
        np.testing.assert_array_equal(split.read_labels(), labels)
        np.testing.assert_array_equal([label for _, label in split.encoded()], labels)
    turned = source.with_classes(NAMES[::-1]).split("test")  # labels are matched by class name
    first, _ = turned.divide(0.5, seed=0)
    images, labels = read_all(first)
    np.testing.assert_array_equal(2 - images.mean((1, 2)).argmax(1), labels)
    np.testing.assert_array_equal(first.read_labels(), labels)
    np.testing.assert_array_equal([label for _, label in first.encoded()], labels)
    np.testing.assert_array_equal(sorted(label for _, label in first.shuffled(0)), sorted(labels))
    assert turned.identity() != source.split("test").identity()
    assert open_source("tfds:stripes:1.0.0", data_dir=folder).class_names == tuple(NAMES)


def test_a_network_learns_from_it(written):
    source = open_source("tfds:stripes", data_dir=written[0])
    train = source.split("train")
    record = fit_preprocessing(train, Preprocessing((12, 16)))
    model = linear(keras.optimizers.Adam(0.3))
    data = make_dataset(train, record, 16, shuffle=True, augmentation="shift")
    losses = model.fit(data, epochs=4, class_weight=class_weights(train), shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert model.evaluate(make_dataset(source.split("test"), record, 16), verbose=0)[1] == 1.0


def test_a_dataset_is_divided_into_slices(written):
    folder, arrays = written
    source = open_source("tfds:stripes", data_dir=folder)
    train, validation = source.split("train").divide(0.25, seed=0)
    assert (train.examples, validation.examples, validation.sample(3).examples) == (45, 15, 3)
    parts = split_source(source, {"train": 0.65, "validation": 0.25, "test": 0.1})
    assert [split.examples for split in parts.splits.values()] == [47, 18, 7]
    found = [read_all(split)[0] for split in parts.splits.values()]
    assert as_stored(np.concatenate(found)) == as_stored(
        np.concatenate([stored["image"] for stored in arrays.values()])
    )
    again, again_validation = parts.split("validation").divide(0.5, seed=0)  # consists of slices of two stored splits
    assert as_stored(np.concatenate([read_all(again)[0], read_all(again_validation)[0]])) == as_stored(found[1])
    assert len({split.identity() for split in (*source.splits.values(), *parts.splits.values())}) == 5
    reopened = reopen_source({**parts.record(), "data_dir": str(folder)})
    first, second = ([split.identity() for split in divided.splits.values()] for divided in (reopened, parts))
    assert first == second


def test_class_weights_but_no_repeats(written):
    train = open_source("tfds:stripes", data_dir=written[0]).split("train")
    counts = np.bincount(written[1]["train"]["label"])
    assert class_weights(train) == pytest.approx(dict(enumerate(60 / (3 * counts))))
    with pytest.raises(ArgumentError, match="for a tensorflow-datasets split use class_weights"):
        repeat_scarce(train)


def test_summary(written):
    folder, arrays = written
    source = open_source("tfds:stripes", data_dir=folder)
    summary = summarize(source)
    pixels = arrays["train"]["image"].reshape(-1, 3)
    np.testing.assert_allclose(summary.mean, pixels.mean(0))
    np.testing.assert_allclose(summary.deviation, pixels.std(0))
    counts = {name: tuple(np.bincount(stored["label"]).tolist()) for name, stored in arrays.items()}
    assert summary.counts == counts and summary.sizes["median"] == (12, 16)
    few = summarize(source, sample=5)
    assert few.examined == {"train": 5, "test": 5} and few.counts == counts


def damaged(written, folder, damage):
    shutil.copytree(written[0], folder, dirs_exist_ok=True)
    damage(folder / FILES)
    return open_source("tfds:stripes", data_dir=folder)


def cut(name, size):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[:size])

    return damage


RECORDS = "stripes-train.tfrecord-00000-of-00001"


@pytest.mark.parametrize(
    "damage, reason",
    [
        (cut("dataset_info.json", 100), "Failed to load JSON"),
        (cut("dataset_info.json", 0), "Failed to load JSON"),
        (cut("features.json", 100), "property name|delimiter"),
        (lambda folder: (folder / "features.json").unlink(), "features.json is missing"),
        (lambda folder: (folder / "dataset_info.json").unlink(), "Could not read dataset info"),
        (lambda folder: (folder / RECORDS).unlink(), f"{RECORDS} is missing"),
        (cut(RECORDS, 9000), "the files of 'train' hold 9,000 bytes"),
    ],
)
def test_damage_that_is_found_on_opening(written, tmp_path, damage, reason):
    with pytest.raises(SourceError, match=f"tfds:stripes: is damaged in {tmp_path}.*({reason}).*Remove that folder"):
        damaged(written, tmp_path, damage)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def linear(optimizer="adam"):
    """Return a compiled classifier of these images."""
    model = keras.Sequential(
        [keras.Input((12, 16, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_flipped_byte_is_found_on_reading(written, tmp_path):
    source = damaged(written, tmp_path, lambda folder: flip(folder / RECORDS))
    train, record = source.split("train"), Preprocessing((12, 16))

    def fit():
        batches, _ = measure_waiting(make_dataset(train, record, 16, shuffle=True, position=Position()))
        with reading(source.split("test"), train):
            linear().fit(batches, shuffle=False, verbose=0)

    ways = (
        train.read_labels,
        lambda: summarize(source),
        lambda: read_all(train),
        lambda: fit_preprocessing(train, record),
        lambda: evaluate(linear(), train, record, NAMES),
        fit,
    )
    for read in ways:
        with pytest.raises(SourceError, match=f"tfds:stripes/1.0.0: is damaged in {tmp_path}.*corrupted record"):
            read()


def test_cnn_train_names_a_damaged_set(written, tmp_path, cli):
    damaged(written, tmp_path, lambda folder: flip(folder / RECORDS))
    arguments = ("--data", "tfds:stripes", "--data-dir", tmp_path, "--output", tmp_path / "run")
    code, out, err = cli("train", "NiN", *arguments)
    assert code == 3 and not out and one_sentence(err, "tfds:stripes/1.0.0: is damaged", "corrupted record")


def test_an_image_that_cannot_be_decoded(written, tmp_path):
    import tensorflow as tf

    def damage(folder):
        path = str(folder / RECORDS)
        records = [record.numpy() for record in tf.data.TFRecordDataset(path)]
        records[30] = records[30].replace(b"\x89PNG", b"\x89JPG")
        with tf.io.TFRecordWriter(path) as file:
            for record in records:
                file.write(record)

    train = damaged(written, tmp_path, damage).split("train")
    with pytest.raises(SourceError, match="tfds:stripes/1.0.0: is damaged.*Unknown image file format"):
        read_all(train)


def test_a_file_that_disappears_after_opening(written, tmp_path):
    source = damaged(written, tmp_path, lambda folder: None)
    (tmp_path / FILES / RECORDS).unlink()
    with pytest.raises(SourceError, match=f"tfds:stripes/1.0.0: is damaged.*{RECORDS} is missing"):
        read_all(source.split("train"))


def test_errors_of_other_origin_stay_unchanged(written, tmp_path):
    import tensorflow as tf

    source = open_source("tfds:stripes", data_dir=written[0])
    split = source.split("train")
    for kind in (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.DataLossError):
        with pytest.raises(kind, match="No algorithm worked"), reading(split):
            raise kind(None, None, "No algorithm worked! DecodeImage")
    cached = make_dataset(split, Preprocessing((12, 16)), 16, cache=tmp_path)
    flip(next(tmp_path.glob("*.tfrecord")))
    with pytest.raises(SourceError, match="this file of prepared images was damaged"), reading(split):
        list(cached)
    broken = damaged(written, tmp_path / "copy", lambda folder: flip(folder / RECORDS))
    with pytest.raises(SourceError, match="copy"), reading(split, broken.split("train")):  # names the right one of two
        list(make_dataset(broken.split("train"), Preprocessing((12, 16)), 16))


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("cifar10", SourceError, "is not on disk in .*--download, or run: tfds build cifar10 --data_dir"),
        ("stripez", ArgumentError, "no dataset of that name. Did you mean 'stripes'"),
        ("stripes:2.0.0", ArgumentError, "holds no such version, but 1.0.0. Received: source='tfds:stripes:2.0.0'"),
        ("no_such_thing_at_all", ArgumentError, "no dataset of that name"),
    ],
)
def test_errors_about_missing_datasets(written, name, error, message):
    with pytest.raises(error, match=message):
        open_source(f"tfds:{name}", data_dir=written[0])


def test_a_dataset_without_a_class_is_an_error(tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    data = tf.data.Dataset.from_tensor_slices({"image": np.zeros((2, 8, 8, 3), "uint8")})
    tfds.dataset_builders.store_as_tfds_dataset(
        name="bare",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(8, 8, 3))}),
        split_datasets={"train": data},
        data_dir=tmp_path,
    )
    with pytest.raises(SourceError, match="tfds:bare: does not pair an image with one class"):
        open_source("tfds:bare", data_dir=tmp_path)


def test_a_dataset_that_is_built_from_its_class(tmp_path):
    """`download` prepares it; its class names the features of image and label."""
    import tensorflow_datasets as tfds

    class StripesTest(tfds.core.GeneratorBasedBuilder):
        """Images whose brightness is their class."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(
                    {
                        "image": tfds.features.Image(shape=(10, 12, 3)),
                        "label": tfds.features.ClassLabel(names=["dark", "bright"]),
                    }
                ),
                supervised_keys=("image", "label"),
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(40), "test": self._generate_examples(10)}

        def _generate_examples(self, count):
            for k in range(count):
                yield k, {"image": np.full((10, 12, 3), 200 * (k % 2), "uint8"), "label": k % 2}

    with pytest.raises(SourceError, match="not on disk"):
        open_source("tfds:stripes_test", data_dir=tmp_path)
    made = open_source("tfds:stripes_test", data_dir=tmp_path, download=True)
    source = open_source("tfds:stripes_test", data_dir=tmp_path)
    assert made.class_names == source.class_names == ("dark", "bright") and source.image_shape == (10, 12, 3)
    train, validation = source.split("train").divide(0.25, seed=0)
    assert (train.examples, validation.examples, validation.sample(3).examples) == (30, 10, 3)
    seen = 0
    for split in (train, validation, source.split("test"), validation.sample(3)):
        count = 0
        for images, labels in make_dataset(split, Preprocessing((10, 12), 1), 7, normalize=False):
            assert images.shape[1:] == (10, 12, 1)
            np.testing.assert_allclose(images[:, 0, 0, 0], 200 * labels.numpy(), atol=1)
            count += len(labels)
        assert count == split.examples
        seen += count
    assert seen == 53
