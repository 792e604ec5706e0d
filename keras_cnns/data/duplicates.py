"""Duplicates and near duplicates in two splits or under two labels."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from keras_cnns.data.examined_images import ExaminedImage

NEAR = 10_000  # images that are searched for near duplicates, at most
BLOCK = 500  # thumbnails that are compared with all others at a time
TOLERANCE = 0.1  # near duplicates differ by less than this share of their contrast
FLAT = 4  # gray levels; a thumbnail with a smaller standard deviation shows nothing to compare


def in_two_splits(examined: Mapping[str, Iterable[ExaminedImage]]) -> Iterator[str]:
    """Yield "this = that" for each image in two splits.

    A test split with training images measures what was learned by heart.

    Args:
        examined: the images of each split.
    """
    first: dict[bytes, tuple[str, str]] = {}
    for split, images in examined.items():
        for image in images:
            if image.size:
                first_split, first_name = first.setdefault(image.digest, (split, image.name))
                if first_split != split:
                    yield f"{first_name} = {image.name}"


def under_two_labels(images: Iterable[ExaminedImage], class_names: Sequence[str]) -> Iterator[str]:
    """Yield "this (class) = that (class)" for each image under two labels.

    Args:
        images: the images that can be read.
        class_names: names of the labels.
    """
    first: dict[bytes, ExaminedImage] = {}
    for image in images:
        earlier = first.setdefault(image.digest, image)
        if image.label != earlier.label:
            yield _labeled_pair(earlier, image, class_names)


def _labeled_pair(first: ExaminedImage, second: ExaminedImage, class_names: Sequence[str]) -> str:
    def labeled(image):
        return f"{image.name} ({class_names[image.label]})" if image.label >= 0 else image.name

    return f"{labeled(first)} = {labeled(second)}"


def draw_for_near(examined: Mapping[str, Iterable[ExaminedImage]], seed: int) -> list[tuple[str, ExaminedImage]]:
    """Return the images to search for near duplicates.

    Args:
        examined: the images of each split.
        seed: seed of the draw if there are more than `NEAR`.

    Returns:
        (name of the split, image) of each.
    """
    readable = [(split, image) for split, images in examined.items() for image in images if image.size]
    if len(readable) > NEAR:
        places = np.sort(np.random.default_rng(seed).choice(len(readable), NEAR, replace=False))
        return [readable[place] for place in places]
    return readable


def near_duplicates(images: Sequence[tuple[str, ExaminedImage]], class_names: Sequence[str]) -> Iterator[str]:
    """Yield "this (class) = that (class)" for each pair of near duplicates.

    Only pairs in two splits or two classes are compared. The thumbnails of near duplicates differ, as root mean square,
    by less than `TOLERANCE` times their contrast. Images of little contrast, which look similar when small, must
    therefore differ less. Pairs with the same bytes are left out.

    Args:
        images: (name of the split, image) of each, as `draw_for_near` returns them.
        class_names: names of the labels.
    """
    if len(images) < 2:
        return
    thumbnails = np.stack([np.frombuffer(image.thumbnail, "uint8") for _, image in images]).astype("float32") - 128
    contrast = thumbnails.std(1)
    squares, limit = (thumbnails**2).sum(1), (TOLERANCE * contrast) ** 2 * thumbnails.shape[1]
    groups = np.array([hash((split, image.label)) for split, image in images])
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        distances = squares[rows, None] + squares[None] - 2 * thumbnails[rows] @ thumbnails.T
        near = (distances <= np.minimum(limit[rows, None], limit[None])) & (groups[rows, None] != groups[None])
        near &= (contrast[rows, None] > FLAT) & (contrast[None] > FLAT)
        for row, column in zip(*np.nonzero(np.triu(near, start + 1)), strict=True):
            first, second = images[start + row][1], images[column][1]
            if first.digest != second.digest:
                yield _labeled_pair(first, second, class_names)
