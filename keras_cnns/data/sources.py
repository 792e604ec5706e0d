"""Where pictures come from: scikit-learn's digits, `.npz` files, folders of pictures, tensorflow-datasets."""

import dataclasses
import functools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_cnns.data.pictures import SUFFIXES, read_picture
from keras_cnns.errors import ArgumentError, SourceError, nearest

TEST_SHARE = 0.2  # of a source that comes without a test split
SPLIT_SEED = 0  # the same at training and at evaluation, so that the test split stays unseen


class Split:
    """Part of a source: pictures and their labels.

    Attributes:
        examples: number of pictures.
        labels: int64 array (examples,), or None where only the data set itself knows them.
        faults: errors met while reading; a tf.data pipeline can only say that an op failed, this says why.
    """

    labels = None

    def __init__(self, examples):
        self.examples = examples
        self.faults = []

    def elements(self):
        """Return a `tf.data.Dataset` of (element, label int64), cheap to shuffle."""
        raise TypeError(f"{type(self).__name__} has no elements")

    def decode(self, element, channels):
        """Return the uint8 picture (height, width, channels) of an element, inside a tf.data map."""
        return _with_channels(element, channels)

    def divide(self, share, seed):
        """Return two splits, the second with `share` of the pictures, stratified where the labels are known."""
        raise TypeError(f"{type(self).__name__} cannot be divided")

    def sample(self, count):
        """Return a split of at most `count` pictures, spread over the whole."""
        raise TypeError(f"{type(self).__name__} cannot be sampled")


class _Labeled(Split):
    """A split whose items and labels lie in memory."""

    def __init__(self, items, labels):
        super().__init__(len(items))
        self.items, self.labels = items, np.asarray(labels, "int64")

    def elements(self):
        """As `Split.elements`."""
        with tf.device("CPU"):
            return tf.data.Dataset.from_tensor_slices((self.items, self.labels))

    def divide(self, share, seed):
        """As `Split.divide`."""
        first, second = _stratified(self.labels, share, seed)
        return tuple(type(self)(self.items[part], self.labels[part]) for part in (first, second))

    def sample(self, count):
        """As `Split.sample`."""
        spread = np.linspace(0, self.examples - 1, min(count, self.examples)).round().astype("int64")
        return type(self)(self.items[spread], self.labels[spread])


class ArraySplit(_Labeled):
    """Pictures of one size in a uint8 array (examples, height, width, channels)."""


class FileSplit(_Labeled):
    """Picture files, read when they are needed."""

    def decode(self, element, channels):
        """As `Split.decode`; a file that cannot be read is noted in `faults`."""

        def read(path):
            try:
                return read_picture(path.decode(), channels)
            except SourceError as error:
                self.faults.append(error)
                raise

        picture = tf.numpy_function(read, [element], tf.uint8, stateful=False)
        picture.set_shape((None, None, channels))
        return picture


class TfdsSplit(Split):
    """The examples from `start` to `stop` of a split of a tensorflow-datasets builder that lies on disk."""

    def __init__(self, builder, name, start=0, stop=None):
        stop = builder.info.splits[name].num_examples if stop is None else stop
        super().__init__(stop - start)
        self.builder, self.name, self.start, self.stop = builder, name, start, stop

    def elements(self):
        """As `Split.elements`; the order is the files' own, which was shuffled when they were written."""
        split = f"{self.name}[{self.start}:{self.stop}]"
        data = self.builder.as_dataset(split=split, as_supervised=True)
        return data.map(lambda image, label: (image, tf.cast(label, tf.int64)))

    def divide(self, share, seed):
        """As `Split.divide`, but a slice, not stratified, whatever the seed."""
        cut = self.stop - round(self.examples * share)
        return tuple(TfdsSplit(self.builder, self.name, *bounds) for bounds in ((self.start, cut), (cut, self.stop)))

    def sample(self, count):
        """As `Split.sample`; the first ones, as the order is random already."""
        return TfdsSplit(self.builder, self.name, self.start, self.start + min(count, self.examples))


