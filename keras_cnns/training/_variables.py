"""Variables as arrays, and back."""

import contextlib

import numpy as np
from keras import ops


def array(variable):
    """Return a variable or tensor as an array that NumPy can compute with and write; bfloat16 becomes float32."""
    value = ops.convert_to_numpy(variable)
    # bfloat16 is no type of NumPy's own, and of the kind "V"
    return value.astype("float32") if value.dtype.kind == "V" else value


def copies(variables):
    """Return the values of variables, in arrays of their own: one of `array` may lie where a step writes."""
    return [np.array(array(one)) for one in variables]


def finite(value):
    """Return whether an array holds finite numbers alone."""
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def assign(variables, values):
    """Give variables their values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


@contextlib.contextmanager
def put_back(variables, values=None):
    """Give variables these values before and after the body; None: what they have, after it."""
    if values is None:
        values = copies(variables)
    else:
        assign(variables, values)
    try:
        yield
    finally:
        assign(variables, values)
