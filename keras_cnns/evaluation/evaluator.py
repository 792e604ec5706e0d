"""How well models do on a split, and what they say of image files."""

import numpy as np

from keras_cnns import _models
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation._views import views_dataset, whole_dataset
from keras_cnns.evaluation.dense import dense_model
from keras_cnns.evaluation.metrics import check_examples, score
from keras_cnns.evaluation.protocols import find_protocol, shorter_sides


def evaluate(
    model, split, preprocessing, class_names, *, protocol="center", scales=None, batch_size=None, progress=None
):
    """Return the `Result` of a model, or of several whose probabilities are averaged.

    A model that was trained in mixed precision computes in float32 here, as its exports do, so that every processor
    gives the same numbers, and those without bfloat16 are not slow.

    Args:
        model: functional or sequential `keras.Model` from (batch, height, width, channels) to (batch, classes), logits
            or probabilities; of two classes also to (batch, 1), the second one's; or a list of such models.
        split: `Split` of a source; every image counts once, whatever the batch size.
        preprocessing: `Preprocessing` that the model was trained with; of several models a list.
        class_names: of the model, in the order of its outputs, as `ModelInfo.class_names`. Where the split knows its
            own (`Split.class_names`, as those of a `Source` do), its labels are matched to these by name; a split that
            does not is taken to have these.
        protocol: which views of an image are shown: "center" (one, resized and cropped as the record says),
            "ten-crop", "144-crop", "dense", or a `Protocol`.
        scales: shorter sides in pixels that images are resized to, in place of the protocol's own; the
            probabilities of several are averaged.
        batch_size: views at a time; None: as many as suit the input's size.
        progress: function from the batches to the same batches, that shows how far one is.

    Raises:
        ArgumentError: (a ValueError) if a model's outputs are not as many as the classes, or are several sigmoids
            (multi-label), the split is empty or has a class that is not among them, a scale is smaller than the input,
            or a model cannot be made dense.
        SourceError: if an image cannot be read.
    """
    options = {"protocol": protocol, "scales": scales, "batch_size": batch_size, "progress": progress}
    several = isinstance(model, list | tuple)
    classifiers = [check_outputs(member, class_names) for member in (model if several else [model])]
    split = split.with_classes(class_names)
    found = predict_split(classifiers if several else classifiers[0], split, preprocessing, **options)
    return score(*found, class_names)


def check_outputs(model, class_names):
    """Return a model as `_models.as_classifier` does, if it tells as many classes apart as there are names.

    Raises:
        ArgumentError: if it does not, or is no classifier.
    """
    main = _models.as_classifier(model, class_names)
    outputs = main.outputs[0].shape[-1]
    if outputs != len(class_names):
        raise ArgumentError(
            f"{main.name} tells {outputs} classes apart and the images have {len(class_names)}; choose the source "
            f"that the model was trained for. Received: class_names={tuple(class_names)[:10]}"
        )
    return main


def predict_split(model, split, preprocessing, *, protocol="center", scales=None, batch_size=None, progress=None):
    """Return (probabilities, labels) of a split: float32 (images, classes) and int64 (images,), in its order.

    A model computes in float32, whatever it was trained in. Of each image the probabilities are the mean over its
    views; of a dense view they are the softmax of the mean over the map of logits.

    Args, Raises: as in `evaluate`; without class names, one output must be a sigmoid.
    """
    several = isinstance(model, list | tuple)
    models, records = (model, preprocessing) if several else ([model], [preprocessing])
    if not several or not isinstance(preprocessing, list | tuple):
        records = [preprocessing] * len(models)
    if not models or len(records) != len(models):
        raise ArgumentError(
            f"`preprocessing` must be one record for all models, or one for each. Received: {len(records)} for "
            f"{len(models)} models"
        )
    check_examples(split.examples)
    protocol, total = find_protocol(protocol), 0
    for one, record in zip(models, records, strict=True):
        one = _models.as_float32(_models.as_classifier(one))
        probabilities, labels = _predict(one, split, record, protocol, scales, batch_size, progress or iter)
        total = total + probabilities / len(models)
    return np.asarray(total, "float32"), labels


def _predict(model, split, preprocessing, protocol, scales, batch_size, progress):
    from keras_cnns.data.pipeline import make_dataset, reading

    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    sides = shorter_sides(protocol, preprocessing.size, preprocessing.shorter_side, scales)
    with reading(split):
        if protocol.dense:
            return _predict_whole(model, split, preprocessing, protocol, sides, batch_size, progress)
        if sides == [None]:
            batches = make_dataset(split, preprocessing, batch_size)
            return _collected(
                batches, lambda images: _models.to_probabilities(model, model.predict_on_batch(images)), progress
            )
        views = protocol.views(len(sides))
        batches = views_dataset(split, preprocessing, protocol, scales, max(1, batch_size // views))

        def probabilities(images):
            parts = (images[k : k + batch_size] for k in range(0, len(images), batch_size))
            every = np.concatenate([_models.to_probabilities(model, model.predict_on_batch(part)) for part in parts])
            return every.reshape(-1, views, every.shape[-1]).mean(1)

        return _collected(batches, probabilities, progress)


def _predict_whole(model, split, preprocessing, protocol, sides, batch_size, progress):
    """Return (probabilities, labels) of a network that is applied to whole images, scale by scale."""
    if preprocessing.arrays():
        raise ArgumentError(
            f"{model.name}: its preprocessing was fitted pixel by pixel, for images of one size, so that it cannot "
            f"see whole images; take crops. Received: protocol={protocol.name!r}"
        )
    dense, total = dense_model(model), 0

    def probabilities(images):
        shown = [images, images[:, :, ::-1]] if protocol.mirror else [images]
        maps = (np.asarray(dense.predict_on_batch(view), "float32") for view in shown)
        return np.mean([_models.softmax(one.mean((1, 2))) for one in maps], axis=0)

    for side in sides:
        area = (side / min(preprocessing.size)) ** 2
        batches = whole_dataset(split, preprocessing, side, max(1, int(batch_size / area / 2)))
        found, labels = _collected(batches, probabilities, progress)
        total = total + found / len(sides)
    return total, labels


def _collected(batches, probabilities, progress):
    found, labels = [], []
    for images, truth in progress(batches):
        found.append(probabilities(np.asarray(images)))
        labels.append(np.asarray(truth))
    return np.concatenate(found), np.concatenate(labels)


def predict_images(model, paths, preprocessing, *, batch_size=None, class_names=()):
    """Return the probabilities (images, classes), float32, for image files of any size and format.

    Args:
        model: as in `evaluate`.
        paths: of the files.
        preprocessing: `Preprocessing` that the model was trained with.
        batch_size: images at a time; None: as many as suit the input's size.
        class_names: of the model, () if unknown; two of them make one output without an activation a logit.

    Raises:
        ArgumentError: if the model tells no classes apart, or gives values that are not finite.
        SourceError: naming the first file that cannot be read; nothing is predicted then.
    """
    from keras_cnns.data.pipeline import read_files

    model = _models.as_float32(_models.as_classifier(model, class_names))
    batch_size = batch_size or _models.batch_size_for(*preprocessing.size)
    images = read_files(paths, preprocessing)
    probabilities = _models.to_probabilities(model, _models.predict_pixels(model, images, preprocessing, batch_size))
    if not np.isfinite(probabilities).all():
        raise ArgumentError(f"{model.name} gives values that are not finite (NaN or infinity); train it again.")
    return probabilities
