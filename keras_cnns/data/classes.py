"""Class names: their order, and how the labels of one source are matched to the names of another."""

import collections
import re

import numpy as np

from keras_cnns.errors import ArgumentError, SourceError

SHOWN = 10  # class names in a message


def sort_classes(names):
    """Return class names in order: by number where all are whole numbers, else as text."""
    numbers = _whole_numbers(names)
    return sorted(names) if numbers is None else [name for _, name in sorted(zip(numbers, names, strict=True))]


def need_two_classes(path, names):
    """Raise SourceError if a source has one class alone."""
    if len(names) < 2:
        raise SourceError(
            f"{path}: has one class only, {names[0]!r}; there is nothing to tell apart. Add images of another class."
        )


def match_classes(names, wanted, ids=(), source=None):
    """Return the position in `wanted` of each class name of a source.

    Names are compared as text. Where both sides have whole numbers only, "7" and "007" are the same name.

    Args:
        names: class names of the source, in the order of its labels. May be fewer than `wanted`.
        wanted: class names of a model, in the order of its outputs.
        ids: what a source may call the classes of `wanted` instead, in the same order, as ImageNet's n01440764.
        source: name of the source, for the message.

    Returns:
        int64 array (len(names),).

    Raises:
        ArgumentError: if a class of the source has no counterpart.
    """
    for own, others in _spellings(names, wanted, ids):
        counts = collections.Counter(others)  # a name that two classes share tells neither
        places = {name: place for place, name in enumerate(others) if counts[name] == 1}
        if all(name in places for name in own):
            return np.array([places[name] for name in own], "int64")
    known = set(wanted)
    odd = [name for name in names if name not in known] or list(names)
    cure = "Use a source with the classes that the model was trained for."
    if tuple(names) == tuple(map(str, range(len(names)))) and _whole_numbers(wanted) is None:
        cure = (
            "Its labels are numbers without names: store `class_names` in the .npz file, one name per label, in the "
            "order of the labels."
        )
    raise ArgumentError(
        f"the classes of the images must be those of the model, which are {_listed(wanted)}; "
        f"it does not know {_listed(odd)}. {cure} Received: source={source!r} with the classes {_listed(names)}"
    )


def _spellings(names, wanted, ids):
    """Yield (names of the source, names of the model) in each way in which both may be compared."""
    yield names, wanted
    if ids:
        yield names, ids
    own, others = _whole_numbers(names), _whole_numbers(wanted)
    if own is not None and others is not None and len(set(own)) == len(own):
        yield own, others


def _whole_numbers(names):
    """Return the names as whole numbers, None if one of them is none."""
    return [int(name) for name in names] if all(re.fullmatch("[0-9]+", name) for name in names) else None


def _listed(names):
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
