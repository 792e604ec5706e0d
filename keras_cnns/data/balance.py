"""Balancing classes of unequal size by weights, repeats or fewer images."""

import hashlib
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_cnns.data.splits import LabeledSplit, Split
from keras_cnns.data.splitting import drawn_by_class
from keras_cnns.data.targets import ClassLabel
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Labels


def class_weights(split: Split) -> dict[int, float]:
    """Return the weight of each class, for `model.fit(class_weight=...)`.

    A weight is inversely proportional to the number of images of its class, so that all classes count equally. The mean
    weight over the images is 1, so that the size of the loss and the learning rate need not change.

    Args:
        split: the training `Split`. The labels of a tensorflow-datasets split are read, once.

    Returns:
        Dictionary from each label, from 0 to the largest, to its weight. A class without images has weight 1.

    Raises:
        ArgumentError: if the images do not have one class each.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> split = data.ArraySplit(np.zeros((4, 8, 8, 1), "uint8"), [0, 0, 0, 1])
        >>> {label: round(weight, 2) for label, weight in data.class_weights(split).items()}
        {0: 0.67, 1: 2.0}
    """
    if split.labels is None and not isinstance(split.target, ClassLabel):
        raise ArgumentError(
            "images are balanced by their class, and these do not have one class each; leave out `balance`. "
            f"Received: a split with target={split.target}"
        )
    # Only a TfdsSplit has no labels in memory, and only that one has this method
    labels = split.read_labels() if split.labels is None else split.labels  # type: ignore[attr-defined]
    counts = np.bincount(labels[labels >= 0])  # tensorflow-datasets writes -1 for a missing label
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return {label: float(weights[label]) if counts[label] else 1.0 for label in range(len(counts))}


def weight_by_class(split: Split, classes: int) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """Return a tf.data map function that appends each image's weight.

    It maps (images, labels) to (images, labels, weights), float32 (batch,). Weights that the images already have, as a
    third argument, are multiplied by these.

    Args:
        split: the training `Split`, whose `class_weights` are used.
        classes: number of classes.
    """
    known = class_weights(split)
    weights = tf.constant([known.get(label, 1.0) for label in range(classes)])

    def weigh(images, labels, before=1.0):
        if labels.dtype.is_floating:  # the weights of mixed images are mixed as their labels are
            return images, labels, before * tf.linalg.matvec(labels, weights)
        return images, labels, before * tf.gather(weights, labels)

    return weigh


def repeat_scarce(split: LabeledSplit, seed: int = 0, noise: float = 0.0) -> "RepeatedSplit":
    """Repeat images of scarce classes until all classes have equally many.

    Every image occurs at least once, unchanged. Repeats go through all images of a class before one comes again; which
    ones come once more at the end is drawn. Divide a source before this function, not after it: otherwise repeats of
    one image can be in both parts.

    Args:
        split: the training `ArraySplit` or `FileSplit`.
        seed: seed of the draw and the noise.
        noise: standard deviation of the Gaussian noise that is added to repeats before they are resized, in pixel units
            (0 to 255); 0: repeats are exact copies.

    Returns:
        `RepeatedSplit`.

    Raises:
        ArgumentError: for a split whose labels are not known, or noise below 0.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> split = data.ArraySplit(np.zeros((4, 8, 8, 1), "uint8"), [0, 0, 0, 1])
        >>> np.bincount(data.repeat_scarce(split, noise=4.0).labels)
        array([3, 3])
    """
    labels = _need_labels(split)
    if not (np.isfinite(noise) and noise >= 0):
        raise ArgumentError(f"`noise` must be a deviation of 0 or more pixel units. Received: noise={noise}")
    drawn = drawn_by_class(labels, split.keys(), seed)
    most = max((len(members) for members in drawn.values()), default=0)
    extra = [np.resize(members, most)[len(members) :] for members in drawn.values()]
    places = np.concatenate([np.arange(split.examples), *extra]).astype("int64")
    return RepeatedSplit(split, places, split.examples, noise, seed)


def drop_surplus(split: LabeledSplit, seed: int = 0) -> LabeledSplit:
    """Drop images of large classes until all classes have equally many.

    Each class keeps as many images as the smallest class has. They are drawn from `seed` and stay in their order.

    Args:
        split: `ArraySplit` or `FileSplit`.
        seed: seed of the draw. If images are added to a folder or removed from it later, the same seed still draws
            most of the others.

    Returns:
        A split of the same type.

    Raises:
        ArgumentError: for a split whose labels are not known.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> split = data.ArraySplit(np.zeros((4, 8, 8, 1), "uint8"), [0, 0, 0, 1])
        >>> np.bincount(data.drop_surplus(split).labels)
        array([1, 1])
    """
    drawn = drawn_by_class(_need_labels(split), split.keys(), seed)
    least = min((len(members) for members in drawn.values()), default=0)
    return split.take(np.sort(np.concatenate([members[:least] for members in drawn.values()])))


