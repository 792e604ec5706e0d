"""Maps: laid over their images, or as they are; and the filters that make them."""

import numpy as np

from keras_cnns._render._figure import (
    GRAY,
    RED,
    SERIES,
    as_pixels,
    caption,
    caption_height,
    new_figure,
    save,
    show_image,
)
from keras_cnns._render._labels import fit

COLORS = [color for color in SERIES if color != GRAY]
VALUES = "viridis"  # from dark to light, so that color-blind eyes and gray paper keep the order
AROUND_ZERO = "PuOr_r"  # violet below, white at zero, orange above
MOST = 64  # tiles of a drawing
GAP, TEXT_GAP = 0.08, 0.22  # between tiles of width 1, and where a text stands between them
CELL, PANEL = 1.5, 2.2  # inches, the width of an image in a grid and of one of three panels
INTO_GRAY = 0.299, 0.587, 0.114  # brightness of red, green and blue


def class_map_grid(images, maps, texts, path, title, label, limits=None, columns=6):
    """Draw images, and below each a map laid over it.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        maps: float array (images, height, width), as `on_images()` of a class map gives them.
        texts: for each image the parts of its caption, below each other: (text, tail), the tail never shortened.
        path: PNG file to write.
        title: above the whole.
        label: what the maps' values are, with their unit; beside the color bar.
        limits: values of the darkest and the lightest color. None: the least and the largest one.
        columns: images a row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    captions = [caption(parts, CELL) for parts in texts]
    size = (CELL + 0.1) * columns + 1.1, (2 * CELL + 0.2 + caption_height(captions)) * rows + 0.4
    rows *= 2
    figure, axes = new_figure(*size, title, nrows=rows, ncols=columns, squeeze=False)
    low, high = (np.nanmin(maps), np.nanmax(maps)) if limits is None else limits
    _hide(axes)
    pairs = [pair for k in range(0, rows, 2) for pair in zip(axes[k], axes[k + 1], strict=True)]
    for (above, below), image, values, text in zip(pairs, images, maps, captions, strict=False):
        show_image(above, image)
        above.set_title(text, fontsize=8, pad=3)
        show_image(below, _gray(image))
        drawn = below.imshow(values, cmap=VALUES, vmin=low, vmax=high, alpha=0.6)
    _color_bar(figure, drawn, axes, label)
    save(figure, path)


def occlusion_grid(images, occlusion, class_names, path, title):
    """Draw images, the probability of the class with each part hidden, and the class that is then predicted.

    Each value stands at the middle of the window that was hidden. Zeiler and Fergus 2014, figure 7 (a, d, e).

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        occlusion: the `OcclusionMap` of these images.
        class_names: of all classes.
        path: PNG file to write.
        title: above the whole.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch, Rectangle

    figure, axes = new_figure(10, 2.7 * len(images) + 0.7, title, nrows=len(images), ncols=3, squeeze=False)
    (height, width), (tall, wide) = occlusion.image_size, occlusion.size
    edges = _edges(occlusion.lefts + wide / 2), _edges(occlusion.tops + tall / 2)
    # The most frequent classes have colors of their own, so that a few strange ones do not take them
    classes, counts = np.unique(occlusion.predictions, return_counts=True)
    shown = sorted(classes[np.argsort(-counts, kind="stable")[: len(COLORS)]])
    colors = [*COLORS[: len(shown)], GRAY]
    place = {number: k for k, number in enumerate(shown)}
    for k, (row, image) in enumerate(zip(axes, images, strict=True)):
        target = occlusion.targets[k]
        for axis in row:
            show_image(axis, image if axis is row[0] else _gray(image), extent=(0, width, height, 0))
            axis.set(xlim=(0, width), ylim=(height, 0))
            axis.tick_params(labelsize=7)
            for side in (axis.xaxis, axis.yaxis):
                side.get_major_locator().set_params(integer=True)
        row[0].add_patch(Rectangle((0, 0), wide, tall, facecolor="none", edgecolor=RED, lw=1.5))
        row[0].set_ylabel("pixel row", fontsize=8)
        name = class_names[target]
        unhidden = f"{occlusion.unoccluded[k]:.1%} with nothing hidden"
        row[0].set_title(caption([(name, ""), (unhidden, "")], PANEL), fontsize=8, pad=4)
        over = {"alpha": 0.75, "edgecolors": "none"}
        drawn = row[1].pcolormesh(*edges, occlusion.scores[k], cmap=VALUES, vmin=0, vmax=1, **over)
        above = [(f"probability of {name}", ""), ("at the middle of the hidden window", "")]
        row[1].set_title(caption(above, PANEL), fontsize=8, pad=4)
        found = np.vectorize(lambda number: place.get(number, len(shown)))(occlusion.predictions[k])
        row[2].pcolormesh(*edges, found, cmap=ListedColormap(colors), vmin=-0.5, vmax=len(colors) - 0.5, **over)
        above = [("predicted class", ""), ("at the middle of the hidden window", "")]
        row[2].set_title(caption(above, PANEL), fontsize=8, pad=4)
    for axis in axes[-1]:
        axis.set_xlabel("pixel column", fontsize=8)
    _color_bar(figure, drawn, axes[:, 1], "probability")
    names = [fit(class_names[number], 1.5, 8, lines=2) for number in shown]
    names += ["others"] if len(classes) > len(shown) else []
    patches = [Patch(color=color, alpha=0.75) for color, _ in zip(colors, names, strict=False)]
    patches.append(Patch(facecolor="none", edgecolor=RED))
    names.append(f"size of the window\n({tall}x{wide} pixels)")
    axes[0, 2].legend(patches, names, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)
    save(figure, path)


