"""Folders of image files: which files are images, and what is left out."""

import collections
import dataclasses
import mimetypes
import os
import warnings

import numpy as np

from keras_cnns.data.files import FileSplit
from keras_cnns.data.pictures import HEIF_SUFFIXES, SUFFIXES, can_read_heif, is_heif, is_image
from keras_cnns.errors import ArgumentError, SourceError, SourceWarning

NESTED = "in folders inside a class folder"
NESTED_IN_FLAT = "in folders inside the folder"
FLAT = "beside the class folders"


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Files that a source leaves out for one reason.

    Attributes:
        reason: why, as a phrase.
        paths: of the files; of a folder that is not looked into, its own.
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
    return FileSplit(np.array(files, dtype=object), np.full(len(files), -1))


def warn_of_skipped(name, skipped):
    """Warn with one line, if files of a source are left out."""
    if skipped:
        warnings.warn(f"{name}: left out {'; '.join(map(str, skipped))}", SourceWarning, stacklevel=3)


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

    def images(self, folder):
        """Return the sorted paths of the image files in a folder; those in folders inside it are noted as skipped.

        Links count as what they lead to; one that leads nowhere counts as an image, to be named when it cannot be read.

        Raises:
            SourceError: if a name is not UTF-8.
        """
        names = []
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    self.skip(self._nested, _images_below(entry.path))
                elif suffix in SUFFIXES:
                    names.append(entry.name)
                elif reason := _reason_to_skip(entry.path, suffix):
                    self.skip(reason, [entry.path])
                else:
                    names.append(entry.name)
        files = [os.path.join(folder, name) for name in sorted(names)]
        try:
            "".join(files).encode("utf8")
        except UnicodeEncodeError:
            file = next(file for file in files if any("\udc80" <= character <= "\udcff" for character in file))
            raise SourceError(f"{file!r}: the name is not UTF-8, which TensorFlow needs. Rename it.") from None
        return files


def _reason_to_skip(path, suffix):
    """Return why a file that has no usual suffix is not read, None if it is an image."""
    kind = mimetypes.guess_type(f"file{suffix}")[0]
    if suffix in HEIF_SUFFIXES or kind is None or kind.startswith("image/"):
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
        if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES | HEIF_SUFFIXES
    ]
