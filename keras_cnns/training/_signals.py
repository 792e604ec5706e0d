"""Ctrl-C and SIGTERM, acknowledged at once and obeyed where nothing is lost.

Standard library only.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from keras_cnns.errors import Interrupted

if TYPE_CHECKING:
    from keras_cnns.saving import ModelInfo
    from keras_cnns.training.job import Job

ECHO = 0.5  # seconds in which a second signal is taken for an echo of the first; `timeout` of coreutils sends two
PREPARING = "nothing has been trained yet; press Ctrl-C again to quit at once"
TRAINING = "after this step; press Ctrl-C again to quit without saving"
VALIDATING = "after this epoch's validation; press Ctrl-C again to quit without saving"
SAVING = "after the network has been written; press Ctrl-C again to quit without saving"
MEASURING = "the trained network has been written; press Ctrl-C again to quit at once"
NOW = "press Ctrl-C again to quit at once"

_active: "StopSignals | None" = None


class StopSignals:
    """Stop a run at Ctrl-C or SIGTERM, the second time at once.

    The first signal is acknowledged on stderr at once. Python calls its signal handlers between two of its own
    instructions, which may be minutes later while a compiled function runs. So a thread writes the acknowledgement:
    Python's C handler wakes it through a socket.

    Args:
        hard: whether the second signal ends the process immediately, with exit code 130 and nothing saved. Otherwise it
            raises KeyboardInterrupt, for a caller that continues, such as a notebook.

    Attributes:
        came: whether a first signal has come.
        again: whether a second one has come, if that does not end the process.
        began: whether the training has begun.
        doing: the current work, in the words of the acknowledgement.
        waits: whether the first signal is only noted until `check` is called. Otherwise it raises KeyboardInterrupt,
            wherever Python happens to be. In a destructor or a callback from C that exception is lost; `check` raises
            it again.
        tell: function to call instead of stopping, because other processes must stop at the same step; or None.
    """

    def __init__(self, hard: bool = False):
        self.hard = hard
        self.came = self.again = self.began = self.waits = False
        self.doing = PREPARING
        self.tell: Callable[[], None] | None = None
        self._first: float | None = None
        self._reader: socket.socket | None = None
        self._stderr: Any = None
        self._before: dict[int, Any] = {}

    def start(self, sigterm: bool = True) -> None:
        """Take the signals over.

        Only the main thread can have them; in another one nothing is done.

        Args:
            sigterm: whether to take SIGTERM too.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        if self.hard:  # The present stderr is kept, because `_quiet` replaces it while libraries are imported
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self._stderr = open(os.dup(sys.stderr.fileno()), "w", encoding="utf8")
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self.note)
        # A handler that the caller has set is kept, and so is JAX's, which tells the other processes
        if sigterm and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self.note)
        self._thread = threading.Thread(target=self._acknowledge, args=(self._reader,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Give the signals back."""
        if self._reader is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        self._writer.close()  # which ends the thread
        self._thread.join(1.0)
        if self._stderr:
            self._stderr.close()
        self._reader = self._stderr = None

    def note(self, *signal_and_frame: Any) -> None:
        """Handle one signal."""
        now = time.monotonic()
        if not self.came:
            self.came, self._first = True, now
            if self.tell is not None:
                self.tell()
            elif not self.waits:
                raise KeyboardInterrupt
        elif not self.hard and now - (self._first or now) >= ECHO:
            self.again = True
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.came and self.tell is None:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def stage(self, doing: str, waits: bool = False) -> Iterator[None]:
        """Set `doing` and `waits` within the context.

        Args:
            doing: what the body does, in the words of the acknowledgement.
            waits: whether a signal in the body waits for `check`.
        """
        before = self.doing, self.waits
        self.doing, self.waits = doing, waits
        try:
            yield
        finally:
            self.doing, self.waits = before

    def say(self, text: str) -> None:
        """Write a line on stderr, replacing a terminal's line of progress."""
        stream = self._stderr or sys.stderr
        with contextlib.suppress(OSError, ValueError, AttributeError):
            wipe = "\r\x1b[2K" if stream.isatty() else ""
            print(f"{wipe}{text}", file=stream, flush=True)

    def _acknowledge(self, reader):
        first = None
        with reader:
            while numbers := reader.recv(64):
                for number in numbers:
                    now = time.monotonic()
                    if number not in self._before:
                        continue
                    if first is None:
                        first = now
                        self.say(f"stopping: {self.doing}")
                    elif self.hard and now - first >= ECHO:
                        self._quit()

    def _quit(self):
        # A line of progress hides the terminal's cursor, which must come back
        cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
        self.say(f"quit{cursor}")
        os._exit(130)


@contextlib.contextmanager
def stop_signals(hard: bool = False, sigterm: bool = True) -> Iterator[StopSignals]:
    """Handle the stop signals within the context.

    If a caller has started `StopSignals`, they are yielded; otherwise new ones, which end with the context.

    Args:
        hard: as in `StopSignals`.
        sigterm: whether SIGTERM stops the run too.
    """
    global _active
    if _active is not None:
        yield _active
        return
    _active = signals = StopSignals(hard)
    signals.start(sigterm)
    try:
        yield signals
    finally:
        signals.end()
        _active = None


def active() -> StopSignals:
    """Return the `StopSignals` of the present run.

    Either `interruptible` or a caller of it has started them; outside a run they do not exist.
    """
    return _active  # type: ignore[return-value]  # None only outside a run


def interruptible(run: "Callable[[Job], ModelInfo]") -> "Callable[[Job], ModelInfo]":
    """Restore the run's folder after Ctrl-C before the first step.

    SIGTERM does the same. The run then raises `Interrupted`.
    """

    @functools.wraps(run)
    def run_or_stop(job: "Job") -> "ModelInfo":
        several, existed = job.distribution.processes > 1, os.path.lexists(job.output)
        with stop_signals(sigterm=not several) as signals:
            try:
                return run(job)
            except KeyboardInterrupt as stop:
                if isinstance(stop, Interrupted) or signals.began or several:
                    raise
                raise Interrupted(f"interrupted before the first step; {job.output} is as it was") from None
            finally:
                if not existed:  # a folder that holds files by now cannot be removed, and stays
                    with contextlib.suppress(OSError):
                        os.rmdir(job.output)

    return run_or_stop