def feature_map_grid(maps, path, title, units=None, columns=8):
    """Draw what a layer gives for one image, a tile a channel, all on one scale.

    Args:
        maps: float array (height, width, channels).
        path: PNG file to write.
        title: above the whole.
        units: channels to draw, at most 64. None: the first ones.
        columns: tiles a row.
    """
    units = list(range(maps.shape[-1]) if units is None else units)[:MOST]
    chosen = np.moveaxis(maps[..., units], -1, 0)
    title = _counted(title, len(units), maps.shape[-1], "channels")
    scale = {"cmap": VALUES, "vmin": chosen.min(), "vmax": chosen.max()}
    figure, axis, drawn = _draw_tiles(chosen, [f"channel {unit}" for unit in units], columns, title, 1.1, **scale)
    _color_bar(figure, drawn, axis, "activation")
    save(figure, path)


def filter_grid(filters, path, title, units=None, columns=8):
    """Draw filters: those on red, green and blue as colors around gray, which is zero; others channel by channel.

    Args:
        filters: float array (outputs, height, width, channels), as `analysis.filters` gives them.
        path: PNG file to write.
        title: above the whole.
        units: outputs to draw, at most 64, of more channels than 3 at most 16. None: the first ones.
        columns: filters a row, of 1 or 3 channels.
    """
    count, _, _, channels = filters.shape
    several = channels not in (1, 3)
    units = list(range(count) if units is None else units)[: 16 if several else MOST]
    chosen = filters[units]
    most = np.abs(chosen).max() or 1.0
    scale = {"cmap": AROUND_ZERO, "vmin": -most, "vmax": most}
    title = _counted(title, len(units), count, "filters")
    if channels == 3:
        title += "\nzero is gray, and each filter has a scale of its own"
    if several:
        shown = min(channels, 16)
        title = _counted(title, shown, channels, "input channels")
        tiles = chosen[..., :shown].transpose(0, 3, 1, 2).reshape(-1, *chosen.shape[1:3])
        figure, axis, drawn = _draw_tiles(tiles, None, shown, title, 0.5, **scale)
        _name_rows_and_columns(axis, units, range(shown), chosen.shape[1] / chosen.shape[2])
    else:
        tiles = chosen[..., 0] if channels == 1 else [_around_gray(one) for one in chosen]
        figure, axis, drawn = _draw_tiles(tiles, units, columns, title, 0.95, **scale)
    if channels != 3:
        _color_bar(figure, drawn, axis, "weight")
    save(figure, path)


def _draw_tiles(tiles, texts, columns, title, inches, **options):
    """Draw equal arrays row by row, each with its text above; return (figure, axis, the last array drawn).

    All are in one axis, 1 wide: an axis for each would take seconds.
    """
    tall, gap = tiles[0].shape[0] / tiles[0].shape[1], GAP if texts is None else TEXT_GAP
    rows, across = -(-len(tiles) // columns), min(columns, len(tiles))
    width, height = across * (1 + GAP) + GAP, rows * (tall + gap) + GAP
    numbers = 0.4 if texts is None else 0  # inches below the tiles
    figure, axis = new_figure(inches * width + 1.2, inches * height + 0.6 + numbers, title)
    for k, tile in enumerate(tiles):
        left, top = k % columns * (1 + GAP), k // columns * (tall + gap)
        drawn = axis.imshow(tile, extent=(left, left + 1, top + tall, top), **options)
        if texts is not None:
            axis.text(left + 0.5, top - 0.03, texts[k], fontsize=8, ha="center", va="bottom")
    axis.set(xlim=(-GAP, width - GAP), ylim=(height - gap, -gap))
    axis.set_axis_off()
    return figure, axis, drawn


def _name_rows_and_columns(axis, rows, columns, tall):
    """Write numbers of filters and of channels at tiles that were drawn without texts."""
    axis.set_axis_on()
    axis.spines[:].set_visible(False)
    axis.set_xticks(np.arange(len(columns)) * (1 + GAP) + 0.5, columns)
    axis.set_yticks(np.arange(len(rows)) * (tall + GAP) + tall / 2, rows)
    axis.tick_params(length=0, labelsize=8)
    axis.set_xlabel("input channel", fontsize=8)
    axis.set_ylabel("filter", fontsize=8)


def _hide(axes):
    for axis in axes.flat:
        axis.set_axis_off()


def _gray(image):
    """Return an image's brightness, (height, width, 1), so that a map's colors are the only ones."""
    return image if image.shape[-1] == 1 else (image @ np.array(INTO_GRAY))[..., None]


def _around_gray(one):
    """Return a filter as an image: zero is middle gray, its largest weight black or white."""
    return as_pixels(np.stack([one, -one]), together=True)[0]


def _edges(middles):
    """Return the edges of cells around points in ascending order, halfway between them."""
    if len(middles) == 1:
        return middles[0] + np.array([-0.5, 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])


def _counted(title, shown, there, things):
    """Return a title that says so where not all things are shown."""
    return title if shown == there else f"{title} ({shown} of {there} {things})"


def _color_bar(figure, drawn, axes, label):
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=30, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    bar.solids.set_alpha(1)
