"""What all plots share: figures, colors, texts and PNG files."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns import _files
from keras_cnns._render._labels import INCHES_PER_POINT, families, fit
from keras_cnns.typing import Path

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis, XAxis, YAxis
    from matplotlib.figure import Figure

# The colors of Okabe and Ito, which color-blind eyes can distinguish
BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
SERIES = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", GRAY)
MARKERS = "osD^vPX"
TITLE_SIZE, TEXT_SIZE = 10, 8  # font sizes in points
LEAST_WIDTH = 5.0  # inches, so that a title fits above a small plot
MARGIN = 0.3  # inches of a figure's width that a title leaves free


def new_figure(width: float, height: float, title: str, **subplots: Any) -> "tuple[Figure, Any]":
    """Return a figure and its panels below a title.

    Args:
        width: of the panels in inches; the figure is wider if the title needs it.
        height: of the panels in inches; the figure is higher if the title needs it.
        title: wrapped to the figure's width; a line feed starts a new line.
        **subplots: options of matplotlib's `Figure.subplots`.

    Returns:
        The figure, and what `Figure.subplots` returned: one `Axes`, or an array of them.
    """
    from matplotlib.figure import Figure  # without pyplot, which needs a window system and keeps state between calls

    width = max(width, LEAST_WIDTH)
    lines = [fit(line, width - MARGIN, TITLE_SIZE, lines=4) for line in title.split("\n")]
    title = "\n".join(lines)
    height += line_height(TITLE_SIZE) * title.count("\n")
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=TITLE_SIZE)
    return figure, figure.subplots(**subplots)


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as a PNG file, completely or not at all.

    Raises:
        OutputError: if the file cannot be written.
    """
    _prepare_texts(figure)
    with _files.writing(path) as temporary:
        figure.savefig(temporary, format="png")


def lay_out(figure: "Figure") -> None:
    """Compute the positions of everything in a figure."""
    _prepare_texts(figure)
    figure.draw_without_rendering()


def _prepare_texts(figure: "Figure") -> None:
    """Turn off math in all texts, and set their fonts."""
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    fonts = families("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_parse_math(False)  # a dollar sign in a name is a dollar sign
        text.set_fontfamily(fonts)


def show_image(panel: "Axes", image: np.ndarray, **options: Any) -> None:
    """Draw an image into a panel.

    Args:
        panel: to draw into.
        image: uint8 (height, width, 1 or 3).
        **options: of matplotlib's `imshow`.
    """
    panel.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255, **options)


def line_height(size: float) -> float:
    """Return the height of a line in inches; `size` is in points."""
    return 1.2 * size * INCHES_PER_POINT


def caption(parts: Sequence[tuple[str, str]], inches: float, lines: int = 3) -> str:
    """Return a caption whose parts stand below each other.

    Args:
        parts: (text, tail) of each; the tail is never shortened, as in `fit`.
        inches: width of the caption.
        lines: most lines of each part.
    """
    return "\n".join(fit(text, inches, TEXT_SIZE, lines, tail) for text, tail in parts)


def caption_height(captions: Sequence[str]) -> float:
    """Return the height of the highest caption in inches."""
    return line_height(TEXT_SIZE) * max(text.count("\n") + 1 for text in captions)


def legend_below(figure: "Figure", handles: "Sequence[Artist]", names: Sequence[str], columns: int = 2) -> None:
    """Put one legend below all panels, where it covers no curve.

    Args:
        figure: to add the legend to.
        handles: lines or bars to explain.
        names: one per handle.
        columns: of the legend.
    """
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=TEXT_SIZE)


def plain_numbers(axis: "Axis") -> None:
    """Write the numbers of an axis as 0.001 or 1e-07."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def as_pixels(images: np.ndarray, together: bool = False) -> np.ndarray:
    """Return images as uint8, scaled from their least to their largest value.

    Args:
        images: float array (images, height, width, channels).
        together: whether all images share one scale; otherwise each has its own.
    """
    images = np.asarray(images, "float32")
    axes = None if together else (1, 2, 3)
    least, largest = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
    return np.rint(255 * (images - least) / np.where(largest > least, largest - least, 1)).astype("uint8")


def short(value: float) -> str:
    """Return a number with three digits, such as "27.2 M"."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def logarithmic(axis: "XAxis | YAxis") -> None:
    """Make an axis logarithmic, with as many plain numbers as fit.

    Args:
        axis: `xaxis` or `yaxis` of a panel that already has its data.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,), numticks=8))
    axis.set_minor_locator(NullLocator())
    plain_numbers(axis)


def color_bar(figure: "Figure", colored: Any, panels: Any, label: str) -> None:
    """Add a color bar beside panels.

    Args:
        figure: of the panels.
        colored: what `imshow` or `pcolormesh` returned.
        panels: one `Axes`, or an array of them.
        label: quantity and unit of the values.
    """
    bar = figure.colorbar(colored, ax=panels, shrink=0.8, aspect=30, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if bar.solids is not None:
        bar.solids.set_alpha(1)  # maps may be translucent, but not the bar
