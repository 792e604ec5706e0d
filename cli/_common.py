"""Run commands as programs and turn errors into exit codes."""

import contextlib
import errno
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from keras_cnns.cli import _options, _output, _streams

from keras_cnns.errors import OutputError

ASKED_BACKEND = os.environ.get("KERAS_BACKEND")  # the user's choice, before `run` sets its own
OTHER_IMAGES = (".jpg", ".jpeg", ".pdf", ".svg", ".eps", ".gif", ".webp", ".bmp", ".tif", ".tiff")
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}  # modules whose package has another name


def run(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command as a program and exit with its code.

    Args:
        command: `click.Command`.
        arguments: command-line arguments; None: those of this process.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Input pipelines and runtimes need TensorFlow, whatever backend the user has set for Keras
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if is_completion(command):
        from keras_cnns.cli import _completion

        _completion.install()
    try:
        _streams.prepare()
    except OutputError as error:
        _say(command, error)
        sys.exit(error.exit_code)
    with _streams.ctrl_c_acknowledged(str(command.name)):
        code = _exit_code(command, arguments)
    if code and "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
        # An ordinary exit would hang: JAX waits for the other processes, and they wait for this one
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def is_completion(command: click.Command) -> bool:
    """Return whether the shell asks for completions instead of running the command."""
    return f"_{command.name}_COMPLETE".replace("-", "_").upper() in os.environ


def prepare_plot(path: str | Path, force: bool) -> None:
    """Check that a drawing can be written, before any work is done.

    Args:
        path: of the PNG file.
        force: whether an existing file may be overwritten.

    Raises:
        ArgumentError: if the path has another image's suffix, or exists without `force`.
        OutputError: if its folder cannot be made.
    """
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


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[object], None]]:
    """Yield a `note` function that stops the command after Ctrl-C or SIGTERM.

    Some libraries catch the KeyboardInterrupt that the signal raises and continue. The next call of `note` raises it
    again.
    """
    signaled = False

    def stop(*_: Any) -> None:
        nonlocal signaled
        signaled = True
        raise KeyboardInterrupt

    def note_or_stop(text: object) -> None:
        if signaled:
            raise KeyboardInterrupt
        _output.note(text)

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield note_or_stop
        if signaled:
            raise KeyboardInterrupt
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _say(command: click.Command, text: object) -> None:
    _output.note(f"{command.name}: {text}")


def _exit_code(command: click.Command, arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code, with short warnings."""
    with warnings.catch_warnings():
        warnings.showwarning = _one_line(warnings.showwarning)
        return _run(command, arguments)


def _one_line(show: Callable[..., None]) -> Callable[..., None]:
    """Return a `warnings.showwarning` that prints each `SourceWarning` once, on one line.

    Other warnings go to `show`.
    """
    from keras_cnns.errors import SourceWarning

    shown = set()

    def show_one_line(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
        if not issubclass(category, SourceWarning):
            show(message, category, *more, **named)
        elif str(message) not in shown:
            shown.add(str(message))
            _output.note(message)

    return show_one_line


def _run(command: click.Command, arguments: Sequence[str] | None) -> int:
    """Run a command and return its exit code; errors become one line."""

    def say(text: object) -> None:
        _say(command, text)

    stdout = sys.stdout
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        command.main(
            arguments,
            prog_name=command.name,
            standalone_mode=False,
            obj=shlex.join([str(command.name), *arguments]),
            terminal_width=_options.help_width(),
        )
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as stop:
        return _flushed(stop.exit_code, say)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        # Click turns a KeyboardInterrupt into an Abort; the original, which says what was saved, is its context
        say(str(stop) or str(stop.__context__ or "") or "interrupted")
        return 130
    except SystemExit as stop:
        if sys.stdout is not stdout:  # Click replaces stdout after a broken pipe: the reader of our output has gone
            _streams.give_up_stdout()
            return 5
        return _flushed(stop.code, say)  # shell completion ends this way
    except Exception as error:
        return _error_code(error, say)


def _error_code(error: Exception, say: Callable[[object], None]) -> int:
    """Print an error on one line and return its exit code."""
    if isinstance(error, ModuleNotFoundError):
        module = (error.name or "").partition(".")[0]
        package = PACKAGES.get(module, module.replace("_", "-"))
        say(f"this needs the package {package}, which is not installed: pip install {package}")
        return 4
    if code := getattr(error, "exit_code", None):
        say(error)
        return code
    if isinstance(error, OSError) and error.strerror:
        if not error.filename:
            return _unwritten(error, say)
        say(f"{error.filename}: {error.strerror}")
        return 5
    if os.environ.get("KERAS_CNNS_TRACEBACK"):
        raise error
    text = " ".join(str(error).split())[:300]
    say(f"unexpected error, {type(error).__name__}: {text} (set KERAS_CNNS_TRACEBACK=1 to see where)")
    return 70


def _flushed(code: Any, say: Callable[[object], None]) -> int:
    """Return the exit code of a finished command, after flushing stdout."""
    try:
        sys.stdout.flush()
        return code or 0
    except OSError as error:
        return _unwritten(error, say)


def _unwritten(error: OSError, say: Callable[[object], None]) -> int:
    """Return the exit code for unwritable output, and explain the error.

    A reader that has closed its end of the pipe gets no explanation.
    """
    _streams.give_up_stdout()
    if error.errno != errno.EPIPE:
        say(f"the output cannot be written ({error.strerror}). Free some space there, or print it elsewhere.")
    return 5
