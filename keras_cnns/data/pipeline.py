"""Batched `tf.data.Dataset`s of prepared, augmented and normalized images."""

import warnings
from collections.abc import Callable, Iterable
from typing import IO

import numpy as np
import tensorflow as tf

from keras_cnns._deprecated import gathered
from keras_cnns.data._tf_data import PARALLEL, untuned
from keras_cnns.data.augment import Augment, ColorComponents
from keras_cnns.data.dataset_state import Position, epoch_seed
from keras_cnns.data.geometry import AUGMENTATIONS
from keras_cnns.data.image_files import read_file, read_image
from keras_cnns.data.image_reader import image_reader, prepare, random_seeds
from keras_cnns.data.jpeg_damage import DAMAGED, decoder_warning
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.read_errors import reading
from keras_cnns.data.sharding import Share
from keras_cnns.data.splits import Split
from keras_cnns.data.targets import Target
from keras_cnns.data.whitening import fit_components
from keras_cnns.errors import ArgumentError, SourceWarning
from keras_cnns.typing import Labels, Path, Pixels


def read_files(paths: Iterable[Path | IO[bytes]], preprocessing: Preprocessing) -> Pixels:
    """Read image files, resized and cropped but not yet normalized.

    This function defines "from file to pixels" for the whole package: `read_image` decodes, `prepare` resizes and
    crops. Two others must give the same pixels, and tests compare them with this one: `image_bytes.decode_image_bytes`
    in a graph without Python, and examples/read_image.py without this package.

    Args:
        paths: paths of image files, or files open for reading.
        preprocessing: `Preprocessing`.

    Returns:
        uint8 array (images, height, width, channels).

    Raises:
        SourceError: naming the first file that cannot be read.

    Warns:
        SourceWarning: naming each JPEG that is damaged but can be decoded.
    """
    images = []
    for path in paths:
        images.append(prepare(read_image(path, preprocessing.channels), preprocessing))
        if reason := decoder_warning(read_file(path)):
            warnings.warn(DAMAGED.format(path=path, reason=reason), SourceWarning, stacklevel=2)
    return np.stack(images)


