"""Random changes of training images: each image of a batch gets its own, and a seed repeats them all."""

import dataclasses
import functools
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_cnns import _keras
from keras_cnns.data.crops import crop_by_area, crop_of_jittered, crop_of_resized
from keras_cnns.errors import ArgumentError


def pad_crop_flip(images, seed, *, pad=4, flip=True):
    """Return the images shifted by up to `pad` pixels each way, half of them mirrored.

    Args:
        images: uint8 or float tensor (batch, height, width, channels).
        seed: int64 tensor of two values; the same seed gives the same shifts.
        pad: pixels of black added on each side before a random crop of the old size.
        flip: whether an image is mirrored with probability 1/2.

    Returns:
        A tensor of the same shape and dtype.

    Reference:
        M. Lin, Q. Chen, S. Yan: Network In Network, section 4.2 ("translation and horizontal flipping").
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    seeds = tf.random.split(seed, 2)
    offsets = tf.random.stateless_uniform((2, batch, 1), seeds[0], 0, 2 * pad + 1, tf.int32)
    rows, columns = offsets[0] + tf.range(height), offsets[1] + tf.range(width)
    if flip:
        mirrored = tf.random.stateless_uniform((batch, 1), seeds[1]) < 0.5
        columns = tf.where(mirrored, columns[:, ::-1], columns)
    padded = tf.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    shifted = tf.gather(tf.gather(padded, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
    return tf.ensure_shape(shifted, images.shape)


def distort(images, seed, *, shift=0.125, scale=0.1, squeeze=0.1, shear=0.2):
    """Return the images under small planar affine maps about their centers, what comes in from outside being black.

    Args:
        images: uint8 or float tensor (batch, height, width, channels).
        seed: int64 tensor of two values; the same seed gives the same maps.
        shift: largest translation along each axis, as a share of it.
        scale: largest change of size, as a share.
        squeeze: largest stretch of one axis while the other shrinks by it, as a share.
        shear: largest horizontal displacement of a row, as a share of its distance from the center.

    Returns:
        A tensor of the same shape and dtype, interpolated linearly.

    Reference:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition, Proc.
        IEEE 86(11), 1998, section III.B, which names these kinds of distortion and not their ranges.
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    draws = tf.random.stateless_uniform((5, batch), seed, -1.0, 1.0)
    size, ratio = 1 + scale * draws[0], 1 + squeeze * draws[1]
    across, down, slant = 1 / (size * ratio), ratio / size, shear * draws[2]
    x, y = (tf.cast(side - 1, tf.float32) / 2 for side in (width, height))
    left, top = (shift * tf.cast(side, tf.float32) * draw for side, draw in ((width, draws[3]), (height, draws[4])))
    # Rows of the map from output to input positions, with the center and the shift worked in
    zero = tf.zeros_like(size)
    maps = [across, slant, x - across * x - slant * y + left, zero, down, y - down * y + top, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(maps, axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )


@dataclasses.dataclass(frozen=True)
class ColorComponents:
    """The directions in which the colors of a training split vary, those with the largest variance first.

    Attributes:
        eigenvalues: of the covariance of the pixels' channels, for pixels from 0 to 1, one a channel.
        eigenvectors: of unit length, a tuple of as many values for each eigenvalue.
    """

    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]

    def __post_init__(self):
        values = tuple(map(float, self.eigenvalues))
        vectors = tuple(tuple(map(float, vector)) for vector in self.eigenvectors)
        object.__setattr__(self, "eigenvalues", values)
        object.__setattr__(self, "eigenvectors", vectors)
        if len(values) not in (1, 3) or [len(vector) for vector in vectors] != [len(values)] * len(values):
            raise ValueError(
                "`eigenvalues` must be one for each of 1 or 3 channels, and `eigenvectors` as many, as long. "
                f"Received: eigenvalues={values}, eigenvectors={vectors}"
            )
        if not all(map(math.isfinite, (*values, *sum(vectors, ())))):
            raise ValueError(
                f"`eigenvalues` and `eigenvectors` must be finite. Received: eigenvalues={values}, "
                f"eigenvectors={vectors}"
            )

    def to_json(self):
        """Return a dictionary of JSON values."""
        return {"eigenvalues": list(self.eigenvalues), "eigenvectors": [list(vector) for vector in self.eigenvectors]}

    @classmethod
    def from_json(cls, values):
        """Return the record that `to_json` described; raise ValueError if it is not one."""
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a record of color components has two lists of numbers. Received: {values!r}") from error


def color_noise(images, seed, components, deviation=0.1):
    """Return the images, the color of each moved as a whole along the directions in which colors vary.

    To every pixel of an image the sum of the eigenvectors is added, each times its eigenvalue and one alpha from a
    normal distribution.

    Args:
        images: uint8 or float tensor (batch, height, width, channels) of pixels from 0 to 255.
        seed: int64 tensor of two values; the same seed gives the same colors.
        components: `ColorComponents` of as many channels.
        deviation: of the alphas.

    Returns:
        A tensor of the same shape and dtype: uint8 rounded and kept within 0 to 255, float neither.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS
        2012, section 4.1. It does not say in which units; for pixels from 0 to 1, as later code has it, colors move
        by a few gray levels.
    """
    scaled = 255.0 * tf.constant(components.eigenvalues)[:, None] * tf.constant(components.eigenvectors)
    alphas = tf.random.stateless_normal((tf.shape(images)[0], len(components.eigenvalues)), seed, stddev=deviation)
    moved = tf.cast(images, tf.float32) + tf.matmul(alphas, scaled)[:, None, None]
    return _like(moved, images)


