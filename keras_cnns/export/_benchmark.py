"""A model and its artifacts side by side: size, memory, accuracy, and how long a call takes."""

import contextlib
import dataclasses
import os
import random
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_cnns import _models
from keras_cnns._deprecated import renamed
from keras_cnns._machine import processor
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.export import inspection
from keras_cnns.export._keras_runner import KERAS
from keras_cnns.export._subjects import Subject, in_common, save_model
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.options import Options
from keras_cnns.export.quantization import choose_calibration
from keras_cnns.export.runtimes import format_of_existing
from keras_cnns.export.sample_images import choose_images

WARM_UP = 1  # calls before each that counts: they lay out memory for another batch size, and fill caches
REST = 0.05  # seconds before a subject's turn: threads of ONNX Runtime spin on after a call, and would slow the next
SAY_EVERY = 10  # seconds


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long calls with one batch size took.

    Attributes:
        batch: images a call.
        median: seconds of a call.
        p90: seconds that nine of ten calls stayed below.
        throughput: images a second, by the median.
    """

    batch: int
    median: float
    p90: float
    throughput: float


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of one subject.

    Attributes:
        name: of the model, or the artifact's file name.
        runtime: that ran it, as people call it.
        quantize: a name of `QUANTIZATIONS`; None if the artifact does not say.
        bytes: of the file or folder; of a model in memory, of the `.keras` file that it gives.
        peak_memory: bytes, the most that its process held while it loaded and was timed.
        accuracy: share of images rightly classified; None without labels, and for what is no classifier.
        fixed_batch: the only batch size that it takes, None if it takes any.
        timings: a `Timing` for each batch size.
    """

    name: str
    runtime: str
    quantize: str | None
    bytes: int
    peak_memory: int
    accuracy: float | None
    fixed_batch: int | None
    timings: tuple[Timing, ...]

    def timing(self, batch):
        """Return the `Timing` of a batch size, None if it was not measured."""
        return next((one for one in self.timings if one.batch == batch), None)


