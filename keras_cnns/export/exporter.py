"""From a model to verified artifacts and the report that proves them."""

import contextlib
import dataclasses
from pathlib import Path

import keras

from keras_cnns import _files, _models, saving
from keras_cnns.errors import (
    ArgumentError,
    ArtifactError,
    OutputError,
    OutputExistsError,
    VerificationError,
)
from keras_cnns.export import inspection, manifest, verification
from keras_cnns.export.c_array import c_sources
from keras_cnns.export.conversion import needed_memory, write
from keras_cnns.export.formats import FORMATS
from keras_cnns.export.options import Options
from keras_cnns.export.parity import by_class, check_provable
from keras_cnns.export.preparation import SHAPING, prepare_model
from keras_cnns.export.quantization import choose_calibration
from keras_cnns.export.reports import Artifact, Report
from keras_cnns.export.runtimes import format_of_existing
from keras_cnns.export.sample_images import choose_images


def export_model(
    model,
    output,
    formats,
    options=None,
    *,
    info=None,
    stem=None,
    overwrite=False,
    command=None,
    progress=None,
):
    """Write a model in each format, run each artifact with its own runtime, and compare it with the model.

    By default the artifacts take uint8 images (batch, height, width, channels) called `image` and give float32
    `probabilities` (batch, classes), or `output` if the model carries no classes and ends without softmax. They hold
    preprocessing, class names, the hash of the weights, and versions. A model trained in mixed precision is exported in
    float32. Nothing is moved into place before all artifacts have passed; `manifest.json` beside them says what they
    are.

    All is done in this process. Where there is far too little memory, a converter may end it; `cnn-export` works in a
    child process for that reason.

    Args:
        model: functional or sequential `keras.Model`, one image in, one vector out; or the path of a `.keras` file.
        output: folder to write into.
        formats: names of `FORMATS`.
        options: `Options`; None: the default ones.
        info: the model's `ModelInfo`, or anything else with `class_names`, `preprocessing` and `data`; None: of a file,
            what it carries. Without a preprocessing the model gets the pixels, 0 to 255, as they are.
        stem: what the artifacts are called, before the suffix; None: the name of the file or the model. A quantized
            artifact's quantization is appended, as "-int8", and "-integer" if it is so throughout.
        overwrite: whether artifacts of the same names may be replaced.
        command: line to note in the manifest.
        progress: function called with a line of text now and then.

    Returns:
        `Report`.

    Raises:
        ArgumentError: for a format, option or model that cannot be used.
        SourceError: if images cannot be read.
        ModelFileError: if the file cannot be read.
        OutputExistsError: if an artifact is there already, or another process is writing it.
        OutputError: if an artifact cannot be written.
        ConversionError: if a format cannot hold the model, or memory runs out.
        VerificationError: if an artifact differs from the model; nothing is left of any.
        ModuleNotFoundError: if a runtime is not installed.
    """
    say, options = progress or (lambda text: None), options or Options()
    formats = list(dict.fromkeys([formats] if isinstance(formats, str) else formats))
    options.check(formats)
    _need_tensorflow()
    name = model.name if isinstance(model, keras.Model) else Path(model).name
    stem = name.removesuffix(".keras") if stem is None else stem
    if not stem or Path(stem).name != stem:
        raise ArgumentError(f"`stem` must be the name of a file, and no path. Received: stem={stem!r}")
    if options.quantize != "none":
        stem = f"{stem}-{options.quantize}{'-integer' if options.integer_only else ''}"
    output = Path(output)
    targets = {format: output / f"{stem}{FORMATS[format].suffix}" for format in formats}
    arrays = [output / f"{stem}{suffix}" for suffix in (".cc", ".h")] if options.c_array else []
    with contextlib.ExitStack() as held:
        held.enter_context(_files.made_folder(output))
        for path in [*targets.values(), *arrays]:  # at the start, so that of two exports one is told before its work
            held.enter_context(_files.claimed(path))
        _check_targets(targets, overwrite, arrays)
        manifest.read(output)
        return _write_all(model, info, options, output, stem, targets, arrays, overwrite, command, say)


