"""Splits of a source, which hold images and labels."""

import abc
import copy
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from keras_cnns.data._tf_data import SHUFFLE
from keras_cnns.data.classes import match_classes
from keras_cnns.data.image_decoder import ImageDecoder
from keras_cnns.data.splitting import drawn_by_class, exact_counts
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Labels, Pixels


class Split(ImageDecoder, abc.ABC):
    """Part of a source: images and their labels.

    Attributes:
        examples: number of images.
        labels: int64 array (examples,), -1 for an image without a label. None if only the dataset's files hold the
            labels.
        class_names: names of the labels, in order; None if the split does not know them. A `Source` sets them for its
            splits.
        faults: errors met while reading. A tf.data pipeline reports only that an op failed; this list says why.
        skipped: path of each broken image that was left out on request, with its error.
        caches: paths of the cache files that hold this split's prepared images.
    """

    labels: Labels | None = None
    class_names: tuple[str, ...] | None = None

    def __init__(self, examples: int):
        self.examples = examples
        self.faults: list[SourceError] = []
        self.skipped: dict[str, SourceError] = {}
        self.caches: list[pathlib.Path] = []

    @abc.abstractmethod
    def elements(self) -> tf.data.Dataset:
        """Return a `tf.data.Dataset` of (element, int64 label), in order."""

    @abc.abstractmethod
    def identity(self) -> bytes:
        """Return bytes that differ for every other choice of images and labels."""

    @abc.abstractmethod
    def divide(self, share: float, seed: int) -> tuple["Split", "Split"]:
        """Return two splits, stratified if the labels are known.

        Args:
            share: share of the images in the second split, between 0 and 1.
            seed: seed of the draw.
        """

    @abc.abstractmethod
    def partition(self, shares: Sequence[float], seed: int) -> tuple["Split", ...]:
        """Return one split of exact size per share, as `split_source` describes."""

    @abc.abstractmethod
    def joined(self, others: Iterable[Self]) -> Self:
        """Return one split of these images and those of other splits."""

    @abc.abstractmethod
    def sample(self, count: int) -> "Split":
        """Return a split of at most `count` images, spread over the whole."""

    @abc.abstractmethod
    def _relabeled(self, places: NDArray[np.int64], class_names: tuple[str, ...]) -> Self:
        """Return this split with label `places[k]` for each label k; -1 stays."""

    def named(self, class_names: tuple[str, ...] | None) -> Self:
        """Return this split with other class names, one per label."""
        return self if self.class_names == class_names else self._copy(class_names=class_names)

    def with_classes(self, class_names: Iterable[str], ids: Sequence[str] = (), source: str | None = None) -> "Split":
        """Return this split with its labels numbered as in `class_names`.

        Classes are matched by name. A split without class names is taken to have these.

        Args:
            class_names: class names of a model, in the order of its outputs.
            ids: other names of the same classes, as for `match_classes`.
            source: name of the source, for the error.

        Raises:
            ArgumentError: if the split has a class that is not among them.
        """
        class_names = tuple(class_names)
        if self.class_names in (None, class_names):
            return self.named(class_names)
        return self._relabeled(match_classes(self.class_names, class_names, ids, source), class_names)

    def _copy(self, **changes: Any) -> Self:
        """Return a copy with some attributes changed.

        It shares `faults`, `skipped` and `caches` with this split.
        """
        twin = copy.copy(self)
        vars(twin).update(changes)
        return twin

    def shuffled(self, seed: int | tf.Tensor) -> tf.data.Dataset:
        """Return the elements shuffled, in a different order in each pass."""
        return self.shuffler()(seed)

    def shuffler(self) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
        """Return a function from seed to shuffled dataset.

        It can be called inside a tf.data function, because all tensors that it needs exist already.
        """
        elements = self.elements()
        # An element may be a whole image, so that the buffer cannot hold all of them
        buffer = min(self.examples, SHUFFLE)
        return lambda seed: elements.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)

    def fault(self, error: Exception) -> SourceError | None:
        """Return the error that explains one raised by a pipeline.

        Args:
            error: what the pipeline raised.

        Returns:
            None if this split does not know what failed.
        """
        return self.faults[0] if self.faults else None

    def fingerprint(self) -> bytes:
        """Return an identity that ignores where and when files were stored."""
        return self.identity()

    def portion(self, process: int, processes: int) -> "Split | None":
        """Return the part of the split that one of several processes reads.

        Args:
            process: number of the process, from 0.
            processes: how many there are.

        Returns:
            None if every process lists the same elements in the same order. Then each process can take every n-th.
        """
        return None


