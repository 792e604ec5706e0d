"""A source divided anew into train, validation and test, and the arithmetic of dividing. No tensorflow."""

import dataclasses
import hashlib
import math
import operator

import numpy as np

from keras_cnns.errors import ArgumentError, SourceError

PARTS = ("train", "validation", "test")


def split_source(source, shares, seed=0):
    """Return the source with other splits: disjoint, of exact size, stratified where the labels are known.

    The splits that `shares` names are put together, as far as the source has them, and divided anew; those that it
    does not name stay as they are. So {"train": 0.9, "validation": 0.1} takes a validation split out of the training
    images and leaves the test split alone, and all three names divide everything.

    The source remembers how it was divided. A model trained on it has that in its file, so that the commands measure
    and calibrate on the same parts when they are given the source's name; `open_source` gives its own splits.

    Args:
        source: `Source`.
        shares: from "train", "validation", "test" to a share above 0; together they are 1.
        seed: the same one gives the same splits. Of a folder in which images are added or removed later, the
            others stay where they were, but for a few at the edge.

    Returns:
        `Source`, with one more of `divisions`. The sizes of its parts are the shares of the whole, rounded so that
        they add up to it (largest remainder); of each class a part has its share, rounded down or up. A data set of
        tensorflow-datasets, which lies in random order, is cut into slices instead.

    Raises:
        ArgumentError: for other names, or shares that do not add up to 1.
        SourceError: if a class is too small to leave an image for training.
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
    if train is not None and train.labels is not None:
        lost = sorted(set(whole.labels.tolist()) - set(train.labels.tolist()))
        if lost:
            raise SourceError(
                f"{source.name}: class {source.class_names[lost[0]]!r} is too small to leave an image for training. "
                "Add images, or give training a larger share."
            )
    every = {**source.splits, **divided}
    return dataclasses.replace(
        source,
        splits={name: every[name] for name in PARTS if name in every},
        notes={name: notes for name, notes in source.notes.items() if name not in divided},
        divisions=(*source.divisions, {"shares": shares, "seed": seed}),
    )


def exact_totals(total, shares):
    """Return whole numbers that add up to `total`: its shares rounded down, the largest remainders up."""
    ideal = total * np.asarray(shares, "float64")
    counts = np.floor(ideal + 1e-9).astype("int64")
    largest = np.argsort(counts - ideal, kind="stable")
    counts[largest[: total - counts.sum()]] += 1
    return counts


def exact_counts(sizes, shares):
    """Return how many of each class go to each part, as whole numbers.

    Args:
        sizes: int array (classes,).
        shares: up to three, which add up to 1.

    Returns:
        int64 array (classes, parts), each its class's share rounded down or up. The rows add up to `sizes`, the
        columns to `exact_totals` of the whole.
    """
    sizes = np.asarray(sizes, "int64")
    ideal = sizes[:, None] * np.asarray(shares, "float64")
    counts = np.floor(ideal + 1e-9).astype("int64")
    remainder = ideal - counts
    left = sizes - counts.sum(1)
    wanted = exact_totals(int(sizes.sum()), shares) - counts.sum(0)
    rows = np.flatnonzero(left)
    rows = rows[np.argsort(counts[rows].min(1), kind="stable")]  # the scarce classes choose first
    for done, row in enumerate(rows):
        # First a part that needs one of every class still to come, or its total would be missed; then one that would
        # have none of this class; then by remainder
        order = sorted(
            np.flatnonzero(wanted > 0),
            key=lambda part: (wanted[part] < len(rows) - done, counts[row, part] > 0, -remainder[row, part]),
        )
        chosen = order[: left[row]]
        counts[row, chosen] += 1
        wanted[chosen] -= 1
    return counts


def drawn_by_class(labels, keys, seed):
    """Return {label: indices of its examples, in an order that seed and key decide}.

    An example's place among the others depends on nothing but its key, so that it stays when others come or go.
    """
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    found, starts = np.unique(labels[order], return_index=True)
    members = np.split(order, starts[1:])
    salt = f"{seed}:"

    def place(k):
        return hashlib.sha256(f"{salt}{keys[k]}".encode()).digest()

    return {
        int(label): np.array(sorted(some.tolist(), key=place), "int64")
        for label, some in zip(found, members, strict=True)
    }
