"""What the commands share: one wrapper from errors to exit codes, common options, and printing."""

import contextlib
import errno
import os
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
