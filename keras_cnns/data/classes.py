"""Class names: their order, and how two lists of them are matched."""

import collections
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Labels, Path

SHOWN = 10  # class names in a message


def sort_classes(names: Collection[str]) -> list[str]:
    """Return class names in their order.

    If all names are whole numbers, they are sorted by number; otherwise as text.

    Args:
        names: different class names.

    Examples:
        >>> from keras_cnns.data.classes import sort_classes
        >>> sort_classes(["10", "9", "1"])
        ['1', '9', '10']
    """
    numbers = _whole_numbers(names)
    return sorted(names) if numbers is None else [name for _, name in sorted(zip(numbers, names, strict=True))]


def need_two_classes(path: Path, names: Sequence[str]) -> None:
    """Raise SourceError if a source has a single class.

    Args:
        path: path or name of the source, for the message.
        names: its class names.
    """
    if len(names) < 2:
        raise SourceError(
            f"{path}: has one class only, {names[0]!r}; there is nothing to tell apart. Add images of another class."
        )


def match_classes(
    names: Sequence[str], wanted: Sequence[str], ids: Sequence[str] = (), source: str | None = None
) -> Labels:
    """Return the position in `wanted` of each class name of a source.

    Names are compared as text. If both sides have only whole numbers, "7" and "007" are the same name.

    Args:
        names: class names of the source, in the order of its labels; may be fewer than `wanted`.
        wanted: class names of a model, in the order of its outputs.
        ids: other names that a source may use for the classes of `wanted`, in the same order, such as ImageNet's
            n01440764.
        source: name of the source, for the message.

    Returns:
        int64 array (len(names),).

    Raises:
        ArgumentError: if a class of the source has no counterpart.

    Examples:
        >>> from keras_cnns.data.classes import match_classes
        >>> match_classes(["dog", "cat"], ["cat", "cow", "dog"])
        array([2, 0])
    """
    for source_names, model_names in _spellings(names, wanted, ids):
        counts = collections.Counter(model_names)  # a name that two classes share identifies neither
        places = {name: place for place, name in enumerate(model_names) if counts[name] == 1}
        if all(name in places for name in source_names):
            return np.array([places[name] for name in source_names], "int64")
    known = set(wanted)
    unknown = [name for name in names if name not in known] or list(names)
    cure = "Use a source with the classes that the model was trained for."
    if tuple(names) == tuple(map(str, range(len(names)))) and _whole_numbers(wanted) is None:
        cure = (
            "Its labels are numbers without names: store `class_names` in the .npz file, one name per label, in the "
            "order of the labels."
        )
    raise ArgumentError(
        f"the classes of the images must be those of the model, which are {_listed(wanted)}; "
        f"it does not know {_listed(unknown)}. {cure} Received: source={source!r} with the classes {_listed(names)}"
    )


def _spellings(
    names: Sequence[str], wanted: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    """Yield the names of source and model, in each comparable form."""
    yield names, wanted
    if ids:
        yield names, ids
    source_numbers, model_numbers = _whole_numbers(names), _whole_numbers(wanted)
    if source_numbers is not None and model_numbers is not None and len(set(source_numbers)) == len(source_numbers):
        yield source_numbers, model_numbers


def _whole_numbers(names: Collection[str]) -> list[int] | None:
    """Return the names as whole numbers, or None if any is not."""
    return [int(name) for name in names] if all(re.fullmatch("[0-9]+", name) for name in names) else None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
