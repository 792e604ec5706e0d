"""What excites units: images beside their projections."""

import numpy as np

from keras_cnns._render._figure import as_pixels, caption, new_figure, save

OUTSIDE = (205, 224, 240)  # between images and beyond their edges: neither black, white nor gray


def projection_grid(units, path, title, columns=2):
    """Draw, for several units, the strongest images as far as the units see, beside their projections.

    In the projections zero is gray, and each has its own scale.

    Args:
        units: (text, activations, images, projections, boxes) of each: a line of text; numbers, the largest first; two
            float arrays (images, height, width, 1 or 3); whole numbers (images, 4): top, left, bottom, right of
            the part to show.
        path: PNG file to write.
        title: above the whole.
        columns: units a row.
    """
    columns = min(columns, len(units))
    blocks = [
        (text, values, _montage(as_pixels(images), boxes), _montage(_around_gray(projections), boxes))
        for text, values, images, projections, boxes in units
    ]
    side = max(max(tiles.shape[:2]) for _, _, tiles, _ in blocks)
    inches = min(max(2.3, side / 120), 4.5)
    rows = -(-len(units) // columns)
    widths = ([1, 1, 0.15] * columns)[:-1]  # room between two units
    size = sum(widths) * inches, rows * (inches + 0.4) + 0.3
    figure, axes = new_figure(*size, title, nrows=rows, width_ratios=widths, ncols=len(widths), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
        axis.set_anchor("N")
    pairs = [(row[k], row[k + 1]) for row in axes for k in range(0, len(widths), 3)]
    for (left, right), (text, values, tiles, projections) in zip(pairs, blocks, strict=False):
        left.imshow(tiles)
        right.imshow(projections)
        excited = f"activation {values[0]:.3g}" + (f" to {values[-1]:.3g}" if len(values) > 1 else "")
        strongest = "strongest images" if len(values) > 1 else "strongest image"
        left.set_title(caption([(text, ""), (strongest, "")], inches), fontsize=8, pad=3)
        right.set_title(caption([(excited, ""), ("projections", "")], inches), fontsize=8, pad=3)
    save(figure, path)


def _around_gray(projections):
    """Return uint8 images in which zero is middle gray; of what is not zero in each, 1 % is plain black or white."""
    pixels = []
    for projection in projections:
        sizes = np.abs(projection[projection != 0])
        scale = np.percentile(sizes, 99) if sizes.size else 1
        pixels.append(np.rint(127.5 + 127.5 * np.clip(projection / scale, -1, 1)).astype("uint8"))
    return pixels


def _montage(images, boxes):
    """Return one uint8 image (height, width, 3): the parts in their boxes, row by row."""
    tall, wide = np.max(boxes[:, 2:] - boxes[:, :2], axis=0)
    gap = max(1, max(tall, wide) // 24)
    across = int(np.ceil(np.sqrt(len(images))))
    down = -(-len(images) // across)
    sheet = np.full((down * (tall + gap) - gap, across * (wide + gap) - gap, 3), OUTSIDE, "uint8")
    for k, (image, (top, left, bottom, right)) in enumerate(zip(images, boxes, strict=True)):
        # In the middle of its place, where the image's edge has cut it off
        y = k // across * (tall + gap) + (tall - (bottom - top)) // 2
        x = k % across * (wide + gap) + (wide - (right - left)) // 2
        sheet[y : y + bottom - top, x : x + right - left] = image[top:bottom, left:right]
    return sheet
