"""Objects in the images of a split, their sizes and shapes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.box_target import from_bytes
from keras_cnns.errors import SourceError
from keras_cnns.typing import Size

SHARES = (10, 50, 90)  # percentiles of sides and aspects


@dataclasses.dataclass(frozen=True)
class BoxFacts:
    """What is known of the boxes of a split.

    Attributes:
        objects: number of objects of each class, in the order of the names.
        empty: number of images without objects.
        most: largest number of objects in an image.
        sides: percentiles 10, 50 and 90 of the square root of the area of a box, in pixels.
        relative_sides: the same, as shares of the square root of the area of the image.
        aspects: percentiles 10, 50 and 90 of width divided by height.
        left_out: number of objects that are difficult, or crowds.
    """

    objects: tuple[int, ...]
    empty: int
    most: int
    sides: tuple[float, ...]
    relative_sides: tuple[float, ...]
    aspects: tuple[float, ...]
    left_out: int


class BoxCounts:
    """Count the objects of images, and note what is wrong.

    Attributes:
        faults: error of each target that cannot be used; splits of boxes have none, as they are read when opened.
    """

    def __init__(self) -> None:
        self._objects: list[NDArray[Any]] = []  # for each image (label, height, width, share of the side, left out)
        self.faults: dict[str, SourceError] = {}

    def add(self, target: bytes, size: Size | None) -> None:
        """Count the objects of an image.

        Args:
            target: as its split holds it.
            size: (height, width) of the image; None if it is not known.
        """
        found = from_bytes(target)
        heights, widths = (found["boxes"][:, 2:] - found["boxes"][:, :2]).T
        whole = np.sqrt(size[0] * size[1]) if size else np.nan
        columns = (found["labels"], heights, widths, np.sqrt(heights * widths) / whole)
        self._objects.append(np.stack([*columns, found["difficult"] | found["crowd"]], -1))

    def images(self, classes: int) -> tuple[int, ...]:
        """Return the number of images in which each class occurs.

        Args:
            classes: number of classes.
        """
        counts = np.zeros(classes, "int64")
        for objects in self._objects:
            counts[np.unique(objects[:, 0]).astype("int64")] += 1
        return tuple(counts.tolist())

    def facts(self, classes: int) -> BoxFacts:
        """Return the `BoxFacts` so far.

        Args:
            classes: number of classes.
        """
        objects = np.concatenate([np.zeros((0, 5)), *self._objects])
        labels, heights, widths, shares, left_out = objects.T
        numbers = [len(of_image) for of_image in self._objects]
        return BoxFacts(
            objects=tuple(np.bincount(labels.astype("int64"), minlength=classes).tolist()),
            empty=numbers.count(0),
            most=max(numbers, default=0),
            sides=_percentiles(np.sqrt(heights * widths)),
            relative_sides=_percentiles(shares[np.isfinite(shares)]),
            aspects=_percentiles(widths / np.maximum(heights, 1e-6)),
            left_out=int(left_out.sum()),
        )


def _percentiles(values: Sequence[float] | NDArray[Any]) -> tuple[float, ...]:
    """Return the percentiles of `SHARES`, empty without values."""
    return tuple(np.percentile(values, SHARES).tolist()) if len(values) else ()
