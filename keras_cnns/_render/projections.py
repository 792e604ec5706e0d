"""Images that excite units, beside their projections."""

from collections.abc import Sequence

import numpy as np

from keras_cnns._render._figure import as_pixels, caption, new_figure, save
from keras_cnns.typing import Path

OUTSIDE = (205, 224, 240)  # color between images and beyond their edges: not black, white or gray


def projection_grid(
    units: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    path: Path,
    title: str,
    columns: int = 2,
) -> None:
    """Draw the images that excite units most beside their projections.

    Each image is cut to its box. In the projections zero is gray, and each projection has its own scale.

    Args:
        units: (text, activations, images, projections, boxes) of each unit: a line of text; numbers (images,), the
            largest first; two float arrays (images, height, width, 1 or 3); integers (images, 4): top, left, bottom,
            right of the part to show, in pixels.
        path: PNG file to write.
        title: title of the grid.
        columns: units per row.
    """
    columns = min(columns, len(units))
    blocks = [
        (text, activations, _montage(as_pixels(images), boxes), _montage(_to_pixels(projections), boxes))
        for text, activations, images, projections, boxes in units
    ]
    side = max(max(images.shape[:2]) for _, _, images, _ in blocks)
    inches = min(max(2.3, side / 120), 4.5)
    rows = -(-len(units) // columns)
    widths = ([1, 1, 0.15] * columns)[:-1]  # the narrow columns separate units
    size = sum(widths) * inches, rows * (inches + 0.4) + 0.3
    figure, panels = new_figure(*size, title, nrows=rows, width_ratios=widths, ncols=len(widths), squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
        panel.set_anchor("N")
    pairs = [(row[k], row[k + 1]) for row in panels for k in range(0, len(widths), 3)]
    for (left, right), (text, activations, images, projections) in zip(pairs, blocks, strict=False):
        left.imshow(images)
        right.imshow(projections)
        several = len(activations) > 1
        excited = f"activation {activations[0]:.3g}" + (f" to {activations[-1]:.3g}" if several else "")
        strongest = "strongest images" if several else "strongest image"
        left.set_title(caption([(text, ""), (strongest, "")], inches), fontsize=8, pad=3)
        right.set_title(caption([(excited, ""), ("projections", "")], inches), fontsize=8, pad=3)
    save(figure, path)


def _to_pixels(projections: np.ndarray) -> list[np.ndarray]:
    """Return projections as uint8 images in which zero is gray.

    In each projection 1 % of the nonzero values are clipped to black or white.
    """
    images = []
    for projection in projections:
        sizes = np.abs(projection[projection != 0])
        scale = np.percentile(sizes, 99) if sizes.size else 1
        images.append(np.rint(127.5 + 127.5 * np.clip(projection / scale, -1, 1)).astype("uint8"))
    return images


def _montage(images: Sequence[np.ndarray] | np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return one uint8 image (height, width, 3) of the parts in boxes.

    Args:
        images: uint8 (height, width, 1 or 3) each.
        boxes: integers (images, 4), top, left, bottom, right.
    """
    height, width = np.max(boxes[:, 2:] - boxes[:, :2], axis=0)
    gap = max(1, max(height, width) // 24)
    across = int(np.ceil(np.sqrt(len(images))))
    down = -(-len(images) // across)
    sheet = np.full((down * (height + gap) - gap, across * (width + gap) - gap, 3), OUTSIDE, "uint8")
    for k, (image, (top, left, bottom, right)) in enumerate(zip(images, boxes, strict=True)):
        # A part that the image's edge has cut off is centered in its cell.
        y = k // across * (height + gap) + (height - (bottom - top)) // 2
        x = k % across * (width + gap) + (width - (right - left)) // 2
        sheet[y : y + bottom - top, x : x + right - left] = image[top:bottom, left:right]
    return sheet
