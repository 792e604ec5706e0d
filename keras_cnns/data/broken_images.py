"""A source without the images that cannot be read, for those who ask for it."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from keras_cnns.data.files import FileSplit
from keras_cnns.data.image_files import read_image
from keras_cnns.errors import SourceError

READERS = 8  # threads; decoders release Python's lock


def without_broken(source):
    """Return a source whose image files can all be read, and what was left out.

    Every file is read once; sources that are no files stay as they are.

    Args:
        source: `Source`.

    Returns:
        (`Source`, {path: `SourceError`} of the images left out).

    Raises:
        SourceError: if a class is left without an image to train on.
    """
    broken, splits = {}, dict(source.splits)
    for name, split in source.splits.items():
        if isinstance(split, FileSplit):
            paths = split.items.tolist()
            faults = unreadable(paths)
            broken |= faults
            splits[name] = split.take(np.flatnonzero([path not in faults for path in paths]))
    training = splits["train"]
    if broken and (empty := sorted(set(range(len(source.class_names))) - set(training.labels.tolist()))):
        raise SourceError(
            f"{source.name}: no image of the class {source.class_names[empty[0]]!r} can be read. Replace its files."
        )
    return dataclasses.replace(source, splits=splits), broken


def unreadable(paths) -> dict[str, SourceError]:
    """Return the image files that cannot be read, each with what is wrong with it.

    Args:
        paths: of the files; each is read whole.
    """
    with ThreadPoolExecutor(READERS) as pool:
        return {path: fault for path, fault in zip(paths, pool.map(_fault, paths), strict=True) if fault}


def _fault(path):
    try:
        read_image(path)
    except SourceError as error:
        return error
    return None
