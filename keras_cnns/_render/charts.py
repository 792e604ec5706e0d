"""Charts of training runs, networks and artifacts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns._render._figure import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    RED,
    lay_out,
    legend_below,
    logarithmic,
    new_figure,
    plain_numbers,
    save,
    short,
)
from keras_cnns._render._labels import fit, text_width
from keras_cnns._text import counted
from keras_cnns.typing import Path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

RUNTIME_COLORS = {"Keras": BLUE, "tf.saved_model": ORANGE, "LiteRT": GREEN, "ONNX Runtime": RED}
NAME_SIZE = 8  # of names beside points, in points
NAME_HEIGHT = 18  # of names beside points, in pixels


def training_curve(history: Mapping[str, Sequence[float]], path: Path, title: str, metric: str = "accuracy") -> None:
    """Draw loss and a metric over the epochs, for training and validation.

    Args:
        history: from "loss" and the metric's name, and if there are any "val_loss" and so on, to one value per epoch.
            Losses are in nats.
        path: PNG file to write.
        title: title of the chart.
        metric: name of the metric, whose values are 0 to 1; "loss": there is none.
    """
    names = ["loss"] if metric == "loss" else ["loss", metric]
    figure, panels = new_figure(9, 3.9, title, ncols=len(names), squeeze=False)
    panels = np.ravel(panels)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for panel, key in zip(panels, names, strict=True):
        lines = panel.plot(epochs, history[key], color=BLUE, marker=".")
        if f"val_{key}" in history:
            lines += panel.plot(epochs, history[f"val_{key}"], color=ORANGE, marker=".")
        panel.set(xlabel="epoch", ylabel="loss (nats)" if key == "loss" else key.replace("_", " "))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        if len(epochs) == 1:
            panel.set(xlim=(0, 2), xticks=[1])
    panels[0].set_ylim(bottom=0)
    for panel in panels[1:]:
        panel.set_ylim(top=1.02)
    legend_below(figure, lines, ["training", "validation"][: len(lines)])
    save(figure, path)


def network_bars(rows: Sequence[tuple[str, tuple[int, ...], float | None, float]], path: Path, title: str) -> None:
    """Draw multiply-adds and parameters of a network, one bar per layer.

    Args:
        rows: (layer, output shape, multiply-adds or None, parameters) of each layer, from input to output. None means
            not counted.
        path: PNG file to write.
        title: title of the chart.
    """
    names = [fit(layer, 2.2, 7, tail=f"   {'x'.join(map(str, shape))}") for layer, shape, _, _ in rows]
    figure, panels = new_figure(11, 1.3 + 0.17 * len(rows), title, ncols=2, sharey=True)
    places, colors = np.arange(len(rows)), _colors_by_resolution([shape for _, shape, _, _ in rows])
    columns: tuple[tuple[str, list[float | None]], ...] = (
        ("multiply-adds", [macs for _, _, macs, _ in rows]),
        ("parameters", [parameters for _, _, _, parameters in rows]),
    )
    for panel, (label, values) in zip(panels, columns, strict=True):
        lengths = [value or 0 for value in values]
        panel.barh(places, lengths, color=colors, height=0.8)
        for place, value in enumerate(values):
            if value is None:
                panel.text(0, place, " not counted", va="center", fontsize=6, color=RED)
            elif value:
                panel.text(value, place, f" {short(value)}", va="center", fontsize=6)
        panel.set(xlabel=f"{label}: {short(sum(lengths))}", xlim=(0, 1.12 * max(lengths, default=0) or 1))
        panel.xaxis.set_major_formatter(lambda value, _: short(value))
        panel.grid(alpha=0.3, axis="x")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(places, names, fontsize=7)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    save(figure, path)


def _colors_by_resolution(shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Return a color per output shape.

    It is light for large maps, dark for small ones, and gray for vectors.
    """
    from matplotlib import colormaps

    heights = sorted({shape[0] for shape in shapes if len(shape) == 3}, reverse=True)
    shades = dict(zip(heights, np.linspace(0.35, 0.95, len(heights)), strict=True))
    return [colormaps["Blues"](shades[shape[0]]) if len(shape) == 3 else GRAY for shape in shapes]


