"""Part of a source: images and labels, in memory or as files, and how a part is divided."""

import contextlib
import copy
import hashlib

import numpy as np
import tensorflow as tf

from keras_cnns.data.classes import match_classes
from keras_cnns.data.image_files import cut
from keras_cnns.data.splitting import drawn_by_class, exact_counts
from keras_cnns.errors import ArgumentError, SourceError

SHUFFLE = 10_000  # images that wait to be drawn where all are too many
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
            if fault := _damaged_cache(split.caches, error) or split.fault(error):
                raise fault from None
        raise


def _damaged_cache(paths, error):
    """Return the error that names the damaged one among the files of prepared images, which is removed; else None."""
    if not isinstance(error, (tf.errors.DataLossError, tf.errors.FailedPreconditionError, tf.errors.NotFoundError)):
        return None
    for path in tuple(paths):
        try:
            whole = sum(1 for _ in tf.data.TFRecordDataset(str(path))) == int(path.stem.rpartition("-")[2])
        except (tf.errors.DataLossError, tf.errors.NotFoundError):
            whole = False
        if not whole:
            paths.remove(path)
            path.unlink(missing_ok=True)
            return SourceError(
                f"{path}: this file of prepared images was damaged, and has been removed. Start again with the same "
                "`cache`: it is then written again."
            )
    return None


class Split:
    """Part of a source: images and their labels.

    Attributes:
        examples: number of images.
        labels: int64 array (examples,), or None where only the data set itself knows them; -1 where there is none.
        class_names: of the labels, in order; None where the split does not know them. A `Source` tells its splits.
        faults: errors met while reading; a tf.data pipeline can only say that an op failed, this says why.
        skipped: from the path of each image that was left out as broken, where that was asked for, to its error.
        caches: paths of the files in which prepared images are kept.
    """

    labels = None
    class_names = None

    def __init__(self, examples):
        self.examples = examples
        self.faults, self.skipped, self.caches = [], {}, []

    def named(self, class_names):
        """Return this split with `class_names`, one per label; itself where it has them."""
        return self if self.class_names == class_names else self._copy(class_names=class_names)

    def with_classes(self, class_names, ids=(), source=None):
        """Return this split with its labels numbered as in `class_names`, matched by name.

        Args:
            class_names: of a model, in the order of its outputs.
            ids, source: as for `match_classes`.

        Raises:
            ArgumentError: if the split has a class that is not among them. A split without class names is taken to
                have these.
        """
        class_names = tuple(class_names)
        if self.class_names in (None, class_names):
            return self.named(class_names)
        places = match_classes(self.class_names, class_names, ids, source)
        return self._relabeled(places, class_names)

    def _copy(self, **changes):
        """Return a split of the same images, which shares `faults` and `skipped`, with some attributes changed."""
        twin = copy.copy(self)
        vars(twin).update(changes)
        return twin

    def _relabeled(self, places, class_names):
        """Return this split with other class names, and the label `places[k]` for each label k; -1 stays."""
        raise TypeError(f"{type(self).__name__} cannot be relabeled")

    def elements(self):
        """Return a `tf.data.Dataset` of (element, label int64)."""
        raise TypeError(f"{type(self).__name__} has no elements")

    def shuffled(self, seed):
        """Return the elements in an order drawn from `seed`, another at each pass."""
        return self.shuffler()(seed)

    def shuffler(self):
        """Return `shuffled`, with what it needs made beforehand, so that it may be called inside a tf.data function."""
        elements = self.elements()
        # Each may be a whole image, so that not all of them can wait to be drawn
        room = min(self.examples, SHUFFLE)
        return lambda seed: elements.shuffle(room, seed=seed, reshuffle_each_iteration=True)

    def decode(self, element, channels, skip_broken=False):
        """Return the uint8 image (height, width, channels) of an element, inside a tf.data map.

        With `skip_broken` an image that cannot be read is noted in `skipped`, and comes as one of height 0.
        """
        return _with_channels(element, channels)

    def windows(self, elements, channels, choose, size, finish, skip_broken=False):
        """Return a `tf.data.Dataset` of what `finish` makes of a part of each image.

        Args:
            elements: `tf.data.Dataset` of (element, label, draws), the draws being what `choose` needs of chance.
            channels: 1 (gray) or 3 (RGB).
            choose: function (height, width, draws) -> (top, left, height, width), in whole pixels.
            size: (height, width) that the part will be resized to; large ones may come smaller, but not below it.
            finish: function (uint8 pixels (height, width, channels), label, draws) of tensors.
            skip_broken: whether images that cannot be read are left out, and noted in `skipped`.
        """

        def part(image, draws):
            return cut(image, choose(*image.shape[:2], draws.tolist()), size)

        def window(element, label, draws):
            pixels = tf.numpy_function(part, [self.decode(element, channels), draws], tf.uint8, stateful=False)
            return finish(tf.ensure_shape(pixels, (None, None, channels)), label, draws)

        return elements.map(window, **PARALLEL)

    def fault(self, error):
        """Return the error to raise in place of one that a pipeline met: it says what failed. None: nobody knows."""
        return self.faults[0] if self.faults else None

    def identity(self):
        """Return bytes that tell the images and labels of this split from those of any other."""
        raise TypeError(f"{type(self).__name__} cannot be told apart")

    def fingerprint(self):
        """Return the same, of images wherever they lie: of files neither place nor time count."""
        return self.identity()

    def divide(self, share, seed):
        """Return two splits, the second with `share` of the images, stratified where the labels are known."""
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
        """Return one split with these images and those of other splits of the same source."""
        raise TypeError(f"{type(self).__name__} cannot be joined")

    def sample(self, count):
        """Return a split of at most `count` images, spread over the whole."""
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
        """As `Split.divide`; of every class the second gets its share, rounded, and at least one image.

        Which examples go there is drawn from the hash of seed and key, so that a folder in which images are added or
        removed later keeps its split but for those and, at most, one image per class.
        """
        drawn, second = drawn_by_class(self.labels, self.keys(), seed), []
        if single := [label for label, members in drawn.items() if len(members) < 2]:
            where = ", ".join(self._class_of(label) for label in single[:5]) + (", ..." if single[5:] else "")
            have = "this class has" if len(single) == 1 else f"these {len(single)} classes have"
            raise SourceError(
                f"a split that keeps the shares of the classes needs two images of each, and {have} one: {where}. "
                "Add an image to each, or remove it."
            )
        for members in drawn.values():
            second += members[: min(max(1, round(len(members) * share)), len(members) - 1)].tolist()
        return self.take(np.setdiff1d(np.arange(self.examples), second)), self.take(np.sort(second).astype("int64"))

    def partition(self, shares, seed):
        """As `Split.partition`."""
        drawn = drawn_by_class(self.labels, self.keys(), seed)
        drawn = [drawn[label] for label in sorted(drawn, key=self._turn)]
        counts = exact_counts([len(members) for members in drawn], shares)
        # The last part, which is the test split, gets the first ones drawn, as in `divide`
        cuts = np.cumsum(counts[:, ::-1], axis=1)[:, :-1]
        pieces = [np.split(members, cut)[::-1] for members, cut in zip(drawn, cuts, strict=True)]
        return tuple(self.take(np.sort(np.concatenate(part))) for part in zip(*pieces, strict=True))

    def _turn(self, label):
        """Return the key by which classes take turns in `partition`, where shares do not come out even."""
        return label

    def _class_of(self, label):
        """Return what an error calls a class."""
        return f"label {label}" if self.class_names is None else repr(self.class_names[label])

    def _relabeled(self, places, class_names):
        labels = np.where(self.labels < 0, self.labels, places[np.maximum(self.labels, 0)])
        return self._copy(labels=labels.astype("int64"), class_names=class_names)

    def joined(self, others):
        """As `Split.joined`."""
        every = [self, *others]
        items, labels = (np.concatenate([getattr(split, field) for split in every]) for field in ("items", "labels"))
        return type(self)(items, labels).named(self.class_names)

    def take(self, places):
        """Return a split of the images at `places`, an array of indices in which one may stand repeatedly."""
        return type(self)(self.items[places], self.labels[places]).named(self.class_names)

    def sample(self, count):
        """As `Split.sample`."""
        return self.take(np.linspace(0, self.examples - 1, min(count, self.examples)).round().astype("int64"))


