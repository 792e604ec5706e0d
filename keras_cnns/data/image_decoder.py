"""From the elements of a dataset to pixels."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from keras_cnns.data._tf_data import PARALLEL
from keras_cnns.data.image_files import Window, cut
from keras_cnns.errors import SourceError
from keras_cnns.typing import Size

# From an image's height and width and the random numbers drawn for it to a window in whole pixels
ChooseWindow: TypeAlias = Callable[[int, int, Sequence[float]], Window]
# From uint8 pixels (height, width, channels), the target, the random numbers and the int32 place to tensors
FinishWindow: TypeAlias = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], Any]


class ImageDecoder:
    """Turn the elements of a dataset into pixels.

    Elements of this base class are uint8 images already, such as those that come from a cache file.
    """

    def decode(self, element: Any, channels: int, skip_broken: bool = False) -> tf.Tensor:
        """Return the uint8 image of an element, inside a tf.data map.

        Args:
            element: one element of the dataset, without its label.
            channels: 1 (gray) or 3 (RGB).
            skip_broken: whether an image that cannot be read is noted in `Split.skipped` and returned with height 0,
                instead of raising an error.

        Returns:
            uint8 tensor (height, width, channels).
        """
        return _with_channels(element, channels)

    def windows(
        self,
        elements: tf.data.Dataset,
        channels: int,
        choose: ChooseWindow,
        size: Size,
        finish: FinishWindow,
        skip_broken: bool = False,
    ) -> tf.data.Dataset:
        """Return a dataset of one finished window per image.

        Args:
            elements: `tf.data.Dataset` of (element, target, draws); the draws are the random numbers for `choose`.
            channels: 1 (gray) or 3 (RGB).
            choose: function (height, width, draws) -> (top, left, height, width), in whole pixels.
            size: (height, width) to which the window will be resized. A larger window may be returned reduced, but
                never smaller than `size`.
            finish: function (uint8 pixels (height, width, channels), target, draws, place) -> tensors, applied to each
                window; the place is int32 (6,): the window as `choose` returned it, and height and width of the image.
            skip_broken: whether images that cannot be read are left out and noted in `Split.skipped`.
        """

        def read(image, draws):
            window = choose(*image.shape[:2], draws.tolist())
            return cut(image, window, size), np.array([*window, *image.shape[:2]], "int32")

        def show(element, target, draws):
            inputs = [self.decode(element, channels), draws]
            pixels, place = tf.numpy_function(read, inputs, (tf.uint8, tf.int32), stateful=False)
            pixels, place = tf.ensure_shape(pixels, (None, None, channels)), tf.ensure_shape(place, (6,))
            return finish(pixels, target, draws, place)

        return elements.map(show, **PARALLEL)


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Return an image (..., height, width, 1 or 3) with `channels` channels."""
    present = image.shape[-1]
    if present == channels:
        return image
    if present == 1 and channels == 3:
        return tf.image.grayscale_to_rgb(image)
    if present == 3 and channels == 1:
        return tf.image.rgb_to_grayscale(image)
    raise SourceError(f"an image of {present} channels cannot become one of {channels}.")
