"""Deprecated names, which still work with a warning.

docs/deprecations.md lists them.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

REMOVED_IN = "0.3"
T = TypeVar("T", bound=Callable[..., Any])


def warn(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that `old` is now called `new`.

    Args:
        old: the deprecated name, as the caller writes it.
        new: the name that replaces it.
        stacklevel: number of calls up to the line to be named, as `warnings.warn` counts.
    """
    warnings.warn(
        f"`{old}` is now called `{new}`. The old name works until version {REMOVED_IN}.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )


def renamed(**names: str) -> Callable[[T], T]:
    """Return a decorator that accepts old names of arguments or attributes.

    Args:
        **names: from each old name to the new one.

    Example:
        >>> @renamed(picture="image")
        ... def shape_of(image):
        ...     return image.shape
    """

    def decorate(subject: T) -> T:
        return _with_attributes(subject, names) if inspect.isclass(subject) else _with_arguments(subject, names)

    return decorate


def _with_attributes(subject, names):
    for old, new in names.items():

        def read(self, old=old, new=new):
            warn(f"{subject.__name__}.{old}", f"{subject.__name__}.{new}")
            return getattr(self, new)

        setattr(subject, old, property(read, doc=f"Deprecated: use `{new}`."))
    return subject


def _with_arguments(subject, names):
    @functools.wraps(subject)
    def accept(*arguments, **options):
        for old in names.keys() & options.keys():
            warn(f"{subject.__name__}({old}=...)", f"{subject.__name__}({names[old]}=...)")
            options[names[old]] = options.pop(old)
        return subject(*arguments, **options)

    return accept
