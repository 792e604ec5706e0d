"""How a picture becomes a network's input: one frozen record, the same in training, evaluation and export."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize rule, crop and normalization of a network's input.

    A picture of any size becomes uint8 `(height, width, channels)` by the resize rule and the crop, then
    float32 `(pixel - mean) * scale`.

    Attributes:
        size: (height, width) of the network's input, in pixels.
        channels: 1 (gray) or 3 (RGB).
        shorter_side: the picture is resized, its aspect kept, until its shorter side has so many pixels, and
            the center of `size` is cut out; None: the whole picture is stretched to `size`.
        mean: subtracted, one value or one a channel, in pixel units (0 to 255).
        scale: multiplied afterwards, one value or one a channel, per pixel unit.
    """

    size: tuple[int, int]
    channels: int = 3
    shorter_side: int | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1 / 255,)

    def __post_init__(self):
        for field, kind in (("size", int), ("mean", float), ("scale", float)):
            object.__setattr__(self, field, tuple(kind(value) for value in getattr(self, field)))
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"`size` must be (height, width) of at least one pixel. Received: size={self.size}")
        if self.channels not in (1, 3):
            raise ValueError(f"`channels` must be 1 (gray) or 3 (RGB). Received: channels={self.channels}")
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

    @property
    def shape(self):
        """The network's input shape, (height, width, channels)."""
        return (*self.size, self.channels)

    def normalize(self, pixels):
        """Return `(pixels - mean) * scale` for a float NumPy, TensorFlow or Keras tensor, channels last."""
        import numpy as np

        return (pixels - np.asarray(self.mean, "float32")) * np.asarray(self.scale, "float32")

    def as_layer(self, name="normalization"):
        """Return a `keras.layers.Rescaling` that normalizes uint8 or float pictures of the right size."""
        import keras

        size = max(len(self.mean), len(self.scale))
        mean, scale = (values * (size // len(values)) for values in (self.mean, self.scale))
        offset = [-m * s for m, s in zip(mean, scale, strict=True)]
        if size == 1:
            return keras.layers.Rescaling(scale[0], offset[0], name=name, dtype="float32")
        return keras.layers.Rescaling(list(scale), offset, name=name, dtype="float32")

    def to_json(self):
        """Return a dictionary of JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """Return the record that `to_json` described; raise ValueError if it is not one."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or not set(values) <= names or "size" not in values:
            raise ValueError(f"a preprocessing record has the fields {sorted(names)}. Received: {values!r}")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"a field of the preprocessing record has the wrong type. Received: {values!r}") from error


def fit_normalization(pixel_sum, pixel_square_sum, count):
    """Return (mean, scale), a value a channel, that bring pixels to mean 0 and deviation 1.

    Args:
        pixel_sum, pixel_square_sum: sums over all pictures and positions of a training split, one a channel.
        count: number of positions summed, all pictures together.

    A channel that never varies gets scale 1 per pixel unit.
    """
    mean = [total / count for total in pixel_sum]
    deviation = [max(square / count - m * m, 0.0) ** 0.5 for square, m in zip(pixel_square_sum, mean, strict=True)]
    return tuple(mean), tuple(1 / d if d > 1e-3 else 1.0 for d in deviation)
