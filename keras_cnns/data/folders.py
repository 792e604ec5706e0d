"""Folders of image files: which files are images, and what is left out."""

import collections
import dataclasses
import mimetypes
import os
import unicodedata
import warnings
from pathlib import Path

import numpy as np

from keras_cnns.data.classes import sort_classes
from keras_cnns.data.files import FileSplit
from keras_cnns.data.image_files import HEIF_SUFFIXES, SUFFIXES, can_read_heif, is_heif, is_image
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning

NESTED = "in folders inside a class folder"
NESTED_IN_FLAT = "in folders inside the folder"
FLAT = "beside the class folders"
UNUSED = "in folders beside those of the splits"
ORDER_FILE = "classes.txt"
# Usual names of the splits, in lower case; others write Train, or valid as Roboflow does
PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Files that a source leaves out for one reason.

    Attributes:
        reason: why, as a phrase.
        paths: of the files.
    """

    reason: str
    paths: tuple[str, ...]

    def __str__(self):
        noun = "file" if len(self.paths) == 1 else "files"
        return f"{len(self.paths):,} {noun} {self.reason}, as {self.paths[0]}"


def open_images(folder):
    """Return the images of a folder without classes as an unlabeled split.

    Args:
        folder: path of a folder that holds image files. Folders inside it are not looked into.

    Returns:
        `Split` of the images in the order of their names; its labels, int64 (examples,), are all -1. `sample(count)`
        takes some that are spread over the folder, and `read_pixels(split, preprocessing)` reads them.

    Raises:
        ArgumentError: if there is no such folder.
        SourceError: if it holds no image.

    Warns:
        SourceWarning: if files are left out; it names them.
    """
    if not os.path.isdir(folder):
        raise ArgumentError(f"`folder` must be the path of a folder of images. Received: folder={str(folder)!r}")
    listing = Listing(NESTED_IN_FLAT)
    files = listing.images(folder)
    if not files:
        raise SourceError(f"{folder}: holds no images{listing.hint()}. Add some, or name another folder.")
    warn_of_skipped(folder, listing.skipped)
    return file_split(files, np.full(len(files), -1))


def read_folder(path):
    """Return (class names, `FileSplit` of each part, `Skipped` of each reason) of a folder of class folders.

    Args:
        path: of DIR/train/CLASS/*, with DIR/test and DIR/validation (or val, valid) where they are there, in any case;
            or of DIR/CLASS/*, which is one part, "". A file DIR/classes.txt with a class name per line gives their
            order.

    Raises:
        SourceError: if there is no class, a class has no image to train on, or a part has classes that the training
            part lacks.
    """
    listing, parts = Listing(), _part_folders(path)
    if "train" in parts:
        for folder in _visible_folders(path):
            if folder not in parts.values():
                listing.skip(UNUSED, _images_below(folder))
    else:
        parts = {"": path}
    listed = {part: listing.classes(folder, required=part in ("train", "")) for part, folder in parts.items()}
    training = "train" if "train" in parts else ""
    names = _ordered(path, sort_classes(listed[training]))
    for part, classes in listed.items():
        if odd := sorted(set(classes) - set(names)):
            raise SourceError(
                f"{parts[part]}: has class folders that {parts[training]} lacks: {', '.join(odd)}. Add them there, or "
                "remove them."
            )
        if not any(classes.values()):
            raise SourceError(f"{parts[part]}: its class folders have no images. Add some, or remove the folder.")
    return tuple(names), {part: _file_split(classes, names) for part, classes in listed.items()}, listing.skipped


def file_split(files, labels):
    """Return the `FileSplit` of a list of paths."""
    # As objects: a NumPy string array gives each name the room of the longest
    return FileSplit(np.array(files, dtype=object), labels)


def _file_split(classes, names):
    files = [classes.get(name, ()) for name in names]
    labels = np.repeat(np.arange(len(names)), [len(paths) for paths in files])
    return file_split([file for paths in files for file in paths], labels)


def _part_folders(path):
    """Return the folder of each part by its usual names, "train" first; raise SourceError if a part has two."""
    found = {}
    for folder in _visible_folders(path):
        if part := PARTS.get(os.path.basename(folder).casefold()):
            found.setdefault(part, []).append(folder)
    if "train" in found:
        for part, folders in found.items():
            if folders[1:]:
                names = " and ".join(map(os.path.basename, folders))
                raise SourceError(f"{path}: has {names}, which both mean {part}. Join them, or rename one of them.")
    return {part: found[part][0] for part in ("train", "validation", "test") if part in found}


def _visible_folders(path):
    with os.scandir(path) as entries:
        return sorted(entry.path for entry in entries if _is_visible(entry.name) and entry.is_dir())


def _ordered(path, names):
    """Return the class names in the order of the file classes.txt, where there is one."""
    file = Path(path) / ORDER_FILE
    if not file.is_file():
        return names
    try:
        lines = [unicodedata.normalize("NFC", line.strip()) for line in file.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise SourceError(f"{file}: is not UTF-8 text. Save it as UTF-8, one class name per line.") from None
    order = [line for line in lines if line]
    if sorted(order) != sorted(names):
        odd = sorted(set(order) ^ set(names)) or sorted({name for name in order if order.count(name) > 1})
        raise SourceError(
            f"{file}: gives the order of the classes, so it must name each class folder once; check {odd[0]!r}. "
            "Mend it, or rename the file if it is of another kind."
        )
    return order


def warn_of_skipped(name, skipped, stacklevel=3):
    """Warn with one line, if files of a source are left out."""
    if skipped:
        warnings.warn(f"{name}: left out {'; '.join(map(str, skipped))}", SourceWarning, stacklevel=stacklevel)


class Listing:
    """The image files of some folders, and what was left out of them.

    Only names are read where the suffix is that of an image: no such file is opened or asked for its size, so that a
    million of them take seconds. A file with another suffix, or none, is opened to see whether it is an image, unless
    its suffix is known to be of another kind of file.
    """

    def __init__(self, nested=NESTED):
        self._nested = nested
        self._skipped = collections.defaultdict(list)

    @property
    def skipped(self):
        """`Skipped` of each reason."""
        return tuple(Skipped(reason, tuple(sorted(paths))) for reason, paths in self._skipped.items())

    def skip(self, reason, paths):
        """Note files that are left out."""
        if paths:
            self._skipped[reason] += paths

    def hint(self):
        """Return what to add to an error that says that there are no images."""
        return f" that can be read, but {'; '.join(map(str, self.skipped))}" if self._skipped else ""

    def classes(self, folder, required=True):
        """Return {class name: sorted image paths} of the class folders in `folder`.

        Args:
            folder: path.
            required: whether each class must have an image.
        """
        classes, places = {}, []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not _is_visible(entry.name):
                    continue
                if entry.is_dir():
                    # A name typed on one system and unpacked on another may spell its accents in two ways
                    places.append((unicodedata.normalize("NFC", entry.name), entry.path))
                elif _is_named_as_image(entry.name):
                    self.skip(FLAT, [entry.path])
        for name, path in sorted(places):
            if name in classes:
                raise SourceError(
                    f"{path}: another class folder has the same name, spelled otherwise. Rename one of them."
                )
            classes[name] = self.images(path)
            if required and not classes[name]:
                alone = Listing()
                alone.images(path)
                raise SourceError(f"{path}: has no images{alone.hint()}. Add some, or remove the folder.")
        if not classes:
            raise SourceError(f"{folder}: has no folders in it. Put the images of each class into a folder of its own.")
        return classes

    def images(self, folder):
        """Return the sorted paths of the image files in a folder; those in folders inside it are noted as skipped.

        Links count as what they lead to; one that leads nowhere counts as an image, to be named when it cannot be read.

        Raises:
            SourceError: if a name is not UTF-8.
        """
        files, inner = self._images_in(folder)
        for path in inner:
            self.skip(self._nested, _images_below(path))
        try:
            "".join(files).encode("utf8")
        except UnicodeEncodeError:
            file = next(file for file in files if any("\udc80" <= character <= "\udcff" for character in file))
            raise SourceError(f"{file!r}: the name is not UTF-8, which TensorFlow needs. Rename it.") from None
        return files

    def images_below(self, folder):
        """Return the paths of the image files in a folder and in all folders inside it, each folder's sorted by name.

        Links to folders are not followed, as they may lead back; names need not be UTF-8.
        """
        files, inner = self._images_in(folder)
        return files + [file for path in inner if not os.path.islink(path) for file in self.images_below(path)]

    def _images_in(self, folder):
        """Return the sorted paths of the image files and of the folders in a folder; what is neither is skipped."""
        files, folders = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if not _is_visible(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif suffix not in SUFFIXES and (reason := _reason_to_skip(entry, suffix)):
                    self.skip(reason, [entry.path])
                else:
                    files.append(entry.path)
        return sorted(files), sorted(folders)


def _reason_to_skip(entry, suffix):
    """Return why a file that has no usual suffix is not read, None if it is an image."""
    path = entry.path
    kind = mimetypes.guess_type(f"file{suffix}")[0]
    if entry.is_file() and (suffix in HEIF_SUFFIXES or kind is None or kind.startswith("image/")):
        if suffix in HEIF_SUFFIXES and can_read_heif() or is_image(path):
            return None
        if suffix in HEIF_SUFFIXES or is_heif(path):
            return "in HEIC format, which needs pillow-heif (pip install pillow-heif)"
    return f"of another kind ({suffix or 'no suffix'})"


def _images_below(folder):
    """Return the paths of files in a folder, however deep, whose suffix is that of an image."""
    return [
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if _is_visible(name) and _is_named_as_image(name)
    ]


def _is_visible(name):
    """Return whether a file or folder is one of the user's, and not the system's own."""
    return not name.startswith(".") and name.casefold() not in ("thumbs.db", "desktop.ini", "__macosx")


def _is_named_as_image(name):
    return os.path.splitext(name)[1].lower() in SUFFIXES | HEIF_SUFFIXES
