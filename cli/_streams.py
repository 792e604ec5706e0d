"""Safe standard streams, whether closed, broken or limited by their encoding."""

import contextlib
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from keras_cnns.errors import OutputError

ACKNOWLEDGED_AFTER = 0.3  # seconds; a command that ends sooner prints no acknowledgment
# A terminal would obey control characters; surrogates (bytes of a file name that is not UTF-8) cannot be encoded
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def prepare() -> None:
    """Make the standard streams safe to write to.

    Characters that the encoding lacks are escaped, and errors of writing to stderr are ignored. A closed stream
    becomes the null device; otherwise a file opened later would get its number, and with it the messages of libraries.

    Raises:
        OutputError: if stdout is closed.
    """
    closed = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if name in closed:
            try:
                os.fstat(number)  # another file may have the number by now
            except OSError:
                _to_null_device(number)
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf8"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # callers may have put another kind of stream there
            stream.reconfigure(errors="backslashreplace")
    with contextlib.suppress(AttributeError, OSError):
        if sys.stderr.fileno() == 2:
            sys.stderr = io.TextIOWrapper(
                io.BufferedWriter(_Stderr(2, "wb", closefd=False)),
                encoding=sys.stderr.encoding,
                errors="backslashreplace",
                line_buffering=True,
            )
    if "stdout" in closed:
        raise OutputError("stdout is closed, so that no result can be printed. Redirect it to a file or to /dev/null.")


class _Stderr(io.FileIO):
    """Drop what cannot be written to stderr, so that the work continues."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            _to_null_device(self.fileno())
            return len(data)


def give_up_stdout() -> None:
    """Discard the rest of stdout's buffer.

    Python would otherwise try to write it at exit and print a second error.
    """
    with contextlib.suppress(OSError, ValueError):
        _to_null_device(sys.stdout.fileno())


def _to_null_device(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def printable(text: str, stream: TextIO | None = None, one_line: bool = False) -> str:
    r"""Return text with escapes (`\u732b`) for unprintable characters.

    These are control characters except tab and line feed, surrogates, and characters that the encoding lacks.

    Args:
        text: any string.
        stream: text stream that it will be written to; None: stdout.
        one_line: whether to escape tabs and line feeds too.
    """
    encoding = (stream or sys.stdout).encoding or "utf8"
    if one_line:
        text = text.replace("\t", r"\t").replace("\n", r"\n")
    text = UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def can_encode(text: str, stream: TextIO | None = None) -> bool:
    """Return whether a stream's encoding has all characters of a text.

    Args:
        text: any string.
        stream: text stream; None: stdout.
    """
    try:
        text.encode((stream or sys.stdout).encoding or "utf8")
    except UnicodeEncodeError:
        return False
    return True


_postponed: list[bool] = []  # one entry for each Ctrl-C during `ctrl_c_postponed`


def _postpone(*_: Any) -> None:
    _postponed.append(True)


@contextlib.contextmanager
def ctrl_c_postponed() -> Iterator[None]:
    """Postpone Ctrl-C until the end of the body.

    Some libraries swallow a KeyboardInterrupt raised while they are imported, so it is raised afterwards.
    """
    _postponed.clear()
    handler = signal.signal(signal.SIGINT, _postpone)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if _postponed:
        raise KeyboardInterrupt


@contextlib.contextmanager
def ctrl_c_acknowledged(name: str) -> Iterator[None]:
    """Acknowledge the first Ctrl-C on stderr, even while a library computes.

    Python handles signals only between its own instructions, so a thread does it. Nothing is printed if the body
    ends within `ACKNOWLEDGED_AFTER` seconds, nor if the body has replaced the signal's handler, as training does,
    which prints its own line.

    Args:
        name: of the command.
    """
    try:
        console = os.dup(2) if os.name == "posix" else None  # a copy, as the body may redirect stderr
    except OSError:
        console = None
    if console is None:
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    finished = threading.Event()

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] == signal.SIGINT:
                ours = signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _postpone)
                if ours and not finished.wait(ACKNOWLEDGED_AFTER):
                    with contextlib.suppress(OSError):
                        os.write(console, f"{name}: Ctrl-C was heard; stopping after the current step\n".encode())
                return

    # The C-level handler writes the signal's number into the pipe at once, whatever Python is doing
    previous_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        signal.set_wakeup_fd(previous_writer)
        os.close(writer)  # ends the thread's loop
        watcher.join()
        os.close(reader)
        os.close(console)
