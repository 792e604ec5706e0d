"""Find and open what MODEL and SOURCE on a command line name."""

import contextlib
import dataclasses
import gc
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from keras_cnns.cli import _common, _foreign, _output, _streams

if TYPE_CHECKING:
    import keras
    from click.shell_completion import CompletionItem

    from keras_cnns.applications._weights import Weights
    from keras_cnns.data import Preprocessing, Source
    from keras_cnns.saving import ModelInfo
    from keras_cnns.tasks import Predictor, Task

DEFAULT_MODEL = "nin:digits"  # of the commands that need no MODEL

Place = Path | tuple[str, str]  # path of a `.keras` file, or (network, weights)


def complete_network(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return what a shell offers for NETWORK."""
    from keras_cnns.cli import _completion

    return _completion.networks(incomplete)


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return what a shell offers for MODEL."""
    from keras_cnns.cli import _completion

    return _completion.models(incomplete)


def complete_source(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return what a shell offers for SOURCE."""
    from keras_cnns.cli import _completion

    return _completion.sources(incomplete)


def load_keras() -> None:
    """Import keras and its backend without TensorFlow's startup messages on stderr.

    Ctrl-C takes effect after the import, as some libraries swallow it while they are imported. Then the modules of
    --import are imported.
    """
    from keras_cnns._quiet import quiet, uncollected, without_unused

    with _streams.ctrl_c_postponed(), quiet(), uncollected(), without_unused():
        import keras
    gc.freeze()  # Later collections pass over what stays anyway
    if _common.ASKED_BACKEND and _common.ASKED_BACKEND != keras.backend.backend():
        _output.note(
            f"KERAS_BACKEND={_common.ASKED_BACKEND} is not used: this command computes with {keras.backend.backend()}"
        )
    for module in _foreign.given("modules") or ():
        from keras_cnns._custom import import_layers

        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            import_layers(module)


def locate(text: str) -> Place:
    """Return where MODEL is, without importing keras or reading the file.

    Args:
        text: MODEL, which is a `.keras` file, NAME:WEIGHTS, or NAME if exactly one set of weights ships with it.

    Returns:
        The path of a file, or (network, weights) for named weights.

    Raises:
        ArgumentError: if there is no such model.
    """
    from keras_cnns.errors import ArgumentError, nearest

    path = Path(text)
    if re.match(r"\w+://", text):
        raise ArgumentError(f"MODEL cannot be an address: download the file and name it here. Received: MODEL={text!r}")
    if path.is_dir() and path.suffix != ".keras":
        inside = sorted(path.glob("*.keras"))
        advice = f"name one of its files, as {str(inside[0])!r}" if inside else "it holds no .keras file"
        raise ArgumentError(f"MODEL is a .keras file, and this is a folder: {advice}. Received: MODEL={text!r}")
    if not is_file_name(text):
        return _named_weights(text)
    if not os.path.lexists(text):
        folder = path.parent if path.parent.is_dir() else Path()
        near = nearest(path.name, [file.name for file in folder.glob("*.keras")])
        raise ArgumentError(f"there is no such model file.{near} Received: MODEL={text!r}")
    if path.suffix.lower() in (".png", *_common.OTHER_IMAGES):
        raise ArgumentError(f"MODEL, which comes first, is a .keras file, not an image. Received: MODEL={text!r}")
    return path


def _named_weights(text: str) -> tuple[str, str]:
    """Return the network and the weights that MODEL names."""
    from keras_cnns import applications
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError, nearest

    network, colon, weights = text.partition(":")
    known = applications.list_weights()
    try:
        network = canonical_name(network)
    except ArgumentError:
        raise ArgumentError(
            f"MODEL is a .keras file or one of {', '.join(known)}.{nearest(text, known)} Received: MODEL={text!r}"
        ) from None
    if colon:
        return network, weights
    shipped, available = applications.list_weights(network, shipped=True), applications.list_weights(network)
    if len(shipped) != 1:
        choices = f"choose one of {', '.join(available)}" if available else f"no weights ship with {network}"
        raise ArgumentError(f"MODEL needs weights: {choices}. Received: MODEL={text!r}")
    return network, shipped[0].partition(":")[2]


def is_file_name(text: str) -> bool:
    """Return whether MODEL on a command line means a file."""
    return text.endswith(".keras") or os.path.isfile(text)


def is_model(text: str) -> bool:
    """Return whether NETWORK or MODEL on a command line is a model."""
    return ":" in text or is_file_name(text)


def read_record(place: Place) -> "ModelInfo | None":
    """Return the record of a model.

    Args:
        place: result of `locate`.

    Returns:
        The record; None for a file written by another program.
    """
    from keras_cnns import applications, saving

    if isinstance(place, Path):
        return saving.read_info(place)
    network, weights = place
    if f"{network.lower()}:{weights}" not in applications.list_weights(network, shipped=True):
        load_keras()  # Keras downloads the class names
    return applications.weights_info(network, weights)


def model_file(text: str) -> "tuple[Path, ModelInfo | None, str]":
    """Return the `.keras` file of MODEL, its record, and a stem.

    The stem is for the names of files made from the model.

    Shipped weights are checked by their sha256 without importing Keras. Weights that Keras downloads are saved to a
    file that is removed when the process ends.
    """
    path, record, stem = _find(text)
    if path is None:
        import atexit
        import tempfile

        from keras_cnns import saving

        folder = tempfile.TemporaryDirectory(prefix="keras_cnns-")
        atexit.register(folder.cleanup)
        path = Path(folder.name) / f"{stem}.keras"
        fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(saving.ModelInfo)}
        saving.save_model(_download(record), path, saving.ModelInfo(**fields))
    return path, record, stem


def open_model(text: str) -> "tuple[keras.Model, ModelInfo | None, str]":
    """Return the model that MODEL names, its record, and a stem.

    The record includes what the `model_options` say; the stem is for the names of files made from the model.
    """
    path, record, stem = _find(text)
    load_keras()
    from keras_cnns import saving

    model = _download(record) if path is None else saving.load_with_info(path)[0]
    return model, _foreign.described(record, model, text), stem


def classifier(model: "keras.Model", class_names: Sequence[str] | None, text: str) -> "keras.Model":
    """Return a model as `classifiers.as_classifier` does, with MODEL named in errors.

    A note says so if the output is taken for a logit.

    Args:
        model: `keras.Model`.
        class_names: of its record, if known.
        text: MODEL.
    """
    from keras_cnns import _models
    from keras_cnns.errors import ArgumentError
    from keras_cnns.tasks import classifiers

    try:
        adapted = classifiers.as_classifier(model, class_names or ())
    except ArgumentError as error:
        raise ArgumentError(f"{text}: {error}") from None
    if (
        class_names
        and not classifiers.gives_probabilities(_models.main_output(model))
        and classifiers.gives_probabilities(adapted)
    ):
        _output.note(
            f"{text} outputs one number per image, without a sigmoid: it is taken for the logit of {class_names[1]!r}"
        )
    return adapted


def predictor(task: "Task", model: "keras.Model", class_names: Sequence[str], text: str) -> "Predictor":
    """Return a model as it predicts, with MODEL named in errors.

    Args:
        task: of the model.
        model: `keras.Model`.
        class_names: of the images.
        text: MODEL.
    """
    from keras_cnns.errors import ArgumentError

    if task.scored == "image":
        return task.predictor(classifier(model, class_names, text), class_names)
    try:
        return task.predictor(model, class_names)
    except ArgumentError as error:
        raise ArgumentError(f"{text}: {error}") from None


def _find(text: str) -> "tuple[Path | None, ModelInfo | None, str]":
    """Return the path, record and stem of MODEL.

    The path is None for weights that Keras downloads and keeps.
    """
    from keras_cnns.applications._weights import verified_path

    place = locate(text)
    record = read_record(place)
    if isinstance(place, Path):
        return place, record, place.stem
    network, weights = place
    named = cast("Weights", record)
    return named.path and verified_path(named), named, f"{network.lower()}-{weights}"


def _download(record: "ModelInfo | None") -> "keras.Model":
    """Return the model of named weights, which Keras downloads.

    Args:
        record: of the weights, as `read_record` returns it.
    """
    from keras_cnns import applications

    record = cast("Weights", record)
    return applications.create_model(record.builder, weights=record.name)


def reopen(record: "ModelInfo | None", source: str, data_dir: str | None, download: bool) -> "Source":
    """Open a source for a model, with the model's classes.

    The source is divided as for the model's training if it is the same source. Labels are matched to the model's
    classes by name. If the model does not name its classes, they are taken to be those of the source in the same
    order, and a note says so.

    Args:
        record: of the model.
        source: SOURCE.
        data_dir: value of --data-dir.
        download: whether --download was given.
    """
    from keras_cnns.data import reopen_source

    opened = reopen_source((record and record.data) or {}, source, data_dir=data_dir, download=download)
    if record and record.class_names:
        return opened.with_classes(record.class_names, record.class_ids)
    names = ", ".join(opened.class_names[:10]) + (", ..." if opened.class_names[10:] else "")
    _output.note(
        f"the model does not name its classes; its outputs are taken for those of {source}, in this order: {names}"
    )
    return opened


def print_notes(source: "Source", split: str | None = None) -> None:
    """Print the notes of a source, or of one split only."""
    for name, sentences in source.notes.items():
        if split in (None, name) or not name:
            for sentence in sentences:
                _output.note(f"{source.name}: {sentence}")


def preprocessing_note(record: "ModelInfo | None", text: str, model: "keras.Model") -> None:
    """Say so if a model has no preprocessing record.

    It is a warning if no layer normalizes the pixels either.

    Args:
        record: of the model.
        text: MODEL.
        model: `keras.Model`, which is not needed if the record has a preprocessing.
    """
    if record and record.preprocessing:
        return
    from keras_cnns._models import normalizing_layer

    sentence = f"{text} carries no preprocessing record: it gets the pixels, 0 to 255, as they are"
    if layer := normalizing_layer(model):
        _output.note(f"{sentence}, which its own layer {layer} normalizes")
    else:
        _output.note(
            f"warning: {sentence}, and no layer of it normalizes them. If it was trained on other values, its "
            "predictions are wrong: give --scale 1/255 for pixels / 255, or --mean and --deviation"
        )


def preprocessing_of(model: "keras.Model", record: "ModelInfo | None", text: str) -> "Preprocessing":
    """Return the record's preprocessing, or one that leaves pixels unchanged.

    In the second case a note says so.

    Args:
        model: `keras.Model`.
        record: of the model.
        text: MODEL.
    """
    preprocessing_note(record, text, model)
    if record and record.preprocessing:
        return record.preprocessing
    from keras_cnns._models import plain_preprocessing

    return plain_preprocessing(model)
