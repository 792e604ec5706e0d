"""What every drawing shares: its figure, colors and file."""

import numpy as np

from keras_cnns import _files
from keras_cnns._render._labels import INCHES_PER_POINT, families, fit

# Okabe and Ito's colors, told apart by color-blind eyes too
BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
SERIES = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", GRAY)
MARKERS = "osD^vPX"
TITLE_SIZE, TEXT_SIZE = 10, 8  # of fonts, in points
LEAST_WIDTH = 5.0  # inches, so that a title has room above a small drawing
MARGIN = 0.3  # inches of a figure's width that a title leaves free


def new_figure(width, height, title, **subplots):
    """Return (figure, its axes) below a title.

    Args:
        width, height: of the drawing in inches; the figure gets wider and higher where the title needs it.
        title: wrapped to the figure's width; a line feed starts a new line.
        subplots: as in matplotlib.
    """
    from matplotlib.figure import Figure  # without pyplot: no window system, no state between calls

    width = max(width, LEAST_WIDTH)
    lines = [fit(line, width - MARGIN, TITLE_SIZE, lines=4) for line in title.split("\n")]
    title = "\n".join(lines)
    height += line_height(TITLE_SIZE) * title.count("\n")
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    figure.suptitle(title, fontsize=TITLE_SIZE)
    return figure, figure.subplots(**subplots)


def save(figure, path):
    """Write a figure as PNG, whole or not at all."""
    _set_texts(figure)
    with _files.writing(path) as temporary:
        figure.savefig(temporary, format="png")


def lay_out(figure):
    """Give everything in a figure its place, for what is to be put beside it."""
    _set_texts(figure)
    figure.draw_without_rendering()


def _set_texts(figure):
    """Let each text in a figure stand as it is, in fonts that have its letters."""
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    fonts = families("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_parse_math(False)  # a dollar sign in a name is a dollar sign
        text.set_fontfamily(fonts)


def show_image(axis, image, **options):
    """Draw a uint8 image (height, width, 1 or 3) into an axis; `options` as of `imshow`."""
    axis.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255, **options)


def line_height(size):
    """Return the height in inches of a line of text whose font has so many points."""
    return 1.2 * size * INCHES_PER_POINT


def caption(parts, inches, lines=3):
    """Return one text of several parts below each other, for a place of so many inches.

    Args:
        parts: (text, tail) of each, as `fit` takes them.
        inches: width of the place.
        lines: at most, for each part.
    """
    return "\n".join(fit(text, inches, TEXT_SIZE, lines, tail) for text, tail in parts)


def caption_height(captions):
    """Return the height in inches of the highest of some captions."""
    return line_height(TEXT_SIZE) * max(text.count("\n") + 1 for text in captions)


def legend_below(figure, handles, names, columns=2):
    """Put one legend under all axes of a figure, where it lies on no curve."""
    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=TEXT_SIZE)


def plain_numbers(axis):
    """Write the numbers at one axis without powers, which would be mathtext: 0.001, 1e-07."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def as_pixels(images, together=False):
    """Return images of any scale as uint8: the least value of each black, the largest white.

    Args:
        images: float array (images, height, width, channels).
        together: whether one scale is for all images.
    """
    images = np.asarray(images, "float32")
    axes = None if together else (1, 2, 3)
    least, largest = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
    return np.rint(255 * (images - least) / np.where(largest > least, largest - least, 1)).astype("uint8")


def short(value):
    """Return a number with three digits and its thousands in words: 1.58 G, 27.2 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def logarithmic(axis):
    """Make one axis of a panel logarithmic, with as many numbers as there is room for, none of them a power of ten.

    Args:
        axis: `xaxis` or `yaxis`, whose data is there already.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,), numticks=8))
    axis.set_minor_locator(NullLocator())
    plain_numbers(axis)
