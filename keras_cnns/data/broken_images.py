"""Sources without the images that cannot be read, or whose targets cannot."""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.image_files import read_image
from keras_cnns.data.targets import Target
from keras_cnns.errors import SourceError

if TYPE_CHECKING:
    from keras_cnns.data.sources import Source

READERS = 8  # threads; the decoders release Python's lock


def without_broken(source: "Source") -> tuple["Source", dict[str, SourceError]]:
    """Return a source without unreadable image files, and their errors.

    An image whose mask cannot be read is left out as well. Every file is read once. Splits that do not consist of files
    stay as they are.

    Args:
        source: `Source`, as `open_source` returns it.

    Returns:
        (`Source`, dictionary from the path of each image left out to its `SourceError`).

    Raises:
        SourceError: if a class has no readable image left to train on.

    Examples:
        >>> import pathlib
        >>> from PIL import Image
        >>> from keras_cnns import data
        >>> for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        ...     path = pathlib.Path("photos/train", name)
        ...     path.parent.mkdir(parents=True, exist_ok=True)
        ...     Image.new("RGB", (40, 30), "orange").save(path)
        >>> written = path.write_bytes(path.read_bytes()[:60])  # an incomplete copy
        >>> source, broken = data.without_broken(data.open_source("photos"))
        >>> source.split("train").examples, list(broken)
        (3, ['photos/train/dog/2.png'])
    """
    broken: dict[str, SourceError] = {}
    splits = dict(source.splits)
    for name, split in source.splits.items():
        if isinstance(split, FileSplit):
            paths = split.items.tolist()
            faults = unreadable(paths) if not split.has_files else _unreadable_pairs(split)
            broken |= faults
            splits[name] = split.take(np.flatnonzero([path not in faults for path in paths]))
    labels = splits["train"].labels
    classes = set(range(len(source.class_names)))
    if broken and labels is not None and (empty := sorted(classes - set(labels.tolist()))):
        raise SourceError(
            f"{source.name}: no image of the class {source.class_names[empty[0]]!r} can be read. Replace its files."
        )
    return dataclasses.replace(source, splits=splits), broken


def unreadable(paths: Sequence[str]) -> dict[str, SourceError]:
    """Return the errors of image files that cannot be read.

    Args:
        paths: paths of image files; each file is read completely.

    Returns:
        Dictionary from the path of each unreadable file to its error.
    """
    with ThreadPoolExecutor(READERS) as pool:
        return {path: fault for path, fault in zip(paths, pool.map(_fault, paths), strict=True) if fault}


def _unreadable_pairs(split: FileSplit) -> dict[str, SourceError]:
    """Return the errors of images or their masks, by image."""
    with ThreadPoolExecutor(READERS) as pool:
        faults = pool.map(partial(_fault, target=split.target), split.items, split.targets)
        return {path: fault for path, fault in zip(split.items, faults, strict=True) if fault}


def _fault(path: str, name: str | None = None, target: Target | None = None) -> SourceError | None:
    """Return the error of an image, or of its target."""
    try:
        height, width = read_image(path).shape[:2]
    except SourceError as error:
        return error
    return target.fault(name, (height, width)) if target and name else None