class LabeledSplit(Split):
    """A split whose items, images or paths, and labels are in memory.

    Args:
        items: array whose first axis is the images.
        labels: one whole number per item.
    """

    def __init__(self, items: NDArray[Any], labels: ArrayLike):
        super().__init__(len(items))
        self.items = items
        self.labels: Labels = np.asarray(labels, "int64")

    def keys(self) -> Sequence[Any]:
        """Return one key per example, which does not depend on other examples."""
        return range(self.examples)

    def elements(self) -> tf.data.Dataset:
        """Return the items and labels, as `Split.elements`."""
        with tf.device("CPU"):
            return tf.data.Dataset.from_tensor_slices((self.items, self.labels))

    def identity(self) -> bytes:
        """Return a digest of items and labels, as `Split.identity`."""
        return self._digest(self._contents())

    def _digest(self, contents: bytes | memoryview) -> bytes:
        digest = hashlib.sha256(self.labels.data)
        digest.update(contents)
        return digest.digest()

    def _contents(self) -> bytes | memoryview:
        return np.ascontiguousarray(self.items).data

    def divide(self, share: float, seed: int) -> tuple[Self, Self]:
        """Return two splits, as `Split.divide`.

        The second one gets its share of every class, rounded, and at least one image. A hash of seed and key decides
        which examples it gets. If images are added to or removed from a folder later, all others therefore stay in
        their split, except at most one image per class.

        Raises:
            SourceError: if a class has a single image.
        """
        drawn = drawn_by_class(self.labels, self.keys(), seed)
        if single := [label for label, indices in drawn.items() if len(indices) < 2]:
            where = ", ".join(self._class_of(label) for label in single[:5]) + (", ..." if single[5:] else "")
            have = "this class has" if len(single) == 1 else f"these {len(single)} classes have"
            raise SourceError(
                f"a split that keeps the shares of the classes needs two images of each, and {have} one: {where}. "
                "Add an image to each, or remove it."
            )
        second: list[int] = []
        for indices in drawn.values():
            second += indices[: min(max(1, round(len(indices) * share)), len(indices) - 1)].tolist()
        first = np.setdiff1d(np.arange(self.examples), second)
        return self.take(first), self.take(np.sort(second).astype("int64"))

    def partition(self, shares: Sequence[float], seed: int) -> tuple[Self, ...]:
        """Return one stratified split per share, as `Split.partition`."""
        by_class = drawn_by_class(self.labels, self.keys(), seed)
        drawn = [by_class[label] for label in sorted(by_class, key=self._partition_order)]
        counts = exact_counts([len(indices) for indices in drawn], shares)
        # The last part, which is the test split, gets the first indices drawn, as in `divide`
        ends = np.cumsum(counts[:, ::-1], axis=1)[:, :-1]
        pieces = [np.split(indices, ends_of_class)[::-1] for indices, ends_of_class in zip(drawn, ends, strict=True)]
        return tuple(self.take(np.sort(np.concatenate(part))) for part in zip(*pieces, strict=True))

    def _partition_order(self, label: int) -> int | str:
        """Return the sort key of a class in `partition`.

        The order decides which class gets a remainder.
        """
        return label

    def _class_of(self, label: int) -> str:
        """Return the name of a class in an error."""
        return f"label {label}" if self.class_names is None else repr(self.class_names[label])

    def _relabeled(self, places: NDArray[np.int64], class_names: tuple[str, ...]) -> Self:
        labels = np.where(self.labels < 0, self.labels, places[np.maximum(self.labels, 0)])
        return self._copy(labels=labels.astype("int64"), class_names=class_names)

    def joined(self, others: Iterable[Self]) -> Self:
        """Return one split of all images, as `Split.joined`."""
        splits = [self, *others]
        items, labels = (np.concatenate([getattr(split, field) for split in splits]) for field in ("items", "labels"))
        return type(self)(items, labels).named(self.class_names)

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Self:
        """Return a split of the images at some indices.

        Args:
            places: array of indices; an index may occur repeatedly.
        """
        return type(self)(self.items[places], self.labels[places]).named(self.class_names)

    def sample(self, count: int) -> Self:
        """Return evenly spaced images, as `Split.sample`."""
        return self.take(np.linspace(0, self.examples - 1, min(count, self.examples)).round().astype("int64"))


class ArraySplit(LabeledSplit):
    """Images of one size in an array.

    Args:
        items: uint8 array (examples, height, width, channels).
        labels: one whole number per image.

    Raises:
        ArgumentError: for another array, such as one of images of different sizes, or labels that do not fit.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> split = data.ArraySplit(np.zeros((10, 32, 32, 3), "uint8"), np.arange(10) % 2)
        >>> split.examples
        10
    """

    items: Pixels

    def __init__(self, items: Pixels, labels: ArrayLike):
        if getattr(items, "dtype", None) != np.uint8 or items.ndim != 4:
            received = f"dtype={getattr(items, 'dtype', type(items).__name__)}, shape={np.shape(items)}"
            raise ArgumentError(
                "`items` must be a uint8 array (examples, height, width, channels); images of different sizes "
                f"belong into a folder. Received: {received}"
            )
        if np.shape(labels) != (len(items),):
            raise ArgumentError(
                f"`labels` must have one whole number for each of {len(items)} images. "
                f"Received: shape={np.shape(labels)}"
            )
        super().__init__(items, labels)

    def shuffler(self) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
        """Return a function from seed to shuffled dataset, as `Split.shuffler`.

        The buffer holds the indices of all images instead of the images.
        """
        with tf.device("CPU"):
            items, labels = tf.constant(self.items), tf.constant(self.labels)

        def shuffled(seed):
            order = tf.data.Dataset.range(self.examples)
            order = order.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True)
            return order.map(lambda place: (tf.gather(items, place), tf.gather(labels, place)))

        return shuffled
