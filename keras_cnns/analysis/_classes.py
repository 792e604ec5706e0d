"""Which class a look inside is about."""

import numpy as np

from keras_cnns import _models
from keras_cnns.errors import ArgumentError


def classifier(model):
    """Return the functional model from images to logits, without auxiliary heads and softmax.

    Raises:
        ArgumentError: if the model is none that takes images and gives a vector for each.
    """
    model = _models.two_classes(_models.main_output(model))
    _models.one_image_input(model)
    return _models.without_softmax(model)


def targets_of(logits, target):
    """Return the class that each image is asked about, int64 (images,).

    Args:
        logits: array (images, classes).
        target: a class number for all images, or one for each; None: the most probable one of each.

    Raises:
        ArgumentError: if there is no such class, or not one for each image.
    """
    count, classes = np.shape(logits)
    if target is None:
        return np.argmax(logits, axis=1).astype("int64")
    targets = np.asarray(target)
    if (
        targets.ndim > 1
        or (targets.ndim == 1 and len(targets) != count)
        or not np.issubdtype(targets.dtype, np.integer)
    ):
        raise ArgumentError(
            f"`target` must be a class number, or one for each of {count} images. Received: target={target!r}"
        )
    if targets.min(initial=0) < 0 or targets.max(initial=0) >= classes:
        raise ArgumentError(f"`target` must lie between 0 and {classes - 1}. Received: target={target!r}")
    return np.broadcast_to(targets, count).astype("int64")


def check_images(model, images):
    """Return the images as a float32 array (images, height, width, channels) that a model takes, whatever it gives.

    Raises:
        ArgumentError: for another shape, or values that are not finite.
    """
    shape = _models.image_input(model)
    images = np.asarray(images, "float32")
    fits = images.ndim == 4 and all(want in (None, have) for want, have in zip(shape, images.shape[1:], strict=True))
    if not fits or not len(images):
        wanted = ", ".join("any" if side is None else str(side) for side in shape)
        raise ArgumentError(
            f"`images` must be (images, {wanted}), normalized as {model.name} takes them. "
            f"Received: shape={images.shape}"
        )
    if not np.isfinite(images).all():
        raise ArgumentError("`images` must be finite numbers. Received: NaN or infinity among them")
    return images
