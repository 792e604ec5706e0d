"""Charts of trainings, networks and artifacts."""

import numpy as np

from keras_cnns._render._figure import BLUE, GRAY, GREEN, ORANGE, RED, any_script, new_figure, save, short

# Of the runtimes, whichever of them were measured
RUNTIMES = {"Keras": BLUE, "tf.saved_model": ORANGE, "LiteRT": GREEN, "ONNX Runtime": RED}


def training_curve(history, path, title):
    """Draw loss and accuracy over the epochs, training and validation.

    Args:
        history: dictionary from "loss", "val_loss", "accuracy", "val_accuracy" to one value an epoch.
        path: PNG file to write.
        title: above the picture.
    """
    figure, axes = new_figure(9, 3.6, ncols=2)
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
    save(figure, path)


def network_bars(rows, path, title):
    """Draw a network from input to output: a bar a layer for its multiply-adds, and one for its parameters.

    Args:
        rows: (layer, output shape, multiply-adds or None, parameters) of each layer, from input to output.
        path: PNG file to write.
        title: above the picture.
    """
    names = [f"{layer}   {'x'.join(map(str, shape))}" for layer, shape, *_ in rows]
    # One color a resolution, from light (large maps) to dark; vectors are gray
    sides = sorted({shape[0] for _, shape, *_ in rows if len(shape) == 3}, reverse=True)
    shades = {side: shade for side, shade in zip(sides, np.linspace(0.35, 0.95, len(sides)), strict=True)}
    from matplotlib import colormaps

    colors = [colormaps["Blues"](shades[shape[0]]) if len(shape) == 3 else GRAY for _, shape, *_ in rows]
    figure, axes = new_figure(11, 1.3 + 0.17 * len(rows), ncols=2, sharey=True)
    figure.suptitle(title, fontsize=10)
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
        title: above the picture.
        label: of the values.
    """
    figure, axis = new_figure(10, 6.5)
    figure.suptitle(title, fontsize=10)
    macs, parameters, values = (np.array(column, float) for column in list(zip(*points, strict=True))[1:])
    scale = 2500 / parameters.max()
    axis.scatter(macs, values, s=scale * parameters, color=BLUE, alpha=0.3, edgecolor=BLUE)
    axis.scatter(macs, values, s=6, color=BLUE)
    axis.set(xscale="log", xlabel="multiply-adds of one picture", ylabel=label)
    axis.xaxis.set_major_formatter(lambda value, _: short(value))
    axis.grid(alpha=0.3, which="both")
    axis.margins(0.15)
    for size in (1, 10, 100):
        share = 10.0 ** (int(np.log10(parameters.max())) - 2) * size
        axis.scatter([], [], s=scale * share, color=GRAY, alpha=0.3, label=short(share))
    legend = {"labelspacing": 2.5, "handletextpad": 2.5, "borderpad": 2, "frameon": False}
    axis.legend(title="parameters", loc="center left", bbox_to_anchor=(1, 0.5), **legend)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the texts go where the points are now
    _name_points(axis, [name for name, *_ in points], macs, values)
    save(figure, path)


def benchmark_chart(rows, path, title, batch=1):
    """Draw what was measured of a model and its artifacts: latency across, accuracy upwards, file size as area.

    Args:
        rows: (name, runtime, accuracy or None, seconds of a call, bytes of the file) of each. If one has no accuracy,
            the file size goes upwards instead.
        path: PNG file to write.
        title: above the picture.
        batch: pictures a call.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    names, runtimes, accuracies, seconds, sizes = zip(*rows, strict=True)
    by_size = None in accuracies
    xs, megabytes = 1e3 * np.array(seconds), np.array(sizes) / 1e6
    ys = megabytes if by_size else 100 * np.array(accuracies)
    scale = 900 / megabytes.max()
    areas = np.full(len(rows), 60.0) if by_size else scale * megabytes
    figure, axis = new_figure(10, 5.5)
    figure.suptitle(title, fontsize=10)
    colors = [RUNTIMES.get(runtime, GRAY) for runtime in runtimes]
    axis.scatter(xs, ys, s=areas, color=[(color, 0.35) for color in colors], edgecolor=colors)
    axis.scatter(xs, ys, s=6, color=colors)
    for runtime, color in dict(zip(runtimes, colors, strict=True)).items():
        axis.scatter([], [], s=60, color=(color, 0.35), edgecolor=color, label=runtime)
    for size in () if by_size else megabytes.max() * np.array([0.25, 1]):
        axis.scatter([], [], s=scale * size, color="none", edgecolor=GRAY, label=f"{short(1e6 * size)}B")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelspacing=2, handletextpad=1.5, borderpad=1)
    calls = "one picture" if batch == 1 else f"{batch} pictures"
    axis.set(xscale="log", xlabel=f"latency of {calls}, ms", ylabel="file size, MB" if by_size else "accuracy, %")
    axis.set_xlim(xs.min() / 2, 2 * xs.max())
    room = 0.25 * ys.max() if by_size else max(0.4, 0.3 * np.ptp(ys))
    low, high = ys.min() - room, ys.max() + room
    axis.set_ylim(low, high)
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
    most = high if by_size else min(high, 100)
    axis.set_yticks([value for value in axis.get_yticks() if max(0, low) <= value <= most])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)
    figure.draw_without_rendering()
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
    from matplotlib.textpath import TextPath

    points = 8
    with any_script():
        widths = [TextPath((0, 0), name, points * axis.figure.dpi / 72).get_extents().width + 6 for name in names]
    centers = axis.transData.transform(np.column_stack([xs, ys]))
    radii = np.full(len(names), 4.0) if radii is None else np.asarray(radii)
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(centers, radii, strict=True)]
    inside = axis.get_window_extent()
    ring = [(radius, angle) for radius in (8, 20, 34, 50, 68, 88, 110, 140) for angle in range(-30, 330, 30)]
    for k in np.argsort(-centers[:, 1], kind="stable"):
        (x, y), (width, height) = centers[k], (widths[k], 14)
        for radius, angle in ring:
            left = x + (radii[k] + radius) * np.cos(np.radians(angle)) - (width if 90 < angle < 270 else 0)
            bottom = y + (radii[k] + radius) * np.sin(np.radians(angle)) - height / 2
            box = left, bottom, left + width, bottom + height
            within = inside.x0 <= box[0] and box[2] <= inside.x1 and inside.y0 <= box[1] and box[3] <= inside.y1
            if within and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                break
        taken.append(box)
        line = {"arrowstyle": "-", "color": GRAY, "lw": 0.5, "shrinkA": 0}
        place = {"xytext": (left - x, bottom + 3 - y), "textcoords": "offset pixels"}
        axis.annotate(names[k], (xs[k], ys[k]), **place, fontsize=points, arrowprops=line)
