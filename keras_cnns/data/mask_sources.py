"""Sources of images with masks: folders, PASCAL VOC, COCO, drawn shapes."""

import dataclasses
import functools
import os
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.coco import read_annotations
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.folders import ORDER_FILE, split_folders, text_lines, visible_folders
from keras_cnns.data.image_listing import NESTED_IN_FLAT, Listing, Skipped
from keras_cnns.data.masks import IGNORE, MOST_CLASSES, label_counts, read_mask
from keras_cnns.data.shapes import Shapes, make_shapes
from keras_cnns.data.splits import ArraySplit
from keras_cnns.data.targets import Mask
from keras_cnns.errors import SourceError
from keras_cnns.typing import Path

NAME_FILES = (ORDER_FILE, "class_names.txt")
# Last line of such a file, for pixels that belong to no class
IGNORED_NAMES = frozenset(("ignore", "ignored", "void", "unlabeled", "unlabelled"))
IMAGES, MASKS = "images", "masks"  # names of folders, in lower case
VOC_IMAGES, VOC_MASKS, VOC_LISTS = "JPEGImages", "SegmentationClass", os.path.join("ImageSets", "Segmentation")
VOC_PARTS = {"train": "train", "val": "validation", "test": "test"}  # lists, and the splits that they are
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SAMPLE = 50  # masks that are read when a source is opened
READERS = 8  # threads; the decoders release Python's lock
SHAPES, SHAPE_TEST, SHAPE_SIDE = (
    500,
    100,
    64,
)  # drawn images, how many of them are for testing, and their side in pixels


