"""Plots of an evaluation: images with their predictions, and curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns import _models, _render, typing
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.evaluation.maps import WholeImages, whole_images
from keras_cnns.evaluation.objects import detect
from keras_cnns.evaluation.protocols import PROTOCOLS
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.registry import task_for
from keras_cnns.tasks.task import Predictor, Result

if TYPE_CHECKING:
    from keras_cnns.data.splits import Split

MOST_MASKS = 8  # images whose masks or objects are drawn
LEAST_SCORE = 0.3  # of objects that are drawn


def draw_predictions(
    model: keras.Model,
    split: "Split",
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    path: typing.Path,
    title: str,
    *,
    count: int = 40,
) -> None:
    """Draw images of a split with their predicted classes; errors in red.

    The images are spread over the split. Each has its predicted class and the probability of that class. Where the
    classes are those of pixels, its mask and the predicted mask stand beside it.

    Args:
        model: as in `evaluate`; one model.
        split: `Split`.
        preprocessing: `Preprocessing` that the model was trained with.
        class_names: names of the classes, in the order of the model's outputs.
        path: PNG file to write.
        title: title of the plot.
        count: largest number of images; of those with masks at most 8 are drawn.

    Examples:
        >>> import os
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> split = data.open_source("digits").split("test").sample(8)
        >>> evaluation.draw_predictions(model, split, info.preprocessing, info.class_names, "digits.png", "Digits")
        >>> os.listdir()
        ['digits.png']
    """
    from keras_cnns.data.pipeline import read_pixels

    if task_for(split.target).scored == "object":
        predictor = task_for(split.target).predictor(model, class_names)
        draw_objects(predictor, split.sample(min(count, MOST_MASKS)), preprocessing, class_names, path, title)
        return
    if split.target.at_own_size:
        predictor = task_for(split.target).predictor(model, class_names)
        seen = whole_images([predictor], [preprocessing], PROTOCOLS["center"])
        draw_masks(seen, split.sample(min(count, MOST_MASKS)), class_names, path, title)
        return
    model = classifiers.as_classifier(model, class_names)
    images, labels = read_pixels(split.sample(count), preprocessing)
    probabilities = classifiers.to_probabilities(model, _models.predict_pixels(model, images, preprocessing))
    _render.prediction_grid(images, labels, probabilities, class_names, path, title)


def draw_masks(
    seen: WholeImages,
    split: "Split",
    class_names: Sequence[str],
    path: typing.Path,
    title: str,
    *,
    places: Sequence[int] | None = None,
) -> None:
    """Draw images of a split with their masks and the predicted ones.

    Args:
        seen: how models see the images.
        split: `Split` with masks.
        class_names: names of the classes, in the order of the models' outputs.
        path: PNG file to write.
        title: title of the plot.
        places: which images, in this order; None: all of the split.
    """
    import tensorflow as tf

    from keras_cnns.data.masks import colors
    from keras_cnns.data.read_errors import reading

    def show(place, element):
        image = split.decode(element[0], seen.views[0][1].channels)
        return place, image, split.read_target(element[1], tf.shape(image)[:2])

    elements = split.elements().enumerate()
    if places is not None:
        elements = elements.filter(lambda place, element: tf.reduce_any(place == tf.constant(places, tf.int64)))
    with reading(split):
        found = {int(place): (image.numpy(), mask.numpy()) for place, image, mask in elements.map(show)}
    images, masks = zip(*(found[place] for place in places or found), strict=True)
    predicted = [seen.mask(image) for image in images]
    _render.mask_grid(images, masks, predicted, class_names, colors(len(class_names)), path, title)


def draw_objects(
    predictor: Predictor,
    split: "Split",
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    path: typing.Path,
    title: str,
    least_score: float = LEAST_SCORE,
) -> None:
    """Draw images of a split with their objects, and with those found.

    Args:
        predictor: of the model.
        split: `Split` with boxes.
        preprocessing: `Preprocessing` that the model was trained with.
        class_names: names of the classes, in the order of the model's outputs.
        path: PNG file to write.
        title: title of the plot.
        least_score: objects of a lower score are not drawn.
    """
    import tensorflow as tf

    from keras_cnns.data.read_errors import reading

    def show(element, target):
        image = split.decode(element, preprocessing.channels)
        return image, split.target.finish(split.read_target(target, tf.shape(image)[:2]))

    with reading(split):
        pairs = list(split.elements().map(show).as_numpy_iterator())
    images = [image for image, _ in pairs]
    found = [each.above(least_score) for image in images for each in detect(predictor, [image], preprocessing)]
    objects = [(target["boxes"], target["labels"]) for _, target in pairs]
    title = f"{title}\nobjects found with a score of at least {least_score:g}"
    _render.box_grid(images, objects, [(each.boxes, each.labels) for each in found], class_names, path, title)


def draw_mistakes(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    split: "Split",
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    path: typing.Path,
    title: str,
    *,
    count: int = 40,
) -> bool:
    """Draw the misclassified images of a split, worst first.

    The worst is the one whose true class has the lowest probability.

    Args:
        probabilities: float32 (images, classes), as `predict_split` returned them for the split.
        labels: int64 (images,), as `predict_split` returned them.
        split: `Split`.
        preprocessing: `Preprocessing` that the model was trained with.
        class_names: names of the classes, in the order of the model's outputs.
        path: PNG file to write. Without mistakes nothing is written.
        title: title of the plot.
        count: largest number of images.

    Returns:
        Whether there was a mistake.

    Examples:
        >>> from keras_cnns import applications, data, evaluation
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> split, records = data.open_source("digits").split("test"), (info.preprocessing, info.class_names)
        >>> probabilities, labels = evaluation.predict_split(model, split, info.preprocessing)
        >>> evaluation.draw_mistakes(probabilities, labels, split, *records, "mistakes.png", "Digits")
        True
    """
    true_class = probabilities[np.arange(len(labels)), labels]
    scores = np.where(probabilities.argmax(1) == labels, np.inf, true_class)
    worst = np.argsort(scores, kind="stable")[: min(count, int(np.isfinite(scores).sum()))]
    if len(worst):
        images = _images_at(split, worst, preprocessing)
        _render.prediction_grid(images, labels[worst], probabilities[worst], class_names, path, title)
    return bool(len(worst))


def draw_result(result: Result, folder: typing.Path, title: str) -> None:
    """Draw a result; for classes, the confusion matrix and the reliability curve.

    Args:
        result: `Result`.
        folder: folder for the PNG files, such as confusion.png and reliability.png; made if it does not exist.
        title: title of both plots.

    Raises:
        OutputError: if they cannot be written.

    Examples:
        >>> import os
        >>> from keras_cnns import evaluation
        >>> result = evaluation.score([[0.9, 0.1], [0.4, 0.6]], [0, 0], ["cat", "dog"])
        >>> evaluation.draw_result(result, "evaluation/", "Cats and dogs")
        >>> sorted(os.listdir("evaluation"))
        ['confusion.png', 'reliability.png']
    """
    result.draw(folder, title)


def _images_at(split: "Split", places: NDArray[np.int64], preprocessing: Preprocessing) -> typing.Pixels:
    """Return the uint8 images at indices of a split, in their order."""
    from keras_cnns.data.pipeline import make_dataset, read_pixels, reading
    from keras_cnns.data.splits import LabeledSplit

    if isinstance(split, LabeledSplit):
        return read_pixels(split.take(places), preprocessing)[0]
    # A dataset without labels in memory cannot be indexed, so that all of it is read
    images_by_place: dict[int, NDArray[np.uint8]] = {}
    start = 0
    with reading(split):
        for images, _ in make_dataset(split, preprocessing, 256, normalize=False):
            here = places[(places >= start) & (places < start + len(images))]
            images_by_place |= {place: images[place - start].numpy() for place in here.tolist()}
            start += len(images)
    return np.stack([images_by_place[place] for place in places.tolist()])
