"""Where pictures come from: scikit-learn's digits, `.npz` files, folders of pictures, tensorflow-datasets."""

import dataclasses
import os
import unicodedata
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_cnns.data._tfds import open_tfds
from keras_cnns.data.files import FileSplit
from keras_cnns.data.pictures import SUFFIXES
from keras_cnns.data.splits import ArraySplit, Split
from keras_cnns.errors import ArgumentError, SourceError, nearest

TEST_SHARE = 0.2  # of a source that comes without a test split
SPLIT_SEED = 0  # the same at training and at evaluation, so that the test split stays unseen


@dataclasses.dataclass(frozen=True)
class Source:
    """Pictures with labels, in splits.

    Attributes:
        name: what `open_source` was given ("digits", "tfds:cifar10", a path).
        class_names: one string a class, in the order of the labels.
        image_shape: (height, width, channels) of every picture; height and width are None where they differ.
        splits: from "train", "test" and, in some, "validation" to `Split`.
        divisions: what `split_source` did to it, in order: {"shares": {...}, "seed": ...} each.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    splits: Mapping[str, Split]
    divisions: tuple[Mapping, ...] = ()

    def split(self, name):
        """Return a split by name; raise ArgumentError, naming those there are, if there is none so called."""
        if name not in self.splits:
            raise ArgumentError(
                f"{self.name} has no such split; it has {', '.join(self.splits)}."
                f"{nearest(name, self.splits)} Received: split={name!r}"
            )
        return self.splits[name]

    def record(self):
        """Return what a model file notes of it, as JSON; `reopen_source` gives the same splits for it."""
        return {"source": self.name, **({"divisions": list(self.divisions)} if self.divisions else {})}


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
    try:
        return _open(name, data_dir, download)
    except OSError as error:
        raise SourceError(f"{error.filename or name}: cannot be read ({error.strerror or error}). Check it.") from error


def _open(name, data_dir, download):
    if not name:
        raise ArgumentError("a source of pictures needs a name, as 'digits'. Received: source=''")
    if name.startswith("tfds:"):
        return Source(name, *open_tfds(name, data_dir, download, TEST_SHARE, SPLIT_SEED))
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
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype("uint8")  # 8x8, ink 0 to 16
    images, labels = _enlarged(small)[..., None], digits.target
    # scikit-learn's own split, so that others can measure on the same pictures
    parts = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=labels)
    splits = {name: ArraySplit(images[part], labels[part]) for name, part in zip(("train", "test"), parts, strict=True)}
    return Source("digits", tuple("0123456789"), (32, 32, 1), splits)


def _enlarged(images):
    """Return uint8 images (examples, 8, 8) at 32x32, by the cubic of `tf.image.resize(method="bicubic")`.

    In whole numbers, so that every processor gives the same pixels; in float32 a few are rounded differently.
    """
    # Keys's cubic (a = -1/2), times 1024, at the distances of eight input pixels from each output pixel
    distance = np.abs((np.arange(32)[:, None] + 0.5) / 4 - 0.5 - np.arange(8))
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = (1024 * np.where(distance <= 1, near, np.where(distance < 2, far, 0))).astype("int64")
    total = weights.sum(1)  # less than 1024 at the border, where some of the pixels are missing
    sums, whole = weights @ images.astype("int64") @ weights.T, total[:, None] * total
    return np.clip((2 * sums + whole) // (2 * whole), 0, 255).astype("uint8")


def _npz(name, path):
    needed = ("x_train", "y_train", "x_test", "y_test")
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in needed if key not in file]
            arrays = {key: file[key] for key in (*needed, "class_names") if key in file}
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zipfile.zlib.error,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        if "pickle" in str(error).lower():
            fault, cure = (
                "holds pickled Python objects, which could run any code; NumPy also makes them of pictures of "
                "different sizes",
                "Save plain arrays with np.savez, or put pictures of different sizes into a folder",
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
    if len(set(names)) != len(names):
        raise SourceError(f"{path}: class_names must differ from each other. Received: class_names={names[:10]}")
    splits = {}
    for split in ("train", "test"):
        images = _checked_images(path, f"x_{split}", arrays[f"x_{split}"])
        labels = _checked_labels(path, f"y_{split}", arrays[f"y_{split}"], len(images), len(names))
        splits[split] = ArraySplit(images, labels)
    shape, other = splits["train"].items.shape[1:], splits["test"].items.shape[1:]
    if shape != other:
        raise SourceError(f"{path}: x_train has pictures of shape {shape}, x_test of {other}. Make them equal.")
    _need_two_classes(path, names)
    empty = sorted(set(range(len(names))) - set(splits["train"].labels.tolist()))
    if empty:
        more = f" and {len(empty) - 1} more" if empty[1:] else ""
        raise SourceError(
            f"{path}: y_train has no picture of class {names[empty[0]]!r}{more}; number classes from 0 without gaps."
        )
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
        folders = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
        parts = {part: path / folder for folder, part in folders.items() if (path / folder).is_dir()}
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
    """Return {class name: sorted picture paths} of the class folders in `folder`.

    Only names are read: no picture is opened or asked for its size, so that a million of them take seconds. Links
    count as what they lead to; one that leads nowhere counts as a picture, to be named when it cannot be read.
    """
    classes = {}
    with os.scandir(folder) as entries:
        # A name typed on one system and unpacked on another may spell its accents in two ways
        places = sorted(
            (unicodedata.normalize("NFC", one.name), one.path)
            for one in entries
            if not one.name.startswith(".") and one.is_dir()
        )
    for name, path in places:
        if name in classes:
            raise SourceError(f"{path}: another class folder has the same name, spelled otherwise. Rename one of them.")
        classes[name] = _pictures(path)
    if not classes:
        raise SourceError(f"{folder}: has no folders in it. Put the pictures of each class into a folder of its own.")
    _need_two_classes(folder, tuple(classes))
    return classes


def _pictures(folder):
    """Return the sorted paths of the pictures in a class folder."""
    names, inner = [], False
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES and not entry.is_dir():
                    names.append(entry.name)
                elif not names:
                    inner = inner or entry.is_dir()
    if not names:
        hint = " of its own; those in folders inside it are not read" if inner else ""
        raise SourceError(f"{folder}: has no pictures{hint}. Add some, or remove the folder.")
    files = [os.path.join(folder, name) for name in sorted(names)]
    try:
        "".join(files).encode("utf8")
    except UnicodeEncodeError:
        file = next(file for file in files if any("\udc80" <= character <= "\udcff" for character in file))
        raise SourceError(f"{file!r}: the name is no UTF-8, which TensorFlow needs. Rename it.") from None
    return files


def _file_split(classes):
    files = [file for paths in classes.values() for file in paths]
    labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
    # As objects: a NumPy string array gives each name the room of the longest
    return FileSplit(np.array(files, dtype=object), labels)


def _need_two_classes(path, names):
    if len(names) < 2:
        raise SourceError(
            f"{path}: has one class only, {names[0]!r}; there is nothing to tell apart. Add pictures of another class."
        )
