"""Objects that a model finds in images, in the images' own pixels."""

# TensorFlow is imported inside the functions, so that importing this module does not load it

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns import _models
from keras_cnns.data.box_target import Boxes
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.tasks.boxes import Detections
from keras_cnns.tasks.registry import task_for
from keras_cnns.tasks.task import Predictor
from keras_cnns.typing import Path, Progress, Size

if TYPE_CHECKING:
    from keras_cnns.data.splits import Split


def predict_objects(
    model: keras.Model, paths: Iterable[Path], preprocessing: Preprocessing, *, class_names: Sequence[str] = ()
) -> Iterator[Detections]:
    """Yield the objects that a model finds in image files.

    Args:
        model: model with the outputs "boxes" (batch, n, 4) and "scores" (batch, n, classes).
        paths: paths of the files, of any size and format.
        preprocessing: `Preprocessing` that the model was trained with.
        class_names: names of the classes, () if unknown.

    Yields:
        `tasks.Detections` of each image: boxes in pixels of the image, numbers of classes, and scores, best first.

    Raises:
        ArgumentError: if the model finds no boxes, or not these classes.
        SourceError: naming the file that cannot be read.

    Examples:
        >>> import keras
        >>> from keras_cnns import applications, data, evaluation
        >>> model = applications.SSD(input_shape=(64, 64, 3), classes=3)
        >>> keras.utils.save_img("scene.png", data.make_scenes(1).images[0])
        >>> found = next(evaluation.predict_objects(model, ["scene.png"], data.Preprocessing((64, 64))))
        >>> found.boxes.shape[1], len(found.scores) == len(found.labels)
        (4, True)
    """
    from keras_cnns.data.image_files import read_image

    predictor = task_for(Boxes()).predictor(model, class_names)
    for path in paths:
        yield from detect(predictor, [read_image(path, preprocessing.channels)], preprocessing)


def detect(predictor: Predictor, images: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing) -> list[Detections]:
    """Return the objects that a model finds in images.

    Args:
        predictor: of the model.
        images: uint8 (height, width, channels) of each, of any size.
        preprocessing: `Preprocessing` that the model was trained with.

    Returns:
        For each image its `Detections`, whose boxes are in pixels of the image and cut at its border.
    """
    from keras_cnns.data.image_reader import prepare

    shown = [preprocessing.normalize(np.asarray(prepare(image, preprocessing), "float32")) for image in images]
    found = predictor(np.stack(shown))
    sizes = [(image.shape[0], image.shape[1]) for image in images]
    return [in_image(of_image, size, preprocessing) for of_image, size in zip(found, sizes, strict=True)]


def detect_split(
    predictor: Predictor, split: "Split", preprocessing: Preprocessing, batch_size: int | None, progress: Progress
) -> Iterator[tuple[list[Detections], list[dict[str, Any]]]]:
    """Yield what is found in a split's images, and their objects.

    Args:
        predictor: of the model.
        split: `Split` whose images have objects.
        preprocessing: `Preprocessing` that the model was trained with.
        batch_size: images that the model sees at once; None: a number that suits the input size.
        progress: function that yields the images it is given, and shows the progress.
    """
    from keras_cnns.evaluation._views import own_size_dataset

    together = batch_size or _models.batch_size_for(*preprocessing.size)
    images = iter(progress(own_size_dataset(split, [preprocessing])))
    while batch := list(itertools.islice(images, together)):
        outputs = predictor(np.stack([shown for (shown,), *_ in batch]))
        sizes = [tuple(image.shape[:2]) for _, image, _ in batch]
        found = [in_image(of_image, size, preprocessing) for of_image, size in zip(outputs, sizes, strict=True)]
        targets = [keras.tree.map_structure(np.asarray, split.target.finish(rows)) for *_, rows in batch]
        yield found, targets


def in_image(found: Detections, size: Size, preprocessing: Preprocessing) -> Detections:
    """Return detections in pixels of the image, instead of the input.

    Args:
        found: what a model finds in its input.
        size: (height, width) of the image.
        preprocessing: `Preprocessing` that made the input of the image.
    """
    from keras_cnns.data.image_reader import view_of

    boxes = view_of(np.empty((*size, 0)), preprocessing).back(found.boxes)
    return dataclasses.replace(found, boxes=np.clip(boxes, 0, np.array([*size, *size], "float32")))
