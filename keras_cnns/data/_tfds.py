"""Data sets of tensorflow-datasets as sources."""

import collections
import contextlib
import functools
import hashlib
import re
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_cnns import _keras
from keras_cnns.data._records import records
from keras_cnns.data.splits import PARALLEL, SHUFFLE, Split
from keras_cnns.data.splitting import exact_totals
from keras_cnns.errors import ArgumentError, SourceError, nearest


class TfdsSplit(Split):
    """Slices of the splits of a tensorflow-datasets builder that lies on disk.

    The order is the files' own, which was shuffled when they were written; so slices of it are random parts.

    Args:
        builder: `tfds.core.DatasetBuilder`.
        keys: names of the image and of the label among its features.
        pieces: (split name, start, stop) of each slice.
    """

    def __init__(self, builder, keys, pieces):
        super().__init__(sum(stop - start for _, start, stop in pieces))
        self.builder, self.keys, self.pieces = builder, keys, tuple(pieces)
        self.places = None  # the label of each class of the data set, where it has others here

    def elements(self):
        """As `Split.elements`."""
        image, label = self.keys
        return self._read().map(lambda example: (example[image], self._label(example[label])))

    def shuffler(self):
        """As `Split.shuffler`: files in a random order, several at a time, and of what comes some wait to be drawn.

        They wait as they are stored, and not as pixels.
        """
        decoded, room = self._decoder(), min(self.examples, SHUFFLE)
        parts, array_record = self._parts(), self._is_array_record

        def shuffled(seed):
            found = records(parts, array_record, seed)
            return found.shuffle(room, seed=seed, reshuffle_each_iteration=True).map(decoded, **PARALLEL)

        return shuffled

    def identity(self):
        """As `Split.identity`; files are told by size and time, not read."""
        files = [file for name in sorted({name for name, *_ in self.pieces}) for file in self._files(name)]
        stamps = [(file.name, file.stat().length, file.stat().mtime) for file in files]
        return self._digest(stamps)

    def fingerprint(self):
        """As `Split.fingerprint`: name, version and slices."""
        return self._digest()

    def _digest(self, *more):
        if self.places is not None:
            more = (*more, self.places.tolist())
        return hashlib.sha256(repr((self.builder.info.full_name, self.keys, self.pieces, *more)).encode()).digest()

    def divide(self, share, seed):
        """As `Split.divide`, but slices, not stratified, whatever the seed."""
        cut = self.examples - round(self.examples * share)
        return self._slice(0, cut), self._slice(cut, self.examples)

    def partition(self, shares, seed):
        """As `Split.partition`, but slices, not stratified, whatever the seed."""
        ends = np.cumsum(exact_totals(self.examples, shares)).tolist()
        return tuple(self._slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False))

    def portion(self, process, processes):
        """As `Split.portion`: a slice, so that files of other slices are not opened."""
        ends = [self.examples * part // processes for part in (process, process + 1)]
        return self._slice(*ends)

    def joined(self, others):
        """As `Split.joined`."""
        return self._with_pieces([piece for split in (self, *others) for piece in split.pieces])

    def sample(self, count):
        """As `Split.sample`; the first ones, as the order is random already."""
        return self._slice(0, min(count, self.examples))

    def read_labels(self):
        """Return the labels, int64 (examples,), from one pass over the files in which no image is decoded.

        Raises:
            SourceError: if the files are damaged.
        """
        label = self.keys[1]
        batches = self._read(only=(label,)).map(lambda example: self._label(example[label])).batch(1024)
        with self._naming():
            return np.concatenate([np.zeros(0, "int64"), *batches.as_numpy_iterator()])

    def encoded(self):
        """Yield (image as the bytes of its file, label) of each example.

        Raises:
            SourceError: if the files are damaged.
        """
        image, label = self.keys
        with self._naming():
            for one in self._read(encoded=True).as_numpy_iterator():
                yield one[image], int(self._label(one[label]))

    def fault(self, error):
        """As `Split.fault`; found by reading once more, as TensorFlow does not say whose file it was."""
        undecodable = isinstance(error, tf.errors.InvalidArgumentError) and re.search("DecodeImage|Example", str(error))
        if not undecodable and not isinstance(error, (tf.errors.DataLossError, tf.errors.NotFoundError)):
            return None
        try:
            # NotFoundError also is what a GPU's library says that has no algorithm
            _check_files(self._spec, self.builder)
            if undecodable:
                with self._naming():
                    collections.deque(self._read(), maxlen=0)
            elif isinstance(error, tf.errors.DataLossError):
                self.read_labels()
        except SourceError as fault:
            return fault
        return None

    @property
    def stored_bytes(self):
        """Size of all examples on disk, estimated for slices."""
        splits = self.builder.info.splits
        return sum(
            int(splits[name].num_bytes) * (stop - start) // max(splits[name].num_examples, 1)
            for name, start, stop in self.pieces
        )

    @property
    def _spec(self):
        return f"tfds:{self.builder.info.full_name}"

    def _files(self, name):
        return self.builder.info.splits[name].filepaths

    def _read(self, only=None, encoded=False):
        """Return a `tf.data.Dataset` of dictionaries of the image and the label."""
        from tensorflow_datasets import decode

        image = self.keys[0]
        wanted = decode.PartialDecoding(
            dict.fromkeys(only or self.keys, True), decoders={image: decode.SkipDecoding()} if encoded else None
        )
        if self._is_array_record:  # which tensorflow-datasets itself does not read into tf.data
            return records(self._parts(), True).map(self._example(wanted), **PARALLEL)
        return self.builder.as_dataset(split=self._names, decoders=wanted)

    def _decoder(self):
        """Return a function from a record to (image, label)."""
        from tensorflow_datasets import decode

        image, label = self.keys
        example = self._example(decode.PartialDecoding(dict.fromkeys(self.keys, True)))

        def decoded(record):
            one = example(record)
            return one[image], self._label(one[label])

        return decoded

    def _example(self, wanted):
        """Return a function from a record to a dictionary of what is wanted, a `PartialDecoding`."""
        features = wanted.extract_features(self.builder.info.features)
        return lambda record: features.deserialize_example(record, decoders=wanted.decoders)

    def _parts(self):
        """Return (path, records to leave out, records to read) of each file that these slices lie in."""
        found = self.builder.info.splits[self._names].file_instructions
        return [(str(one.filename), one.skip, one.take) for one in found]

    @property
    def _names(self):
        return "+".join(f"{name}[{start}:{stop}]" for name, start, stop in self.pieces)

    @property
    def _is_array_record(self):
        return self.builder.info.file_format.value == "array_record"

    def _slice(self, start, stop):
        pieces, before = [], 0
        for name, first, last in self.pieces:
            begin, end = max(start - before, 0), min(stop - before, last - first)
            if begin < end:
                pieces.append((name, first + begin, first + end))
            before += last - first
        return self._with_pieces(pieces or [(self.pieces[0][0], 0, 0)])

    def _with_pieces(self, pieces):
        return TfdsSplit(self.builder, self.keys, pieces)._copy(places=self.places, class_names=self.class_names)

    def _relabeled(self, places, class_names):
        places = places if self.places is None else places[self.places]
        return self._copy(places=places, class_names=class_names)

    def _label(self, label):
        """Return a label of the data set as int64, as it is numbered here."""
        label = tf.cast(label, tf.int64)
        if self.places is None:
            return label
        return tf.where(label < 0, label, tf.gather(self.places, tf.maximum(label, 0)))

    @contextlib.contextmanager
    def _naming(self):
        """Turn damage that TensorFlow meets into a SourceError that names the data set."""
        try:
            yield
        except (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.InvalidArgumentError) as error:
            reason = re.sub(r"^\{\{.*?\}\} ?|\[Op:.*", "", error.message.splitlines()[0]).strip()
            raise _damaged(self._spec, self.builder.data_path, reason) from None


def _damaged(spec, path, reason):
    return SourceError(f"{spec}: is damaged in {path} ({reason}). Remove that folder and prepare the set again.")


def open_tfds(spec, data_dir, download, test_share, seed):
    """Return (class names, image shape, splits, notes) of "tfds:NAME"; the notes are those of `Source`."""
    name = spec.removeprefix("tfds:")
    if not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_.\-]+)?(:[0-9.*]+)?", name):
        raise ArgumentError(f"after 'tfds:' stands a data set's name, as in tfds:cifar10. Received: source={spec!r}")
    _work_offline()
    builder = _builder(spec, name, data_dir)
    if not builder.is_prepared():
        if not download:
            raise SourceError(
                f"{spec}: is not on disk in {builder.data_path.parent.parent}. On a machine with a network, add "
                f"--download, or run: tfds build {name}" + (f" --data_dir {data_dir}" if data_dir else "")
            )
        builder.download_and_prepare()
    _check_files(spec, builder)
    features, keys = builder.info.features, _keys(builder.info)
    if keys is None:
        raise SourceError(f"{spec}: does not pair an image with one class. Choose a set made for classification.")
    if np.dtype(features[keys[0]].np_dtype) != np.uint8:
        kind = np.dtype(features[keys[0]].np_dtype)
        raise SourceError(f"{spec}: has images of {kind}, not of 8 bits a channel. Choose another set.")
    if "train" not in builder.info.splits:
        raise SourceError(f"{spec}: has no split 'train' (only {', '.join(builder.info.splits)}). Choose another set.")
    splits = {
        part: TfdsSplit(builder, keys, [(part, 0, builder.info.splits[part].num_examples)])
        for part in ("train", "validation", "test")
        if part in builder.info.splits
    }
    notes = {}
    if "test" not in splits:
        # Some sets publish labels of train and validation alone: then the latter is what one is measured on.
        if "validation" in splits:
            splits["test"] = splits.pop("validation")
            notes["test"] = ("test is the set's validation split, as it has no test split with labels",)
        else:
            splits["train"], splits["test"] = splits["train"].divide(test_share, seed)
            notes["test"] = (f"test is the last {test_share:.0%} of the set's training split, as it has no other",)
    height, width, channels = features[keys[0]].shape
    if channels not in (1, 3):
        channels = 3
    return tuple(features[keys[1]].names), (height, width, channels), splits, notes


