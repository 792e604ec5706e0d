"""Splits of a tensorflow-datasets dataset that lies on disk."""

import collections
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_cnns.data._records import read_records
from keras_cnns.data._tf_data import PARALLEL, SHUFFLE
from keras_cnns.data._tfds_masks import MaskLabels
from keras_cnns.data.splits import Split
from keras_cnns.data.splitting import exact_totals
from keras_cnns.data.targets import Mask
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Labels

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

Slice: TypeAlias = tuple[str, int, int]  # name of one of the dataset's own splits, first example, end
WRONG = "has a mask"  # beginning of errors about masks


class TfdsSplit(Split):
    """Slices of the splits of a tensorflow-datasets builder.

    Examples are in the order of the files. They were shuffled when the files were written, so that a slice is a random
    sample.

    Args:
        builder: builder of a dataset that is prepared on disk.
        keys: names of the image and of the label or mask among its features.
        slices: (name of a split, start, stop) of each slice.
        masks: what the labels in masks mean; None: each image has one label.
    """

    def __init__(
        self,
        builder: "tfds.core.DatasetBuilder",
        keys: tuple[str, str],
        slices: Iterable[Slice],
        masks: MaskLabels | None = None,
    ):
        self.builder, self.keys, self.slices, self.masks = builder, keys, tuple(slices), masks
        if masks:
            self.target = Mask(len(masks.names))
        super().__init__(sum(stop - start for _, start, stop in self.slices))
        self.places: NDArray[np.int64] | None = None  # the label here of each class of the dataset, if they differ

    def elements(self) -> tf.data.Dataset:
        """Return the decoded images and labels or masks, as `Split.elements`."""
        return self._read().map(self._pair)

    def shuffler(self) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
        """Return a function from seed to shuffled dataset, as `Split.shuffler`.

        It reads several files in turns, in random order, and shuffles their records in a buffer. The buffer holds
        encoded images instead of pixels.
        """
        decoded, buffer = self._record_decoder(), min(self.examples, SHUFFLE)
        parts, is_array_record = self._file_parts(), self._is_array_record

        def shuffled(seed):
            stored = read_records(parts, is_array_record, seed)
            return stored.shuffle(buffer, seed=seed, reshuffle_each_iteration=True).map(decoded, **PARALLEL)

        return shuffled

    def identity(self) -> bytes:
        """Return a digest, as `Split.identity`, with size and time of the files."""
        files = [file for name in sorted({name for name, *_ in self.slices}) for file in self._files(name)]
        stamps = [(file.name, file.stat().length, file.stat().mtime) for file in files]
        return self._digest(stamps)

    def fingerprint(self) -> bytes:
        """Return a digest of name, version and slices, as `Split.fingerprint`."""
        return self._digest()

    def _digest(self, *more: Any) -> bytes:
        if self.places is not None:
            more = (*more, self.places.tolist())
        return hashlib.sha256(repr((self.builder.info.full_name, self.keys, self.slices, *more)).encode()).digest()

    def divide(self, share: float, seed: int) -> tuple[Self, Self]:
        """Return two slices, as `Split.divide`.

        They are not stratified, and the seed has no effect.
        """
        cut = self.examples - round(self.examples * share)
        return self._slice(0, cut), self._slice(cut, self.examples)

    def partition(self, shares: Sequence[float], seed: int) -> tuple[Self, ...]:
        """Return slices, as `Split.partition`.

        They are not stratified, and the seed has no effect.
        """
        ends = np.cumsum(exact_totals(self.examples, shares)).tolist()
        return tuple(self._slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False))

    def portion(self, process: int, processes: int) -> Self:
        """Return a slice, as `Split.portion`.

        A process then opens only the files of its slice.
        """
        start, stop = (self.examples * part // processes for part in (process, process + 1))
        return self._slice(start, stop)

    def joined(self, others: Iterable[Self]) -> Self:
        """Return one split of all slices, as `Split.joined`."""
        return self._with_slices([piece for split in (self, *others) for piece in split.slices])

    def sample(self, count: int) -> Self:
        """Return the first images, as `Split.sample`; their order is random already."""
        return self._slice(0, min(count, self.examples))

    def read_labels(self) -> Labels:
        """Return the labels from one pass over the files.

        No image is decoded.

        Returns:
            int64 array (examples,).

        Raises:
            SourceError: if the files are damaged.
        """
        label = self.keys[1]
        batches = self._read(only=(label,)).map(lambda example: self._label(example[label])).batch(1024)
        with self._naming_the_dataset():
            return np.concatenate([np.zeros(0, "int64"), *batches.as_numpy_iterator()])

    def encoded(self) -> Iterator[tuple[bytes, Any]]:
        """Yield the encoded image, and the label or mask, of each example.

        Raises:
            SourceError: if the files are damaged.
        """
        image, label = self.keys
        with self._naming_the_dataset():
            for example in self._read(encoded=True).as_numpy_iterator():
                target = example[label]
                yield example[image], self._mask(target).numpy() if self.masks else int(self._label(target))

    def fault(self, error: Exception) -> SourceError | None:
        """Return the error that names the dataset, as `Split.fault`.

        TensorFlow's error does not name the file, so that the files are read once more.
        """
        if isinstance(error, tf.errors.InvalidArgumentError) and (wrong := re.search(f"{WRONG}[^\n.]*", str(error))):
            return SourceError(f"{self._spec}: {wrong[0]}. Choose another set, or prepare it again.")
        undecodable = isinstance(error, tf.errors.InvalidArgumentError) and re.search("DecodeImage|Example", str(error))
        if not undecodable and not isinstance(error, (tf.errors.DataLossError, tf.errors.NotFoundError)):
            return None
        try:
            # A GPU's library raises NotFoundError too, if it has no algorithm for an op
            check_files(self._spec, self.builder)
            if undecodable:
                with self._naming_the_dataset():
                    collections.deque(self._read(), maxlen=0)
            elif isinstance(error, tf.errors.DataLossError):
                self.read_labels()
        except SourceError as fault:
            return fault
        return None

    @property
    def stored_bytes(self) -> int:
        """Size of all examples on disk, in bytes; estimated for slices."""
        splits = self.builder.info.splits
        return sum(
            int(splits[name].num_bytes) * (stop - start) // max(splits[name].num_examples, 1)
            for name, start, stop in self.slices
        )

    @property
    def _spec(self) -> str:
        return f"tfds:{self.builder.info.full_name}"

    def _files(self, name: str) -> Sequence[Any]:
        return self.builder.info.splits[name].filepaths

    def _read(self, only: tuple[str, ...] | None = None, encoded: bool = False) -> tf.data.Dataset:
        """Return a `tf.data.Dataset` of dictionaries of features.

        Args:
            only: names of the features; None for image and label.
            encoded: whether images stay the bytes of their files.
        """
        from tensorflow_datasets import decode

        image = self.keys[0]
        features = decode.PartialDecoding(
            dict.fromkeys(only or self.keys, True), decoders={image: decode.SkipDecoding()} if encoded else None
        )
        if self._is_array_record:  # tensorflow-datasets itself cannot read this format into tf.data
            return read_records(self._file_parts(), True).map(self._example_decoder(features), **PARALLEL)
        return self.builder.as_dataset(split=self._split_expression, decoders=features)

    def _record_decoder(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Return a function from a record to (image, label)."""
        from tensorflow_datasets import decode

        decode_example = self._example_decoder(decode.PartialDecoding(dict.fromkeys(self.keys, True)))
        return lambda record: self._pair(decode_example(record))

    def _example_decoder(self, features: "tfds.decode.PartialDecoding") -> Callable[[tf.Tensor], dict[str, Any]]:
        """Return a function from a record to a dictionary of features."""
        decoders = features.extract_features(self.builder.info.features)
        return lambda record: decoders.deserialize_example(record, decoders=features.decoders)

    def _file_parts(self) -> list[tuple[str, int, int]]:
        """Return (path, records to skip, records to read) of each file."""
        instructions = self.builder.info.splits[self._split_expression].file_instructions
        return [(str(part.filename), part.skip, part.take) for part in instructions]

    @property
    def _split_expression(self) -> str:
        """These slices in the syntax of tensorflow-datasets, as in "train[0:90]+test[0:10]"."""
        return "+".join(f"{name}[{start}:{stop}]" for name, start, stop in self.slices)

    @property
    def _is_array_record(self) -> bool:
        return self.builder.info.file_format.value == "array_record"

    def _slice(self, start: int, stop: int) -> Self:
        slices, before = [], 0
        for name, first, last in self.slices:
            begin, end = max(start - before, 0), min(stop - before, last - first)
            if begin < end:
                slices.append((name, first + begin, first + end))
            before += last - first
        return self._with_slices(slices or [(self.slices[0][0], 0, 0)])

    def _with_slices(self, slices: Iterable[Slice]) -> Self:
        split = type(self)(self.builder, self.keys, slices, self.masks)
        return split._copy(places=self.places, class_names=self.class_names)

    def _relabeled(self, places: NDArray[np.int64], class_names: tuple[str, ...]) -> Self:
        if self.masks:
            raise ArgumentError(
                f"the classes of masks are not numbered anew: give them the names that the model has. "
                f"Received: class_names={class_names[:10]}"
            )
        places = places if self.places is None else places[self.places]
        return self._copy(places=places, class_names=class_names)

    def _pair(self, example: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return image and target of a decoded example."""
        image, label = (example[key] for key in self.keys)
        if not self.masks:
            return image, self._label(label)
        fits = tf.debugging.assert_equal(
            tf.shape(image)[:2], tf.shape(label)[:2], message=f"{WRONG} of another size than its image"
        )
        with tf.control_dependencies([fits] if fits is not None else []):
            return image, self._mask(label)

    def _mask(self, labels: tf.Tensor) -> tf.Tensor:
        """Return a mask as uint8 (height, width)."""
        assert self.masks
        classes = tf.gather(self.masks.table(), tf.cast(tf.squeeze(labels, -1), tf.int32))
        known = tf.debugging.assert_non_negative(
            classes, message=f"{WRONG} with a label above its {len(self.masks.names)} classes"
        )
        with tf.control_dependencies([known] if known is not None else []):
            return tf.cast(classes, tf.uint8)

    def _label(self, label: tf.Tensor) -> tf.Tensor:
        """Return a label of the dataset as int64, in this split's numbering."""
        label = tf.cast(label, tf.int64)
        if self.places is None:
            return label
        return tf.where(label < 0, label, tf.gather(self.places, tf.maximum(label, 0)))

    @contextlib.contextmanager
    def _naming_the_dataset(self) -> Iterator[None]:
        """Replace TensorFlow's error about damage by a SourceError that names the dataset."""
        try:
            yield
        except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
            reason = re.sub(r"^\{\{.*?\}\} ?|\[Op:.*", "", error.message.splitlines()[0]).strip()
            raise damaged_set(self._spec, self.builder.data_path, reason) from None


def damaged_set(spec: str, path: Any, reason: str) -> SourceError:
    """Return the error about a damaged dataset.

    Args:
        spec: the dataset, as "tfds:NAME".
        path: its folder.
        reason: the damage, as a phrase.
    """
    return SourceError(f"{spec}: is damaged in {path} ({reason}). Remove that folder and prepare the set again.")


def check_files(spec: str, builder: "tfds.core.DatasetBuilder") -> None:
    """Raise SourceError if a file is missing or too short.

    No file is read.

    Args:
        spec: the dataset, as "tfds:NAME".
        builder: its builder.
    """
    for name, split in builder.info.splits.items():
        if name not in ("train", "validation", "test"):
            continue
        missing = [file for file in split.filepaths if not file.exists()]
        if missing:
            raise damaged_set(spec, builder.data_path, f"{missing[0].name} is missing")
        size = sum(file.stat().length for file in split.filepaths)
        # A TFRecord file holds its records uncompressed, with a frame around each, so that it is longer than they are
        if builder.info.file_format.value == "tfrecord" and size < int(split.num_bytes):
            raise damaged_set(spec, builder.data_path, f"the files of {name!r} hold {size:,} bytes, not all of it")
