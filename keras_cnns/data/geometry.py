"""Random changes of geometry, by the names that recipes use."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from keras_cnns.data.crops import Window, crop_by_area, crop_of_jittered, crop_of_resized, whole_image


def pad_crop_flip(images: tf.Tensor, seed: tf.Tensor, *, pad: int = 4, flip: bool = True) -> tf.Tensor:
    """Shift images by up to `pad` pixels and mirror half of them.

    Args:
        images: uint8 or float tensor (batch, height, width, channels).
        seed: int64 tensor of two values; the same seed gives the same shifts.
        pad: pixels of black added on each side before a random crop of the old size.
        flip: whether to mirror each image with probability 1/2.

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


def distort(
    images: tf.Tensor,
    seed: tf.Tensor,
    *,
    shift: float = 0.125,
    scale: float = 0.1,
    squeeze: float = 0.1,
    shear: float = 0.2,
) -> tf.Tensor:
    """Apply a small random affine map to each image, about its center.

    Pixels that come in from outside the image are black.

    Args:
        images: uint8 or float tensor (batch, height, width, channels).
        seed: int64 tensor of two values; the same seed gives the same maps.
        shift: largest translation along each axis, as a share of its length.
        scale: largest change of size, as a share.
        squeeze: largest stretch of one axis while the other shrinks by it, as a share.
        shear: largest horizontal displacement of a row, as a share of its distance from the center.

    Returns:
        A tensor of the same shape and dtype, interpolated linearly.

    Reference:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition, Proc.
        IEEE 86(11), 1998, section III.B. It names these kinds of distortion but not their ranges.
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    draws = tf.random.stateless_uniform((5, batch), seed, -1.0, 1.0)
    size, ratio = 1 + scale * draws[0], 1 + squeeze * draws[1]
    across, down, slant = 1 / (size * ratio), ratio / size, shear * draws[2]
    x, y = (tf.cast(side - 1, tf.float32) / 2 for side in (width, height))
    left, top = (shift * tf.cast(side, tf.float32) * draw for side, draw in ((width, draws[3]), (height, draws[4])))
    # The rows of the map from output to input positions. The center and the shift are part of the offsets.
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
class Geometry:
    """A random change of geometry, before or after resizing.

    Attributes:
        window: function (height, width, draws, preprocessing) -> (top, left, height, width). It chooses the part of an
            image that is resized to the input and mirrored half of the time; None: the record's resize and center crop.
        batch: function (images, seed) -> images of the same shape, applied after resizing; None: no change.
    """

    window: Callable[..., Window] | None = None
    batch: Callable[..., tf.Tensor] | None = None


# The names that `Augment.geometry` and a recipe's `augmentation` accept
AUGMENTATIONS = {
    "none": Geometry(),
    "flip": Geometry(whole_image),
    "shift": Geometry(batch=functools.partial(pad_crop_flip, flip=False)),
    "pad-crop-flip": Geometry(batch=pad_crop_flip),
    "distort": Geometry(batch=distort),
    "crop-flip": Geometry(crop_of_resized),  # AlexNet, NiN on ImageNet
    "scale-jitter": Geometry(crop_of_jittered),  # VGG
    "scale-jitter-480": Geometry(functools.partial(crop_of_jittered, high=480)),  # ResNet
    "inception-crop": Geometry(crop_by_area),  # GoogLeNet, Inception
}
