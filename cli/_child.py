"""Run a command's work in a child process.

Converters abort their process when memory runs out, and Python handles no signal while one computes. The parent
process therefore imports neither Keras nor TensorFlow: it reports how the child died, stops it after Ctrl-C, and
removes its unfinished files.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from keras_cnns.cli import _common, _streams

STEP = "KERAS_CNNS_STEP"  # environment variable of the child: the file into which it writes its current step
GRACE = 2.0  # seconds that a child has to clean up after it was told to stop
WITHOUT_WORK = {"--help", "--version"}  # options that need no child process


def run(command: click.Command, module: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command in a child process and exit with its code.

    Args:
        command: `click.Command`; its option `output`, if it has one, is the folder that it writes into.
        module: name of the module whose `main` calls this function.
        arguments: command-line arguments to run in this process, for callers in code; None: those of this process,
            run in a child process.
    """
    if arguments is not None:
        _common.run(command, arguments)
    if STEP in os.environ:  # this process is the child
        threading.Thread(target=_end_with_parent, daemon=True).start()
        _common.run(command)
    arguments = sys.argv[1:]
    if _common.is_completion(command) or not WITHOUT_WORK.isdisjoint(arguments):
        _common.run(command)
    try:
        folder = command.make_context(command.name, list(arguments)).params.get("output")
    except click.ClickException:
        _common.run(command)  # prints the usage error
    if sys.stdout is None:
        _common.run(command)  # prints that stdout is closed
    _streams.prepare()  # otherwise the child's pipe would get the number of a closed stream
    sys.exit(_supervise(str(command.name), module, arguments, folder and Path(folder)))


def noted(note: Callable[[str], None]) -> Callable[[str], None]:
    """Return a `note` function that also tells the parent each line."""

    def note_step(text: str) -> None:
        if STEP in os.environ:
            with contextlib.suppress(OSError):
                Path(os.environ[STEP]).write_text(text, "utf8")
        note(text)

    return note_step


def _end_with_parent() -> None:
    """End this process when its parent, which holds its stdin open, ends."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(130)


def _supervise(name: str, module: str, arguments: Sequence[str], folder: Path | None) -> int:
    """Run a module's command in a child process and return its code.

    Args:
        name: of the command.
        module: whose `main` the child calls.
        arguments: of the command.
        folder: that the command writes into, or None.
    """
    existed = folder is None or folder.exists()
    with tempfile.TemporaryDirectory(prefix="keras_cnns-", ignore_cleanup_errors=True) as scratch:
        step = Path(scratch) / "step"
        # The child's temporary files go into our temporary folder, so that they are removed if it dies
        environment = {**os.environ, STEP: str(step), **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch)}
        with _Stop(name) as stop:
            stop.child = subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {module} import main; main()", *arguments],
                stdin=subprocess.PIPE,
                env=environment,
                # A separate process group, so that only this process receives a terminal's Ctrl-C
                process_group=0 if os.name == "posix" else None,
            )
            code = stop.child.wait()
        if code >= 0 and not stop.killed:
            return code
        if folder:
            from keras_cnns import _files

            _files.sweep_claims(folder)
            if not existed:
                with contextlib.suppress(OSError):  # the folder was never made, or other files are in it
                    folder.rmdir()
        if stop.signals:
            click.echo(f"{name}: interrupted", err=True)
            return 130
        click.echo(f"{name}: {_how_it_died(-code, step)}", err=True)
        return 1


class _Stop:
    """Stop a child process after Ctrl-C or SIGTERM.

    The first signal asks the child to stop and kills it after `GRACE` seconds; the second kills it at once.

    Attributes:
        child: the `subprocess.Popen`, None before it is started.
        signals: number of signals received.
        killed: whether the child was killed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.child: subprocess.Popen | None = None
        self.signals = 0
        self.killed = False
        self.timer: threading.Timer | None = None

    def __enter__(self) -> "_Stop":
        self.handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: Any) -> None:
        if self.timer:
            self.timer.cancel()
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        if self.signals > 1:
            self._kill()
            return
        os.write(2, f"{self.name}: stopping (Ctrl-C once more ends it at once)\n".encode())
        if self.child:
            self.child.terminate()
        self.timer = threading.Timer(GRACE, self._kill)
        self.timer.start()

    def _kill(self) -> None:
        if self.child and self.child.poll() is None:
            self.killed = True
            self.child.kill()


def _how_it_died(number: int, step: Path) -> str:
    """Return a sentence about a child that another process or itself killed.

    Args:
        number: of the signal.
        step: file with the child's last step.
    """
    try:
        after = f" after {step.read_text('utf8')!r}"
    except OSError:
        after = ""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    libraries = "" if name in ("SIGABRT", "SIGKILL", "SIGBUS") else "a library is at fault or "
    return (
        f"the process that did the work was ended by {name}{after}, most likely because {libraries}memory ran out; "
        "nothing was kept. Raise the memory limit (of a container, or of ulimit -v, which counts about 3.5 GB more "
        "than is used), close other programs, or use a larger machine."
    )
