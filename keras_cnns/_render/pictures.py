"""Grids of pictures, each with a line of text."""

import numpy as np

from keras_cnns._render._figure import RED, new_figure, save


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
    rows = -(-len(images) // columns)
    figure, axes = new_figure(1.1 * columns, 1.35 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, label, row in zip(axes.flat, images, labels, probabilities, strict=False):
        best = int(np.argmax(row))
        right = best == label
        text = f"{class_names[best]}  {row[best]:.1%}" + ("" if right else f"\ntrue: {class_names[label]}")
        axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(text, fontsize=8, color="black" if right else RED, pad=2)
    save(figure, path)


def picture_grid(images, texts, path, title, columns=8):
    """Draw pictures, each with a text above it.

    Args:
        images: uint8 array (pictures, height, width, 1 or 3).
        texts: one a picture; long ones are cut off.
        path: PNG file to write.
        title: above the whole.
        columns: pictures a row.
    """
    rows = -(-len(images) // columns)
    figure, axes = new_figure(1.35 * columns, 1.55 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, text in zip(axes.flat, images, texts, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(text if len(text) <= 20 else f"{text[:19]}\N{HORIZONTAL ELLIPSIS}", fontsize=8, pad=2)
    save(figure, path)