@dataclasses.dataclass(frozen=True)
class MaskFiles:
    """Images with masks, as a source has them.

    Attributes:
        class_names: one per class.
        splits: `FileSplit` by the name of the split; one split "" is not divided yet.
        skipped: files that were left out, one record per reason.
        notes: sentences on the source.
    """

    class_names: tuple[str, ...]
    splits: dict[str, FileSplit]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def mask_folders(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return the folders of images and of masks in a folder.

    Args:
        path: path of a folder, as for `read_mask_folder`.

    Returns:
        Dictionary from the name of a split to (images, masks); masks are None for a split without masks. It is empty
        if the training images have no folder of masks.
    """
    images, masks = _images_and_masks(path)
    if images and masks:
        image_splits, mask_splits = split_folders(images), split_folders(masks)
        if "train" in image_splits and "train" in mask_splits:
            return {split: (folder, mask_splits.get(split)) for split, folder in image_splits.items()}
        return {"": (images, masks)}
    pairs = {split: _images_and_masks(folder) for split, folder in split_folders(path).items()}
    if not all(pairs.get("train", (None,))):
        return {}
    return {split: (images, masks) for split, (images, masks) in pairs.items() if images}


def read_mask_folder(path: Path) -> MaskFiles:
    """Return the images and masks of a folder.

    Args:
        path: path of one of these folders, in which an image and its mask have the same name up to the suffix:

            - DIR/images and DIR/masks, which are one split, named "";
            - DIR/train/images and DIR/train/masks, optionally with DIR/test and DIR/validation (also val, valid);
            - DIR/images/train and DIR/masks/train, and others likewise.

            DIR/classes.txt (or class_names.txt) names the classes: line k, from 0, names label k. If its last line is
            void, ignore or unlabeled, this label marks pixels to ignore, as 255 always does. Without such a file the
            classes are numbered up to the largest label in a sample of the masks.

    Raises:
        SourceError: if there is no mask for an image, or the classes cannot be known.
    """
    listing = Listing(NESTED_IN_FLAT)
    pairs = {}
    for split, (images, masks) in mask_folders(path).items():
        if masks is None:
            listing.skip(f"in {images}, which has no masks", listing.images(images))
        else:
            pairs[split] = _paired(images, masks, listing)
    class_names, target, notes = _classes(path, [mask for _, mask in next(iter(pairs.values()))])
    splits = {split: _file_split(files, target) for split, files in pairs.items()}
    return MaskFiles(class_names, splits, listing.skipped, notes)


def is_voc(path: Path) -> bool:
    """Return whether a folder has the images and masks of PASCAL VOC.

    Args:
        path: path of a folder.
    """
    return all(os.path.isdir(os.path.join(path, folder)) for folder in (VOC_IMAGES, VOC_MASKS))


def read_voc(path: Path) -> MaskFiles:
    """Return the images and masks of a PASCAL VOC folder.

    Args:
        path: path of a folder with JPEGImages and SegmentationClass. ImageSets/Segmentation has train.txt, val.txt and
            perhaps test.txt with one name per line, or trainval.txt alone. Without lists, all masks are one split. A
            list whose images have no masks is left out. DIR/classes.txt is as for `read_mask_folder`; without it the
            classes are VOC's 21.

    Raises:
        SourceError: if no training image has a mask, or the classes cannot be known.
    """
    listing = Listing(NESTED_IN_FLAT)
    images = by_stem(Listing().images(os.path.join(path, VOC_IMAGES)))
    masks = by_stem(listing.images(os.path.join(path, VOC_MASKS)))
    names = {"": list(masks)}
    files = {part: os.path.join(path, VOC_LISTS, f"{part}.txt") for part in (*VOC_PARTS, "trainval")}
    if os.path.isfile(files["train"]):
        names = {split: text_lines(files[part]) for part, split in VOC_PARTS.items() if os.path.isfile(files[part])}
    elif os.path.isfile(files["trainval"]):
        names = {"": text_lines(files["trainval"])}
    pairs = {}
    for split, stems in names.items():
        listing.skip(
            f"listed without a mask in {VOC_MASKS}", [images[stem] for stem in stems if stem in images.keys() - masks]
        )
        listing.skip(
            f"without an image in {VOC_IMAGES}", [masks[stem] for stem in stems if stem in masks.keys() - images]
        )
        if found := [(images[stem], masks[stem]) for stem in stems if stem in images and stem in masks]:
            pairs[split] = found
    if not pairs.keys() & {"", "train"}:
        raise SourceError(
            f"{path}: no image to train on has a mask in {VOC_MASKS}{listing.hint()}. Add the masks, or correct "
            f"the lists in {VOC_LISTS}."
        )
    first = next(iter(pairs.values()))
    class_names, target, notes = _classes(path, [mask for _, mask in first], VOC_CLASSES)
    return MaskFiles(
        class_names, {split: _file_split(files, target) for split, files in pairs.items()}, listing.skipped, notes
    )


def read_coco(path: Path) -> MaskFiles:
    """Return the images of a COCO file, with masks from its annotations.

    Class 0 is the background; the categories follow in the order of their ids. An image without annotations is all
    background.

    A mask is drawn when it is read. Its name, FILE.json#ID, is the target. A split of names costs no disk space, can be
    sent to another process as it is, and each process parses the file once. Nothing can be out of date, as masks that
    were written beforehand could be.

    Args:
        path: path of the JSON file. Its images are beside it, in a folder `images` or one named like the last part of
            the file's name (train2017 for instances_train2017.json), or in such a folder beside the file's own.

    Raises:
        SourceError: if it is no COCO file, or has no images there.
    """
    annotations = read_annotations(path)
    places = images_beside(path, annotations.files)
    pairs, missing = [], []
    for image, file in places.items():
        if os.path.lexists(file):
            pairs.append((file, annotations.name_of(image)))
        else:
            missing.append(file)
    listing = Listing()
    listing.skip(f"named in {os.path.basename(path)} that do not exist", missing)
    target = Mask(len(annotations.class_names))
    return MaskFiles(annotations.class_names, {"": _file_split(pairs, target)}, listing.skipped)


def images_beside(path: Path, files: Mapping[int, str]) -> dict[int, str]:
    """Return the paths of the images that a COCO file names.

    Args:
        path: path of the JSON file.
        files: names of the images' files by their ids.

    Raises:
        SourceError: if it names no image, or the first one is nowhere.
    """
    if not files:
        raise SourceError(f"{path}: has no images. Add some.")
    folder = os.path.dirname(path)
    part = os.path.splitext(os.path.basename(path))[0].rpartition("_")[2]
    folders = [
        os.path.join(folder, *inner) for inner in ((), (IMAGES,), (part,), ("..", IMAGES), ("..", part), ("..",))
    ]
    first_file = next(iter(files.values()))
    place = next((place for place in folders if os.path.lexists(os.path.join(place, first_file))), None)
    if place is None:
        raise SourceError(
            f"{path}: there is no file {first_file}, which its first image names, beside it, in {IMAGES} or in {part}. "
            "Put the images there."
        )
    return {image: os.path.normpath(os.path.join(place, name)) for image, name in files.items()}


def draw_shapes() -> tuple[tuple[str, ...], dict[str, ArraySplit]]:
    """Return class names and splits of drawn shapes with masks.

    The background is class 0.
    """
    shapes = _shapes()
    masks = np.where(shapes.masks, 1 + shapes.labels[:, None, None], 0).astype("uint8")
    names = ("background", *shapes.class_names)
    parts = {"train": slice(None, -SHAPE_TEST), "test": slice(-SHAPE_TEST, None)}
    return names, {name: ArraySplit(shapes.images[part], masks[part], Mask(len(names))) for name, part in parts.items()}


@functools.cache
def _shapes() -> Shapes:
    """Return the drawn images, which a process draws once."""
    shapes = make_shapes(SHAPES, SHAPE_SIDE)
    shapes.images.setflags(write=False)
    return shapes


def _images_and_masks(path: Path) -> tuple[str | None, str | None]:
    """Return the folders `images` and `masks` in a folder, in any case."""
    folders = {os.path.basename(folder).casefold(): folder for folder in visible_folders(path)}
    return folders.get(IMAGES), folders.get(MASKS)


def by_stem(files: Sequence[str]) -> dict[str, str]:
    """Return the files by their names without folder and suffix.

    Args:
        files: paths of files.

    Raises:
        SourceError: if two have the same.
    """
    by_stem: dict[str, str] = {}
    for file in files:
        stem = unicodedata.normalize("NFC", os.path.splitext(os.path.basename(file))[0])
        if (other := by_stem.setdefault(stem, file)) != file:
            raise SourceError(
                f"{file}: has the name of {os.path.basename(other)}, up to the suffix, so that it is not clear which "
                "of them belongs to the mask or image of this name. Rename or remove one."
            )
    return by_stem


def _paired(images: str, masks: str, listing: Listing) -> list[tuple[str, str]]:
    """Return (image, mask) of each image that has a mask.

    Others are noted as skipped.
    """
    image_files, mask_files = by_stem(listing.images(images)), by_stem(listing.images(masks))
    for folder, files in ((images, image_files), (masks, mask_files)):
        if not files:
            raise SourceError(f"{folder}: has no images{listing.hint()}. Add some, or remove the folder.")
    pairs = [(file, mask_files[stem]) for stem, file in image_files.items() if stem in mask_files]
    if not pairs:
        names = " and ".join(os.path.basename(next(iter(files.values()))) for files in (image_files, mask_files))
        raise SourceError(
            f"{images}: no image has a mask of its name in {masks}; the first names are {names}. Give each mask the "
            "name of its image, up to the suffix."
        )
    listing.skip(
        f"without a mask of the same name in {masks}",
        [file for stem, file in image_files.items() if stem not in mask_files],
    )
    listing.skip(
        f"without an image of the same name in {images}",
        [file for stem, file in mask_files.items() if stem not in image_files],
    )
    return pairs


def _file_split(pairs: Sequence[tuple[str, str]], target: Mask) -> FileSplit:
    """Return the split of (image, name of its mask)."""
    items = np.array([image for image, _ in pairs], dtype=object)
    return FileSplit(items, np.array([mask for _, mask in pairs], dtype=object), target)


def _classes(
    path: Path, masks: Sequence[str], known: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], Mask, tuple[str, ...]]:
    """Return class names, the kind of target, and notes on them.

    Args:
        path: folder of the source.
        masks: mask files of the training split, of which some are read.
        known: class names if no file names them; None to number them.
    """
    files = [file for name in NAME_FILES if os.path.isfile(file := os.path.join(path, name))]
    if files[1:]:
        raise SourceError(f"{path}: has {' and '.join(NAME_FILES)}, which both name the classes. Remove one.")
    names, ignore = _named_classes(files[0]) if files else (known, IGNORE)
    counts = _sampled_counts(masks, None if names is None else len(names), ignore)
    present = set(np.flatnonzero(counts).tolist()) - {IGNORE}
    if names is None:
        if present <= {0}:
            raise SourceError(
                f"{path}: its masks have no label but {' and '.join(map(str, np.flatnonzero(counts)))}, and {IGNORE} "
                "marks pixels to ignore. Number the classes from 0, as 0 and 1."
            )
        names = tuple(f"class {label}" for label in range(max(present) + 1))
        sampled = min(len(masks), SAMPLE)
        note = f"the classes are numbered up to the largest label in {sampled} masks; {ORDER_FILE} may name them"
        return names, Mask(len(names)), (note,)
    notes = []
    if ignore != IGNORE:
        notes.append(f"the label {ignore}, {text_lines(files[0])[-1]}, is ignored")
    if present <= {0}:
        notes.append(f"the masks that were read have only {names[0]}, and {IGNORE}, which marks pixels to ignore")
    return names, Mask(len(names), ignore), tuple(notes)


def _named_classes(file: Path) -> tuple[tuple[str, ...], int]:
    """Return the class names in a file, and the ignored label."""
    names = text_lines(file)
    if "" in names:
        raise SourceError(f"{file}: line {names.index('') + 1} is empty, and line k names class k - 1. Name the class.")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{file}: names {repeated[0]} twice. Give each class its own name.")
    ignore = IGNORE
    if names and names[-1].strip("_").casefold() in IGNORED_NAMES:
        ignore = len(names) - 1
        names = names[:-1]
    if not 0 < len(names) <= MOST_CLASSES:
        raise SourceError(f"{file}: names {len(names)} classes; masks hold from 1 to {MOST_CLASSES}. Correct it.")
    return tuple(names), ignore


def _sampled_counts(masks: Sequence[str], classes: int | None, ignore: int) -> NDArray[np.int64]:
    """Return the number of pixels with each label in some masks.

    Raises:
        SourceError: if none of them can be used, as a format or numbers that are wrong are wrong in all.
    """
    places = np.linspace(0, len(masks) - 1, min(SAMPLE, len(masks))).round().astype("int64")

    def read(place: int) -> NDArray[np.int64] | SourceError:
        try:
            return label_counts(read_mask(masks[place], classes, ignore=ignore))
        except SourceError as error:
            return error

    with ThreadPoolExecutor(READERS) as pool:
        results = list(pool.map(read, places.tolist()))
    counts = [result for result in results if not isinstance(result, SourceError)]
    if not counts:
        raise next(result for result in results if isinstance(result, SourceError))
    return np.sum(counts, axis=0)
