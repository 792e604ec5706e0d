"""Drawn images of several geometric shapes with boxes. Imports numpy alone."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.shapes import BRIGHTER, brighter, noisy, placed, slopes
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Pixels

KINDS = ("disc", "triangle", "square")
RADII = 0.08, 0.18  # smallest and largest, as shares of the side
ATTEMPTS = 20  # at finding a place for an object beside the others
NOISE = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class Scenes:
    """Images with several objects each.

    Attributes:
        images: uint8 array (images, size, size, 3).
        targets: for each image a dictionary of its objects, as `keras_cnns.data.Boxes` describes it.
        class_names: the kinds of shapes.
    """

    images: Pixels
    targets: tuple[dict[str, Any], ...]
    class_names: tuple[str, ...]


@functools.lru_cache(4)
def make_scenes(count: int, size: int = 96, seed: int = 0, *, most: int = 4) -> Scenes:
    """Draw images of discs, triangles and squares on a darker background.

    An image has from none to `most` objects, whose kinds, sizes, places and colors are random; their boxes do not
    touch. The same arguments give the same images; with a larger `count`, the first images stay the same.

    Args:
        count: number of images.
        size: height and width, in pixels; at least 32.
        seed: seed of everything that is random; a whole number, at least 0.
        most: largest number of objects in an image.

    Returns:
        `Scenes`.

    Raises:
        ArgumentError: if a number is too small.

    Examples:
        >>> from keras_cnns import data
        >>> scenes = data.make_scenes(3)
        >>> scenes.images.shape, [target["labels"].tolist() for target in scenes.targets]
        ((3, 96, 96, 3), [[0, 2], [0], [2]])
    """
    for name, value, least in (("count", count, 1), ("size", size, 32), ("seed", seed, 0), ("most", most, 1)):
        if value < least:
            raise ArgumentError(f"`{name}` must be at least {least}. Received: {name}={value!r}")
    images, targets = np.zeros((count, size, size, 3), "uint8"), []
    for number in range(count):
        images[number], target = _draw(np.random.default_rng((seed, number)), size, most)
        targets.append(target)
    images.setflags(write=False)  # as they are shared
    return Scenes(images, tuple(targets), KINDS)


def _draw(random: np.random.Generator, size: int, most: int) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return an image and its target."""
    background = (255 - BRIGHTER[1]) * random.random(3)
    image = background + slopes(random, size)
    boxes: list[Sequence[int]] = []
    labels: list[int] = []
    taken = np.zeros((size, size), bool)
    for _ in range(int((most + 1) * random.random())):
        label, color = int(len(KINDS) * random.random()), brighter(random, background)
        for _ in range(ATTEMPTS):
            outside = placed(random, size, KINDS[label], RADII, 1.0, False)
            rows, columns = (np.flatnonzero((outside < 0.5).any(axis)) for axis in (1, 0))
            top, left, bottom, right = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
            if not taken[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1].any():
                taken[top:bottom, left:right] = True
                covered = np.clip(0.5 - outside, 0, 1)[..., None]
                image = image * (1 - covered) + color * covered
                boxes.append((top, left, bottom, right))
                labels.append(label)
                break
    target = {"boxes": np.array(boxes, "float32").reshape(-1, 4), "labels": np.array(labels, "int32")}
    return noisy(random, image, NOISE), target
