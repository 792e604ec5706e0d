"""How a model does on images that were spoiled, a little and more, or moved."""

import dataclasses
import io
import math
from collections.abc import Mapping

import numpy as np

from keras_cnns import _models
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.evaluation.metrics import check_examples

SHIFTS = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4)  # of the image's width


@dataclasses.dataclass(frozen=True)
class Robustness:
    """How accurate a model is on corrupted images.

    Attributes:
        examples: number of images.
        clean: top-1 on the images as they are.
        corrupted: from a corruption to its top-1 at severity 1, 2, 3, 4 and 5.
    """

    examples: int
    clean: float
    corrupted: Mapping[str, tuple[float, ...]]

    @property
    def mean(self):
        """Top-1, mean of all corruptions at all severities."""
        return float(np.mean([list(values) for values in self.corrupted.values()]))

    def to_json(self):
        """Return a dictionary of JSON values."""
        corrupted = {name: list(values) for name, values in self.corrupted.items()}
        return {"examples": self.examples, "clean": self.clean, "corrupted": corrupted, "mean": self.mean}


def robustness(model, split, preprocessing, *, corruptions=None, seed=0, batch_size=None, progress=None):
    """Return how accurate a model is on corrupted images, one center view each.

    Args:
        model, split, preprocessing, batch_size, progress: as in `evaluate`, of one model.
        corruptions: names of `CORRUPTIONS`; None: all.
        seed: of what is random.

    Returns:
        `Robustness`.

    Raises:
        ArgumentError: (a ValueError) for a corruption that is not known, or an empty split.
        SourceError: if an image cannot be read.

    Reference:
        D. Hendrycks, T. Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and Perturbations,
        ICLR 2019; the severities are theirs for ImageNet, lengths in proportion to an image of 224 pixels.
    """
    from keras_cnns.data.pipeline import make_dataset, reading

    names = list(CORRUPTIONS) if corruptions is None else list(corruptions)
    for name in names:
        _check(name)
    check_examples(split.examples)
    model, random = _models.as_classifier(model), np.random.default_rng(seed)
    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    clean, right = 0, {name: np.zeros(5, "int64") for name in names}

    def count(images, labels):
        return int((_models.predict_pixels(model, images, preprocessing, batch_size).argmax(1) == labels).sum())

    with reading(split):
        batches = make_dataset(split, preprocessing, batch_size, normalize=False)
        for images, labels in progress(batches) if progress else batches:
            images, labels = images.numpy(), labels.numpy()
            clean += count(images, labels)
            for name in names:
                for severity in range(1, 6):
                    right[name][severity - 1] += count(corrupt(images, name, severity, random), labels)
    shares = {name: tuple((values / split.examples).tolist()) for name, values in right.items()}
    return Robustness(split.examples, clean / split.examples, shares)


def corrupt(images, name, severity, random=None):
    """Return corrupted images.

    Args:
        images: uint8 array (images, height, width, 1 or 3).
        name: of `CORRUPTIONS`: "noise" (normal, independent), "blur" (Gaussian), "contrast" (toward each image's
            mean), "brightness" (added), "pixelate", "jpeg", "shift" (to the right by 1/32, 1/16, 1/8, 3/16 or 1/4 of
            the width, the edge repeated).
        severity: 1 to 5.
        random: `numpy.random.Generator` of the noise; None: a fixed one.

    Returns:
        uint8 array of the same shape.

    Raises:
        ArgumentError: (a ValueError) for a corruption or severity that is not known.
    """
    _check(name)
    if severity not in range(1, 6):
        raise ArgumentError(f"`severity` must be a whole number from 1 to 5. Received: severity={severity}")
    random = random or np.random.default_rng(0)
    changed = CORRUPTIONS[name](images, severity - 1, random)
    return np.clip(np.round(changed), 0, 255).astype("uint8")


def _check(name):
    if name not in CORRUPTIONS:
        raise ArgumentError(
            f"a corruption is one of {', '.join(CORRUPTIONS)}.{nearest(name, CORRUPTIONS)} Received: name={name!r}"
        )


def _noise(images, k, random):
    return images + random.normal(0, 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[k], images.shape)


def _blur(images, k, random):
    from scipy.ndimage import gaussian_filter

    sigma = (1, 2, 3, 4, 6)[k] * images.shape[1] / 224
    return gaussian_filter(images.astype("float32"), (0, sigma, sigma, 0), mode="nearest")


def _contrast(images, k, random):
    mean = images.mean((1, 2), keepdims=True)
    return mean + (images - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[k]


def _brightness(images, k, random):
    return images + 255 * (0.1, 0.2, 0.3, 0.4, 0.5)[k]


def _pixelate(images, k, random):
    height, width = images.shape[1:3]
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[k]
    small = (max(1, math.floor(width * share)), max(1, math.floor(height * share)))

    def one(image):
        from PIL import Image

        return image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST)

    return _by_pillow(images, one)


def _jpeg(images, k, random):
    from PIL import Image

    def one(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=(25, 18, 15, 10, 7)[k])
        return Image.open(file)

    return _by_pillow(images, one)


def _shift(images, k, random):
    by = max(1, round(SHIFTS[k] * images.shape[2]))
    padded = np.pad(images, ((0, 0), (0, 0), (by, 0), (0, 0)), mode="edge")
    return padded[:, :, : images.shape[2]]


def _by_pillow(images, change):
    from PIL import Image

    gray = images.shape[-1] == 1
    pillow_images = (Image.fromarray(pillow_image[..., 0] if gray else pillow_image) for pillow_image in images)
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
