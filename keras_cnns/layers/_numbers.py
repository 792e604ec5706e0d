"""Conversion of NumPy's numbers to Python's."""

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return numbers of NumPy as Python's.

    A scalar becomes a number and an array a list; other values are returned unchanged. Keras's layers ask for Python's
    numbers, and JSON can hold no others.

    Args:
        value: an argument of a layer.
    """
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
