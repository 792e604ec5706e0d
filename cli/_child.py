"""A command whose work is done in a child process, which may die or compute for minutes without listening.

Converters end their process where memory is short, and Python hears of no signal while one computes. The parent imports
neither Keras nor TensorFlow: it says how the child died, stops it at Ctrl-C, and removes what it left.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import click
from keras_cnns.cli import _common, _streams

STEP = "KERAS_CNNS_STEP"  # variable of the child: the file that tells its parent what it is doing
GRACE = 2.0  # seconds in which a child that is told to stop may clean up itself
WITHOUT = ("--help", "--version")  # options that start no work


def run(command, module, arguments=None):
    """Run a Click command as a program, in a child process where it works.

    Args:
        command: `click.Command`; an option `output` of it is the folder that it writes into.
        module: name of the module whose `main` calls this.
        arguments: list of strings, with which it runs in this process, for who calls it in code; None: those of the
            process.

    It ends the process, as `_common.run` does.
    """
    if arguments is not None:
        return _common.run(command, arguments)
    if STEP in os.environ:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        return _common.run(command)
    arguments = sys.argv[1:]
    if f"_{command.name}_COMPLETE".replace("-", "_").upper() in os.environ or not {*WITHOUT}.isdisjoint(arguments):
        return _common.run(command)
    try:
        folder = command.make_context(command.name, list(arguments)).params.get("output")
    except click.ClickException:
        return _common.run(command)  # which says what is wrong
    if sys.stdout is None:
        return _common.run(command)  # likewise
    _streams.prepare()  # or the child's pipe would get the number of a closed stream
    return sys.exit(_supervise(command.name, module, arguments, folder and Path(folder)))


def noted(note):
    """Return a function that passes on lines of progress, and tells the parent of the last one."""

    def note_step(text):
        if STEP in os.environ:
            with contextlib.suppress(OSError):
                Path(os.environ[STEP]).write_text(text, "utf8")
        note(text)

    return note_step


def _end_with_parent():
    """End this process when its stdin does, which the parent holds open."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(130)


def _supervise(name, module, arguments, folder):
    """Run the command of a module in a child process, which writes into a folder or None; return the exit code."""
    existed = folder is None or folder.exists()
    with tempfile.TemporaryDirectory(prefix="keras_cnns-", ignore_cleanup_errors=True) as scratch:
        step = Path(scratch) / "step"
        # What the child leaves in temporary folders, it leaves in ours
        environment = {**os.environ, STEP: str(step), **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch)}
        source = f"from {module} import main; main()"
        # In a group of its own, so that a terminal's Ctrl-C comes to this process alone
        group = {"process_group": 0} if os.name == "posix" else {}
        with _Stop(name) as stop:
            stop.child = subprocess.Popen(
                [sys.executable, "-P", "-c", source, *arguments], stdin=subprocess.PIPE, env=environment, **group
            )
            code = stop.child.wait()
        if code >= 0 and not stop.killed:
            return code
        if folder:
            from keras_cnns import _files

            _files.sweep_claims(folder)
        if not existed:
            with contextlib.suppress(OSError):  # it is not there, or holds something
                folder.rmdir()
        if stop.signals:
            click.echo(f"{name}: interrupted", err=True)
            return 130
        click.echo(f"{name}: {_how_it_died(-code, step)}", err=True)
        return 1


class _Stop:
    """Stop a child at Ctrl-C or SIGTERM: politely, after `GRACE` or at the second signal by force.

    Attributes:
        child: the `subprocess.Popen`, once it runs.
        signals: how many came.
        killed: whether the child was ended by force.
    """

    def __init__(self, name):
        self.name, self.child, self.signals, self.killed, self.timer = name, None, 0, False, None

    def __enter__(self):
        self.before = {number: signal.signal(number, self._heard) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        if self.timer:
            self.timer.cancel()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _heard(self, *_):
        self.signals += 1
        if self.signals > 1:
            self._kill()
            return
        os.write(2, f"{self.name}: stopping (Ctrl-C once more ends it at once)\n".encode())
        if self.child:
            self.child.terminate()
        self.timer = threading.Timer(GRACE, self._kill)
        self.timer.start()

    def _kill(self):
        if self.child and self.child.poll() is None:
            self.killed = True
            self.child.kill()


def _how_it_died(number, step):
    """Return the sentence about a child that was ended by a signal nobody here sent."""
    try:
        doing = f" after {step.read_text('utf8')!r}"
    except OSError:
        doing = ""
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    libraries = "" if name in ("SIGABRT", "SIGKILL", "SIGBUS") else "a library is at fault or "
    return (
        f"the process that did the work was ended by {name}{doing}, most likely because {libraries}memory ran out; "
        "nothing was kept. Raise its limit (of a container, or of ulimit -v, which counts some 3.5 GB beyond what is "
        "used), close other programs, or use a larger machine."
    )
