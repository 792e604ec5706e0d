"""Preprocessing whose normalization is fitted on a training split."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.pipeline import make_dataset
from keras_cnns.data.preprocessing import Preprocessing, fit_normalization
from keras_cnns.data.read_errors import reading
from keras_cnns.data.splits import Split
from keras_cnns.data.whitening import fit_components
from keras_cnns.errors import ArgumentError, nearest

BATCH = 256


def fit_preprocessing(split: Split, preprocessing: Preprocessing, kind: str = "standardize") -> Preprocessing:
    """Return a record whose normalization is fitted on a training split.

    The statistics are those of the images in the input size. With fit "pad" they are those of the stretched images, so
    that the padding does not count.

    Args:
        split: the training `Split`, never a validation or test split.
        preprocessing: `Preprocessing` with the size, channels and resize rule to use.
        kind: a key of `PREPROCESSINGS`:

            - "standardize": mean 0 and standard deviation 1 per channel;
            - "mean": minus the mean color;
            - "mean-image": minus the mean of every pixel;
            - "zero-one", "minus-one-one": pixels scaled to that range;
            - "lenet": background -0.1, foreground 1.175;
            - "gcn-zca": global contrast normalization and ZCA whitening.

    Returns:
        `Preprocessing`.

    Raises:
        ArgumentError: for an unknown kind.
        SourceError: if an image cannot be read.

    Examples:
        >>> from keras_cnns import data
        >>> split = data.open_source("digits").split("train")
        >>> preprocessing = data.fit_preprocessing(split, data.Preprocessing((32, 32), 1))
        >>> round(preprocessing.mean[0], 1)  # in pixel units, 0 to 255
        78.8
    """
    if kind not in PREPROCESSINGS:
        raise ArgumentError(
            f"`kind` must be one of {', '.join(PREPROCESSINGS)}.{nearest(kind, PREPROCESSINGS)} Received: kind={kind!r}"
        )
    plain = Preprocessing(preprocessing.size, preprocessing.channels, preprocessing.shorter_side, scale=(1.0,))
    fitted = PREPROCESSINGS[kind](split, plain)
    return dataclasses.replace(fitted, fit="pad") if preprocessing.fit == "pad" else fitted


def _standardize(split: Split, record: Preprocessing) -> Preprocessing:
    sums, square_sums, count = _channel_sums(split, record)
    mean, scale = fit_normalization(sums, square_sums, count)
    return dataclasses.replace(record, mean=mean, scale=scale)


def _mean(split: Split, record: Preprocessing) -> Preprocessing:
    sums, square_sums, count = _channel_sums(split, record)
    mean, _ = fit_normalization(sums, square_sums, count)
    return dataclasses.replace(record, mean=mean)


def _mean_image(split: Split, record: Preprocessing) -> Preprocessing:
    total = np.zeros(record.shape)
    for pixels in _pixels(split, record):
        total += pixels.sum(0)
    return dataclasses.replace(record, mean_image=(total / split.examples).astype("float32"))


def _contrast_and_whitening(split: Split, record: Preprocessing) -> Preprocessing:
    contrast = dataclasses.replace(record, contrast_bias=10.0)
    components = fit_components(contrast.normalize(pixels) for pixels in _pixels(split, record))
    return dataclasses.replace(contrast, whitening=components.zca(0.1))


def _fixed(mean: float, scale: float) -> Callable[[Split, Preprocessing], Preprocessing]:
    return lambda split, record: dataclasses.replace(record, mean=(mean,), scale=(scale,))


# From each kind of normalization to a function of training split and record. The comments name who uses it.
PREPROCESSINGS: dict[str, Callable[[Split, Preprocessing], Preprocessing]] = {
    "standardize": _standardize,  # mean 0 and standard deviation 1 per channel: common practice today
    "mean": _mean,  # minus the mean color: VGG (section 2.1), GoogLeNet
    "mean-image": _mean_image,  # minus the mean of every pixel: AlexNet (section 2), ZFNet, ResNet (sections 3.4, 4.2)
    "zero-one": _fixed(0.0, 1 / 255),
    "minus-one-one": _fixed(127.5, 1 / 127.5),  # the released Inception v3, ResNet v2
    "lenet": _fixed(20.0, 0.005),  # background -0.1, foreground 1.175: LeNet-5, section II.B
    "gcn-zca": _contrast_and_whitening,  # Maxout (section 5), Network in Network (section 4.1); constants of pylearn2
}


def _channel_sums(split: Split, record: Preprocessing) -> tuple[list[float], list[float], int]:
    """Return the sums per channel of pixels and of their squares.

    Returns:
        (sums, sums of squares, number of pixels per channel).
    """
    total, positions = np.zeros((2, record.channels)), 0
    for pixels in _pixels(split, record):
        flat = pixels.astype("float64").reshape(-1, record.channels)
        total += flat.sum(0), (flat**2).sum(0)
        positions += len(flat)
    sums, square_sums = total.tolist()
    return sums, square_sums, positions


def _pixels(split: Split, record: Preprocessing) -> Iterator[NDArray[np.float32]]:
    """Yield batches of a split's pixels after resize and crop, float32."""
    with reading(split):
        for images, _ in make_dataset(split, record, BATCH, normalize=False):
            yield images.numpy().astype("float32")
