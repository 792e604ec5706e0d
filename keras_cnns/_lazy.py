"""Names of a package whose modules are imported when a name is first used. Standard library only."""

import importlib


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
        return getattr(importlib.import_module(f"{package}.{places[name]}"), name)

    return names, __getattr__, lambda: names
