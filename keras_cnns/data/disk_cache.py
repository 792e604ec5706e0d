"""Images that were prepared once, kept in a file."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_cnns.data._tf_data import PARALLEL
from keras_cnns.data.read_errors import reading
from keras_cnns.errors import OutputError


def on_disk(data, folder, name, split):
    """Return the elements of `data` from a file in `folder` that belongs to `name`, where they are written once."""
    folder, stem = Path(folder), hashlib.sha256(name.encode()).hexdigest()[:16]
    path = next(folder.glob(f"{stem}-*.tfrecord"), None)
    if path is None:
        temporary, count = folder / f".{stem}.{os.getpid()}", 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Not by Dataset.save, which waits for ever where an image cannot be read
            with reading(split), open(temporary, "wb"), tf.io.TFRecordWriter(str(temporary)) as file:
                for image, label in data.as_numpy_iterator():
                    file.write(np.array([*image.shape, label], "int64").tobytes() + image.tobytes())
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

    def parse(record):
        head = tf.io.decode_raw(tf.strings.substr(record, 0, 32), tf.int64)
        image = tf.reshape(tf.io.decode_raw(tf.strings.substr(record, 32, -1), tf.uint8), head[:3])
        return tf.ensure_shape(image, data.element_spec[0].shape), head[3]

    split.caches.append(path)
    kept = tf.data.TFRecordDataset(str(path), buffer_size=8 << 20).map(parse, **PARALLEL)
    return kept.apply(tf.data.experimental.assert_cardinality(int(path.stem.rpartition("-")[2])))
