"""The processes that a benchmark measures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_cnns import _custom, _models, saving, typing
from keras_cnns.data.masks import IGNORE
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError, ArtifactError
from keras_cnns.export import _keras_runner, _runner, inspection
from keras_cnns.export._keras_runner import KERAS
from keras_cnns.export.formats import FORMATS, OUTPUT
from keras_cnns.export.parity import by_class
from keras_cnns.export.runtimes import RuntimeProcess
from keras_cnns.export.sample_images import SampleImages
from keras_cnns.saving import ModelInfo
from keras_cnns.tasks.registry import task_of


class Subject(RuntimeProcess):
    """A process with a model or an artifact that is measured.

    A context manager: the process lives inside the `with` block.

    Args:
        path: the artifact or `.keras` file.
        format: a name of `FORMATS`, or `KERAS`.
        threads: how many the runtime may use; 0: its default.
        name: name in the table.
        bytes: size of the file.
        modules: modules that define layers of a `.keras` file, as `_custom.import_layers` takes them.

    Attributes:
        runtime: usual name of the runtime.
        fixed_batch: the only batch size that it takes; None if it takes any. This and all further attributes are set
            by `load`.
        shape: (height, width, channels) of its images; None where any size is taken.
        normalizes: whether it takes pixels, 0 to 255, and normalizes them itself.
        preprocessing: its `Preprocessing`; None if unknown.
        class_names: its class names; () if unknown.
        is_multi_label: whether an image may have several classes, so that there is no accuracy.
        main: name of the output with the class scores; `OUTPUT` if there is none.
        quantize: a name of `QUANTIZATIONS`; None if unknown.
    """

    def __init__(
        self, path: typing.Path, format: str, threads: int, name: str, bytes: int, modules: Sequence[str] = ()
    ):
        super().__init__(path, format, threads, (_keras_runner if format == KERAS else _runner).__file__)
        self.command += modules
        self.name, self.format, self.bytes = name, format, bytes
        self.runtime = "Keras" if format == KERAS else FORMATS[format].runtime

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer; an ArtifactError names the subject.

        Args:
            **request: as in `RuntimeProcess.ask`.
        """
        try:
            return super().ask(**request)
        except ArtifactError as error:
            cure = (
                "It is loaded in a separate process, which does not know layers that a program defines: put them into "
                "a module"
                if self.format == KERAS
                else "Export the model again"
            )
            raise ArtifactError(
                f"{self.name}: {self.runtime} cannot run it ({error}). {cure}. Received: path={str(self.path)!r}"
            ) from error

    def load(self) -> None:
        """Load the model or artifact, and set the attributes."""
        description = self.ask(do="describe")
        card = description["card"]
        shapes = [tensor["shape"] for tensor in description["inputs"].values()]
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
        self.main = card.get("outputs", list(description["outputs"]))[0]
        self.quantize = card.get("options", {}).get("quantize")

    def batches(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """Return the batch sizes that it is measured with."""
        return (self.fixed_batch,) if self.fixed_batch else wanted

    def as_input(self, images: typing.Pixels) -> np.ndarray:
        """Return uint8 images as it takes them, unchanged or normalized."""
        if self.normalizes:
            return images
        assert self.preprocessing is not None  # an artifact that does not normalize carries its preprocessing
        return np.asarray(self.preprocessing.normalize(images.astype("float32")), "float32")

    def accuracy(self, images: SampleImages) -> float | None:
        """Return the accuracy; None without classes or labels."""
        if images.labels is None or self.main == OUTPUT or self.is_multi_label:
            return None
        outputs = self.run(self.as_input(images.images))[self.main]
        best = by_class(outputs, self.main).argmax(axis=-1)
        if best.shape != images.labels.shape:  # scores of pixels, and labels of images
            return None
        return float((best == images.labels)[images.labels != IGNORE].mean())


class SavedModel(NamedTuple):
    """A model that was saved for the process that measures it.

    Attributes:
        name: name of the model or its file.
        bytes: size of its file.
        modules: modules that the process must import.
        info: the model's record; None if it has none.
    """

    name: str
    bytes: int
    modules: Sequence[str]
    info: ModelInfo | None


def save_for_process(model: keras.Model | typing.Path, info: ModelInfo | None, path: Path) -> SavedModel:
    """Write a model to the file that its process reads.

    Args:
        model: the model, or the path of its `.keras` file.
        info: its record; None: that of the file.
        path: the file to write.
    """
    file = None
    if not isinstance(model, keras.Model):
        file = Path(model)
        model, own_info = saving.load_with_info(file)
        info = info or own_info
    # In float32 and without auxiliary heads, as its artifacts and `evaluate` compute
    main = _models.as_float32(_models.main_output(model))
    task_of(info).check(main)
    record = saving.ModelInfo()
    if info:
        record = saving.ModelInfo(tuple(info.class_names), info.preprocessing, task=info.task)
    saving.save_model(main, path, record)
    name = file.name if file else model.name
    return SavedModel(name, inspection.size(file or path), _custom.modules_of(main), info)


def find_common_input(subjects: Sequence[Subject]) -> tuple[Preprocessing, tuple[str, ...]]:
    """Return the `Preprocessing` and class names that all subjects share.

    Args:
        subjects: loaded subjects.

    Raises:
        ArgumentError: if they take images of different sizes, or have different classes.
    """
    # The size of an artifact decides for a model whose size is free
    first = min(subjects, key=lambda subject: (subject.preprocessing is None, None in subject.shape))
    preprocessing = first.preprocessing or _plain_preprocessing(first)
    named = next((subject for subject in subjects if subject.class_names), first)
    for subject in subjects:
        if any(side not in (None, own) for side, own in zip(subject.shape, preprocessing.shape, strict=True)):
            raise ArgumentError(
                f"all must take images of one size; measure {subject.name}, which takes {_times(subject.shape)} and "
                f"not {_times(preprocessing.shape)} as {first.name}, by itself. Received: path={str(subject.path)!r}"
            )
        # Without class names nothing is known about the classes
        if subject.class_names and tuple(subject.class_names) != tuple(named.class_names):
            raise ArgumentError(
                f"all must have the same classes; measure {subject.name}, whose classes are not those of "
                f"{named.name}, by itself. Received: path={str(subject.path)!r}"
            )
    return preprocessing, named.class_names


def _plain_preprocessing(subject):
    """Return a `Preprocessing` that leaves pixels of 0 to 255 unchanged."""
    *size, channels = subject.shape
    if None in size or channels not in (1, 3):
        raise ArgumentError(
            "without a model, an artifact that carries no preprocessing must take images of a known size, with 1 or 3 "
            f"channels. Received: path={str(subject.path)!r} with images of {_times(subject.shape)}"
        )
    return Preprocessing(size, channels, scale=(1.0,))


def _times(shape):
    return "x".join("?" if side is None else str(side) for side in shape)
