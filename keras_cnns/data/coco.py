"""Masks drawn from the annotations of a COCO file.

Imports no tensorflow.
"""

import dataclasses
import functools
import json
import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_cnns.errors import SourceError
from keras_cnns.typing import Path, Size

MOST_CATEGORIES = 254  # as the background is class 0, and 255 marks pixels to ignore
BACKGROUND = "background"
PARTS = ("images", "annotations", "categories")  # lists in a file
KEPT_FILES = 4  # parsed files that stay in memory

# What `Annotations.name_of` writes
_NAME = re.compile(r"(.*\.json)#(-?[0-9]+)", re.IGNORECASE | re.DOTALL)
_lock = threading.Lock()  # so that several threads of a pipeline do not parse the same file


@dataclasses.dataclass(frozen=True)
class _Region:
    """One annotation.

    Attributes:
        number: id of the annotation, for errors.
        label: class of its pixels.
        polygons: arrays (points, 2) of x and y; empty for run lengths.
        runs: the dictionary "counts", "size" of run lengths, or None.
    """

    number: Any
    label: int
    polygons: tuple[NDArray[np.float32], ...]
    runs: Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Annotations:
    """The contents of a COCO file that masks need.

    Attributes:
        path: path of the file.
        class_names: "background", then the categories in the order of their ids.
        files: name of each image's file, by the id of the image, in the order of the file.
        sizes: (height, width) of each image, by its id.
        regions: annotations of each image, by its id, in the order of the file.
    """

    path: str
    class_names: tuple[str, ...]
    files: Mapping[int, str]
    sizes: Mapping[int, Size]
    regions: Mapping[int, tuple[_Region, ...]]

    def name_of(self, image: int) -> str:
        """Return the name of an image's mask, which `read_mask` takes.

        It is a text, so that a split of masks is like a split of mask files: it can be stored and sent to another
        process, which reads the file for itself.

        Args:
            image: id of the image.
        """
        return f"{self.path}#{image}"

    def mask(self, image: int) -> NDArray[np.uint8]:
        """Draw the mask of an image.

        Where annotations overlap, the later one counts. Crowds count like single objects.

        Args:
            image: id of the image.

        Returns:
            uint8 array (height, width) of classes; 0 where there is no annotation.

        Raises:
            SourceError: if there is no such image, or an annotation cannot be used.
        """
        if image not in self.sizes:
            raise SourceError(f"{self.path}: has no image of the id {image}. Open the source again.")
        mask = np.zeros(self.sizes[image], "uint8")
        for region in self.regions.get(image, ()):
            try:
                for polygon in region.polygons:
                    fill_polygon(mask, polygon, region.label)
                if region.runs is not None:
                    mask[decode_runs(region.runs, mask.shape)] = region.label
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise SourceError(
                    f"{self.path}: the annotation {region.number} of the image {image} cannot be drawn "
                    f"({error or type(error).__name__}). Correct or remove it."
                ) from None
        return mask


def named_in(name: Path) -> tuple[str, int] | None:
    """Return the file and the image that a mask's name means.

    Args:
        name: as `Annotations.name_of` returns it.

    Returns:
        (path of the COCO file, id of the image), or None for a file's own name.
    """
    match = _NAME.fullmatch(os.fspath(name))
    return (match[1], int(match[2])) if match else None


def read_annotations(path: Path) -> Annotations:
    """Return the annotations of a COCO file.

    A file is parsed once in each process, and again if it has changed.

    Args:
        path: path of a JSON file with `images`, `annotations` and `categories`.

    Raises:
        SourceError: naming the file and what is wrong with it.
    """
    path = os.fspath(path)
    try:
        status = os.stat(path)
        with _lock:
            return _parsed(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error}). Check it.") from None


@functools.lru_cache(KEPT_FILES)
def _parsed(path: str, time: int, size: int) -> Annotations:
    """Return the annotations of a file, which its time and size identify."""
    content = parse(path)
    images, annotations, categories = (content[part] for part in PARTS)
    try:
        class_names, labels = _classes(path, categories)
        files = {_whole_number(image["id"]): str(image["file_name"]) for image in images}
        sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in images}
        regions: dict[int, list[_Region]] = {}
        for annotation in annotations:
            # A box without a region covers nothing; exports of detectors have such annotations
            if annotation.get("segmentation"):
                regions.setdefault(annotation["image_id"], []).append(_region(annotation, labels))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            f"{path}: an entry lacks a field of the COCO format, or has another value there "
            f"({type(error).__name__}: {error}). Export the annotations again."
        ) from None
    if len(files) < len(images):
        raise SourceError(f"{path}: two images have the same id. Give each its own.")
    if unknown := sorted(set(regions) - set(files)):
        raise SourceError(
            f"{path}: has annotations of the image {unknown[0]}, which is not among its images. Remove them."
        )
    return Annotations(path, class_names, files, sizes, {image: tuple(of) for image, of in regions.items()})


