"""The predictions for a split, batch by batch."""

# TensorFlow is imported inside the functions, with keras_cnns.data.pipeline, once it is needed

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import numpy as np

from keras_cnns import _models
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation._views import views_dataset, whole_dataset
from keras_cnns.evaluation.crf import CRF
from keras_cnns.evaluation.dense import dense_model
from keras_cnns.evaluation.maps import whole_images
from keras_cnns.evaluation.objects import detect_split
from keras_cnns.evaluation.protocols import Protocol, find_protocol, shorter_sides
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.registry import task_for
from keras_cnns.tasks.task import Predictor, check_examples
from keras_cnns.typing import Progress

if TYPE_CHECKING:
    from keras_cnns.data.splits import Split

Stream: TypeAlias = Iterator[tuple[Any, Any]]  # predictions and targets of one batch after the other

TOGETHER = 256  # images in a batch of averaged predictions


def predict_batches(
    predictors: Sequence[Predictor],
    split: "Split",
    records: Sequence[Preprocessing],
    *,
    protocol: str | Protocol = "center",
    scales: Sequence[int] | None = None,
    crf: CRF | None = None,
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
        crf: as in `evaluate`.
        batch_size: as in `evaluate`.
        progress: as in `evaluate`.

    Raises:
        ArgumentError: as `evaluate`.
        SourceError: if an image cannot be read.
    """
    from keras_cnns.data.pipeline import reading

    check_examples(split.examples)
    protocol, task = find_protocol(protocol), task_for(split.target)
    if crf is not None and task.scored != "pixel":
        raise ArgumentError(
            f"a CRF refines the classes of pixels, and these images have no masks; leave it out. Received: crf={crf}"
        )
    if not (task.averages_views or (protocol.is_center and scales is None and len(predictors) == 1)):
        raise ArgumentError(
            "the predictions for such images cannot be averaged: measure one model, in its one view. "
            f"Received: protocol={protocol.name!r}, scales={scales}, {len(predictors)} models"
        )
    if task.scored == "object":
        with reading(split):
            yield from detect_split(predictors[0], split, records[0], batch_size, progress or iter)
        return
    if split.target.at_own_size:
        seen = whole_images(predictors, records, protocol, scales, crf)
        with reading(split):
            yield from seen.stream(split, batch_size or _models.batch_size_for(*records[0].size), progress or iter)
        return
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
    if protocol.dense:
        return _whole_streams(predictor.model, split, preprocessing, protocol, sides, batch_size, progress)
    if sides == [None] and not protocol.mirror:
        return [_predicted(make_dataset(split, preprocessing, batch_size), predictor, progress)]
    views = protocol.views(len(sides))
    batches = views_dataset(split, preprocessing, protocol, scales, max(1, batch_size // views))

    def mean_over_views(images):
        of_views = np.concatenate([predictor(images[k : k + batch_size]) for k in range(0, len(images), batch_size)])
        return of_views.reshape(-1, views, *of_views.shape[1:]).mean(1)

    return [_predicted(batches, mean_over_views, progress)]


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
