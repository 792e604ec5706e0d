"""Folders of image files as sources and splits."""

import os
import pathlib
import unicodedata
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from keras_cnns.data.classes import sort_classes
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.image_listing import NESTED_IN_FLAT, UNUSED, Listing, Skipped, images_below, is_visible
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning
from keras_cnns.typing import Path

ORDER_FILE = "classes.txt"
# Usual names of the splits, in lower case; others write Train, or valid as Roboflow does
PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


def open_images(folder: Path) -> FileSplit:
    """Return the images of a folder without classes as an unlabeled split.

    Args:
        folder: path of a folder that holds image files. Folders inside it are not searched.

    Returns:
        `Split` of the images in the order of their names. All its labels, int64 (examples,), are -1.
        `sample(count)` returns some of the images, spread over the folder. `read_pixels(split, preprocessing)` reads
        them.

    Raises:
        ArgumentError: if there is no such folder.
        SourceError: if it holds no image.

    Warns:
        SourceWarning: naming the files that are left out.

    Examples:
        >>> import pathlib
        >>> from PIL import Image
        >>> from keras_cnns import data
        >>> pathlib.Path("photos").mkdir()
        >>> Image.new("RGB", (640, 480), "orange").save("photos/sunset.jpg")
        >>> images, _ = data.read_pixels(data.open_images("photos"), data.Preprocessing((224, 224)))
        >>> images.shape
        (1, 224, 224, 3)
    """
    if not os.path.isdir(folder):
        raise ArgumentError(f"`folder` must be the path of a folder of images. Received: folder={str(folder)!r}")
    listing = Listing(NESTED_IN_FLAT)
    files = listing.images(folder)
    if not files:
        raise SourceError(f"{folder}: holds no images{listing.hint()}. Add some, or name another folder.")
    warn_of_skipped(folder, listing.skipped)
    return FileSplit.from_paths(files, np.full(len(files), -1))


def read_folder(path: Path) -> tuple[tuple[str, ...], dict[str, FileSplit], tuple[Skipped, ...]]:
    """Return class names, splits and skipped files of a folder.

    Args:
        path: path of one of these folders:

            - DIR/train/CLASS/*, optionally with DIR/test and DIR/validation (also val, valid), in upper or lower case;
            - DIR/CLASS/*, which is one split, named "".

            A file DIR/classes.txt with one class name per line sets the order of the classes.

    Returns:
        (class names, dictionary from the name of a split to `FileSplit`, `Skipped` of each reason).

    Raises:
        SourceError: if there is no class, a class has no image to train on, or a split has classes that the training
            split lacks.
    """
    listing, folders = Listing(), split_folders(path)
    if "train" in folders:
        for folder in visible_folders(path):
            if folder not in folders.values():
                listing.skip(UNUSED, images_below(folder))
    else:
        folders = {"": str(path)}
    training = "train" if "train" in folders else ""
    files = {split: listing.classes(folder, required=split == training) for split, folder in folders.items()}
    names = _ordered(path, sort_classes(files[training]))
    for split, classes in files.items():
        if unknown := sorted(set(classes) - set(names)):
            raise SourceError(
                f"{folders[split]}: has class folders that {folders[training]} lacks: {', '.join(unknown)}. Add them "
                "there, or remove them."
            )
        if not any(classes.values()):
            raise SourceError(f"{folders[split]}: its class folders have no images. Add some, or remove the folder.")
    return tuple(names), {split: _file_split(classes, names) for split, classes in files.items()}, listing.skipped


def _file_split(files: Mapping[str, Sequence[str]], names: Sequence[str]) -> FileSplit:
    """Return one split of all files.

    Args:
        files: files of each class.
        names: class names; a label is the index of a class in this list.
    """
    in_order = [files.get(name, ()) for name in names]
    labels = np.repeat(np.arange(len(names)), [len(paths) for paths in in_order])
    return FileSplit.from_paths([path for paths in in_order for path in paths], labels)


def split_folders(path: Path) -> dict[str, str]:
    """Return the folder of each split by its usual names, "train" first.

    Args:
        path: path of the folder that holds them.

    Raises:
        SourceError: if a split has two folders.
    """
    found: dict[str, list[str]] = {}
    for folder in visible_folders(path):
        if split := PARTS.get(os.path.basename(folder).casefold()):
            found.setdefault(split, []).append(folder)
    if "train" in found:
        for split, folders in found.items():
            if folders[1:]:
                names = " and ".join(map(os.path.basename, folders))
                raise SourceError(f"{path}: has {names}, which both mean {split}. Join them, or rename one of them.")
    return {split: found[split][0] for split in ("train", "validation", "test") if split in found}


def visible_folders(path: Path) -> list[str]:
    """Return the sorted paths of the folders in a folder.

    Args:
        path: path of the folder.
    """
    with os.scandir(path) as entries:
        return sorted(entry.path for entry in entries if is_visible(entry.name) and entry.is_dir())


def _ordered(path: Path, names: Sequence[str]) -> Sequence[str]:
    """Return the class names in the order of classes.txt, if it exists."""
    file = pathlib.Path(path) / ORDER_FILE
    if not file.is_file():
        return names
    order = [line for line in text_lines(file, "class name") if line]
    if sorted(order) != sorted(names):
        wrong = sorted(set(order) ^ set(names)) or sorted({name for name in order if order.count(name) > 1})
        raise SourceError(
            f"{file}: gives the order of the classes, so it must name each class folder once; check {wrong[0]!r}. "
            "Mend it, or rename the file if it is of another kind."
        )
    return order


def text_lines(file: Path, content: str = "name") -> list[str]:
    """Return a text file's lines, without empty ones at its end.

    Args:
        file: path of the file.
        content: what each line is, for the error.

    Raises:
        SourceError: if the file is not UTF-8 text.
    """
    try:
        text = pathlib.Path(file).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(f"{file}: is not UTF-8 text. Save it as UTF-8, one {content} per line.") from None
    return [unicodedata.normalize("NFC", line.strip()) for line in text.rstrip().splitlines()]


def warn_of_skipped(name: Path, skipped: Sequence[Skipped], stacklevel: int = 3) -> None:
    """Warn in one line if files of a source are left out.

    Args:
        name: name of the source.
        skipped: `Skipped` of each reason.
        stacklevel: stack level of the warning, as for `warnings.warn`.
    """
    if skipped:
        warnings.warn(f"{name}: left out {'; '.join(map(str, skipped))}", SourceWarning, stacklevel=stacklevel)
