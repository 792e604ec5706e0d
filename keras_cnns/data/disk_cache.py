"""Decoded or prepared images, cached in one file."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_cnns import typing
from keras_cnns.data._tf_data import PARALLEL
from keras_cnns.data.read_errors import reading
from keras_cnns.data.splits import Split
from keras_cnns.errors import OutputError


def on_disk(data: tf.data.Dataset, folder: typing.Path, name: str, split: Split) -> tf.data.Dataset:
    """Write a dataset to a file once, and read it from there.

    Args:
        data: `tf.data.Dataset` of (uint8 image (height, width, channels), target): a string, or numbers, of whose shape
            the length of one axis may be unknown.
        folder: folder of the cache; made if it does not exist.
        name: text that identifies the elements. Another name is kept in another file.
        split: `Split` from which `data` reads. The path of the file is appended to its `caches`.

    Returns:
        `tf.data.Dataset` of the same elements, of known length.

    Raises:
        SourceError: if an image cannot be read.
        OutputError: if the file cannot be written.
    """
    folder, stem = Path(folder), hashlib.sha256(name.encode()).hexdigest()[:16]
    path = next(folder.glob(f"{stem}-*.tfrecord"), None)
    if path is None:
        path = _write(data, folder, stem, split)

    image_spec, target_spec = data.element_spec
    target_shape = [-1 if side is None else side for side in target_spec.shape]

    def parse(record):
        shape = tf.io.decode_raw(tf.strings.substr(record, 0, 24), tf.int64)
        pixels = tf.cast(tf.reduce_prod(shape), tf.int32)
        start = tf.strings.length(record) - pixels  # of the pixels, after shape and target
        target = tf.strings.substr(record, 24, start - 24)
        if target_spec.dtype != tf.string:
            target = tf.reshape(tf.io.decode_raw(target, target_spec.dtype), target_shape)
        image = tf.reshape(tf.io.decode_raw(tf.strings.substr(record, start, -1), tf.uint8), shape)
        return tf.ensure_shape(image, image_spec.shape), target

    split.caches.append(path)
    cached = tf.data.TFRecordDataset(str(path), buffer_size=8 << 20).map(parse, **PARALLEL)
    return cached.apply(tf.data.experimental.assert_cardinality(int(path.stem.rpartition("-")[2])))


def _write(data: tf.data.Dataset, folder: Path, stem: str, split: Split) -> Path:
    """Write the elements to a file; return its path.

    The file's name ends with the number of elements.
    """
    temporary, count = folder / f".{stem}.{os.getpid()}", 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not by Dataset.save, which hangs if an image cannot be read
        with reading(split), open(temporary, "wb"), tf.io.TFRecordWriter(str(temporary)) as file:
            for image, target in data.as_numpy_iterator():
                content = target if isinstance(target, bytes) else target.tobytes()
                file.write(np.array(image.shape, "int64").tobytes() + content + image.tobytes())
                count += 1
        path = folder / f"{stem}-{count}.tfrecord"
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError.from_os(folder, error) from error
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise OutputError(f"{folder}: cannot be written ({reason}). Free some space there.") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path
