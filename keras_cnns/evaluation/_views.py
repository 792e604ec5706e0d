"""The views of an image that a protocol asks for."""

# TensorFlow is imported inside the functions, so that evaluation also works without it

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_cnns._deprecated import renamed
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.evaluation.protocols import CropPosition, Protocol, shorter_sides
from keras_cnns.typing import Size

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_cnns.data.splits import Split


@renamed(picture="image")
def views(
    image: Any, preprocessing: Preprocessing, protocol: Protocol, scales: Sequence[int] | None = None
) -> "tf.Tensor":
    """Return the crops of an image that a protocol evaluates.

    Args:
        image: uint8 tensor or array (height, width, channels) of any height and width.
        preprocessing: `Preprocessing`.
        protocol: `Protocol` without `dense`.
        scales: shorter sides in pixels, instead of those of the protocol.

    Returns:
        uint8 tensor (views, height, width, channels) of the input size. The order is: scale by scale, in each square by
        square, in each the positions and then the whole. The mirrored views follow, in the same order.

    Raises:
        ArgumentError: if a scale is smaller than the input.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data, evaluation
        >>> image, protocol = np.zeros((480, 640, 3), "uint8"), evaluation.PROTOCOLS["ten-crop"]
        >>> evaluation.views(image, data.Preprocessing((224, 224)), protocol).shape
        TensorShape([10, 224, 224, 3])
    """
    import tensorflow as tf

    from keras_cnns.data.image_reader import prepare, resized

    plain, mirrored, size = [], [], preprocessing.size
    for side in shorter_sides(protocol, size, preprocessing.shorter_side, scales):
        if side is None:
            plain.append(prepare(image, preprocessing))
            mirrored.append(plain[-1][:, ::-1])
            continue
        whole = _as_uint8(resized(image, side))
        for square in _squares(whole, side) if protocol.squares else [whole]:
            small = [_as_uint8(tf.image.resize(square, size, antialias=True))] if protocol.whole else []
            plain += [*(_crop(square, size, position) for position in protocol.positions), *small]
            if protocol.mirror:
                # Mirrored once, and then cropped: TensorFlow is slow to mirror each crop
                flipped = square[:, ::-1]
                mirrored += [_crop(flipped, size, position, True) for position in protocol.positions]
                mirrored += [view[:, ::-1] for view in small]
    crops = [*plain, *mirrored] if protocol.mirror else plain
    return tf.ensure_shape(tf.stack(crops), (len(crops), *preprocessing.shape))


def views_dataset(
    split: "Split", preprocessing: Preprocessing, protocol: Protocol, scales: Sequence[int] | None, images: int
) -> "tf.data.Dataset":
    """Return a dataset of the normalized views of a split's images.

    Args:
        split: `Split`.
        preprocessing: `Preprocessing`.
        protocol: `Protocol` without `dense`.
        scales: as in `views`.
        images: images per batch.

    Returns:
        `tf.data.Dataset` of float32 views (images * views, height, width, channels), those of an image together, and
        int64 labels (images,).
    """
    import tensorflow as tf

    from keras_cnns.data._tf_data import PARALLEL
    from keras_cnns.data.pipeline import normalizer

    normalize = normalizer(preprocessing)

    def show(element, label):
        return views(split.decode(element, preprocessing.channels), preprocessing, protocol, scales), label

    def finish(crops, labels):
        return normalize(tf.cast(tf.reshape(crops, (-1, *preprocessing.shape)), tf.float32)), labels

    return _batched(split.elements().map(show, **PARALLEL), split, images, finish)


def own_size_dataset(split: "Split", records: Sequence[Preprocessing]) -> "tf.data.Dataset":
    """Return a dataset of prepared images with targets of their own size.

    Args:
        split: `Split`.
        records: one `Preprocessing` for each view.

    Returns:
        `tf.data.Dataset` of a tuple with one float32 image (height, width, channels) for each view, normalized; the
        uint8 image in its own size; and the target as the split holds it. One element is one image.
    """
    import tensorflow as tf

    from keras_cnns.data._tf_data import PARALLEL, untuned
    from keras_cnns.data.image_reader import prepare

    def show(element, target):
        image = split.decode(element, records[0].channels)
        views = tuple(record.normalize(tf.cast(prepare(image, record), tf.float32)) for record in records)
        return views, image, split.read_target(target, tf.shape(image)[:2])

    data = split.elements().map(show, **PARALLEL)
    return untuned(data.apply(tf.data.experimental.assert_cardinality(split.examples)).prefetch(1))


def whole_dataset(split: "Split", preprocessing: Preprocessing, side: int, images: int) -> "tf.data.Dataset":
    """Return a dataset of normalized whole images, resized by their shorter side.

    Args:
        split: `Split`.
        preprocessing: `Preprocessing`.
        side: length of the shorter side, in pixels.
        images: images per batch, if all images have one size; otherwise batches have one image.

    Returns:
        `tf.data.Dataset` of float32 images (batch, height, width, channels) and int64 labels (batch,).
    """
    import tensorflow as tf

    from keras_cnns.data._tf_data import PARALLEL
    from keras_cnns.data.image_reader import resized

    def show(element, label):
        image = split.decode(element, preprocessing.channels)
        whole = _as_uint8(resized(image, side))
        if None not in image.shape:
            # `resized` computes its target as a tensor, so that TensorFlow does not know the static shape
            height, width = image.shape[:2]
            ratio = np.float32(side) / np.float32(min(height, width))
            whole.set_shape((*(max(side, int(np.round(np.float32(n) * ratio))) for n in (height, width)), None))
        return whole, label

    def finish(pixels, labels):
        return preprocessing.normalize(tf.cast(pixels, tf.float32)), labels

    data = split.elements().map(show, **PARALLEL)
    have_one_size = None not in data.element_spec[0].shape[:2]
    return _batched(data, split, images if have_one_size else 1, finish)


def _batched(data: "tf.data.Dataset", split: "Split", images: int, finish: Callable[..., Any]) -> "tf.data.Dataset":
    """Return finished batches of a split's images, with their number known."""
    import tensorflow as tf

    from keras_cnns.data._tf_data import untuned

    batches = data.batch(images).apply(tf.data.experimental.assert_cardinality(-(-split.examples // images)))
    return untuned(batches.map(finish).prefetch(1))


def _squares(image: "tf.Tensor", side: int) -> list["tf.Tensor"]:
    """Return three squares of an image, spread along its longer side."""
    return [_crop(image, (side, side), (along, along)) for along in (0.0, 0.5, 1.0)]


def _crop(image: "tf.Tensor", size: Size, position: CropPosition, is_mirrored: bool = False) -> "tf.Tensor":
    """Return the crop of an image at a position.

    In a mirrored image, it is the mirror image of the crop at this position of the original.
    """
    import tensorflow as tf

    room = tf.shape(image)[:2] - size
    top, left = tf.unstack(tf.cast(tf.floor(tf.cast(room, tf.float32) * position), tf.int32))
    left = room[1] - left if is_mirrored else left
    return image[top : top + size[0], left : left + size[1]]


def _as_uint8(image: "tf.Tensor") -> "tf.Tensor":
    import tensorflow as tf

    return tf.saturate_cast(tf.round(image), tf.uint8)
