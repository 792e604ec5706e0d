"""Drawn images of geometric shapes with known positions.

They serve to try out methods that look inside networks. Imports numpy alone.
"""

import dataclasses
import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.typing import Labels, Pixels

# Of each regular polygon the number of sides, and the direction that the first side faces, in degrees counterclockwise
# from the right; None for the disc
SHAPES: dict[str, tuple[int, int] | None] = {
    "disc": None,
    "triangle": (3, 270),
    "inverted_triangle": (3, 90),
    "square": (4, 0),
    "diamond": (4, 45),
}
BRIGHTER = 88, 168  # smallest and largest contrast of object and background in each channel, in pixel units
SLOPES = 20  # pixel units by which the brightness of the background varies up and down


@dataclasses.dataclass(frozen=True, eq=False)
class Shapes:
    """Images with one object each.

    Attributes:
        images: uint8 array (images, size, size, 3).
        labels: int64 array (images,), indices in `class_names`.
        class_names: the kinds of shapes.
        masks: bool array (images, size, size), true inside the object.
        boxes: int64 array (images, 4), the smallest box around the object: top, left, bottom, right, in pixels; bottom
            and right are the first row and column outside.
    """

    images: Pixels
    labels: Labels
    class_names: tuple[str, ...]
    masks: NDArray[np.bool_]
    boxes: NDArray[np.int64]


def make_shapes(
    count: int,
    size: int = 32,
    kinds: str | Sequence[str] = ("disc", "triangle", "square"),
    seed: int = 0,
    *,
    radius: float | tuple[float, float] = (0.18, 0.28),
    spread: float = 1.0,
    rotate: bool = False,
    noise: float = 10.0,
) -> Shapes:
    """Draw images of shapes of one color on a darker background.

    The background is uneven, and all pixels are noisy. The kinds take turns, and all have the same area at the same
    radius, so that neither number nor area distinguishes them. The same arguments give the same images; with a larger
    `count`, the first images stay the same. `ArraySplit(shapes.images, shapes.labels)` makes them a split of a
    `Source`.

    Args:
        count: number of images.
        size: height and width, in pixels; at least 8.
        kinds: classes, some of "disc", "triangle", "inverted_triangle", "square" and "diamond".
        seed: seed of everything that is random; a whole number, at least 0.
        radius: smallest and largest radius of a disc, as shares of `size`; other shapes have the area of that disc.
        spread: how far objects are from the middle: with 1 anywhere in the image, with 0 all in the middle. Objects
            always lie inside the image as a whole.
        rotate: whether each object is rotated by a random angle instead of standing upright.
        noise: largest change of a value by noise, in pixel units (0 to 255).

    Returns:
        `Shapes`.

    Raises:
        ArgumentError: if there is no such kind, or an object would not fit into the image.

    Examples:
        >>> from keras_cnns import data
        >>> shapes = data.make_shapes(6, kinds=("disc", "square"))
        >>> shapes.images.shape, shapes.labels.tolist()
        ((6, 32, 32, 3), [0, 1, 0, 1, 0, 1])
    """
    for name, value, least in (("count", count, 1), ("size", size, 8), ("seed", seed, 0)):
        _check_whole_number(name, value, least)
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    _check_kinds(kinds)
    low, high = np.broadcast_to(np.asarray(radius, "float64"), 2).tolist()
    _check_radius(low, high, size, kinds)
    if not 0 <= spread <= 1:
        raise ArgumentError(f"`spread` must be between 0 and 1. Received: spread={spread!r}")
    if not 0 <= noise <= 255:
        raise ArgumentError(f"`noise` must be between 0 and 255. Received: noise={noise!r}")
    images, masks = np.zeros((count, size, size, 3), "uint8"), np.zeros((count, size, size), bool)
    for k in range(count):
        random = np.random.default_rng((seed, k))
        images[k], masks[k] = _draw(random, size, kinds[k % len(kinds)], (low, high), spread, rotate, noise)
    boxes = np.array([_box(mask) for mask in masks])
    return Shapes(images, np.arange(count) % len(kinds), kinds, masks, boxes)


def _check_whole_number(name: str, value: int, least: int) -> None:
    try:
        fits = operator.index(value) >= least
    except TypeError:
        fits = False
    if not fits:
        raise ArgumentError(f"`{name}` must be a whole number, at least {least}. Received: {name}={value!r}")


def _check_kinds(kinds: tuple[str, ...]) -> None:
    unknown = [kind for kind in kinds if kind not in SHAPES]
    if unknown or not kinds or len(set(kinds)) < len(kinds):
        hint = nearest(unknown[0], SHAPES) if unknown else ""
        raise ArgumentError(f"`kinds` must be different ones of {', '.join(SHAPES)}.{hint} Received: kinds={kinds!r}")


def _check_radius(low: float, high: float, size: int, kinds: tuple[str, ...]) -> None:
    most = 0.5 / max(_reach(kind) for kind in kinds)
    if not 1 / size <= low <= high <= most:
        raise ArgumentError(
            f"`radius` must be two shares of the size, the smaller one first, from {1 / size:.3g} (a pixel) up to "
            f"{most:.3g}, with which each of the kinds fits into the image. Received: radius={(low, high)!r}"
        )


