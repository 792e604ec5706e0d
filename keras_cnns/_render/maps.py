"""Maps drawn over their images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns._render._figure import (
    GRAY,
    RED,
    SERIES,
    caption,
    caption_height,
    color_bar,
    new_figure,
    save,
    show_image,
)
from keras_cnns._render._labels import fit
from keras_cnns.typing import Path, Pixels, Size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = [color for color in SERIES if color != GRAY]
VALUES = "viridis"  # from dark to light, so that color-blind eyes and gray prints keep the order
CELL, PANEL = 1.5, 2.2  # inches, width of an image in a grid and of one of three panels
LUMINANCE = 0.299, 0.587, 0.114  # weights of red, green and blue in brightness


def class_map_grid(
    images: Pixels,
    maps: np.ndarray,
    texts: Sequence[Sequence[tuple[str, str]]],
    path: Path,
    title: str,
    label: str,
    limits: tuple[float, float] | None = None,
    columns: int = 6,
) -> None:
    """Draw images, each above its map over the image in gray.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        maps: float array (images, height, width), as `on_images()` of a class map returns it.
        texts: for each image the parts of its caption, below each other: (text, tail), the tail is never shortened.
        path: PNG file to write.
        title: title of the grid.
        label: of the color bar: quantity and unit of the maps.
        limits: values of the darkest and the lightest color. None: the least and the largest value.
        columns: images per row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    captions = [caption(parts, CELL) for parts in texts]
    size = (CELL + 0.1) * columns + 1.1, (2 * CELL + 0.2 + caption_height(captions)) * rows + 0.4
    figure, panels = new_figure(*size, title, nrows=2 * rows, ncols=columns, squeeze=False)
    low, high = (np.nanmin(maps), np.nanmax(maps)) if limits is None else limits
    for panel in panels.flat:
        panel.set_axis_off()
    pairs = [pair for k in range(0, 2 * rows, 2) for pair in zip(panels[k], panels[k + 1], strict=True)]
    for (above, below), image, values, text in zip(pairs, images, maps, captions, strict=False):
        show_image(above, image)
        above.set_title(text, fontsize=8, pad=3)
        show_image(below, _to_gray(image))
        colored = below.imshow(values, cmap=VALUES, vmin=low, vmax=high, alpha=0.6)
    color_bar(figure, colored, panels, label)
    save(figure, path)


def occlusion_grid(images: Pixels, occlusion: Any, class_names: Sequence[str], path: Path, title: str) -> None:
    """Draw class probability and predicted class with each part hidden.

    Each value stands at the center of the window that was hidden.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        occlusion: `keras_cnns.analysis.OcclusionMap` of these images.
        class_names: one per class.
        path: PNG file to write.
        title: title of the plot.

    Reference:
        Zeiler and Fergus 2014, figure 7 (a, d, e).
    """
    figure, panels = new_figure(10, 2.7 * len(images) + 0.7, title, nrows=len(images), ncols=3, squeeze=False)
    height, width = occlusion.size
    edges = _cell_edges(occlusion.lefts + width / 2), _cell_edges(occlusion.tops + height / 2)
    # The most frequent classes have a color; all others share one, so that rare classes do not use the colors up.
    classes, counts = np.unique(occlusion.predictions, return_counts=True)
    colored_classes = sorted(classes[np.argsort(-counts, kind="stable")[: len(COLORS)]])
    for k, (row, image) in enumerate(zip(panels, images, strict=True)):
        name = class_names[occlusion.targets[k]]
        _draw_image_and_axes(row, image, occlusion.size, occlusion.image_size)
        unhidden = f"{occlusion.unoccluded[k]:.1%} with nothing hidden"
        row[0].set_title(caption([(name, ""), (unhidden, "")], PANEL), fontsize=8, pad=4)
        scores = _draw_cells(row[1], edges, occlusion.scores[k], VALUES, (0, 1))
        _set_cell_title(row[1], f"probability of {name}")
        _draw_predictions(row[2], edges, occlusion.predictions[k], colored_classes)
        _set_cell_title(row[2], "predicted class")
    for panel in panels[-1]:
        panel.set_xlabel("pixel column", fontsize=8)
    color_bar(figure, scores, panels[:, 1], "probability")
    names = [fit(class_names[number], 1.5, 8, lines=2) for number in colored_classes]
    others = ["others"] if len(classes) > len(colored_classes) else []
    _add_occlusion_legend(panels[0, 2], names, others, occlusion.size)
    save(figure, path)


