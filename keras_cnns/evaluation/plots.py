"""What a measurement looks like: images with their predictions, and curves."""

from pathlib import Path

import numpy as np

from keras_cnns import _files, _models, _render


def draw_predictions(model, split, preprocessing, class_names, path, title, *, count=40):
    """Draw images spread over a split, each with its predicted class and the probability; errors in red.

    Args:
        model, split, preprocessing, class_names: as in `evaluate`.
        path: PNG file to write.
        title: above the image.
        count: how many images, at most.
    """
    from keras_cnns.data.pipeline import read_pixels

    model = _models.as_classifier(model, class_names)
    images, labels = read_pixels(split.sample(count), preprocessing)
    probabilities = _models.to_probabilities(model, _models.predict_pixels(model, images, preprocessing))
    _render.prediction_grid(images, labels, probabilities, class_names, path, title)


def draw_mistakes(probabilities, labels, split, preprocessing, class_names, path, title, *, count=40):
    """Draw the images whose own class got the lowest probability, of those that were taken for another; worst first.

    Args:
        probabilities, labels: what `predict_split` returned for the split.
        split, preprocessing, class_names: as in `evaluate`.
        path: PNG file to write. Without a mistake nothing is written.
        title: above the image.
        count: how many images, at most.

    Returns:
        Whether there was a mistake.
    """
    own = np.where(probabilities.argmax(1) == labels, np.inf, probabilities[np.arange(len(labels)), labels])
    worst = np.argsort(own, kind="stable")[: min(count, int(np.isfinite(own).sum()))]
    if len(worst):
        images = _images_at(split, worst, preprocessing)
        _render.prediction_grid(images, labels[worst], probabilities[worst], class_names, path, title)
    return bool(len(worst))


def draw_result(result, folder, title):
    """Draw a `Result` into a folder: confusion.png and reliability.png.

    Raises:
        OutputError: if they cannot be written.
    """
    folder = Path(folder)
    _files.make_folder(folder)
    _render.confusion_matrix(result.confusion, list(result.per_class), folder / "confusion.png", title)
    _render.reliability(result.reliability, result.calibration_error, folder / "reliability.png", title)


def _images_at(split, places, preprocessing):
    """Return the uint8 images at some places of a split, in the order of `places`."""
    from keras_cnns.data.pipeline import make_dataset, read_pixels, reading

    if split.labels is not None:
        return read_pixels(split.take(places), preprocessing)[0]
    found, start = {}, 0  # only the data set itself knows what comes when
    with reading(split):
        for images, _ in make_dataset(split, preprocessing, 256, normalize=False):
            here = places[(places >= start) & (places < start + len(images))]
            found |= {place: images[place - start].numpy() for place in here.tolist()}
            start += len(images)
    return np.stack([found[place] for place in places.tolist()])
