"""Accuracy on corrupted images."""

import dataclasses
import io
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns import _models
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.task import check_examples
from keras_cnns.typing import Pixels, Progress

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

    from keras_cnns.data.splits import Split

SHIFTS = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4)  # shares of the image's width


@dataclasses.dataclass(frozen=True)
class Robustness:
    """The accuracy of a model on corrupted images.

    Attributes:
        examples: number of images.
        clean: top-1 on the unchanged images, 0 to 1.
        corrupted: dictionary from the name of a corruption to top-1 at severity 1, 2, 3, 4 and 5, each 0 to 1.

    Examples:
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> split = data.open_source("digits").split("test").sample(40)
        >>> result = evaluation.robustness(model, split, info.preprocessing, corruptions=["contrast"])
        >>> len(result.corrupted["contrast"])  # top-1 at severity 1 to 5
        5
    """

    examples: int
    clean: float
    corrupted: Mapping[str, tuple[float, ...]]

    @property
    def mean(self) -> float:
        """Mean top-1 over all corruptions and severities, 0 to 1."""
        return float(np.mean([list(values) for values in self.corrupted.values()]))

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        corrupted = {name: list(values) for name, values in self.corrupted.items()}
        return {"examples": self.examples, "clean": self.clean, "corrupted": corrupted, "mean": self.mean}


def robustness(
    model: keras.Model,
    split: "Split",
    preprocessing: Preprocessing,
    *,
    corruptions: Iterable[str] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Robustness:
    """Evaluate a model on corrupted images, one center view each.

    Args:
        model: classifier, as in `evaluate`; one model.
        split: `Split` of a source.
        preprocessing: `Preprocessing` that the model was trained with.
        corruptions: names of `CORRUPTIONS`; None: all.
        seed: seed of the noise.
        batch_size: images per batch; None: a number that suits the input size.
        progress: function that yields the batches it is given, and shows the progress.

    Returns:
        `Robustness`.

    Raises:
        ArgumentError: (a ValueError) for an unknown corruption, or an empty split.
        SourceError: if an image cannot be read.

    Reference:
        D. Hendrycks, T. Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
        ICLR 2019. The severities are those of the paper for ImageNet; lengths are in proportion to an image of 224
        pixels.

    Examples:
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> split = data.open_source("digits").split("test").sample(40)
        >>> result = evaluation.robustness(model, split, info.preprocessing, corruptions=["noise"])
        >>> result.clean > result.mean
        True
    """
    from keras_cnns.data.pipeline import make_dataset, reading

    names = list(CORRUPTIONS) if corruptions is None else list(corruptions)
    for name in names:
        _check(name)
    check_examples(split.examples)
    model, random = classifiers.as_classifier(model), np.random.default_rng(seed)
    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    clean, correct = 0, {name: np.zeros(5, "int64") for name in names}

    def count(images, labels):
        return int((_models.predict_pixels(model, images, preprocessing, batch_size).argmax(1) == labels).sum())

    with reading(split):
        batches = make_dataset(split, preprocessing, batch_size, normalize=False)
        for images, labels in progress(batches) if progress else batches:
            images, labels = images.numpy(), labels.numpy()
            clean += count(images, labels)
            for name in names:
                for severity in range(1, 6):
                    correct[name][severity - 1] += count(corrupt(images, name, severity, random), labels)
    shares = {name: tuple((values / split.examples).tolist()) for name, values in correct.items()}
    return Robustness(split.examples, clean / split.examples, shares)


def corrupt(images: Pixels, name: str, severity: int, random: np.random.Generator | None = None) -> Pixels:
    """Return corrupted images.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        name: a name of `CORRUPTIONS`:

            - "noise": adds independent normal noise.
            - "blur": blurs by a Gaussian.
            - "contrast": moves pixels toward the mean of their image.
            - "brightness": adds a constant.
            - "pixelate": resizes to fewer pixels and back.
            - "jpeg": compresses.
            - "shift": shifts to the right by 1/32, 1/16, 1/8, 3/16 or 1/4 of the width, and repeats the edge.
        severity: 1 to 5.
        random: `numpy.random.Generator` of the noise; None: one with a fixed seed.

    Returns:
        uint8 array of the same shape.

    Raises:
        ArgumentError: (a ValueError) for an unknown corruption or severity.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import evaluation
        >>> images = np.array([0, 100, 200, 255], "uint8").reshape(1, 2, 2, 1)
        >>> evaluation.corrupt(images, "brightness", severity=1).ravel().tolist()
        [26, 126, 226, 255]
    """
    _check(name)
    if severity not in range(1, 6):
        raise ArgumentError(f"`severity` must be a whole number from 1 to 5. Received: severity={severity}")
    random = random or np.random.default_rng(0)
    changed = CORRUPTIONS[name](images, severity - 1, random)
    return np.clip(np.round(changed), 0, 255).astype("uint8")


def _check(name: str) -> None:
    """Raise ArgumentError for an unknown corruption."""
    if name not in CORRUPTIONS:
        raise ArgumentError(
            f"a corruption is one of {', '.join(CORRUPTIONS)}.{nearest(name, CORRUPTIONS)} Received: name={name!r}"
        )


# Each takes the severity less one as its level, and returns pixels that need not be rounded or clipped
def _noise(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    return images + random.normal(0, 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[level], images.shape)


def _blur(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    from scipy.ndimage import gaussian_filter

    sigma = (1, 2, 3, 4, 6)[level] * images.shape[1] / 224
    return gaussian_filter(images.astype("float32"), (0, sigma, sigma, 0), mode="nearest")


def _contrast(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    mean = images.mean((1, 2), keepdims=True)
    return mean + (images - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[level]


def _brightness(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    return images + 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[level]


def _pixelate(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    height, width = images.shape[1:3]
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[level]
    small = (max(1, math.floor(width * share)), max(1, math.floor(height * share)))

    def pixelate(image):
        from PIL import Image

        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST)

    return _by_pillow(images, pixelate)


def _jpeg(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    from PIL import Image

    def compress(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=(25, 18, 15, 10, 7)[level])
        return Image.open(file)

    return _by_pillow(images, compress)


def _shift(images: Pixels, level: int, random: np.random.Generator) -> NDArray[Any]:
    by = max(1, round(SHIFTS[level] * images.shape[2]))
    padded = np.pad(images, ((0, 0), (0, 0), (by, 0), (0, 0)), mode="edge")
    return padded[:, :, : images.shape[2]]


def _by_pillow(images: Pixels, change: "Callable[[PillowImage], PillowImage]") -> Pixels:
    """Change each image by a function of Pillow images."""
    from PIL import Image

    gray = images.shape[-1] == 1
    pillow_images = (Image.fromarray(image[..., 0] if gray else image) for image in images)
    return np.stack([np.asarray(change(pillow_image)).reshape(images.shape[1:]) for pillow_image in pillow_images])


CORRUPTIONS = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
    "shift": _shift,
}
