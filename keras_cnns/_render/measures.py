"""Drawings of a measurement: what is taken for what, how far probabilities can be trusted, what spoils them."""

import numpy as np

from keras_cnns._render._figure import BLUE, GRAY, MARKERS, SERIES, new_figure, save, shortened

NAMED = 40  # classes beyond so many have no room for their names


def confusion_matrix(confusion, class_names, path, title):
    """Draw the share of each true class that was taken for each class.

    Args:
        confusion: pictures (classes, classes); rows are true classes.
        class_names: in order.
        path: PNG file to write.
        title: above the picture.
    """
    counts = np.asarray(confusion, "float64")
    classes = len(counts)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, max(4.0, 1.6 + 0.42 * classes))
    figure, axis = new_figure(side + 1.2, side)
    figure.suptitle(title, fontsize=9, wrap=True)
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axis, label="% of the true class", fraction=0.046)
    axis.set(xlabel="predicted class", ylabel="true class")
    if classes <= NAMED:
        size = 8 if classes <= 20 else 6
        names = [shortened(name, 16) for name in class_names]
        upright = all(len(name) <= 2 for name in names)
        axis.set_xticks(range(classes), names, fontsize=size, rotation=0 if upright else 90)
        axis.set_yticks(range(classes), names, fontsize=size)
    if classes <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 50 else "black"
            axis.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center", fontsize=7, color=color)
    save(figure, path)


def reliability(bins, error, path, title):
    """Draw accuracy against confidence, and how many pictures have which confidence.

    Args:
        bins: records with `examples`, `confidence` and `accuracy`.
        error: the expected calibration error.
        path: PNG file to write.
        title: above the picture.
    """
    figure, (axis, below) = new_figure(5.5, 6, nrows=2, sharex=True, height_ratios=(3, 1))
    figure.suptitle(title, fontsize=9, wrap=True)
    confidence = [one.confidence for one in bins]
    axis.plot([0, 1], [0, 1], color=GRAY, linestyle="--", label="calibrated")
    axis.plot(confidence, [one.accuracy for one in bins], color=BLUE, marker="o", label="this model")
    axis.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02))
    axis.text(0.02, 0.95, f"expected calibration error {error:.2%}", fontsize=9)
    axis.legend(loc="lower right", frameon=False)
    axis.grid(alpha=0.3)
    below.bar(confidence, [one.examples for one in bins], width=0.04, color=BLUE)
    below.set(xlabel="probability of the predicted class", ylabel="pictures", yscale="log")
    below.grid(alpha=0.3)
    below.set_axisbelow(True)
    save(figure, path)


def robustness_curves(clean, corrupted, path, title):
    """Draw the accuracy on corrupted pictures against the severity.

    Args:
        clean: top-1 on the pictures as they are.
        corrupted: from the name of a corruption to its top-1 at severity 1 to 5.
        path: PNG file to write.
        title: above the picture.
    """
    figure, axis = new_figure(7.5, 4.5)
    figure.suptitle(title, fontsize=9, wrap=True)
    for k, (name, values) in enumerate(corrupted.items()):
        style = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)]}
        axis.plot(range(6), 100 * np.array([clean, *values]), label=name, **style)
    axis.set(xlabel="severity (0: as they are)", ylabel="top-1, %", ylim=(0, 102))
    axis.grid(alpha=0.3)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)
