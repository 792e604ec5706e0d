"""Checks of the boxes in annotation files. Imports no tensorflow."""

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from keras_cnns._text import counted
from keras_cnns.data.box_target import AREA, COLUMNS, CROWD, DIFFICULT, LABEL, Rows
from keras_cnns.errors import SourceError, nearest
from keras_cnns.typing import Path, Size

# What is wrong with boxes, and what is done, as the end of "3 boxes ..."
EMPTY = "without area are left out"
INVERTED = "whose corners are exchanged are turned round"
OUTSIDE = "outside their image are left out"
CUT = "that reach beyond their image are cut at its border"
ORIENTATION = 0x0112  # tag in EXIF
TURNED = (5, 6, 7, 8)  # orientations in which height and width are exchanged


class Found(NamedTuple):
    """An object as an annotation file has it.

    Attributes:
        box: top, left, bottom, right in pixels; bottom and right are the first row and column outside.
        name: name of its class.
        difficult: whether it is difficult, in VOC's sense.
        crowd: whether it is a region of many objects, in COCO's sense.
        area: in square pixels; None: that of the box.
    """

    box: tuple[float, float, float, float]
    name: str
    difficult: bool = False
    crowd: bool = False
    area: float | None = None


class BoxChecks:
    """Turn objects into rows, and note what is wrong with their boxes.

    Args:
        class_names: names of the classes, in the order of the labels.
        source: name of the source, for errors.
    """

    def __init__(self, class_names: Sequence[str], source: Path):
        self._labels = {name: number for number, name in enumerate(class_names)}
        self._source = source
        self._faults: dict[str, list[str]] = {}

    def rows(self, file: Path, size: Size, objects: Iterable[Found]) -> Rows:
        """Return the rows of an image's objects.

        Args:
            file: path of the annotations, for errors and notes.
            size: (height, width) of the image.
            objects: its `Found` objects.

        Raises:
            SourceError: if a class is not known, or a number is not finite.
        """
        rows = []
        for found in objects:
            if found.name not in self._labels:
                near = nearest(found.name, self._labels)
                raise SourceError(
                    f"{file}: has an object of the class {found.name!r}, which is not one of the classes of "
                    f"{self._source}: {', '.join(list(self._labels)[:10])}.{near} Rename it, or name the class too."
                )
            if not np.isfinite(found.box).all():
                raise SourceError(
                    f"{file}: has the box {found.box} for {found.name!r}; give it four numbers, in pixels."
                )
            if (box := self._checked(file, size, found.box)) is not None:
                row = np.zeros(len(COLUMNS), "float32")
                row[:4], row[LABEL] = box, self._labels[found.name]
                row[DIFFICULT], row[CROWD] = found.difficult, found.crowd
                row[AREA] = (box[2] - box[0]) * (box[3] - box[1]) if found.area is None else found.area
                rows.append(row)
        return np.array(rows, "float32").reshape(-1, len(COLUMNS))

    def _checked(self, file: Path, size: Size, box: Sequence[float]) -> Sequence[float] | None:
        """Return the box to use, if any, and note faults."""
        (top, left, bottom, right), (height, width) = box, size
        if bottom < top or right < left:
            self._note(INVERTED, file)
            top, bottom, left, right = min(top, bottom), max(top, bottom), min(left, right), max(left, right)
        if bottom == top or right == left:
            self._note(EMPTY, file)
            return None
        if min(bottom, right) <= 0 or top >= height or left >= width:
            self._note(OUTSIDE, file)
            return None
        cut = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
        if cut != (top, left, bottom, right):
            self._note(CUT, file)
        return cut

    def _note(self, fault: str, file: Path) -> None:
        self._faults.setdefault(fault, []).append(os.fspath(file))

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each kind of fault."""
        return tuple(
            f"{counted(len(files), 'box')} {fault}; the first is in {files[0]}" for fault, files in self._faults.items()
        )


def shown_size(path: Path) -> Size:
    """Return the size of an image as it is shown.

    Args:
        path: path of an image file.

    Raises:
        SourceError: if it cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION) in TURNED
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such image. Add it, or remove its boxes.") from None
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SourceError(f"{path}: its size cannot be read ({error}). Replace it.") from None
    return (width, height) if turned else (height, width)
