"""Numbers of NumPy as Python's own, which Keras's layers ask for and JSON can hold."""

import numpy as np


def plain(value):
    """Return a NumPy scalar as a Python number and an array as a list; everything else as it is."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
