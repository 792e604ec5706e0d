"""Images of shapes, drawn as asked for, each with the place of its object: for trying out what looks inside networks.

NumPy only.
"""

import dataclasses
import operator

import numpy as np

from keras_cnns.errors import ArgumentError, nearest

# Regular polygons: number of sides, and where the first one faces, in degrees, counterclockwise from the right
SHAPES = {
    "disc": None,
    "triangle": (3, 270),
    "inverted_triangle": (3, 90),
    "square": (4, 0),
    "diamond": (4, 45),
}
BRIGHTER = 88, 168  # an object than its background, in each channel, at least and at most; pixel units
SLOPES = 20  # pixel units by which the background rises and falls


@dataclasses.dataclass(frozen=True, eq=False)
class Shapes:
    """Images with one object each.

    Attributes:
        images: uint8 (images, size, size, 3).
        labels: int64 (images,), places in `class_names`.
        class_names: the kinds of shapes.
        masks: bool (images, size, size), where the object is.
        boxes: int64 (images, 4), the smallest box around the object: top, left, bottom, right, in pixels; its rows
            are those from top up to, but not with, bottom.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    masks: np.ndarray
    boxes: np.ndarray


def make_shapes(
    count,
    size=32,
    kinds=("disc", "triangle", "square"),
    seed=0,
    *,
    radius=(0.18, 0.28),
    spread=1.0,
    rotate=False,
    noise=10.0,
):
    """Return images of shapes of one color, on a darker background that is uneven and noisy.

    The kinds take turns, and all have the same area at the same radius, so that neither number nor area tells them
    apart. The same arguments give the same images, and the first ones of many are those of few.
    `ArraySplit(shapes.images, shapes.labels)` makes them a split of a `Source`.

    Args:
        count: images.
        size: height and width, in pixels; at least 8.
        kinds: classes, some of "disc", "triangle", "inverted_triangle", "square" and "diamond".
        seed: of everything that is drawn; a whole number from 0 on.
        radius: smallest and largest radius of a disc, or of the disc that has a shape's area, as shares of `size`.
        spread: 1: objects are anywhere in the image, as a whole; 0: all in the middle; or between.
        rotate: whether each is rotated by an angle of its own, instead of standing upright.
        noise: largest difference, in pixel units (0 to 255), of a value from what it would be without noise.

    Returns:
        `Shapes`.

    Raises:
        ArgumentError: if there is no such kind, or an object would not fit into the image.
    """
    kinds, radius = _checked(count, size, kinds, seed, radius, spread, noise)
    options = radius, spread, rotate, noise
    drawn = [_draw(np.random.default_rng((seed, k)), size, kinds[k % len(kinds)], *options) for k in range(count)]
    images, masks = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
    return Shapes(images, np.arange(count) % len(kinds), kinds, masks, np.array([_box(mask) for mask in masks]))


def _checked(count, size, kinds, seed, radius, spread, noise):
    """Return kinds and radius as tuples; raise ArgumentError if an argument cannot be used."""
    for name, value, least in (("count", count, 1), ("size", size, 8), ("seed", seed, 0)):
        try:
            fits = operator.index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ArgumentError(f"`{name}` must be a whole number, at least {least}. Received: {name}={value!r}")
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    unknown = [kind for kind in kinds if kind not in SHAPES]
    if unknown or not kinds or len(set(kinds)) < len(kinds):
        hint = nearest(unknown[0], SHAPES) if unknown else ""
        raise ArgumentError(f"`kinds` must be different ones of {', '.join(SHAPES)}.{hint} Received: kinds={kinds!r}")
    most = 0.5 / max(_reach(kind) for kind in kinds)
    low, high = radius = (radius, radius) if np.isscalar(radius) else tuple(radius)
    if not 1 / size <= low <= high <= most:
        raise ArgumentError(
            f"`radius` must be two shares of the size, the smaller one first, from {1 / size:.3g} (a pixel) up to "
            f"{most:.3g}, with which each of the kinds fits into the image. Received: radius={radius!r}"
        )
    if not 0 <= spread <= 1:
        raise ArgumentError(f"`spread` must be between 0 and 1. Received: spread={spread!r}")
    if not 0 <= noise <= 255:
        raise ArgumentError(f"`noise` must be between 0 and 255. Received: noise={noise!r}")
    return kinds, radius


def _draw(random, size, kind, radius, spread, rotate, noise):
    """Return the image, uint8 (size, size, 3), and the mask, bool (size, size), of one object."""
    # Of a generator only `random` is used: what it gives is the same in all versions of NumPy
    angle = 360 * random.random() if rotate else 0
    radius = size * (radius[0] + (radius[1] - radius[0]) * random.random())
    height, width = _extents(kind, radius, angle)
    center = [
        size / 2 + spread * (before + (size - before - behind) * random.random() - size / 2)
        for before, behind in (height, width)
    ]
    y, x = (np.arange(size) + 0.5 - middle for middle in center)
    outside = _distance(kind, y[:, None], x[None, :], radius, angle)  # in pixels, negative inside
    covered = np.clip(0.5 - outside, 0, 1)[..., None]

    least, most = BRIGHTER
    background = (255 - most) * random.random(3)
    color = background + least + (most - least) * random.random(3)
    slopes = _enlarged(SLOPES * (2 * random.random((4, 4)) - 1), size)[..., None]
    image = (background + slopes) * (1 - covered) + color * covered
    image += noise * (2 * random.random(image.shape) - 1)
    return np.clip(np.round(image), 0, 255).astype("uint8"), outside <= 0


def _apothem(sides):
    """Return how far the sides of a regular polygon with the area of the unit disc are from its middle."""
    return np.sqrt(np.pi / (sides * np.tan(np.pi / sides)))


def _reach(kind):
    """Return how far the corners of a shape of radius 1 are from its middle."""
    return 1.0 if SHAPES[kind] is None else _apothem(SHAPES[kind][0]) / np.cos(np.pi / SHAPES[kind][0])


def _directions(kind, angle, half_steps):
    """Return (sines, cosines) of where the sides face, and with `half_steps=1` of where the corners behind them are."""
    sides, first = SHAPES[kind]
    radians = np.radians(first + angle + 360 / sides * (np.arange(sides) + half_steps / 2))
    return np.sin(radians), np.cos(radians)


def _extents(kind, radius, angle):
    """Return, for rows and columns, how far a shape reaches from its middle (up, down), (left, right), in pixels."""
    if SHAPES[kind] is None:
        return ((radius, radius),) * 2
    up, right = (radius * _reach(kind) * part for part in _directions(kind, angle, 1))
    return (up.max(), -up.min()), (-right.min(), right.max())


def _distance(kind, y, x, radius, angle):
    """Return how far points are outside a shape: exactly so at its sides, which is where it matters."""
    if SHAPES[kind] is None:
        return np.hypot(y, x) - radius
    ups, rights = _directions(kind, angle, 0)
    return np.max([right * x - up * y for up, right in zip(ups, rights, strict=True)], axis=0) - (
        radius * _apothem(SHAPES[kind][0])
    )


def _enlarged(values, size):
    """Return a small square array as one of (size, size), linear between its corners."""
    at = np.linspace(0, len(values) - 1, size)
    known = np.arange(len(values))
    rows = np.stack([np.interp(at, known, column) for column in values.T], axis=1)
    return np.stack([np.interp(at, known, row) for row in rows])


def _box(mask):
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
