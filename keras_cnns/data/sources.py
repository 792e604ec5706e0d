"""Sources of images: digits, shapes, `.npz` files, folders, CSV, COCO, tensorflow-datasets."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data._tfds import open_tfds
from keras_cnns.data.arrays import read_npz
from keras_cnns.data.box_sources import (
    BoxFiles,
    box_format,
    is_box_table,
    read_box_table,
    read_coco_boxes,
    read_voc_boxes,
    read_yolo,
)
from keras_cnns.data.box_target import Boxes
from keras_cnns.data.classes import match_classes, need_two_classes
from keras_cnns.data.csv_source import read_table
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.folders import read_folder, warn_of_skipped
from keras_cnns.data.image_listing import Skipped
from keras_cnns.data.mask_sources import (
    MaskFiles,
    draw_shapes,
    is_voc,
    mask_folders,
    read_coco,
    read_mask_folder,
    read_voc,
)
from keras_cnns.data.scenes import make_scenes
from keras_cnns.data.splits import ArraySplit, Split
from keras_cnns.data.targets import Target
from keras_cnns.errors import ArgumentError, SourceError, nearest
from keras_cnns.typing import Path, Pixels

BOXES = "#boxes"  # end of the name of a source that may also have masks
SCENES, SCENE_TEST = 1000, 200  # drawn images with boxes, and how many of them are for testing
TEST_SHARE = 0.2  # share of the images that becomes the test split of a source without one
# Names that also may be those of folders, and other names of the same, which never are
ALIASES = {"digits": "sklearn:digits", "shapes": "drawn:shapes"}
SPLIT_SEED = 0  # always the same, so that evaluation measures on images that training did not use


@dataclasses.dataclass(frozen=True)
class Source:
    """Images with labels, in splits.

    Attributes:
        name: the argument of `open_source` ("digits", "tfds:cifar10", a path).
        class_names: one string per class, in the order of the labels.
        image_shape: (height, width, channels) of every image; height and width are None if they differ.
        splits: dictionary from "train", "test" and possibly "validation" to `Split`.
        divisions: each division by `split_source`, in order: {"shares": {...}, "seed": ...}.
        skipped: `Skipped` files that were left out, one record per reason.
        notes: dictionary from the name of a split to sentences on how it was made; "" for the whole source.

    Examples:
        >>> from keras_cnns import data
        >>> shapes = data.make_shapes(100)
        >>> split = data.ArraySplit(shapes.images, shapes.labels)
        >>> source = data.Source("shapes", shapes.class_names, (32, 32, 3), {"train": split})
        >>> source.split("train").examples
        100
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int | None, int | None, int]
    splits: Mapping[str, Split]
    divisions: tuple[Mapping[str, Any], ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        named = {name: split.named(tuple(self.class_names)) for name, split in self.splits.items()}
        object.__setattr__(self, "splits", named)

    @property
    def target(self) -> Target:
        """What kind of target the images have."""
        return next((split.target for split in self.splits.values()), Split.target)

    def split(self, name: str) -> Split:
        """Return a split by name.

        Args:
            name: name of a split, or "all" for all images of the source.

        Raises:
            ArgumentError: if there is no such split; it names the splits that exist.
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

    def with_classes(self, class_names: Iterable[str], ids: Sequence[str] = ()) -> "Source":
        """Return the source with its labels numbered as in `class_names`.

        Classes are matched by name.

        Args:
            class_names: class names of a model, in the order of its outputs. If the source lacks some of them, a note
                says so.
            ids: other names that the source may use, in the same order, such as ImageNet's n01440764 for tench.

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

    def record(self) -> dict[str, Any]:
        """Return the JSON record of this source for a model file.

        `reopen_source` returns the same splits for it.
        """
        return {"source": self.name, **({"divisions": list(self.divisions)} if self.divisions else {})}


def open_source(name: Path, *, data_dir: Path | None = None, download: bool = False) -> Source:
    """Open a source of images by name.

    If all class names are whole numbers, classes are in the order of the numbers; otherwise in alphabetical order, or
    as `classes.txt` or `class_names` say.

    Args:
        name: one of these:

            - "digits" or "sklearn:digits": scikit-learn's 1,797 digits at 32x32; 20 % of them, stratified, are the
              test split. If a folder named digits holds class folders, "digits" means that folder.
            - path of an `.npz` file with `x_train`, `y_train`, `x_test`, `y_test` and optionally `class_names`; labels
              are whole numbers or class names.
            - path of a folder DIR/train/CLASS/* and DIR/test/CLASS/*, or DIR/CLASS/* (20 %, stratified, are the test
              split); see `read_folder`.
            - path of a CSV file of paths and labels; see `read_table`.
            - "tfds:NAME": a dataset of tensorflow-datasets; "tfds:NAME#FEATURE" for masks.

            Images with a mask each, whose pixels are classes:

            - path of a folder DIR/images and DIR/masks, or DIR/train/images and DIR/train/masks; see
              `read_mask_folder`.
            - path of a folder of PASCAL VOC, with JPEGImages and SegmentationClass; see `read_voc`.
            - path of a COCO `.json` file; see `read_coco`.
            - "shapes" or "drawn:shapes": 500 drawn images of 64x64 with one shape each, 100 of them for testing. As
              with digits, "shapes" may mean a folder.

            Images with boxes around their objects:

            - path of a folder of PASCAL VOC, with JPEGImages and Annotations; see `read_voc_boxes`. If it has masks
              too, the path followed by "#boxes".
            - path of a folder in YOLO's format, with images and labels; see `read_yolo`.
            - path of a COCO `.json` file, followed by "#boxes"; see `read_coco_boxes`.
            - path of a CSV file of paths, classes and boxes; see `read_box_table`.
            - "shapes#boxes": 1,000 drawn images of 96x96 with up to four shapes each, 200 of them for testing.
        data_dir: folder in which tensorflow-datasets keeps its files; None for its default.
        download: whether a tensorflow-datasets dataset that is not on disk may be downloaded and prepared.

    Returns:
        `Source`.

    Raises:
        ArgumentError: if there is no such source.
        SourceError: if its contents cannot be used.

    Warns:
        SourceWarning: if files of a folder are left out; it counts and names them, like `Source.skipped`.

    Examples:
        >>> from keras_cnns import data
        >>> source = data.open_source("digits")
        >>> {name: split.examples for name, split in source.splits.items()}
        {'train': 1437, 'test': 360}
        >>> source.image_shape
        (32, 32, 1)
    """
    name = str(name)
    try:
        source = _open(name, data_dir, download)
    except OSError as error:
        raise SourceError(f"{error.filename or name}: cannot be read ({error.strerror or error}). Check it.") from error
    return dataclasses.replace(source, notes=_all_notes(source, name))


def _open(name: str, data_dir: Path | None, download: bool) -> Source:
    if not name:
        raise ArgumentError("a source of images needs a name, as 'digits'. Received: source=''")
    if name.startswith("tfds:"):
        class_names, shape, splits, notes = open_tfds(name, data_dir, download, TEST_SHARE, SPLIT_SEED)
        return Source(name, class_names, shape, splits, notes=notes)
    path = pathlib.Path(name)
    if name.endswith(BOXES) and not name.removesuffix(BOXES).endswith("shapes"):
        return _with_boxes(name, pathlib.Path(name.removesuffix(BOXES)))
    if name in ("digits", "sklearn:digits") and not means_folder(name):
        return _digits()
    if name in ("shapes#boxes", "drawn:shapes#boxes"):
        scenes = make_scenes(SCENES)
        parts = {"train": slice(None, -SCENE_TEST), "test": slice(-SCENE_TEST, None)}
        target = Boxes(len(scenes.class_names))
        of_boxes = {part: ArraySplit(scenes.images[k], scenes.targets[k], target) for part, k in parts.items()}
        return Source("shapes#boxes", scenes.class_names, scenes.images.shape[1:], of_boxes)
    if name in ("shapes", "drawn:shapes") and not means_folder(name):
        class_names, array_splits = draw_shapes()
        return Source("shapes", class_names, array_splits["train"].items.shape[1:], array_splits)
    if path.is_dir():
        name = os.path.join(".", name) if name in ALIASES else name
        if is_voc(path):
            return _mask_source(name, read_voc(path))
        if box_format(path):
            return _with_boxes(name, path)
        if mask_folders(path):
            return _mask_source(name, read_mask_folder(path))
        class_names, file_splits, skipped = read_folder(path)
        return _file_source(name, class_names, file_splits, skipped)
    if path.suffix.lower() == ".json":
        if not path.is_file():
            raise ArgumentError(f"there is no such file. Give the path of a COCO file. Received: source={name!r}")
        return _mask_source(name, read_coco(path))
    if path.suffix.lower() == ".csv":
        if not path.is_file():
            raise ArgumentError(f"there is no such file. Give the path of a CSV file. Received: source={name!r}")
        if is_box_table(path):
            return _with_boxes(name, path)
        class_names, file_splits = read_table(path)
        return _file_source(name, class_names, file_splits)
    if path.suffix == ".npz":
        if not path.is_file():
            raise ArgumentError(f"there is no such file. Give the path of an .npz file. Received: source={name!r}")
        class_names, shape, array_splits = read_npz(path)
        return Source(name, class_names, shape, array_splits)
    raise ArgumentError(
        "a source of images is 'digits', 'shapes', a path to an .npz, .csv or .json file, a folder of images, or "
        f"'tfds:NAME'; this is none of them.{nearest(name, ALIASES)} Received: source={name!r}"
    )


def _all_notes(source: Source, given: str) -> dict[str, tuple[str, ...]]:
    """Return the notes of a source and on splits that lack classes.

    Args:
        source: the source.
        given: the name by which it was opened.
    """
    notes = dict(source.notes)
    if given in ALIASES and source.name != given:
        made = "scikit-learn's digits" if given == "digits" else "drawn shapes"
        notes[""] = (*notes.get("", ()), f"this is the folder {given}; {made} are {ALIASES[given]}")
    for name, split in source.splits.items():
        if split.labels is not None and name != "train":
            present = set(np.unique(split.labels).tolist())
            if lacking := [text for label, text in enumerate(source.class_names) if label not in present]:
                listed = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5:,} more" if lacking[5:] else "")
                notes[name] = (*notes.get(name, ()), f"{name} has no image of {listed}")
    return notes


