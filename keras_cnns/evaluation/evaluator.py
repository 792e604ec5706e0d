"""Evaluation of models on a split, and prediction for image files."""

# TensorFlow is imported inside the functions, with keras_cnns.data.pipeline, once it is needed

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns import _models
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.targets import Mask
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation._views import own_size_dataset, views_dataset, whole_dataset
from keras_cnns.evaluation.dense import dense_model
from keras_cnns.evaluation.protocols import Protocol, find_protocol, shorter_sides
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.class_metric import check_examples
from keras_cnns.tasks.registry import task_for
from keras_cnns.tasks.task import Predictor, Result
from keras_cnns.typing import Labels, Path, Probabilities, Progress

if TYPE_CHECKING:
    from keras_cnns.data.splits import Split

Models: TypeAlias = keras.Model | Sequence[keras.Model]
Records: TypeAlias = Preprocessing | Sequence[Preprocessing]
Stream: TypeAlias = Iterator[tuple[Any, Any]]  # predictions and targets of one batch after the other

TOGETHER = 256  # images in a batch of averaged predictions


def evaluate(
    model: Models,
    split: "Split",
    preprocessing: Records,
    class_names: Sequence[str],
    *,
    protocol: str | Protocol = "center",
    scales: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Evaluate a model, or the averaged probabilities of several.

    A model that was trained in mixed precision is evaluated in float32, like its exports. All processors then give the
    same values, and those without bfloat16 are not slow.

    Args:
        model: functional or sequential `keras.Model` from (batch, height, width, channels) to (batch, classes), logits
            or probabilities; for two classes also to (batch, 1), the second class. Or a list of such models.
        split: `Split` of a source. Every image counts once, whatever the batch size.
        preprocessing: `Preprocessing` that the model was trained with; for several models also a list.
        class_names: names of the classes, in the order of the model's outputs, as `ModelInfo.class_names`. If the split
            has class names (`Split.class_names`, as splits of a `Source` do), its labels are matched to these by name.
            Otherwise its labels are taken to be numbers of these.
        protocol: which views of an image are evaluated: "center" (one, resized and cropped as the record says),
            "ten-crop", "144-crop", "dense", or a `Protocol`.
        scales: shorter sides in pixels to which images are resized, instead of those of the protocol. The probabilities
            of several scales are averaged.
        batch_size: views per batch; None: a number that suits the input size.
        progress: function that yields the batches it is given, and shows the progress.

    Returns:
        `Result`.

    Raises:
        ArgumentError: (a ValueError) if the number of outputs is not that of the classes, the model has several
            sigmoids (multi-label), the split is empty or has an unknown class, a scale is smaller than the input, or a
            model cannot be made dense.
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


def predict_batches(
    predictors: Sequence[Predictor],
    split: "Split",
    records: Sequence[Preprocessing],
    *,
    protocol: str | Protocol = "center",
    scales: Sequence[int] | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Stream:
    """Yield the predictions and targets of a split, batch by batch.

    The predictions of several models, views and scales are averaged. Memory does not grow with the number of images.

    Args:
        predictors: one or several, of the task of the split's targets.
        split: `Split` of a source.
        records: `Preprocessing` of each.
        protocol: as in `evaluate`.
        scales: as in `evaluate`.
        batch_size: as in `evaluate`.
        progress: as in `evaluate`.

    Raises:
        ArgumentError: as `evaluate`.
        SourceError: if an image cannot be read.
    """
    from keras_cnns.data.pipeline import reading

    check_examples(split.examples)
    protocol, task = find_protocol(protocol), task_for(split.target)
    if not (task.averages_views or (protocol.is_center and scales is None and len(predictors) == 1)):
        raise ArgumentError(
            "the predictions for such images cannot be averaged: measure one model, in its one view. "
            f"Received: protocol={protocol.name!r}, scales={scales}, {len(predictors)} models"
        )
    streams: list[Stream] = []
    for predictor, record in zip(predictors, records, strict=True):
        # Only the first shows its progress, as all of them go through the images together
        shown = progress if progress and not streams else iter
        streams += _streams(predictor, split, record, protocol, scales, batch_size, shown)
    with reading(split):
        yield from _averaged(streams)


def _averaged(streams: list[Stream]) -> Stream:
    """Yield the mean predictions of several streams over the same images.

    Their batches may have different sizes.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    by_image = (itertools.chain.from_iterable(zip(*batch, strict=True) for batch in stream) for stream in streams)
    images = zip(*by_image, strict=True)
    while together := list(itertools.islice(images, TOGETHER)):
        predictions = sum(np.stack([one[k][0] for one in together]) / len(streams) for k in range(len(streams)))
        yield np.asarray(predictions, "float32"), np.stack([one[0][1] for one in together])


def _streams(
    predictor: Predictor,
    split: "Split",
    preprocessing: Preprocessing,
    protocol: Protocol,
    scales: Sequence[int] | None,
    batch_size: int | None,
    progress: Progress,
) -> list[Stream]:
    """Return the streams whose mean is a model's predictions."""
    from keras_cnns.data.pipeline import make_dataset

    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    sides = shorter_sides(protocol, preprocessing.size, preprocessing.shorter_side, scales)
    if split.target.at_own_size:
        return [_own_size_stream(predictor, split, preprocessing, batch_size, progress)]
    if protocol.dense:
        return _whole_streams(predictor.model, split, preprocessing, protocol, sides, batch_size, progress)
    if sides == [None]:
        return [_predicted(make_dataset(split, preprocessing, batch_size), predictor, progress)]
    views = protocol.views(len(sides))
    batches = views_dataset(split, preprocessing, protocol, scales, max(1, batch_size // views))

    def mean_over_views(images):
        of_views = np.concatenate([predictor(images[k : k + batch_size]) for k in range(0, len(images), batch_size)])
        return of_views.reshape(-1, views, *of_views.shape[1:]).mean(1)

    return [_predicted(batches, mean_over_views, progress)]


def _own_size_stream(
    predictor: Predictor, split: "Split", preprocessing: Preprocessing, batch_size: int, progress: Progress
) -> Stream:
    """Yield one image's map and mask after the other, in its size."""
    _need_whole_images(preprocessing)
    maps_at_once = max(1, batch_size // predictor.model.outputs[0].shape[-1])
    images = iter(progress(own_size_dataset(split, preprocessing)))
    while together := list(itertools.islice(images, maps_at_once)):
        small = predictor(np.stack([image for image, _ in together]))
        for probabilities, (_, mask) in zip(small, together, strict=True):
            yield [_stretched(probabilities, mask.shape)], [np.asarray(mask)]


def _stretched(probabilities: Any, size: Sequence[int]) -> NDArray[np.float32]:
    """Return a map in the size of its stretched image."""
    import tensorflow as tf

    return tf.image.resize(probabilities, size).numpy()


def _need_whole_images(preprocessing):
    """Raise ArgumentError for a preprocessing that cuts off parts of images."""
    if preprocessing.shorter_side is not None:
        raise ArgumentError(
            "each pixel of an image counts, and this preprocessing crops images; use one with shorter_side=None. "
            f"Received: shorter_side={preprocessing.shorter_side}"
        )


def _whole_streams(
    model: keras.Model,
    split: "Split",
    preprocessing: Preprocessing,
    protocol: Protocol,
    sides: list[Any],
    batch_size: int,
    progress: Progress,
) -> list[Stream]:
    """Return a stream of predictions for whole images per scale."""
    if preprocessing.arrays():
        raise ArgumentError(
            f"{model.name}: its preprocessing was fitted pixel by pixel, for images of one size, so that it cannot "
            f"take whole images; choose a protocol with crops. Received: protocol={protocol.name!r}"
        )
    dense = dense_model(model)

    def mean_over_maps(images):
        views = [images, images[:, :, ::-1]] if protocol.mirror else [images]
        maps = (np.asarray(dense.predict_on_batch(view), "float32") for view in views)
        return np.mean([classifiers.softmax(logits.mean((1, 2))) for logits in maps], axis=0)

    def at(side, shown):
        area = (side / min(preprocessing.size)) ** 2
        batches = whole_dataset(split, preprocessing, side, max(1, int(batch_size / area / 2)))
        return _predicted(batches, mean_over_maps, shown)

    return [at(side, iter if place else progress) for place, side in enumerate(sides)]


def _predicted(batches: Any, predict: Callable[[Any], Any], progress: Progress) -> Stream:
    """Yield what a function predicts for each batch, and its targets."""
    for images, targets in progress(batches):
        yield predict(np.asarray(images)), np.asarray(targets)


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

    model = _models.as_float32(classifiers.as_classifier(model, class_names))
    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    images = read_files(paths, preprocessing)
    probabilities = classifiers.to_probabilities(
        model, _models.predict_pixels(model, images, preprocessing, batch_size)
    )
    if not np.isfinite(probabilities).all():
        raise ArgumentError(f"{model.name} outputs NaN or infinite values; train it again.")
    return probabilities


def predict_masks(
    model: keras.Model, paths: Iterable[Path], preprocessing: Preprocessing, *, class_names: Sequence[str] = ()
) -> Iterator[NDArray[np.uint8]]:
    """Yield the class of each pixel of image files.

    Args:
        model: model from images to maps of scores, (batch, height, width, classes).
        paths: paths of the files, of any size and format.
        preprocessing: `Preprocessing` that the model was trained with, which must show whole images.
        class_names: names of the classes, () if unknown.

    Yields:
        uint8 (height, width), in the size of each image.

    Raises:
        ArgumentError: if the model does not score pixels, or not these classes, or outputs NaN or infinite values.
        SourceError: naming the file that cannot be read.

    Examples:
        >>> import keras
        >>> from keras_cnns import data, evaluation
        >>> network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, padding="same")])
        >>> keras.utils.save_img("shapes.png", data.make_shapes(1, size=80).images[0])
        >>> masks = evaluation.predict_masks(network, ["shapes.png"], data.Preprocessing((32, 32)))
        >>> next(masks).shape
        (80, 80)
    """
    from keras_cnns.data.image_files import read_image

    _need_whole_images(preprocessing)
    predictor = task_for(Mask()).predictor(model, class_names)
    for path in paths:
        yield predict_mask(predictor, read_image(path, preprocessing.channels), preprocessing)


def predict_mask(predictor: Predictor, image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the class of each pixel of an image.

    Args:
        predictor: of a model that scores pixels.
        image: uint8 (height, width, channels).
        preprocessing: `Preprocessing` that the model was trained with.

    Returns:
        uint8 (height, width).

    Raises:
        ArgumentError: if the model outputs NaN or infinite values.
    """
    from keras_cnns.data.image_reader import prepare

    pixels = np.asarray(prepare(image, preprocessing), "float32")[None]
    (probabilities,) = predictor(preprocessing.normalize(pixels))
    if not np.isfinite(probabilities).all():
        raise ArgumentError(f"{predictor.model.name} outputs NaN or infinite values; train it again.")
    return _stretched(probabilities, image.shape[:2]).argmax(-1).astype("uint8")
