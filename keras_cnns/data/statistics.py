"""What a training split says of its pixels, and the preprocessing that is made of it."""

import dataclasses

import numpy as np

from keras_cnns.data.pipeline import make_dataset, reading
from keras_cnns.data.preprocessing import Preprocessing, fit_normalization
from keras_cnns.data.whitening import fit_components
from keras_cnns.errors import ArgumentError, nearest

BATCH = 256


def fit_preprocessing(split, preprocessing, kind="standardize"):
    """Return the record with the normalization of a kind, fitted on a training split after resize and crop.

    Args:
        split: the training `Split`, and never another.
        preprocessing: `Preprocessing`, whose size and resize rule are taken.
        kind: a name of `PREPROCESSINGS`.

    Returns:
        `Preprocessing`.

    Raises:
        ArgumentError: for a kind that is not known.
        SourceError: if an image cannot be read.
    """
    if kind not in PREPROCESSINGS:
        raise ArgumentError(
            f"`kind` must be one of {', '.join(PREPROCESSINGS)}.{nearest(kind, PREPROCESSINGS)} Received: kind={kind!r}"
        )
    plain = Preprocessing(preprocessing.size, preprocessing.channels, preprocessing.shorter_side, scale=(1.0,))
    return PREPROCESSINGS[kind](split, plain)


def _standardize(split, record):
    mean, scale = fit_normalization(*_channel_sums(split, record))
    return dataclasses.replace(record, mean=mean, scale=scale)


def _mean(split, record):
    mean, _ = fit_normalization(*_channel_sums(split, record))
    return dataclasses.replace(record, mean=mean)


def _mean_image(split, record):
    total = np.zeros(record.shape)
    for pixels in _pixels(split, record):
        total += pixels.sum(0)
    return dataclasses.replace(record, mean_image=(total / split.examples).astype("float32"))


def _contrast_and_whitening(split, record):
    contrast = dataclasses.replace(record, contrast_bias=10.0)
    found = fit_components(contrast.normalize(pixels) for pixels in _pixels(split, record))
    return dataclasses.replace(contrast, whitening=found.zca(0.1))


def _fixed(mean, scale):
    return lambda split, record: dataclasses.replace(record, mean=(mean,), scale=(scale,))


# Kind of normalization: function of a training split and a record. Who has it:
PREPROCESSINGS = {
    "standardize": _standardize,  # mean 0 and deviation 1 by channel: what people do now
    "mean": _mean,  # minus the mean color: VGG (section 2.1), GoogLeNet
    "mean-image": _mean_image,  # minus the mean of every pixel: AlexNet (section 2), ZFNet, ResNet (sections 3.4, 4.2)
    "zero-one": _fixed(0.0, 1 / 255),
    "minus-one-one": _fixed(127.5, 1 / 127.5),  # the released Inception v3, ResNet v2
    "lenet": _fixed(20.0, 0.005),  # background -0.1, foreground 1.175: LeNet-5, section II.B
    "gcn-zca": _contrast_and_whitening,  # Maxout (section 5), Network in Network (section 4.1); constants of pylearn2
}


def _channel_sums(split, record):
    """Return sums of pixels and of their squares, by channel, and how many there are of each channel."""
    total, positions = np.zeros((2, record.channels)), 0
    for pixels in _pixels(split, record):
        flat = pixels.astype("float64").reshape(-1, record.channels)
        total += flat.sum(0), (flat**2).sum(0)
        positions += len(flat)
    return *total.tolist(), positions


def _pixels(split, record):
    """Yield the images of a split, float32 batches of pixels after resize and crop."""
    with reading(split):
        for images, _ in make_dataset(split, record, BATCH, normalize=False):
            yield images.numpy().astype("float32")
