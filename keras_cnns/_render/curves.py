"""Drawings of what features do: under transformations, from picture to picture, from layer to layer, in training."""

import numpy as np

from keras_cnns._render._figure import BLUE, GRAY, MARKERS, ORANGE, RED, SERIES, new_figure, save

TOLD_APART = len(SERIES)  # lines in one picture; of more than so many, the mean is drawn
CHANGES = {
    "translation": "translation, pixels downwards",
    "scale": "scale",
    "rotation": "rotation, degrees counterclockwise",
}


def invariance_curves(curves, path, title, class_names=None):
    """Draw, for each transformation, the distances at the first and the last layer and the class's probability.

    Zeiler and Fergus 2014, figure 5. Of more than seven pictures, each is a thin line, and the mean of each class a
    thick one; of more than seven classes too, the mean of all.

    Args:
        curves: list of `InvarianceCurve`, of the same pictures.
        path: PNG file to write.
        title: above the picture.
        class_names: of the classes; None: their numbers.
    """
    from matplotlib.ticker import MultipleLocator

    targets = curves[0].targets
    if len(targets) <= TOLD_APART:
        groups = [(f"picture {k + 1}: {_class_name(class_names, one)}", [k]) for k, one in enumerate(targets)]
    elif len(set(targets)) <= TOLD_APART:
        groups = [(f"mean of {_class_name(class_names, one)}", targets == one) for one in np.unique(targets)]
    else:
        groups = [("mean", slice(None))]
    figure, axes = new_figure(11.5, 0.8 + 2.6 * len(curves), nrows=len(curves), ncols=3, squeeze=False)
    figure.suptitle(title, fontsize=10)
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
            for k, (name, members) in enumerate(groups):
                line = values[members].mean(0)
                axis.plot(curve.values, line, color=SERIES[k], marker=MARKERS[k], label=name, **marked)
            axis.set(xlabel=CHANGES[curve.kind], ylabel=label)
            axis.set_ylim(-0.02, 1.02) if axis is row[2] else axis.set_ylim(bottom=0)
            if curve.kind == "rotation" and np.ptp(curve.values) >= 180:
                axis.xaxis.set_major_locator(MultipleLocator(90))
            axis.grid(alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    save(figure, path)


def _class_name(class_names, number):
    return f"class {number}" if class_names is None else class_names[number]


def correspondence_bars(results, path, title):
    """Draw the score of each part beside that of random parts, with their standard deviation, and the p-value.

    Args:
        results: from the name of each part to its `Correspondence`.
        path: PNG file to write.
        title: above the picture.
    """
    figure, axis = new_figure(max(5.0, 2.2 + 1.3 * len(results)), 4.2)
    figure.suptitle(title, fontsize=10)
    places = np.arange(len(results))
    scores = [one.score for one in results.values()]
    means = [one.random_scores.mean() for one in results.values()]
    deviations = [one.random_scores.std() for one in results.values()]
    axis.bar(places - 0.2, scores, 0.38, color=BLUE, label="part")
    error = {"yerr": deviations, "capsize": 4, "error_kw": {"lw": 1}}
    axis.bar(places + 0.2, means, 0.38, color=ORANGE, label="random parts, standard deviation", **error)
    for place, one, *tops in zip(places, results.values(), scores, means, deviations, strict=True):
        top = max(tops[0], tops[1] + tops[2])
        axis.annotate(
            f"p = {one.p_value:.2g}", (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=8
        )
    layer = next(iter(results.values())).layer
    axis.set(ylabel=f"differing signs at {layer}, share of units", ylim=(0, 1.12 * axis.get_ylim()[1]))
    axis.set_xticks(places, results)
    axis.set_xlim(-0.6, len(results) - 0.4)
    axis.grid(alpha=0.3, axis="y")
    axis.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save(figure, path)


def unit_activity_chart(activities, path, title):
    """Draw, layer by layer, the share of dead units, the share of zeros, and the mean and largest activation.

    Args:
        activities: list of `UnitActivity`.
        path: PNG file to write.
        title: above the picture.
    """
    labels = [f"{one.layer}   {len(one.mean)} units" for one in activities]
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
    for key, color, marker, label in (("mean", BLUE, "o", "mean"), ("maximum", ORANGE, "s", "largest")):
        reduced = [getattr(one, key).mean() if key == "mean" else getattr(one, key).max() for one in activities]
        _points(axes[2], places, reduced, color, marker, label)
    _logarithmic(axes[2])
    axes[2].set_xlabel("activation")
    axes[2].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def gradient_flow_chart(flows, path, title):
    """Draw, layer by layer, the norm of the gradient and its share of the norm of the weights.

    Args:
        flows: list of `GradientFlow`.
        path: PNG file to write.
        title: above the picture.
    """
    figure, axes, places = _layer_panels([flow.layer for flow in flows], 2, title)
    for axis, values, label in (
        (axes[0], [flow.gradient_norm for flow in flows], "norm of the gradient"),
        (axes[1], [flow.ratio for flow in flows], "norm of the gradient / norm of the weights"),
    ):
        _points(axis, places, values, BLUE, "o", None)
        _logarithmic(axis)
        axis.set_xlabel(label)
    save(figure, path)


def snapshot_grid(rows, epochs, path, title):
    """Draw feature maps at epochs of a training: epochs across, units down; each unit has one scale over all epochs.

    Zeiler and Fergus 2014, figure 4.

    Args:
        rows: from each layer to (numbers of units, maps (epochs, units, height, width)).
        epochs: numbers of the epochs.
        path: PNG file to write.
        title: above the picture.
    """
    lines = [(layer, unit, maps[:, k]) for layer, (units, maps) in rows.items() for k, unit in enumerate(units)]
    size = 0.8
    figure, axes = new_figure(
        1.4 + size * len(epochs), 0.8 + size * len(lines), nrows=len(lines), ncols=len(epochs), squeeze=False
    )
    figure.suptitle(title, fontsize=10)
    for axis_row, (layer, unit, maps) in zip(axes, lines, strict=True):
        low, high = maps.min(), maps.max()
        for axis, one in zip(axis_row, maps, strict=True):
            axis.imshow(one, cmap="gray", vmin=low, vmax=high if high > low else low + 1, aspect="equal")
            axis.set_xticks([])
            axis.set_yticks([])
        axis_row[0].set_ylabel(f"{layer}\nunit {unit}", rotation=0, ha="right", va="center", fontsize=8)
    for axis, epoch in zip(axes[0], epochs, strict=True):
        axis.set_title(f"epoch {epoch}", fontsize=8, pad=3)
    save(figure, path)


def embedding_scatter(points, labels, class_names, path, title, images=None):
    """Draw points in a plane, each class with its own color and mark, or as small pictures where there is room.

    Args:
        points: float array (pictures, 2), as of `embed`.
        labels: whole numbers (pictures,), places in `class_names`.
        class_names: of the classes.
        path: PNG file to write.
        title: above the picture.
        images: uint8 (pictures, height, width, 1 or 3), shown with a frame in the class's color; None: none.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    shown = np.unique(labels)
    columns = -(-len(shown) // 26)
    figure, axis = new_figure(8 + 1.6 * columns, 7)
    figure.suptitle(title, fontsize=10)
    for label in shown:
        own = points[labels == label]
        style = {"color": SERIES[label % len(SERIES)], "marker": MARKERS[label // len(SERIES) % len(MARKERS)]}
        if len(shown) <= len(SERIES):
            style["marker"] = MARKERS[label % len(MARKERS)]
        axis.scatter(*own.T, s=14, alpha=0.7, linewidths=0, label=class_names[label], **style)
    axis.set(xlabel="first coordinate", ylabel="second coordinate")
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    axis.margins(0.06)
    marks = axis.legend(
        loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, ncols=columns, markerscale=2
    )
    for mark in marks.legend_handles:
        mark.set_alpha(1)
    if images is not None:
        figure.draw_without_rendering()
        _thumbnails(axis, points, labels, images)
    save(figure, path)


def _thumbnails(axis, points, labels, images, side=26):
    """Put pictures of so many pixels at their points, the first ones first, where none lies yet."""
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
    """Return (figure, its panels side by side, places of the layers from top to bottom)."""
    figure, axes = new_figure(3.2 + 2.9 * panels, 1.2 + 0.22 * len(labels), ncols=panels, sharey=True)
    figure.suptitle(title, fontsize=10)
    places = np.arange(len(labels))
    axes[0].set_yticks(places, labels, fontsize=7)
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes, places


def _points(axis, places, values, color, marker, label):
    """Draw one point a layer, for a logarithmic axis; what has no place there stands at its left in words."""
    values = np.asarray(values, float)
    there = (values > 0) & np.isfinite(values)
    axis.plot(np.where(there, values, np.nan), places, color=color, marker=marker, ms=5, lw=1, label=label)
    for place, value in zip(places[~there], values[~there], strict=True):
        axis.text(0.01, place, f"{value:.2g}", color=RED, fontsize=7, va="center", transform=axis.get_yaxis_transform())


def _logarithmic(axis):
    """Make the horizontal axis logarithmic, with as many numbers as there is room for."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axis.set_xscale("log")
    low, high = axis.get_xlim()
    few = high / low < 200
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
    axis.xaxis.set_minor_locator(NullLocator())
    if few:
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
