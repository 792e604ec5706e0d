"""Plots of how features change with transformations and hidden parts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_cnns._render._figure import BLUE, GRAY, MARKERS, ORANGE, SERIES, legend_below, new_figure, save
from keras_cnns._render._labels import fit
from keras_cnns.typing import Path

MOST_LINES = len(SERIES)  # lines with distinguishable colors in one panel; of more lines, the mean is drawn
X_LABELS = {
    "translation": "translation, pixels downwards",
    "scale": "scale",
    "rotation": "rotation, degrees counterclockwise",
}


def invariance_curves(curves: Sequence[Any], path: Path, title: str, class_names: Sequence[str] | None = None) -> None:
    """Draw feature distances and class probability against transformations.

    Each transformation is a row with three panels: the distance at the first layer, at the last layer, and the
    probability. With more than seven images, each image is a thin line, and the mean of each class a thick one. With
    more than seven classes as well, one thick line is the mean of all images.

    Args:
        curves: `keras_cnns.analysis.InvarianceCurve` records of the same images.
        path: PNG file to write.
        title: title of the plot.
        class_names: one per class; None: their numbers.

    Reference:
        Zeiler and Fergus 2014, figure 5.
    """
    from matplotlib.ticker import MultipleLocator

    targets = curves[0].targets
    groups = _group_images(targets, class_names)
    names = [fit(name, 1.6, 8, lines=2) for name, _ in groups]
    figure, panels = new_figure(11.5, 0.8 + 2.6 * len(curves), title, nrows=len(curves), ncols=3, squeeze=False)
    for row, curve in zip(panels, curves, strict=True):
        columns = (
            (curve.first_distance, f"distance at {curve.first_layer}"),
            (curve.last_distance, f"distance at {curve.last_layer}"),
            (curve.probability, "probability of the class"),
        )
        marked = {"markevery": -(-len(curve.values) // 12), "markersize": 5}
        for panel, (values, label) in zip(row, columns, strict=True):
            if len(targets) > MOST_LINES:
                panel.plot(curve.values, values.T, color=GRAY, lw=0.5, alpha=0.25)
            lines = []
            for k, (_, members) in enumerate(groups):
                mean = values[members].mean(0)
                lines += panel.plot(curve.values, mean, color=SERIES[k], marker=MARKERS[k], **marked)
            panel.set(xlabel=X_LABELS[curve.kind], ylabel=fit(label, 2, 10, lines=2))
            if panel is row[2]:
                panel.set_ylim(-0.02, 1.02)
            else:
                panel.set_ylim(bottom=0)
            if curve.kind == "rotation" and np.ptp(curve.values) >= 180:
                panel.xaxis.set_major_locator(MultipleLocator(90))
            panel.grid(alpha=0.3)
    panels[0, -1].legend(lines, names, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    save(figure, path)


def _group_images(targets: np.ndarray, class_names: Sequence[str] | None) -> list[tuple[str, Any]]:
    """Return each thick line's name, and the index of its images."""

    def class_name(number: int) -> str:
        return f"class {number}" if class_names is None else class_names[number]

    if len(targets) <= MOST_LINES:
        return [(f"image {k + 1}: {class_name(target)}", [k]) for k, target in enumerate(targets)]
    if len(set(targets)) <= MOST_LINES:
        return [(f"mean of {class_name(target)}", targets == target) for target in np.unique(targets)]
    return [("mean", slice(None))]


def correspondence_bars(results: Mapping[str, Any], path: Path, title: str) -> None:
    """Draw the score of each part beside that of random parts.

    The bars of random parts show the standard deviation. The p-value stands above each pair of bars.

    Args:
        results: from the name of each part to its `keras_cnns.analysis.Correspondence`.
        path: PNG file to write.
        title: title of the plot.
    """
    figure, panel = new_figure(2.2 + 1.3 * len(results), 4.5, title)
    places = np.arange(len(results))
    scores = np.array([result.score for result in results.values()])
    means = np.array([result.random_scores.mean() for result in results.values()])
    deviations = np.array([result.random_scores.std() for result in results.values()])
    parts = panel.bar(places - 0.2, scores, 0.38, color=BLUE)
    error = {"yerr": deviations, "capsize": 4, "error_kw": {"lw": 1}}
    random_parts = panel.bar(places + 0.2, means, 0.38, color=ORANGE, **error)
    for place, result, top in zip(places, results.values(), np.maximum(scores, means + deviations), strict=True):
        style = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
        panel.annotate(f"p = {result.p_value:.2g}", (place, top), (0, 3), **style)
    layer = next(iter(results.values())).layer
    label = fit(f"differing signs at {layer}, share of units", 3.2, 10, lines=2)
    panel.set(ylabel=label, ylim=(0, 1.12 * panel.get_ylim()[1]))
    panel.set_xticks(places, [fit(name, 1.15, 10, lines=2) for name in results])
    panel.set_xlim(-0.6, len(results) - 0.4)
    panel.grid(alpha=0.3, axis="y")
    panel.set_axisbelow(True)
    legend_below(figure, [parts, random_parts], ["part", "random parts, standard deviation"])
    save(figure, path)
