"""What every drawing shares: its figure, colors and file."""

import contextlib
import warnings

import numpy as np

from keras_cnns import _files

# Okabe and Ito's colors, told apart by color-blind eyes too
BLUE, ORANGE, GREEN, RED, GRAY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
SERIES = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", GRAY)
MARKERS = "osD^vPX"


def new_figure(width, height, **subplots):
    """Return (figure, its axes) of so many inches; `subplots` as in matplotlib."""
    from matplotlib.figure import Figure  # without pyplot: no window system, no state between calls

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.subplots(**subplots)


def save(figure, path):
    """Write a figure as PNG, whole or not at all."""
    with _files.writing(path) as temporary, any_script():
        figure.savefig(temporary, format="png")


@contextlib.contextmanager
def any_script():
    """Let names be in a script that matplotlib's font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


def as_pixels(images, together=False):
    """Return pictures of any scale as uint8: the least value of each black, the largest white.

    Args:
        images: float array (pictures, height, width, channels).
        together: whether one scale is for all pictures.
    """
    images = np.asarray(images, "float32")
    axes = None if together else (1, 2, 3)
    least, largest = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
    return np.rint(255 * (images - least) / np.where(largest > least, largest - least, 1)).astype("uint8")


def shortened(text, most=20):
    """Return a text of at most so many characters, its end left out where it is longer."""
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def short(value):
    """Return a number with three digits and its thousands in words: 1.58 G, 27.2 M."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"