def network_bubbles(points: Sequence[tuple[str, float, float, float]], path: Path, title: str, label: str) -> None:
    """Draw networks as bubbles whose area is the number of parameters.

    Multiply-adds are on the horizontal axis, a value such as the published error on the vertical one.

    Args:
        points: (name, multiply-adds, parameters, value) of each network.
        path: PNG file to write.
        title: title of the chart.
        label: quantity and unit of the values.
    """
    figure, panel = new_figure(10, 6.5, title)
    names = [name for name, _, _, _ in points]
    macs, parameters, values = np.array([point[1:] for point in points], float).T
    scale = 2500 / parameters.max()
    panel.scatter(macs, values, s=scale * parameters, color=BLUE, alpha=0.3, edgecolor=BLUE)
    panel.scatter(macs, values, s=6, color=BLUE)
    panel.set(xlabel="multiply-adds of one image", ylabel=fit(label, 5, 10, lines=2))
    panel.margins(0.15)
    logarithmic(panel.xaxis)
    panel.xaxis.set_major_formatter(lambda value, _: short(value))
    panel.grid(alpha=0.3)
    for power in (0, 1, 2):
        size = 10.0 ** (int(np.log10(parameters.max())) - 2 + power)
        panel.scatter([], [], s=scale * size, color=GRAY, alpha=0.3, label=short(size))
    legend = {"labelspacing": 2.5, "handletextpad": 2.5, "borderpad": 2, "frameon": False}
    panel.legend(title="parameters", loc="center left", bbox_to_anchor=(1, 0.5), **legend)
    lay_out(figure)
    figure.set_layout_engine("none")  # the points must not move after their names are placed
    _name_points(panel, names, macs, values)
    save(figure, path)


def benchmark_chart(
    rows: Sequence[tuple[str, str, float | None, float, float]], path: Path, title: str, batch: int = 1
) -> None:
    """Draw latency, accuracy and file size of a model and its artifacts.

    Latency is on the horizontal axis, accuracy on the vertical one, and the area of a point is its file size. If an
    accuracy is missing, the file size is on the vertical axis instead.

    Args:
        rows: (name, runtime, accuracy 0 to 1 or None, seconds per call, bytes of the file) of each.
        path: PNG file to write.
        title: title of the chart.
        batch: images per call.
    """
    names = [row[0] for row in rows]
    runtimes = [row[1] for row in rows]
    accuracies = [row[2] for row in rows]
    milliseconds = 1e3 * np.array([row[3] for row in rows])
    megabytes = np.array([row[4] for row in rows]) / 1e6
    by_size = None in accuracies
    heights = megabytes if by_size else 100 * np.array(accuracies, float)
    scale = 900 / megabytes.max()
    areas = np.full(len(rows), 60.0) if by_size else scale * megabytes
    figure, panel = new_figure(10, 5.5, title)
    colors = [RUNTIME_COLORS.get(runtime, GRAY) for runtime in runtimes]
    panel.scatter(milliseconds, heights, s=areas, color=[(color, 0.35) for color in colors], edgecolor=colors)
    panel.scatter(milliseconds, heights, s=6, color=colors)
    for runtime, color in dict(zip(runtimes, colors, strict=True)).items():
        panel.scatter([], [], s=60, color=(color, 0.35), edgecolor=color, label=runtime)
    for size in () if by_size else megabytes.max() * np.array([0.25, 1]):
        panel.scatter([], [], s=scale * size, color="none", edgecolor=GRAY, label=f"{short(1e6 * size)}B")
    spacing = {"labelspacing": 2, "handletextpad": 1.5, "borderpad": 1}
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, **spacing)
    _set_benchmark_axes(panel, milliseconds, heights, by_size, batch)
    panel.grid(alpha=0.3)
    panel.set_axisbelow(True)
    lay_out(figure)
    figure.set_layout_engine("none")  # the points must not move after their names are placed
    _name_points(panel, names, milliseconds, heights, np.sqrt(areas / np.pi) * figure.dpi / 72)
    save(figure, path)


