"""Variables as arrays, and back."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from keras import ops


def array(variable: Any) -> np.ndarray:
    """Return a variable or tensor as a NumPy array.

    bfloat16, which is no dtype of NumPy itself, becomes float32.
    """
    value = ops.convert_to_numpy(variable)
    return value.astype("float32") if value.dtype.kind == "V" else value  # bfloat16 is of the kind "V"


def copies(variables: Iterable[Any]) -> list[np.ndarray]:
    """Return the values of variables as copies.

    What `array` returns may share its memory with the variable, where the next step writes.
    """
    return [np.array(array(variable)) for variable in variables]


def finite(value: np.ndarray) -> bool:
    """Return whether no value of an array is NaN or infinite."""
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def assign(variables: Iterable[Any], values: Iterable[np.ndarray]) -> None:
    """Assign values to variables, in their order."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@contextlib.contextmanager
def put_back(variables: Iterable[Any], values: list[np.ndarray] | None = None) -> Iterator[None]:
    """Restore variables after the context.

    Args:
        variables: what the context may change.
        values: assigned to the variables both before and after; None: the present values, assigned only after.
    """
    variables = list(variables)
    if values is None:
        values = copies(variables)
    else:
        assign(variables, values)
    try:
        yield
    finally:
        assign(variables, values)
