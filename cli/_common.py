"""What the commands share: one wrapper from errors to exit codes, and MODEL on a command line."""

import contextlib
import dataclasses
import errno
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
from keras_cnns.errors import OutputError

ASKED_BACKEND = os.environ.get("KERAS_BACKEND")
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


def load_keras():
    """Import keras and what it runs on, without the lines that TensorFlow's start-up writes to stderr.

    A Ctrl-C meanwhile waits until the import is done: in the middle, some library would swallow it.
    """
    from keras_cnns._quiet import quiet

    with _streams.ctrl_c_postponed(), quiet():
        import keras
    if ASKED_BACKEND and ASKED_BACKEND != keras.backend.backend():
        note(f"KERAS_BACKEND={ASKED_BACKEND} is not used: this command computes with {keras.backend.backend()}")


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
    """Return (model, record, stem) for MODEL, as `model_file` does."""
    path, record, stem = _found(text)
    load_keras()
    from keras_cnns import saving

    model = _fetched(record) if path is None else saving.load_with_info(path)[0]
    return model, record, stem


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
    """Raise an error if a picture cannot be written there, before the work and not after it."""
    from keras_cnns import _files

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


def counted(count, noun):
    """Return a number with its noun: "1 image", "1,437 images"."""
    return f"{count:,} {noun if count == 1 else noun + ('es' if noun.endswith('s') else 's')}"


def echo(text):
    """Print a line of the result on stdout, with escapes for what cannot be shown there."""
    click.echo(_streams.printable(text))


def note(text):
    """Print a line of progress on stderr, with escapes for what cannot be shown there."""
    click.echo(_streams.printable(text, sys.stderr), err=True)


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


def preprocessing_note(record, text):
    """Say so if a model carries no preprocessing record."""
    if not record or not record.preprocessing:
        note(f"{text} carries no preprocessing record: it gets the pixels, 0 to 255, as they are")


def preprocessing_of(model, record, text):
    """Return the record's preprocessing; for a model without one, its pixels as they are, and say so."""
    preprocessing_note(record, text)
    if record and record.preprocessing:
        return record.preprocessing
    from keras_cnns._models import plain_preprocessing

    return plain_preprocessing(model)
