"""Charts with one row per layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns._render._figure import BLUE, ORANGE, logarithmic, new_figure, save
from keras_cnns._render._labels import fit
from keras_cnns._text import counted
from keras_cnns.typing import Path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def unit_activity_chart(activities: Sequence[Any], path: Path, title: str) -> None:
    """Draw dead units, zeros and activations per layer.

    Dead units and zeros are in percent. The activations are the mean and the largest one of the layer.

    Args:
        activities: `keras_cnns.analysis.UnitActivity` records.
        path: PNG file to write.
        title: title of the chart.
    """
    labels = [(activity.layer, f"   {counted(len(activity.mean), 'unit')}") for activity in activities]
    figure, panels, places = _layer_panels(labels, 3, title)
    dead = [100 * len(activity.dead) / len(activity.mean) for activity in activities]
    zeros = [100 * activity.sparsity for activity in activities]
    for panel, values, label in zip(panels, (dead, zeros), ("dead units, %", "zeros, %"), strict=False):
        panel.barh(places, values, color=BLUE, height=0.7)
        panel.set(xlabel=label, xlim=(0, 118))
        panel.set_xticks(range(0, 101, 25))
    for place, share, activity in zip(places, dead, activities, strict=True):
        panels[0].text(share, place, f" {len(activity.dead)}", va="center", fontsize=7)
    for place, share in zip(places, zeros, strict=True):
        panels[1].text(share, place, f" {share:.0f}", va="center", fontsize=7)
    means = [activity.mean.mean() for activity in activities]
    largest = [activity.maximum.max() for activity in activities]
    _draw_points(panels[2], places, means, BLUE, "o", "mean")
    _draw_points(panels[2], places, largest, ORANGE, "s", "largest", left=0.3)
    logarithmic(panels[2].xaxis)
    panels[2].set_xlabel("activation")
    panels[2].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def gradient_flow_chart(flows: Sequence[Any], path: Path, title: str) -> None:
    """Draw the gradient's norm and its ratio to the weights' norm.

    Args:
        flows: `keras_cnns.analysis.GradientFlow` records.
        path: PNG file to write.
        title: title of the chart.
    """
    figure, panels, places = _layer_panels([(flow.layer, "") for flow in flows], 2, title)
    for panel, values, label in (
        (panels[0], [flow.gradient_norm for flow in flows], "norm of the gradient"),
        (panels[1], [flow.ratio for flow in flows], "norm of the gradient / norm of the weights"),
    ):
        _draw_points(panel, places, values, BLUE, "o", None)
        logarithmic(panel.xaxis)
        panel.set_xlabel(label)
    save(figure, path)


def _layer_panels(labels: Sequence[tuple[str, str]], count: int, title: str) -> "tuple[Figure, Any, np.ndarray]":
    """Return a figure with panels that share rows of layers.

    Args:
        labels: (name, tail) of each layer; the tail is never shortened.
        count: number of panels.
        title: title of the figure.

    Returns:
        The figure, an array of its panels, and the place of each layer, from top to bottom.
    """
    figure, panels = new_figure(3.2 + 2.9 * count, 1.2 + 0.22 * len(labels), title, ncols=count, sharey=True)
    places = np.arange(len(labels))
    panels[0].set_yticks(places, [fit(layer, 2.4, 7, tail=tail) for layer, tail in labels], fontsize=7)
    panels[0].set_ylim(len(labels) - 0.4, -0.6)
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels, places


def _draw_points(
    panel: "Axes",
    places: np.ndarray,
    values: Sequence[float],
    color: str,
    marker: str,
    label: str | None,
    left: float = 0.01,
) -> None:
    """Draw one point per layer on a logarithmic axis.

    Values that the axis cannot show (zero, negative, NaN, infinite) are written as numbers.

    Args:
        panel: to draw into.
        places: of the layers.
        values: one per layer.
        color: of the points.
        marker: of the points.
        label: for a legend; None: no entry.
        left: where numbers are written, 0 to 1 from the left to the right edge of the panel.
    """
    array = np.asarray(values, float)
    drawable = (array > 0) & np.isfinite(array)
    panel.plot(np.where(drawable, array, np.nan), places, color=color, marker=marker, ms=5, lw=1, label=label)
    for place, value in zip(places[~drawable], array[~drawable], strict=True):
        transform = panel.get_yaxis_transform()
        panel.text(left, place, f"{value:.2g}", color=color, fontsize=7, va="center", transform=transform)
