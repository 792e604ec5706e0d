"""Random changes of training pictures: each picture of a batch gets its own, and a seed repeats them all."""

import tensorflow as tf


def pad_crop_flip(images, seed, *, pad=4, flip=True):
    """Return the pictures shifted by up to `pad` pixels each way, half of them mirrored.

    Args:
        images: uint8 or float tensor (batch, height, width, channels).
        seed: int64 tensor of two values; the same seed gives the same shifts.
        pad: pixels of black added on each side before a random crop of the old size.
        flip: whether a picture is mirrored with probability 1/2.

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
    """Return the pictures under small planar affine maps about their centers, what comes in from outside being black.

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


# What a recipe's `augmentation` may say.
AUGMENTATIONS = {
    "none": None,
    "shift": lambda images, seed: pad_crop_flip(images, seed, flip=False),
    "pad-crop-flip": pad_crop_flip,
    "distort": distort,
}
