"""Public names: of a package whose modules are imported when first used, and of a module. Standard library only."""

import importlib

from keras_cnns import _quiet


def lazy(package, places):
    """Return `__all__`, `__getattr__` and `__dir__` for `package`.

    Args:
        package: the package's `__name__`.
        places: dictionary from public name to the module of the package that defines it; a module of the
            same name as the public one would hide it, so none may be called so.
    """
    names = sorted(places)

    def __getattr__(name):
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with _quiet.starting():
            return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return names, __getattr__, lambda: names


def dir_of(names):
    """Return the `__dir__` of a module with these public names, its `__all__`: what it imports is not among them."""
    return lambda: names
