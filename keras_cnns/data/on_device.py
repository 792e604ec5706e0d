"""A small data set whole on the accelerator, augmented in the training step; no tensorflow, any backend of Keras."""

import keras
import numpy as np
from keras import ops

from keras_cnns.errors import ArgumentError


def keep_on_device(model, images, preprocessing, *, augmentation="pad-crop-flip", seed=0):
    """Return a model that takes places in a set of images, instead of images, and gives what `model` gives.

    The images go to the device once, as uint8; a step sends numbers only, and shifts, mirrors and normalizes there.
    The weights are those of `model`, which is what one saves and measures:

        trainer = keep_on_device(model, np.concatenate([x_train, x_held_out]), preprocessing)
        trainer.compile(...)
        trainer.fit(np.arange(45_000), y_train, validation_data=(np.arange(45_000, 50_000), y_held_out))

    Args:
        model: functional `keras.Model` from (batch, height, width, channels).
        images: uint8 array (images, height, width, channels) of the model's size; those to validate on too, which are
            changed in training only.
        preprocessing: `Preprocessing`.
        augmentation: "pad-crop-flip", "shift" or "none".
        seed: of the shifts and mirrors.

    Returns:
        `keras.Model` from int32 places (batch,) to the outputs of `model`.

    Raises:
        ArgumentError: if images, model and augmentation do not fit.
    """
    if augmentation not in ("pad-crop-flip", "shift", "none"):
        raise ArgumentError(
            "`augmentation` on the device must be pad-crop-flip, shift or none; for others use `make_dataset`. "
            f"Received: augmentation={augmentation!r}"
        )
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != preprocessing.shape:
        raise ArgumentError(
            f"`images` must be uint8 of shape (images, {', '.join(map(str, preprocessing.shape))}). "
            f"Received: dtype={images.dtype}, shape={images.shape}"
        )
    places = keras.Input((), dtype="int32", name="place")
    pad = 0 if augmentation == "none" else 4
    batch = ImagesOnDevice(images, preprocessing, pad, augmentation == "pad-crop-flip", seed)(places)
    return keras.Model(places, model(batch), name=f"{model.name}_on_device")


class ImagesOnDevice(keras.layers.Layer):
    """Look up images by their places, and in training shift each by up to `pad` pixels, half of them mirrored.

    Args:
        images: uint8 array (images, height, width, channels).
        preprocessing: `Preprocessing`.
        pad: pixels of black on each side, of which a random window of the old size is cut.
        flip: whether half of the images are mirrored.
        seed: of what is random.

    Call arguments:
        places: int32 (batch,).
        training: whether to shift and mirror.

    Returns:
        float32 (batch, height, width, channels), normalized.
    """

    def __init__(self, images, preprocessing, pad, flip, seed):
        super().__init__(dtype="float32", name="images_on_device")
        self.preprocessing, self.pad, self.flip = preprocessing, pad, flip
        self.images = self.add_weight(
            shape=images.shape,
            dtype="uint8",
            initializer=lambda shape, dtype: ops.convert_to_tensor(images, dtype),
            trainable=False,
            name="images",
        )
        self.draws = keras.random.SeedGenerator(seed)

    def call(self, places, training=False):
        """Return the images at `places`."""
        images = ops.take(self.images, places, axis=0)
        if training and (self.pad or self.flip):
            images = self._changed(images)
        return self.preprocessing.normalize(ops.cast(images, "float32"))

    def _changed(self, images):
        batch, height, width = ops.shape(images)[:3]
        offsets = keras.random.randint((2, batch, 1), 0, 2 * self.pad + 1, seed=self.draws)
        rows, columns = offsets[0] + ops.arange(height), offsets[1] + ops.arange(width)
        if self.flip:
            mirrored = keras.random.uniform((batch, 1), seed=self.draws) < 0.5
            columns = ops.where(mirrored, ops.flip(columns, axis=1), columns)
        padded = ops.pad(images, ((0, 0), (self.pad,) * 2, (self.pad,) * 2, (0, 0)))
        shifted = ops.take_along_axis(padded, rows[:, :, None, None], axis=1)
        return ops.take_along_axis(shifted, columns[:, None, :, None], axis=2)

    def compute_output_shape(self, input_shape):
        """Return (batch, height, width, channels)."""
        return (*input_shape, *self.preprocessing.shape)
