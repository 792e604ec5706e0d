"""Divide a source into train, validation and test splits. Imports no tensorflow."""

import dataclasses
import hashlib
import math
import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_cnns.errors import ArgumentError, SourceError

if TYPE_CHECKING:
    from keras_cnns.data.sources import Source

PARTS = ("train", "validation", "test")


def split_source(source: "Source", shares: Mapping[str, float], seed: int = 0) -> "Source":
    """Return the source divided into other splits.

    The new splits are disjoint, of exact size, and stratified if the labels are known.

    The splits named in `shares` are pooled, as far as the source has them, and divided again. Splits that are not
    named stay as they are. So {"train": 0.9, "validation": 0.1} takes a validation split out of the training images
    and leaves the test split alone. All three names divide all images.

    The source records how it was divided, and a model trained on it stores that record in its file. Given the source's
    name, the commands therefore measure and calibrate on the same splits. `open_source` always returns the source's
    own splits.

    Args:
        source: `Source`, as `open_source` returns it.
        shares: dictionary from "train", "validation" or "test" to a share above 0; the shares add up to 1.
        seed: seed of the draw; the same seed gives the same splits. If images are added to or removed from a folder
            later, all other images stay in their split, except a few at the edges.

    Returns:
        `Source` with one more entry in `divisions`. The sizes of the splits are their shares of all images, rounded by
        largest remainder so that they add up. Each split has its share of each class, rounded down or up. A dataset
        of tensorflow-datasets lies in random order and is cut into slices instead.

    Raises:
        ArgumentError: for other names, or shares that do not add up to 1.
        SourceError: if a class is too small to leave an image for training.

    Examples:
        >>> from keras_cnns import data
        >>> shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
        >>> source = data.split_source(data.open_source("digits"), shares)
        >>> {name: split.examples for name, split in source.splits.items()}
        {'train': 1258, 'validation': 270, 'test': 269}
    """
    shares, seed = {name: float(share) for name, share in dict(shares).items()}, operator.index(seed)
    if unknown := [name for name in shares if name not in PARTS]:
        raise ArgumentError(f"`shares` names parts among {', '.join(PARTS)}. Received: {unknown[0]!r}")
    values = list(shares.values())
    if not values or not all(0 < value <= 1 for value in values) or abs(math.fsum(values) - 1) > 1e-6:
        raise ArgumentError(f"`shares` must be above 0 and add up to 1. Received: shares={shares}")
    parts = [name for name in PARTS if name in shares]
    pooled = [split for name, split in source.splits.items() if name in shares]
    if not pooled:
        raise ArgumentError(
            f"{source.name} has none of these splits to divide; it has {', '.join(source.splits)}. "
            f"Received: shares={shares}"
        )
    whole = pooled[0].joined(pooled[1:])
    if whole.examples < len(parts):
        raise SourceError(f"{source.name}: {whole.examples} images cannot fill {len(parts)} parts. Add images.")
    divided = dict(zip(parts, whole.partition([shares[name] for name in parts], seed), strict=True))
    train = divided.get("train")
    if train is not None and train.labels is not None and whole.labels is not None:
        lost = sorted(set(whole.labels.tolist()) - set(train.labels.tolist()))
        if lost:
            raise SourceError(
                f"{source.name}: class {source.class_names[lost[0]]!r} is too small to leave an image for training. "
                "Add images, or give training a larger share."
            )
    splits = {**source.splits, **divided}
    return dataclasses.replace(
        source,
        splits={name: splits[name] for name in PARTS if name in splits},
        notes={name: notes for name, notes in source.notes.items() if name not in divided},
        divisions=(*source.divisions, {"shares": shares, "seed": seed}),
    )


def exact_totals(total: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """Return whole numbers that add up to `total`, by largest remainder.

    Args:
        total: how many to distribute.
        shares: share of each part; they add up to 1.

    Returns:
        int64 array (parts,): each share of the total, rounded down; those with the largest remainders, rounded up.
    """
    ideal = total * np.asarray(shares, "float64")
    counts = np.floor(ideal + 1e-9).astype("int64")
    largest = np.argsort(counts - ideal, kind="stable")
    counts[largest[: total - counts.sum()]] += 1
    return counts


def exact_counts(class_sizes: ArrayLike, shares: Sequence[float]) -> NDArray[np.int64]:
    """Return how many examples of each class go to each part.

    Args:
        class_sizes: int array (classes,), examples of each class.
        shares: up to three shares, which add up to 1.

    Returns:
        int64 array (classes, parts). Each entry is the part's share of the class, rounded down or up. The rows add up
        to `class_sizes`, the columns to `exact_totals` of all examples.
    """
    sizes = np.asarray(class_sizes, "int64")
    ideal = sizes[:, None] * np.asarray(shares, "float64")
    counts = np.floor(ideal + 1e-9).astype("int64")
    remainder = ideal - counts
    left = sizes - counts.sum(1)
    wanted = exact_totals(int(sizes.sum()), shares) - counts.sum(0)
    rows = np.flatnonzero(left)
    rows = rows[np.argsort(counts[rows].min(1), kind="stable")]  # the scarce classes choose first
    for done, row in enumerate(rows):
        # First a part that needs one example of every class still to come, or its total could not be reached; then a
        # part that would have none of this class; then the part with the largest remainder
        order = sorted(
            np.flatnonzero(wanted > 0),
            key=lambda part: (wanted[part] < len(rows) - done, counts[row, part] > 0, -remainder[row, part]),
        )
        chosen = order[: left[row]]
        counts[row, chosen] += 1
        wanted[chosen] -= 1
    return counts


def drawn_by_class(labels: ArrayLike, keys: Sequence[Any], seed: int) -> dict[int, NDArray[np.int64]]:
    """Return the indices of each class's examples, in random order.

    The order is that of hashes of seed and key. An example's place relative to others therefore stays the same when
    further examples are added or removed.

    Args:
        labels: int array (examples,).
        keys: one key per example.
        seed: seed of the order.

    Returns:
        Dictionary from label to int64 array of indices.
    """
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    members = np.split(order, starts[1:])
    salt = f"{seed}:"

    def place(index):
        return hashlib.sha256(f"{salt}{keys[index]}".encode()).digest()

    return {
        int(label): np.array(sorted(indices.tolist(), key=place), "int64")
        for label, indices in zip(classes, members, strict=True)
    }
