"""Saliency: which pixels the score of a class depends on."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops, tree
from numpy.typing import ArrayLike

from keras_cnns import _graph, _models
from keras_cnns.analysis import _backward, _classes, _gradients, _outputs
from keras_cnns.typing import Images


@dataclasses.dataclass(frozen=True, eq=False)
class Saliency:
    """The gradient of a class's score in each image.

    Attributes:
        gradients: float32 (images, height, width, channels), gradient of the score with respect to each value.
        targets: int64 (images,), the target class of each image.
        scores: float32 (images,), the logit of the target class.
    """

    gradients: np.ndarray
    targets: np.ndarray
    scores: np.ndarray

    @property
    def maps(self) -> np.ndarray:
        """Largest absolute gradient over the channels, float32 (images, height, width)."""
        return np.abs(self.gradients).max(axis=-1)


def saliency(
    model: keras.Model, images: Images, target: ArrayLike | None = None, batch_size: int | None = None
) -> Saliency:
    """Return the gradient of a class's score with respect to the pixels.

    The score is the logit before the softmax.

    Args:
        model: functional or sequential `keras.Model` from images (batch, height, width, channels) to classes.
        images: float32 array (images, height, width, channels), as the model takes them.
        target: one class number for all images, or one per image. None: the most probable class of each image.
        batch_size: images at a time. None: chosen by the size of the images.

    Returns:
        `Saliency`.

    Raises:
        ArgumentError: (a ValueError) if the class does not exist, or the images do not fit the model.

    Reference:
        K. Simonyan, A. Vedaldi, A. Zisserman: Deep Inside Convolutional Networks: Visualising Image Classification
        Models and Saliency Maps, arXiv 1312.6034, 2013, section 3.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> analysis.saliency(applications.LeNet5(), np.zeros((2, 32, 32, 1))).maps.shape
        (2, 32, 32)
    """
    return _saliency(model, images, target, batch_size, _backward.gradient_rule)


def guided(
    model: keras.Model, images: Images, target: ArrayLike | None = None, batch_size: int | None = None
) -> Saliency:
    """Return the guided gradient of a class's score.

    Each ReLU passes on only the positive part of the signal, and only where the ReLU was active.

    Args:
        model: as in `saliency`, with at least one ReLU. Which layers count as ReLU, and what a slope below zero does,
            is the same as in `DeconvNet`. All other layers, including local response normalization, apply their
            derivative.
        images: float32 array (images, height, width, channels), as the model takes them.
        target: one class number for all images, or one per image. None: the most probable class of each image.
        batch_size: images at a time. None: chosen by the size of the images.

    Returns:
        `Saliency`.

    Raises:
        ArgumentError: (a ValueError) if the class does not exist, the images do not fit the model, or it has no ReLU.

    Reference:
        J. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller: Striving for Simplicity: The All Convolutional Net,
        ICLR workshop 2015, arXiv 1412.6806, section 3.4.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> analysis.guided(applications.NiN(), np.zeros((2, 32, 32, 3)), target=3).gradients.shape
        (2, 32, 32, 3)
    """
    _backward.check_relu(model, "`saliency`")
    return _saliency(model, images, target, batch_size, _backward.guided_rule)


def _saliency(
    model: keras.Model, images: Images, target: ArrayLike | None, batch_size: int | None, rule: _outputs.Visitor
) -> Saliency:
    """Return the gradient that a backward rule for ReLU yields."""
    model = _classes.logits_model(_models.as_float32(model))
    images = _classes.check_images(model, images)

    def logits(batch: Any) -> Any:
        return tree.flatten(_graph.run(model, batch, rule))[0]

    def score(batch: Any, one_hot: Any) -> Any:
        return ops.sum(logits(batch) * one_hot, axis=1)

    batches = _outputs.split_into_batches(images, batch_size, with_gradients=True)
    predicted = np.concatenate([_outputs.as_array(logits(batch)) for batch in batches])
    targets = _classes.resolve_targets(predicted, target)
    one_hot = _outputs.split_into_batches(np.eye(predicted.shape[1], dtype="float32")[targets], len(batches[0]))
    results = [_gradients.gradients(score, *pair) for pair in zip(batches, one_hot, strict=True)]
    return Saliency(
        gradients=np.concatenate([by_pixel for _, (by_pixel, _) in results]),
        targets=targets,
        scores=np.concatenate([scores for scores, _ in results]),
    )
