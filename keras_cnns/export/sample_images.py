"""Choose the images that artifacts are verified and measured on."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_cnns import typing
from keras_cnns._text import counted
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.saving import ModelInfo

MOST_IMAGES = 1000
FALLBACK_IMAGES = 64
SEED = 0


@dataclasses.dataclass(frozen=True)
class SampleImages:
    """Images that an artifact is verified on.

    Attributes:
        images: uint8 (images, height, width, channels).
        labels: class numbers (images,). None if they are unknown: then outputs are compared, and no accuracy is
            measured.
        description: where the images are from, in words.
    """

    images: typing.Pixels
    labels: typing.Labels | None
    description: str


def choose_images(
    preprocessing: Preprocessing,
    info: ModelInfo | None = None,
    verify_data: typing.Path | None = None,
    data_dir: typing.Path | None = None,
    class_names: Sequence[str] = (),
    classes: int | None = None,
    say: typing.Log = lambda text: None,
    most: int = MOST_IMAGES,
) -> SampleImages:
    """Return images of a source, the model's own, or scikit-learn's.

    Args:
        preprocessing: `Preprocessing`, whose shape the images get.
        info: the model's `ModelInfo`; its `data` names the source that is used without `verify_data`.
        verify_data: name of a source, whose test split is taken.
        data_dir: folder of tensorflow-datasets.
        class_names: class names of the model; a source with other classes cannot be used.
        classes: number of the model's classes; the labels of a source with another number are not used. None: unknown.
        say: function called with a line of text when the model's own images cannot be used.
        most: largest number of images.

    Raises:
        ArgumentError: if `verify_data` does not name a source that fits the model.
        SourceError: if the source of `verify_data` cannot be read.
    """

    def read(name):
        return _read_source(name, preprocessing, info, data_dir, class_names, classes, most)

    if verify_data is not None:
        return read(verify_data)
    if info is not None and info.data:
        try:
            return read(info.data["source"])
        except (ArgumentError, SourceError) as error:
            say(f"the images that the model was tested on are not available: {error}")
    return _fallback_images(preprocessing, min(most, FALLBACK_IMAGES))


def _read_source(name, preprocessing, info, data_dir, class_names, classes, most):
    """Return up to `most` test images of a source.

    They are training images if the source has no test split.
    """
    from keras_cnns.data.pipeline import read_pixels
    from keras_cnns.data.recorded_source import reopen_source

    source = reopen_source(info and info.data, name, data_dir=data_dir)
    if class_names:
        source = source.with_classes(class_names, getattr(info, "class_ids", ()))
    split = "test" if "test" in source.splits else "train"
    images, labels = read_pixels(source.split(split).sample(most), preprocessing)
    has_same_classes = classes in (None, len(source.class_names)) and labels.dtype != object  # objects have boxes
    return SampleImages(
        images, labels if has_same_classes else None, f"{counted(len(images), f'{split} image')} of {name}"
    )


def _fallback_images(preprocessing, count):
    """Return images of scikit-learn.

    They are crops of its two photographs, or its digits for gray models.
    """
    import tensorflow as tf

    random = np.random.default_rng(SEED)
    if preprocessing.channels == 1:
        from sklearn.datasets import load_digits

        digits = load_digits().images[random.choice(1797, count, replace=False)]
        originals, what = list((digits * (255 / 16))[..., None]), "digits of scikit-learn"
    else:
        from sklearn.datasets import load_sample_images

        photographs = load_sample_images().images
        originals = [_random_crop(photographs[k % 2], random) for k in range(count)]
        what = "crops of scikit-learn's two photographs"
    images = np.stack([tf.image.resize(image, preprocessing.size, antialias=True).numpy() for image in originals])
    return SampleImages(np.clip(np.round(images), 0, 255).astype("uint8"), None, f"{count} {what}")


def _random_crop(photograph, random):
    """Return a square of random size and place, as float32."""
    side = random.integers(64, min(photograph.shape[:2]) + 1)
    top, left = (random.integers(0, size - side + 1) for size in photograph.shape[:2])
    return photograph[top : top + side, left : left + side].astype("float32")
