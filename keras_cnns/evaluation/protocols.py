"""How a network is shown pictures when it is measured."""

import numpy as np

from keras_cnns import _models
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation.metrics import score

BATCH = 256


def evaluate(model, split, preprocessing, class_names, *, batch_size=BATCH, progress=None):
    """Return the `Result` of one view a picture: resized and center-cropped as the record says.

    Args:
        model: functional `keras.Model` from (batch, height, width, channels) to (batch, classes), logits or
            probabilities.
        split: `Split` of a source; every picture counts once, whatever the batch size.
        preprocessing: `Preprocessing` that the model was trained with.
        class_names: of the split's labels, in order.
        batch_size: pictures at a time.
        progress: function from the batches to the same batches, that shows how far one is.

    Raises:
        ArgumentError: if the model's outputs are not as many as the classes.
        SourceError: if a picture cannot be read.
    """
    from keras_cnns.data.pipeline import make_dataset, reading

    model = _models.main_output(model)
    _models.one_image_input(model)
    outputs = model.outputs[0].shape[-1]
    if outputs != len(class_names):
        raise ArgumentError(
            f"{model.name} tells {outputs} classes apart and the pictures have {len(class_names)}; choose the source "
            f"that the model was trained for. Received: class_names={tuple(class_names)[:10]}"
        )
    probabilities, labels = [], []
    with reading(split):
        batches = make_dataset(split, preprocessing, batch_size)
        for images, truth in progress(batches) if progress else batches:
            probabilities.append(_models.to_probabilities(model, model.predict_on_batch(np.asarray(images))))
            labels.append(truth.numpy())
    return score(np.concatenate(probabilities), np.concatenate(labels), class_names)


def draw_predictions(model, split, preprocessing, class_names, path, title, *, count=40):
    """Draw pictures spread over a split, each with its predicted class and the probability; errors in red.

    Args:
        model, split, preprocessing, class_names: as in `evaluate`.
        path: PNG file to write.
        title: above the picture.
        count: how many pictures, at most.
    """
    from keras_cnns import _render
    from keras_cnns.data.pipeline import read_pixels

    model = _models.main_output(model)
    images, labels = read_pixels(split.sample(count), preprocessing)
    probabilities = _models.to_probabilities(model, _models.predict_pixels(model, images, preprocessing))
    _render.prediction_grid(images, labels, probabilities, class_names, path, title)


def predict_pictures(model, paths, preprocessing, *, batch_size=BATCH):
    """Return the probabilities (pictures, classes), float32, for picture files of any size and format.

    Raises:
        ArgumentError: if the model gives values that are not finite.
        SourceError: naming the first file that cannot be read; nothing is predicted then.
    """
    from keras_cnns.data.pictures import read_picture
    from keras_cnns.data.pipeline import prepare

    model = _models.main_output(model)
    _models.one_image_input(model)
    images = np.stack([prepare(read_picture(path, preprocessing.channels), preprocessing) for path in paths])
    probabilities = _models.to_probabilities(model, _models.predict_pixels(model, images, preprocessing, batch_size))
    if not np.isfinite(probabilities).all():
        raise ArgumentError(f"{model.name} gives values that are not finite (NaN or infinity); train it again.")
    return probabilities
