"""What the commands share: one wrapper from errors to exit codes, and MODEL on a command line."""

import contextlib
import dataclasses
import errno
import math
import os
import re
import shlex
import shutil
import signal
import sys
import warnings
from pathlib import Path

import click
from keras_cnns.cli import _streams

import keras_cnns
from keras_cnns._text import counted as counted  # the commands call it as one of their own helpers
from keras_cnns.errors import OutputError

ASKED_BACKEND = os.environ.get("KERAS_BACKEND")
OTHER_IMAGES = (".jpg", ".jpeg", ".pdf", ".svg", ".eps", ".gif", ".webp", ".bmp", ".tif", ".tiff")
NARROW = 52  # columns; on a narrower terminal --help changes its layout
WIDE = "keras_cnns.wide"  # whether --wide was given, in the context's notes
EXIT_CODES = """
Exit codes: 0 done; 1 a check failed; 2 wrong usage; 3 unreadable or unsafe input;
4 an optional package is missing; 5 output cannot be written; 70 unexpected error;
130 interrupted."""


def run(command, arguments=None):
    """Run a Click command as a program; every way it can end has its exit code.

    Args:
        command: `click.Command`.
        arguments: list of strings; None: those of the process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Pipelines and runtimes are TensorFlow's, whatever Keras is set to otherwise
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if f"_{command.name}_COMPLETE".replace("-", "_").upper() in os.environ:
        from keras_cnns.cli import _completion

        _completion.install()
    try:
        _streams.prepare()
    except OutputError as error:
        _say(command, error)
        sys.exit(error.exit_code)
    with _streams.ctrl_c_acknowledged(command.name):
        code = _exit_code(command, arguments)
    if code and "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
        # JAX would wait for the other processes first, and these for this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _say(command, text):
    note(f"{command.name}: {text}")


def _exit_code(command, arguments):
    with warnings.catch_warnings():
        warnings.showwarning = _one_line(warnings.showwarning)
        return _run(command, arguments)


def _one_line(show):
    """Return a `warnings.showwarning` that prints a `SourceWarning` as one line, once, and leaves others to `show`."""
    from keras_cnns.errors import SourceWarning

    shown = set()

    def show_one_line(message, category, *more, **named):
        if not issubclass(category, SourceWarning):
            show(message, category, *more, **named)
        elif str(message) not in shown:
            shown.add(str(message))
            note(message)

    return show_one_line


def _run(command, arguments):
    def say(text):
        _say(command, text)

    command.context_class, stdout = _Context, sys.stdout
    try:
        given = sys.argv[1:] if arguments is None else arguments
        command.main(
            given,
            prog_name=command.name,
            standalone_mode=False,
            obj=shlex.join([command.name, *given]),
            terminal_width=_help_width(),
        )
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as stop:
        return _flushed(stop.exit_code, say)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        # Click turns a KeyboardInterrupt into an Abort; ours, which says what was saved, is its context
        say(str(stop) or str(stop.__context__ or "") or "interrupted")
        return 130
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        package = {"PIL": "pillow", "sklearn": "scikit-learn"}.get(module, module.replace("_", "-"))
        say(f"this needs the package {package}, which is not installed: pip install {package}")
        return 4
    except SystemExit as stop:
        if sys.stdout is not stdout:  # Click's way to say that the reader of our output has gone
            _streams.give_up_stdout()
            return 5
        return _flushed(stop.code, say)  # shell completion ends so
    except Exception as error:
        if code := getattr(error, "exit_code", None):
            say(error)
            return code
        if isinstance(error, OSError) and error.strerror:
            if not error.filename:
                return _unwritten(error, say)
            say(f"{error.filename}: {error.strerror}")
            return 5
        if os.environ.get("KERAS_CNNS_TRACEBACK"):
            raise
        text = " ".join(str(error).split())[:300]
        say(f"unexpected error, {type(error).__name__}: {text} (set KERAS_CNNS_TRACEBACK=1 to see where)")
        return 70


def _help_width():
    """Return the width of --help, of which Click makes at least 50; None: Click's own choice."""
    columns = shutil.get_terminal_size().columns
    return max(columns - 2, 20) if columns < NARROW else None


