"""Records of sharded files, in TFRecord or ArrayRecord format."""

import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_cnns.data._tf_data import PARALLEL

FILES = 16  # files that are read in turns
CHUNK = 32  # records of an ArrayRecord file that one call reads


def read_records(
    parts: Sequence[tuple[str, int, int]], is_array_record: bool, seed: int | tf.Tensor | None = None
) -> tf.data.Dataset:
    """Return a dataset of the records in parts of files, as bytes.

    Args:
        parts: (path, number of records to skip at the start, number of records to read) of each part.
        is_array_record: whether the files are ArrayRecord; else they are TFRecord.
        seed: seed of the order of the parts. `FILES` of them are then read in turns, which separates the neighbors in
            a file. None reads part by part, in order.
    """
    if is_array_record:  # raise the error of a missing package here, and not inside the pipeline
        importlib.import_module("array_record.python.array_record_data_source")
    paths, skips, takes = (list(column) for column in zip(*parts, strict=True))
    files = tf.data.Dataset.from_tensor_slices((paths, np.array(skips, "int64"), np.array(takes, "int64")))
    read = _read_array_record if is_array_record else _read_tf_record
    if seed is None:
        return files.flat_map(read)
    files = files.shuffle(len(parts), seed=seed, reshuffle_each_iteration=True)
    return files.interleave(read, cycle_length=min(FILES, len(parts)), block_length=4, **PARALLEL)


def _read_tf_record(path: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    return tf.data.TFRecordDataset(path, buffer_size=1 << 20).skip(skip).take(take)


def _read_array_record(path: tf.Tensor, skip: tf.Tensor, take: tf.Tensor) -> tf.data.Dataset:
    def read_places(path, places):
        return np.array(_opened(path).__getitems__(places.tolist()), dtype=object)

    def read_chunk(places):
        return tf.numpy_function(read_places, [path, places], tf.string, stateful=False)

    chunks = tf.data.Dataset.range(skip, skip + take).batch(CHUNK).map(read_chunk, **PARALLEL)
    return chunks.map(lambda chunk: tf.ensure_shape(chunk, (None,))).unbatch()


@functools.lru_cache(2 * FILES)
def _opened(path: bytes) -> Any:
    """Return the records of an ArrayRecord file as a sequence."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource([path.decode()])