def _write_all(model, info, options, output, stem, targets, arrays, overwrite, command, say):
    """As `export_model`, into targets {format: path}, and C arrays, that this process holds."""
    model, info, name, digest = _opened(model, info)
    with _of_file(digest and name):
        prepared = prepare_model(model, info, options, name, digest)
    calibration = choose_calibration(options, prepared.preprocessing, info, prepared.known_names)
    images, *expected, accuracy = _on_images(prepared, info, say) if options.verify else (None, None)

    card = prepared.card(stem)
    artifacts = []
    with contextlib.ExitStack() as until_moved, contextlib.ExitStack() as stack:
        # Left in the opposite order: artifacts are moved into place when no format has failed, then the manifest
        noted = stack.enter_context(_files.writing(output / manifest.NAME))
        staged = {one: stack.enter_context(_files.writing(path)) for one, path in targets.items()}
        for one, path in staged.items():
            needed = needed_memory(one, prepared.model) / 1e9
            say(f"writing {targets[one].name}{f' (takes about {needed:.0f} GB of memory)' if needed > 2 else ''}")
            seconds = write(one, path, targets[one], prepared, card, calibration)
            if images:
                say(f"running {targets[one].name} with {FORMATS[one].runtime} on {images.description}")
            with _naming(targets[one].name, FORMATS[one], images):
                contents = verification.inspect_artifact(path, one, prepared)
                found = (None, {}, {})
                if images:
                    found = verification.check(path, one, prepared, images, *expected)
            parity, inputs, outputs = found
            size, sha256 = inspection.size(path), inspection.sha256(path)
            artifacts.append(Artifact(one, targets[one], size, sha256, seconds, inputs, outputs, contents, parity))
        if arrays:
            texts = c_sources(staged["tflite"].read_bytes(), stem)
            for path in arrays:
                stack.enter_context(_files.writing(path)).write_text(texts[path.name], "utf8")
        fitted = calibration and calibration.to_json()
        report = _report(stem, prepared, images, accuracy, fitted, artifacts, command)
        say("moving into place")
        until_moved.enter_context(_files.locked(output))  # another export there may be noting its own
        _files.sweep(output / manifest.NAME)
        _check_targets(targets, overwrite, arrays)
        noted.write_text(manifest.text(output, report.entries()), "utf8")
    return report


def verify(
    artifact,
    model,
    source=None,
    *,
    info=None,
    labels=None,
    data_dir=None,
    tolerance=None,
    min_agreement=None,
    progress=None,
):
    """Compare an artifact that was exported earlier with its model.

    Args:
        artifact: path of the artifact. What it was exported with stands in it.
        model: as in `export_model`.
        source: of the images, as `data.open_source` takes it; None: as `Options.verify_data`.
        info: as in `export_model`.
        labels, data_dir, tolerance, min_agreement: as in `Options`.
        progress: function called with a line of text now and then.

    Returns:
        `Report` with one artifact.

    Raises:
        ArgumentError: if there is no such artifact, it is of no known format, or an argument cannot be used.
        VerificationError: if it is another file than the manifest beside it says, or differs from the model.
    """
    say = progress or (lambda text: None)
    artifact = Path(artifact)
    format = format_of_existing(artifact)
    _need_tensorflow()
    model, info, name, digest = _opened(model, info)
    entry, shown = manifest.entry_of(artifact), FORMATS[format]
    sha256 = inspection.sha256(artifact)
    if entry is None:
        say(f"no manifest tells the sha256 of {artifact.name}: what it computes, and says of itself, is compared")
    elif entry.get("sha256") != sha256:
        raise VerificationError(
            f"{artifact.name} is not the file that was exported: its sha256 is not that of the manifest beside it."
        )
    with _naming(artifact.name, shown, None, kept=True):
        made_with, classes = _read_card(artifact, format)
    options = Options(
        **made_with,
        verify_data=source,
        data_dir=data_dir,
        tolerance=tolerance,
        min_agreement=min_agreement,
        # Without a record of its own, a model has no other names than those it was exported with
        labels=labels or (None if info and info.class_names else classes),
    )
    options.check([format])
    with _of_file(digest and name):
        prepared = prepare_model(model, info, options, name, digest)
    images, *expected, accuracy = _on_images(prepared, info, say)
    say(f"running {artifact.name} with {shown.runtime} on {images.description}")
    with _naming(artifact.name, shown, images, kept=True):
        contents = verification.inspect_artifact(artifact, format, prepared)
        parity, inputs, outputs = verification.check(artifact, format, prepared, images, *expected)
    made = Artifact(format, artifact, inspection.size(artifact), sha256, None, inputs, outputs, contents, parity)
    fitted = entry and entry.get("calibration")
    return _report(artifact.name.removesuffix(shown.suffix), prepared, images, accuracy, fitted, [made])


