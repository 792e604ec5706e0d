"""Images to visualize, with their names and labels."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_cnns.typing import Images, Labels, Pixels
from keras_cnns.typing import Path as PathLike

if TYPE_CHECKING:
    from keras_cnns.data.preprocessing import Preprocessing
    from keras_cnns.data.splits import Split


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to visualize.

    Attributes:
        pixels: uint8 (images, height, width, 1 or 3), of the model's input size.
        images: float32 of the same shape, normalized as the model takes them.
        names: one per image.
        labels: int64 (images,), or None if the classes are unknown.
    """

    pixels: Pixels
    images: Images
    names: Sequence[str]
    labels: Labels | None = None

    def first(self, count: int) -> "ImageSet":
        """Return the first `count` images."""
        labels = None if self.labels is None else self.labels[:count]
        return ImageSet(self.pixels[:count], self.images[:count], self.names[:count], labels)


def read_images(paths: Sequence[PathLike], preprocessing: "Preprocessing") -> ImageSet:
    """Return the images of files, named for the files.

    Args:
        paths: image files.
        preprocessing: says how to resize, crop and normalize.

    Raises:
        SourceError: if a file cannot be read.
    """
    from keras_cnns.data.pipeline import read_files

    pixels = read_files(paths, preprocessing)
    return ImageSet(pixels, _normalize(pixels, preprocessing), [Path(path).name for path in paths])


def sample_images(split: "Split", preprocessing: "Preprocessing", class_names: Sequence[str], count: int) -> ImageSet:
    """Return images spread over a split, named for their classes.

    Images that do not have one class each, as those with masks, are numbered.

    Args:
        split: of a dataset.
        preprocessing: says how to resize, crop and normalize.
        class_names: name of each class.
        count: most images to return.

    Raises:
        SourceError: if an image cannot be read.
    """
    from keras_cnns.data.pipeline import read_pixels

    pixels, labels = read_pixels(split.sample(count), preprocessing)
    images = _normalize(pixels, preprocessing)
    if split.labels is None and split.target.classes(labels) is None:  # as with masks
        return ImageSet(pixels, images, [f"image {number}" for number in range(1, len(pixels) + 1)])
    return ImageSet(pixels, images, [class_names[label] for label in labels], labels)


def _normalize(pixels: Pixels, preprocessing: "Preprocessing") -> Images:
    return np.asarray(preprocessing.normalize(pixels.astype("float32")), "float32")
