"""Export a model to verified artifacts."""

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path

import keras

from keras_cnns import _files, typing
from keras_cnns.export import inspection, manifest
from keras_cnns.export._baseline import Baseline, measure_baseline
from keras_cnns.export._destination import choose_destination
from keras_cnns.export._opening import need_tensorflow, open_model
from keras_cnns.export._prepared import Job
from keras_cnns.export.c_array import c_sources
from keras_cnns.export.conversion import needed_memory, write
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.options import Options
from keras_cnns.export.quantization import choose_calibration
from keras_cnns.export.reports import Artifact, Report, make_report
from keras_cnns.export.verification import verify_artifact
from keras_cnns.saving import ModelInfo


def export_model(
    model: keras.Model | typing.Path,
    output: typing.Path,
    formats: str | Iterable[str],
    options: Options | None = None,
    *,
    info: ModelInfo | None = None,
    stem: str | None = None,
    overwrite: bool = False,
    command: str | None = None,
    progress: typing.Log | None = None,
) -> Report:
    """Write a model in each format, and verify the artifacts.

    By default an artifact takes uint8 images (batch, height, width, channels) called `image`. It gives float32
    `probabilities` (batch, classes), or `output` if the model carries no classes and ends without softmax. It holds
    preprocessing, class names, the hash of the weights, and versions. A model trained in mixed precision is exported
    in float32.

    Each artifact is run by its own runtime. Nothing is moved into place before all artifacts have passed. The file
    `manifest.json` beside them describes them.

    Conversion happens in this process, and a converter may end the process if there is far too little memory. The
    command `cnn-export` works in a child process for that reason.

    Args:
        model: functional or sequential model from one image to one vector; or the path of a `.keras` file.
        output: folder to write into.
        formats: names of `FORMATS`, or one name.
        options: `Options`; None: the defaults.
        info: the model's `ModelInfo`, or another object with `class_names`, `preprocessing` and `data`. None: the one
            that the file carries. Without a preprocessing the model gets the pixels, 0 to 255, unchanged.
        stem: name of the artifacts, before the suffix; None: the name of the file or the model. For a quantized
            artifact the quantization is appended, as "-int8", and "-integer" if it is integer throughout.
        overwrite: whether artifacts of the same names may be replaced.
        command: command line to note in the manifest.
        progress: function called with a line of text now and then.

    Returns:
        The `Report`.

    Raises:
        ArgumentError: for a format, option or model that cannot be used.
        SourceError: if images cannot be read.
        ModelFileError: if the model's file cannot be read.
        OutputExistsError: if an artifact exists already, or another process is writing it.
        OutputError: if an artifact cannot be written.
        ConversionError: if a format cannot hold the model, or memory runs out.
        VerificationError: if an artifact differs from the model; then none is kept.
        ModuleNotFoundError: if a runtime is not installed.

    Examples:
        >>> from keras_cnns import applications, export
        >>> path = applications.weights_info("NiN", "digits").path  # or "runs/flowers/model.keras"
        >>> report = export.export_model(path, "exports", ["tflite", "onnx"])
        >>> [(artifact.path.name, artifact.parity.agreement) for artifact in report.artifacts]
        [('nin-digits.tflite', 1.0), ('nin-digits.onnx', 1.0)]
    """
    say, options = progress or (lambda text: None), options or Options()
    formats = list(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    options.check(formats)
    need_tensorflow()
    if stem is None:
        stem = (model.name if isinstance(model, keras.Model) else Path(model).name).removesuffix(".keras")
    destination = choose_destination(output, stem, formats, options, overwrite)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_files.made_folder(destination.folder))
        # The outputs are claimed first, so that the later of two exports fails before its work and not after it
        for path in destination.paths:
            stack.enter_context(_files.claimed(path))
        destination.check()
        manifest.read(destination.folder)
        opened = open_model(model, info)
        prepared = opened.prepare(options)
        calibration = choose_calibration(options, prepared.preprocessing, opened.info, prepared.known_names)
        baseline = measure_baseline(prepared, opened.info, say) if options.verify else None
        job = Job(prepared, prepared.card(destination.stem), calibration)
        return _write_all(job, destination, baseline, command, say)


def _write_all(job, destination, baseline, command, say):
    """Write, verify and move all artifacts, and return the `Report`."""
    with contextlib.ExitStack() as lock_stack, contextlib.ExitStack() as stack:
        # The stack is left in reverse order: artifacts are moved into place, once all have passed, then the manifest
        manifest_file = stack.enter_context(_files.writing(destination.folder / manifest.NAME))
        staged = {format: stack.enter_context(_files.writing(path)) for format, path in destination.artifacts.items()}
        artifacts = [
            _write_artifact(job, format, path, destination.artifacts[format], baseline, say)
            for format, path in staged.items()
        ]
        if destination.c_arrays:
            texts = c_sources(staged["tflite"].read_bytes(), destination.stem)
            for path in destination.c_arrays:
                stack.enter_context(_files.writing(path)).write_text(texts[path.name], "utf8")
        calibration = job.calibration and job.calibration.to_json()
        report = make_report(destination.stem, job.prepared, baseline, artifacts, calibration, command)
        say("moving into place")
        # Another export may be writing this folder's manifest. The lock is held until all files have been moved.
        lock_stack.enter_context(_files.locked(destination.folder))
        _files.sweep(destination.folder / manifest.NAME)
        destination.check()
        manifest_file.write_text(manifest.text(destination.folder, report.entries()), "utf8")
    return report


def _write_artifact(job: Job, format: str, path: Path, target: Path, baseline: Baseline | None, say) -> Artifact:
    """Write and verify one artifact.

    It is written to `path` and moved to `target` later.
    """
    gigabytes = needed_memory(format, job.prepared.model) / 1e9
    say(f"writing {target.name}{f' (takes about {gigabytes:.0f} GB of memory)' if gigabytes > 2 else ''}")
    # A large network takes minutes here
    told = dataclasses.replace(job, say=lambda step: say(f"writing {target.name}: {step}"))
    seconds = write(told, format, path, target)
    if baseline:
        say(f"running {target.name} with {FORMATS[format].runtime} on {baseline.images.description}")
    verification = verify_artifact(path, format, job.prepared, baseline, name=target.name)
    return Artifact.of(format, path, target, inspection.sha256(path), seconds, verification)
