"""Grids of small tiles: feature maps, filters, and feature maps over epochs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns._render._figure import as_pixels, color_bar, new_figure, save
from keras_cnns._render._labels import fit
from keras_cnns._render.maps import VALUES
from keras_cnns.typing import Path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AROUND_ZERO = "PuOr_r"  # violet for negative values, white at zero, orange for positive values
MOST_TILES = 64
MOST_CHANNELS = 16  # input channels of filters drawn channel by channel, and then most filters too
GAP, TEXT_GAP = 0.08, 0.22  # between tiles of width 1, without and with texts in between
SNAPSHOT_SIDE = 0.8  # inches


def feature_map_grid(
    maps: np.ndarray, path: Path, title: str, units: Sequence[int] | None = None, columns: int = 8
) -> None:
    """Draw a layer's output for one image, one tile per channel.

    All tiles share one color scale.

    Args:
        maps: float array (height, width, channels).
        path: PNG file to write.
        title: title of the grid.
        units: channels to draw, at most 64. None: the first ones.
        columns: tiles per row.
    """
    units = list(range(maps.shape[-1]) if units is None else units)[:MOST_TILES]
    chosen = np.moveaxis(maps[..., units], -1, 0)
    title = _add_count(title, len(units), maps.shape[-1], "channels")
    scale = {"cmap": VALUES, "vmin": chosen.min(), "vmax": chosen.max()}
    figure, panel, colored = _draw_tiles(chosen, [f"channel {unit}" for unit in units], columns, title, 1.1, **scale)
    color_bar(figure, colored, panel, "activation")
    save(figure, path)


def filter_grid(
    filters: np.ndarray, path: Path, title: str, units: Sequence[int] | None = None, columns: int = 8
) -> None:
    """Draw filters as tiles.

    Filters of three channels are drawn in color, with zero as gray, each on its own scale. Filters of one channel are
    drawn on one common scale. Other filters are drawn channel by channel, one row per filter.

    Args:
        filters: float array (outputs, height, width, channels), as `analysis.filters` returns it.
        path: PNG file to write.
        title: title of the grid.
        units: outputs to draw, at most 64, or 16 if they are drawn channel by channel. None: the first ones.
        columns: filters per row, unless they are drawn channel by channel.
    """
    count, height, width, channels = filters.shape
    by_channel = channels not in (1, 3)
    units = list(range(count) if units is None else units)[: MOST_CHANNELS if by_channel else MOST_TILES]
    chosen = filters[units]
    most = np.abs(chosen).max() or 1.0
    scale = {"cmap": AROUND_ZERO, "vmin": -most, "vmax": most}
    title = _add_count(title, len(units), count, "filters")
    if channels == 3:
        title += "\nzero is gray, and each filter has its own scale"
    if by_channel:
        shown = min(channels, MOST_CHANNELS)
        title = _add_count(title, shown, channels, "input channels")
        by_row = chosen[..., :shown].transpose(0, 3, 1, 2).reshape(-1, height, width)
        figure, panel, colored = _draw_tiles(by_row, None, shown, title, 0.5, **scale)
        _label_rows_and_columns(panel, units, range(shown), height / width)
    else:
        tiles = chosen[..., 0] if channels == 1 else [_to_color_image(kernel) for kernel in chosen]
        figure, panel, colored = _draw_tiles(tiles, list(map(str, units)), columns, title, 0.95, **scale)
    if channels != 3:
        color_bar(figure, colored, panel, "weight")
    save(figure, path)


def snapshot_grid(
    rows: Mapping[str, tuple[Sequence[int] | np.ndarray, np.ndarray]], epochs: Sequence[int], path: Path, title: str
) -> None:
    """Draw feature maps at epochs of a training run.

    Epochs are columns and units rows. Each unit has one scale over all epochs.

    Args:
        rows: from each layer to the numbers of its units, and maps (epochs, units, height, width).
        epochs: numbers of the epochs.
        path: PNG file to write.
        title: title of the grid.

    Reference:
        Zeiler and Fergus 2014, figure 4.
    """
    lines = [(layer, unit, maps[:, k]) for layer, (units, maps) in rows.items() for k, unit in enumerate(units)]
    inches = 1.4 + SNAPSHOT_SIDE * len(epochs), 0.8 + SNAPSHOT_SIDE * len(lines)
    figure, panels = new_figure(*inches, title, nrows=len(lines), ncols=len(epochs), squeeze=False)
    for panel_row, (layer, unit, maps) in zip(panels, lines, strict=True):
        low, high = maps.min(), maps.max()
        for panel, feature_map in zip(panel_row, maps, strict=True):
            panel.imshow(feature_map, cmap="gray", vmin=low, vmax=high if high > low else low + 1, aspect="equal")
            panel.set_xticks([])
            panel.set_yticks([])
        name = f"{fit(layer, 1.2, 8, lines=2)}\nunit {unit}"
        panel_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    for panel, epoch in zip(panels[0], epochs, strict=True):
        panel.set_title(f"epoch {epoch}", fontsize=8, pad=3)
    save(figure, path)


def _draw_tiles(
    tiles: Sequence[np.ndarray] | np.ndarray,
    texts: Sequence[str] | None,
    columns: int,
    title: str,
    inches: float,
    **options: Any,
) -> "tuple[Figure, Axes, Any]":
    """Draw arrays of one size row by row, each below its text.

    Args:
        tiles: (height, width), or uint8 (height, width, 3), each.
        texts: one per tile; None: no texts.
        columns: tiles per row.
        title: title of the figure.
        inches: width of a tile.
        **options: of matplotlib's `imshow`.

    Returns:
        The figure, its panel, and the last result of `imshow`, for a color bar.
    """
    ratio, gap = tiles[0].shape[0] / tiles[0].shape[1], GAP if texts is None else TEXT_GAP
    rows, across = -(-len(tiles) // columns), min(columns, len(tiles))
    width, height = across * (1 + GAP) + GAP, rows * (ratio + gap) + GAP
    below = 0.4 if texts is None else 0  # inches for the numbers of columns
    # All tiles are in one panel, in which a tile is 1 wide, because a panel for each would take seconds.
    figure, panel = new_figure(inches * width + 1.2, inches * height + 0.6 + below, title)
    for k, tile in enumerate(tiles):
        left, top = k % columns * (1 + GAP), k // columns * (ratio + gap)
        colored = panel.imshow(tile, extent=(left, left + 1, top + ratio, top), **options)
        if texts is not None:
            panel.text(left + 0.5, top - 0.03, texts[k], fontsize=8, ha="center", va="bottom")
    panel.set(xlim=(-GAP, width - GAP), ylim=(height - gap, -gap))
    panel.set_axis_off()
    return figure, panel, colored


def _label_rows_and_columns(panel: "Axes", rows: Sequence[int], columns: Sequence[int], ratio: float) -> None:
    """Write the numbers of filters and channels beside tiles without texts.

    Args:
        panel: with the tiles.
        rows: numbers of the filters.
        columns: numbers of the channels.
        ratio: height of a tile divided by its width.
    """
    panel.set_axis_on()
    panel.spines[:].set_visible(False)
    panel.set_xticks(np.arange(len(columns)) * (1 + GAP) + 0.5, list(map(str, columns)))
    panel.set_yticks(np.arange(len(rows)) * (ratio + GAP) + ratio / 2, list(map(str, rows)))
    panel.tick_params(length=0, labelsize=8)
    panel.set_xlabel("input channel", fontsize=8)
    panel.set_ylabel("filter", fontsize=8)


def _to_color_image(kernel: np.ndarray) -> np.ndarray:
    """Return a filter as a uint8 image in which zero is gray."""
    return as_pixels(np.stack([kernel, -kernel]), together=True)[0]


def _add_count(title: str, shown: int, total: int, noun: str) -> str:
    """Return a title that says how many are shown, unless all are."""
    return title if shown == total else f"{title} ({shown} of {total} {noun})"