def _report(name, prepared, images, accuracy, calibration, artifacts, command=None):
    return Report(
        model=name,
        parameters=prepared.model.count_params(),
        options=prepared.options,
        source=prepared.source,
        images=images and images.description,
        examples=len(images.images) if images else 0,
        accuracy=accuracy,
        calibration=calibration,
        versions=prepared.card(name)["versions"],
        command=command,
        artifacts=tuple(artifacts),
    )


def _need_tensorflow():
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            "export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow and load the .keras file, which any "
            f"backend may have written. Received: backend={keras.backend.backend()!r}"
        )


def _opened(model, info):
    """Return (model, its record, name of its source, sha256 of its file or None)."""
    if isinstance(model, keras.Model):
        return model, info, model.name, None
    path = Path(model)
    loaded, own = saving.load_with_info(path)
    return loaded, info or own, path.name, inspection.sha256(path)


@contextlib.contextmanager
def _of_file(name):
    """Name the model's file, if it came from one, in what is wrong with the model or does not fit it."""
    try:
        yield
    except ArgumentError as error:
        if name is None:
            raise
        raise ArgumentError(f"{name}: {error}") from error


def _check_targets(targets, overwrite, arrays):
    """Raise an error, before anything is moved, if an artifact or C array cannot take its place."""
    if not overwrite:
        _files.refuse_existing(*targets.values(), *arrays)
    for format, path in targets.items():
        if format != "saved_model" and path.is_dir():
            raise OutputError(f"{path}: cannot be written (a folder of that name is there). Move it away.")
        if format == "saved_model" and path.exists() and not path.is_dir():
            raise OutputError(f"{path}: cannot be written (a file of that name is there). Move it away.")
        if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists():
            raise OutputExistsError(
                f"the output is a folder with other things than a SavedModel in it; choose another place. "
                f"Received: output={str(path)!r}"
            )


def _on_images(prepared, info, say):
    """Return (images to verify on, the model's outputs for them, their largest logits, its accuracy or None)."""
    options, classes = prepared.options, _models.class_count(prepared.model.outputs[0])
    say("choosing images to verify on")
    images = choose_images(
        prepared.preprocessing, info, options.verify_data, options.data_dir, prepared.known_names, classes, say
    )
    if images.labels is not None and prepared.is_multi_label:
        say(
            f"{prepared.whole.name} ends with several sigmoids (multi-label): its accuracy is not measured, as each "
            "image here has one label"
        )
        images = dataclasses.replace(images, labels=None)
    expected, largest = prepared.expected(images.images)
    if options.quantize == "none" or options.min_agreement != 0:  # else no agreement was asked for
        _check_provable(prepared, images, expected)
    best = by_class(expected[prepared.outputs[0]], prepared.outputs[0]).argmax(1)
    known = images.labels is not None and prepared.is_classifier
    return images, expected, largest, float((best == images.labels).mean()) if known else None


def _check_provable(prepared, images, expected):
    """Raise VerificationError if a constant would pass for the model."""
    options = prepared.options
    try:
        check_provable(expected[prepared.outputs[0]], options.tolerance)
    except ArtifactError as error:
        raise VerificationError(
            f"{prepared.whole.name}: {error} ({images.description}). Look at its weights, its preprocessing and "
            "these images; name others with --verify-data, or write artifacts unverified with --no-verify. "
            f"Received: verify_data={options.verify_data!r}"
        ) from error


def _read_card(path, format):
    """Return (options that an artifact was made with, class names) from what it says of itself."""
    try:
        card = inspection.read_card(path, format)
        made_with = {name: card["options"][name] for name in SHAPING if name in card.get("options", {})}
        classes = tuple(card.get("classes", ())) or None
        Options(**made_with).check([format])
        return made_with, classes
    except (ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # whatever is in the file
        raise ArtifactError(f"it cannot be read ({' '.join(str(error).split())[:300]})") from error


@contextlib.contextmanager
def _naming(name, format, images, kept=False):
    """Turn an ArtifactError into the VerificationError that names the artifact and what was done."""
    try:
        yield
    except ArtifactError as error:
        where = f" ({images.description}, run by {format.runtime})" if images else ""
        raise VerificationError(
            f"{name} does not compute what the model computes: {error}{where}.{'' if kept else ' Nothing was kept.'}"
        ) from error
