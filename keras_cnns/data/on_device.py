"""A small dataset, kept on the GPU and augmented there."""

# No tensorflow here, so that this works on every backend of Keras
import keras
import numpy as np
from keras import ops

from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Pixels

AUGMENTATIONS = ("pad-crop-flip", "shift", "none")


def keep_on_device(
    model: keras.Model,
    images: Pixels,
    preprocessing: Preprocessing,
    *,
    augmentation: str = "pad-crop-flip",
    seed: int = 0,
) -> keras.Model:
    """Return a model that takes indices into images kept on the device.

    The images are copied to the device once, as uint8. A training step then sends indices only, and the device shifts,
    mirrors and normalizes the images. The weights are those of `model`, so that `model` is the one to save and to
    evaluate.

    Args:
        model: functional `keras.Model` with an input (batch, height, width, channels).
        images: uint8 array (images, height, width, channels) of the model's input size. It also holds the images to
            validate on; they are augmented in training only.
        preprocessing: `Preprocessing`.
        augmentation: change of geometry: "pad-crop-flip", "shift" or "none", as in `Augment`.
        seed: seed of the shifts and mirrors.

    Returns:
        `keras.Model` from int32 indices (batch,) to the outputs of `model`.

    Raises:
        ArgumentError: if the images do not have this dtype and shape, or the augmentation is another one.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import applications, data
        >>> model, preprocessing = applications.LeNet5Modern(input_shape=(32, 32, 1)), data.Preprocessing((32, 32), 1)
        >>> images, labels = data.read_pixels(data.open_source("digits").split("test"), preprocessing)
        >>> trainer = data.keep_on_device(model, images, preprocessing)
        >>> trainer.compile("adam", "sparse_categorical_crossentropy")
        >>> history = trainer.fit(np.arange(300), labels[:300], verbose=0)
        >>> trainer.predict(np.arange(300, 360), verbose=0).shape
        (60, 10)
    """
    if augmentation not in AUGMENTATIONS:
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
    indices = keras.Input((), dtype="int32", name="place")
    pad = 0 if augmentation == "none" else 4
    batch = ImagesOnDevice(images, preprocessing, pad, augmentation == "pad-crop-flip", seed)(indices)
    return keras.Model(indices, model(batch), name=f"{model.name}_on_device")


class ImagesOnDevice(keras.layers.Layer):
    """Look up images by index, and shift and mirror them in training.

    Args:
        images: uint8 array (images, height, width, channels).
        preprocessing: `Preprocessing`.
        pad: pixels of black added on each side before a random crop of the old size, in training.
        flip: whether half of the images are mirrored, in training.
        seed: seed of the shifts and mirrors.

    Call arguments:
        places: int32 indices (batch,).
        training: whether to shift and mirror.

    Returns:
        float32 (batch, height, width, channels), normalized.
    """

    def __init__(self, images: Pixels, preprocessing: Preprocessing, pad: int, flip: bool, seed: int):
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

    def call(self, places: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Return the images at these indices.

        Args:
            places: int32 indices (batch,).
            training: whether to shift and mirror.
        """
        images = ops.take(self.images, places, axis=0)
        if training and (self.pad or self.flip):
            images = self._augmented(images)
        return self.preprocessing.normalize(ops.cast(images, "float32"))

    def _augmented(self, images: keras.KerasTensor) -> keras.KerasTensor:
        """Shift images by up to `pad` pixels, and mirror half if `flip`."""
        batch, height, width = ops.shape(images)[:3]
        offsets = keras.random.randint((2, batch, 1), 0, 2 * self.pad + 1, seed=self.draws)
        rows, columns = offsets[0] + ops.arange(height), offsets[1] + ops.arange(width)
        if self.flip:
            mirrored = keras.random.uniform((batch, 1), seed=self.draws) < 0.5
            columns = ops.where(mirrored, ops.flip(columns, axis=1), columns)
        padded = ops.pad(images, ((0, 0), (self.pad,) * 2, (self.pad,) * 2, (0, 0)))
        shifted = ops.take_along_axis(padded, rows[:, :, None, None], axis=1)
        return ops.take_along_axis(shifted, columns[:, None, :, None], axis=2)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return (batch, height, width, channels).

        Args:
            input_shape: (batch,).
        """
        return (*input_shape, *self.preprocessing.shape)
