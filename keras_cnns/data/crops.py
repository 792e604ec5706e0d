"""Which part of an image a training step sees: one random window an image, chosen before the image is decoded."""

import math

DRAWS = 41  # random numbers an image: four for each of ten attempts, and one for the mirror
RATIO = 256 / 224  # shorter side to input size where a record names none: AlexNet's 256 pixels and later papers' 224


def crop_of_resized(height, width, draws, preprocessing):
    """Return the window that a random crop of the input's size has in an image resized by its shorter side.

    Args:
        height, width: of the image, in pixels.
        draws: numbers from 0 up to 1, at least two.
        preprocessing: `Preprocessing`, whose `shorter_side` counts; None: 256/224 of the input size.

    Returns:
        (top, left, height, width) in whole pixels of the image as it is, so that it need not be resized, nor
        decoded, but for that part.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS
        2012, section 4.1.
    """
    shorter_side = preprocessing.shorter_side or round(RATIO * max(preprocessing.size))
    return _crop_at(shorter_side, height, width, draws, preprocessing.size)


def crop_of_jittered(height, width, draws, preprocessing, *, low=256, high=512):
    """Return the window of `crop_of_resized` for a shorter side that is drawn for each image.

    Args:
        height, width, draws, preprocessing: as for `crop_of_resized`, with at least three draws.
        low, high: shortest and longest shorter side, in pixels for an input of 224, in proportion for others.

    Reference:
        K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        section 3.1 (256 to 512); K. He et al.: Deep Residual Learning, CVPR 2016, section 3.4 (256 to 480).
    """
    low, high = (round(side * max(preprocessing.size) / 224) for side in (low, high))
    shorter_side = low + math.floor(draws[2] * (high - low + 1))
    return _crop_at(shorter_side, height, width, draws, preprocessing.size)


def crop_by_area(height, width, draws, preprocessing, *, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), attempts=10):
    """Return a window of random area and aspect, anywhere in the image.

    Args:
        height, width: of the image, in pixels.
        draws: numbers from 0 up to 1, four an attempt.
        preprocessing: not used; the window is resized to the input whatever its size.
        area: smallest and largest share of the image's area, uniform.
        aspect: smallest and largest width over height, uniform in the logarithm.
        attempts: how often to draw until the window fits into the image; behind them the largest window in the
            center that keeps to the aspects.

    Returns:
        (top, left, height, width) in whole pixels.

    Reference:
        C. Szegedy et al.: Going Deeper with Convolutions, CVPR 2015, section 6 (which gives the ranges; the
        logarithm, which makes wide as likely as tall, and the attempts are those of later code).
    """
    for size, shape, down, across in zip(*(draws[k : 4 * attempts : 4] for k in range(4)), strict=True):
        pixels = height * width * (area[0] + size * (area[1] - area[0]))
        ratio = aspect[0] * (aspect[1] / aspect[0]) ** shape
        tall, wide = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < tall <= height and 0 < wide <= width:
            return math.floor(down * (height - tall + 1)), math.floor(across * (width - wide + 1)), tall, wide
    tall, wide = min(height, round(width / aspect[0])), min(width, round(height * aspect[1]))
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def _crop_at(shorter_side, height, width, draws, size):
    """Return the window of a crop of `size` from the image resized to a shorter side, placed by two draws."""
    ratio = shorter_side / min(height, width)
    tall, wide = (min(whole, max(1, round(side / ratio))) for side, whole in zip(size, (height, width), strict=True))
    return math.floor(draws[0] * (height - tall + 1)), math.floor(draws[1] * (width - wide + 1)), tall, wide
