"""The same image twice, or nearly the same, where it should not be: in two splits, or under two labels.

A look is what `summarize` keeps of an image: its name, label, size, digest and thumbnail.
"""

import numpy as np

NEAR = 10_000  # images among which near duplicates are looked for
SIDE = 16  # of the thumbnails that are compared, in pixels
BLOCK = 500  # of them that are compared with all others at a time
ALIKE = 0.1  # of an image's contrast: two that differ less are near duplicates
FLAT = 4  # gray levels of standard deviation; a thumbnail of less shows nothing to compare


def in_two_splits(looks):
    """Yield "this = that" for images in two splits, by which a test measures what was learned by heart."""
    first = {}
    for split, some in looks.items():
        for one in some:
            if one.size:
                earlier = first.setdefault(one.digest, (split, one.name))
                if earlier[0] != split:
                    yield f"{earlier[1]} = {one.name}"


def under_two_labels(good, class_names):
    """Yield "this (class) = that (class)" for the same file or array under two labels."""
    first = {}
    for look in good:
        earlier = first.setdefault(look.digest, look)
        if look.label != earlier.label:
            yield _labeled_pair(earlier, look, class_names)


def _labeled_pair(first, second, class_names):
    def labeled(look):
        return f"{look.name} ({class_names[look.label]})" if look.label >= 0 else look.name

    return f"{labeled(first)} = {labeled(second)}"


def draw_for_near(looks, seed):
    """Return (split, look) of at most `NEAR` images that can be read, drawn from `seed`."""
    some = [(split, look) for split, few in looks.items() for look in few if look.size]
    if len(some) > NEAR:
        some = [some[k] for k in np.sort(np.random.default_rng(seed).choice(len(some), NEAR, replace=False))]
    return some


def near_duplicates(some, class_names):
    """Yield "this (class) = that (class)" for images whose thumbnails differ little, in two splits or classes.

    Little means that the root mean square of the difference is below `ALIKE` times the contrast, so that images of
    little contrast, which look alike when small, must differ less. Images of the same bytes are left to the others.
    """
    if len(some) < 2:
        return
    thumbnails = np.stack([np.frombuffer(look.thumbnail, "uint8") for _, look in some]).astype("float32") - 128
    contrast = thumbnails.std(1)
    squares, limit = (thumbnails**2).sum(1), (ALIKE * contrast) ** 2 * thumbnails.shape[1]
    groups = np.array([hash((split, look.label)) for split, look in some])
    for start in range(0, len(some), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = squares[rows, None] + squares[None] - 2 * thumbnails[rows] @ thumbnails.T
        alike = (distances <= np.minimum(limit[rows, None], limit[None])) & (groups[rows, None] != groups[None])
        alike &= (contrast[rows, None] > FLAT) & (contrast[None] > FLAT)
        for row, column in zip(*np.nonzero(np.triu(alike, start + 1)), strict=True):
            first, second = some[start + row][1], some[column][1]
            if first.digest != second.digest:
                yield _labeled_pair(first, second, class_names)
