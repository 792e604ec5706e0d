"""Masks laid over their images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keras_cnns._render._figure import TEXT_SIZE, legend_below, new_figure, save, show_image
from keras_cnns._render._labels import fit
from keras_cnns.typing import Path

OPACITY = 0.6  # of a mask that is laid over its image
IGNORED = (255, 255, 255)  # color of pixels whose class is not known
PANEL = 2.0  # inches
MOST_NAMES = 24  # in a legend


def overlay(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], colors: NDArray[np.uint8], class_names: Sequence[str]
) -> NDArray[np.uint8]:
    """Return an image with its mask laid over it.

    A class called "background" is left clear.

    Args:
        image: uint8 (height, width, 1 or 3).
        mask: uint8 (height, width); 255 where the class is not known.
        colors: uint8 (classes, 3), one color per class.
        class_names: names of the classes.

    Returns:
        uint8 (height, width, 3).
    """
    painted = np.concatenate([colors, np.full((256 - len(colors), 3), IGNORED, "uint8")])[mask]
    gray = np.broadcast_to(image, painted.shape).astype("float32")
    is_clear = np.isin(mask, [number for number, name in enumerate(class_names) if name.casefold() == "background"])
    mixed = np.where(is_clear[..., None], gray, (1 - OPACITY) * gray + OPACITY * painted)
    return np.rint(mixed).astype("uint8")


def mask_grid(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.uint8]],
    predicted: Sequence[NDArray[np.uint8]],
    class_names: Sequence[str],
    colors: NDArray[np.uint8],
    path: Path,
    title: str,
) -> None:
    """Draw images in rows: the image, its mask, and the predicted mask.

    Args:
        images: uint8 (height, width, 1 or 3) of each, of any sizes.
        masks: uint8 (height, width) of each; 255 where the class is not known.
        predicted: the same.
        class_names: names of the classes.
        colors: uint8 (classes, 3), one color per class.
        path: PNG file to write.
        title: title of the grid.
    """
    from matplotlib.patches import Patch

    heights = [PANEL * image.shape[0] / image.shape[1] for image in images]
    figure, panels = new_figure(
        3 * PANEL, sum(heights) + 0.6, title, nrows=len(images), ncols=3, squeeze=False, height_ratios=heights
    )
    for row, image, *both in zip(panels, images, masks, predicted, strict=True):
        show_image(row[0], image)
        for panel, mask in zip(row[1:], both, strict=True):
            show_image(panel, overlay(image, mask, colors, class_names))
    for panel, text in zip(panels[0], ("image", "mask", "predicted mask"), strict=True):
        panel.set_title(text, fontsize=TEXT_SIZE)
    for panel in panels.flat:
        panel.set_axis_off()
    present = np.unique(np.concatenate([np.ravel(mask) for mask in (*masks, *predicted)])).tolist()
    shown = [number for number in present if number < len(class_names)]
    shown = [number for number in shown if class_names[number].casefold() != "background"][:MOST_NAMES]
    patches = [Patch(color=colors[number] / 255) for number in shown]
    names = [fit(class_names[number], PANEL / 2, TEXT_SIZE, lines=1) for number in shown]
    if 255 in present:
        patches.append(Patch(facecolor="white", edgecolor="gray"))
        names.append("not known")
    legend_below(figure, patches, names, columns=4)
    save(figure, path)