class _Formatter(click.HelpFormatter):
    """Help whose options stand above their texts where there is no room for both beside each other."""

    def write_dl(self, rows, col_max=30, col_spacing=2):
        super().write_dl(rows, 4 if self.width < NARROW - 2 else col_max, col_spacing)


class _Context(click.Context):
    formatter_class = _Formatter


def _flushed(code, say):
    """Return the exit code of a command that ends by itself, after what it printed has been written."""
    try:
        sys.stdout.flush()
        return code or 0
    except OSError as error:
        return _unwritten(error, say)


def _unwritten(error, say):
    """Return the exit code for output that cannot be written, and say so unless its reader has just left."""
    _streams.give_up_stdout()
    if error.errno != errno.EPIPE:
        say(f"the output cannot be written ({error.strerror}). Free some space there, or print it elsewhere.")
    return 5


def options(function):
    """Add what every command that prints a table has: --json, --wide, --version."""

    def widen(context, parameter, wide):
        context.meta[WIDE] = wide

    text = "Print all columns, however wide the table becomes."
    return options_without_table(
        click.option("--wide", is_flag=True, expose_value=False, callback=widen, help=text)(function)
    )


def options_without_table(function):
    """Add what every command has: --json, --version."""
    function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
    return click.version_option(keras_cnns.__version__, prog_name="keras_cnns")(function)


data_dir_option = click.option(
    "--data-dir", type=click.Path(), help="Where tensorflow-datasets keeps its data sets (for tfds:NAME)."
)
download_option = click.option("--download", is_flag=True, help="Fetch a tfds:NAME that is not on disk.")
force_option = click.option("--force", is_flag=True, help="Overwrite what an earlier run wrote there.")


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


def _keep(context, parameter, value):
    """Keep an option's value with the command's context, where `given` finds it."""
    context.meta[f"keras_cnns.{parameter.name}"] = value


def given(name):
    """Return the value of one of the `model_options`; None or () if it was not given."""
    context = click.get_current_context(silent=True)
    return context and context.meta.get(f"keras_cnns.{name}")


def _keep_numbers(context, parameter, text):
    """Keep one number or three, commas between; fractions as 1/127.5 are numbers too."""
    if text is not None:
        try:
            parts = (number.partition("/") for number in text.split(","))
            values = tuple(float(top) / float(bottom or 1) for top, _, bottom in parts)
        except (ValueError, ZeroDivisionError):
            values = ()
        if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
            raise click.BadParameter(f"must be one number, or three with commas between. Received: {text!r}")
        text = values
    _keep(context, parameter, text)


import_option = click.option(
    "--import",
    "modules",
    multiple=True,
    metavar="MODULE",
    expose_value=False,
    callback=_keep,
    help="Module, or path of a .py file, that defines layers of MODEL; may be given again. Its code is run.",
)

_PREPROCESSING_OPTIONS = (
    click.option(
        "--scale",
        metavar="NUMBER",
        expose_value=False,
        callback=_keep_numbers,
        help="For a MODEL without a preprocessing record: pixels, 0 to 255, are multiplied by it, as by 1/255.",
    ),
    click.option(
        "--mean",
        metavar="NUMBER",
        expose_value=False,
        callback=_keep_numbers,
        help="Likewise: subtracted before, in pixel units; one number, or R,G,B.",
    ),
    click.option(
        "--deviation",
        metavar="NUMBER",
        expose_value=False,
        callback=_keep_numbers,
        help="In place of --scale: divided by, in pixel units; one number, or R,G,B.",
    ),
    click.option(
        "--labels",
        type=click.Path(),
        metavar="FILE",
        expose_value=False,
        callback=_keep,
        help="Class names, one a line, instead of the model's.",
    ),
    import_option,
)


def model_options(function):
    """Add what tells a command about the MODEL of another program: its preprocessing, class names and layers."""
    for option in reversed(_PREPROCESSING_OPTIONS):
        function = option(function)
    return function


def load_keras():
    """Import keras and what it runs on, without the lines that TensorFlow's start-up writes to stderr.

    A Ctrl-C meanwhile waits until the import is done: in the middle, some library would swallow it. Then the modules of
    --import are imported.
    """
    from keras_cnns._quiet import quiet

    with _streams.ctrl_c_postponed(), quiet():
        import keras
    if ASKED_BACKEND and ASKED_BACKEND != keras.backend.backend():
        note(f"KERAS_BACKEND={ASKED_BACKEND} is not used: this command computes with {keras.backend.backend()}")
    for module in given("modules") or ():
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
    return model, described(record, model, text), stem


