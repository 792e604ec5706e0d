"""Part of a source: pictures and labels, in memory or as files, and how a part is divided."""

import contextlib
import hashlib

import numpy as np
import tensorflow as tf

from keras_cnns.data.partition import drawn_by_class, exact_counts
from keras_cnns.data.pictures import cut
from keras_cnns.errors import ArgumentError, SourceError

SHUFFLE = 10_000  # pictures that wait to be drawn where all are too many
PARALLEL = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}


def untuned(data):
    """Return a `tf.data.Dataset` that tf.data's tuner leaves alone; as many maps run at a time as there are cores.

    When an iterator is done with, it waits for the tuner's thread, which wakes 10 ms after the start, then 20 ms later,
    then 40, and so on: a pass of one minute ended only after 82 seconds, as often as not (TensorFlow 2.21).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


@contextlib.contextmanager
def reading(*splits):
    """Turn the failure of a tf.data op into the error that names the file or the set, for the splits given."""
    for split in splits:
        split.faults.clear()
    try:
        yield
    except Exception as error:
        for split in splits:
            if fault := split.fault(error):
                raise fault from None
        raise


class Split:
    """Part of a source: pictures and their labels.

    Attributes:
        examples: number of pictures.
        labels: int64 array (examples,), or None where only the data set itself knows them.
        faults: errors met while reading; a tf.data pipeline can only say that an op failed, this says why.
        skipped: from the path of each picture that was left out as broken, where that was asked for, to its error.
    """

    labels = None

    def __init__(self, examples):
        self.examples = examples
        self.faults, self.skipped = [], {}

    def elements(self):
        """Return a `tf.data.Dataset` of (element, label int64)."""
        raise TypeError(f"{type(self).__name__} has no elements")

    def shuffled(self, seed):
        """Return the elements in an order drawn from `seed`, another at each pass."""
        return self.shuffler()(seed)

    def shuffler(self):
        """Return `shuffled`, with what it needs made beforehand, so that it may be called inside a tf.data function."""
        elements = self.elements()
        # Each may be a whole picture, so that not all of them can wait to be drawn
        room = min(self.examples, SHUFFLE)
        return lambda seed: elements.shuffle(room, seed=seed, reshuffle_each_iteration=True)

    def decode(self, element, channels, skip_broken=False):
        """Return the uint8 picture (height, width, channels) of an element, inside a tf.data map.

        With `skip_broken` a picture that cannot be read is noted in `skipped`, and comes as one of height 0.
        """
        return _with_channels(element, channels)

    def windows(self, elements, channels, choose, size, finish, skip_broken=False):
        """Return a `tf.data.Dataset` of what `finish` makes of a part of each picture.

        Args:
            elements: `tf.data.Dataset` of (element, label, draws), the draws being what `choose` needs of chance.
            channels: 1 (gray) or 3 (RGB).
            choose: function (height, width, draws) -> (top, left, height, width), in whole pixels.
            size: (height, width) that the part will be resized to; large ones may come smaller, but not below it.
            finish: function (uint8 pixels (height, width, channels), label, draws) of tensors.
            skip_broken: whether pictures that cannot be read are left out, and noted in `skipped`.
        """

        def part(picture, draws):
            return cut(picture, choose(*picture.shape[:2], draws.tolist()), size)

        def window(element, label, draws):
            pixels = tf.numpy_function(part, [self.decode(element, channels), draws], tf.uint8, stateful=False)
            return finish(tf.ensure_shape(pixels, (None, None, channels)), label, draws)

        return elements.map(window, **PARALLEL)

    def fault(self, error):
        """Return the error to raise in place of one that a pipeline met: it says what failed. None: nobody knows."""
        return self.faults[0] if self.faults else None

    def identity(self):
        """Return bytes that tell the pictures and labels of this split from those of any other."""
        raise TypeError(f"{type(self).__name__} cannot be told apart")

    def fingerprint(self):
        """Return the same, of pictures wherever they lie: of files neither place nor time count."""
        return self.identity()

    def divide(self, share, seed):
        """Return two splits, the second with `share` of the pictures, stratified where the labels are known."""
        raise TypeError(f"{type(self).__name__} cannot be divided")

    def partition(self, shares, seed):
        """Return a split for each share, of exact size, stratified where the labels are known; see `split_source`."""
        raise TypeError(f"{type(self).__name__} cannot be divided")

    def portion(self, process, processes):
        """Return the split that one of several processes reads by itself, as its files lie apart.

        None where every process lists the same elements in the same order, so that each can take its turns.
        """
        return None

    def joined(self, others):
        """Return one split with these pictures and those of other splits of the same source."""
        raise TypeError(f"{type(self).__name__} cannot be joined")

    def sample(self, count):
        """Return a split of at most `count` pictures, spread over the whole."""
        raise TypeError(f"{type(self).__name__} cannot be sampled")


class LabeledSplit(Split):
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

    def identity(self):
        """As `Split.identity`."""
        return self._digest(self._contents())

    def _digest(self, contents):
        digest = hashlib.sha256(self.labels.data)
        digest.update(contents)
        return digest.digest()

    def _contents(self):
        return np.ascontiguousarray(self.items).data

    def divide(self, share, seed):
        """As `Split.divide`."""
        first, second = _stratified(self.labels, self.keys(), share, seed)
        return self.take(first), self.take(second)

    def partition(self, shares, seed):
        """As `Split.partition`."""
        drawn = drawn_by_class(self.labels, self.keys(), seed)
        counts = exact_counts([len(members) for members in drawn.values()], shares)
        # The last part, which is the test split, gets the first ones drawn, as in `divide`
        cuts = np.cumsum(counts[:, ::-1], axis=1)[:, :-1]
        pieces = [np.split(members, cut)[::-1] for members, cut in zip(drawn.values(), cuts, strict=True)]
        return tuple(self.take(np.sort(np.concatenate(part))) for part in zip(*pieces, strict=True))

    def joined(self, others):
        """As `Split.joined`."""
        every = [self, *others]
        return type(self)(*(np.concatenate([getattr(one, field) for one in every]) for field in ("items", "labels")))

    def take(self, places):
        """Return a split of the pictures at `places`, an array of indices in which one may stand repeatedly."""
        return type(self)(self.items[places], self.labels[places])

    def sample(self, count):
        """As `Split.sample`."""
        return self.take(np.linspace(0, self.examples - 1, min(count, self.examples)).round().astype("int64"))


class ArraySplit(LabeledSplit):
    """Pictures of one size in a uint8 array (examples, height, width, channels).

    Raises:
        ArgumentError: for another array, as pictures of different sizes make it, or labels that do not fit.
    """

    def __init__(self, items, labels):
        if getattr(items, "dtype", None) != np.uint8 or items.ndim != 4:
            found = f"dtype={getattr(items, 'dtype', type(items).__name__)}, shape={np.shape(items)}"
            raise ArgumentError(
                "`items` must be a uint8 array (examples, height, width, channels); pictures of different sizes "
                f"belong into a folder. Received: {found}"
            )
        if np.shape(labels) != (len(items),):
            raise ArgumentError(
                f"`labels` must have one whole number for each of {len(items)} pictures. "
                f"Received: shape={np.shape(labels)}"
            )
        super().__init__(items, labels)

    def shuffler(self):
        """As `Split.shuffler`, all of them: their numbers wait to be drawn, not the pictures."""
        with tf.device("CPU"):
            items, labels = tf.constant(self.items), tf.constant(self.labels)

        def shuffled(seed):
            order = tf.data.Dataset.range(self.examples)
            order = order.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True)
            return order.map(lambda place: (tf.gather(items, place), tf.gather(labels, place)))

        return shuffled


def _stratified(labels, keys, share, seed):
    """Return two sorted index arrays, the second with `share` of every class, rounded, and at least one of each.

    Which examples go there is drawn from the hash of seed and key, so that a folder in which pictures are added
    or removed later keeps its split but for those and, at most, one picture a class.
    """
    second = []
    for label, drawn in drawn_by_class(labels, keys, seed).items():
        if len(drawn) < 2:
            raise SourceError(
                "a split that keeps the classes' shares needs two pictures of each; the class with label "
                f"{label} has one. Add a picture to it."
            )
        second += drawn[: min(max(1, round(len(drawn) * share)), len(drawn) - 1)].tolist()
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
