"""The one place that draws, for all rooms. Pictures are PNG files, written whole or not at all."""

import warnings

import numpy as np

from keras_cnns import _files

# Okabe and Ito's colors, told apart by color-blind eyes too
BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"


def _figure(width, height, **subplots):
    from matplotlib.figure import Figure  # without pyplot: no window system, no state between calls

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots(**subplots)


def _save(figure, path):
    with _files.writing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class name in a script that matplotlib's font lacks
        figure.savefig(temporary, format="png")


def training_curve(history, path, title):
    """Draw loss and accuracy over the epochs, training and validation.

    Args:
        history: dictionary from "loss", "val_loss", "accuracy", "val_accuracy" to one value an epoch.
        path: PNG file to write.
        title: above the picture.
    """
    figure, axes = _figure(9, 3.6, ncols=2)
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
    _save(figure, path)


def prediction_grid(images, labels, probabilities, class_names, path, title, columns=8):
    """Draw pictures, each with its predicted class and the probability; errors in red, with the true class.

    Args:
        images: uint8 array (pictures, height, width, 1 or 3).
        labels: true classes (pictures,), whole numbers.
        probabilities: array (pictures, classes).
        class_names: one a column of `probabilities`.
        path: PNG file to write.
        title: above the picture.
        columns: pictures a row.
    """
    rows = -(-len(images) // columns)
    figure, axes = _figure(1.1 * columns, 1.35 * rows + 0.4, nrows=rows, ncols=columns, squeeze=False)
    figure.suptitle(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, label, row in zip(axes.flat, images, labels, probabilities, strict=False):
        best = int(np.argmax(row))
        right = best == label
        text = f"{class_names[best]}  {row[best]:.1%}" + ("" if right else f"\ntrue: {class_names[label]}")
        axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axis.set_title(text, fontsize=8, color="black" if right else RED, pad=2)
    _save(figure, path)


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
    figure, axes = _figure(11, 1.3 + 0.17 * len(rows), ncols=2, sharey=True)
    figure.suptitle(title, fontsize=10)
    places = np.arange(len(rows))
    for axis, column, label in zip(axes, (2, 3), ("multiply-adds", "parameters"), strict=True):
        values = [row[column] or 0 for row in rows]
        axis.barh(places, values, color=colors, height=0.8)
        for place, row in enumerate(rows):
            if row[column] is None:
                axis.text(0, place, " not counted", va="center", fontsize=6, color=RED)
            elif row[column]:
                axis.text(row[column], place, f" {_short(row[column])}", va="center", fontsize=6)
        axis.set(xlabel=f"{label}: {_short(sum(values))}", xlim=(0, 1.12 * max(values, default=0) or 1))
        axis.xaxis.set_major_formatter(lambda value, _: _short(value))
        axis.grid(alpha=0.3, axis="x")
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(places, names, fontsize=7)
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    _save(figure, path)


def network_bubbles(points, path, title, label):
    """Draw networks as bubbles: multiply-adds across, a value such as the published error upwards, parameters as area.

    Args:
        points: (name, multiply-adds, parameters, value) of each network, the value a number.
        path: PNG file to write.
        title: above the picture.
        label: of the values.
    """
    figure, axis = _figure(10, 6.5)
    figure.suptitle(title, fontsize=10)
    macs, parameters, values = (np.array(column, float) for column in list(zip(*points, strict=True))[1:])
    scale = 2500 / parameters.max()
    axis.scatter(macs, values, s=scale * parameters, color=BLUE, alpha=0.3, edgecolor=BLUE)
    axis.scatter(macs, values, s=6, color=BLUE)
    axis.set(xscale="log", xlabel="multiply-adds of one picture", ylabel=label)
    axis.xaxis.set_major_formatter(lambda value, _: _short(value))
    axis.grid(alpha=0.3, which="both")
    axis.margins(0.15)
    for size in (1, 10, 100):
        share = 10.0 ** (int(np.log10(parameters.max())) - 2) * size
        axis.scatter([], [], s=scale * share, color=GRAY, alpha=0.3, label=_short(share))
    legend = {"labelspacing": 2.5, "handletextpad": 2.5, "borderpad": 2, "frameon": False}
    axis.legend(title="parameters", loc="center left", bbox_to_anchor=(1, 0.5), **legend)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the texts go where the points are now
    _name_points(axis, [name for name, *_ in points], macs, values)
    _save(figure, path)


def _name_points(axis, names, xs, ys):
    """Write each name beside its point, away from other points and from the names that are there already."""
    centers = axis.transData.transform(np.column_stack([xs, ys]))
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in centers]
    ring = [(radius, angle) for radius in (12, 24, 38, 54, 72, 92) for angle in range(-30, 330, 30)]
    for k in np.argsort(-centers[:, 1], kind="stable"):
        (x, y), (width, height) = centers[k], (8 * len(names[k]), 14)
        for radius, angle in ring:
            left = x + radius * np.cos(np.radians(angle)) - (width if 90 < angle < 270 else 0)
            bottom = y + radius * np.sin(np.radians(angle)) - height / 2
            box = left, bottom, left + width, bottom + height
            if not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
                break
        taken.append(box)
        line = {"arrowstyle": "-", "color": GRAY, "lw": 0.5, "shrinkA": 0}
        place = {"xytext": (left - x, bottom + 3 - y), "textcoords": "offset pixels"}
        axis.annotate(names[k], (xs[k], ys[k]), **place, fontsize=8, arrowprops=line)


def _short(value):
    """Return a number with three digits and its thousands in words: 1.58 G, 27.2 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
