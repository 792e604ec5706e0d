"""Scatter plots of embedded images."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from keras_cnns._render._figure import MARKERS, SERIES, lay_out, new_figure, save
from keras_cnns._render._labels import fit
from keras_cnns.typing import Path, Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED, LEGEND_ROWS = 104, 26  # classes that the legend names, and rows of the legend
THUMBNAIL = 26  # pixels, longer side of an image in the plot


def embedding_scatter(
    points: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    path: Path,
    title: str,
    images: Pixels | None = None,
) -> None:
    """Draw points in a plane, with a color and marker per class.

    With `images`, a point is drawn as a small image if it does not overlap an earlier one.

    Args:
        points: float array (images, 2), as `keras_cnns.analysis.embed` returns it.
        labels: integers (images,), indices of `class_names`.
        class_names: one per class; the legend names the first 104 classes that occur.
        path: PNG file to write.
        title: title of the plot.
        images: uint8 (images, height, width, 1 or 3), framed in the class's color; None: points only.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    classes = np.unique(labels)
    columns = -(-min(len(classes), MOST_NAMED) // LEGEND_ROWS)
    figure, panel = new_figure(8 + 1.9 * columns, 7, title)
    marks = []
    for label in classes:
        # Up to 7 classes differ in both color and marker; up to 49 in the pair of them.
        marker = label if len(classes) <= len(SERIES) else label // len(SERIES)
        style: dict[str, Any] = {"color": SERIES[label % len(SERIES)], "marker": MARKERS[marker % len(MARKERS)]}
        marks.append(panel.scatter(*points[labels == label].T, s=14, alpha=0.7, linewidths=0, **style))
    panel.set(xlabel="first coordinate", ylabel="second coordinate")
    panel.grid(alpha=0.3)
    panel.set_axisbelow(True)
    panel.margins(0.06)
    lines = 2 if 2 * len(classes) <= LEGEND_ROWS else 1
    names = [fit(class_names[label], 1.4, 8, lines) for label in classes[:MOST_NAMED]]
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": columns}
    legend = panel.legend(marks[:MOST_NAMED], names, **place, frameon=False, fontsize=8, markerscale=2)
    if len(classes) > MOST_NAMED:
        legend.set_title(f"{MOST_NAMED} of {len(classes):,} classes")
    for mark in legend.legend_handles:
        mark.set_alpha(1)
    if images is not None:
        lay_out(figure)
        _add_thumbnails(panel, points, labels, images)
    save(figure, path)


def _add_thumbnails(panel: "Axes", points: np.ndarray, labels: np.ndarray, images: Pixels) -> None:
    """Put small images at their points unless they overlap earlier ones."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    occupied = np.empty((0, 2))  # centers of the thumbnails, in pixels
    for center, point, label, image in zip(panel.transData.transform(points), points, labels, images, strict=True):
        if len(occupied) and (np.abs(occupied - center).max(1) < THUMBNAIL + 4).any():
            continue
        occupied = np.vstack([occupied, center])
        shown = image.squeeze(-1) if image.shape[-1] == 1 else image
        # OffsetImage draws a pixel of the image as a point, of which an inch has 72.
        zoom = THUMBNAIL / max(shown.shape[:2]) * 72 / panel.figure.dpi
        thumbnail = OffsetImage(shown, zoom=zoom, cmap="gray")
        thumbnail.image.set_clim(0, 255)
        frame = {"edgecolor": SERIES[label % len(SERIES)], "linewidth": 1.5}
        panel.add_artist(AnnotationBbox(thumbnail, point, pad=0.05, bboxprops=frame))
