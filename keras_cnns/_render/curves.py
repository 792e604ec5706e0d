"""Drawings of what features do: under transformations, from image to image, from layer to layer, in training."""

import numpy as np

from keras_cnns._render._figure import (
    BLUE,
    GRAY,
    MARKERS,
    ORANGE,
    SERIES,
    lay_out,
    legend_below,
    logarithmic,
    new_figure,
    save,
)
from keras_cnns._render._labels import fit
from keras_cnns._text import counted

TOLD_APART = len(SERIES)  # lines in one panel; of more than so many, the mean is drawn
NAMED, ROWS = 104, 26  # classes that a legend names, and how many of them stand below each other
CHANGES = {
    "translation": "translation, pixels downwards",
    "scale": "scale",
    "rotation": "rotation, degrees counterclockwise",
}


def invariance_curves(curves, path, title, class_names=None):
    """Draw, for each transformation, the distances at the first and the last layer and the class's probability.

    Zeiler and Fergus 2014, figure 5. Of more than seven images, each is a thin line, and the mean of each class a
    thick one; of more than seven classes too, the mean of all.

    Args:
        curves: list of `InvarianceCurve`, of the same images.
        path: PNG file to write.
        title: above the whole.
        class_names: of the classes; None: their numbers.
    """
    from matplotlib.ticker import MultipleLocator

    targets = curves[0].targets
    if len(targets) <= TOLD_APART:
        groups = [(f"image {k + 1}: {_class_name(class_names, target)}", [k]) for k, target in enumerate(targets)]
    elif len(set(targets)) <= TOLD_APART:
        groups = [(f"mean of {_class_name(class_names, target)}", targets == target) for target in np.unique(targets)]
    else:
        groups = [("mean", slice(None))]
    names = [fit(name, 1.6, 8, lines=2) for name, _ in groups]
    figure, axes = new_figure(11.5, 0.8 + 2.6 * len(curves), title, nrows=len(curves), ncols=3, squeeze=False)
    for row, curve in zip(axes, curves, strict=True):
        panels = (
            (curve.first_distance, f"distance at {curve.first_layer}"),
            (curve.last_distance, f"distance at {curve.last_layer}"),
            (curve.probability, "probability of the class"),
        )
        marked = {"markevery": -(-len(curve.values) // 12), "markersize": 5}
        for axis, (values, label) in zip(row, panels, strict=True):
            if len(targets) > TOLD_APART:
                axis.plot(curve.values, values.T, color=GRAY, lw=0.5, alpha=0.25)
            lines = []
            for k, (_, members) in enumerate(groups):
                mean = values[members].mean(0)
                lines += axis.plot(curve.values, mean, color=SERIES[k], marker=MARKERS[k], **marked)
            axis.set(xlabel=CHANGES[curve.kind], ylabel=fit(label, 2, 10, lines=2))
            axis.set_ylim(-0.02, 1.02) if axis is row[2] else axis.set_ylim(bottom=0)
            if curve.kind == "rotation" and np.ptp(curve.values) >= 180:
                axis.xaxis.set_major_locator(MultipleLocator(90))
            axis.grid(alpha=0.3)
    axes[0, -1].legend(lines, names, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    save(figure, path)


def _class_name(class_names, number):
    return f"class {number}" if class_names is None else class_names[number]


def correspondence_bars(results, path, title):
    """Draw the score of each part beside that of random parts, with their standard deviation, and the p-value.

    Args:
        results: from the name of each part to its `Correspondence`.
        path: PNG file to write.
        title: above the whole.
    """
    figure, axis = new_figure(2.2 + 1.3 * len(results), 4.5, title)
    places = np.arange(len(results))
    scores = [one.score for one in results.values()]
    means = [one.random_scores.mean() for one in results.values()]
    deviations = [one.random_scores.std() for one in results.values()]
    parts = axis.bar(places - 0.2, scores, 0.38, color=BLUE)
    error = {"yerr": deviations, "capsize": 4, "error_kw": {"lw": 1}}
    random_parts = axis.bar(places + 0.2, means, 0.38, color=ORANGE, **error)
    for place, one, *tops in zip(places, results.values(), scores, means, deviations, strict=True):
        top = max(tops[0], tops[1] + tops[2])
        axis.annotate(
            f"p = {one.p_value:.2g}", (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=8
        )
    layer = next(iter(results.values())).layer
    label = fit(f"differing signs at {layer}, share of units", 3.2, 10, lines=2)
    axis.set(ylabel=label, ylim=(0, 1.12 * axis.get_ylim()[1]))
    axis.set_xticks(places, [fit(name, 1.15, 10, lines=2) for name in results])
    axis.set_xlim(-0.6, len(results) - 0.4)
    axis.grid(alpha=0.3, axis="y")
    axis.set_axisbelow(True)
    legend_below(figure, [parts, random_parts], ["part", "random parts, standard deviation"])
    save(figure, path)


def unit_activity_chart(activities, path, title):
    """Draw, layer by layer, the share of dead units, the share of zeros, and the mean and largest activation.

    Args:
        activities: list of `UnitActivity`.
        path: PNG file to write.
        title: above the whole.
    """
    labels = [(activity.layer, f"   {counted(len(activity.mean), 'unit')}") for activity in activities]
    figure, axes, places = _layer_panels(labels, 3, title)
    dead = [100 * len(one.dead) / len(one.mean) for one in activities]
    zeros = [100 * one.sparsity for one in activities]
    for axis, values, label in zip(axes, (dead, zeros), ("dead units, %", "zeros, %"), strict=False):
        axis.barh(places, values, color=BLUE, height=0.7)
        axis.set(xlabel=label, xlim=(0, 118))
        axis.set_xticks(range(0, 101, 25))
    for place, share, one in zip(places, dead, activities, strict=True):
        axes[0].text(share, place, f" {len(one.dead)}", va="center", fontsize=7)
    for place, share in zip(places, zeros, strict=True):
        axes[1].text(share, place, f" {share:.0f}", va="center", fontsize=7)
    means = [activity.mean.mean() for activity in activities]
    largest = [activity.maximum.max() for activity in activities]
    _points(axes[2], places, means, BLUE, "o", "mean")
    _points(axes[2], places, largest, ORANGE, "s", "largest", left=0.3)
    logarithmic(axes[2].xaxis)
    axes[2].set_xlabel("activation")
    axes[2].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def gradient_flow_chart(flows, path, title):
    """Draw, layer by layer, the norm of the gradient and its share of the norm of the weights.

    Args:
        flows: list of `GradientFlow`.
        path: PNG file to write.
        title: above the whole.
    """
    figure, axes, places = _layer_panels([(flow.layer, "") for flow in flows], 2, title)
    for axis, values, label in (
        (axes[0], [flow.gradient_norm for flow in flows], "norm of the gradient"),
        (axes[1], [flow.ratio for flow in flows], "norm of the gradient / norm of the weights"),
    ):
        _points(axis, places, values, BLUE, "o", None)
        logarithmic(axis.xaxis)
        axis.set_xlabel(label)
    save(figure, path)


def snapshot_grid(rows, epochs, path, title):
    """Draw feature maps at epochs of a training: epochs across, units down; each unit has one scale over all epochs.

    Zeiler and Fergus 2014, figure 4.

    Args:
        rows: from each layer to (numbers of units, maps (epochs, units, height, width)).
        epochs: numbers of the epochs.
        path: PNG file to write.
        title: above the whole.
    """
    lines = [(layer, unit, maps[:, k]) for layer, (units, maps) in rows.items() for k, unit in enumerate(units)]
    size = 0.8
    inches = 1.4 + size * len(epochs), 0.8 + size * len(lines)
    figure, axes = new_figure(*inches, title, nrows=len(lines), ncols=len(epochs), squeeze=False)
    for axis_row, (layer, unit, maps) in zip(axes, lines, strict=True):
        low, high = maps.min(), maps.max()
        for axis, one in zip(axis_row, maps, strict=True):
            axis.imshow(one, cmap="gray", vmin=low, vmax=high if high > low else low + 1, aspect="equal")
            axis.set_xticks([])
            axis.set_yticks([])
        name = f"{fit(layer, 1.2, 8, lines=2)}\nunit {unit}"
        axis_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    for axis, epoch in zip(axes[0], epochs, strict=True):
        axis.set_title(f"epoch {epoch}", fontsize=8, pad=3)
    save(figure, path)


def embedding_scatter(points, labels, class_names, path, title, images=None):
    """Draw points in a plane, each class with its own color and mark, or as small images where there is room.

    Args:
        points: float array (images, 2), as of `embed`.
        labels: whole numbers (images,), places in `class_names`.
        class_names: of the classes; the first 104 of those that occur stand in the legend.
        path: PNG file to write.
        title: above the whole.
        images: uint8 (images, height, width, 1 or 3), shown with a frame in the class's color; None: none.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    shown = np.unique(labels)
    columns = -(-min(len(shown), NAMED) // ROWS)
    figure, axis = new_figure(8 + 1.9 * columns, 7, title)
    marks = []
    for label in shown:
        own = points[labels == label]
        style = {"color": SERIES[label % len(SERIES)], "marker": MARKERS[label // len(SERIES) % len(MARKERS)]}
        if len(shown) <= len(SERIES):
            style["marker"] = MARKERS[label % len(MARKERS)]
        marks.append(axis.scatter(*own.T, s=14, alpha=0.7, linewidths=0, **style))
    axis.set(xlabel="first coordinate", ylabel="second coordinate")
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    axis.margins(0.06)
    lines = 2 if 2 * len(shown) <= ROWS else 1
    names = [fit(class_names[label], 1.4, 8, lines) for label in shown[:NAMED]]
    place = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": columns}
    legend = axis.legend(marks[:NAMED], names, **place, frameon=False, fontsize=8, markerscale=2)
    if len(shown) > NAMED:
        legend.set_title(f"{NAMED} of {len(shown):,} classes")
    for mark in legend.legend_handles:
        mark.set_alpha(1)
    if images is not None:
        lay_out(figure)
        _thumbnails(axis, points, labels, images)
    save(figure, path)


def _thumbnails(axis, points, labels, images, side=26):
    """Put images of so many pixels at their points, the first ones first, where none lies yet."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    taken = np.empty((0, 2))
    for place, point, label, image in zip(axis.transData.transform(points), points, labels, images, strict=True):
        if len(taken) and (np.abs(taken - place).max(1) < side + 4).any():
            continue
        taken = np.vstack([taken, place])
        shown = image.squeeze(-1) if image.shape[-1] == 1 else image
        # An image of OffsetImage is in points of 1/72 inch
        box = OffsetImage(shown, zoom=side / max(shown.shape[:2]) * 72 / axis.figure.dpi, cmap="gray")
        box.image.set_clim(0, 255)
        frame = {"edgecolor": SERIES[label % len(SERIES)], "linewidth": 1.5}
        axis.add_artist(AnnotationBbox(box, point, pad=0.05, bboxprops=frame))


def _layer_panels(labels, panels, title):
    """Return (figure, its panels side by side, places of the layers from top to bottom).

    Args:
        labels: (layer, what stands after its name) of each layer.
        panels: how many.
        title: above the whole.
    """
    figure, axes = new_figure(3.2 + 2.9 * panels, 1.2 + 0.22 * len(labels), title, ncols=panels, sharey=True)
    places = np.arange(len(labels))
    axes[0].set_yticks(places, [fit(layer, 2.4, 7, tail=tail) for layer, tail in labels], fontsize=7)
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes, places


def _points(axis, places, values, color, marker, label, left=0.01):
    """Draw one point a layer on a logarithmic axis; values without a place there stand in words at `left`, 0 to 1."""
    values = np.asarray(values, float)
    there = (values > 0) & np.isfinite(values)
    axis.plot(np.where(there, values, np.nan), places, color=color, marker=marker, ms=5, lw=1, label=label)
    for place, value in zip(places[~there], values[~there], strict=True):
        style = {"color": color, "fontsize": 7, "va": "center", "transform": axis.get_yaxis_transform()}
        axis.text(left, place, f"{value:.2g}", **style)
