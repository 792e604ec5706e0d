"""Source + Preprocessing + augmentation -> batched `tf.data.Dataset`."""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf

from keras_cnns.data import preprocessing as records
from keras_cnns.data.augment import AUGMENTATIONS
from keras_cnns.errors import ArgumentError, nearest

CACHE_BYTES = 1 << 30  # decoded pictures up to so much stay in memory
SHUFFLE = 10_000  # elements that wait to be drawn where there are too many to hold all


def prepare(picture, preprocessing):
    """Return one picture, resized and cropped by the record; not yet normalized.

    Args:
        picture: uint8 tensor or array (height, width, channels) of any height and width.
        preprocessing: `Preprocessing`.

    Returns:
        uint8 tensor of shape `preprocessing.shape`.
    """
    height, width = preprocessing.size
    picture = tf.convert_to_tensor(picture)
    # The same steps whether the size is known beforehand or not, so that all sources give the same pixels
    if preprocessing.shorter_side is not None or tuple(picture.shape[:2]) != preprocessing.size:
        target = preprocessing.size
        if preprocessing.shorter_side is not None:
            sides = tf.cast(tf.shape(picture)[:2], tf.float32)
            ratio = preprocessing.shorter_side / tf.reduce_min(sides)
            target = tf.maximum(preprocessing.shorter_side, tf.cast(tf.round(sides * ratio), tf.int32))
        picture = tf.image.resize(picture, target, antialias=True)
        top, left = (tf.shape(picture)[0] - height) // 2, (tf.shape(picture)[1] - width) // 2
        picture = tf.saturate_cast(tf.round(picture[top : top + height, left : left + width]), tf.uint8)
    return tf.ensure_shape(picture, preprocessing.shape)


def make_dataset(split, preprocessing, batch_size, *, shuffle=False, augmentation="none", seed=0, normalize=True):
    """Return the pictures of a split as a network takes them.

    Args:
        split: `Split` of a source.
        preprocessing: `Preprocessing`.
        batch_size: pictures a batch; the last batch may hold fewer, none is dropped.
        shuffle: whether each pass has an order of its own, drawn from `seed`.
        augmentation: "none", "shift" (up to 4 pixels) or "pad-crop-flip" (the same, and half of them mirrored).
        seed: of the order and the augmentation.
        normalize: whether to normalize; False gives uint8, as exported artifacts take it.

    Returns:
        `tf.data.Dataset` of (float32 images (batch, height, width, channels), int64 labels (batch,)), of known
        length. Iterate it inside `reading(split)`, which names the file if one cannot be read.
    """
    if augmentation not in AUGMENTATIONS:
        raise ArgumentError(
            f"`augmentation` must be one of {', '.join(AUGMENTATIONS)}.{nearest(augmentation, AUGMENTATIONS)} "
            f"Received: augmentation={augmentation!r}"
        )
    height, width, channels = preprocessing.shape

    def picture(element, label):
        return prepare(split.decode(element, channels), preprocessing), label

    in_memory = split.examples * height * width * channels <= CACHE_BYTES
    data = split.elements()
    if not in_memory and shuffle:  # while the elements are still small
        data = data.shuffle(min(split.examples, SHUFFLE), seed=seed, reshuffle_each_iteration=True)
    data = data.map(picture, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if in_memory:
        data = data.cache()
        if shuffle:
            data = data.shuffle(split.examples, seed=seed, reshuffle_each_iteration=True)
    data = data.batch(batch_size)
    if augment := AUGMENTATIONS[augmentation]:
        draws = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
        data = tf.data.Dataset.zip(data, draws).map(lambda batch, draw: (augment(batch[0], draw), batch[1]))
    if normalize:
        data = data.map(lambda images, labels: (preprocessing.normalize(tf.cast(images, tf.float32)), labels))
    batches = -(-split.examples // batch_size)
    return data.apply(tf.data.experimental.assert_cardinality(batches)).prefetch(tf.data.AUTOTUNE)


@contextlib.contextmanager
def reading(*splits):
    """Turn the failure of a tf.data op into the error that names the file, for the splits given."""
    for split in splits:
        split.faults.clear()
    try:
        yield
    except Exception:
        for split in splits:
            if split.faults:
                raise split.faults[0] from None
        raise


def fit_preprocessing(split, preprocessing):
    """Return the record with the per-channel mean and deviation of a training split, after resize and crop.

    Args:
        split: the training `Split`, and never another.
        preprocessing: `Preprocessing`, whose mean and scale are ignored.
    """
    total = np.zeros((2, preprocessing.channels))
    positions = 0
    with reading(split):
        for images, _ in make_dataset(split, preprocessing, 256, normalize=False):
            pixels = images.numpy().astype("float64").reshape(-1, preprocessing.channels)
            total += pixels.sum(0), (pixels**2).sum(0)
            positions += len(pixels)
    mean, scale = records.fit_normalization(*total.tolist(), positions)
    return dataclasses.replace(preprocessing, mean=mean, scale=scale)