@dataclasses.dataclass(frozen=True)
class Source:
    """Pictures with labels, in splits.

    Attributes:
        name: what `open_source` was given ("digits", "tfds:cifar10", a path).
        class_names: one string a class, in the order of the labels.
        image_shape: (height, width, channels) of every picture; height and width are None where they differ.
        splits: from "train", "test" and, in some, "validation" to `Split`.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    splits: Mapping[str, Split]

    def split(self, name):
        """Return a split by name; raise ArgumentError, naming those there are, if there is none so called."""
        if name not in self.splits:
            raise ArgumentError(
                f"{self.name} has no such split; it has {', '.join(self.splits)}."
                f"{nearest(name, self.splits)} Received: split={name!r}"
            )
        return self.splits[name]


def open_source(name, *, data_dir=None, download=False):
    """Return the source of pictures that `name` describes.

    Args:
        name: "digits" (the 1,797 digits that scikit-learn carries, at 32x32, 20 % of them, stratified, as test
            split); a path to an `.npz` file (x_train, y_train, x_test, y_test, optionally class_names); a
            folder DIR/train/CLASS/* and DIR/test/CLASS/*, or DIR/CLASS/* (20 %, stratified, as test split);
            "tfds:NAME", a data set of tensorflow-datasets.
        data_dir: where tensorflow-datasets keeps its files; None: its own default.
        download: whether a tensorflow-datasets set that is not on disk may be fetched and prepared.

    Returns:
        `Source`.

    Raises:
        ArgumentError: if there is no such source.
        SourceError: if its contents cannot be used.
    """
    name = str(name)
    if name.startswith("tfds:"):
        return _tfds(name, data_dir, download)
    path = Path(name)
    if name == "digits":
        return _digits()
    if path.is_dir():
        return _folder(name, path)
    if path.suffix == ".npz":
        if not path.is_file():
            raise ArgumentError(f"there is no such file. Give the path of an .npz file. Received: source={name!r}")
        return _npz(name, path)
    raise ArgumentError(
        "a source of pictures is 'digits', a path to an .npz file, a folder of pictures, or 'tfds:NAME'; this is "
        f"none of them.{nearest(name, ['digits'])} Received: source={name!r}"
    )


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype("uint8")  # 8x8, ink 0 to 16
    images = tf.image.resize(small[..., None], (32, 32), method="bicubic").numpy()
    train, test = ArraySplit(np.clip(np.round(images), 0, 255).astype("uint8"), digits.target).divide(
        TEST_SHARE, SPLIT_SEED
    )
    return Source("digits", tuple("0123456789"), (32, 32, 1), {"train": train, "test": test})


def _npz(name, path):
    needed = ("x_train", "y_train", "x_test", "y_test")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in needed if key not in file]
            arrays = {key: file[key] for key in (*needed, "class_names") if key in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError, AttributeError, TypeError) as error:
        if "pickle" in str(error).lower():
            fault, cure = (
                "holds pickled Python objects, which could run any code",
                "Save plain arrays with np.savez",
            )
        else:
            fault, cure = "is damaged or no .npz file", "Make it again with np.savez"
        raise SourceError(f"{path}: {fault}. {cure}.") from None
    if missing:
        raise SourceError(f"{path}: lacks {', '.join(missing)}. It must hold {', '.join(needed)}.")

    names = arrays.get("class_names")
    if names is None:
        y_train = arrays["y_train"]
        most = int(y_train.max()) if np.issubdtype(y_train.dtype, np.integer) and y_train.size else 0
        names = range(min(most, 1_000_000) + 1)
    elif names.ndim != 1:
        raise SourceError(f"{path}: class_names must be a list of strings. Received: shape={names.shape}")
    names = tuple(text.decode() if isinstance(text, bytes) else str(text) for text in names)
    splits = {}
    for split in ("train", "test"):
        images = _checked_images(path, f"x_{split}", arrays[f"x_{split}"])
        labels = _checked_labels(path, f"y_{split}", arrays[f"y_{split}"], len(images), len(names))
        splits[split] = ArraySplit(images, labels)
    shape, other = splits["train"].items.shape[1:], splits["test"].items.shape[1:]
    if shape != other:
        raise SourceError(f"{path}: x_train has pictures of shape {shape}, x_test of {other}. Make them equal.")
    _need_two_classes(path, names)
    return Source(name, names, shape, splits)


def _checked_images(path, key, images):
    """Return uint8 (examples, height, width, channels), or raise a SourceError that says what is wrong."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise SourceError(
            f"{path}: {key} must be (examples, height, width) or (examples, height, width, 1 or 3), none of them 0. "
            f"Received: shape={images.shape}"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        raise SourceError(f"{path}: {key} must hold numbers from 0 to 255. Received: dtype={images.dtype}")
    if not np.isfinite(images).all():
        raise SourceError(f"{path}: {key} holds values that are not finite (NaN or infinity). Replace them.")
    low, high = images.min(), images.max()
    if low < 0 or high > 255 or (high <= 1 and np.issubdtype(images.dtype, np.floating)):
        raise SourceError(
            f"{path}: {key} must hold pixels from 0 to 255, best as uint8. Multiply pictures of 0 to 1 by 255. "
            f"Received: values from {low:g} to {high:g}"
        )
    return np.round(images).astype("uint8")


def _checked_labels(path, key, labels, examples, classes):
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (examples,) or not np.issubdtype(labels.dtype, np.integer):
        raise SourceError(
            f"{path}: {key} must hold one whole number a picture, shape ({examples},); for one-hot labels store "
            f"their argmax. Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise SourceError(
            f"{path}: {key} must lie between 0 and {classes - 1}, as there are {classes} classes. "
            f"Received: labels from {low} to {high}"
        )
    return labels


def _folder(name, path):
    if (path / "train").is_dir():
        parts = {part: path / part for part in ("train", "validation", "test") if (path / part).is_dir()}
        listed = {part: _pictures_by_class(folder) for part, folder in parts.items()}
        class_names = tuple(listed["train"])
        for part, classes in listed.items():
            if tuple(classes) != class_names:
                odd = sorted(set(classes) ^ set(class_names))
                raise SourceError(
                    f"{parts[part]}: must have the same class folders as {parts['train']}. "
                    f"Add or remove: {', '.join(odd)}"
                )
        splits = {part: _file_split(classes) for part, classes in listed.items()}
    else:
        classes = _pictures_by_class(path)
        class_names = tuple(classes)
        train, test = _file_split(classes).divide(TEST_SHARE, SPLIT_SEED)
        splits = {"train": train, "test": test}
    return Source(name, class_names, (None, None, 3), splits)


def _pictures_by_class(folder):
    """Return {class name: sorted picture paths} of the class folders in `folder`."""
    classes = {
        entry.name: sorted(
            str(file) for file in entry.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        for entry in sorted(folder.iterdir())
        if entry.is_dir() and not entry.name.startswith(".")
    }
    if not classes:
        raise SourceError(f"{folder}: has no folders in it. Put the pictures of each class into a folder of its own.")
    for name, files in classes.items():
        if not files:
            raise SourceError(f"{folder / name}: has no pictures. Add some, or remove the folder.")
    _need_two_classes(folder, tuple(classes))
    return classes


def _file_split(classes):
    files = [file for paths in classes.values() for file in paths]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
    return FileSplit(np.array(files), labels)


def _need_two_classes(path, names):
    if len(names) < 2:
        raise SourceError(
            f"{path}: has one class only, {names[0]!r}; there is nothing to tell apart. Add pictures of another class."
        )


def _stratified(labels, share, seed):
    """Return two sorted index arrays, the second with `share` of every class, rounded, and at least one."""
    from sklearn.model_selection import train_test_split

    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise SourceError(
            f"a split that keeps the classes' shares needs two pictures of each; the class with label "
            f"{classes[counts.argmin()]} has one. Add a picture to it."
        )
    size = min(max(len(classes), round(len(labels) * share)), len(labels) - len(classes))
    first, second = train_test_split(np.arange(len(labels)), test_size=size, random_state=seed, stratify=labels)
    return np.sort(first), np.sort(second)


def _tfds(spec, data_dir, download):
    import tensorflow_datasets as tfds

    name = spec.removeprefix("tfds:")
    if not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_.\-]+)?(:[0-9.*]+)?", name):
        raise ArgumentError(f"after 'tfds:' stands a data set's name, as in tfds:cifar10. Received: source={spec!r}")
    _work_offline()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise ArgumentError(
            f"tensorflow-datasets has no data set of that name.{nearest(name, tfds.list_builders())} "
            f"Received: source={spec!r}"
        ) from None
    if not builder.is_prepared():
        if not download:
            raise SourceError(
                f"{spec}: is not on disk in {builder.data_path.parent.parent}. On a machine with a network, add "
                f"--download, or run: tfds build {name}" + (f" --data_dir {data_dir}" if data_dir else "")
            )
        builder.download_and_prepare()
    features, keys = builder.info.features, builder.info.supervised_keys
    if (
        keys is None
        or not isinstance(features[keys[0]], tfds.features.Image)
        or not isinstance(features[keys[1]], tfds.features.ClassLabel)
    ):
        raise SourceError(f"{spec}: does not pair a picture with one class. Choose a set made for classification.")
    if "train" not in builder.info.splits:
        raise SourceError(f"{spec}: has no split 'train' (only {', '.join(builder.info.splits)}). Choose another set.")
    splits = {part: TfdsSplit(builder, part) for part in ("train", "validation", "test") if part in builder.info.splits}
    if "test" not in splits:
        # Some sets publish labels of train and validation alone: then the latter is what one is measured on.
        if "validation" in splits:
            splits["test"] = splits.pop("validation")
        else:
            splits["train"], splits["test"] = splits["train"].divide(TEST_SHARE, SPLIT_SEED)
    height, width, channels = features[keys[0]].shape
    if channels not in (1, 3):
        channels = 3
    return Source(spec, tuple(features[keys[1]].names), (height, width, channels), splits)


@functools.cache
def _work_offline():
    """Keep tensorflow-datasets from asking its bucket for each set's description: it retries for minutes."""
    from tensorflow_datasets.core.utils import gcs_utils

    gcs_utils._is_gcs_disabled = True


def _with_channels(picture, channels):
    """Return a uint8 picture tensor (..., height, width, 1 or 3) with so many channels."""
    now = picture.shape[-1]
    if now == channels:
        return picture
    if now == 1 and channels == 3:
        return tf.image.grayscale_to_rgb(picture)
    if now == 3 and channels == 1:
        return tf.image.rgb_to_grayscale(picture)
    raise SourceError(f"a picture of {now} channels cannot become one of {channels}.")
