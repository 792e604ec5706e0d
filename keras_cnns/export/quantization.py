"""Calibration: the images that the ranges of activations are fitted on, and the check that they are such."""

import dataclasses
import hashlib
import os

import numpy as np

from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.export.formats import QUANTIZATIONS


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The images of a calibration.

    Attributes:
        images: uint8 (images, height, width, channels), of the model's size.
        description: which they are.
        seed: that they were drawn with.
    """

    images: np.ndarray
    description: str
    seed: int | None = None

    def given(self, prepared, dtype):
        """Return the images as the traced function takes them, `dtype` (images, height, width, channels).

        Of pixels, one in the first image is made black and one white: so the range of the input is 0 to 255, and a
        quantized input takes pixels as they are.
        """
        if not prepared.options.preprocess:
            return np.float32(prepared.preprocessing.normalize(self.images.astype("float32")))
        images = self.images.copy()
        images[0, 0, 0], images[0, -1, -1] = 0, 255
        return images.astype(dtype)

    def to_json(self):
        """Return what a manifest says of it."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data).hexdigest()
        return {"images": self.description, "examples": len(self.images), "seed": self.seed, "sha256": digest}


def choose_calibration(options, preprocessing, info, class_names):
    """Return the `Calibration` for the options; None if nothing is fitted.

    Args:
        options: `Options`.
        preprocessing: `Preprocessing` of the images.
        info: the model's record, whose `data` names the source that it was trained on, or None.
        class_names: of the model.

    Raises:
        ArgumentError: if there are no images to calibrate on; a file calibrated on noise would be valid and wrong.
        SourceError: if the images cannot be used.
    """
    if not QUANTIZATIONS[options.quantize].calibrated:
        return None
    record = info and info.data
    source = record["source"] if options.calibration is None and record else options.calibration
    if source is None:
        raise ArgumentError(
            f"--quantize {options.quantize} fits the ranges of activations on images like those of the training: "
            f"name their source with --calibration. Received: quantize={options.quantize}, calibration=None"
        )
    if hasattr(source, "shape"):
        images = _checked(np.asarray(source), preprocessing)
        order = np.random.default_rng(options.seed).permutation(len(images))[: options.calibration_samples]
        return Calibration(images[np.sort(order)], f"{len(order)} images of an array", options.seed)
    return _of_source(source, info, options, preprocessing, class_names)


def _of_source(name, info, options, preprocessing, class_names):
    from keras_cnns.data.folders import open_images
    from keras_cnns.data.pipeline import read_pixels

    flat = _is_flat(name)
    split = open_images(name) if flat else _training_split(name, info, options, class_names)
    if split.examples > options.calibration_samples:
        share = options.calibration_samples / split.examples
        _, split = split.partition((1 - share, share), options.seed)
    images, _ = read_pixels(split, preprocessing)
    _check_range(images, str(name))
    return Calibration(images, f"{len(images)} {'images' if flat else 'training images'} of {name}", options.seed)


def _is_flat(name):
    """Return whether a source is a folder of files without folders in it: images without classes."""
    if not os.path.isdir(name):
        return False
    with os.scandir(name) as entries:
        kinds = {entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    return kinds == {False}


def _training_split(name, info, options, class_names):
    from keras_cnns.data.recorded_source import reopen_source

    try:
        source = reopen_source(info and info.data, name, data_dir=options.data_dir)
    except ArgumentError as error:
        if options.calibration is not None:
            raise
        raise ArgumentError(
            f"the images that the model was trained on are not at hand; name others with --calibration ({error})"
        ) from None
    if class_names:
        source = source.with_classes(class_names, getattr(info, "class_ids", ()))
    return source.split("train")


def _checked(images, preprocessing):
    """Return an array of images if it holds pixels of the model's shape."""
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
    return images


def _check_range(images, name):
    """Raise SourceError for images that no camera took: ranges fitted on them would cut off real ones."""
    low, high = int(images.min()), int(images.max())
    if high - low < 64:
        hint = " Pixels of 0 to 1 must be multiplied by 255." if high <= 1 else ""
        raise SourceError(
            f"{name}: the images to calibrate on must show something: their pixels must span a good part of 0 to 255."
            f"{hint} Received: pixels from {low} to {high}"
        )
