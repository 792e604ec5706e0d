"""Helpers of the command-line tests."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def ink():
    """Return a function that measures a drawing.

    It returns the size of an image file, and the share of its pixels that are not white.
    """

    def measure(path):
        with Image.open(path) as image:
            return image.size, (np.asarray(image.convert("RGB")) < 250).any(-1).mean()

    return measure
