"""Source + Preprocessing + augmentation -> batched `tf.data.Dataset`."""

import math
import warnings

import numpy as np
import tensorflow as tf

from keras_cnns._deprecated import renamed
from keras_cnns.data._tf_data import PARALLEL, SHUFFLE, untuned
from keras_cnns.data.augment import AUGMENTATIONS, ColorComponents, batch_steps
from keras_cnns.data.crops import DRAWS
from keras_cnns.data.dataset_state import seed_of
from keras_cnns.data.disk_cache import on_disk
from keras_cnns.data.image_decoder import ImageDecoder
from keras_cnns.data.image_files import read_file, read_image
from keras_cnns.data.jpeg_damage import DAMAGED, decoder_warning
from keras_cnns.data.read_errors import reading
from keras_cnns.data.sharding import Share
from keras_cnns.data.whitening import fit_components
from keras_cnns.errors import ArgumentError, SourceWarning, nearest

CACHE_BYTES = 1 << 30  # decoded images up to so much stay in memory
CACHE_FORMAT = 1  # of images kept on disk; another one is not read


@renamed(picture="image")
def prepare(image, preprocessing):
    """Return one image, resized and cropped by the record; not yet normalized.

    Args:
        image: uint8 tensor or array (height, width, channels) of any height and width.
        preprocessing: `Preprocessing`.

    Returns:
        uint8 tensor of shape `preprocessing.shape`.
    """
    height, width = preprocessing.size
    image = tf.convert_to_tensor(image)
    # The same steps whether the size is known beforehand or not, so that all sources give the same pixels
    if preprocessing.shorter_side is not None or tuple(image.shape[:2]) != preprocessing.size:
        if preprocessing.shorter_side is None:
            image = tf.image.resize(image, preprocessing.size, antialias=True)
        else:
            image = resized(image, preprocessing.shorter_side)
        top, left = (tf.shape(image)[0] - height) // 2, (tf.shape(image)[1] - width) // 2
        image = tf.saturate_cast(tf.round(image[top : top + height, left : left + width]), tf.uint8)
    return tf.ensure_shape(image, preprocessing.shape)


def read_files(paths, preprocessing):
    """Return image files as a network's input is before it is normalized, uint8 (images, height, width, channels).

    This defines "from file to pixels" for the whole package: `read_image` decodes, `prepare` resizes and crops. Two
    others must give the same pixels, and tests compare them with these: `image_bytes.decode_image_bytes` in a graph
    without Python, and examples/read_image.py without this package.

    Args:
        paths: of the files, or files that are open for reading.
        preprocessing: `Preprocessing`.

    Raises:
        SourceError: naming the first file that cannot be read.

    Warns:
        SourceWarning: naming each JPEG in which the decoder meets damage that it passes over.
    """
    images = []
    for path in paths:
        images.append(prepare(read_image(path, preprocessing.channels), preprocessing))
        if reason := decoder_warning(read_file(path)):
            warnings.warn(DAMAGED.format(path=path, reason=reason), SourceWarning, stacklevel=2)
    return np.stack(images)


def resized(image, shorter_side):
    """Return an image (height, width, channels) as float32, its shorter side so many pixels and its aspect kept."""
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    ratio = shorter_side / tf.reduce_min(sides)
    target = tf.maximum(shorter_side, tf.cast(tf.round(sides * ratio), tf.int32))
    return tf.image.resize(image, target, antialias=True)


