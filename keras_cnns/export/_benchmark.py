"""Measure size, memory, accuracy and speed of a model and artifacts."""

import contextlib
import dataclasses
import os
import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_cnns import typing
from keras_cnns._deprecated import renamed
from keras_cnns._machine import processor
from keras_cnns.errors import ArgumentError
from keras_cnns.export import inspection
from keras_cnns.export._benchmark_subjects import Subject, find_common_input, save_for_process
from keras_cnns.export._keras_runner import KERAS
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.runtimes import format_of_existing
from keras_cnns.export.sample_images import choose_images
from keras_cnns.saving import ModelInfo

WARM_UP = 1  # calls before each timed one, which allocate memory for the batch size and fill caches
REST = 0.05  # seconds before each subject's turn: ONNX Runtime's threads spin on after a call and would slow the next
PROGRESS_INTERVAL = 10  # seconds


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long calls with one batch size took.

    Attributes:
        batch: images per call.
        median: seconds per call.
        p90: seconds that nine of ten calls stayed below.
        throughput: images per second, from the median.
    """

    batch: int
    median: float
    p90: float
    throughput: float


@dataclasses.dataclass(frozen=True)
class BenchmarkRow:
    """The measurements of a model or an artifact.

    Attributes:
        name: name of the model, or the artifact's file name.
        runtime: usual name of the program that ran it.
        quantize: a name of `QUANTIZATIONS`; None if the artifact does not say.
        bytes: size of the file or folder; for a model in memory, of its `.keras` file.
        peak_memory: largest number of bytes that its process held while it loaded and was timed.
        accuracy: share of images classified correctly; None without labels, and for other models than classifiers.
        fixed_batch: the only batch size that it takes; None if it takes any.
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

    def timing(self, batch: int) -> Timing | None:
        """Return the `Timing` of a batch size, or None."""
        return next((timing for timing in self.timings if timing.batch == batch), None)