@gathered(
    into="augmentation",
    record=Augment,
    names=("rand_augment", "color", "color_deviation", "erasing", "mixup", "cutmix"),
)
def make_dataset(
    split: Split,
    preprocessing: Preprocessing,
    batch_size: int,
    *,
    shuffle: bool = False,
    augmentation: str | Augment = "none",
    seed: int = 0,
    normalize: bool = True,
    one_hot: int | None = None,
    cache: Path | None = None,
    skip_broken: bool = False,
    position: Position | None = None,
    share: Share | None = None,
    counting: bool = False,
) -> tf.data.Dataset:
    """Return the batches of a split, ready for a network.

    Args:
        split: `Split` of a source.
        preprocessing: `Preprocessing`.
        batch_size: images per batch. The last batch may hold fewer; no image is dropped.
        shuffle: whether to draw a new order for each pass, from `seed`.
        augmentation: `Augment`; a string is short for `Augment(string)`, a change of geometry alone.
        seed: seed of the order and of every random change.
        normalize: whether to normalize. False gives uint8 images, as exported artifacts take them.
        one_hot: number of classes for one-hot labels, which mixing needs; None: labels are whole numbers.
        cache: folder that keeps decoded images, so that later runs need not read the files. It is written before this
            function returns. None: images of the input size are kept in memory if they take up to 1 GiB.
        skip_broken: whether to skip images that cannot be read and note them in `split.skipped`.
        position: `Position` at which each pass starts, to resume a training run; not with `skip_broken`.
        share: `Share` of one of several processes or devices, which divide every batch. If the images of the last
            batch cannot be divided evenly, some are repeated, and all batches have weights; not with `skip_broken`.
        counting: whether these weights count each image once, for metrics, rather than correct the loss of a batch.

    Returns:
        `tf.data.Dataset` of (images, labels) or (images, labels, weights):

        - images are float32 (batch, height, width, channels), or uint8 without `normalize`;
        - labels are int64 (batch,), or float32 (batch, one_hot); or masks, uint8 (batch, height, width); or objects, a
            dictionary, as `Boxes` describes it;
        - weights are float32 (batch,).

        Its length is known, except with `position`, and except with `skip_broken` until the broken images are known.
        Iterate it inside `reading(split)`, which names the file if one cannot be read.

    Raises:
        ArgumentError: for an unknown augmentation, one that the split's targets cannot follow, strengths out of range,
            mixing without `one_hot`, or `skip_broken` with `position` or `share`.
        SourceError: if the cache must be written and an image cannot be read.
        OutputError: if the cache folder cannot be used.

    Examples:
        >>> from keras_cnns import data
        >>> split = data.open_source("digits").split("train")
        >>> batches = data.make_dataset(split, data.Preprocessing((32, 32), 1), 128, shuffle=True, augmentation="shift")
        >>> len(batches)
        12
        >>> [tuple(array.shape) for array in next(iter(batches))]
        [(128, 32, 32, 1), (128,)]
    """
    augment = augmentation if isinstance(augmentation, Augment) else Augment(augmentation)
    _check_skipping(skip_broken, position=position, share=share)
    if reason := split.target.refusal(augment):
        raise ArgumentError(f"{reason}. Received: augmentation={augment}")
    share = share or Share()
    local_batch = share.batch_size(batch_size)
    local_split, select = share.of(split)
    fill = share.fill(split, batch_size, counting)
    finish = _batch_finisher(split.target, preprocessing, augment, one_hot, normalize, share)
    window = AUGMENTATIONS[augment.geometry].window
    read_images = image_reader(local_split, preprocessing, window, shuffle, cache, skip_broken, select)

    def one_pass(seed, step=None):
        skipped_images = None if step is None else step * local_batch
        seeds = random_seeds(seed) if step is None else random_seeds(seed).skip(step)
        batches = split.target.batch(read_images(seed, skipped_images), local_batch)
        if fill is None:
            return tf.data.Dataset.zip(batches, seeds).map(lambda *batch: in_form(*finish(*batch)), **PARALLEL)
        data = tf.data.Dataset.zip(batches, seeds).map(finish, **PARALLEL)
        first = tf.zeros((), tf.int64) if step is None else step
        return data.enumerate(first).map(lambda number, batch: in_form(*fill(number, *batch)), **PARALLEL)

    def in_form(images, targets, *weights):
        return images, split.target.finish(targets), *weights

    if position is not None:
        data = position.epochs(lambda epoch, step: one_pass(epoch_seed(seed, epoch), step))
    else:
        data = one_pass(seed)
        if not skip_broken:
            data = data.apply(tf.data.experimental.assert_cardinality(-(-split.examples // batch_size)))
    return untuned(data.prefetch(2))


def _check_skipping(skip_broken: bool, **positions: Position | Share | None) -> None:
    """Raise ArgumentError if images are skipped although positions must not shift."""
    for name, value in positions.items():
        if skip_broken and value is not None:
            raise ArgumentError(
                f"images skipped during reading would shift `{name}`: leave them out in advance, with "
                f"`without_broken`. Received: skip_broken=True, {name}={value!r}"
            )


def _batch_finisher(
    target: Target, preprocessing: Preprocessing, augment: Augment, one_hot: int | None, normalize: bool, share: Share
) -> Callable[[tuple[tf.Tensor, tf.Tensor], tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return a function (batch, seed) that augments and normalizes a batch."""
    change_geometry = AUGMENTATIONS[augment.geometry].batch
    steps = augment.batch_steps(preprocessing.channels, one_hot)
    normalized = normalizer(preprocessing)

    def finish(batch, seed):
        images, labels = batch
        if share.processes > 1:
            seed = tf.random.experimental.stateless_fold_in(seed, share.process)
        if one_hot is not None:
            labels = tf.one_hot(labels, one_hot)
        if change_geometry:
            images, labels = change_geometry(images, seed), target.move_batch(labels, change_geometry, seed)
        if normalize:
            images = tf.cast(images, tf.float32)
        for number, step in enumerate(steps, 1):
            images, labels = step(images, labels, tf.random.experimental.stateless_fold_in(seed, number))
        return normalized(images) if normalize else images, labels

    return finish


def normalizer(preprocessing: Preprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return `preprocessing.normalize`, or an equivalent function that is faster."""
    if not preprocessing.is_affine or len(preprocessing.mean) == 1:
        return preprocessing.normalize
    # TensorFlow is slow to broadcast three values along the last axis: this takes half the time
    mean = np.broadcast_to(np.asarray(preprocessing.mean, "float32"), preprocessing.shape)
    scale = np.asarray(preprocessing.scale, "float32")
    scale = np.broadcast_to(scale, preprocessing.shape) if len(scale) > 1 else scale
    return lambda images: (images - mean) * scale


def read_pixels(split: Split, preprocessing: Preprocessing) -> tuple[Pixels, Labels]:
    """Read all images of a split, resized and cropped but not normalized.

    Args:
        split: `Split` of a source.
        preprocessing: `Preprocessing`.

    Returns:
        uint8 array (images, height, width, channels) and int64 labels (images,); masks are uint8 (images, height,
        width), and objects an object array (images,) of dictionaries, as `Boxes` describes them.

    Raises:
        SourceError: if an image cannot be read.

    Examples:
        >>> from keras_cnns import data
        >>> images, labels = data.read_pixels(data.open_source("digits").split("test"), data.Preprocessing((8, 8), 1))
        >>> images.shape, images.dtype, labels.shape
        ((360, 8, 8, 1), dtype('uint8'), (360,))
    """
    with reading(split):
        batches = list(make_dataset(split, preprocessing, 256, normalize=False).as_numpy_iterator())
    images, targets = zip(*batches, strict=True)
    return np.concatenate(images), split.target.gathered(targets)


def fit_color(split: Split, preprocessing: Preprocessing) -> ColorComponents:
    """Return the `ColorComponents` of a training split, after resize and crop.

    Args:
        split: the training `Split`; other splits must not influence the training.
        preprocessing: `Preprocessing`; only its size, channels and resize rule are used.

    Returns:
        `ColorComponents`, for `Augment(color=...)`.

    Raises:
        SourceError: if an image cannot be read.

    Examples:
        >>> from keras_cnns import data
        >>> split = data.open_source("digits").split("train")
        >>> color = data.fit_color(split, data.Preprocessing((32, 32), 3))
        >>> data.Augment("crop-flip", color=color).color_deviation
        0.1
    """
    with reading(split):
        batches = make_dataset(split, preprocessing, 32, normalize=False).as_numpy_iterator()
        components = fit_components(images.reshape(-1, preprocessing.channels) / 255 for images, _ in batches)
    # The sign of an eigenvector is arbitrary: take the one whose values have a positive sum
    signs = np.where(components.components.sum(1, keepdims=True) < 0, -1, 1)
    return ColorComponents(components.variances.tolist(), (components.components * signs).tolist())
