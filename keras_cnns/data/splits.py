"""Part of a source: pictures and labels, in memory or as files, and how a part is divided."""

import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_cnns.data.pictures import read_picture
from keras_cnns.errors import SourceError


class Split:
    """Part of a source: pictures and their labels.

    Attributes:
        examples: number of pictures.
        labels: int64 array (examples,), or None where only the data set itself knows them.
        faults: errors met while reading; a tf.data pipeline can only say that an op failed, this says why.
    """

    labels = None

    def __init__(self, examples):
        self.examples = examples
        self.faults = []

    def elements(self):
        """Return a `tf.data.Dataset` of (element, label int64), cheap to shuffle."""
        raise TypeError(f"{type(self).__name__} has no elements")

    def decode(self, element, channels):
        """Return the uint8 picture (height, width, channels) of an element, inside a tf.data map."""
        return _with_channels(element, channels)

    def divide(self, share, seed):
        """Return two splits, the second with `share` of the pictures, stratified where the labels are known."""
        raise TypeError(f"{type(self).__name__} cannot be divided")

    def sample(self, count):
        """Return a split of at most `count` pictures, spread over the whole."""
        raise TypeError(f"{type(self).__name__} cannot be sampled")


class _Labeled(Split):
    """A split whose items and labels lie in memory."""

    def __init__(self, items, labels):
        super().__init__(len(items))
        self.items, self.labels = items, np.asarray(labels, "int64")

    def keys(self):
        """Return what tells the examples apart, whatever else is in the split."""
        return range(self.examples)

    def elements(self):
        """As `Split.elements`."""
        with tf.device("CPU"):
            return tf.data.Dataset.from_tensor_slices((self.items, self.labels))

    def divide(self, share, seed):
        """As `Split.divide`."""
        first, second = _stratified(self.labels, self.keys(), share, seed)
        return tuple(type(self)(self.items[part], self.labels[part]) for part in (first, second))

    def sample(self, count):
        """As `Split.sample`."""
        spread = np.linspace(0, self.examples - 1, min(count, self.examples)).round().astype("int64")
        return type(self)(self.items[spread], self.labels[spread])


class ArraySplit(_Labeled):
    """Pictures of one size in a uint8 array (examples, height, width, channels)."""


class FileSplit(_Labeled):
    """Picture files, read when they are needed."""

    def keys(self):
        """As `_Labeled.keys`: class folder and file name, wherever the whole lies."""
        return ["/".join(Path(file).parts[-2:]) for file in self.items]

    def decode(self, element, channels):
        """As `Split.decode`; a file that cannot be read is noted in `faults`."""

        def read(path):
            try:
                return read_picture(path.decode(), channels)
            except SourceError as error:
                self.faults.append(error)
                raise

        picture = tf.numpy_function(read, [element], tf.uint8, stateful=False)
        picture.set_shape((None, None, channels))
        return picture


def _stratified(labels, keys, share, seed):
    """Return two sorted index arrays, the second with `share` of every class, rounded, and at least one of each.

    Which examples go there is drawn from the hash of seed and key, so that a folder in which pictures are added
    or removed later keeps its split but for those and, at most, one picture a class.
    """
    second = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise SourceError(
                "a split that keeps the classes' shares needs two pictures of each; the class with label "
                f"{label} has one. Add a picture to it."
            )
        drawn = sorted(members, key=lambda k: hashlib.sha256(f"{seed}:{keys[k]}".encode()).digest())
        second += drawn[: min(max(1, round(len(members) * share)), len(members) - 1)]
    return np.setdiff1d(np.arange(len(labels)), second), np.sort(second)


def _with_channels(picture, channels):
    """Return a uint8 picture tensor (..., height, width, 1 or 3) with so many channels."""
    now = picture.shape[-1]
    if now == channels:
        return picture
    if now == 1 and channels == 3:
        return tf.image.grayscale_to_rgb(picture)
    if now == 3 and channels == 1:
        return tf.image.rgb_to_grayscale(picture)
    raise SourceError(f"a picture of {now} channels cannot become one of {channels}.")
