"""The model's own outputs, which artifacts are compared with."""

import dataclasses
import math
from collections.abc import Mapping

import keras
import numpy as np

from keras_cnns import typing
from keras_cnns.data.masks import IGNORE
from keras_cnns.errors import ArtifactError, VerificationError
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.formats import LOGITS, TOLERANCE
from keras_cnns.export.parity import Reference, by_class
from keras_cnns.export.sample_images import MOST_IMAGES, SampleImages, choose_images
from keras_cnns.saving import ModelInfo
from keras_cnns.tasks import classifiers

FEWEST_IMAGES = 8  # for a comparison, however large their outputs
MOST_VALUES = 1 << 26  # of an output that are compared: 256 MiB, several times
LOGIT_IMAGES = 3  # number of images on which logits are compared with the model's probabilities


@dataclasses.dataclass(frozen=True)
class Baseline:
    """What the model computes on the images of a verification.

    Attributes:
        images: the images.
        references: from each output's name to the model's values.
        accuracy: the model's accuracy; None without labels, and for a model that is not a classifier.
    """

    images: SampleImages
    references: Mapping[str, Reference]
    accuracy: float | None


def measure_baseline(prepared: Prepared, info: ModelInfo | None, say: typing.Log) -> Baseline:
    """Choose images to verify on, and run the model on them.

    Args:
        prepared: the model.
        info: its record, or None.
        say: function called with a line of text now and then.

    Raises:
        ArgumentError, SourceError: if the images of `verify_data` cannot be used.
        VerificationError: if the model gives all images the same output.
    """
    options, classes = prepared.options, classifiers.class_count(prepared.model.outputs[0])
    values = math.prod(prepared.preprocessing.size) * classes if prepared.scores_pixels else classes
    most = min(MOST_IMAGES, max(FEWEST_IMAGES, MOST_VALUES // values))
    say("choosing images to verify on")
    images = choose_images(
        prepared.preprocessing, info, options.verify_data, options.data_dir, prepared.known_names, classes, say, most
    )
    if images.labels is not None and (images.labels.ndim == 3) != prepared.scores_pixels:
        images = dataclasses.replace(images, labels=None)
    if images.labels is not None and prepared.is_multi_label:
        say(
            f"{prepared.whole.name} ends with several sigmoids (multi-label): its accuracy is not measured, because "
            "each image here has one label"
        )
        images = dataclasses.replace(images, labels=None)
    references = prepared.compute_references(images.images)
    main = references[prepared.main_output]
    if options.quantize == "none" or options.min_agreement != 0:  # else no agreement was asked for
        _check_provable(prepared, images, main.values)
    accuracy = None
    if images.labels is not None and prepared.is_classifier:
        references[prepared.main_output] = dataclasses.replace(main, labels=images.labels)
        correct = by_class(main.values, main.kind).argmax(-1) == images.labels
        accuracy = float(correct[images.labels != IGNORE].mean())
    return Baseline(images, references, accuracy)


def _check_provable(prepared, images, values):
    """Raise VerificationError if the model gives all images the same output.

    An artifact that gives a constant would pass for such a model.
    """
    options = prepared.options
    scale = max(1.0, float(np.abs(values).max()))
    spread = float(np.ptp(values, axis=0).max())
    if len(values) > 1 and spread <= (TOLERANCE if options.tolerance is None else options.tolerance) * scale:
        raise VerificationError(
            f"{prepared.whole.name}: the model gives the same output for all {len(values)} images (they differ by "
            f"{spread:.1g} at most), so nothing is proven ({images.description}). Look at its weights, its "
            "preprocessing and these images; name others with --verify-data, or write artifacts unverified with "
            f"--no-verify. Received: verify_data={options.verify_data!r}"
        )


def check_logits(prepared: Prepared, baseline: Baseline) -> None:
    """Raise ArtifactError unless logits match the model's probabilities.

    Args:
        prepared: the model.
        baseline: its outputs.
    """
    if prepared.main_output != LOGITS or not classifiers.gives_probabilities(prepared.whole):
        return
    images = baseline.images.images[:LOGIT_IMAGES].astype("float32")
    outputs = prepared.whole.predict_on_batch(prepared.preprocessing.normalize(images))
    probabilities, logits = keras.tree.flatten(outputs)[0], baseline.references[LOGITS].values[:LOGIT_IMAGES]
    bound = TOLERANCE * max(1.0, float(np.abs(logits).max()))
    sigmoid = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
    if not any(np.abs(values - probabilities).max() <= bound for values in (classifiers.softmax(logits), sigmoid)):
        raise ArtifactError("the logits that were taken out of the model do not give its probabilities")
