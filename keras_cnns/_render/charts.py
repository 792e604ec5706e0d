"""Charts of trainings, networks and artifacts."""

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

# Of the runtimes, whichever of them were measured
RUNTIMES = {"Keras": BLUE, "tf.saved_model": ORANGE, "LiteRT": GREEN, "ONNX Runtime": RED}


def training_curve(history, path, title):
    """Draw loss and accuracy over the epochs, training and validation.

    Args:
        history: dictionary from "loss", "val_loss", "accuracy", "val_accuracy" to one value an epoch.
        path: PNG file to write.
        title: above the whole.
    """
    figure, axes = new_figure(9, 3.9, title, ncols=2)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for axis, key, label in zip(axes, ("loss", "accuracy"), ("loss (nats)", "accuracy"), strict=True):
        lines = axis.plot(epochs, history[key], color=BLUE, marker=".")
        if f"val_{key}" in history:
            lines += axis.plot(epochs, history[f"val_{key}"], color=ORANGE, marker=".")
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        if len(epochs) == 1:
            axis.set(xlim=(0, 2), xticks=[1])
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(top=1.02)
    legend_below(figure, lines, ["training", "validation"][: len(lines)])
    save(figure, path)


def network_bars(rows, path, title):
    """Draw a network from input to output: a bar a layer for its multiply-adds, and one for its parameters.

    Args:
        rows: (layer, output shape, multiply-adds or None, parameters) of each layer, from input to output.
        path: PNG file to write.
        title: above the whole.
    """
    names = [fit(layer, 2.2, 7, tail=f"   {'x'.join(map(str, shape))}") for layer, shape, *_ in rows]
    # One color a resolution, from light (large maps) to dark; vectors are gray
    sides = sorted({shape[0] for _, shape, *_ in rows if len(shape) == 3}, reverse=True)
    shades = {side: shade for side, shade in zip(sides, np.linspace(0.35, 0.95, len(sides)), strict=True)}
    from matplotlib import colormaps

    colors = [colormaps["Blues"](shades[shape[0]]) if len(shape) == 3 else GRAY for _, shape, *_ in rows]
    figure, axes = new_figure(11, 1.3 + 0.17 * len(rows), title, ncols=2, sharey=True)
    places = np.arange(len(rows))
    for axis, column, label in zip(axes, (2, 3), ("multiply-adds", "parameters"), strict=True):
        values = [row[column] or 0 for row in rows]
        axis.barh(places, values, color=colors, height=0.8)
        for place, row in enumerate(rows):
            if row[column] is None:
                axis.text(0, place, " not counted", va="center", fontsize=6, color=RED)
            elif row[column]:
                axis.text(row[column], place, f" {short(row[column])}", va="center", fontsize=6)
        axis.set(xlabel=f"{label}: {short(sum(values))}", xlim=(0, 1.12 * max(values, default=0) or 1))
        axis.xaxis.set_major_formatter(lambda value, _: short(value))
        axis.grid(alpha=0.3, axis="x")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, names, fontsize=7)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    save(figure, path)


def network_bubbles(points, path, title, label):
    """Draw networks as bubbles: multiply-adds across, a value such as the published error upwards, parameters as area.

    Args:
        points: (name, multiply-adds, parameters, value) of each network, the value a number.
        path: PNG file to write.
        title: above the whole.
        label: of the values.
    """
    figure, axis = new_figure(10, 6.5, title)
    macs, parameters, values = (np.array(column, float) for column in list(zip(*points, strict=True))[1:])
    scale = 2500 / parameters.max()
    axis.scatter(macs, values, s=scale * parameters, color=BLUE, alpha=0.3, edgecolor=BLUE)
    axis.scatter(macs, values, s=6, color=BLUE)
    axis.set(xlabel="multiply-adds of one image", ylabel=fit(label, 5, 10, lines=2))
    axis.margins(0.15)
    logarithmic(axis.xaxis)
    axis.xaxis.set_major_formatter(lambda value, _: short(value))
    axis.grid(alpha=0.3)
    for size in (1, 10, 100):
        share = 10.0 ** (int(np.log10(parameters.max())) - 2) * size
        axis.scatter([], [], s=scale * share, color=GRAY, alpha=0.3, label=short(share))
    legend = {"labelspacing": 2.5, "handletextpad": 2.5, "borderpad": 2, "frameon": False}
    axis.legend(title="parameters", loc="center left", bbox_to_anchor=(1, 0.5), **legend)
    lay_out(figure)
    figure.set_layout_engine("none")  # the texts go where the points are now
    _name_points(axis, [name for name, *_ in points], macs, values)
    save(figure, path)


