"""Proof that an artifact computes what its model computes."""

import dataclasses

import numpy as np

from keras_cnns._models import check_classes
from keras_cnns.data.pipeline import make_dataset, reading
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.export.formats import PROBABILITIES

MOST_PICTURES = 1000
FALLBACK_PICTURES = 64
SEED = 0


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What an artifact is verified on.

    Attributes:
        images: uint8 (pictures, height, width, channels).
        labels: whole numbers (pictures,), or None: then parity is measured, accuracy is not.
        description: which pictures they are.
    """

    images: np.ndarray
    labels: np.ndarray | None
    description: str


@dataclasses.dataclass(frozen=True)
class Parity:
    """An artifact's outputs beside its model's.

    Attributes:
        max_difference: the largest absolute difference of any output.
        bound: what it may be.
        max_logit_difference: the same of the logits, up to a constant each picture: for a classifier told by
            the logarithms of probabilities above 1e-6; small networks' probabilities alone say little.
        logit_bound: what that may be.
        disagreements: pictures with another top-1 although the model's own top two lie further apart than
            twice the bound.
        accuracy: share of pictures rightly classified by the artifact, None without labels.
    """

    max_difference: float
    bound: float
    max_logit_difference: float
    logit_bound: float
    disagreements: int
    accuracy: float | None

    @property
    def fault(self):
        """What is over its bound, in words; "" if the artifact passes."""
        if not self.max_difference <= self.bound:
            return f"outputs differ by {self.max_difference:.3g}, more than {self.bound:.3g}"
        if not self.max_logit_difference <= self.logit_bound:
            return f"logits differ by {self.max_logit_difference:.3g}, more than {self.logit_bound:.3g}"
        if self.disagreements:
            return f"{self.disagreements} pictures get another class"
        return ""


def run_in_batches(run, images, output):
    """Return an artifact's output for all pictures, in batches of 1, 3 and then 64, so that each size is tried."""
    parts, start = [], 0
    while start < len(images):
        size = {0: 1, 1: 3}.get(start, 64)
        results = run(images[start : start + size])
        if set(results) != {output}:
            raise ValueError(f"its outputs are called {sorted(results)} and not {output!r}")
        parts.append(np.asarray(results[output]))
        start += size
    return np.concatenate(parts)


def compare(reference, outputs, output, labels=None):
    """Return the `Parity` of an artifact's outputs (pictures, classes) with the model's.

    Raises:
        ValueError: if the shapes differ or a value is not finite.
    """
    if outputs.shape != reference.shape or outputs.dtype != np.float32:
        raise ValueError(f"it gives {outputs.dtype} {outputs.shape} and not float32 {reference.shape}")
    if not np.isfinite(outputs).all():
        raise ValueError("it gives values that are not finite")
    if output == PROBABILITIES:
        bound = 1e-5
        seen = (reference > 1e-6) & (outputs > 1e-6)
        ours, theirs = (np.log(np.where(seen, values, 1.0), dtype="float64") for values in (reference, outputs))
    else:
        bound = 1e-4 * max(1.0, float(np.abs(reference).max()))
        ours, theirs = reference, outputs
    ordered = np.sort(reference, axis=1)
    margin = ordered[:, -1] - ordered[:, -2] if reference.shape[1] > 1 else np.zeros(len(reference))
    best = outputs.argmax(1)
    return Parity(
        max_difference=float(np.abs(reference - outputs).max()),
        bound=bound,
        max_logit_difference=float(np.abs(ours - theirs).max()),
        logit_bound=1e-4 * max(1.0, float(np.abs(ours).max())),
        disagreements=int(((best != reference.argmax(1)) & (margin > 2 * bound)).sum()),
        accuracy=None if labels is None else float(np.mean(best == labels)),
    )


def choose_pictures(preprocessing, info=None, verify_data=None, data_dir=None, say=lambda text: None):
    """Return the `Pictures` to verify on: the source named, else the model's own, else some that are always there.

    Args:
        preprocessing: `Preprocessing`, whose shape the pictures get.
        info: the model's `ModelInfo` or None.
        verify_data: name of a source, of which the test split is taken.
        data_dir: for tensorflow-datasets.
        say: function called with a line of text when the model's own pictures cannot be used.

    Raises:
        ArgumentError, SourceError: if `verify_data` cannot be used.
    """
    from keras_cnns.data.sources import open_source

    def of_source(name, data_dir):
        source = open_source(name, data_dir=data_dir)
        if info and info.class_names:
            check_classes(info.class_names, source.class_names, name)
        split = source.split("test" if "test" in source.splits else "train").sample(MOST_PICTURES)
        with reading(split):
            batches = list(make_dataset(split, preprocessing, 256, normalize=False).as_numpy_iterator())
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        part = "test" if "test" in source.splits else "train"
        return Pictures(images, labels, f"{len(images)} {part} pictures of {name}")

    if verify_data is not None:
        return of_source(verify_data, data_dir)
    if info is not None and info.data:
        try:
            return of_source(info.data["source"], data_dir or info.data.get("data_dir"))
        except (ArgumentError, SourceError) as error:
            say(f"the pictures that the model was tested on are not at hand: {error}")
    return _standing_in(preprocessing)


def _standing_in(preprocessing):
    """Return seeded pictures of scikit-learn: crops of its two photographs, for gray models its digits."""
    import tensorflow as tf

    random = np.random.default_rng(SEED)
    if preprocessing.channels == 1:
        from sklearn.datasets import load_digits

        small = load_digits().images[random.choice(1797, FALLBACK_PICTURES, replace=False)]
        crops, what = list((small * (255 / 16))[..., None]), "digits of scikit-learn"
    else:
        from sklearn.datasets import load_sample_images

        photographs, crops = load_sample_images().images, []
        for k in range(FALLBACK_PICTURES):
            photograph = photographs[k % 2]
            side = random.integers(64, min(photograph.shape[:2]) + 1)
            top, left = (random.integers(0, size - side + 1) for size in photograph.shape[:2])
            crops.append(photograph[top : top + side, left : left + side].astype("float32"))
        what = "crops of scikit-learn's two photographs"
    images = np.stack([tf.image.resize(crop, preprocessing.size, antialias=True).numpy() for crop in crops])
    return Pictures(np.clip(np.round(images), 0, 255).astype("uint8"), None, f"{FALLBACK_PICTURES} {what}")
