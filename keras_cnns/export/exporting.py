"""From a model to verified artifacts and the report that proves them."""

import contextlib
import dataclasses
import tempfile
import time
from pathlib import Path

import keras

from keras_cnns import _files, _models
from keras_cnns.errors import ArgumentError, OutputExistsError, VerificationError, nearest
from keras_cnns.export import verification
from keras_cnns.export.formats import FORMATS, OUTPUT, PROBABILITIES
from keras_cnns.export.runtimes import open_artifact


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One exported file or folder.

    Attributes:
        format: a name of `FORMATS`.
        path: where it is.
        bytes: its size; of a folder, of all files in it.
        seconds: that writing it took.
        parity: `Parity` with the model.
    """

    format: str
    path: Path
    bytes: int
    seconds: float
    parity: verification.Parity


@dataclasses.dataclass(frozen=True)
class Report:
    """What was exported and how it was verified.

    Attributes:
        model: what the artifacts are called, before the suffix.
        parameters: number of its weights.
        pictures: which pictures the artifacts were verified on, in words.
        examples: how many.
        accuracy: of the float32 model on them, None where they have no labels.
        artifacts: tuple of `Artifact`.
    """

    model: str
    parameters: int
    pictures: str
    examples: int
    accuracy: float | None
    artifacts: tuple[Artifact, ...]

    def to_json(self):
        """Return a dictionary of JSON values."""
        values = dataclasses.asdict(self)
        for artifact in values["artifacts"]:
            artifact["path"] = str(artifact["path"])
        return values


def export_model(
    model,
    output,
    formats,
    *,
    info=None,
    stem=None,
    verify_data=None,
    data_dir=None,
    overwrite=False,
    progress=None,
):
    """Write a model in each format, run each artifact with its own runtime, and compare it with the model.

    The artifacts take uint8 pictures (batch, height, width, channels) called `image` and give float32
    `probabilities` (batch, classes), or `output` if the model carries no classes and ends without softmax. A
    model trained in mixed precision is exported in float32. No artifact is moved into place before all have passed.

    Args:
        model: functional or sequential `keras.Model`, one picture in, one vector out; auxiliary heads are left out.
        output: folder to write into.
        formats: names of `FORMATS`.
        info: the model's `ModelInfo`, or anything else with `class_names`, `preprocessing` and `data`; without a
            preprocessing the model gets the pixels, 0 to 255, as they are.
        stem: what the artifacts are called, before the suffix; None: the model's name.
        verify_data: name of a source of pictures; see `verification.choose_pictures`.
        data_dir: for tensorflow-datasets.
        overwrite: whether artifacts of the same names may be replaced.
        progress: function called with a line of text now and then.

    Returns:
        `Report`.

    Raises:
        ArgumentError: for a format, model or output that cannot be used.
        SourceError: if `verify_data` cannot be read.
        OutputError: if an artifact cannot be written.
        VerificationError: if an artifact differs from the model; nothing is left of any.
    """
    say = progress or (lambda text: None)
    formats = list(dict.fromkeys(formats))
    for name in formats:
        if name not in FORMATS:
            raise ArgumentError(
                f"a format is one of {', '.join(FORMATS)}.{nearest(name, FORMATS)} Received: format={name!r}"
            )
    if keras.backend.backend() != "tensorflow":
        raise ArgumentError(
            "export needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow and load the .keras file, which any "
            f"backend may have written. Received: backend={keras.backend.backend()!r}"
        )
    model = _models.main_output(model)
    _models.one_image_input(model)
    output, stem = Path(output), stem or model.name
    targets = {name: output / f"{stem}{FORMATS[name].suffix}" for name in formats}
    if not overwrite:
        _files.refuse_existing(*targets.values())
    folder = targets.get("saved_model")
    if folder and folder.is_dir() and any(folder.iterdir()) and not (folder / "saved_model.pb").exists():
        raise OutputExistsError(
            f"the output is a folder with other things than a SavedModel in it; choose another place. "
            f"Received: output={str(folder)!r}"
        )

    preprocessing = (info and info.preprocessing) or _models.plain_preprocessing(model)
    model = _models.as_float32(model)
    is_probability = _models.gives_probabilities(model)
    name = PROBABILITIES if is_probability or (info and info.class_names) else OUTPUT
    say("choosing pictures to verify on")
    pictures = verification.choose_pictures(preprocessing, info, verify_data, data_dir, say)
    reference = _models.predict_pixels(model, pictures.images, preprocessing)
    if name == PROBABILITIES:
        reference = _models.to_probabilities(model, reference)

    _files.make_folder(output)
    artifacts = []
    with contextlib.ExitStack() as stack:
        # Left in the opposite order, and moved into place only when no format has failed.
        staged = {one: stack.enter_context(_files.writing(path)) for one, path in targets.items()}
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_cnns-")))
        times = _write(model, preprocessing, name, not is_probability, staged, scratch, say)
        for one, path in staged.items():
            say(f"running {targets[one].name} with {FORMATS[one].runtime} on {pictures.description}")
            parity = _verify(one, path, targets[one], pictures, reference, name)
            artifacts.append(Artifact(one, targets[one], _size(path), times[one], parity))
    own = None if pictures.labels is None else float((reference.argmax(1) == pictures.labels).mean())
    return Report(stem, model.count_params(), pictures.description, len(pictures.images), own, tuple(artifacts))


def _write(model, preprocessing, output, is_logits, staged, scratch, say):
    """Write every format to its staged path; return the seconds that each took."""
    from keras_cnns.export import writers

    servable = writers.Servable(model, preprocessing, output, add_softmax=is_logits and output == PROBABILITIES)
    saved_model = staged.get("saved_model", scratch / "saved_model")
    steps = {
        "saved_model": lambda: writers.write_saved_model(servable, saved_model),
        "tflite": lambda: writers.write_tflite(saved_model, staged["tflite"]),
        "onnx": lambda: writers.write_onnx(servable, staged["onnx"]),
    }
    if "tflite" in staged and "saved_model" not in staged:
        steps["saved_model"]()
    times = {}
    for one in sorted(staged, key=list(steps).index):
        say(f"writing {FORMATS[one].name}")
        start = time.monotonic()
        steps[one]()
        times[one] = round(time.monotonic() - start, 2)
    return times


def _verify(format, path, target, pictures, reference, output):
    try:
        outputs = verification.run_in_batches(open_artifact(path, format), pictures.images, output)
        parity = verification.compare(reference, outputs, output, pictures.labels)
        fault = parity.fault
    except (ModuleNotFoundError, MemoryError):
        raise
    except Exception as error:  # whatever a foreign runtime raises, the artifact does not work with it
        fault = " ".join(str(error).split())[:300]
    if fault:
        raise VerificationError(
            f"{target.name} does not compute what the model computes: {fault} ({pictures.description}, run by "
            f"{FORMATS[format].runtime}). Nothing was kept."
        )
    return parity


def _size(path):
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )
