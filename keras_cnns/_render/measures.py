"""Drawings of a measurement: what is taken for what, how far probabilities can be trusted, what spoils them."""

import numpy as np

from keras_cnns._render._figure import (
    BLUE,
    GRAY,
    MARKERS,
    SERIES,
    legend_below,
    logarithmic,
    new_figure,
    save,
    short,
)
from keras_cnns._render._labels import fit

NAMED = 40  # classes beyond so many have no room for their names


def confusion_matrix(confusion, class_names, path, title):
    """Draw the share of each true class that was taken for each class.

    Args:
        confusion: numbers of images (classes, classes); rows are true classes.
        class_names: in order.
        path: PNG file to write.
        title: above the whole.
    """
    counts = np.asarray(confusion, "float64")
    classes = len(counts)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, max(4.0, 1.6 + 0.42 * classes))
    figure, axis = new_figure(side + 1.2, side, title)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axis, label="% of the true class", shrink=0.8, aspect=30, pad=0.02)
    axis.set(xlabel="predicted class", ylabel="true class")
    if classes <= NAMED:
        size = 8 if classes <= 20 else 6
        names = [fit(name, 1.3, size, lines=2 if classes <= 20 else 1) for name in class_names]
        upright = all(len(name) <= 2 for name in names)
        axis.set_xticks(range(classes), names, fontsize=size, rotation=0 if upright else 90)
        axis.set_yticks(range(classes), names, fontsize=size)
    if classes <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 50 else "black"
            count = counts[row, column]
            text = f"{count:.0f}" if count < 1e5 else short(count)
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    save(figure, path)


def reliability(bins, error, path, title):
    """Draw accuracy against confidence, and how many images have which confidence.

    Args:
        bins: records with `examples`, `confidence` and `accuracy`.
        error: the expected calibration error.
        path: PNG file to write.
        title: above the whole.
    """
    figure, (axis, below) = new_figure(5.5, 6.3, title, nrows=2, sharex=True, height_ratios=(3, 1))
    confidence = [part.confidence for part in bins]
    lines = axis.plot([0, 1], [0, 1], color=GRAY, linestyle="--")
    lines += axis.plot(confidence, [part.accuracy for part in bins], color=BLUE, marker="o", clip_on=False)
    axis.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    legend_below(figure, lines, ["calibrated", f"this model, expected calibration error {error:.2%}"])
    below.bar(confidence, [part.examples for part in bins], width=0.04, color=BLUE)
    below.set(xlabel="probability of the predicted class", ylabel="images")
    logarithmic(below.yaxis)
    below.set_ylim(bottom=0.7)
    below.grid(alpha=0.3)
    below.set_axisbelow(True)
    save(figure, path)


def robustness_curves(clean, corrupted, path, title):
    """Draw the accuracy on corrupted images against the severity.

    Args:
        clean: top-1 on the images as they are.
        corrupted: from the name of a corruption to its top-1 at severity 1 to 5.
        path: PNG file to write.
        title: above the whole.
    """
    figure, axis = new_figure(7.5, 4.5, title)
    for k, (name, values) in enumerate(corrupted.items()):
        style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)]}
        axis.plot(range(6), 100 * np.array([clean, *values]), label=name, **style)
    axis.set(xlabel="severity (0: as they are)", ylabel="top-1, %", ylim=(0, 102))
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)
