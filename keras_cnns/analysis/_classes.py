"""Checks of images and target classes."""

from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_cnns import _models
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks import classifiers
from keras_cnns.typing import Images, Labels


def logits_model(model: keras.Model) -> keras.Model:
    """Return the functional model from images to logits.

    Auxiliary heads and the last softmax are left out. One sigmoid becomes the logits of two classes.

    Args:
        model: functional or sequential `keras.Model`.

    Raises:
        ArgumentError: if the model does not map one batch of images to one vector per image.
    """
    model = classifiers.two_classes(_models.main_output(model))
    classifiers.one_image_input(model)
    return classifiers.without_softmax(model)


def resolve_targets(logits: np.ndarray, target: ArrayLike | None) -> Labels:
    """Return the target class of each image, int64 (images,).

    Args:
        logits: array (images, classes); only its shape counts if `target` is given.
        target: one class number for all images, or one per image; None: the most probable class of each image.

    Raises:
        ArgumentError: if a class does not exist, or the number of targets is not the number of images.
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


def check_images(model: keras.Model, images: Any) -> Images:
    """Return the images as a float32 array that the model accepts.

    Args:
        model: functional `keras.Model` with one image input; its outputs do not matter.
        images: array (images, height, width, channels) of any numeric type.

    Raises:
        ArgumentError: if the shape does not fit the model, or a value is NaN or infinite.
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