def _draw(
    random: np.random.Generator,
    size: int,
    kind: str,
    radii: tuple[float, float],
    spread: float,
    rotate: bool,
    noise: float,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the image and the mask of one object.

    Returns:
        (uint8 array (size, size, 3), bool array (size, size)).
    """
    outside = placed(random, size, kind, radii, spread, rotate)
    covered = np.clip(0.5 - outside, 0, 1)[..., None]
    background = (255 - BRIGHTER[1]) * random.random(3)
    color = brighter(random, background)
    image = (background + slopes(random, size)) * (1 - covered) + color * covered
    return noisy(random, image, noise), outside <= 0


def placed(
    random: np.random.Generator, size: int, kind: str, radii: tuple[float, float], spread: float, rotate: bool
) -> NDArray[np.float64]:
    """Return how far pixels are outside an object at a random place.

    Args:
        random: generator, of which only the method `random` is used, as its numbers are the same in all versions of
            NumPy.
        size: side of the image, in pixels.
        kind: kind of the object, a key of `SHAPES`.
        radii: smallest and largest radius, as shares of `size`.
        spread: as in `make_shapes`.
        rotate: as in `make_shapes`.

    Returns:
        float64 (size, size), in pixels, negative inside.
    """
    angle = 360 * random.random() if rotate else 0
    radius = size * (radii[0] + (radii[1] - radii[0]) * random.random())
    center = [
        size / 2 + spread * (before + (size - before - after) * random.random() - size / 2)
        for before, after in _extents(kind, radius, angle)
    ]
    y, x = (np.arange(size) + 0.5 - middle for middle in center)
    return _distance(kind, y[:, None], x[None, :], radius, angle)


def brighter(random: np.random.Generator, background: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a color that is brighter than the background in each channel.

    Args:
        random: generator.
        background: float64 (3,), 0 to 255.
    """
    least, most = BRIGHTER
    return background + least + (most - least) * random.random(3)


def slopes(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return by how much a background is uneven, float64 (size, size, 1).

    Args:
        random: generator.
        size: side of the image, in pixels.
    """
    return _enlarged(SLOPES * (2 * random.random((4, 4)) - 1), size)[..., None]


def noisy(random: np.random.Generator, image: NDArray[np.float64], noise: float) -> NDArray[np.uint8]:
    """Return an image whose pixels are noisy, uint8.

    Args:
        random: generator.
        image: float64 (height, width, 3), 0 to 255.
        noise: largest change of a value, in the same unit.
    """
    changed = image + noise * (2 * random.random(image.shape) - 1)
    return np.clip(np.round(changed), 0, 255).astype("uint8")


def _apothem(sides: int) -> float:
    """Return the distance from middle to side of a regular polygon.

    The polygon has the area of the unit disc.
    """
    return np.sqrt(np.pi / (sides * np.tan(np.pi / sides)))


def _reach(kind: str) -> float:
    """Return the largest extent of a shape of radius 1.

    For a polygon it is the distance from middle to corners.
    """
    polygon = SHAPES[kind]
    if polygon is None:
        return 1.0
    sides, _ = polygon
    return _apothem(sides) / np.cos(np.pi / sides)


def _directions(
    polygon: tuple[int, int], angle: float, half_steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sines and cosines of the directions of sides or corners.

    Args:
        polygon: value of `SHAPES`.
        angle: rotation, in degrees.
        half_steps: 0 for the sides; 1 for the corners, each half a step after its side.
    """
    sides, first = polygon
    radians = np.radians(first + angle + 360 / sides * (np.arange(sides) + half_steps / 2))
    return np.sin(radians), np.cos(radians)


def _extents(kind: str, radius: float, angle: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return how far a shape reaches from its middle, in pixels.

    Returns:
        ((up, down), (left, right)).
    """
    polygon = SHAPES[kind]
    if polygon is None:
        return (radius, radius), (radius, radius)
    up, right = (radius * _reach(kind) * part for part in _directions(polygon, angle, 1))
    return (up.max(), -up.min()), (-right.min(), right.max())


def _distance(
    kind: str, y: NDArray[np.floating], x: NDArray[np.floating], radius: float, angle: float
) -> NDArray[np.float64]:
    """Return how far points are outside a shape, in pixels; negative inside.

    The distance is exact near the sides, which is where the mask and the smooth edge need it.
    """
    polygon = SHAPES[kind]
    if polygon is None:
        return np.hypot(y, x) - radius
    ups, rights = _directions(polygon, angle, 0)
    farthest = np.max([right * x - up * y for up, right in zip(ups, rights, strict=True)], axis=0)
    return farthest - radius * _apothem(polygon[0])


def _enlarged(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return a small square array interpolated linearly to (size, size)."""
    at = np.linspace(0, len(values) - 1, size)
    known = np.arange(len(values))
    rows = np.stack([np.interp(at, known, column) for column in values.T], axis=1)
    return np.stack([np.interp(at, known, row) for row in rows])


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of the smallest box around a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
