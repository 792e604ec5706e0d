"""Grids of pictures, each with a line of text."""

import numpy as np

from keras_cnns._render._figure import RED, new_figure, save, shortened


def prediction_grid(images, labels, probabilities, class_names, path, title, columns=8):
    """Draw pictures, each with its predicted class and the probability; errors in red, with the true class.

    Args:
        images: uint8 array (pictures, height, width, 1 or 3).
        labels: true classes (pictures,), whole numbers.
        probabilities: array (pictures, classes).
        class_names: one a column of `probabilities`.
        path: PNG file to write.
        title: above the picture.
        columns: pictures a row.
    """
    captions = []
    for label, row in zip(labels, probabilities, strict=False):
        best = int(np.argmax(row))
        right = best == label
        text = f"{class_names[best]}  {row[best]:.1%}" + ("" if right else f"\ntrue: {class_names[label]}")
        captions.append((text, "black" if right else RED))
    _grid(images, captions, path, title, columns, (1.1, 1.35))


def picture_grid(images, texts, path, title, columns=8):
    """Draw pictures, each with a text above it.

    Args:
        images: uint8 array (pictures, height, width, 1 or 3).
        texts: one a picture; long ones are cut off.
        path: PNG file to write.
        title: above the whole.
        columns: pictures a row.
    """
    captions = [(shortened(text), "black") for text in texts]
    _grid(images, captions, path, title, columns, (1.35, 1.55))


def _grid(images, captions, path, title, columns, size):
    """Draw pictures row by row, each below its (text, color), with so many inches (across, down) for one."""
    rows, (across, down) = -(-len(images) // columns), size
    figure, axes = new_figure(across * columns, down * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, (text, color) in zip(axes.flat, images, captions, strict=False):
        axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(text, fontsize=8, color=color, pad=2)
    save(figure, path)