def _builder(spec, name, data_dir):
    """Return the builder of a data set, or raise an error that says why there is none."""
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError
    from tensorflow_datasets.core.utils import file_utils

    folders = [Path(folder) for folder in file_utils.list_data_dirs(data_dir)]
    own = [folder / re.split("[/:]", name)[0] for folder in folders]
    written = next((folder for folder in own if folder.is_dir() and any(folder.iterdir())), None)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        if written and "/" not in name:
            version, found = name.partition(":")[2], sorted(one.name for one in written.iterdir() if one.is_dir())
            if version and version not in found:
                raise ArgumentError(
                    f"{written} holds no such version, but {', '.join(found)}. Received: source={spec!r}"
                ) from None
            raise _damaged(spec, written, "dataset_info.json or features.json is missing") from None
        there = [one.name for folder in folders if folder.is_dir() for one in folder.iterdir() if one.is_dir()]
        raise ArgumentError(
            f"tensorflow-datasets has no data set of that name.{nearest(name, [*there, *tfds.list_builders()])} "
            f"Received: source={spec!r}"
        ) from None
    except (ParseError, OSError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        if written and isinstance(error, (ParseError, OSError, ValueError)) and "/" not in name:
            raise _damaged(spec, written, reason) from None
        raise ArgumentError(f"tensorflow-datasets cannot open it ({reason}). Received: source={spec!r}") from error


def _check_files(spec, builder):
    """Raise a SourceError if a file of the set is missing or shorter than what was written; nothing is read."""
    for part, split in builder.info.splits.items():
        if part not in ("train", "validation", "test"):
            continue
        missing = [file for file in split.filepaths if not file.exists()]
        if missing:
            raise _damaged(spec, builder.data_path, f"{missing[0].name} is missing")
        size = sum(file.stat().length for file in split.filepaths)
        # Records stand in the files as they are, with a frame around each
        if builder.info.file_format.value == "tfrecord" and size < int(split.num_bytes):
            raise _damaged(spec, builder.data_path, f"the files of {part!r} hold {size:,} bytes, not all of it")


def _keys(info):
    """Return the names of the image and of its class among the features, or None if that is not clear."""
    import tensorflow_datasets as tfds

    features, keys = info.features, info.supervised_keys
    if not isinstance(features, tfds.features.FeaturesDict):
        return None
    if keys is None:
        # Sets that were stored from plain tf.data do not say: then there must be one of each
        keys = [
            [name for name in features if type(features[name]) is kind]
            for kind in (tfds.features.Image, tfds.features.ClassLabel)
        ]
        if any(len(names) != 1 for names in keys):
            return None
        keys = [names[0] for names in keys]
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        return None
    return tuple(keys) if all(isinstance(features[key], kind) for key, kind in zip(keys, kinds, strict=True)) else None


@functools.cache
def _work_offline():
    """Keep tensorflow-datasets from asking its bucket for each set's description: it retries for minutes."""
    _keras.keep_tfds_offline()