class RepeatedSplit(Split):
    """Images of another split, some of them repeated with noise.

    Args:
        base: the labeled split that holds the images.
        places: int64 array, the index in `base` of each example.
        originals: how many of the first `places` are not repeats.
        noise: standard deviation of the noise on repeats, in pixel units (0 to 255).
        seed: seed of the noise. Each repeat has its own noise, the same in every epoch.
    """

    def __init__(self, base: Any, places: NDArray[np.int64], originals: int, noise: float = 0.0, seed: int = 0):
        super().__init__(len(places))
        self.base, self.places, self.originals, self.noise, self.seed = base, places, originals, noise, seed
        self.labels, self.class_names = base.labels[places], base.class_names
        self.faults, self.skipped = base.faults, base.skipped  # the base decodes the images, and notes errors there

    def elements(self) -> tf.data.Dataset:
        """Return the elements, as `Split.elements`.

        An element is (element of the base, number of the repeat); the number is negative for an original.
        """
        return self._elements()(tf.data.Dataset.range(self.examples))

    def shuffler(self) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
        """Return the function from a seed to shuffled elements, as `Split.shuffler`."""
        order, elements = tf.data.Dataset.range(self.examples), self._elements()
        return lambda seed: elements(order.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True))

    def _elements(self) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
        """Return a function from a dataset of places to their elements."""
        with tf.device("CPU"):
            items, places, labels = map(tf.constant, (self.base.items, self.places, self.labels))
        return lambda order: order.map(
            lambda place: ((tf.gather(items, places[place]), place - self.originals), labels[place])
        )

    def decode(self, element: Any, channels: int, skip_broken: bool = False) -> tf.Tensor:
        """Return the uint8 image of an element, as `Split.decode`.

        Args:
            element: an element of `elements`.
            channels: 1 (gray) or 3 (RGB).
            skip_broken: whether a broken image is noted and comes as one of height 0.
        """
        item, number = element
        return self._noisy(self.base.decode(item, channels, skip_broken), number)

    def _noisy(self, image, number):
        if not self.noise:
            return image
        return tf.cond(number < 0, lambda: image, lambda: add_noise(image, (self.seed, number), self.noise))

    def identity(self) -> bytes:
        """Return bytes that identify the images and labels, as `Split.identity`."""
        return self._digest(self.base.identity())

    def fingerprint(self) -> bytes:
        """Return bytes that identify the contents, as `Split.fingerprint`."""
        return self._digest(self.base.fingerprint())

    def _digest(self, base: bytes) -> bytes:
        facts = base, self.places.tobytes(), self.originals, self.noise, self.seed
        return hashlib.sha256(repr(facts).encode()).digest()

    def divide(self, share: Any, seed: int) -> NoReturn:
        """Refuse to divide, since both parts could contain the same image.

        Args:
            share: as in `Split.divide`.
            seed: as in `Split.divide`.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError(
            "a split with repeats cannot be divided, or an image would be in both parts: divide first, as with "
            f"`split_source`, then repeat. Received: share={share}"
        )

    def partition(self, shares: Any, seed: int) -> NoReturn:
        """Refuse to divide, as `divide` does.

        Args:
            shares: as in `Split.partition`.
            seed: as in `Split.partition`.

        Raises:
            ArgumentError: always.
        """
        self.divide(tuple(shares), seed)

    def _relabeled(self, places, class_names):
        base = self.base._relabeled(places, class_names)
        return self._copy(base=base, labels=base.labels[self.places], class_names=class_names)

    def sample(self, count: int) -> Split:
        """Return at most `count` images without repeats, as `Split.sample`.

        Args:
            count: largest number of images.
        """
        return self.base.sample(count)

    def joined(self, others):
        """Raise TypeError: the repeats are of one split."""
        raise TypeError(f"{type(self).__name__} cannot be joined")


def add_noise(image: tf.Tensor, seed: tuple[int | tf.Tensor, int | tf.Tensor], deviation: float) -> tf.Tensor:
    """Add Gaussian noise to every value of an image.

    Args:
        image: uint8 tensor (height, width, channels).
        seed: two whole numbers; the same ones give the same noise.
        deviation: standard deviation in pixel units (0 to 255).

    Returns:
        uint8 tensor of the same shape, rounded and clipped to 0 to 255.
    """
    seed = tf.stack([tf.cast(part, tf.int64) for part in seed])
    noise = tf.random.stateless_normal(tf.shape(image), seed, stddev=float(deviation))
    noisy = tf.saturate_cast(tf.round(tf.cast(image, tf.float32) + noise), tf.uint8)
    return tf.ensure_shape(noisy, image.shape)


def _need_labels(split: Split) -> Labels:
    """Return the labels of a split whose items are in memory.

    Raises:
        ArgumentError: if they or the items are not.
    """
    if getattr(split, "items", None) is None or split.labels is None:
        raise ArgumentError(
            "images can be repeated or dropped if they are in an array or in files and their labels are known; "
            f"for a tensorflow-datasets split use class_weights. Received: split={type(split).__name__}"
        )
    return split.labels
