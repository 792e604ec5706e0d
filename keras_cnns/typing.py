"""Types of public arguments and results.

The comment of each says its shape and meaning. Only numpy is imported.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Path: TypeAlias = str | os.PathLike[str]
Size: TypeAlias = tuple[int, int]  # height and width, in pixels
Shape: TypeAlias = tuple[int, int, int]  # height, width, channels
Progress: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]  # yields the same batches, and shows how far it is
Log: TypeAlias = Callable[[str], None]  # called with a line of text now and then
Box: TypeAlias = tuple[int, int, int, int]  # top, left, bottom, right, in pixels; bottom and right lie outside

Pixels: TypeAlias = NDArray[np.uint8]  # (images, height, width, channels), 0 to 255
Images: TypeAlias = NDArray[np.float32]  # (images, height, width, channels), normalized as the model takes them
Labels: TypeAlias = NDArray[np.int64]  # (images,), numbers of classes
Probabilities: TypeAlias = NDArray[np.float32]  # (images, classes)