def parse(path: Path) -> dict[str, Any]:
    """Return what is in a COCO file.

    Args:
        path: path of a JSON file with `images`, `annotations` and `categories`.

    Raises:
        SourceError: if it cannot be read, or lacks one of these lists.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            content = json.load(file)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror or error}). Check it.") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is no JSON file ({error}). Export the annotations again.") from None
    lists: list[Any] = [content.get(part) if isinstance(content, dict) else None for part in PARTS]
    if missing := [part for part, values in zip(PARTS, lists, strict=True) if not isinstance(values, list)]:
        raise SourceError(
            f"{path}: has no list {' and no list '.join(missing)}. A COCO file has images, annotations and categories; "
            "give one of these, or another source."
        )
    return content


def _whole_number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError(f"an id must be a whole number, not {value!r}")
    return value


def _classes(path: str, categories: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, ...], dict[int, int]]:
    """Return class names, and the class of each category's id.

    A category called background is class 0.
    """
    by_id = {_whole_number(category["id"]): str(category["name"]) for category in categories}
    shown = [number for number in sorted(by_id) if by_id[number].casefold() != BACKGROUND]
    names = (BACKGROUND, *(by_id[number] for number in shown))
    if len(by_id) < len(categories) or len(set(names)) < len(names):
        raise SourceError(f"{path}: two categories have the same id or name. Give each its own.")
    if not 0 < len(shown) <= MOST_CATEGORIES:
        raise SourceError(
            f"{path}: has {len(shown)} categories; masks hold from 1 to {MOST_CATEGORIES}. Choose other annotations."
        )
    labels = dict.fromkeys(by_id, 0)
    labels.update({number: place for place, number in enumerate(shown, 1)})
    return names, labels


def _region(annotation: Mapping[str, Any], labels: Mapping[int, int]) -> _Region:
    shape, label = annotation["segmentation"], labels[annotation["category_id"]]
    if isinstance(shape, dict):
        return _Region(annotation.get("id"), label, (), shape)
    polygons = tuple(np.array(polygon, "float32").reshape(-1, 2) for polygon in shape)
    return _Region(annotation.get("id"), label, polygons, None)


def fill_polygon(mask: NDArray[np.uint8], points: ArrayLike, label: int) -> None:
    """Set the pixels whose centers lie in a polygon.

    Coordinates are those of COCO: the first pixel reaches from 0 to 1. So two polygons with a common side have no
    common pixel. (Pillow's `ImageDraw.polygon` also draws the sides, which makes every object a pixel larger.)

    Args:
        mask: uint8 array (height, width), which is changed.
        points: array (points, 2) of x and y.
        label: the value to set.
    """
    height, width = mask.shape
    corners = np.asarray(points, "float64") - 0.5  # relative to the centers of pixels
    if not np.isfinite(corners).all():
        raise ValueError("a coordinate is not finite")
    x, y = corners.T
    next_x, next_y = np.roll(corners, -1, axis=0).T
    # The rows from `first` up to, but without, `last` have centers between the ends of the side
    first = np.clip(np.ceil(np.minimum(y, next_y)), 0, height).astype("int64")
    last = np.clip(np.ceil(np.maximum(y, next_y)), 0, height).astype("int64")
    counts = last - first
    side = np.repeat(np.arange(len(x)), counts)
    if not len(side):
        return
    row = np.arange(len(side)) - np.repeat(np.cumsum(counts) - counts, counts) + first[side]
    crossing = x[side] + (row - y[side]) * (next_x - x)[side] / (next_y - y)[side]
    column = np.clip(np.ceil(crossing), 0, width).astype("int64")
    top, left = row.min(), column.min()
    window = mask[top : row.max() + 1, left : column.max()]
    # Each crossing changes inside and outside for all pixels to its right
    changes = np.zeros((window.shape[0], window.shape[1] + 1), "uint8")
    np.bitwise_xor.at(changes, (row - top, column - left), 1)
    window[np.bitwise_xor.accumulate(changes[:, :-1], axis=1) > 0] = label


def decode_runs(runs: Mapping[str, Any], size: Size) -> NDArray[np.bool_]:
    """Return the mask that run lengths describe.

    Args:
        runs: dictionary of "size", [height, width], and "counts": lengths of runs of zeros and ones in turn, zeros
            first, down the columns; or the text in which COCO packs them.
        size: (height, width) of the image.

    Returns:
        bool array (height, width).

    Raises:
        ValueError: if they describe a mask of another size.
    """
    counts = runs["counts"]
    lengths = np.asarray(_unpacked(counts) if isinstance(counts, str) else counts, "int64")
    height, width = size
    if tuple(runs["size"]) != (height, width):
        raise ValueError(f"its run lengths are of the size {runs['size']}, and the image's is {[height, width]}")
    if (lengths < 0).any() or lengths.sum() != height * width:
        raise ValueError(f"its run lengths are of {lengths.sum():,} pixels, and the image has {height * width:,}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    """Return the run lengths in a packed text.

    A number is stored in groups of five bits, the lowest first, one character each, which begin at "0". Bit 5 says
    that another group follows; bit 4 of the last one is the sign. From the fourth number on, the difference to the last
    number but one is stored.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64:
            raise ValueError(f"its packed run lengths have the character {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("its packed run lengths end within a number")
    return lengths
