"""Pixels of each class in the masks of a split."""

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.masks import IGNORE, label_counts, read_mask
from keras_cnns.data.targets import Mask
from keras_cnns.errors import SourceError
from keras_cnns.typing import Size


class MaskCounts:
    """Count the classes of masks, and note unusable masks.

    Args:
        target: the kind of masks.

    Attributes:
        faults: error of each mask that cannot be used, by the mask's name.
    """

    def __init__(self, target: Mask):
        self._target = target
        self._pixels, self._images = np.zeros(IGNORE + 1, "int64"), np.zeros(IGNORE + 1, "int64")
        self.faults: dict[str, SourceError] = {}

    def add(self, mask: str | NDArray[np.uint8], size: Size | None) -> None:
        """Count the pixels of a mask.

        Args:
            mask: as its split holds it.
            size: (height, width) of its image; None if it is not known.
        """
        if isinstance(mask, str):
            try:
                labels = read_mask(mask, self._target.count, size, self._target.ignore)
            except SourceError as error:
                self.faults[mask] = error
                return
        else:
            labels = mask
        counts = label_counts(labels)
        self._pixels += counts
        self._images += counts > 0

    def pixels(self, classes: int) -> tuple[int, ...]:
        """Return the number of pixels of each class.

        Args:
            classes: number of classes.
        """
        return tuple(self._pixels[:classes].tolist())

    def images(self, classes: int) -> tuple[int, ...]:
        """Return the number of masks in which each class occurs.

        Args:
            classes: number of classes.
        """
        return tuple(self._images[:classes].tolist())

    @property
    def ignored(self) -> int:
        """Number of pixels to ignore."""
        return int(self._pixels[IGNORE])