def described(record, model, text, side=None, rename=True):
    """Return a record with the preprocessing and class names that the options tell.

    Args:
        record: of `read_record`, or None.
        model: `keras.Model`.
        text: MODEL.
        side: of the images in pixels, where the model's height and width are free.
        rename: whether --labels takes the place of class names that the record has.

    Raises:
        ArgumentError: if the record has a preprocessing already, or the numbers cannot be meant.
        SourceError: if the file of class names cannot be read.
    """
    from keras_cnns import saving

    known, changes = record or saving.ModelInfo(), {}
    numbers = {name: given(name) for name in ("scale", "mean", "deviation") if given(name)}
    if numbers:
        _check_numbers(numbers, known, text)
        changes["preprocessing"] = _preprocessing(model, side, **numbers)
    if (names := given_labels()) and (rename or not known.class_names):
        _check_names(names, model, text)
        changes["class_names"] = names
    return dataclasses.replace(known, **changes) if changes else record


def given_labels():
    """Return the class names of the file that --labels names, None without it."""
    if given("labels") is None:
        return None
    from keras_cnns.export.options import read_labels

    return read_labels(given("labels"))


def _check_names(names, model, text):
    from keras_cnns._models import class_count
    from keras_cnns.errors import ArgumentError

    outputs = getattr(model, "outputs", None)
    classes = class_count(outputs[0]) if outputs else len(names)
    if len(names) != classes:
        raise ArgumentError(
            f"{text} tells {classes} classes apart, and --labels must name each on a line of its own. "
            f"Received: {len(names)} names, {', '.join(names[:5])}{', ...' if names[5:] else ''}"
        )
    if twice := [name for k, name in enumerate(names) if name in names[:k]]:
        raise ArgumentError(f"the class names must differ from each other. Received: {twice[0]!r} more than once")


def _check_numbers(numbers, record, text):
    """Raise ArgumentError for numbers that contradict each other or the record, or that are not in pixel units."""
    from keras_cnns.errors import ArgumentError

    received = ", ".join(f"--{name} {','.join(f'{value:g}' for value in values)}" for name, values in numbers.items())
    if record.preprocessing:
        raise ArgumentError(
            f"{text} carries its own preprocessing record: leave out --{next(iter(numbers))}. Received: {received}"
        )
    if {"scale", "deviation"} <= set(numbers):
        raise ArgumentError(f"--deviation is 1 over --scale: give one of them. Received: {received}")
    if 0 in (*numbers.get("scale", ()), *numbers.get("deviation", ())):
        raise ArgumentError(f"--scale and --deviation must not be 0. Received: {received}")
    if max(map(abs, numbers.get("scale", (0,)))) > 1:
        raise ArgumentError(
            f"--scale multiplies pixels of 0 to 255; for values of 0 to 1 it is 1/255. Received: {received}"
        )
    for name in ("mean", "deviation"):
        if 0 < max(map(abs, numbers.get(name, (0,)))) <= 1:
            raise ArgumentError(
                f"--{name} is in pixel units, 0 to 255: multiply what was found on pixels / 255 by 255. "
                f"Received: {received}"
            )


def _preprocessing(model, side, scale=None, mean=None, deviation=None):
    """Return the `Preprocessing` that the options tell for a model."""
    from keras_cnns import _models
    from keras_cnns.data.preprocessing import Preprocessing
    from keras_cnns.errors import ArgumentError

    if side is None:
        plain = _models.plain_preprocessing(model)
    else:
        plain = Preprocessing((side, side), _models.image_input(model)[-1], scale=(1.0,))
    if deviation is not None:
        scale = tuple(1 / value for value in deviation)
    changes = {"scale": scale, "mean": mean}
    try:
        return dataclasses.replace(plain, **{key: value for key, value in changes.items() if value is not None})
    except ValueError as error:  # three values for a gray image
        raise ArgumentError(str(error)) from None


