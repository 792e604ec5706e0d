"""Grids of images with captions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_cnns._render._figure import RED, caption, caption_height, new_figure, save, show_image
from keras_cnns.typing import Path, Pixels

CELL = 1.35  # inches, side of an image and width of its caption
GAP = 0.12  # inches between two cells


def prediction_grid(
    images: Pixels,
    labels: Sequence[int] | np.ndarray,
    probabilities: ArrayLike,
    class_names: Sequence[str],
    path: Path,
    title: str,
    columns: int = 8,
) -> None:
    """Draw images with their predicted classes and probabilities, errors in red.

    The caption of an error also names the true class.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        labels: true classes, integers (images,).
        probabilities: float array (images, classes).
        class_names: one per column of `probabilities`.
        path: PNG file to write.
        title: title of the grid.
        columns: images per row.
    """
    captions, colors = [], []
    for label, row in zip(labels, np.asarray(probabilities), strict=False):
        best = int(np.argmax(row))
        parts = [(class_names[best], f"  {row[best]:.1%}")]
        if best != label:
            parts.append((f"true: {class_names[label]}", ""))
        captions.append(parts)
        colors.append("black" if best == label else RED)
    _grid(images, captions, colors, path, title, columns)


def image_grid(images: Pixels, texts: Sequence[str], path: Path, title: str, columns: int = 8) -> None:
    """Draw images, each with a text above it.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        texts: one per image; long ones are wrapped, then shortened.
        path: PNG file to write.
        title: title of the grid.
        columns: images per row.
    """
    _grid(images, [[(text, "")] for text in texts], ["black"] * len(texts), path, title, columns)


def _grid(
    images: Pixels,
    captions: Sequence[Sequence[tuple[str, str]]],
    colors: Sequence[str],
    path: Path,
    title: str,
    columns: int,
) -> None:
    """Draw images row by row below their captions.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        captions: the (text, tail) parts of each caption, as `caption` takes them.
        colors: of the captions.
        path: PNG file to write.
        title: title of the grid.
        columns: images per row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    texts = [caption(parts, CELL) for parts in captions]
    image_height, text_height = CELL * images.shape[1] / images.shape[2], caption_height(texts) + GAP
    width, height = columns * (CELL + GAP) - GAP, rows * (image_height + text_height)
    # All images are in one panel, whose unit is an inch, because a panel for each would take seconds.
    figure, panel = new_figure(width + 0.2, height + 0.4, title)
    for k, (image, text, color) in enumerate(zip(images, texts, colors, strict=True)):
        left, top = k % columns * (CELL + GAP), k // columns * (image_height + text_height) + text_height
        show_image(panel, image, extent=(left, left + CELL, top + image_height, top))
        panel.text(left + CELL / 2, top - 0.02, text, fontsize=8, color=color, ha="center", va="bottom")
    panel.set(xlim=(0, width), ylim=(height, 0))
    panel.set_axis_off()
    save(figure, path)
