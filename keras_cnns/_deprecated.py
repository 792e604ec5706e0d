"""Deprecated names, which still work with a warning.

docs/deprecations.md lists them.
"""

import dataclasses
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

    Examples:
        >>> import warnings
        >>> from keras_cnns._deprecated import renamed
        >>> @renamed(picture="image")
        ... def length_of(image):
        ...     return len(image)
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     length = length_of(picture="abc")
        >>> length, str(caught[0].message)
        (3, '`length_of(picture=...)` is now called `length_of(image=...)`...')
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


def gathered(into: str, record: type, names: tuple[str, ...]) -> Callable[[T], T]:
    """Return a decorator that accepts arguments which a record now holds.

    Args:
        into: keyword argument of the function that takes the record, or the value of its first field alone.
        record: frozen dataclass that holds the old arguments.
        names: the old arguments, which are fields of the record.

    Examples:
        >>> import warnings
        >>> from keras_cnns._deprecated import gathered
        >>> from keras_cnns.data import Augment
        >>> @gathered(into="augmentation", record=Augment, names=("mixup", "cutmix"))
        ... def make_dataset(split, *, augmentation="none"):
        ...     return augmentation
        >>> with warnings.catch_warnings(record=True):
        ...     warnings.simplefilter("always")
        ...     augment = make_dataset("train", augmentation="crop-flip", mixup=0.2)
        >>> augment == Augment("crop-flip", mixup=0.2)
        True
    """

    def decorate(function: T) -> T:
        @functools.wraps(function)
        def accept(*arguments, **options):
            old = {name: options.pop(name) for name in names if name in options}
            for name in old:
                warn(f"{function.__name__}({name}=...)", f"{function.__name__}({into}={record.__name__}({name}=...))")
            if old:
                given = [options[into]] if into in options else []
                is_record = bool(given) and isinstance(given[0], record)
                options[into] = dataclasses.replace(given[0], **old) if is_record else record(*given, **old)
            return function(*arguments, **options)

        return accept  # type: ignore[return-value]  # it has the function's signature, and more

    return decorate
