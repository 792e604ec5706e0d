"""Errors of tf.data pipelines, turned into errors that name the file."""

import contextlib
import pathlib
from collections.abc import Iterator

import tensorflow as tf

from keras_cnns.data.splits import Split
from keras_cnns.errors import SourceError


@contextlib.contextmanager
def reading(*splits: Split) -> Iterator[None]:
    """Replace a tf.data op's error by one that names the file.

    TensorFlow reports only that an op failed. The splits know which file or dataset they were reading.

    Args:
        *splits: the splits that are read inside the `with` block.

    Raises:
        SourceError: naming the image file, the dataset or the damaged cache file. An error that none of the splits
            can explain is raised as it is.

    Examples:
        >>> from keras_cnns import data
        >>> from keras_cnns.data.read_errors import reading
        >>> split = data.open_source("digits").split("test")
        >>> batches = data.make_dataset(split, data.Preprocessing((32, 32), 1), 64)
        >>> with reading(split):  # an error names the image file
        ...     print(sum(len(labels) for images, labels in batches))
        360
    """
    for split in splits:
        split.faults.clear()
    try:
        yield
    except Exception as error:
        for split in splits:
            if fault := _remove_damaged_cache(split.caches, error) or split.fault(error):
                raise fault from None
        raise


def _remove_damaged_cache(paths: list[pathlib.Path], error: Exception) -> SourceError | None:
    """Remove the first damaged cache file and return its error.

    Args:
        paths: cache files of a split; the damaged one is also removed from this list.
        error: what the pipeline raised.

    Returns:
        None if the error has another cause.
    """
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
                "`cache`: the file is then written again."
            )
    return None
