"""Boxes drawn on their images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from keras_cnns._render._figure import SERIES, TEXT_SIZE, legend_below, new_figure, save, show_image
from keras_cnns._render._labels import fit
from keras_cnns.typing import Path

PANEL = 3.0  # inches
MOST_NAMES = 24  # in a legend


def outlined(
    image: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    texts: Sequence[str] = (),
) -> NDArray[np.uint8]:
    """Return an image with the outlines of boxes, one color per class.

    Args:
        image: uint8 (height, width, 1 or 3).
        boxes: float (n, 4), top, left, bottom, right in pixels.
        labels: integers (n,), numbers of classes.
        texts: one per box, written at its upper left corner; () for none.

    Returns:
        uint8 (height, width, 3).
    """
    pixels = np.broadcast_to(image, (*image.shape[:2], 3))
    drawn = Image.fromarray(np.ascontiguousarray(pixels))
    pen = ImageDraw.Draw(drawn)
    width = max(1, round(min(image.shape[:2]) / 150))
    for (top, left, bottom, right), label in zip(np.asarray(boxes).tolist(), np.asarray(labels).tolist(), strict=True):
        # Bottom and right are outside the box; a box thinner than a pixel is drawn as a line
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(corners, outline=color_of(int(label)), width=width)
    font = ImageFont.load_default(max(10, round(min(image.shape[:2]) / 30)))
    for (top, left, *_), label, text in zip(np.asarray(boxes).tolist(), labels, texts, strict=False):
        # Above the box, or inside it at the upper border of the image
        _, _, wide, high = pen.textbbox((0, 0), text, font)
        start = max(0, min(left, image.shape[1] - wide)), top - high - width if top > high + width else top + width
        pen.rectangle((*start, start[0] + wide + 1, start[1] + high + 1), fill=color_of(int(label)))
        pen.text(start, text, "white", font)
    return np.asarray(drawn)


def box_grid(
    images: Sequence[NDArray[np.uint8]],
    objects: Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]],
    found: Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]],
    class_names: Sequence[str],
    path: Path,
    title: str,
) -> None:
    """Draw images in rows: with their objects, and with the objects found.

    Args:
        images: uint8 (height, width, 1 or 3) of each, of any sizes.
        objects: (boxes, labels) of each.
        found: the same, as a model finds them.
        class_names: names of the classes.
        path: PNG file to write.
        title: title of the grid.
    """
    from matplotlib.patches import Patch

    heights = [PANEL * image.shape[0] / image.shape[1] for image in images]
    figure, panels = new_figure(
        2 * PANEL, sum(heights) + 0.6, title, nrows=len(images), ncols=2, squeeze=False, height_ratios=heights
    )
    for row, image, *both in zip(panels, images, objects, found, strict=True):
        for panel, (boxes, labels) in zip(row, both, strict=True):
            show_image(panel, outlined(image, boxes, labels))
            panel.set_axis_off()
    for panel, text in zip(panels[0], ("objects", "found"), strict=True):
        panel.set_title(text, fontsize=TEXT_SIZE)
    shown = (
        np.unique(np.concatenate([labels for _, labels in (*objects, *found)])).astype("int64").tolist()[:MOST_NAMES]
    )
    patches = [Patch(color=np.array(color_of(number)) / 255) for number in shown]
    legend_below(
        figure, patches, [fit(class_names[number], PANEL / 2, TEXT_SIZE, lines=1) for number in shown], columns=4
    )
    save(figure, path)


def color_of(label: int) -> tuple[int, ...]:
    """Return the color in which boxes of a class are drawn.

    Args:
        label: number of the class.
    """
    return ImageColor.getrgb(SERIES[label % len(SERIES)])