def benchmark_chart(rows, path, title, batch=1):
    """Draw what was measured of a model and its artifacts: latency across, accuracy upwards, file size as area.

    Args:
        rows: (name, runtime, accuracy or None, seconds of a call, bytes of the file) of each. If one has no accuracy,
            the file size goes upwards instead.
        path: PNG file to write.
        title: above the whole.
        batch: images a call.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    names, runtimes, accuracies, seconds, sizes = zip(*rows, strict=True)
    by_size = None in accuracies
    xs, megabytes = 1e3 * np.array(seconds), np.array(sizes) / 1e6
    ys = megabytes if by_size else 100 * np.array(accuracies)
    scale = 900 / megabytes.max()
    areas = np.full(len(rows), 60.0) if by_size else scale * megabytes
    figure, axis = new_figure(10, 5.5, title)
    colors = [RUNTIMES.get(runtime, GRAY) for runtime in runtimes]
    axis.scatter(xs, ys, s=areas, color=[(color, 0.35) for color in colors], edgecolor=colors)
    axis.scatter(xs, ys, s=6, color=colors)
    for runtime, color in dict(zip(runtimes, colors, strict=True)).items():
        axis.scatter([], [], s=60, color=(color, 0.35), edgecolor=color, label=runtime)
    for size in () if by_size else megabytes.max() * np.array([0.25, 1]):
        axis.scatter([], [], s=scale * size, color="none", edgecolor=GRAY, label=f"{short(1e6 * size)}B")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelspacing=2, handletextpad=1.5, borderpad=1)
    axis.set(
        xscale="log",
        xlabel=f"latency of {counted(batch, 'image')}, ms",
        ylabel="file size, MB" if by_size else "accuracy, %",
    )
    axis.set_xlim(xs.min() / 2, 2 * xs.max())
    room = 0.25 * ys.max() if by_size else max(0.4, 0.3 * np.ptp(ys))
    low, high = ys.min() - room, ys.max() + room
    axis.set_ylim(low, high)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plain_numbers(axis.xaxis)
    axis.xaxis.set_minor_formatter(NullFormatter())
    most = high if by_size else min(high, 100)
    axis.set_yticks([value for value in axis.get_yticks() if max(0, low) <= value <= most])
    plain_numbers(axis.yaxis)
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    lay_out(figure)
    figure.set_layout_engine("none")  # the texts go where the points are now
    _name_points(axis, names, xs, ys, np.sqrt(areas / np.pi) * figure.dpi / 72)
    save(figure, path)


def _name_points(axis, names, xs, ys, radii=None):
    """Write each name beside its point, inside the axes, away from other points and the names that are there already.

    Args:
        axis: where the points are.
        names, xs, ys: of the points.
        radii: of their marks in pixels, which the names keep clear of; None: of the points themselves.
    """
    points = 8
    names = [fit(name, 2.5, points) for name in names]
    widths = [axis.figure.dpi * text_width(name, points) + 6 for name in names]
    centers = axis.transData.transform(np.column_stack([xs, ys]))
    radii = np.full(len(names), 4.0) if radii is None else np.asarray(radii)
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centers, radii, strict=True)]
    inside = axis.get_window_extent()
    radii_tried = (8, 20, 34, 50, 68, 88, *range(110, int(max(inside.width, inside.height)), 30))
    ring = [(radius, angle) for radius in radii_tried for angle in range(-30, 330, 30)]
    for k in np.argsort(-centers[:, 1], kind="stable"):
        (x, y), (width, height) = centers[k], (widths[k], 18)
        for radius, angle in ring:
            left = x + (radii[k] + radius) * np.cos(np.radians(angle)) - (width if 90 < angle < 270 else 0)
            bottom = y + (radii[k] + radius) * np.sin(np.radians(angle)) - height / 2
            box = left, bottom, left + width, bottom + height
            within = inside.x0 <= box[0] and box[2] <= inside.x1 and inside.y0 <= box[1] and box[3] <= inside.y1
            if within and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                break
        taken.append(box)
        line = {"arrowstyle": "-", "color": GRAY, "lw": 0.5, "shrinkA": 0}
        place = {"xytext": (left - x, bottom + 2 - y), "textcoords": "offset pixels", "va": "bottom"}
        axis.annotate(names[k], (xs[k], ys[k]), **place, fontsize=points, arrowprops=line)
