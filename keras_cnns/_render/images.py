"""Grids of images, each with a caption."""

import numpy as np

from keras_cnns._render._figure import RED, caption, caption_height, new_figure, save, show_image

CELL = 1.35  # inches, the side of an image and the width of its caption
GAP = 0.12  # inches between two cells


def prediction_grid(images, labels, probabilities, class_names, path, title, columns=8):
    """Draw images, each with its predicted class and the probability; errors in red, with the true class.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        labels: true classes (images,), whole numbers.
        probabilities: array (images, classes).
        class_names: one a column of `probabilities`.
        path: PNG file to write.
        title: above the whole.
        columns: images a row.
    """
    captions, colors = [], []
    for label, row in zip(labels, probabilities, strict=False):
        best = int(np.argmax(row))
        parts = [(class_names[best], f"  {row[best]:.1%}")]
        if best != label:
            parts.append((f"true: {class_names[label]}", ""))
        captions.append(parts)
        colors.append("black" if best == label else RED)
    _grid(images, captions, colors, path, title, columns)


def image_grid(images, texts, path, title, columns=8):
    """Draw images, each with a text above it.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        texts: one an image; long ones are wrapped, then shortened.
        path: PNG file to write.
        title: above the whole.
        columns: images a row.
    """
    _grid(images, [[(text, "")] for text in texts], ["black"] * len(texts), path, title, columns)


def _grid(images, captions, colors, path, title, columns):
    """Draw images row by row, each below its caption of parts as `fit` takes them.

    All are in one axis, whose unit is an inch: an axis for each would take seconds.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    captions = [caption(parts, CELL) for parts in captions]
    tall, above = CELL * images.shape[1] / images.shape[2], caption_height(captions) + GAP
    width, height = columns * (CELL + GAP) - GAP, rows * (tall + above)
    figure, axis = new_figure(width + 0.2, height + 0.4, title)
    for k, (image, text, color) in enumerate(zip(images, captions, colors, strict=True)):
        left, top = k % columns * (CELL + GAP), k // columns * (tall + above) + above
        show_image(axis, image, extent=(left, left + CELL, top + tall, top))
        axis.text(left + CELL / 2, top - 0.02, text, fontsize=8, color=color, ha="center", va="bottom")
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.set_axis_off()
    save(figure, path)