@renamed(pictures="images")
@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What was measured, on what and where.

    Attributes:
        images: on which, in words.
        examples: how many the accuracy was measured on.
        threads: of each runtime, 0: its own choice.
        rounds: calls of each batch size that count.
        machine: cores and processor.
        versions: of the packages that ran.
        rows: tuple of `Row`, the model's first, then one an artifact.
    """

    images: str
    examples: int
    threads: int
    rounds: int
    machine: str
    versions: Mapping
    rows: tuple[Row, ...]

    def to_json(self):
        """Return a dictionary of JSON values."""
        return dataclasses.asdict(self)


def benchmark(
    model,
    artifacts,
    source=None,
    *,
    info=None,
    batches=(1, 32),
    threads=0,
    rounds=20,
    data_dir=None,
    progress=None,
):
    """Measure a model and artifacts, each run by its own runtime in a process of its own, on the processor.

    All processes live at once, and in each round every one of them, in an order drawn anew, is asked for one call of
    each batch size: so what else the machine does hits all alike. A call takes pixels and gives outputs; that of Keras,
    on TensorFlow, is `predict_on_batch` with NumPy's normalization before it. Layers that are neither Keras's nor this
    package's must be defined in a module, which the process imports. An artifact without preprocessing gets its values
    normalized, which is not measured; one that another program wrote gets the pixels, 0 to 255, as they are.

    Args:
        model: functional or sequential `keras.Model`, or the path of a `.keras` file, or None: artifacts alone.
        artifacts: their paths; the suffix tells the format.
        source: of the images, as `data.open_source` takes it; None: those that the model was tested on, or some of
            scikit-learn's, which have no labels that the model knows.
        info: the model's `ModelInfo`, or anything else with `class_names`, `preprocessing` and `data`; None: of a file,
            what it carries.
        batches: images a call, several numbers. An artifact of a fixed batch size is measured with that one only.
        threads: of each runtime; 0: its own choice.
        rounds: calls of each batch size that count.
        data_dir: for tensorflow-datasets.
        progress: function called with a line of text now and then.

    Returns:
        `Benchmark`.

    Raises:
        ArgumentError: for arguments that cannot be used, and subjects that cannot be compared.
        SourceError: if images cannot be read.
        ModelFileError: if the model's file cannot be read.
        ArtifactError: if a runtime refuses its artifact, or dies of it.
        ModuleNotFoundError: if a runtime is not installed.
    """
    say = progress or (lambda text: None)
    batches = _whole_numbers(batches, threads, rounds)
    paths = [Path(path) for path in ([artifacts] if isinstance(artifacts, (str, os.PathLike)) else artifacts)]
    formats = [format_of_existing(path) for path in paths]
    if model is None and not paths:
        raise ArgumentError(
            "there is nothing to measure: give a model or artifacts. Received: model=None, artifacts=[]"
        )
    alike = len({path.name for path in paths}) < len(paths)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_cnns-")))
        subjects = []
        if model is not None:
            name, size, modules, info = save_model(model, info, folder / "model.keras")
            subjects.append(Subject(folder / "model.keras", KERAS, threads, name, size, modules))
        for path, format in zip(paths, formats, strict=True):
            name = str(path) if alike else path.name
            subjects.append(Subject(path, format, threads, name, inspection.size(path)))
        for one in subjects:
            stack.enter_context(one)
        for one in subjects:
            say(f"loading {one.name} with {one.runtime}")
            one.load()
        preprocessing, class_names = in_common(subjects)
        images = choose_images(preprocessing, info, source, data_dir, class_names, say=say)
        seconds = _measure(subjects, images.images, batches, rounds, folder, say)
        memory = [one.ask(do="memory")["bytes"] for one in subjects]  # before other batch sizes than those asked for
        rows = []
        for one, peak in zip(subjects, memory, strict=True):
            say(f"running {one.name} on {images.description}")
            timings = tuple(_timing(batch, seconds[one, batch]) for batch in one.batches(batches))
            accuracy = one.accuracy(images)
            rows.append(Row(one.name, one.runtime, one.quantize, one.bytes, peak, accuracy, one.fixed_batch, timings))
    return Benchmark(
        images=images.description,
        examples=len(images.images),
        threads=threads,
        rounds=rounds,
        machine=_machine(),
        versions=_versions(subjects),
        rows=tuple(rows),
    )


def export_usual(model, folder, info=None, *, stem=None, data_dir=None, progress=None):
    """Export a model as people compare it: every format in float32, and int8 if there are images to fit it on.

    Args:
        model, info, stem, progress: as in `export_model`.
        folder: to write into.
        data_dir: for tensorflow-datasets.

    Returns:
        The artifacts' paths.

    Raises:
        As `export_model`.
    """
    from keras_cnns.export.exporter import export_model

    say = progress or (lambda text: None)
    plain, whole = Options(verify=False), Options(quantize="int8", verify=False, data_dir=data_dir)
    shared = {"info": info, "stem": stem, "progress": progress}
    made = [*export_model(model, folder, FORMATS, plain, **shared).artifacts]
    names = tuple(info.class_names) if info else ()
    preprocessing = (info and info.preprocessing) or _models.plain_preprocessing(model)
    try:
        found = choose_calibration(whole, preprocessing, info, names)
    except (ArgumentError, SourceError) as error:
        say(f"without int8: {error}")
    else:
        whole = dataclasses.replace(whole, calibration=found.images)
        able = [one.name for one in FORMATS.values() if "int8" in one.quantize]
        made += export_model(model, folder, able, whole, **shared).artifacts
    return [one.path for one in made]


def _whole_numbers(batches, threads, rounds):
    """Return the batch sizes as a tuple, each once; raise ArgumentError for numbers that cannot be used."""
    batches = tuple(dict.fromkeys([batches] if isinstance(batches, int) else batches))
    if not batches:
        raise ArgumentError("`batches` must name a batch size at least. Received: batches=()")
    for name, values, least in (("batches", batches, 1), ("threads", (threads,), 0), ("rounds", (rounds,), 1)):
        for value in values:
            if not isinstance(value, int) or value < least:
                raise ArgumentError(f"`{name}` must be whole, of at least {least}. Received: {name}={value!r}")
    return batches


def _measure(subjects, images, batches, rounds, folder, say):
    """Return the seconds of each round: {(subject, batch size): [...]}."""
    files, seconds = {}, {}
    for k, one in enumerate(subjects):
        for batch in one.batches(batches):
            files[one, batch] = folder / f"{k}-{batch}.npy"
            np.save(files[one, batch], one.given(images[np.arange(batch) % len(images)]))
            seconds[one, batch] = []
    say(f"measuring {rounds} rounds of one call each")
    order, said = random.Random(0), time.monotonic()
    for k in range(-1, rounds):  # the first one compiles
        if time.monotonic() - said > SAY_EVERY:
            say(f"round {k + 1} of {rounds}")
            said = time.monotonic()
        for one in order.sample(subjects, len(subjects)):
            time.sleep(REST)
            for batch in one.batches(batches):
                found = one.ask(do="time", images=str(files[one, batch]), calls=WARM_UP + 1)["seconds"]
                if k >= 0:
                    seconds[one, batch].append(found[-1])
    return seconds


def _timing(batch, seconds):
    median, p90 = (float(value) for value in np.percentile(seconds, (50, 90)))
    return Timing(batch, median, p90, batch / median)


def _machine():
    """Return cores and processor, in words."""
    return f"{os.cpu_count()} cores, {processor()}"


def _versions(subjects):
    """Return the versions of the packages that ran the subjects."""
    from importlib.metadata import version

    formats = {one.format for one in subjects}
    packages = ["keras", "tensorflow"] if KERAS in formats else []
    packages += [one.package for one in FORMATS.values() if one.name in formats]
    return {package: version(package) for package in dict.fromkeys(packages)}