def _like(pixels, images):
    """Return float pixels in the dtype of `images`; to uint8 they are rounded."""
    if images.dtype == tf.uint8:
        pixels = tf.round(pixels)
    return tf.saturate_cast(pixels, images.dtype)


class _Seeds(keras.random.SeedGenerator):
    """Deals out seeds drawn from one: so Keras's layers remember nothing, and a seed repeats what they do."""

    def __init__(self, seed):
        self.seed = seed

    def next(self, ordered=True):
        self.seed, drawn = tf.unstack(tf.random.split(self.seed, 2))
        return drawn


def by_layer(layer, images, seed, labels=None):
    """Return what a random preprocessing layer of Keras makes of a batch under a seed, inside a tf.data map.

    Args:
        layer: `keras.layers.MixUp` or another with its own seed generator, which is not used.
        images: uint8 or float tensor (batch, height, width, channels) of pixels from 0 to 255.
        seed: int64 tensor of two values.
        labels: one-hot float32 tensor (batch, classes) for a layer that mixes them.

    Returns:
        Images of the same dtype; with labels, (images, labels).
    """
    seeds = _Seeds(seed)
    _keras.use_seeds(layer, seeds)
    pixels = tf.cast(images, tf.float32)
    if labels is None:
        return _like(tf.ensure_shape(layer(pixels), images.shape), images)
    mixed = layer({"images": pixels, "labels": labels})
    return _like(tf.ensure_shape(mixed["images"], images.shape), images), tf.ensure_shape(mixed["labels"], labels.shape)


def batch_steps(channels, rand_augment, color, color_deviation, erasing, mixup, cutmix, one_hot):
    """Return functions (images, labels, seed) -> (images, labels) of what is asked for, in the order of their use.

    Arguments and errors are those of `make_dataset`; `channels` are the images'.
    """
    strengths = {"rand_augment": rand_augment, "erasing": erasing, "mixup": mixup, "cutmix": cutmix}
    for name, value in strengths.items():
        if not 0 <= value <= 1:
            raise ArgumentError(f"`{name}` must lie between 0 and 1. Received: {name}={value}")
    if not 0 <= color_deviation < math.inf:
        raise ArgumentError(f"`color_deviation` must not be below 0. Received: color_deviation={color_deviation}")
    if (mixup or cutmix) and one_hot is None:
        raise ArgumentError(
            "`mixup` and `cutmix` mix labels, which must be one-hot: give the number of classes. Received: one_hot=None"
        )
    if color is not None and len(color.eigenvalues) != channels:
        raise ArgumentError(
            f"`color` must be fitted on images of {channels} channels, as the preprocessing gives. "
            f"Received: color of {len(color.eigenvalues)}"
        )
    changes, layers = [], keras.layers
    if rand_augment:
        changes.append(functools.partial(by_layer, layers.RandAugment(factor=rand_augment, dtype="float32")))
    if color is not None:
        changes.append(functools.partial(color_noise, components=color, deviation=color_deviation))
    if erasing:  # a range of one value, as Keras draws a probability for each image
        changes.append(functools.partial(by_layer, layers.RandomErasing(factor=(erasing, erasing), dtype="float32")))
    steps = [lambda images, labels, seed, change=change: (change(images, seed), labels) for change in changes]

    mixing = [layers.MixUp(alpha=mixup, dtype="float32")] if mixup else []
    mixing += [layers.CutMix(factor=(cutmix, cutmix), dtype="float32")] if cutmix else []

    def mix(images, labels, seed):
        ways = [functools.partial(by_layer, layer, images, seed, labels) for layer in mixing]
        return ways[0]() if len(ways) == 1 else tf.cond(tf.random.stateless_uniform((), seed) < 0.5, *ways)

    return [*steps, mix] if mixing else steps


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """A random change of geometry, before images are brought to the input's size or behind that.

    Attributes:
        window: function (height, width, draws, preprocessing) -> (top, left, height, width) of the part of an image
            that is resized to the input, and mirrored half of the time, in place of the record's resize and center
            crop; None: those.
        batch: function (images, seed) -> images of the same shape; None: none.
    """

    window: Callable | None = None
    batch: Callable | None = None


# What a recipe's `augmentation` may say.
AUGMENTATIONS = {
    "none": Augmentation(),
    "shift": Augmentation(batch=functools.partial(pad_crop_flip, flip=False)),
    "pad-crop-flip": Augmentation(batch=pad_crop_flip),
    "distort": Augmentation(batch=distort),
    "crop-flip": Augmentation(crop_of_resized),  # AlexNet, NiN on ImageNet
    "scale-jitter": Augmentation(crop_of_jittered),  # VGG
    "scale-jitter-480": Augmentation(functools.partial(crop_of_jittered, high=480)),  # ResNet
    "inception-crop": Augmentation(crop_by_area),  # GoogLeNet, Inception
}
