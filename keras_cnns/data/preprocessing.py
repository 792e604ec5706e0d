"""The record of how an image becomes the input of a network."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_cnns.data.whitening import Whitening

if TYPE_CHECKING:
    # Imported when used, so that the record needs only the standard library
    import keras
    from numpy.typing import NDArray

    from keras_cnns.typing import Shape

ARRAYS = ("mean_image", "whitening_mean", "whitening_matrix")
FITS = ("crop", "stretch", "pad")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resize rule, crop and normalization of a network's input.

    The same record is used in training, evaluation and export. The resize rule turns an image of any size into uint8
    `(height, width, channels)`. Normalization then makes it float32, in these steps, each only if its field asks for
    it:

    1. bring the channels into the network's order;
    2. normalize the contrast;
    3. subtract the mean image;
    4. compute `(pixel - mean) * scale`;
    5. whiten.

    Attributes:
        size: (height, width) of the network's input, in pixels.
        channels: 1 (gray) or 3 (color).
        shorter_side: length in pixels to which the shorter side is resized, with the aspect kept, before the center of
            `size` is cropped. None: the whole image is shown, as `fit` says.
        mean: subtracted, one value or one per channel, in pixel units (0 to 255).
        scale: multiplied afterwards, one value or one per channel, per pixel unit.
        contrast_bias: bias of global contrast normalization, in squared pixel units: each image minus its mean, divided
            by the square root of its variance plus this bias. None: no contrast normalization.
        mean_image: float32 of the shape of the input, subtracted pixel by pixel, in pixel units; None: no mean image.
        whitening: `Whitening` of the normalized image; None: no whitening.
        channel_order: "RGB", or "BGR" for a network that takes blue first, as Caffe's do. Images are RGB. `mean`,
            `scale`, `mean_image` and `whitening` are in the network's order.
        fit: how an image of another shape fills the input. "crop": by `shorter_side`, parts are cut off. "stretch": the
            whole image, its aspect changed. "pad": the whole image, its aspect kept, in the middle; the rest has the
            color of the mean. None: "crop" with a `shorter_side`, otherwise "stretch".
        digests: sha256 of the arrays, by which records are compared; computed.

    Raises:
        ValueError: for a value out of range, or an array that does not have the shape of the input.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> preprocessing = data.Preprocessing((224, 224), shorter_side=256, mean=(128.0,), scale=(1 / 64,))
        >>> images = preprocessing.normalize(np.full((1, 224, 224, 3), 160.0, "float32"))
        >>> images.shape, float(images.max())
        ((1, 224, 224, 3), 0.5)
    """

    size: tuple[int, int]
    channels: int = 3
    shorter_side: int | None = None
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1 / 255,)
    contrast_bias: float | None = None
    # Arrays are compared by their sha256, because == of NumPy arrays is an array
    mean_image: Any = dataclasses.field(default=None, compare=False, repr=False)
    whitening: Whitening | None = dataclasses.field(default=None, compare=False, repr=False)
    channel_order: str = "RGB"
    fit: str | None = None
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
        self._check_fit()
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
                f"`contrast_bias` must be positive, since the variance of a uniform image is zero. "
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

    def _check_fit(self) -> None:
        if self.fit is None:
            object.__setattr__(self, "fit", "stretch" if self.shorter_side is None else "crop")
        if self.fit not in FITS:
            raise ValueError(f"`fit` must be one of {', '.join(FITS)}, or None. Received: fit={self.fit!r}")
        if (self.fit == "crop") != (self.shorter_side is not None):
            raise ValueError(
                "`shorter_side` and fit='crop' belong together; give both, or shorter_side=None with another fit. "
                f"Received: fit={self.fit!r}, shorter_side={self.shorter_side}"
            )
        if self.fit == "pad" and self.contrast_bias is not None:
            raise ValueError(
                "the padding has the color of the mean, and with contrast normalization each image has its own; "
                f"choose another fit. Received: fit='pad', contrast_bias={self.contrast_bias}"
            )

    @property
    def fill(self) -> tuple[int, ...]:
        """The color of padding: the mean, gray or RGB, 0 to 255."""
        import numpy as np

        color = np.zeros(self.channels) if self.mean_image is None else np.mean(self.mean_image, (0, 1), "float64")
        color = (color + self.mean)[:: 1 if self.channel_order == "RGB" else -1]
        return tuple(int(value) for value in np.rint(np.clip(color, 0, 255)))

    @property
    def shape(self) -> "Shape":
        """The input shape of the network, (height, width, channels)."""
        return (*self.size, self.channels)

    @property
    def is_affine(self) -> bool:
        """Whether normalization is only `(pixel - mean) * scale`."""
        plain = self.contrast_bias is None and self.mean_image is None and self.whitening is None
        return plain and self.channel_order == "RGB"

    def normalize(self, pixels: Any) -> Any:
        """Return pixels as the network takes them.

        Args:
            pixels: float32 array or tensor (batch, height, width, channels), or one image (height, width, channels), of
                NumPy, TensorFlow or Keras. It is not changed.

        Returns:
            float32 of the same kind and shape.
        """
        import numpy as np

        values = pixels if self.channel_order == "RGB" else pixels[..., ::-1]
        if self.contrast_bias is not None:
            numpy_like = _numpy_like(pixels)
            image_axes = tuple(range(len(pixels.shape) - 3, len(pixels.shape)))
            values = values - numpy_like.mean(values, axis=image_axes, keepdims=True)
            variance = numpy_like.mean(values * values, axis=image_axes, keepdims=True)
            values = values / numpy_like.sqrt(variance + np.float32(self.contrast_bias))
        if self.mean_image is not None:
            values = values - self.mean_image
        values = (values - np.asarray(self.mean, "float32")) * np.asarray(self.scale, "float32")
        if self.whitening is not None:
            numpy_like = _numpy_like(pixels)
            flat = numpy_like.reshape(values, (-1, math.prod(self.shape)))
            flat = numpy_like.matmul(flat - self.whitening.mean, self.whitening.matrix)
            values = numpy_like.reshape(flat, (-1, *self.shape) if len(pixels.shape) == 4 else self.shape)
        return values

    def as_layer(self, name: str = "normalization") -> "keras.layers.Rescaling":
        """Return a `keras.layers.Rescaling` that normalizes images.

        It takes uint8 or float images of the input size.

        Args:
            name: name of the layer.

        Raises:
            ValueError: if the normalization is more than `(pixel - mean) * scale`.
        """
        import keras

        if not self.is_affine:
            raise ValueError("only a normalization by mean and scale is a Keras layer; call `normalize`.")
        size = max(len(self.mean), len(self.scale))
        mean, scale = (values * (size // len(values)) for values in (self.mean, self.scale))
        offset = [-m * s for m, s in zip(mean, scale, strict=True)]
        if size == 1:
            return keras.layers.Rescaling(scale[0], offset[0], name=name, dtype="float32")
        return keras.layers.Rescaling(list(scale), offset, name=name, dtype="float32")

    def arrays(self) -> "dict[str, NDArray[Any]]":
        """Return the large arrays of the record, by name.

        A model file keeps them next to the JSON of the record.
        """
        arrays = {"mean_image": self.mean_image}
        if self.whitening is not None:
            arrays |= {"whitening_mean": self.whitening.mean, "whitening_matrix": self.whitening.matrix}
        return {name: array for name, array in arrays.items() if array is not None}

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values.

        Large arrays are described by shape and sha256.
        """
        names = ("size", "channels", "shorter_side", "mean", "scale")
        values = {name: getattr(self, name) for name in names}
        if self.contrast_bias is not None:
            values["contrast_bias"] = self.contrast_bias
        if self.channel_order != "RGB":
            values["channel_order"] = self.channel_order
        if self.fit == "pad":  # of the others, `shorter_side` says which
            values |= {"fit": self.fit, "fill": self.fill}
        arrays = zip(self.arrays().items(), self.digests, strict=True)
        if descriptions := {name: {"shape": array.shape, "sha256": digest} for (name, array), digest in arrays}:
            values["arrays"] = descriptions
        return values

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], arrays: "Mapping[str, NDArray[Any]] | None" = None
    ) -> "Preprocessing":
        """Return the record that `to_json` described.

        Args:
            values: dictionary of JSON values.
            arrays: the large arrays by name, if the record has any.

        Raises:
            ValueError: if the values do not describe a record, or an array is missing or differs.
        """
        names = {"size", "channels", "shorter_side", "mean", "scale", "contrast_bias", "channel_order", "fit", "fill"}
        names.add("arrays")
        if not isinstance(values, dict) or not set(values) <= names or "size" not in values:
            raise ValueError(f"a preprocessing record has the fields {sorted(names)}. Received: {values!r}")
        values = {name: value for name, value in values.items() if name != "fill"}  # computed
        fields: dict[str, Any] = _checked_arrays(values.pop("arrays", {}), arrays or {})
        if "whitening_matrix" in fields:
            values["whitening"] = Whitening(fields.pop("whitening_mean"), fields.pop("whitening_matrix"))
        try:
            return cls(**values, **fields)
        except TypeError as error:
            raise ValueError(f"a field of the preprocessing record has the wrong type. Received: {values!r}") from error


def _checked_arrays(descriptions: Mapping[str, Any], arrays: "Mapping[str, NDArray[Any]]") -> "dict[str, NDArray[Any]]":
    """Return the described arrays; raise ValueError if one differs."""
    if not isinstance(descriptions, dict) or not set(descriptions) <= set(ARRAYS):
        raise ValueError(f"a preprocessing record's arrays are {', '.join(ARRAYS)}. Received: {descriptions!r}")
    for name, wanted in descriptions.items():
        if name not in arrays:
            raise ValueError(f"the preprocessing record's {name} is missing")
        if _digest(arrays[name]) != wanted["sha256"] or list(arrays[name].shape) != list(wanted["shape"]):
            raise ValueError(f"the preprocessing record's {name} is not the one it was saved with (its sha256 differs)")
    return {name: arrays[name] for name in descriptions}


def _digest(array: "NDArray[Any]") -> str:
    """Return the sha256 of a float32 array's values."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(array, "float32").data).hexdigest()


def _numpy_like(tensor: Any) -> Any:
    """Return the module with NumPy's functions for this kind of tensor.

    It is NumPy, TensorFlow's NumPy or `keras.ops`.
    """
    import numpy as np

    if isinstance(tensor, np.ndarray):
        return np
    if type(tensor).__module__.startswith("tensorflow"):
        import tensorflow.experimental.numpy as tensorflow_numpy

        return tensorflow_numpy
    from keras import ops

    return ops


def fit_normalization(
    pixel_sum: Sequence[float], pixel_square_sum: Sequence[float], count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and scale that standardize the pixels of each channel.

    Normalized pixels have mean 0 and standard deviation 1. A channel that never varies gets scale 1 per pixel unit.

    Args:
        pixel_sum: sum of the pixels of each channel, over all images and positions of a training split.
        pixel_square_sum: sum of their squares, likewise.
        count: number of positions summed, of all images together.

    Returns:
        (mean, scale), each with one value per channel.
    """
    mean = [total / count for total in pixel_sum]
    deviation = [max(square / count - m * m, 0.0) ** 0.5 for square, m in zip(pixel_square_sum, mean, strict=True)]
    return tuple(mean), tuple(1 / d if d > 1e-3 else 1.0 for d in deviation)
