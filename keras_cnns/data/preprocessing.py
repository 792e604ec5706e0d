"""How an image becomes a network's input: one frozen record, the same in training, evaluation and export."""

import dataclasses
import hashlib
import math
from typing import Any

from keras_cnns.data.whitening import Whitening

ARRAYS = ("mean_image", "whitening_mean", "whitening_matrix")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize rule, crop and normalization of a network's input.

    An image of any size becomes uint8 `(height, width, channels)` by the resize rule and the crop, then float32: its
    channels in the network's order, contrast normalized, minus the mean image, `(pixel - mean) * scale`, whitened; each
    only where it is asked for.

    Attributes:
        size: (height, width) of the network's input, in pixels.
        channels: 1 (gray) or 3 (color).
        channel_order: "RGB", or "BGR" for a network that takes blue first, as Caffe's do; images are RGB, and all
            values below stand in the network's order.
        shorter_side: the image is resized, its aspect kept, until its shorter side has so many pixels, and
            the center of `size` is cut out; None: the whole image is stretched to `size`.
        mean: subtracted, one value or one a channel, in pixel units (0 to 255).
        scale: multiplied afterwards, one value or one a channel, per pixel unit.
        contrast_bias: global contrast normalization: each image minus its own mean, divided by the root of its own
            variance plus this, in squared pixel units; None: none.
        mean_image: subtracted pixel by pixel, float32 of the shape of the input, in pixel units; None: none.
        whitening: `Whitening` of the normalized image; None: none.
    """

    size: tuple[int, int]
    channels: int = 3
    shorter_side: int | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1 / 255,)
    contrast_bias: float | None = None
    # Arrays are compared by their sha256: numpy's == gives no single answer
    mean_image: Any = dataclasses.field(default=None, compare=False, repr=False)
    whitening: Whitening | None = dataclasses.field(default=None, compare=False, repr=False)
    channel_order: str = "RGB"
    digests: tuple[str, ...] = dataclasses.field(default=(), init=False, repr=False)

    def __post_init__(self):
        for field, kind in (("size", int), ("mean", float), ("scale", float)):
            object.__setattr__(self, field, tuple(kind(value) for value in getattr(self, field)))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"`size` must be (height, width) of at least one pixel. Received: size={self.size}")
        if self.channels not in (1, 3):
            raise ValueError(f"`channels` must be 1 (gray) or 3 (color). Received: channels={self.channels}")
        if self.channel_order not in ("RGB", "BGR") or (self.channel_order == "BGR" and self.channels == 1):
            raise ValueError(
                f"`channel_order` must be 'RGB', or with three channels 'BGR'. "
                f"Received: channel_order={self.channel_order!r}"
            )
        if self.shorter_side is not None and self.shorter_side < max(self.size):
            raise ValueError(
                f"`shorter_side` must be at least the crop's longer side, {max(self.size)}, or None. "
                f"Received: shorter_side={self.shorter_side}"
            )
        for field in ("mean", "scale"):
            if not all(map(math.isfinite, getattr(self, field))):
                raise ValueError(f"`{field}` must be finite. Received: {field}={getattr(self, field)}")
            if len(getattr(self, field)) not in (1, self.channels):
                raise ValueError(
                    f"`{field}` must have one value, or one for each of {self.channels} channels. "
                    f"Received: {field}={getattr(self, field)}"
                )
        if self.contrast_bias is not None and not 0 < self.contrast_bias < math.inf:
            raise ValueError(
                f"`contrast_bias` must be positive, as a flat image has no variance of its own. "
                f"Received: contrast_bias={self.contrast_bias}"
            )
        if self.mean_image is not None and tuple(self.mean_image.shape) != self.shape:
            raise ValueError(
                f"`mean_image` must have the shape of the input, {self.shape}. "
                f"Received: mean_image of shape {tuple(self.mean_image.shape)}"
            )
        if self.whitening is not None and len(self.whitening.mean) != math.prod(self.shape):
            raise ValueError(
                f"`whitening` must be fitted on images of shape {self.shape}. "
                f"Received: whitening of {len(self.whitening.mean)} values"
            )
        object.__setattr__(self, "digests", tuple(_digest(array) for array in self.arrays().values()))

    @property
    def shape(self):
        """The network's input shape, (height, width, channels)."""
        return (*self.size, self.channels)

    @property
    def is_affine(self):
        """Whether it is `(pixel - mean) * scale` and nothing else."""
        plain = self.contrast_bias is None and self.mean_image is None and self.whitening is None
        return plain and self.channel_order == "RGB"

    def normalize(self, pixels):
        """Return what the network takes for a float32 tensor (batch, height, width, channels).

        It may be NumPy's, TensorFlow's or Keras's, and is not changed. One image (height, width, channels) may be
        given too.
        """
        import numpy as np

        values = pixels if self.channel_order == "RGB" else pixels[..., ::-1]
        if self.contrast_bias is not None:
            math_of = _namespace(pixels)
            inside = tuple(range(len(pixels.shape) - 3, len(pixels.shape)))
            values = values - math_of.mean(values, axis=inside, keepdims=True)
            variance = math_of.mean(values * values, axis=inside, keepdims=True)
            values = values / math_of.sqrt(variance + np.float32(self.contrast_bias))
        if self.mean_image is not None:
            values = values - self.mean_image
        values = (values - np.asarray(self.mean, "float32")) * np.asarray(self.scale, "float32")
        if self.whitening is not None:
            math_of = _namespace(pixels)
            flat = math_of.reshape(values, (-1, math.prod(self.shape)))
            flat = math_of.matmul(flat - self.whitening.mean, self.whitening.matrix)
            values = math_of.reshape(flat, (-1, *self.shape) if len(pixels.shape) == 4 else self.shape)
        return values

    def as_layer(self, name="normalization"):
        """Return a `keras.layers.Rescaling` that normalizes uint8 or float images of the right size.

        Raises:
            ValueError: if the normalization is more than `(pixel - mean) * scale`.
        """
        import keras

        if not self.is_affine:
            raise ValueError("only a normalization by mean and scale is a layer of Keras; call `normalize`.")
        size = max(len(self.mean), len(self.scale))
        mean, scale = (values * (size // len(values)) for values in (self.mean, self.scale))
        offset = [-m * s for m, s in zip(mean, scale, strict=True)]
        if size == 1:
            return keras.layers.Rescaling(scale[0], offset[0], name=name, dtype="float32")
        return keras.layers.Rescaling(list(scale), offset, name=name, dtype="float32")

    def arrays(self):
        """Return the large arrays of the record, by name; files keep them beside its JSON."""
        found = {"mean_image": self.mean_image}
        if self.whitening is not None:
            found |= {"whitening_mean": self.whitening.mean, "whitening_matrix": self.whitening.matrix}
        return {name: array for name, array in found.items() if array is not None}

    def to_json(self):
        """Return a dictionary of JSON values; of large arrays shape and sha256."""
        names = ("size", "channels", "shorter_side", "mean", "scale")
        values = {name: getattr(self, name) for name in names}
        if self.contrast_bias is not None:
            values["contrast_bias"] = self.contrast_bias
        if self.channel_order != "RGB":
            values["channel_order"] = self.channel_order
        arrays = zip(self.arrays().items(), self.digests, strict=True)
        if described := {name: {"shape": array.shape, "sha256": digest} for (name, array), digest in arrays}:
            values["arrays"] = described
        return values

    @classmethod
    def from_json(cls, values, arrays=None):
        """Return the record that `to_json` described; raise ValueError if it is not one.

        Args:
            values: dictionary of JSON values.
            arrays: the large arrays by name, where the record has some.
        """
        names = {"size", "channels", "shorter_side", "mean", "scale", "contrast_bias", "channel_order", "arrays"}
        if not isinstance(values, dict) or not set(values) <= names or "size" not in values:
            raise ValueError(f"a preprocessing record has the fields {sorted(names)}. Received: {values!r}")
        values = dict(values)
        found = _checked(values.pop("arrays", {}), arrays or {})
        if "whitening_matrix" in found:
            values["whitening"] = Whitening(found.pop("whitening_mean"), found.pop("whitening_matrix"))
        try:
            return cls(**values, **found)
        except TypeError as error:
            raise ValueError(f"a field of the preprocessing record has the wrong type. Received: {values!r}") from error


def _checked(described, arrays):
    """Return the arrays that a record describes; raise ValueError if one is missing or another."""
    if not isinstance(described, dict) or not set(described) <= set(ARRAYS):
        raise ValueError(f"a preprocessing record's arrays are {', '.join(ARRAYS)}. Received: {described!r}")
    for name, wanted in described.items():
        if name not in arrays:
            raise ValueError(f"the preprocessing record's {name} is missing")
        if _digest(arrays[name]) != wanted["sha256"] or list(arrays[name].shape) != list(wanted["shape"]):
            raise ValueError(f"the preprocessing record's {name} is not the one it was saved with (its sha256 differs)")
    return {name: arrays[name] for name in described}


def _digest(array):
    """Return the sha256 of a float32 array's values."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(array, "float32").data).hexdigest()


def _namespace(tensor):
    """Return the module whose functions work on a tensor: NumPy, TensorFlow's NumPy, or keras.ops."""
    import numpy as np

    if isinstance(tensor, np.ndarray):
        return np
    if type(tensor).__module__.startswith("tensorflow"):
        import tensorflow.experimental.numpy as tensorflow_numpy

        return tensorflow_numpy
    from keras import ops

    return ops


def fit_normalization(pixel_sum, pixel_square_sum, count):
    """Return (mean, scale), a value a channel, that bring pixels to mean 0 and deviation 1.

    Args:
        pixel_sum, pixel_square_sum: sums over all images and positions of a training split, one a channel.
        count: number of positions summed, all images together.

    A channel that never varies gets scale 1 per pixel unit.
    """
    mean = [total / count for total in pixel_sum]
    deviation = [max(square / count - m * m, 0.0) ** 0.5 for square, m in zip(pixel_square_sum, mean, strict=True)]
    return tuple(mean), tuple(1 / d if d > 1e-3 else 1.0 for d in deviation)
