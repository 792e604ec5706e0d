"""Which pixels the score of a class hangs on: its gradient, as it is or guided through the ReLUs."""

import dataclasses

import numpy as np
from keras import ops, tree

from keras_cnns import _graph, _models
from keras_cnns.analysis import _backward, _classes, _gradients, _outputs
from keras_cnns.analysis.activations import in_batches


@dataclasses.dataclass(frozen=True, eq=False)
class Saliency:
    """The gradient of a class's score in each image.

    Attributes:
        gradients: float32 (images, height, width, channels), of the score with respect to each value of an image.
        targets: int64 (images,), the class that each image was asked about.
        scores: float32 (images,), its logit.
    """

    gradients: np.ndarray
    targets: np.ndarray
    scores: np.ndarray

    @property
    def maps(self):
        """float32 (images, height, width): of the absolute values of a pixel's channels the largest."""
        return np.abs(self.gradients).max(axis=-1)


def saliency(model, images, target=None, batch_size=None):
    """Return the gradient of a class's score, the logit before the softmax, with respect to the pixels.

    Args:
        model: functional or sequential `keras.Model` from images (batch, height, width, channels) to classes.
        images: float32 array (images, height, width, channels), as the model takes them.
        target: a class number for all images, or one for each. None: the most probable of each.
        batch_size: images at a time. None: many small ones, few large ones.

    Returns:
        `Saliency`.

    Raises:
        ArgumentError: (a ValueError) if the class does not exist, or the images do not fit the model.

    Reference:
        K. Simonyan, A. Vedaldi, A. Zisserman: Deep Inside Convolutional Networks: Visualising Image Classification
        Models and Saliency Maps, arXiv 1312.6034, 2013, section 3.
    """
    return _saliency(model, images, target, batch_size, _backward.derivative)


def guided(model, images, target=None, batch_size=None):
    """Return the guided gradient: at each ReLU only what is positive goes on, and only where the ReLU was active.

    Args:
        model: as in `saliency`, with at least one ReLU. Which layers count as such, and what a slope below zero does,
            is as in `DeconvNet`; at all other layers the signal follows the gradient, at response normalization too.
        images, target, batch_size: as in `saliency`.

    Returns:
        `Saliency`.

    Raises:
        ArgumentError: (a ValueError) as `saliency`, and if the model has no ReLU.

    Reference:
        J. Springenberg, A. Dosovitskiy, T. Brox, M. Riedmiller: Striving for Simplicity: The All Convolutional Net,
        ICLR workshop 2015, arXiv 1412.6806, section 3.4.
    """
    _backward.check_relu(model, "`saliency`")
    return _saliency(model, images, target, batch_size, _backward.guided)


def _saliency(model, images, target, batch_size, visit):
    model = _classes.classifier(_models.as_float32(model))
    images = _classes.check_images(model, images)

    def logits(batch):
        return tree.flatten(_graph.run(model, batch, visit))[0]

    def score(batch, chosen):
        return ops.sum(logits(batch) * chosen, axis=1)

    batches = in_batches(images, batch_size, gradients=True)
    predicted = np.concatenate([_outputs.as_array(logits(batch)) for batch in batches])
    targets = _classes.targets_of(predicted, target)
    wanted = in_batches(np.eye(predicted.shape[1], dtype="float32")[targets], len(batches[0]))
    found = [_gradients.gradients(score, *pair) for pair in zip(batches, wanted, strict=True)]
    return Saliency(
        gradients=np.concatenate([by_pixel for _, (by_pixel, _) in found]),
        targets=targets,
        scores=np.concatenate([scores for scores, _ in found]),
    )
