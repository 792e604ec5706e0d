"""Random windows that training cuts out of whole images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from keras_cnns.typing import Size

if TYPE_CHECKING:
    from keras_cnns.data.preprocessing import Preprocessing

Window: TypeAlias = tuple[int, int, int, int]  # top, left, height, width, in whole pixels of the original image
Draws: TypeAlias = Sequence[float]  # random numbers of one image, from 0 up to 1

# A window is chosen before the image is decoded, so that only this part needs to be decoded and resized
DRAWS = 41  # random numbers per image: four for each of ten attempts, and one for the mirror
RATIO = 256 / 224  # shorter side to input size where a record names none: AlexNet's 256 pixels and later papers' 224


def whole_image(height: int, width: int, draws: Draws, preprocessing: "Preprocessing") -> Window:
    """Return the window of the whole image.

    It is stretched to the input, and mirrored half of the time.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        draws: not used.
        preprocessing: not used.

    Returns:
        (top, left, height, width) in whole pixels of the original image.
    """
    return 0, 0, height, width


def crop_of_resized(height: int, width: int, draws: Draws, preprocessing: "Preprocessing") -> Window:
    """Return the window of a random crop from a resized image.

    The image is resized by its shorter side, with the aspect kept.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        draws: random numbers from 0 up to 1, at least two.
        preprocessing: `Preprocessing`; its `shorter_side` is used, or 256/224 of the input size if that is None.

    Returns:
        (top, left, height, width) in whole pixels of the original image, which need not be resized first.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS
        2012, section 4.1.
    """
    shorter_side = preprocessing.shorter_side or round(RATIO * max(preprocessing.size))
    return _crop_at(shorter_side, height, width, draws, preprocessing.size)


def crop_of_jittered(
    height: int, width: int, draws: Draws, preprocessing: "Preprocessing", *, low: int = 256, high: int = 512
) -> Window:
    """Return the window of `crop_of_resized` for a random shorter side.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        draws: random numbers from 0 up to 1, at least three.
        preprocessing: `Preprocessing`; only its `size` is used.
        low: smallest shorter side, in pixels for an input of 224; other inputs scale it in proportion.
        high: largest shorter side, in the same unit.

    Returns:
        (top, left, height, width) in whole pixels of the original image.

    Reference:
        K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        section 3.1 (256 to 512); K. He et al.: Deep Residual Learning, CVPR 2016, section 3.4 (256 to 480).
    """
    low, high = (round(side * max(preprocessing.size) / 224) for side in (low, high))
    shorter_side = low + math.floor(draws[2] * (high - low + 1))
    return _crop_at(shorter_side, height, width, draws, preprocessing.size)


def crop_by_area(
    height: int,
    width: int,
    draws: Draws,
    preprocessing: "Preprocessing | None",
    *,
    area: tuple[float, float] = (0.08, 1.0),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
    attempts: int = 10,
) -> Window:
    """Return a window of random area and aspect, anywhere in the image.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        draws: random numbers from 0 up to 1, four per attempt.
        preprocessing: not used; the window is resized to the input whatever its size.
        area: smallest and largest share of the image's area; the share is drawn uniformly.
        aspect: smallest and largest width over height; its logarithm is drawn uniformly.
        attempts: how often to draw until the window fits into the image. After that many, the result is the largest
            window in the center that keeps to the aspects.

    Returns:
        (top, left, height, width) in whole pixels of the original image.

    Reference:
        C. Szegedy et al.: Going Deeper with Convolutions, CVPR 2015, section 6, which gives the ranges. The logarithm,
        which makes wide as likely as tall, and the attempts are those of later code.
    """
    for size, shape, down, across in zip(*(draws[k : 4 * attempts : 4] for k in range(4)), strict=True):
        pixels = height * width * (area[0] + size * (area[1] - area[0]))
        ratio = aspect[0] * (aspect[1] / aspect[0]) ** shape
        tall, wide = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < tall <= height and 0 < wide <= width:
            return math.floor(down * (height - tall + 1)), math.floor(across * (width - wide + 1)), tall, wide
    tall, wide = min(height, round(width / aspect[0])), min(width, round(height * aspect[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def _crop_at(shorter_side: int, height: int, width: int, draws: Draws, size: Size) -> Window:
    """Return the window of a crop of `size`, placed by two draws."""
    ratio = shorter_side / min(height, width)
    tall, wide = (min(whole, max(1, round(side / ratio))) for side, whole in zip(size, (height, width), strict=True))
    return math.floor(draws[0] * (height - tall + 1)), math.floor(draws[1] * (width - wide + 1)), tall, wide