def classifier(model, class_names, text):
    """Return a model as `_models.as_classifier` does; errors name MODEL, and what is taken for a logit is noted."""
    from keras_cnns import _models
    from keras_cnns.errors import ArgumentError

    try:
        found = _models.as_classifier(model, class_names or ())
    except ArgumentError as error:
        raise ArgumentError(f"{text}: {error}") from None
    if not _models.gives_probabilities(_models.main_output(model)) and _models.gives_probabilities(found):
        note(f"{text} gives one number per image, without a sigmoid: it is taken for the logit of {class_names[1]!r}")
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
    note(f"the model does not name its classes; its outputs are taken for those of {source}, in this order: {names}")
    return opened


def tell(source, split=None):
    """Print the notes of a source: all of them, or those that concern one split."""
    for name, sentences in source.notes.items():
        if split in (None, name) or not name:
            for sentence in sentences:
                note(f"{source.name}: {sentence}")


def prepare_plot(path, force):
    """Raise an error if an image cannot be written there, before the work and not after it."""
    from keras_cnns import _files
    from keras_cnns.errors import ArgumentError

    suffix = Path(path).suffix
    if suffix.lower() in OTHER_IMAGES:
        raise ArgumentError(
            f"drawings are PNG files and {suffix} says otherwise; end the name in .png. Received: output={str(path)!r}"
        )
    if not force:
        _files.refuse_existing(path)
    _files.make_folder(os.path.dirname(path) or ".")


def table(title, columns, rows, below=False):
    """Print a line and a table on stdout, as wide as there is room for; stderr names the columns that had none.

    Args:
        title: one line or several, printed above.
        columns: `_tables.Column`, or the values of one: (heading, "left" or "right"), then its rank and how it wraps.
        rows: sequences of values, one a column.
        below: whether columns that have no room come in a further table below, instead of being left out.
    """
    from keras_cnns.cli import _tables

    columns = [one if isinstance(one, _tables.Column) else _tables.Column(*one) for one in columns]
    rows = [[_streams.printable(str(value), one_line=True) for value in row] for row in rows]
    context = click.get_current_context(silent=True)
    width = 1 << 30 if context and context.meta.get(WIDE) else _tables.output_width()
    rule = "─" if _streams.can_encode("─") else "-"
    lines, left_out = [], []
    for group in _tables.groups(columns, rows, width) if below else [range(len(columns))]:
        part = _tables.layout([columns[k] for k in group], [[row[k] for k in group] for row in rows], width, rule)
        lines += ["", *part[0]] if lines else part[0]
        left_out += part[1]
    # Through a pipe a sentence stays one line, which can be searched for
    titles = _streams.printable(title).split("\n")
    if sys.stdout.isatty():
        titles = [part for line in titles for part in _tables.wrapped(line, width)]
    click.echo("\n".join([*titles, *lines]))
    if left_out:
        note(f"no room for: {', '.join(dict.fromkeys(left_out))} (--wide prints all columns, --json everything)")


def track(steps, what):
    """Return the steps, and show on stderr how many are done."""
    from rich.console import Console
    from rich.progress import track

    return track(steps, what, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def print_json(values):
    """Print JSON on stdout, with ASCII escapes if its encoding lacks a letter of it."""
    import json

    text = json.dumps(values, indent=2, ensure_ascii=False)
    click.echo(text if _streams.can_encode(text) else json.dumps(values, indent=2))


def echo(text):
    """Print a line of the result on stdout, with escapes for what cannot be shown there."""
    click.echo(_streams.printable(text))


def note(text):
    """Print a line of progress on stderr, with escapes for what cannot be shown there."""
    click.echo(_streams.printable(str(text), sys.stderr), err=True)


@contextlib.contextmanager
def stoppable():
    """Give a `note` that stops the command if a Ctrl-C came that some library swallowed; SIGTERM is like Ctrl-C."""
    came = []

    def stop(*_):
        came.append(True)
        raise KeyboardInterrupt

    def note_or_stop(text):
        if came:
            raise KeyboardInterrupt
        note(text)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield note_or_stop
        if came:
            raise KeyboardInterrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def preprocessing_note(record, text, model):
    """Say so if a model carries no preprocessing record; warn if it does not normalize pixels by itself."""
    if record and record.preprocessing:
        return
    from keras_cnns._models import normalizing_layer

    told = f"{text} carries no preprocessing record: it gets the pixels, 0 to 255, as they are"
    if layer := normalizing_layer(model):
        note(f"{told}, which its own layer {layer} normalizes")
    else:
        note(
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
