"""Choose the calibration images, on which the ranges of activations are fitted."""

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_cnns import typing
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.export.formats import QUANTIZATIONS
from keras_cnns.export.options import Options
from keras_cnns.saving import ModelInfo


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The images of a calibration.

    Attributes:
        images: uint8 (images, height, width, channels), of the model's size.
        description: where they are from, in words.
        seed: seed that they were drawn with.
    """

    images: typing.Pixels
    description: str
    seed: int | None = None

    def full_range_images(self) -> typing.Pixels:
        """Return the images with one black and one white pixel added.

        Both are in the first image.

        They make the range of the input 0 to 255, so that a quantized input takes pixels unchanged.
        """
        images = self.images.copy()
        images[0, 0, 0], images[0, -1, -1] = 0, 255
        return images

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's entry about the calibration."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()
        return {"images": self.description, "examples": len(self.images), "seed": self.seed, "sha256": digest}


def choose_calibration(
    options: Options, preprocessing: Preprocessing, info: ModelInfo | None, class_names: Sequence[str]
) -> Calibration | None:
    """Return the `Calibration` for the options; None if nothing is fitted.

    Args:
        options: `Options`.
        preprocessing: `Preprocessing` of the images.
        info: the model's record, whose `data` names the source that it was trained on; None if it has none.
        class_names: class names of the model.

    Raises:
        ArgumentError: if there are no images to calibrate on. A file calibrated on noise would be valid and wrong.
        SourceError: if the images cannot be used.
    """
    if not QUANTIZATIONS[options.quantize].calibrated:
        return None
    data = info and info.data
    source = data["source"] if options.calibration is None and data else options.calibration
    if source is None:
        raise ArgumentError(
            f"--quantize {options.quantize} fits the ranges of activations on images like those of the training: "
            f"name their source with --calibration. Received: quantize={options.quantize}, calibration=None"
        )
    if hasattr(source, "shape"):
        return _from_array(np.asarray(source), options, preprocessing)
    return _from_source(source, options, preprocessing, info, class_names)


def _from_array(images, options, preprocessing):
    _check_images(images, preprocessing)
    order = np.random.default_rng(options.seed).permutation(len(images))[: options.calibration_samples]
    return Calibration(images[np.sort(order)], f"{len(order)} images of an array", options.seed)


def _from_source(name, options, preprocessing, info, class_names):
    from keras_cnns.data.folders import open_images
    from keras_cnns.data.pipeline import read_pixels

    flat = _is_flat(name)
    split = open_images(name) if flat else _open_training_split(name, options, info, class_names)
    if split.examples > options.calibration_samples:
        share = options.calibration_samples / split.examples
        _, split = split.partition((1 - share, share), options.seed)
    images, _ = read_pixels(split, preprocessing)
    _check_range(images, str(name))
    return Calibration(images, f"{len(images)} {'images' if flat else 'training images'} of {name}", options.seed)


def _is_flat(name):
    """Return whether a source is a folder without class folders."""
    if not os.path.isdir(name):
        return False
    with os.scandir(name) as entries:
        kinds = {entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    return kinds == {False}


def _open_training_split(name, options, info, class_names):
    from keras_cnns.data.recorded_source import reopen_source

    try:
        source = reopen_source(info and info.data, name, data_dir=options.data_dir)
    except ArgumentError as error:
        if options.calibration is not None:
            raise
        raise ArgumentError(
            f"the images that the model was trained on are not available; name others with --calibration ({error})"
        ) from None
    if class_names:
        source = source.with_classes(class_names, getattr(info, "class_ids", ()))
    return source.split("train")


def _check_images(images, preprocessing):
    """Raise an error unless an array holds pixels of the model's shape."""
    if images.ndim != 4 or not len(images) or images.shape[1:] != preprocessing.shape:
        raise ArgumentError(
            f"`calibration` must hold images of shape (images, {', '.join(map(str, preprocessing.shape))}). "
            f"Received: shape={images.shape}"
        )
    if images.dtype != np.uint8:
        raise ArgumentError(
            "`calibration` must hold pixels as uint8, 0 to 255; the preprocessing is applied to them. "
            f"Received: dtype={images.dtype}, values from {images.min():g} to {images.max():g}"
        )
    _check_range(images, "calibration")


def _check_range(images, name):
    """Raise SourceError for images without contrast.

    Ranges fitted on them would cut off real images.
    """
    low, high = int(images.min()), int(images.max())
    if high - low < 64:
        hint = " Pixels of 0 to 1 must be multiplied by 255." if high <= 1 else ""
        raise SourceError(
            f"{name}: the images to calibrate on must show something: their pixels must span a good part of 0 to 255."
            f"{hint} Received: pixels from {low} to {high}"
        )
