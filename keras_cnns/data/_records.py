"""Records of sharded files, TFRecord or ArrayRecord: which parts of which files, read several at a time."""

import functools

import numpy as np
import tensorflow as tf

from keras_cnns.data.splits import PARALLEL

FILES = 16  # read at a time
CHUNK = 32  # records of an ArrayRecord file in one call


def records(parts, array_record, seed=None):
    """Return a `tf.data.Dataset` of the records of some parts of files, as bytes.

    Args:
        parts: list of (path, records to leave out at the start, records to read).
        array_record: whether the files are ArrayRecord; else TFRecord.
        seed: from which the order of the parts is drawn; `FILES` of them are then read in turns, so that neighbors in
            a file do not stay together. None: part by part, in order.
    """
    if array_record:  # a missing package is told now
        import array_record.python.array_record_data_source
    paths, skips, takes = (list(column) for column in zip(*parts, strict=True))
    files = tf.data.Dataset.from_tensor_slices((paths, np.array(skips, "int64"), np.array(takes, "int64")))
    read = _array_record if array_record else _tf_record
    if seed is None:
        return files.flat_map(read)
    files = files.shuffle(len(parts), seed=seed, reshuffle_each_iteration=True)
    return files.interleave(read, cycle_length=min(FILES, len(parts)), block_length=4, **PARALLEL)


def _tf_record(path, skip, take):
    return tf.data.TFRecordDataset(path, buffer_size=1 << 20).skip(skip).take(take)


def _array_record(path, skip, take):
    def read(path, places):
        return np.array(_opened(path).__getitems__(places.tolist()), dtype=object)

    chunks = tf.data.Dataset.range(skip, skip + take).batch(CHUNK)
    found = chunks.map(lambda places: tf.numpy_function(read, [path, places], tf.string, stateful=False), **PARALLEL)
    return found.map(lambda chunk: tf.ensure_shape(chunk, (None,))).unbatch()


@functools.lru_cache(2 * FILES)
def _opened(path):
    """Return a sequence of the records of a file."""
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource([path.decode()])
