"""Public names of lazy packages and of modules. Standard library only."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from keras_cnns import _deprecated, _quiet


def lazy(
    package: str, places: Mapping[str, str], renamed: Mapping[str, str] | None = None
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__all__`, `__getattr__` and `__dir__` for a package.

    Args:
        package: the package's `__name__`.
        places: dictionary from public name to the module that defines it: one of the package, or a full name. A module
            of the same name as the public one would hide it, so none may be called so.
        renamed: dictionary from each deprecated name to the public one that replaces it.
    """
    names = sorted(places)

    def __getattr__(name):
        if renamed and name in renamed:
            _deprecated.warn(f"{package}.{name}", f"{package}.{renamed[name]}")
            name = renamed[name]
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with _quiet.starting():
            place = places[name] if "." in places[name] else f"{package}.{places[name]}"
            return getattr(importlib.import_module(place), name)

    return names, __getattr__, lambda: names


def dir_of(names: list[str]) -> Callable[[], list[str]]:
    """Return the `__dir__` of a module that lists only public names."""
    return lambda: names
