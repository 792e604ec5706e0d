"""The image files in a folder, and the files left out."""

import collections
import dataclasses
import mimetypes
import os
import unicodedata
from collections.abc import Sequence

from keras_cnns.data.image_files import HEIF_SUFFIXES, SUFFIXES, can_read_heif, is_heif, is_image
from keras_cnns.errors import SourceError
from keras_cnns.typing import Path

# Reasons to leave files out, as phrases after "3 files"
NESTED = "in folders inside a class folder"
NESTED_IN_FLAT = "in folders inside the folder"
FLAT = "beside the class folders"
UNUSED = "in folders beside those of the splits"


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Files that a source leaves out for one reason.

    Attributes:
        reason: the reason, as a phrase.
        paths: paths of the files.
    """

    reason: str
    paths: tuple[str, ...]

    def __str__(self) -> str:
        noun = "file" if len(self.paths) == 1 else "files"
        return f"{len(self.paths):,} {noun} {self.reason}, as {self.paths[0]}"


class Listing:
    """Collect the image files of folders, and note what is left out.

    A file with an image suffix is neither opened nor asked for its size: only names are read, so that listing a
    million files takes seconds. A file with another suffix, or none, is opened to see whether it is an image, unless
    its suffix is known to belong to another kind of file.

    Args:
        nested: reason to give for images in folders inside the listed folder.
    """

    def __init__(self, nested: str = NESTED):
        self._nested = nested
        self._skipped: collections.defaultdict[str, list[str]] = collections.defaultdict(list)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The files left out so far, by reason."""
        return tuple(Skipped(reason, tuple(sorted(paths))) for reason, paths in self._skipped.items())

    def skip(self, reason: str, paths: Sequence[str]) -> None:
        """Note files that are left out.

        Args:
            reason: the reason, as a phrase.
            paths: paths of the files; may be empty.
        """
        if paths:
            self._skipped[reason] += paths

    def hint(self) -> str:
        """Return the files left out, as the end of an error."""
        return f" that can be read, but {'; '.join(map(str, self.skipped))}" if self._skipped else ""

    def classes(self, folder: Path, required: bool = True) -> dict[str, list[str]]:
        """Return the sorted image paths of each class folder, by class name.

        Args:
            folder: path of the folder that holds the class folders.
            required: whether each class must have an image.

        Raises:
            SourceError: if there is no class folder, two have the same name, or a required class has no image.
        """
        classes: dict[str, list[str]] = {}
        class_folders = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_visible(entry.name):
                    continue
                if entry.is_dir():
                    # Systems spell accents in two ways, so that an unpacked name may differ from a typed one
                    class_folders.append((unicodedata.normalize("NFC", entry.name), entry.path))
                elif _is_named_as_image(entry.name):
                    self.skip(FLAT, [entry.path])
        for name, path in sorted(class_folders):
            if name in classes:
                raise SourceError(
                    f"{path}: another class folder has the same name, spelled otherwise. Rename one of them."
                )
            classes[name] = self.images(path)
            if required and not classes[name]:
                listing_of_class = Listing()
                listing_of_class.images(path)
                raise SourceError(f"{path}: has no images{listing_of_class.hint()}. Add some, or remove the folder.")
        if not classes:
            raise SourceError(f"{folder}: has no folders in it. Put the images of each class into a folder of its own.")
        return classes

    def images(self, folder: Path) -> list[str]:
        """Return the sorted paths of the image files in a folder.

        Images in folders inside it are noted as skipped. A link counts as the file that it leads to. A broken link
        counts as an image, so that the error of reading it names it.

        Args:
            folder: path of the folder.

        Raises:
            SourceError: if a name is not UTF-8.
        """
        files, folders = self._images_and_folders(folder)
        for inner_folder in folders:
            self.skip(self._nested, images_below(inner_folder))
        try:
            "".join(files).encode("utf8")
        except UnicodeEncodeError:
            file = next(file for file in files if any("\udc80" <= character <= "\udcff" for character in file))
            raise SourceError(f"{file!r}: the name is not UTF-8, which TensorFlow needs. Rename it.") from None
        return files

    def images_below(self, folder: Path) -> list[str]:
        """Return the paths of all image files below a folder.

        The paths of each folder are sorted by name. Links to folders are not followed, as they may form a circle.
        Names need not be UTF-8.

        Args:
            folder: path of the folder.
        """
        files, folders = self._images_and_folders(folder)
        for inner_folder in folders:
            if not os.path.islink(inner_folder):
                files += self.images_below(inner_folder)
        return files

    def _images_and_folders(self, folder: Path) -> tuple[list[str], list[str]]:
        """Return the sorted paths of images and folders in a folder.

        All other files are noted as skipped.
        """
        files, folders = [], []
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if not is_visible(entry.name):
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif suffix not in SUFFIXES and (reason := _reason_to_skip(entry, suffix)):
                    self.skip(reason, [entry.path])
                else:
                    files.append(entry.path)
        return sorted(files), sorted(folders)


def images_below(folder: Path) -> list[str]:
    """Return the paths of files with an image suffix, at any depth.

    Args:
        folder: path of the folder.
    """
    return [
        os.path.join(path, name)
        for path, _, names in os.walk(folder)
        for name in names
        if is_visible(name) and _is_named_as_image(name)
    ]


def is_visible(name: str) -> bool:
    """Return whether a file or folder is the user's, not the system's.

    Args:
        name: name without its folder.
    """
    return not name.startswith(".") and name.casefold() not in ("thumbs.db", "desktop.ini", "__macosx")


def _reason_to_skip(entry: os.DirEntry[str], suffix: str) -> str | None:
    """Return why a file is left out, or None for an image.

    Args:
        entry: a file without a usual image suffix.
        suffix: its suffix, in lower case.
    """
    path = entry.path
    kind = mimetypes.guess_type(f"file{suffix}")[0]
    if entry.is_file() and (suffix in HEIF_SUFFIXES or kind is None or kind.startswith("image/")):
        if suffix in HEIF_SUFFIXES and can_read_heif() or is_image(path):
            return None
        if suffix in HEIF_SUFFIXES or is_heif(path):
            return "in HEIC format, which needs pillow-heif (pip install pillow-heif)"
    return f"of another kind ({suffix or 'no suffix'})"


def _is_named_as_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES | HEIF_SUFFIXES
