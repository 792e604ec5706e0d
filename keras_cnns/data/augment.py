"""Random changes of training images, repeatable by a seed."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_cnns import _keras
from keras_cnns.data.geometry import AUGMENTATIONS
from keras_cnns.errors import ArgumentError, nearest

STRENGTHS = ("rand_augment", "erasing", "mixup", "cutmix")  # fields of `Augment` from 0, which is none, to 1

# Maps (images, labels, seed) to changed (images, labels)
Step = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class ColorComponents:
    """Principal components of the pixel colors of a training split.

    Attributes:
        eigenvalues: variances along the components, one per channel, largest first, for pixels from 0 to 1.
        eigenvectors: the directions, of unit length: for each eigenvalue a tuple of one value per channel.

    Examples:
        >>> from keras_cnns import data
        >>> split = data.open_source("digits").split("train")
        >>> components = data.fit_color(split, data.Preprocessing((32, 32), 3))
        >>> len(components.eigenvalues)
        3
    """

    eigenvalues: tuple[float, ...]
    eigenvectors: tuple[tuple[float, ...], ...]

    def __post_init__(self):
        values = tuple(map(float, self.eigenvalues))
        vectors = tuple(tuple(map(float, vector)) for vector in self.eigenvectors)
        object.__setattr__(self, "eigenvalues", values)
        object.__setattr__(self, "eigenvectors", vectors)
        if len(values) not in (1, 3) or [len(vector) for vector in vectors] != [len(values)] * len(values):
            raise ValueError(
                "`eigenvalues` must hold one value per channel (1 or 3), and `eigenvectors` as many vectors of that "
                f"length. Received: eigenvalues={values}, eigenvectors={vectors}"
            )
        if not all(map(math.isfinite, (*values, *sum(vectors, ())))):
            raise ValueError(
                f"`eigenvalues` and `eigenvectors` must be finite. Received: eigenvalues={values}, "
                f"eigenvectors={vectors}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return {"eigenvalues": list(self.eigenvalues), "eigenvectors": [list(vector) for vector in self.eigenvectors]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ColorComponents":
        """Return the record that `to_json` described.

        Args:
            values: dictionary of JSON values.

        Raises:
            ValueError: if it does not describe color components.
        """
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a record of color components has two lists of numbers. Received: {values!r}") from error


def color_noise(images: tf.Tensor, seed: tf.Tensor, components: ColorComponents, deviation: float = 0.1) -> tf.Tensor:
    """Shift the color of each image along the principal components of color.

    Every pixel of an image gets the same offset: the sum of the eigenvectors, each times its eigenvalue and an alpha
    drawn from a normal distribution.

    Args:
        images: uint8 or float tensor (batch, height, width, channels) of pixels from 0 to 255.
        seed: int64 tensor of two values; the same seed gives the same colors.
        components: `ColorComponents` with as many channels as the images.
        deviation: standard deviation of the alphas.

    Returns:
        A tensor of the same shape and dtype. uint8 results are rounded and clipped to 0 to 255; float results are not.

    Reference:
        A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS
        2012, section 4.1. The paper does not name the units. Here they are those of later code, pixels from 0 to 1;
        colors then move by a few gray levels.
    """
    scaled = 255.0 * tf.constant(components.eigenvalues)[:, None] * tf.constant(components.eigenvectors)
    alphas = tf.random.stateless_normal((tf.shape(images)[0], len(components.eigenvalues)), seed, stddev=deviation)
    moved = tf.cast(images, tf.float32) + tf.matmul(alphas, scaled)[:, None, None]
    return _like(moved, images)


def _like(pixels: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Cast float pixels to the dtype of `images`, rounding them for uint8."""
    if images.dtype == tf.uint8:
        pixels = tf.round(pixels)
    return tf.saturate_cast(pixels, images.dtype)


class _StatelessSeeds(keras.random.SeedGenerator):
    """A stateless seed generator: the same seed repeats the same augmentation."""

    def __init__(self, seed):
        # Not super().__init__(), which would make a variable
        self.seed = seed

    def next(self, ordered=True):
        self.seed, drawn = tf.unstack(tf.random.split(self.seed, 2))
        return drawn


def by_layer(
    layer: keras.layers.Layer, images: tf.Tensor, seed: tf.Tensor, labels: tf.Tensor | None = None
) -> tf.Tensor | tuple[tf.Tensor, tf.Tensor]:
    """Apply a random Keras layer under a seed, inside a tf.data map.

    Args:
        layer: `keras.layers.MixUp` or another layer with a seed generator, which is replaced.
        images: uint8 or float tensor (batch, height, width, channels) of pixels from 0 to 255.
        seed: int64 tensor of two values.
        labels: one-hot float32 tensor (batch, classes) for a layer that mixes them.

    Returns:
        Images of the same dtype; with labels, (images, labels).
    """
    # The layer's own generator is a variable that each call advances, so that the seed alone would not decide
    seeds = _StatelessSeeds(seed)
    _keras.use_seeds(layer, seeds)
    pixels = tf.cast(images, tf.float32)
    if labels is None:
        return _like(tf.ensure_shape(layer(pixels), images.shape), images)
    mixed = layer({"images": pixels, "labels": labels})
    return _like(tf.ensure_shape(mixed["images"], images.shape), images), tf.ensure_shape(mixed["labels"], labels.shape)


