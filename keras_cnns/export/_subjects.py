"""What a benchmark measures: a model or an artifact, in a process of its own."""

from pathlib import Path

import keras
import numpy as np

from keras_cnns import _custom, _models, saving
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, ArtifactError
from keras_cnns.export import _keras_runner, _runner, inspection
from keras_cnns.export._keras_runner import KERAS
from keras_cnns.export.formats import FORMATS, OUTPUT
from keras_cnns.export.parity import by_class
from keras_cnns.export.runtimes import RuntimeProcess


class Subject(RuntimeProcess):
    """What is measured: a model or an artifact, in a process of its own. A context manager.

    Args:
        path, format, threads: as in `RuntimeProcess`; the format may be `KERAS` too.
        name: as the table shows it.
        bytes: of its file.
        modules: that define layers of its own, as `_custom.import_layers` takes them; of `KERAS` alone.

    Attributes, once it is loaded:
        fixed_batch: the only batch size that it takes, None if it takes any.
        shape: (height, width, channels) of its images, None where it takes any.
        normalizes: whether it takes pixels, 0 to 255, and not normalized values.
        preprocessing: its `Preprocessing`, None if it does not say.
        class_names: () if it does not say.
        is_multi_label: whether its classes do not exclude each other, so that it has no accuracy.
        main: name of the output that tells the class, `OUTPUT` if none does.
        quantize: a name of `QUANTIZATIONS`, None if it does not say.
    """

    def __init__(self, path, format, threads, name, bytes, modules=()):
        super().__init__(path, format, threads, (_keras_runner if format == KERAS else _runner).__file__)
        self.command += modules
        self.name, self.format, self.bytes = name, format, bytes
        self.runtime = "Keras" if format == KERAS else FORMATS[format].runtime

    def ask(self, **request):
        """Return the answer to a request; an ArtifactError names the subject."""
        try:
            return super().ask(**request)
        except ArtifactError as error:
            cure = (
                "It is loaded in a process of its own, where layers that a program defines are not known: put them "
                "into a module"
                if self.format == KERAS
                else "Export the model again"
            )
            raise ArtifactError(
                f"{self.name}: {self.runtime} cannot run it ({error}). {cure}. Received: path={str(self.path)!r}"
            ) from error

    def load(self):
        """Load it, and note what it says of itself."""
        found = self.ask(do="describe")
        card, self.outputs = found["card"], list(found["outputs"])
        shapes = [one["shape"] for one in found["inputs"].values()]
        if [len(shape) for shape in shapes] != [4]:
            raise ArgumentError(
                f"an artifact must take one batch of images to be measured. Received: {self.name} with inputs of the "
                f"shapes {shapes}"
            )
        self.fixed_batch, *sides = shapes[0]
        channels_first = card.get("input", {}).get("layout") == "nchw"
        self.shape = (*sides[1:], sides[0]) if channels_first else tuple(sides)
        record = dict(card.get("preprocessing", {}))
        self.normalizes = record.pop("inside", True)
        self.preprocessing = Preprocessing.from_json(record) if record else None
        self.class_names = tuple(card.get("classes", ()))
        self.is_multi_label = card.get("multi_label", False)
        self.main = card.get("outputs", self.outputs)[0]
        self.quantize = card.get("options", {}).get("quantize")

    def batches(self, wanted):
        """Return the batch sizes that it is measured with."""
        return (self.fixed_batch,) if self.fixed_batch else wanted

    def given(self, images):
        """Return what it takes for uint8 images: they themselves, or float32 that is normalized already."""
        return images if self.normalizes else np.float32(self.preprocessing.normalize(images.astype("float32")))

    def accuracy(self, images):
        """Return the share of `Images` that it classifies rightly; None if it has no classes or they no labels."""
        if images.labels is None or self.main == OUTPUT or self.is_multi_label:
            return None
        outputs = self.run(self.given(images.images))[self.main]
        best = by_class(outputs, self.main).argmax(axis=1)
        return float((best == images.labels).mean())


def save_model(model, info, path):
    """Write a model as its process reads it.

    Returns:
        (its name, bytes of its file, modules that its process must import, its record or None).
    """
    file = None
    if not isinstance(model, keras.Model):
        file = Path(model)
        model, own = saving.load_with_info(file)
        info = info or own
    main = _models.as_float32(_models.main_output(model))  # as its artifacts and `evaluate` compute
    _models.one_image_input(main)
    known = (tuple(info.class_names), info.preprocessing) if info else ()
    saving.save_model(main, path, saving.ModelInfo(*known))
    return (file.name if file else model.name), inspection.size(file or path), _custom.modules_of(main), info


def in_common(subjects):
    """Return (`Preprocessing`, class names) of the images that all subjects take.

    Raises:
        ArgumentError: if they take images of different sizes, or tell other classes apart.
    """
    # Where the model is free, an artifact's size decides
    first = min(subjects, key=lambda one: (one.preprocessing is None, None in one.shape))
    preprocessing = first.preprocessing or _plain(first)
    named = next((one for one in subjects if one.class_names), first)
    for one in subjects:
        if any(side not in (None, own) for side, own in zip(one.shape, preprocessing.shape, strict=True)):
            raise ArgumentError(
                f"all must take images of one size; measure {one.name}, which takes {_times(one.shape)} and not "
                f"{_times(preprocessing.shape)} as {first.name}, by itself. Received: path={str(one.path)!r}"
            )
        if not _alike(one.class_names, named.class_names):
            raise ArgumentError(
                f"all must tell the same classes apart; measure {one.name}, whose classes are not those of "
                f"{named.name}, by itself. Received: path={str(one.path)!r}"
            )
    return preprocessing, named.class_names


def _alike(names, others):
    """Return whether class names may mean the same; none say nothing of what a class is."""
    return not names or not others or tuple(names) == tuple(others)


def _plain(subject):
    """Return the record for an artifact that carries none: pixels of 0 to 255 as they are."""
    *size, channels = subject.shape
    if None in size or channels not in (1, 3):
        raise ArgumentError(
            "without a model or a record of its own, an artifact must take images of a known size, with 1 or 3 "
            f"channels. Received: path={str(subject.path)!r} with images of {_times(subject.shape)}"
        )
    return Preprocessing(size, channels, scale=(1.0,))


def _times(shape):
    return "x".join("?" if side is None else str(side) for side in shape)