def _set_benchmark_axes(
    panel: "Axes", milliseconds: np.ndarray, heights: np.ndarray, by_size: bool, batch: int
) -> None:
    """Label the axes of a benchmark, and leave room for names.

    Args:
        panel: with the points.
        milliseconds: latencies.
        heights: megabytes, or accuracies in percent.
        by_size: whether they are megabytes.
        batch: images per call.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set(
        xscale="log",
        xlabel=f"latency of {counted(batch, 'image')}, ms",
        ylabel="file size, MB" if by_size else "accuracy, %",
    )
    panel.set_xlim(milliseconds.min() / 2, 2 * milliseconds.max())
    room = 0.25 * heights.max() if by_size else max(0.4, 0.3 * np.ptp(heights))
    low, high = heights.min() - room, heights.max() + room
    panel.set_ylim(low, high)
    x_axis: Axis = panel.xaxis
    x_axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plain_numbers(x_axis)
    x_axis.set_minor_formatter(NullFormatter())
    most = high if by_size else min(high, 100)
    panel.set_yticks([value for value in panel.get_yticks() if max(0, low) <= value <= most])
    plain_numbers(panel.yaxis)


def _name_points(
    panel: "Axes", names: Sequence[str], xs: np.ndarray, ys: np.ndarray, radii: np.ndarray | None = None
) -> None:
    """Write each name beside its point, clear of other points and names.

    Args:
        panel: with the points; its layout is final.
        names: one per point.
        xs: coordinates of the points.
        ys: coordinates of the points.
        radii: radius of each mark in pixels, kept free of names; None: 4 pixels.
    """
    texts = [fit(name, 2.5, NAME_SIZE) for name in names]
    widths = [panel.figure.dpi * text_width(text, NAME_SIZE) + 6 for text in texts]
    centers = panel.transData.transform(np.column_stack([xs, ys]))
    radii = np.full(len(names), 4.0) if radii is None else np.asarray(radii)
    # Boxes are (left, bottom, right, top) in pixels.
    occupied = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centers, radii, strict=True)]
    inside = panel.get_window_extent()
    distances = (8, 20, 34, 50, 68, 88, *range(110, int(max(inside.width, inside.height)), 30))
    candidates = [(distance, angle) for distance in distances for angle in range(-30, 330, 30)]
    for k in np.argsort(-centers[:, 1], kind="stable"):
        x, y = centers[k]
        for distance, angle in candidates:
            reach = radii[k] + distance
            left = x + reach * np.cos(np.radians(angle)) - (widths[k] if 90 < angle < 270 else 0)
            bottom = y + reach * np.sin(np.radians(angle)) - NAME_HEIGHT / 2
            box = left, bottom, left + widths[k], bottom + NAME_HEIGHT
            within = inside.x0 <= box[0] and box[2] <= inside.x1 and inside.y0 <= box[1] and box[3] <= inside.y1
            if within and not any(_overlap(box, other) for other in occupied):
                break
        occupied.append(box)  # if no place is free, the last one tried
        line = {"arrowstyle": "-", "color": GRAY, "lw": 0.5, "shrinkA": 0}
        place: dict[str, Any] = {"xytext": (left - x, bottom + 2 - y), "textcoords": "offset pixels", "va": "bottom"}
        panel.annotate(texts[k], (xs[k], ys[k]), **place, fontsize=NAME_SIZE, arrowprops=line)


def _overlap(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    """Return whether two boxes (left, bottom, right, top) overlap."""
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]