@dataclasses.dataclass(frozen=True)
class Augment:
    """How training images and their labels are changed at random.

    The changes are made in the order of the fields; mixing comes last.

    Attributes:
        geometry: a name of `AUGMENTATIONS`. "none" changes nothing. Three work on images of the input size: "shift" (by
            up to 4 pixels), "pad-crop-flip" (the same, and half of the images mirrored) and "distort" (small affine
            maps). Four cut a random window out of the whole image, instead of resize and center crop: "crop-flip",
            "scale-jitter", "scale-jitter-480" and "inception-crop". "flip" stretches the whole image to the input and
            mirrors half of the images.
        rand_augment: strength of `keras.layers.RandAugment`, 0 to 1; 0: none. Its two operations are drawn per batch.
        color: `ColorComponents` for `color_noise`; None: no color noise.
        color_deviation: standard deviation of the color noise; 0.1 is AlexNet's. Without `color` it has no effect.
        erasing: share of the images in which `keras.layers.RandomErasing` erases a part, 0 to 1; 0: none.
        mixup: alpha of `keras.layers.MixUp`, 0 to 1; 0: none.
        cutmix: alpha of `keras.layers.CutMix`, 0 to 1; 0: none. With `mixup` as well, each batch gets one of the two,
            with equal probability.

    Examples:
        >>> from keras_cnns import data
        >>> split = data.open_source("digits").split("train")
        >>> augment = data.Augment("pad-crop-flip", mixup=0.2, erasing=0.25)
        >>> batches = data.make_dataset(split, data.Preprocessing((32, 32), 1), 128, augmentation=augment, one_hot=10)
        >>> images, labels = next(iter(batches))
        >>> tuple(images.shape), tuple(labels.shape)
        ((128, 32, 32, 1), (128, 10))
    """

    geometry: str = "none"
    rand_augment: float = 0.0
    color: ColorComponents | None = None
    color_deviation: float = 0.1
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        # The error says `augmentation`, since most callers give the name alone, as that argument
        if self.geometry not in AUGMENTATIONS:
            raise ArgumentError(
                f"`augmentation` must be one of {', '.join(AUGMENTATIONS)}.{nearest(self.geometry, AUGMENTATIONS)} "
                f"Received: augmentation={self.geometry!r}"
            )
        for name in STRENGTHS:
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ArgumentError(f"`{name}` must lie between 0 and 1. Received: {name}={value}")
        if not 0 <= self.color_deviation < math.inf:
            raise ArgumentError(
                f"`color_deviation` must not be below 0. Received: color_deviation={self.color_deviation}"
            )

    @property
    def changes_nothing(self) -> bool:
        """Whether images stay as they are."""
        return self.geometry == "none" and self.color is None and not any(getattr(self, name) for name in STRENGTHS)

    def batch_steps(self, channels: int, one_hot: int | None) -> list[Step]:
        """Return the changes of whole batches, except geometry, in their order.

        Args:
            channels: number of channels of the images.
            one_hot: number of classes if labels are one-hot, else None.

        Returns:
            Functions (images, labels, seed) -> (images, labels).

        Raises:
            ArgumentError: if `color` has another number of channels, or labels to be mixed are not one-hot.
        """
        if (self.mixup or self.cutmix) and one_hot is None:
            raise ArgumentError(
                "`mixup` and `cutmix` mix labels, which must be one-hot: give the number of classes. "
                "Received: one_hot=None"
            )
        if self.color is not None and len(self.color.eigenvalues) != channels:
            raise ArgumentError(
                f"`color` must be fitted on images of {channels} channels, as the preprocessing produces. "
                f"Received: color of {len(self.color.eigenvalues)} channels"
            )
        steps = [_on_images(change) for change in self._image_changes()]
        return [*steps, _mixing(self.mixup, self.cutmix)] if self.mixup or self.cutmix else steps

    def _image_changes(self) -> list[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
        """Return the functions (images, seed) -> images."""
        changes: list[Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = []
        if self.rand_augment:
            layer = keras.layers.RandAugment(factor=self.rand_augment, dtype="float32")
            changes.append(functools.partial(by_layer, layer))
        if self.color is not None:
            changes.append(functools.partial(color_noise, components=self.color, deviation=self.color_deviation))
        if self.erasing:
            # Keras draws the probability of each image from this range, so that both ends are the same
            layer = keras.layers.RandomErasing(factor=(self.erasing, self.erasing), dtype="float32")
            changes.append(functools.partial(by_layer, layer))
        return changes


def _on_images(change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> Step:
    """Return the step that changes images by a function (images, seed)."""
    return lambda images, labels, seed: (change(images, seed), labels)


def _mixing(mixup: float, cutmix: float) -> Step:
    """Return the step that mixes images and their labels."""
    mixers = [keras.layers.MixUp(alpha=mixup, dtype="float32")] if mixup else []
    mixers += [keras.layers.CutMix(factor=(cutmix, cutmix), dtype="float32")] if cutmix else []

    def mix(images, labels, seed):
        choices = [functools.partial(by_layer, mixer, images, seed, labels) for mixer in mixers]
        return choices[0]() if len(choices) == 1 else tf.cond(tf.random.stateless_uniform((), seed) < 0.5, *choices)

    return mix
