"""Splits of a source, which hold images and labels."""

import abc
import copy
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_cnns.data._tf_data import SHUFFLE
from keras_cnns.data.classes import match_classes
from keras_cnns.data.image_decoder import ImageDecoder
from keras_cnns.data.splitting import drawn_by_class, exact_counts
from keras_cnns.data.targets import ClassLabel, Target, Targets
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Labels, Pixels


class Split(ImageDecoder, abc.ABC):
    """Part of a source: images and their targets, such as labels.

    Attributes:
        examples: number of images.
        target: what kind of target the images have.
        labels: int64 array (examples,) of classes, -1 for an image without a label. None if only the dataset's files
            hold them, or if images do not have one class each.
        class_names: names of the labels, in order; None if the split does not know them. A `Source` sets them for its
            splits.
        faults: errors met while reading. A tf.data pipeline reports only that an op failed; this list says why.
        skipped: path of each broken image that was left out on request, with its error.
        caches: paths of the cache files that hold this split's prepared images.
    """

    target: Target = ClassLabel()
    labels: Labels | None = None
    class_names: tuple[str, ...] | None = None

    def __init__(self, examples: int):
        self.examples = examples
        self.faults: list[SourceError] = []
        self.skipped: dict[str, SourceError] = {}
        self.caches: list[pathlib.Path] = []

    @abc.abstractmethod
    def elements(self) -> tf.data.Dataset:
        """Return a `tf.data.Dataset` of (element, target), in order.

        The target of an image with one class is its int64 label.
        """

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

    def read_ahead(self, elements: tf.data.Dataset) -> tf.data.Dataset:
        """Return elements whose targets can be read with less of Python.

        Args:
            elements: `tf.data.Dataset` of what `elements` gives, in any order.

        Returns:
            `tf.data.Dataset` of the same elements, with targets for `read_target`.
        """
        return elements

    def read_target(self, target: Any, size: tf.Tensor) -> tf.Tensor:
        """Return the target of an element, inside a tf.data map.

        Args:
            target: as `elements` or `read_ahead` gives it.
            size: int32 (2,), height and width of the image; 0 where they are not known.
        """
        target, content = target if isinstance(target, tuple) else (target, None)
        return self.target.read(target, size, self.faults, content)

    def has_target(self, element: tf.Tensor, target: tf.Tensor, size: tf.Tensor) -> bool | tf.Tensor:
        """Return whether a target can be read, inside a map.

        If not, the element is noted in `skipped`.

        Args:
            element: as `elements` gives it.
            target: as `elements` gives it.
            size: int32 (2,), height and width of the image.
        """
        return True

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
    """A split whose items, images or paths, and targets are in memory.

    Args:
        items: array whose first axis is the images.
        labels: one target per item: a whole number, if the kind is `ClassLabel`.
        target: the kind of target.

    Attributes:
        targets: array of all targets; for classes, `labels`.
        has_files: whether targets are names of files.
    """

    def __init__(self, items: NDArray[Any], labels: Targets, target: Target = Split.target):
        super().__init__(len(items))
        self.items, self.target = items, target
        self.targets = target.as_array(labels, self.examples)
        self.labels = target.classes(self.targets)
        self.has_files = self.targets.dtype == object and all(isinstance(name, str) for name in self.targets)

    def keys(self) -> Sequence[Any]:
        """Return one key per example, which does not depend on other examples."""
        return range(self.examples)

    def elements(self) -> tf.data.Dataset:
        """Return the items and targets, as `Split.elements`."""
        with tf.device("CPU"):
            return tf.data.Dataset.from_tensor_slices((self.items, self.targets))

    def identity(self) -> bytes:
        """Return a digest of items and targets, as `Split.identity`."""
        return self._digest(self._contents())

    def _digest(self, contents: bytes | memoryview) -> bytes:
        # An array of objects has their addresses as its bytes
        names = self.targets.dtype == object  # names of files, or contents
        digest = hashlib.sha256(
            repr(self.targets.tolist()).encode() if names else np.ascontiguousarray(self.targets).data
        )
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
            SourceError: if a class has a single image, or there is a single image.
        """
        drawn = self._drawn_by_class(seed)
        if self.labels is None and self.examples < 2:
            raise SourceError("two splits need two images, and there is one. Add images.")
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
        by_class = self._drawn_by_class(seed)
        drawn = [by_class[label] for label in sorted(by_class, key=self._partition_order)]
        counts = exact_counts([len(indices) for indices in drawn], shares)
        # The last part, which is the test split, gets the first indices drawn, as in `divide`
        ends = np.cumsum(counts[:, ::-1], axis=1)[:, :-1]
        pieces = [np.split(indices, ends_of_class)[::-1] for indices, ends_of_class in zip(drawn, ends, strict=True)]
        return tuple(self.take(np.sort(np.concatenate(part))) for part in zip(*pieces, strict=True))

    def _drawn_by_class(self, seed: int) -> dict[int, NDArray[np.int64]]:
        """Return `drawn_by_class`; images that have no class are drawn as one."""
        labels = np.zeros(self.examples, "int64") if self.labels is None else self.labels
        return drawn_by_class(labels, self.keys(), seed)

    def _partition_order(self, label: int) -> int | str:
        """Return the sort key of a class in `partition`.

        The order decides which class gets a remainder.
        """
        return label

    def _class_of(self, label: int) -> str:
        """Return the name of a class in an error."""
        return f"label {label}" if self.class_names is None else repr(self.class_names[label])

    def _relabeled(self, places: NDArray[np.int64], class_names: tuple[str, ...]) -> Self:
        targets = self.target.renumbered(self.targets, places)
        if targets is None:
            raise ArgumentError(
                f"these images have no classes that could be numbered anew: give them the names that the model has. "
                f"Received: class_names={class_names[:10]}"
            )
        return self._copy(targets=targets, labels=self.target.classes(targets), class_names=class_names)

    def joined(self, others: Iterable[Self]) -> Self:
        """Return one split of all images, as `Split.joined`."""
        splits = [self, *others]
        items, targets = (np.concatenate([getattr(split, field) for split in splits]) for field in ("items", "targets"))
        return type(self)(items, targets, self.target).named(self.class_names)

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> Self:
        """Return a split of the images at some indices.

        Args:
            places: array of indices; an index may occur repeatedly.
        """
        return type(self)(self.items[places], self.targets[places], self.target).named(self.class_names)

    def sample(self, count: int) -> Self:
        """Return evenly spaced images, as `Split.sample`."""
        return self.take(np.linspace(0, self.examples - 1, min(count, self.examples)).round().astype("int64"))


class ArraySplit(LabeledSplit):
    """Images of one size in an array.

    Args:
        items: uint8 array (examples, height, width, channels).
        labels: one whole number per image; another target if `target` says so.
        target: the kind of target.

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

    def __init__(self, items: Pixels, labels: Targets, target: Target = Split.target):
        if getattr(items, "dtype", None) != np.uint8 or items.ndim != 4:
            received = f"dtype={getattr(items, 'dtype', type(items).__name__)}, shape={np.shape(items)}"
            raise ArgumentError(
                "`items` must be a uint8 array (examples, height, width, channels); images of different sizes "
                f"belong into a folder. Received: {received}"
            )
        super().__init__(items, labels, target)
        if target.at_own_size and self.targets.ndim > 1 and self.targets.shape[1:3] != items.shape[1:3]:
            raise ArgumentError(
                f"masks must have the size of their images, {items.shape[1:3]}. Received: shape={self.targets.shape}"
            )

    def shuffler(self) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
        """Return a function from seed to shuffled dataset, as `Split.shuffler`.

        The buffer holds the indices of all images instead of the images.
        """
        with tf.device("CPU"):
            items, targets = tf.constant(self.items), tf.constant(self.targets)

        def shuffled(seed):
            order = tf.data.Dataset.range(self.examples)
            order = order.shuffle(self.examples, seed=seed, reshuffle_each_iteration=True)
            return order.map(lambda place: (tf.gather(items, place), tf.gather(targets, place)))

        return shuffled
