"""Which images an artifact is verified on."""

import dataclasses

import numpy as np

from keras_cnns._text import counted
from keras_cnns.errors import ArgumentError, SourceError

MOST_IMAGES = 1000
FALLBACK_IMAGES = 64
SEED = 0


@dataclasses.dataclass(frozen=True)
class SampleImages:
    """What an artifact is verified on.

    Attributes:
        images: uint8 (images, height, width, channels).
        labels: whole numbers (images,), or None: then parity is measured, accuracy is not.
        description: which images they are.
    """

    images: np.ndarray
    labels: np.ndarray | None
    description: str


def choose_images(
    preprocessing,
    info=None,
    verify_data=None,
    data_dir=None,
    class_names=(),
    classes=None,
    say=lambda text: None,
):
    """Return the `Images` to verify on: the source named, else the model's own, else some that are always there.

    Args:
        preprocessing: `Preprocessing`, whose shape the images get.
        info: the model's `ModelInfo` or None.
        verify_data: name of a source, of which the test split is taken.
        data_dir: for tensorflow-datasets.
        class_names: of the model; a source whose classes are others cannot be used.
        classes: how many outputs the model has; a source of more or fewer classes has no labels for it. None: unknown.
        say: function called with a line of text when the model's own images cannot be used.

    Raises:
        ArgumentError, SourceError: if `verify_data` cannot be used.
    """
    from keras_cnns.data.pipeline import read_pixels
    from keras_cnns.data.recorded_source import reopen_source

    def of_source(name):
        source = reopen_source(info and info.data, name, data_dir=data_dir)
        if class_names:
            source = source.with_classes(class_names, getattr(info, "class_ids", ()))
        part = "test" if "test" in source.splits else "train"
        images, labels = read_pixels(source.split(part).sample(MOST_IMAGES), preprocessing)
        known = classes in (None, len(source.class_names))
        return SampleImages(images, labels if known else None, f"{counted(len(images), f'{part} image')} of {name}")

    if verify_data is not None:
        return of_source(verify_data)
    if info is not None and info.data:
        try:
            return of_source(info.data["source"])
        except (ArgumentError, SourceError) as error:
            say(f"the images that the model was tested on are not at hand: {error}")
    return _standing_in(preprocessing)


def _standing_in(preprocessing):
    """Return seeded images of scikit-learn: crops of its two photographs, for gray models its digits."""
    import tensorflow as tf

    random = np.random.default_rng(SEED)
    if preprocessing.channels == 1:
        from sklearn.datasets import load_digits

        small = load_digits().images[random.choice(1797, FALLBACK_IMAGES, replace=False)]
        crops, what = list((small * (255 / 16))[..., None]), "digits of scikit-learn"
    else:
        from sklearn.datasets import load_sample_images

        photographs, crops = load_sample_images().images, []
        for k in range(FALLBACK_IMAGES):
            photograph = photographs[k % 2]
            side = random.integers(64, min(photograph.shape[:2]) + 1)
            top, left = (random.integers(0, size - side + 1) for size in photograph.shape[:2])
            crops.append(photograph[top : top + side, left : left + side].astype("float32"))
        what = "crops of scikit-learn's two photographs"
    images = np.stack([tf.image.resize(crop, preprocessing.size, antialias=True).numpy() for crop in crops])
    return SampleImages(np.clip(np.round(images), 0, 255).astype("uint8"), None, f"{FALLBACK_IMAGES} {what}")
