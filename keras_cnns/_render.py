"""The one place that draws, for all rooms. Pictures are PNG files, written whole or not at all."""

import warnings

import numpy as np

from keras_cnns import _files

# Okabe and Ito's colors, told apart by color-blind eyes too
BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"


def _figure(width, height, **subplots):
    from matplotlib.figure import Figure  # without pyplot: no window system, no state between calls

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots(**subplots)


def _save(figure, path):
    with _files.writing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class name in a script that matplotlib's font lacks
        figure.savefig(temporary, format="png")


def training_curve(history, path, title):
    """Draw loss and accuracy over the epochs, training and validation.

    Args:
        history: dictionary from "loss", "val_loss", "accuracy", "val_accuracy" to one value an epoch.
        path: PNG file to write.
        title: above the picture.
    """
    figure, axes = _figure(9, 3.6, ncols=2)
    figure.suptitle(title)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axis, key, label in zip(axes, ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True):
        axis.plot(epochs, history[key], color=BLUE, marker=".", label="training")
        if f"val_{key}" in history:
            axis.plot(epochs, history[f"val_{key}"], color=ORANGE, marker=".", label="validation")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, loc="upper right" if key == "loss" else "lower right")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(top=1.02)
    _save(figure, path)


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
    figure, axes = _figure(1.1 * columns, 1.35 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, label, row in zip(axes.flat, images, labels, probabilities, strict=False):
        best = int(np.argmax(row))
        right = best == label
        text = f"{class_names[best]}  {row[best]:.1%}" + ("" if right else f"\ntrue: {class_names[label]}")
        axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(text, fontsize=8, color="black" if right else RED, pad=2)
    _save(figure, path)
