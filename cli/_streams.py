"""Standard input, output and error of a command: closed, broken, or of an encoding that lacks letters."""

import contextlib
import io
import os
import re
import signal
import sys
import threading

from keras_cnns.errors import OutputError

ACKNOWLEDGED_AFTER = 0.3  # seconds: a command that has ended by then needs no further line
# A terminal would obey these, and no encoding has surrogates (bytes of a file name that are no UTF-8)
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def prepare():
    """Make the standard streams safe to use: no letter that they lack, and no reader who leaves, ends in a traceback.

    What was closed becomes the null device, so that no file of ours gets its number and a library's messages.

    Raises:
        OutputError: if stdout is closed.
    """
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if name in closed:
            try:
                os.fstat(number)  # another file may have got the number
            except OSError:
                _to_null_device(number)
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf8"))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a test's own stream
            stream.reconfigure(errors="backslashreplace")
    with contextlib.suppress(AttributeError, OSError):
        if sys.stderr.fileno() == 2:
            sys.stderr = io.TextIOWrapper(
                io.BufferedWriter(_Notes(2, "wb", closefd=False)),
                encoding=sys.stderr.encoding,
                errors="backslashreplace",
                line_buffering=True,
            )
    if "stdout" in closed:
        raise OutputError("stdout is closed, so that no result can be printed. Redirect it to a file or to /dev/null.")


class _Notes(io.FileIO):
    """Stderr: what cannot be written there is dropped, as the work is worth more than the line about it."""

    def write(self, data):
        try:
            return super().write(data)
        except OSError:
            _to_null_device(self.fileno())
            return len(data)


def give_up_stdout():
    """Send to nowhere what stdout still holds, about which Python would complain once more at its end."""
    with contextlib.suppress(OSError, ValueError):
        _to_null_device(sys.stdout.fileno())


def _to_null_device(number):
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def printable(text, stream=None, one_line=False):
    r"""Return text with escapes (`\u732b`) for what a stream cannot show.

    Escaped are control characters but for tab and line feed, surrogates, and letters that the encoding lacks.

    Args:
        text: any string.
        stream: text stream that it will be written to; None: stdout.
        one_line: whether tabs and line feeds are escaped too.
    """
    encoding = (stream or sys.stdout).encoding or "utf8"
    if one_line:
        text = text.replace("\t", r"\t").replace("\n", r"\n")
    text = UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def can_encode(text, stream=None):
    """Return whether a stream (None: stdout) can hold a text as it is."""
    try:
        text.encode((stream or sys.stdout).encoding or "utf8")
    except UnicodeEncodeError:
        return False
    return True


_postponed = []  # a sign for each Ctrl-C that waits


def _postpone(*_):
    _postponed.append(True)


@contextlib.contextmanager
def ctrl_c_postponed():
    """Raise the KeyboardInterrupt of a Ctrl-C after the body, in the middle of which some library would swallow it."""
    _postponed.clear()
    before = signal.signal(signal.SIGINT, _postpone)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if _postponed:
        raise KeyboardInterrupt


@contextlib.contextmanager
def ctrl_c_acknowledged(name):
    """Say on stderr soon after the first Ctrl-C that it was heard, even while a library computes and Python waits.

    Nothing is said where someone else has taken over the signal, as the training has, which says itself what it does;
    nor where the body ends within a moment.

    Args:
        name: of the command.
    """
    try:
        console = os.dup(2) if os.name == "posix" else None  # whatever is redirected meanwhile
    except OSError:
        console = None
    if console is None:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()

    def watch():
        while number := os.read(reader, 1):
            if number[0] == signal.SIGINT:
                ours = signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _postpone)
                if ours and not over.wait(ACKNOWLEDGED_AFTER):
                    with contextlib.suppress(OSError):
                        os.write(console, f"{name}: Ctrl-C was heard; stopping after the current step\n".encode())
                return

    # The system's own handler writes the number of a signal there at once, whatever Python is doing
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.close(writer)  # which ends the watcher
        watcher.join()
        os.close(reader)
        os.close(console)