def make_dataset(
    split,
    preprocessing,
    batch_size,
    *,
    shuffle=False,
    augmentation="none",
    seed=0,
    normalize=True,
    rand_augment=0.0,
    color=None,
    color_deviation=0.1,
    erasing=0.0,
    mixup=0.0,
    cutmix=0.0,
    one_hot=None,
    cache=None,
    skip_broken=False,
    position=None,
    share=None,
    counting=False,
):
    """Return the images of a split as a network takes them.

    Args:
        split: `Split` of a source.
        preprocessing: `Preprocessing`.
        batch_size: images a batch; the last batch may hold fewer, none is dropped.
        shuffle: whether each pass has an order of its own, drawn from `seed`.
        augmentation: a name of `AUGMENTATIONS`: "none"; on images of the input's size "shift" (up to 4 pixels),
            "pad-crop-flip" (the same, and half of them mirrored) and "distort"; of whole images, in place of
            resize and center crop, "crop-flip", "scale-jitter", "scale-jitter-480" and "inception-crop".
        seed: of the order and of all that is random.
        normalize: whether to normalize; False gives uint8, as exported artifacts take it.
        rand_augment: strength of `keras.layers.RandAugment`, 0 to 1; its two operations are drawn for each batch.
        color: `ColorComponents`, for `color_noise`; None: none.
        color_deviation: of that noise; 0.1 is AlexNet's.
        erasing: share of the images of which `keras.layers.RandomErasing` erases a part.
        mixup: alpha of `keras.layers.MixUp`.
        cutmix: alpha of `keras.layers.CutMix`; where `mixup` is given too, each batch gets one of both, by chance.
        one_hot: number of classes, for one-hot labels, which mixing needs; None: whole numbers.
        cache: folder in which decoded images are kept for later runs, which then need not read the files; written
            before this returns. None: images of the input's size are kept in memory where 1 GiB holds them.
        skip_broken: whether images that cannot be read are left out; they are noted in `split.skipped`.
        position: `Position` at which each pass starts, for a training that goes on where it stopped; not with
            `skip_broken`.
        share: `Share` of one of several processes, or of several devices, among which every batch can then be divided:
            where the last one does not come out even, images are repeated, and all batches have weights; not with
            `skip_broken`.
        counting: whether such weights count each image once, for metrics, in place of setting the loss right.

    Returns:
        `tf.data.Dataset` of (float32 images (batch, height, width, channels), int64 labels (batch,) or float32 ones
        (batch, one_hot), perhaps float32 weights (batch,)), of known length, except with `position`, and with
        `skip_broken` before broken images are known. Iterate it inside `reading(split)`, which names the file if
        one cannot be read.

    Raises:
        ArgumentError: for an augmentation that is not known, strengths out of range, mixing without `one_hot`, or
            `skip_broken` with `position` or `share`.
        SourceError, OutputError: if the cache must be written and an image cannot be read, or the folder not used.
    """
    if augmentation not in AUGMENTATIONS:
        raise ArgumentError(
            f"`augmentation` must be one of {', '.join(AUGMENTATIONS)}.{nearest(augmentation, AUGMENTATIONS)} "
            f"Received: augmentation={augmentation!r}"
        )
    for name, value in (("position", position), ("share", share)):
        if skip_broken and value is not None:
            raise ArgumentError(
                f"images that are left out on the way would shift `{name}`: leave them out beforehand, with "
                f"`without_broken`. Received: skip_broken=True, {name}={value!r}"
            )
    geometry, share, whole = AUGMENTATIONS[augmentation], share or Share(), split
    part = share.batch_size(batch_size)
    split, own = share.of(split)
    fill = share.fill(whole, batch_size, counting)
    steps = batch_steps(preprocessing.channels, rand_augment, color, color_deviation, erasing, mixup, cutmix, one_hot)
    read_images = _images(split, preprocessing, geometry.window, shuffle, cache, skip_broken, own)
    normalized = normalizer(preprocessing)

    def finish(batch, draw):
        images, labels = batch
        if share.processes > 1:
            draw = tf.random.experimental.stateless_fold_in(draw, share.process)
        if one_hot is not None:
            labels = tf.one_hot(labels, one_hot)
        if geometry.batch:
            images = geometry.batch(images, draw)
        if normalize:
            images = tf.cast(images, tf.float32)
        for k, step in enumerate(steps, 1):
            images, labels = step(images, labels, tf.random.experimental.stateless_fold_in(draw, k))
        return normalized(images) if normalize else images, labels

    def of_pass(seed, step=None):
        first = None if step is None else step * part
        draws = _draws(seed) if step is None else _draws(seed).skip(step)
        data = tf.data.Dataset.zip(read_images(seed, first).batch(part), draws).map(finish, **PARALLEL)
        if fill is None:
            return data
        start = tf.zeros((), tf.int64) if step is None else step
        return data.enumerate(start).map(lambda number, batch: fill(number, *batch), **PARALLEL)

    if position is not None:
        data = position.epochs(lambda epoch, step: of_pass(seed_of(seed, epoch), step))
        return untuned(data.prefetch(2))
    data = of_pass(seed)
    if not skip_broken:
        data = data.apply(tf.data.experimental.assert_cardinality(-(-whole.examples // batch_size)))
    return untuned(data.prefetch(2))


def normalizer(preprocessing):
    """Return `preprocessing.normalize`, or what gives the same in half the time."""
    if not preprocessing.is_affine or len(preprocessing.mean) == 1:
        return preprocessing.normalize
    # TensorFlow is slow to repeat three values along the last axis
    mean = np.broadcast_to(np.asarray(preprocessing.mean, "float32"), preprocessing.shape)
    scale = np.asarray(preprocessing.scale, "float32")
    scale = np.broadcast_to(scale, preprocessing.shape) if len(scale) > 1 else scale
    return lambda images: (images - mean) * scale


def _images(split, preprocessing, window, shuffle, cache, skip_broken, own):
    """Return a function from a seed to a `tf.data.Dataset` of (uint8 image of the input's size, label).

    Its second argument is how many images of the pass to leave out at the start; None: none. `window` is as in
    `Augmentation`; `own` takes what one process reads out of all elements, None: everything.
    """
    channels, size = preprocessing.channels, preprocessing.size

    def decoded(elements):
        whole = elements.map(lambda element, label: (split.decode(element, channels, skip_broken), label), **PARALLEL)
        return whole.filter(_is_there) if skip_broken else whole

    def prepared(elements):
        if skip_broken:
            return decoded(elements).map(lambda image, label: (prepare(image, preprocessing), label), **PARALLEL)
        # In one map, so that no large images wait between two
        return elements.map(
            lambda element, label: (prepare(split.decode(element, channels), preprocessing), label), **PARALLEL
        )

    in_memory = cache is None and window is None and split.examples * math.prod(preprocessing.shape) <= CACHE_BYTES
    source, skips = split, skip_broken
    if cache is not None:
        fields = (channels,) if window else (channels, size, preprocessing.shorter_side)
        name = repr((CACHE_FORMAT, fields, shuffle, skip_broken, split.identity()))
        # In random order already, as too many of them are read to hold all while they are shuffled
        elements = split.shuffled(0) if shuffle else split.elements()
        kept = on_disk((decoded if window else prepared)(elements), cache, name, split)
        source, skips = ImageDecoder(), False
    elif in_memory:
        kept = prepared(split.elements()).cache()
    else:
        kept, shuffled = None if shuffle else split.elements(), split.shuffler() if shuffle else None
    room = split.examples if in_memory else min(split.examples, SHUFFLE)

    def images(seed, first):
        if not shuffle:
            data = kept
        elif kept is None:
            data = shuffled(seed)
        else:
            data = kept.shuffle(room, seed=seed, reshuffle_each_iteration=True)
        data = data if own is None else own(data)
        if first is not None:
            data = data.skip(first)
        if window:
            return _windows(data, source, preprocessing, window, seed, first, skips, own)
        return data if in_memory or cache is not None else prepared(data)

    return images


def _windows(elements, split, preprocessing, window, seed, first, skip_broken, own):
    """Return (uint8 image of the input's size, label): of each a random window, half of them mirrored."""

    def choose(height, width, draws):
        return window(height, width, draws, preprocessing)

    def fit(pixels, label, draws):
        # The window has less than about twice the size: interpolation leaves little of it out, and costs a sixth of
        # `antialias=True`. What it gives lies between the pixels' own values, so that nothing needs to be clipped.
        image = tf.cast(tf.image.resize(pixels, preprocessing.size) + 0.5, tf.uint8)
        mirrored = tf.reverse(image, tf.boolean_mask([1], draws[-1:] < 0.5))
        return tf.ensure_shape(mirrored, preprocessing.shape), label

    draws = _draws(seed).map(lambda seed: tf.random.stateless_uniform((256, DRAWS), seed)).unbatch()
    draws = draws if own is None else own(draws)
    if first is not None:
        draws = draws.skip(first)
    data = tf.data.Dataset.zip(elements, draws).map(lambda element, draws: (*element, draws))
    return split.windows(data, preprocessing.channels, choose, preprocessing.size, fit, skip_broken)


def _draws(seed):
    """Return an endless `tf.data.Dataset` of seeds, int64 (2,), which goes on from pass to pass."""
    again = None if tf.is_tensor(seed) else True  # a pass's own seed gives others anyway
    return tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=again).batch(2)


def _is_there(image, *_):
    return tf.size(image) > 0


def read_pixels(split, preprocessing):
    """Return all images of a split as a network's input is before it is normalized, and their labels.

    Args:
        split: `Split`.
        preprocessing: `Preprocessing`.

    Returns:
        (uint8 array (images, height, width, channels), int64 array (images,)).

    Raises:
        SourceError: if an image cannot be read.
    """
    with reading(split):
        batches = list(make_dataset(split, preprocessing, 256, normalize=False).as_numpy_iterator())
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, labels


def fit_color(split, preprocessing):
    """Return the `ColorComponents` of a training split, after resize and crop.

    Args:
        split: the training `Split`, and never another.
        preprocessing: `Preprocessing`, of which size, channels and resize rule count.

    Raises:
        SourceError: if an image cannot be read.
    """
    with reading(split):
        batches = make_dataset(split, preprocessing, 32, normalize=False).as_numpy_iterator()
        found = fit_components(images.reshape(-1, preprocessing.channels) / 255 for images, _ in batches)
    # Which way a vector points is chance; here, to the side where it has more
    vectors = found.components * np.where(found.components.sum(1, keepdims=True) < 0, -1, 1)
    return ColorComponents(found.variances.tolist(), vectors.tolist())
