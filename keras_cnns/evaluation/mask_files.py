"""Masks of image files."""

from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.targets import Mask
from keras_cnns.evaluation._streams import need_whole_images, stretched
from keras_cnns.tasks.registry import task_for
from keras_cnns.tasks.task import Predictor, check_finite
from keras_cnns.typing import Path


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
        ArgumentError: if the preprocessing crops images, or the model outputs NaN or infinite values.
    """
    from keras_cnns.data.image_reader import prepare

    need_whole_images(preprocessing)
    pixels = np.asarray(prepare(image, preprocessing), "float32")[None]
    (probabilities,) = predictor(preprocessing.normalize(pixels))
    check_finite(probabilities, predictor.model.name)
    return stretched(probabilities, image.shape[:2]).argmax(-1).astype("uint8")
