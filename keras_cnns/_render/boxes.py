"""Boxes drawn on their images."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from keras_cnns._render._figure import SERIES


def outlined(
    image: NDArray[np.uint8], boxes: NDArray[np.floating], labels: NDArray[np.integer], width: int | None = None
) -> NDArray[np.uint8]:
    """Return an image with the outlines of boxes, one color per class.

    Args:
        image: uint8 (height, width, 1 or 3).
        boxes: float (n, 4), top, left, bottom, right in pixels.
        labels: integers (n,), numbers of classes.
        width: of the lines, in pixels; None: some that suits the image.

    Returns:
        uint8 (height, width, 3).
    """
    pixels = np.broadcast_to(image, (*image.shape[:2], 3))
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    pen = ImageDraw.Draw(drawn)
    width = width or max(1, round(min(image.shape[:2]) / 150))
    for (top, left, bottom, right), label in zip(np.asarray(boxes).tolist(), np.asarray(labels).tolist(), strict=True):
        # Bottom and right are outside the box; a box thinner than a pixel is drawn as a line
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(corners, outline=color_of(int(label)), width=width)
    return np.asarray(drawn)


def color_of(label: int) -> tuple[int, ...]:
    """Return the color in which boxes of a class are drawn.

    Args:
        label: number of the class.
    """
    return ImageColor.getrgb(SERIES[label % len(SERIES)])