class ArraySplit(LabeledSplit):
    """Images of one size in a uint8 array (examples, height, width, channels).

    Raises:
        ArgumentError: for another array, as images of different sizes make it, or labels that do not fit.
    """

    def __init__(self, items, labels):
        if getattr(items, "dtype", None) != np.uint8 or items.ndim != 4:
            found = f"dtype={getattr(items, 'dtype', type(items).__name__)}, shape={np.shape(items)}"
            raise ArgumentError(
                "`items` must be a uint8 array (examples, height, width, channels); images of different sizes "
                f"belong into a folder. Received: {found}"
            )
        if np.shape(labels) != (len(items),):
            raise ArgumentError(
                f"`labels` must have one whole number for each of {len(items)} images. "
                f"Received: shape={np.shape(labels)}"
            )
        super().__init__(items, labels)

    def shuffler(self):
        """As `Split.shuffler`, all of them: their numbers wait to be drawn, not the images."""
        with tf.device("CPU"):
            items, labels = tf.constant(self.items), tf.constant(self.labels)

        def shuffled(seed):
            order = tf.data.Dataset.range(self.examples)
            order = order.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True)
            return order.map(lambda place: (tf.gather(items, place), tf.gather(labels, place)))

        return shuffled


def _with_channels(image, channels):
    """Return a uint8 image tensor (..., height, width, 1 or 3) with so many channels."""
    now = image.shape[-1]
    if now == channels:
        return image
    if now == 1 and channels == 3:
        return tf.image.grayscale_to_rgb(image)
    if now == 3 and channels == 1:
        return tf.image.rgb_to_grayscale(image)
    raise SourceError(f"an image of {now} channels cannot become one of {channels}.")