@renamed(pictures="images")
@dataclasses.dataclass(frozen=True)
class Benchmark:
    """The measurements of a model and artifacts, with their circumstances.

    Attributes:
        images: the images that accuracy was measured on, in words.
        examples: number of these images.
        threads: threads of each runtime; 0: its default.
        rounds: timed calls of each batch size.
        machine: number of cores and name of the processor.
        versions: versions of the packages that ran.
        rows: tuple of `BenchmarkRow`: the model's first, then one per artifact.

    Examples:
        >>> from keras_cnns import applications, export
        >>> path = applications.weights_info("NiN", "digits").path
        >>> report = export.export_model(path, "exports", "tflite")
        >>> result = export.benchmark(path, report.artifacts[0].path, batches=1, rounds=2)
        >>> [round(row.accuracy, 3) for row in result.rows]  # the model's and the artifact's
        [0.997, 0.997]
    """

    images: str
    examples: int
    threads: int
    rounds: int
    machine: str
    versions: Mapping[str, str]
    rows: tuple[BenchmarkRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return dataclasses.asdict(self)


def benchmark(
    model: keras.Model | typing.Path | None,
    artifacts: typing.Path | Sequence[typing.Path],
    source: typing.Path | None = None,
    *,
    info: ModelInfo | None = None,
    batches: int | Sequence[int] = (1, 32),
    threads: int = 0,
    rounds: int = 20,
    data_dir: typing.Path | None = None,
    progress: typing.Log | None = None,
) -> Benchmark:
    """Measure a model and artifacts, each in its own process.

    All processes live at the same time. In each round, each of them is asked for one timed call per batch size, in a
    random order, so that other load on the machine affects all of them equally. A call takes pixels and gives outputs;
    the model's call is `predict_on_batch` of Keras on TensorFlow, after NumPy's normalization. An artifact without
    preprocessing gets normalized values, and the normalization is not timed. An artifact of another program gets the
    pixels, 0 to 255, unchanged. Layers that are neither Keras's nor this package's must be defined in a module, which
    the model's process imports.

    Args:
        model: functional or sequential `keras.Model`, or the path of a `.keras` file; None: only artifacts.
        artifacts: paths of artifacts, whose suffixes tell the formats.
        source: source of the images, as `data.open_source` takes it. None: the images that the model was tested on, or
            some of scikit-learn's, which have no labels.
        info: the model's `ModelInfo`, or another object with `class_names`, `preprocessing` and `data`. None: the one
            that the file carries.
        batches: batch sizes. An artifact of a fixed batch size is measured with that one only.
        threads: how many each runtime may use; 0: its default.
        rounds: timed calls of each batch size.
        data_dir: folder of tensorflow-datasets.
        progress: function called with a line of text now and then.

    Returns:
        The `Benchmark`.

    Raises:
        ArgumentError: for arguments that cannot be used, and artifacts that cannot be compared.
        SourceError: if images cannot be read.
        ModelFileError: if the model's file cannot be read.
        ArtifactError: if a runtime refuses its artifact, or its process ends.
        ModuleNotFoundError: if a runtime is not installed.

    Examples:
        >>> from keras_cnns import applications, export
        >>> path = applications.weights_info("NiN", "digits").path
        >>> report = export.export_model(path, "exports", "onnx")
        >>> result = export.benchmark(path, report.artifacts[0].path, batches=(1, 8), threads=1, rounds=2)
        >>> [[timing.batch for timing in row.timings] for row in result.rows]
        [[1, 8], [1, 8]]
    """
    say = progress or (lambda text: None)
    batches = _check_numbers(batches, threads, rounds)
    paths = [Path(path) for path in ([artifacts] if isinstance(artifacts, (str, os.PathLike)) else artifacts)]
    formats = [format_of_existing(path) for path in paths]
    if model is None and not paths:
        raise ArgumentError(
            "there is nothing to measure: give a model or artifacts. Received: model=None, artifacts=[]"
        )
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_cnns-")))
        subjects = []
        if model is not None:
            saved = save_for_process(model, info, folder / "model.keras")
            info = saved.info
            subjects.append(Subject(folder / "model.keras", KERAS, threads, saved.name, saved.bytes, saved.modules))
        subjects += _artifact_subjects(paths, formats, threads)
        for subject in subjects:
            stack.enter_context(subject)
        for subject in subjects:
            say(f"loading {subject.name} with {subject.runtime}")
            subject.load()
        preprocessing, class_names = find_common_input(subjects)
        images = choose_images(preprocessing, info, source, data_dir, class_names, say=say)
        seconds = _time_rounds(subjects, images.images, batches, rounds, folder, say)
        rows = _make_rows(subjects, images, batches, seconds, say)
    return Benchmark(
        images=images.description,
        examples=len(images.images),
        threads=threads,
        rounds=rounds,
        machine=_describe_machine(),
        versions=_versions(subjects),
        rows=tuple(rows),
    )


def _check_numbers(batches, threads, rounds):
    """Return the different batch sizes, after checking all numbers."""
    batches = tuple(dict.fromkeys([batches] if isinstance(batches, int) else batches))
    if not batches:
        raise ArgumentError("`batches` must have at least one batch size. Received: batches=()")
    for name, values, least in (("batches", batches, 1), ("threads", (threads,), 0), ("rounds", (rounds,), 1)):
        for value in values:
            if not isinstance(value, int) or value < least:
                raise ArgumentError(f"`{name}` must be a whole number of at least {least}. Received: {name}={value!r}")
    return batches


def _artifact_subjects(paths, formats, threads):
    """Return the `Subject` of each artifact.

    If file names are repeated, the whole paths are the subjects' names.
    """
    is_ambiguous = len({path.name for path in paths}) < len(paths)
    return [
        Subject(path, format, threads, str(path) if is_ambiguous else path.name, inspection.size(path))
        for path, format in zip(paths, formats, strict=True)
    ]


def _time_rounds(subjects, images, batches, rounds, folder, say):
    """Return the seconds of each round by (subject, batch size)."""
    files, seconds = {}, {}
    for k, subject in enumerate(subjects):
        for batch in subject.batches(batches):
            files[subject, batch] = folder / f"{k}-{batch}.npy"
            np.save(files[subject, batch], subject.as_input(images[np.arange(batch) % len(images)]))
            seconds[subject, batch] = []
    say(f"measuring {rounds} rounds of one call each")
    order, last_report = random.Random(0), time.monotonic()
    for k in range(-1, rounds):  # the round before the first one compiles, and does not count
        if time.monotonic() - last_report > PROGRESS_INTERVAL:
            say(f"round {k + 1} of {rounds}")
            last_report = time.monotonic()
        for subject in order.sample(subjects, len(subjects)):
            time.sleep(REST)
            for batch in subject.batches(batches):
                answer = subject.ask(do="time", images=str(files[subject, batch]), calls=WARM_UP + 1)
                if k >= 0:
                    seconds[subject, batch].append(answer["seconds"][-1])
    return seconds


def _make_rows(subjects, images, batches, seconds, say):
    """Return the `BenchmarkRow` of each subject, whose accuracy is measured here."""
    # Memory is read first, because accuracy is measured with other batch sizes
    peaks = [subject.ask(do="memory")["bytes"] for subject in subjects]
    rows = []
    for subject, peak in zip(subjects, peaks, strict=True):
        say(f"running {subject.name} on {images.description}")
        row = BenchmarkRow(
            name=subject.name,
            runtime=subject.runtime,
            quantize=subject.quantize,
            bytes=subject.bytes,
            peak_memory=peak,
            accuracy=subject.accuracy(images),
            fixed_batch=subject.fixed_batch,
            timings=tuple(_timing(batch, seconds[subject, batch]) for batch in subject.batches(batches)),
        )
        rows.append(row)
    return rows


def _timing(batch, seconds):
    median, p90 = (float(value) for value in np.percentile(seconds, (50, 90)))
    return Timing(batch, median, p90, batch / median)


def _describe_machine():
    """Return the number of cores and the processor's name, in words."""
    return f"{os.cpu_count()} cores, {processor()}"


def _versions(subjects):
    """Return the versions of the packages that ran the subjects."""
    from importlib.metadata import version

    formats = {subject.format for subject in subjects}
    packages = ["keras", "tensorflow"] if KERAS in formats else []
    packages += [format.package for format in FORMATS.values() if format.name in formats]
    return {package: version(package) for package in dict.fromkeys(packages)}
