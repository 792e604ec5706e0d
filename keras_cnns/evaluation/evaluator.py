"""Evaluation of models on a split, and prediction for image files."""

# TensorFlow is imported inside the functions, with keras_cnns.data.pipeline, once it is needed

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np

from keras_cnns import _models
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation._streams import predict_batches
from keras_cnns.evaluation.crf import CRF
from keras_cnns.evaluation.protocols import Protocol
from keras_cnns.tasks.registry import DEFAULT, task_for
from keras_cnns.tasks.task import Result, check_finite
from keras_cnns.typing import Labels, Path, Probabilities, Progress

if TYPE_CHECKING:
    from keras_cnns.data.splits import Split

Models: TypeAlias = keras.Model | Sequence[keras.Model]
Records: TypeAlias = Preprocessing | Sequence[Preprocessing]


def evaluate(
    model: Models,
    split: "Split",
    preprocessing: Records,
    class_names: Sequence[str],
    *,
    protocol: str | Protocol = "center",
    scales: Sequence[int] | None = None,
    crf: CRF | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Evaluate a model, or the averaged probabilities of several.

    A model that was trained in mixed precision is evaluated in float32, like its exports. All processors then give the
    same values, and those without bfloat16 are not slow.

    Args:
        model: functional or sequential `keras.Model` from (batch, height, width, channels) to (batch, classes), logits
            or probabilities; for two classes also to (batch, 1), the second class. For a split with masks, to (batch,
            height, width, classes). Or a list of such models.
        split: `Split` of a source. Every image counts once, whatever the batch size.
        preprocessing: `Preprocessing` that the model was trained with; for several models also a list.
        class_names: names of the classes, in the order of the model's outputs, as `ModelInfo.class_names`. If the split
            has class names (`Split.class_names`, as splits of a `Source` do), its labels are matched to these by name.
            Otherwise its labels are taken to be numbers of these.
        protocol: which views of an image are evaluated: "center" (one, resized and cropped as the record says),
            "mirror" (that and its mirror image), "ten-crop", "144-crop", "dense", or a `Protocol`; for masks "center",
            "mirror", "multi-scale" or a `Protocol` of whole images.
        scales: shorter sides in pixels to which images are resized, instead of those of the protocol. The probabilities
            of several scales are averaged.
        crf: `CRF` that refines the probabilities of pixels by the colors of the image; None: nothing does.
        batch_size: views per batch; None: a number that suits the input size.
        progress: function that yields the batches it is given, and shows the progress.

    Returns:
        `Result`.

    Raises:
        ArgumentError: (a ValueError) if the number of outputs is not that of the classes, the model has several
            sigmoids (multi-label), the split is empty or has an unknown class, a scale is smaller than the input, or a
            model cannot be made dense, or a protocol or `crf` does not suit such targets.
        SourceError: if an image cannot be read.

    Examples:
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> split = data.open_source("digits").split("test")
        >>> result = evaluation.evaluate(model, split, info.preprocessing, info.class_names)
        >>> round(result.top1, 3), result.examples
        (0.997, 360)
    """
    task = task_for(split.target)
    metric = task.metric(class_names)
    for predictions, targets in predict_batches(
        [task.predictor(member, class_names) for member in _as_list(model)],
        split.with_classes(class_names),
        _records(model, preprocessing),
        protocol=protocol,
        scales=scales,
        crf=crf,
        batch_size=batch_size,
        progress=progress,
    ):
        metric.update(predictions, targets)
    return metric.result()


def predict_split(
    model: Models,
    split: "Split",
    preprocessing: Records,
    *,
    protocol: str | Protocol = "center",
    scales: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> tuple[Probabilities, Labels]:
    """Return the predicted probabilities and the labels of a split.

    A model is evaluated in float32, whatever its training precision was. The probabilities of an image are the mean
    over its views. Those of a dense view are the softmax of the mean over the map of logits.

    Args:
        model: as in `evaluate`. Since there are no class names, a single output must be a sigmoid.
        split: `Split` of a source.
        preprocessing: `Preprocessing` that the model was trained with; for several models also a list.
        protocol: as in `evaluate`.
        scales: as in `evaluate`.
        batch_size: as in `evaluate`.
        progress: as in `evaluate`.

    Returns:
        Probabilities, float32 (images, classes), and labels, int64 (images,), in the order of the split.

    Raises:
        ArgumentError: as `evaluate`, or if there is not one record for all models or one for each.
        SourceError: if an image cannot be read.

    Examples:
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> split = data.open_source("digits").split("test").sample(40)
        >>> probabilities, labels = evaluation.predict_split(model, split, info.preprocessing)
        >>> probabilities.shape, labels.shape
        ((40, 10), (40,))
    """
    task = task_for(split.target)
    batches = predict_batches(
        [task.predictor(member) for member in _as_list(model)],
        split,
        _records(model, preprocessing),
        protocol=protocol,
        scales=scales,
        batch_size=batch_size,
        progress=progress,
    )
    probabilities, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return probabilities, labels


def _as_list(model: Models) -> list[keras.Model]:
    return list(model) if isinstance(model, list | tuple) else [model]


def _records(model: Models, preprocessing: Records) -> list[Preprocessing]:
    """Return the preprocessing of each model."""
    models = _as_list(model)
    records: list[Any] = [preprocessing] * len(models)
    if isinstance(model, list | tuple) and isinstance(preprocessing, list | tuple):
        records = list(preprocessing)
    if not models or len(records) != len(models):
        raise ArgumentError(
            f"`preprocessing` must be one record for all models, or one for each. Received: {len(records)} for "
            f"{len(models)} models"
        )
    return records


def predict_images(
    model: keras.Model,
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    batch_size: int | None = None,
    class_names: Sequence[str] = (),
) -> Probabilities:
    """Return the class probabilities of image files of any size and format.

    Args:
        model: as in `evaluate`; one model.
        paths: paths of the files.
        preprocessing: `Preprocessing` that the model was trained with.
        batch_size: images per batch; None: a number that suits the input size.
        class_names: names of the classes, () if unknown. With two names, a single output without activation is taken as
            a logit.

    Returns:
        float32 (images, classes).

    Raises:
        ArgumentError: if the model is not a classifier of these classes, or outputs NaN or infinite values.
        SourceError: naming the first file that cannot be read; nothing is predicted then.

    Examples:
        >>> import keras
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> keras.utils.save_img("digit.png", data.open_source("digits").split("test").items[0])
        >>> probabilities = evaluation.predict_images(model, ["digit.png"], info.preprocessing)
        >>> [info.class_names[k] for k in probabilities.argmax(axis=1)]
        ['7']
    """
    from keras_cnns.data.pipeline import read_files

    predictor = DEFAULT.predictor(model, class_names)
    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    images = read_files(paths, preprocessing)
    probabilities = predictor.convert(_models.predict_pixels(predictor.model, images, preprocessing, batch_size))
    check_finite(probabilities, predictor.model.name)
    return probabilities
