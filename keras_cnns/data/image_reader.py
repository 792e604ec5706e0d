"""Prepared images of a split, in the order of a pass."""

import math
from collections.abc import Callable

import tensorflow as tf
from numpy.typing import ArrayLike

from keras_cnns._deprecated import renamed
from keras_cnns.data._tf_data import PARALLEL, SHUFFLE
from keras_cnns.data.crops import DRAWS
from keras_cnns.data.disk_cache import on_disk
from keras_cnns.data.image_decoder import ImageDecoder
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.sharding import Selection
from keras_cnns.data.splits import Split
from keras_cnns.data.views import View
from keras_cnns.typing import Path, Size

CACHE_BYTES = 1 << 30  # decoded images up to this size are kept in memory
CACHE_FORMAT = 1  # part of the name of a file of cached images, so that files of another format are not read

# Maps (seed of a pass, number of images to skip or None) to a dataset of (uint8 image of the input size, label)
ImageReader = Callable[[int | tf.Tensor, tf.Tensor | None], tf.data.Dataset]


@renamed(picture="image")
def prepare(image: ArrayLike | tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Bring one image to the input size as the record says.

    It is not normalized.

    Args:
        image: uint8 tensor or array (height, width, channels) of any height and width.
        preprocessing: `Preprocessing`.

    Returns:
        uint8 tensor of shape `preprocessing.shape`.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> image = np.zeros((480, 640, 3), "uint8")
        >>> data.prepare(image, data.Preprocessing((224, 224), shorter_side=256)).shape
        TensorShape([224, 224, 3])
    """
    height, width = preprocessing.size
    image = tf.convert_to_tensor(image)
    # These steps do not depend on whether the size is known in advance, so that all sources give the same pixels
    if preprocessing.fit == "pad":
        return _padded(image, preprocessing)
    if preprocessing.shorter_side is not None or tuple(image.shape[:2]) != preprocessing.size:
        if preprocessing.shorter_side is None:
            image = tf.image.resize(image, preprocessing.size, antialias=True)
        else:
            image = resized(image, preprocessing.shorter_side)
        top, left = (tf.shape(image)[0] - height) // 2, (tf.shape(image)[1] - width) // 2
        image = tf.saturate_cast(tf.round(image[top : top + height, left : left + width]), tf.uint8)
    return tf.ensure_shape(image, preprocessing.shape)


def view_of(image: tf.Tensor, preprocessing: Preprocessing) -> View:
    """Return the `View` in which `prepare` shows an image.

    Args:
        image: tensor (height, width, channels), whose size counts.
        preprocessing: `Preprocessing`.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    if preprocessing.fit == "pad":
        target, before = _sides_inside(tf.shape(image)[:2], preprocessing.size)
        part = tf.cast(tf.concat([-before, tf.constant(preprocessing.size)], 0), tf.float32)
        return View(part * tf.tile(sides / tf.cast(target, tf.float32), [2]), preprocessing.size)
    if preprocessing.shorter_side is None:
        return View(tf.concat([(0.0, 0.0), sides], 0), preprocessing.size)
    target = _resized_sides(sides, preprocessing.shorter_side)
    room = target - tf.constant(preprocessing.size)
    part = tf.cast(tf.concat([room // 2, tf.constant(preprocessing.size)], 0), tf.float32)
    return View(part * tf.tile(sides / tf.cast(target, tf.float32), [2]), preprocessing.size)


def resized(image: tf.Tensor, shorter_side: int) -> tf.Tensor:
    """Resize an image so that its shorter side has the given length.

    Args:
        image: tensor (height, width, channels).
        shorter_side: in pixels; the longer side follows, so that the aspect stays.

    Returns:
        float32 tensor (height, width, channels), not rounded.
    """
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    return tf.image.resize(image, _resized_sides(sides, shorter_side), antialias=True)


def _resized_sides(sides: tf.Tensor, shorter_side: int) -> tf.Tensor:
    """Return the sides of an image resized by its shorter side."""
    ratio = shorter_side / tf.reduce_min(sides)
    return tf.maximum(shorter_side, tf.cast(tf.round(sides * ratio), tf.int32))


def _padded(image: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    """Return a whole image in the middle of the input."""
    sides, before = _sides_inside(tf.shape(image)[:2], preprocessing.size)
    fill = tf.constant(preprocessing.fill, tf.float32)
    small = tf.round(tf.image.resize(image, sides, antialias=True)) - fill
    around = tf.stack([before, preprocessing.size - sides - before], -1)
    padded = tf.pad(small, tf.concat([around, [(0, 0)]], 0)) + fill
    return tf.ensure_shape(tf.saturate_cast(padded, tf.uint8), preprocessing.shape)


def _sides_inside(sides: tf.Tensor, size: Size) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the size and place of a whole image in an input.

    Args:
        sides: int32 (2,), height and width of the image.
        size: (height, width) of the input.

    Returns:
        int32 (height, width) with the image's aspect, rounded; and (top, left), in pixels of the input.
    """
    # In whole numbers, so that programs that do not use TensorFlow can compute the same
    sides = tf.cast(sides, tf.int64)
    wanted = tf.constant(size, tf.int64)
    from_other = (2 * sides * wanted[::-1] + sides[::-1]) // (2 * sides[::-1])
    inside = tf.cast(tf.minimum(wanted, tf.maximum(from_other, 1)), tf.int32)
    return inside, (tf.constant(size) - inside) // 2


def shown_part(size: Size, preprocessing: Preprocessing) -> tuple[slice, slice]:
    """Return where the input shows a whole image.

    Args:
        size: (height, width) of the image.
        preprocessing: `Preprocessing` that does not crop.

    Returns:
        Slices of the input's rows and columns.
    """
    if preprocessing.fit != "pad":
        return slice(None), slice(None)
    sides, before = (values.numpy() for values in _sides_inside(tf.constant(size), preprocessing.size))
    rows, columns = (slice(start, start + side) for start, side in zip(before.tolist(), sides.tolist(), strict=True))
    return rows, columns


def image_reader(
    split: Split,
    preprocessing: Preprocessing,
    window: Callable | None,
    shuffle: bool,
    cache: Path | None,
    skip_broken: bool,
    select: Selection | None,
) -> ImageReader:
    """Return the function that reads the images of one pass.

    Args:
        split: `Split` to read.
        preprocessing: `Preprocessing`.
        window: as in `Geometry`; None: resize and center crop.
        shuffle: as in `make_dataset`.
        cache: as in `make_dataset`.
        skip_broken: as in `make_dataset`.
        select: function that takes this process's part out of a dataset of all elements; None: all of them.
    """
    channels, size = preprocessing.channels, preprocessing.size

    def decode(elements):
        images = elements.map(
            lambda element, target: (split.decode(element, channels, skip_broken), target, element), **PARALLEL
        )
        if skip_broken:
            images = images.filter(lambda image, *_: tf.size(image) > 0)
            images = images.filter(lambda image, target, path: split.has_target(path, target, tf.shape(image)[:2]))
        return images.map(lambda image, target, _: (image, target))

    def show(image, target):
        target = split.read_target(target, tf.shape(image)[:2])
        return prepare(image, preprocessing), split.target.move(target, view_of(image, preprocessing))

    def decode_and_prepare(elements):
        if skip_broken:
            return decode(elements).map(show, **PARALLEL)
        # One map instead of two, so that no large images wait in between
        return split.read_ahead(elements).map(
            lambda element, target: show(split.decode(element, channels), target), **PARALLEL
        )

    source: ImageDecoder = split
    stored, skips = None, skip_broken
    in_memory = cache is None and window is None and split.examples * math.prod(preprocessing.shape) <= CACHE_BYTES
    if cache is not None:
        rule = preprocessing.fill if preprocessing.fit == "pad" else preprocessing.shorter_side
        fields = (channels,) if window else (channels, size, rule)
        name = repr((CACHE_FORMAT, fields, shuffle, skip_broken, split.identity()))
        # Written in random order, since `shuffle` below holds only some of the images at a time
        elements = split.shuffled(0) if shuffle else split.elements()
        stored = on_disk((decode if window else decode_and_prepare)(elements), cache, name, split)
        source, skips = ImageDecoder(), False
    elif in_memory:
        stored = decode_and_prepare(split.elements()).cache()
    ordered = _pass_order(split, stored, shuffle, split.examples if in_memory else min(split.examples, SHUFFLE))

    def read_images(seed, skipped_images):
        data = ordered(seed)
        data = data if select is None else select(data)
        if skipped_images is not None:
            data = data.skip(skipped_images)
        if window:
            draws = _window_draws(seed, skipped_images, select)
            return _windows(tf.data.Dataset.zip(data, draws), source, split, preprocessing, window, skips)
        return decode_and_prepare(data) if stored is None else data

    return read_images


def _pass_order(
    split: Split, stored: tf.data.Dataset | None, shuffle: bool, buffer_size: int
) -> Callable[[int | tf.Tensor], tf.data.Dataset]:
    """Return the function from a seed to the elements of one pass.

    Args:
        split: `Split` whose elements are taken if none are `stored`.
        stored: decoded or prepared images that are kept, or None.
        shuffle: whether the order is drawn from the seed.
        buffer_size: how many stored images wait to be drawn.
    """
    if stored is None and shuffle:
        return split.shuffler()
    elements = split.elements() if stored is None else stored
    if not shuffle:
        return lambda seed: elements
    return lambda seed: elements.shuffle(buffer_size, seed=seed, reshuffle_each_iteration=True)


def _window_draws(seed: int | tf.Tensor, skipped_images: tf.Tensor | None, select: Selection | None) -> tf.data.Dataset:
    """Return an endless dataset of the draws for each window, float32 (DRAWS,)."""
    draws = random_seeds(seed).map(lambda seed: tf.random.stateless_uniform((256, DRAWS), seed)).unbatch()
    draws = draws if select is None else select(draws)
    return draws if skipped_images is None else draws.skip(skipped_images)


def _windows(
    data: tf.data.Dataset,
    decoder: ImageDecoder,
    split: Split,
    preprocessing: Preprocessing,
    window: Callable,
    skip_broken: bool,
) -> tf.data.Dataset:
    """Cut a random window out of each image; mirror half of them.

    Windows are resized to the input size.

    Args:
        data: `tf.data.Dataset` of ((element, target), draws).
        decoder: of the elements: the split, or that of cached images.
        split: `Split` that reads the targets.
        preprocessing: `Preprocessing`.
        window: as in `Geometry`.
        skip_broken: as in `make_dataset`.

    Returns:
        `tf.data.Dataset` of (uint8 image of the input size, target).
    """

    def choose(height, width, draws):
        return window(height, width, draws, preprocessing)

    def finish(pixels, target, draws, place):
        # The window is less than about twice the input size, so that plain interpolation leaves out few pixels, and it
        # costs a sixth of `antialias=True`. Interpolated values lie between the pixels, so that none need be clipped.
        image = tf.cast(tf.image.resize(pixels, preprocessing.size) + 0.5, tf.uint8)
        mirrored = tf.reverse(image, tf.boolean_mask([1], draws[-1:] < 0.5))
        view = View(tf.cast(place[:4], tf.float32), preprocessing.size, draws[-1] < 0.5)
        target = split.target.move(split.read_target(target, place[4:]), view)
        return tf.ensure_shape(mirrored, preprocessing.shape), target

    flat = data.map(lambda element, draws: (*element, draws))
    return decoder.windows(flat, preprocessing.channels, choose, preprocessing.size, finish, skip_broken)


def random_seeds(seed: int | tf.Tensor) -> tf.data.Dataset:
    """Return an endless dataset of int64 (2,) seeds, new in every pass."""
    # A tensor is the seed of one pass and changes by itself. With a number, the dataset must draw again in each pass.
    redraw = None if tf.is_tensor(seed) else True
    return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=redraw).batch(2)
