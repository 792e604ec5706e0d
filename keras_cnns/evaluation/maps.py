"""Probabilities for all pixels of an image, in its own size."""

# TensorFlow is imported inside the functions, so that importing this module does not load it

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns import _graph, _models
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation.crf import CRF
from keras_cnns.evaluation.protocols import CENTER, Protocol
from keras_cnns.tasks.task import Predictor, check_finite
from keras_cnns.typing import Progress

if TYPE_CHECKING:
    from keras_cnns.data.splits import Split


@dataclasses.dataclass(frozen=True)
class WholeImages:
    """How networks see whole images, whose pixels they score.

    The probabilities of all views are averaged in the size of the image, and then refined.

    Attributes:
        views: pairs of a `Predictor` and the `Preprocessing` whose size it sees.
        is_mirrored: whether each view is used a second time, mirrored.
        crf: `CRF` that refines the mean; None: nothing does.
    """

    views: tuple[tuple[Predictor, Preprocessing], ...]
    is_mirrored: bool = False
    crf: CRF | None = None

    def mask(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the class of each pixel of an image.

        Args:
            image: uint8 (height, width, channels).

        Returns:
            uint8 (height, width).

        Raises:
            ArgumentError: if a model outputs NaN or infinite values.
        """
        from keras_cnns.data.image_reader import prepare

        shown = [
            preprocessing.normalize(np.asarray(prepare(image, preprocessing), "float32"))
            for _, preprocessing in self.views
        ]
        (probabilities,) = self._maps([(shown, image)], [image.shape[:2]])
        check_finite(probabilities, self.views[0][0].model.name)
        return probabilities.argmax(-1).astype("uint8")

    def stream(
        self, split: "Split", batch_size: int, progress: Progress
    ) -> Iterator[tuple[list[NDArray[np.float32]], list[NDArray[np.uint8]]]]:
        """Yield maps and masks of a split's images, some at a time.

        Args:
            split: `Split` whose targets have the size of their images.
            batch_size: number of maps of one class that a model may output at once.
            progress: function that yields the images it is given, and shows the progress.
        """
        from keras_cnns.evaluation._views import own_size_dataset

        together = max(1, batch_size // self.views[0][0].model.outputs[0].shape[-1])
        images = iter(progress(own_size_dataset(split, [preprocessing for _, preprocessing in self.views])))
        while batch := list(itertools.islice(images, together)):
            masks = [np.asarray(mask) for *_, mask in batch]
            yield self._maps([(shown, np.asarray(image)) for shown, image, _ in batch], [m.shape for m in masks]), masks

    def _maps(
        self, images: Sequence[tuple[Sequence[Any], NDArray[np.uint8]]], sizes: Iterable[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        """Return the probabilities of images, each in its size.

        Args:
            images: for each what the models see, view by view, and the image itself.
            sizes: (height, width) of each.
        """
        by_view = [
            self._predict(predictor, np.stack([shown[k] for shown, _ in images]))
            for k, (predictor, _) in enumerate(self.views)
        ]
        means = [
            np.mean(
                [_own_size(maps[k], size, record) for maps, (_, record) in zip(by_view, self.views, strict=True)],
                axis=0,
            )
            for k, size in enumerate(sizes)
        ]
        if self.crf is None:
            return means
        return [self.crf.refine(mean, image) for mean, (_, image) in zip(means, images, strict=True)]

    def _predict(self, predictor: Predictor, images: NDArray[np.float32]) -> NDArray[np.float32]:
        maps = predictor(images)
        if self.is_mirrored:
            maps = (maps + predictor(images[:, :, ::-1])[:, :, ::-1]) / 2
        return maps


def whole_images(
    predictors: Sequence[Predictor],
    records: Sequence[Preprocessing],
    protocol: Protocol,
    scales: Sequence[int] | None = None,
    crf: CRF | None = None,
) -> WholeImages:
    """Return how models see whole images by a protocol.

    Args:
        predictors: one or several, which score pixels.
        records: `Preprocessing` of each, which must show whole images.
        protocol: `Protocol` of whole images.
        scales: shorter sides of the models' inputs in pixels, instead of those of the protocol.
        crf: `CRF`, or None.

    Raises:
        ArgumentError: if the protocol or a preprocessing crops images, or a model takes images of one size only and is
            to see others.
    """
    if protocol.squares or protocol.whole or protocol.positions not in ((), CENTER):
        raise ArgumentError(
            "each pixel of an image counts, so that models see whole images and no crops; choose center, mirror or "
            f"multi-scale. Received: protocol={protocol.name!r}"
        )
    if scales is not None and (not scales or min(scales) < 1):
        raise ArgumentError(f"`scales` must be sides in pixels, at least 1. Received: scales={tuple(scales)}")
    views: list[tuple[Predictor, Preprocessing]] = []
    for predictor, record in zip(predictors, records, strict=True):
        need_whole_images(record)
        side = min(record.size)
        factors = [shorter / side for shorter in scales] if scales else protocol.scales or (1.0,)
        height, width = record.size
        sizes = [(max(1, round(height * factor)), max(1, round(width * factor))) for factor in factors]
        if set(sizes) - {record.size}:
            predictor = _for_any_size(predictor, record)
        views += [(predictor, dataclasses.replace(record, size=size)) for size in sizes]
    return WholeImages(tuple(views), protocol.mirror, crf)


def _for_any_size(predictor: Predictor, record: Preprocessing) -> Predictor:
    """Return a predictor for images of any size."""
    if record.arrays():
        raise ArgumentError(
            f"{predictor.model.name}: its preprocessing was fitted pixel by pixel, for images of one size, so that it "
            f"cannot see others; leave out scales. Received: size={record.size}"
        )
    return dataclasses.replace(predictor, model=_any_size(predictor.model))


def _any_size(model: keras.Model) -> keras.Model:
    """Return a model of the same layers for images of any size."""
    height, width, channels = _models.image_input(model)
    if height is None and width is None:
        return model
    inputs = keras.Input((None, None, channels), dtype=model.inputs[0].dtype, name=model.inputs[0].name)
    try:
        output = _graph.follow(
            _graph.graph_of(model), [inputs], lambda name, operation, args, kwargs: operation(*args, **kwargs)
        )
        (output,) = keras.tree.flatten(output)
        if tuple(output.shape[1:3]) != (None, None):
            raise ValueError(f"its output has the shape {output.shape}")
    except Exception as error:  # each layer has its own exceptions
        raise ArgumentError(
            f"{model.name}: takes images of {height}x{width} only ({error}); leave out scales. "
            f"Received: input_shape={(height, width, channels)}"
        ) from error
    return keras.Model(inputs, output, name=model.name)


def _own_size(probabilities: Any, size: Sequence[int], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return a map of the input in the size of its image."""
    import tensorflow as tf

    from keras_cnns.data.image_reader import shown_part

    height, width = size
    return tf.image.resize(probabilities[shown_part((height, width), preprocessing)], size).numpy()


def need_whole_images(preprocessing: Preprocessing) -> None:
    """Raise ArgumentError for a preprocessing that cuts off parts of images."""
    if preprocessing.shorter_side is not None:
        raise ArgumentError(
            "each pixel of an image counts, and this preprocessing crops images; use one with shorter_side=None, and "
            f"fit='stretch' or 'pad'. Received: shorter_side={preprocessing.shorter_side}"
        )
