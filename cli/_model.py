"""MODEL and SOURCE on a command line: found, opened, and fitted to each other."""

import contextlib
import dataclasses
import os
import re
import sys
from pathlib import Path

from keras_cnns.cli import _common, _foreign, _streams


def complete_network(context, parameter, incomplete):
    """Return what a shell offers for NETWORK: names, and what it offers for MODEL."""
    from keras_cnns.cli import _completion

    return _completion.networks(incomplete)


def complete_model(context, parameter, incomplete):
    """Return what a shell offers for MODEL: NAME:WEIGHTS, and files."""
    from keras_cnns.cli import _completion

    return _completion.models(incomplete)


def complete_source(context, parameter, incomplete):
    """Return what a shell offers for SOURCE: digits, files and folders."""
    from keras_cnns.cli import _completion

    return _completion.sources(incomplete)


def load_keras():
    """Import keras and what it runs on, without the lines that TensorFlow's start-up writes to stderr.

    A Ctrl-C meanwhile waits until the import is done: in the middle, some library would swallow it. Then the modules of
    --import are imported.
    """
    from keras_cnns._quiet import quiet

    with _streams.ctrl_c_postponed(), quiet():
        import keras
    if _common.ASKED_BACKEND and _common.ASKED_BACKEND != keras.backend.backend():
        _common.note(
            f"KERAS_BACKEND={_common.ASKED_BACKEND} is not used: this command computes with {keras.backend.backend()}"
        )
    for module in _foreign.given("modules") or ():
        from keras_cnns._custom import import_layers

        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            import_layers(module)


def locate(text):
    """Return (path, None, None) or (None, network, weights) for MODEL; raise ArgumentError if there is none such.

    MODEL is a `.keras` file, NAME:WEIGHTS, or NAME if one set of weights ships. Neither keras is imported, nor the file
    read.
    """
    from keras_cnns import applications
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError, nearest

    path = Path(text)
    if re.match(r"\w+://", text):
        raise ArgumentError(f"MODEL is no address: download the file and name it here. Received: MODEL={text!r}")
    if path.is_dir() and path.suffix != ".keras":
        inside = sorted(path.glob("*.keras"))
        advice = f"name one of its files, as {str(inside[0])!r}" if inside else "it holds no .keras file"
        raise ArgumentError(f"MODEL is a .keras file, and this is a folder: {advice}. Received: MODEL={text!r}")
    if is_file_name(text):
        if not os.path.lexists(text):
            folder = path.parent if path.parent.is_dir() else Path()
            near = nearest(path.name, [one.name for one in folder.glob("*.keras")])
            raise ArgumentError(f"there is no such model file.{near} Received: MODEL={text!r}")
        if path.suffix.lower() in (".png", *_common.OTHER_IMAGES):
            raise ArgumentError(f"MODEL, which comes first, is a .keras file and no image. Received: MODEL={text!r}")
        return path, None, None
    network, colon, weights = text.partition(":")
    known = applications.list_weights()
    try:
        network = canonical_name(network)
    except ArgumentError:
        raise ArgumentError(
            f"MODEL is a .keras file or one of {', '.join(known)}.{nearest(text, known)} Received: MODEL={text!r}"
        ) from None
    if not colon:
        own, there = applications.list_weights(network, shipped=True), applications.list_weights(network)
        if len(own) != 1:
            have = f"choose one of {', '.join(there)}" if there else f"no weights ship with {network}"
            raise ArgumentError(f"MODEL needs weights: {have}. Received: MODEL={text!r}")
        weights = own[0].partition(":")[2]
    return None, network, weights


def is_file_name(text):
    """Return whether MODEL on a command line means a file."""
    return text.endswith(".keras") or os.path.isfile(text)


def read_record(path, network, weights):
    """Return the record of what `locate` found; None for a file that another program wrote.

    It has `class_names`, `preprocessing`, `recipe` and `data`.
    """
    from keras_cnns import applications, saving

    if path:
        return saving.read_info(path)
    if f"{network.lower()}:{weights}" not in applications.list_weights(network, shipped=True):
        load_keras()  # which fetches the class names
    return applications.weights_info(network, weights)