def means_folder(name: str) -> bool:
    """Return whether a name such as "digits" means a folder.

    It does if a folder of that name holds folders.

    Args:
        name: name of a source.
    """
    folder = pathlib.Path(name)
    return name in ALIASES and folder.is_dir() and any(entry.is_dir() for entry in folder.glob("[!.]*"))


def _digits() -> Source:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = np.round(digits.images * (255 / 16)).astype("uint8")  # scikit-learn's are 8x8, from 0 to 16
    images, labels = _enlarged(small)[..., None], digits.target
    # Divided by scikit-learn, so that others can measure on the same images without this package
    parts = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=SPLIT_SEED, stratify=labels)
    splits = {name: ArraySplit(images[part], labels[part]) for name, part in zip(("train", "test"), parts, strict=True)}
    return Source("digits", tuple("0123456789"), (32, 32, 1), splits)


def _enlarged(images: NDArray[np.uint8]) -> Pixels:
    """Return uint8 images (examples, 8, 8) enlarged to 32x32.

    The interpolation is that of `tf.image.resize(method="bicubic")`, but in whole numbers, so that every processor
    computes the same pixels. In float32, processors round a few of them differently.
    """
    # Keys's cubic (a = -1/2), times 1024, at the distances of the eight input pixels from each output pixel
    distance = np.abs((np.arange(32)[:, None] + 0.5) / 4 - 0.5 - np.arange(8))
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = (1024 * np.where(distance <= 1, near, np.where(distance < 2, far, 0))).astype("int64")
    total = weights.sum(1)  # less than 1024 at the border, beyond which there are no pixels
    sums, whole = weights @ images.astype("int64") @ weights.T, total[:, None] * total
    return np.clip((2 * sums + whole) // (2 * whole), 0, 255).astype("uint8")


def _with_boxes(name: str, path: pathlib.Path) -> Source:
    """Return a source of image files with boxes."""
    if path.is_dir():
        readers = {"voc": read_voc_boxes, "yolo": read_yolo}
        reader = readers.get(box_format(path) or "")
    else:
        reader = {".json": read_coco_boxes, ".csv": read_box_table}.get(path.suffix.lower())
    if reader is None or not path.exists():
        raise ArgumentError(
            f"{path}: has no boxes that can be read. Give a folder of PASCAL VOC (JPEGImages, Annotations) or YOLO "
            f"(images, labels), a COCO .json file, or a .csv file with boxes. Received: source={name!r}"
        )
    files: BoxFiles = reader(path)
    target = Boxes(len(files.class_names))
    splits = {
        split: FileSplit(np.array([image for image, _ in pairs], object), [rows for _, rows in pairs], target)
        for split, pairs in files.splits.items()
    }
    return _file_source(name, files.class_names, splits, files.skipped, files.notes)


def _mask_source(name: str, files: MaskFiles) -> Source:
    """Return a source of image files with masks."""
    return _file_source(name, files.class_names, files.splits, files.skipped, files.notes)


def _file_source(
    name: str,
    class_names: tuple[str, ...],
    splits: dict[str, FileSplit],
    skipped: tuple[Skipped, ...] = (),
    sentences: tuple[str, ...] = (),
) -> Source:
    """Return a source of image files.

    If they are one split, "", a fifth of each class becomes the test split.
    """
    # Warn before any error, as the files left out may be its cause
    warn_of_skipped(name, skipped, stacklevel=5)
    if not isinstance(next(iter(splits.values())).target, Boxes):  # one class of objects can be found
        need_two_classes(name, class_names)
    notes = {"": sentences} if sentences else {}
    if "" in splits:
        train, test = splits[""].named(class_names).divide(TEST_SHARE, SPLIT_SEED)
        splits = {"train": train, "test": test}
        whole = "the images" if train.labels is None else "each class"
        notes["test"] = (
            f"the test split is {TEST_SHARE:.0%} of {whole}, drawn with seed {SPLIT_SEED}, as the source has no "
            "splits of its own; the split all is every image",
        )
    return Source(name, class_names, (None, None, 3), splits, skipped=skipped, notes=notes)
