"""The views of an image that a protocol asks for."""

import numpy as np

from keras_cnns._deprecated import renamed
from keras_cnns.evaluation.protocols import shorter_sides


@renamed(picture="image")
def views(image, preprocessing, protocol, scales=None):
    """Return the crops of an image that a protocol shows to a network.

    Args:
        image: uint8 tensor or array (height, width, channels) of any height and width.
        preprocessing: `Preprocessing`.
        protocol: `Protocol`, not a dense one.
        scales: shorter sides in pixels, in place of the protocol's.

    Returns:
        uint8 tensor (views, height, width, channels) of the input's size: scale by scale, square by square, the
        positions in their order and then the whole; behind them all the same, mirrored.

    Raises:
        ArgumentError: if a scale is smaller than the input.
    """
    import tensorflow as tf

    from keras_cnns.data.image_reader import prepare, resized

    found, mirrored, size = [], [], preprocessing.size
    for side in shorter_sides(protocol, size, preprocessing.shorter_side, scales):
        if side is None:
            found.append(prepare(image, preprocessing))
            mirrored.append(found[-1][:, ::-1])
            continue
        whole = _as_uint8(resized(image, side))
        for square in _squares(whole, side) if protocol.squares else [whole]:
            small = [_as_uint8(tf.image.resize(square, size, antialias=True))] if protocol.whole else []
            found += [*(_part(square, size, position) for position in protocol.positions), *small]
            if protocol.mirror:
                # Turned once, and crops cut out of it: TensorFlow is slow to turn each of them
                turned = square[:, ::-1]
                mirrored += [_part(turned, size, position, True) for position in protocol.positions]
                mirrored += [one[:, ::-1] for one in small]
    every = [*found, *mirrored] if protocol.mirror else found
    return tf.ensure_shape(tf.stack(every), (len(every), *preprocessing.shape))


def views_dataset(split, preprocessing, protocol, scales, images):
    """Return a `tf.data.Dataset` of (normalized views, labels), so many images a batch.

    Its elements are float32 (images * views, height, width, channels), the views of an image together, and int64
    (images,).
    """
    import tensorflow as tf

    from keras_cnns.data.pipeline import normalizer
    from keras_cnns.data.splits import PARALLEL

    normalize = normalizer(preprocessing)

    def show(element, label):
        return views(split.decode(element, preprocessing.channels), preprocessing, protocol, scales), label

    def finish(found, labels):
        return normalize(tf.cast(tf.reshape(found, (-1, *preprocessing.shape)), tf.float32)), labels

    return _batched(split.elements().map(show, **PARALLEL), split, images, finish)


def whole_dataset(split, preprocessing, side, images):
    """Return a `tf.data.Dataset` of (normalized whole images of a shorter side, labels).

    So many images a batch where all have one size, else one by one.
    """
    import tensorflow as tf

    from keras_cnns.data.image_reader import resized
    from keras_cnns.data.splits import PARALLEL

    def show(element, label):
        image = split.decode(element, preprocessing.channels)
        whole = _as_uint8(resized(image, side))
        if None not in image.shape:  # what TensorFlow cannot tell of a resize whose target it computes
            height, width = image.shape[:2]
            ratio = np.float32(side) / np.float32(min(height, width))
            whole.set_shape((*(max(side, int(np.round(np.float32(n) * ratio))) for n in (height, width)), None))
        return whole, label

    def finish(found, labels):
        return preprocessing.normalize(tf.cast(found, tf.float32)), labels

    data = split.elements().map(show, **PARALLEL)
    same = None not in data.element_spec[0].shape[:2]
    return _batched(data, split, images if same else 1, finish)


def _batched(data, split, images, finish):
    """Return so many of a split's images a batch, finished, of known length."""
    import tensorflow as tf

    from keras_cnns.data.splits import untuned

    batches = data.batch(images).apply(tf.data.experimental.assert_cardinality(-(-split.examples // images)))
    return untuned(batches.map(finish).prefetch(1))


def _squares(image, side):
    """Return the three squares of an image with that shorter side, along its longer one."""
    return [_part(image, (side, side), (along, along)) for along in (0.0, 0.5, 1.0)]


def _part(image, size, position, is_turned=False):
    """Return the part of a size at (down, across), each from 0 to 1, of the room that there is.

    Of an image that is turned, left for right, the part that is there when it is not.
    """
    import tensorflow as tf

    room = tf.shape(image)[:2] - size
    top, left = tf.unstack(tf.cast(tf.floor(tf.cast(room, tf.float32) * position), tf.int32))
    left = room[1] - left if is_turned else left
    return image[top : top + size[0], left : left + size[1]]


def _as_uint8(image):
    import tensorflow as tf

    return tf.saturate_cast(tf.round(image), tf.uint8)
