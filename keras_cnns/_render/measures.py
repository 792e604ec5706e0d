"""Plots of an evaluation: confusions, calibration, and robustness to corruptions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_cnns._render._figure import (
    BLUE,
    GRAY,
    MARKERS,
    SERIES,
    TEXT_SIZE,
    legend_below,
    logarithmic,
    new_figure,
    save,
    short,
)
from keras_cnns._render._labels import fit
from keras_cnns.typing import Path

MOST_NAMED = 40  # with more classes there is no room for their names
MOST_COUNTED = 20  # with more classes there is no room for counts in the cells


def confusion_matrix(confusion: ArrayLike, class_names: Sequence[str], path: Path, title: str) -> None:
    """Draw for each true class the share predicted as each class.

    Args:
        confusion: number of images (classes, classes); rows are true classes, columns predicted ones.
        class_names: one per class.
        path: PNG file to write.
        title: title of the plot.
    """
    counts = np.asarray(confusion, "float64")
    classes = len(counts)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(12.0, max(4.0, 1.6 + 0.42 * classes))
    figure, panel = new_figure(side + 1.2, side, title)
    cells = panel.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(cells, ax=panel, label="% of the true class", shrink=0.8, aspect=30, pad=0.02)
    panel.set(xlabel="predicted class", ylabel="true class")
    if classes <= MOST_NAMED:
        few = classes <= MOST_COUNTED
        size = 8 if few else 6
        names = [fit(name, 1.3, size, lines=2 if few else 1) for name in class_names]
        upright = all(len(name) <= 2 for name in names)
        panel.set_xticks(range(classes), names, fontsize=size, rotation=0 if upright else 90)
        panel.set_yticks(range(classes), names, fontsize=size)
    if classes <= MOST_COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 50 else "black"
            count = counts[row, column]
            text = f"{count:.0f}" if count < 1e5 else short(count)
            panel.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    save(figure, path)


def reliability(bins: Sequence[Any], error: float, path: Path, title: str) -> None:
    """Draw accuracy against confidence, and the number of images per confidence.

    Args:
        bins: records with the attributes `examples` (number of images), `confidence` and `accuracy` (both 0 to 1).
        error: expected calibration error, 0 to 1.
        path: PNG file to write.
        title: title of the plot.
    """
    figure, (panel, below) = new_figure(5.5, 6.3, title, nrows=2, sharex=True, height_ratios=(3, 1))
    confidence = [part.confidence for part in bins]
    lines = panel.plot([0, 1], [0, 1], color=GRAY, linestyle="--")
    lines += panel.plot(confidence, [part.accuracy for part in bins], color=BLUE, marker="o", clip_on=False)
    panel.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    panel.grid(alpha=0.3)
    legend_below(figure, lines, ["calibrated", f"this model, expected calibration error {error:.2%}"])
    below.bar(confidence, [part.examples for part in bins], width=0.04, color=BLUE)
    below.set(xlabel="probability of the predicted class", ylabel="images")
    logarithmic(below.yaxis)
    below.set_ylim(bottom=0.7)
    below.grid(alpha=0.3)
    below.set_axisbelow(True)
    save(figure, path)


def precision_recall(curves: Mapping[str, Sequence[float]], path: Path, title: str) -> None:
    """Draw the precision of each class against its recall.

    With more than seven classes, each is a thin line, and their mean a thick one.

    Args:
        curves: from class name to precision, 0 to 1, at evenly spaced values of recall from 0 to 1.
        path: PNG file to write.
        title: title of the plot.
    """
    figure, panel = new_figure(6.0, 4.6, title)
    places = {name: np.linspace(0, 1, len(curve)) for name, curve in curves.items()}
    if len(curves) > len(SERIES):
        for name, curve in curves.items():
            panel.plot(places[name], curve, color=GRAY, lw=0.5, alpha=0.5)
        curves = {f"mean of {len(curves)} classes": np.mean(list(curves.values()), axis=0)}
        places = dict.fromkeys(curves, next(iter(places.values())))
    lines = [panel.plot(places[name], curves[name], color=SERIES[k])[0] for k, name in enumerate(curves)]
    panel.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    panel.grid(alpha=0.3)
    legend_below(figure, lines, [fit(name, 2.4, TEXT_SIZE, lines=2) for name in curves])
    save(figure, path)


def robustness_curves(clean: float, corrupted: Mapping[str, Sequence[float]], path: Path, title: str) -> None:
    """Draw the accuracy on corrupted images against the severity.

    Args:
        clean: top-1 accuracy on the uncorrupted images, 0 to 1.
        corrupted: from the name of a corruption to its top-1 accuracy at severities 1 to 5.
        path: PNG file to write.
        title: title of the plot.
    """
    figure, panel = new_figure(7.5, 4.5, title)
    for k, (name, values) in enumerate(corrupted.items()):
        style: dict[str, Any] = {"color": SERIES[k % len(SERIES)], "marker": MARKERS[k % len(MARKERS)]}
        panel.plot(range(6), 100 * np.array([clean, *values]), label=name, **style)
    panel.set(xlabel="severity (0: uncorrupted)", ylabel="top-1, %", ylim=(0, 102))
    panel.grid(alpha=0.3)
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save(figure, path)
