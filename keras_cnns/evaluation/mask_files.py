"""Masks that a model predicts for image files."""

from collections.abc import Iterable, Iterator, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.targets import Mask
from keras_cnns.evaluation.crf import CRF
from keras_cnns.evaluation.maps import whole_images
from keras_cnns.evaluation.protocols import Protocol, find_protocol
from keras_cnns.tasks.registry import task_for
from keras_cnns.typing import Path


def predict_masks(
    model: keras.Model,
    paths: Iterable[Path],
    preprocessing: Preprocessing,
    *,
    class_names: Sequence[str] = (),
    protocol: str | Protocol = "center",
    scales: Sequence[int] | None = None,
    crf: CRF | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the class of each pixel of image files.

    Args:
        model: model from images to maps of scores, (batch, height, width, classes).
        paths: paths of the files, of any size and format.
        preprocessing: `Preprocessing` that the model was trained with, which must show whole images.
        class_names: names of the classes, () if unknown.
        protocol: as in `evaluate`: "center", "mirror", "multi-scale", or a `Protocol` of whole images.
        scales: as in `evaluate`.
        crf: as in `evaluate`.

    Yields:
        uint8 (height, width), in the size of each image.

    Raises:
        ArgumentError: if the model does not score pixels, or not these classes, or outputs NaN or infinite values; or
            if the protocol or the preprocessing crops images.
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
    seen = whole_images([predictor], [preprocessing], find_protocol(protocol), scales, crf)
    for path in paths:
        yield seen.mask(read_image(path, preprocessing.channels))