def _draw_image_and_axes(row: "Sequence[Axes]", image: np.ndarray, window: Size, image_size: Size) -> None:
    """Draw an image into a row of panels.

    It is gray except in the first panel, which also shows the size of the window.

    Args:
        row: panels.
        image: uint8 (height, width, 1 or 3).
        window: (height, width) of the window, in pixels.
        image_size: (height, width) of the image that the window refers to.
    """
    from matplotlib.patches import Rectangle

    height, width = image_size
    for panel in row:
        show_image(panel, image if panel is row[0] else _to_gray(image), extent=(0, width, height, 0))
        panel.set(xlim=(0, width), ylim=(height, 0))
        panel.tick_params(labelsize=7)
        for axis in (panel.xaxis, panel.yaxis):
            axis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]  # a MaxNLocator
    row[0].add_patch(Rectangle((0, 0), window[1], window[0], facecolor="none", edgecolor=RED, lw=1.5))
    row[0].set_ylabel("pixel row", fontsize=8)


def _draw_cells(
    panel: "Axes", edges: tuple[np.ndarray, np.ndarray], values: np.ndarray, colors: Any, limits: tuple[float, float]
) -> Any:
    """Draw translucent cells over an image.

    Args:
        panel: with the image.
        edges: of the columns and of the rows, in pixels.
        values: of the cells, (rows, columns).
        colors: colormap, or its name.
        limits: values of the first and the last color.

    Returns:
        What a color bar needs.
    """
    low, high = limits
    return panel.pcolormesh(*edges, values, cmap=colors, vmin=low, vmax=high, alpha=0.75, edgecolors="none")


def _draw_predictions(
    panel: "Axes", edges: tuple[np.ndarray, np.ndarray], predictions: np.ndarray, colored_classes: Sequence[int]
) -> None:
    """Draw the predicted classes; those without a color are gray.

    Args:
        panel: with the image.
        edges: of the columns and of the rows, in pixels.
        predictions: class of each cell, (rows, columns).
        colored_classes: classes with a color, in the order of `COLORS`.
    """
    from matplotlib.colors import ListedColormap

    colors = [*COLORS[: len(colored_classes)], GRAY]
    place_of = {number: place for place, number in enumerate(colored_classes)}
    places = np.vectorize(lambda number: place_of.get(number, len(colored_classes)))(predictions)
    _draw_cells(panel, edges, places, ListedColormap(colors), (-0.5, len(colors) - 0.5))


def _set_cell_title(panel: "Axes", text: str) -> None:
    parts = [(text, ""), ("at the center of the hidden window", "")]
    panel.set_title(caption(parts, PANEL), fontsize=8, pad=4)


def _add_occlusion_legend(panel: "Axes", names: list[str], others: list[str], window: Size) -> None:
    """Add a legend of class colors and window size beside a panel.

    Args:
        panel: to add the legend to.
        names: of the colored classes.
        others: name of all other classes; [] if there are none.
        window: (height, width) in pixels.
    """
    from matplotlib.patches import Patch

    colors = [*COLORS[: len(names)], *(GRAY for _ in others)]
    patches = [Patch(color=color, alpha=0.75) for color in colors]
    patches.append(Patch(facecolor="none", edgecolor=RED))
    texts = [*names, *others, f"size of the window\n({window[0]}x{window[1]} pixels)"]
    panel.legend(patches, texts, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def _to_gray(image: np.ndarray) -> np.ndarray:
    """Return the brightness of an image, (height, width, 1)."""
    return image if image.shape[-1] == 1 else (image @ np.array(LUMINANCE))[..., None]


def _cell_edges(centers: np.ndarray) -> np.ndarray:
    """Return the edges of cells around ascending centers, halfway between them."""
    if len(centers) == 1:
        return centers[0] + np.array([-0.5, 0.5])
    between = (centers[1:] + centers[:-1]) / 2
    return np.concatenate([[2 * centers[0] - between[0]], between, [2 * centers[-1] - between[-1]]])
