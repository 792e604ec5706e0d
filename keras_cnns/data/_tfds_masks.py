"""Masks in the datasets of tensorflow-datasets."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.masks import IGNORE, MOST_CLASSES
from keras_cnns.errors import SourceError, nearest

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class MaskLabels:
    """What the labels in the masks of a dataset mean.

    Attributes:
        names: names of the classes.
        first: label of the first class; those of the others follow.
        ignore: label of pixels to ignore, besides 255.
    """

    names: tuple[str, ...]
    first: int = 0
    ignore: int = IGNORE

    def table(self) -> NDArray[np.int32]:
        """Return the class of each label; 255: ignored; -1: no class."""
        classes = np.full(256, -1, "int32")
        classes[self.first : self.first + len(self.names)] = np.arange(len(self.names))
        classes[[self.ignore, IGNORE]] = IGNORE
        return classes


# Datasets whose features do not say what the labels mean. Oxford's trimaps: 1 pet, 2 background, 3 the border between.
KNOWN = {("oxford_iiit_pet", "segmentation_mask"): MaskLabels(("pet", "background"), first=1, ignore=3)}


def mask_features(features: "tfds.features.FeaturesDict") -> list[str]:
    """Return the names of the features that can be masks.

    Args:
        features: those of a dataset.
    """
    import tensorflow_datasets as tfds

    return [
        name
        for name, feature in features.items()
        if isinstance(feature, tfds.features.Image) and feature.shape[-1] == 1
    ]


def mask_keys(spec: str, info: "tfds.core.DatasetInfo", name: str) -> tuple[tuple[str, str], MaskLabels]:
    """Return the features of image and mask, and their labels.

    Args:
        spec: the dataset, as "tfds:NAME#FEATURE".
        info: what is known of it.
        name: FEATURE.

    Raises:
        SourceError: if there is no such mask, not one image beside it, or no names of its classes.
    """
    import tensorflow_datasets as tfds

    found = mask_features(info.features)
    if name not in found:
        have = f"its masks are {', '.join(found)}" if found else "it has no images of one channel"
        raise SourceError(f"{spec}: has no mask {name!r}; {have}.{nearest(name, found)} Name one of them.")
    images = [
        key
        for key, feature in info.features.items()
        if isinstance(feature, tfds.features.Image) and feature.shape[-1] != 1
    ]
    images = ["image"] if "image" in images else images
    if len(images) != 1:
        raise SourceError(f"{spec}: has {len(images)} features with images beside the mask. Choose another set.")
    labels = KNOWN.get((info.name, name))
    if labels is None:
        feature = info.features[name]
        classes = getattr(feature, "num_classes", None)
        if not classes or classes > MOST_CLASSES:
            raise SourceError(
                f"{spec}: does not name the classes of its masks, or more than {MOST_CLASSES}. Write its images and "
                "masks to folders, and the names to classes.txt."
            )
        labels = MaskLabels(tuple(feature.names))
    return (images[0], name), labels
