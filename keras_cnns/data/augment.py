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


# What a recipe's `augmentation` may say.
AUGMENTATIONS = {
    "none": None,
    "shift": lambda images, seed: pad_crop_flip(images, seed, flip=False),
    "pad-crop-flip": pad_crop_flip,
}
