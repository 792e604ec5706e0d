"""Classes of unequal size: weights for the loss, scarce images repeated, or surplus ones dropped."""

import hashlib

import numpy as np
import tensorflow as tf

from keras_cnns.data.splits import Split
from keras_cnns.data.splitting import drawn_by_class
from keras_cnns.errors import ArgumentError


def class_weights(split):
    """Return the weight of each class in the loss, as `model.fit(class_weight=...)` takes it.

    Weights are inversely proportional to how often a class occurs, so that each class counts as much as any other,
    and their mean over the examples is 1, so that the size of the loss and the learning rate stay what they were.

    Args:
        split: the training `Split`. Of a tensorflow-datasets split the labels are read, once.

    Returns:
        Dictionary from each label, from 0 to the largest, to a float; a class without an image has weight 1.
    """
    labels = split.read_labels() if split.labels is None else split.labels
    counts = np.bincount(labels[labels >= 0])  # tensorflow-datasets writes -1 where there is no label
    weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return {label: float(weights[label]) if counts[label] else 1.0 for label in range(len(counts))}


def weighing(split, classes):
    """Return a function, for a tf.data map, from (images, labels) to these and each image's weight, float32 (batch,).

    Weights that images have already are multiplied by it.

    Args:
        split: the training `Split`, by which classes are weighed as in `class_weights`.
        classes: how many there are.
    """
    known = class_weights(split)
    weights = tf.constant([known.get(label, 1.0) for label in range(classes)])

    def weigh(images, labels, before=1.0):
        if labels.dtype.is_floating:  # of mixed images the weights are mixed as the labels are
            return images, labels, before * tf.linalg.matvec(labels, weights)
        return images, labels, before * tf.gather(weights, labels)

    return weigh


def repeat_scarce(split, seed=0, noise=0.0):
    """Return a split in which scarce classes are repeated until all have as many examples as the largest.

    Every image is there at least once, as it is; the repeats of a class go round all of its images before one
    comes again, and which ones come once more at the end is drawn. Divide a source before this, not after it, or
    repeats of one image come to lie on both sides.

    Args:
        split: the training `ArraySplit` or `FileSplit`.
        seed: of the draw and the noise.
        noise: standard deviation, in pixel units (0 to 255), of the Gaussian noise that is added to repeats, before
            they are resized; 0: repeats are exact.

    Returns:
        `RepeatedSplit`.

    Raises:
        ArgumentError: for a split whose labels are not known, or noise below 0.
    """
    _need_labels(split)
    if not (np.isfinite(noise) and noise >= 0):
        raise ArgumentError(f"`noise` must be a deviation of 0 or more pixel units. Received: noise={noise}")
    drawn = drawn_by_class(split.labels, split.keys(), seed)
    most = max((len(members) for members in drawn.values()), default=0)
    extra = [np.resize(members, most)[len(members) :] for members in drawn.values()]
    places = np.concatenate([np.arange(split.examples), *extra]).astype("int64")
    return RepeatedSplit(split, places, split.examples, noise, seed)


def drop_surplus(split, seed=0):
    """Return a split with as many images of each class as the smallest has, drawn from `seed`, in their old order.

    Args:
        split: `ArraySplit` or `FileSplit`.
        seed: of the draw. Of a folder in which images are added or removed later, most of the others stay.

    Returns:
        A split of the same type.

    Raises:
        ArgumentError: for a split whose labels are not known.
    """
    _need_labels(split)
    drawn = drawn_by_class(split.labels, split.keys(), seed)
    least = min((len(members) for members in drawn.values()), default=0)
    return split.take(np.sort(np.concatenate([members[:least] for members in drawn.values()])))


class RepeatedSplit(Split):
    """Images of another split, some of them repeatedly, the repeats with noise.

    Args:
        base: the labeled split that holds the images.
        places: int64 array, the index in `base` of each example.
        originals: how many of the first `places` are no repeats.
        noise: standard deviation of the noise on repeats, in pixel units.
        seed: of the noise; each repeat has its own, the same in every epoch.
    """

    def __init__(self, base, places, originals, noise=0.0, seed=0):
        super().__init__(len(places))
        self.base, self.places, self.originals, self.noise, self.seed = base, places, originals, noise, seed
        self.labels, self.class_names = base.labels[places], base.class_names
        self.faults, self.skipped = base.faults, base.skipped  # its split decodes an image

    def elements(self):
        """As `Split.elements`; an element is (that of the base, number of the repeat or below 0)."""
        return self._elements()(tf.data.Dataset.range(self.examples))

    def shuffler(self):
        """As `Split.shuffler`, all of them."""
        order, elements = tf.data.Dataset.range(self.examples), self._elements()
        return lambda seed: elements(order.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True))

    def _elements(self):
        """Return a function from a `tf.data.Dataset` of places to one of the elements there."""
        with tf.device("CPU"):
            items, places, labels = map(tf.constant, (self.base.items, self.places, self.labels))
        return lambda order: order.map(lambda k: ((tf.gather(items, places[k]), k - self.originals), labels[k]))

    def decode(self, element, channels, skip_broken=False):
        """As `Split.decode`."""
        item, number = element
        return self._noisy(self.base.decode(item, channels, skip_broken), number)

    def _noisy(self, image, number):
        if not self.noise:
            return image
        return tf.cond(number < 0, lambda: image, lambda: add_noise(image, (self.seed, number), self.noise))

    def identity(self):
        """As `Split.identity`."""
        return self._digest(self.base.identity())

    def fingerprint(self):
        """As `Split.fingerprint`."""
        return self._digest(self.base.fingerprint())

    def _digest(self, base):
        facts = base, self.places.tobytes(), self.originals, self.noise, self.seed
        return hashlib.sha256(repr(facts).encode()).digest()

    def divide(self, share, seed):
        """Refuse: repeats of one image would lie in both parts."""
        raise ArgumentError(
            "a split with repeats cannot be divided, or an image would lie in both parts: divide first, as with "
            f"`split_source`, then repeat. Received: share={share}"
        )

    def partition(self, shares, seed):
        """Refuse, as `divide` does."""
        self.divide(tuple(shares), seed)

    def _relabeled(self, places, class_names):
        base = self.base._relabeled(places, class_names)
        return self._copy(base=base, labels=base.labels[self.places], class_names=class_names)

    def sample(self, count):
        """As `Split.sample`, of the images without repeats."""
        return self.base.sample(count)

    def joined(self, others):
        """Raise TypeError: the repeats are of one split."""
        raise TypeError(f"{type(self).__name__} cannot be joined")


def add_noise(image, seed, deviation):
    """Return an image with Gaussian noise on every value, rounded and cut off at 0 and 255.

    Args:
        image: uint8 tensor (height, width, channels).
        seed: two whole numbers; the same ones give the same noise.
        deviation: standard deviation in pixel units (0 to 255).

    Returns:
        uint8 tensor of the same shape.
    """
    seed = tf.stack([tf.cast(part, tf.int64) for part in seed])
    noise = tf.random.stateless_normal(tf.shape(image), seed, stddev=float(deviation))
    noisy = tf.saturate_cast(tf.round(tf.cast(image, tf.float32) + noise), tf.uint8)
    return tf.ensure_shape(noisy, image.shape)


def _need_labels(split):
    if getattr(split, "items", None) is None or split.labels is None:
        raise ArgumentError(
            "images can be repeated or dropped where they lie in an array or as files and their labels are known; "
            f"for a set of tensorflow-datasets use class_weights. Received: split={type(split).__name__}"
        )
