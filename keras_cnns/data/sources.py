"""Where images come from: scikit-learn's digits, `.npz` files, folders of images, tensorflow-datasets."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_cnns.data._tfds import open_tfds
from keras_cnns.data.arrays import read_npz
from keras_cnns.data.classes import match_classes, need_two_classes
from keras_cnns.data.csv_source import read_table
from keras_cnns.data.folders import Skipped, read_folder, warn_of_skipped
from keras_cnns.data.splits import ArraySplit, Split
from keras_cnns.errors import ArgumentError, SourceError, nearest

TEST_SHARE = 0.2  # of a source that comes without a test split
SPLIT_SEED = 0  # the same at training and at evaluation, so that the test split stays unseen


@dataclasses.dataclass(frozen=True)
class Source:
    """Images with labels, in splits.

    Attributes:
        name: what `open_source` was given ("digits", "tfds:cifar10", a path).
        class_names: one string a class, in the order of the labels.
        image_shape: (height, width, channels) of every image; height and width are None where they differ.
        splits: from "train", "test" and, in some, "validation" to `Split`.
        divisions: what `split_source` did to it, in order: {"shares": {...}, "seed": ...} each.
        skipped: `Skipped` of each reason for which files were left out.
        notes: from the name of a split to sentences on how it came about; "" for the whole source.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    splits: Mapping[str, Split]
    divisions: tuple[Mapping, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        named = {name: split.named(tuple(self.class_names)) for name, split in self.splits.items()}
        object.__setattr__(self, "splits", named)

    def split(self, name):
        """Return a split by name; "all" for all images of the source.

        Raises:
            ArgumentError: if there is no such split; it names those there are.
        """
        if name == "all" and name not in self.splits:
            first, *others = self.splits.values()
            return first.joined(others) if others else first
        if name not in self.splits:
            raise ArgumentError(
                f"{self.name} has no such split; it has {', '.join(self.splits)}, all."
                f"{nearest(name, [*self.splits, 'all'])} Received: split={name!r}"
            )
        return self.splits[name]

    def with_classes(self, class_names, ids=()):
        """Return the source with its labels numbered as in `class_names`, matched by name.

        Args:
            class_names: of a model, in the order of its outputs. The source may lack some of them, which is noted.
            ids: what the source may call them instead, in the same order, as ImageNet's n01440764 for tench.

        Returns:
            `Source` with these class names.

        Raises:
            ArgumentError: if the source has a class that is not among them.
        """
        class_names = tuple(class_names)
        if class_names == tuple(self.class_names):
            return self
        splits = {name: split.with_classes(class_names, ids, self.name) for name, split in self.splits.items()}
        notes = dict(self.notes)
        if lacking := len(class_names) - len(self.class_names):
            sentence = f"the source has {len(self.class_names):,} of the model's {len(class_names):,} classes"
            known = set(match_classes(self.class_names, class_names, ids).tolist())
            names = [name for place, name in enumerate(class_names) if place not in known]
            more = ", ..." if lacking > 5 else ""
            notes[""] = (*notes.get("", ()), f"{sentence}; it lacks {', '.join(names[:5])}{more}")
        return dataclasses.replace(self, class_names=class_names, splits=splits, notes=notes)

    def record(self):
        """Return what a model file notes of it, as JSON; `reopen_source` gives the same splits for it."""
        return {"source": self.name, **({"divisions": list(self.divisions)} if self.divisions else {})}


def open_source(name, *, data_dir=None, download=False):
    """Return the source of images that `name` describes.

    Args:
        name: "digits" or "sklearn:digits" (the 1,797 digits that scikit-learn carries, at 32x32, 20 % of them,
            stratified, as test split; where a folder of class folders is called digits, the word means the folder);
            a path to an `.npz` file (x_train, y_train, x_test, y_test, optionally class_names; labels are whole
            numbers or names of classes); a folder DIR/train/CLASS/* and DIR/test/CLASS/*, or DIR/CLASS/* (20 %,
            stratified, as test split), see `read_folder`; a CSV file of paths and labels, see `read_table`;
            "tfds:NAME", a data set of tensorflow-datasets. Classes whose names are all whole numbers are in the order
            of the numbers, others in that of the alphabet, or as classes.txt or class_names say.
        data_dir: where tensorflow-datasets keeps its files; None: its own default.
        download: whether a tensorflow-datasets set that is not on disk may be fetched and prepared.

    Returns:
        `Source`.

    Raises:
        ArgumentError: if there is no such source.
        SourceError: if its contents cannot be used.

    Warns:
        SourceWarning: if files of a folder are left out; it counts and names them, as `Source.skipped` does.
    """
    name = str(name)
    try:
        source = _open(name, data_dir, download)
    except OSError as error:
        raise SourceError(f"{error.filename or name}: cannot be read ({error.strerror or error}). Check it.") from error
    return dataclasses.replace(source, notes=_all_notes(source, name))


def _open(name, data_dir, download):
    if not name:
        raise ArgumentError("a source of images needs a name, as 'digits'. Received: source=''")
    if name.startswith("tfds:"):
        *facts, notes = open_tfds(name, data_dir, download, TEST_SHARE, SPLIT_SEED)
        return Source(name, *facts, notes=notes)
    path = Path(name)
    if name in ("digits", "sklearn:digits") and not means_folder(name):
        return _digits()
    if path.is_dir():
        return _of_files(os.path.join(".", name) if name == "digits" else name, *read_folder(path))
    if path.suffix.lower() == ".csv":
        if not path.is_file():
            raise ArgumentError(f"there is no such file. Give the path of a CSV file. Received: source={name!r}")
        return _of_files(name, *read_table(path))
    if path.suffix == ".npz":
        if not path.is_file():
            raise ArgumentError(f"there is no such file. Give the path of an .npz file. Received: source={name!r}")
        return Source(name, *read_npz(path))
    raise ArgumentError(
        "a source of images is 'digits', a path to an .npz or .csv file, a folder of images, or 'tfds:NAME'; this is "
        f"none of them.{nearest(name, ['digits'])} Received: source={name!r}"
    )


def _all_notes(source, given):
    """Return the notes of a source, with one for each split that lacks classes."""
    notes = dict(source.notes)
    if given == "digits" != source.name:
        notes[""] = ("this is the folder digits; scikit-learn's digits are sklearn:digits",)
    for name, split in source.splits.items():
        if split.labels is not None and name != "train":
            there = set(np.unique(split.labels).tolist())
            if names := [text for label, text in enumerate(source.class_names) if label not in there]:
                listed = ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if names[5:] else "")
                notes[name] = (*notes.get(name, ()), f"{name} has no image of {listed}")
    return notes


def means_folder(name):
    """Return whether the word digits means a folder: where one of that name holds class folders."""
    return name == "digits" and os.path.isdir(name) and any(entry.is_dir() for entry in Path(name).glob("[!.]*"))


def _digits():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype("uint8")  # 8x8, ink 0 to 16
    images, labels = _enlarged(small)[..., None], digits.target
    # scikit-learn's own split, so that others can measure on the same images
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


def _of_files(name, class_names, splits, skipped=()):
    """Return the source of image files; where they are one part, "", a fifth of each class becomes the test split."""
    warn_of_skipped(name, skipped, stacklevel=5)  # before an error that may have its cause there
    need_two_classes(name, class_names)
    notes = {}
    if "" in splits:
        train, test = splits[""].named(class_names).divide(TEST_SHARE, SPLIT_SEED)
        splits = {"train": train, "test": test}
        notes["test"] = (
            f"the test split is {TEST_SHARE:.0%} of each class, drawn with seed {SPLIT_SEED}, as the source has no "
            "splits of its own; the split all is every image",
        )
    return Source(name, class_names, (None, None, 3), splits, skipped=skipped, notes=notes)