def model_file(text):
    """Return (path of its `.keras` file, record, stem) for MODEL; the record is that of `read_record`.

    Weights that ship are checked by their sha256, and Keras is not imported. Those that Keras fetches become a file
    that lives as long as the process.
    """
    path, record, stem = _found(text)
    if path is None:
        import atexit
        import tempfile

        from keras_cnns import saving

        folder = tempfile.TemporaryDirectory(prefix="keras_cnns-")
        atexit.register(folder.cleanup)
        path = Path(folder.name) / f"{stem}.keras"
        fields = {field.name: getattr(record, field.name) for field in dataclasses.fields(saving.ModelInfo)}
        saving.save_model(_fetched(record), path, saving.ModelInfo(**fields))
    return path, record, stem


def open_model(text):
    """Return (model, record, stem) for MODEL, as `model_file` does; the record with what `model_options` told."""
    path, record, stem = _found(text)
    load_keras()
    from keras_cnns import saving

    model = _fetched(record) if path is None else saving.load_with_info(path)[0]
    return model, _foreign.described(record, model, text), stem


def classifier(model, class_names, text):
    """Return a model as `_models.as_classifier` does; errors name MODEL, and what is taken for a logit is noted."""
    from keras_cnns import _models
    from keras_cnns.errors import ArgumentError

    try:
        found = _models.as_classifier(model, class_names or ())
    except ArgumentError as error:
        raise ArgumentError(f"{text}: {error}") from None
    if not _models.gives_probabilities(_models.main_output(model)) and _models.gives_probabilities(found):
        _common.note(
            f"{text} gives one number per image, without a sigmoid: it is taken for the logit of {class_names[1]!r}"
        )
    return found


def _found(text):
    """Return (path, record, stem) for MODEL; no path for weights that Keras fetches, and keeps, itself."""
    from keras_cnns.applications._weights import verified_path

    path, network, weights = locate(text)
    record = read_record(path, network, weights)
    if path:
        return path, record, path.stem
    return record.path and verified_path(record), record, f"{network.lower()}-{weights}"


def _fetched(record):
    from keras_cnns import applications

    return applications.create_model(record.builder, weights=record.name)


def reopen(record, source, data_dir, download):
    """Return a source with the classes of a record's model, divided as for its training if it is that one.

    Labels are matched to the model's classes by name. A model that does not name its classes is taken to have those of
    the source, in their order, and a note says so.
    """
    from keras_cnns.data import reopen_source

    opened = reopen_source((record and record.data) or {}, source, data_dir=data_dir, download=download)
    if record and record.class_names:
        return opened.with_classes(record.class_names, record.class_ids)
    names = ", ".join(opened.class_names[:10]) + (", ..." if opened.class_names[10:] else "")
    _common.note(
        f"the model does not name its classes; its outputs are taken for those of {source}, in this order: {names}"
    )
    return opened


def tell(source, split=None):
    """Print the notes of a source: all of them, or those that concern one split."""
    for name, sentences in source.notes.items():
        if split in (None, name) or not name:
            for sentence in sentences:
                _common.note(f"{source.name}: {sentence}")


def preprocessing_note(record, text, model):
    """Say so if a model carries no preprocessing record; warn if it does not normalize pixels by itself."""
    if record and record.preprocessing:
        return
    from keras_cnns._models import normalizing_layer

    told = f"{text} carries no preprocessing record: it gets the pixels, 0 to 255, as they are"
    if layer := normalizing_layer(model):
        _common.note(f"{told}, which its own layer {layer} normalizes")
    else:
        _common.note(
            f"warning: {told}, and no layer of it normalizes them. If it was trained on other values, its answers are "
            "wrong: say --scale 1/255 for pixels / 255, or --mean and --deviation"
        )


def preprocessing_of(model, record, text):
    """Return the record's preprocessing; for a model without one, its pixels as they are, and say so."""
    preprocessing_note(record, text, model)
    if record and record.preprocessing:
        return record.preprocessing
    from keras_cnns._models import plain_preprocessing

    return plain_preprocessing(model)
