"""Ctrl-C and SIGTERM: acknowledged at once, obeyed where nothing is lost. Standard library only."""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time

from keras_cnns.errors import Interrupted

ECHO = 0.5  # seconds in which a second signal is an echo of the first: coreutils' `timeout`, for one, sends two
PREPARING = "nothing has been trained yet; press Ctrl-C again to quit at once"
TRAINING = "after this step; press Ctrl-C again to quit without saving"
VALIDATING = "after this epoch's validation; press Ctrl-C again to quit without saving"
SAVING = "after the network has been written; press Ctrl-C again to quit without saving"
MEASURING = "the trained network has been written; press Ctrl-C again to quit at once"
NOW = "press Ctrl-C again to quit at once"

_active = None


class StopSignals:
    """Hear the first Ctrl-C or SIGTERM of a run, say so, and stop the run; end at the second one.

    Python calls its signal handlers between two of its own instructions, which is seconds or minutes later when a
    compiled function runs. So a thread says that the signal was heard: Python's C handler wakes it through a socket.

    Args:
        hard: whether the second signal ends the process, with exit code 130 and nothing saved, whatever it is doing.
            Otherwise it raises KeyboardInterrupt, for a caller that lives on, as a notebook does.

    Attributes:
        came: whether a first signal has come.
        again: whether a second one has, where that does not end the process.
        began: whether the training has begun.
        doing: what is done, in the words of the acknowledgement.
        waits: whether the first signal is noted alone, until `check` is called. Otherwise it raises KeyboardInterrupt,
            wherever Python happens to be; in a destructor or a callback from C that is lost, and `check` finds it.
        tell: function to call in place of stopping, where other processes must stop at the same step; None: none.
    """

    def __init__(self, hard=False):
        self.hard = hard
        self.came = self.again = self.began = self.waits = False
        self.doing, self.tell = PREPARING, None
        self._first = self._reader = self._stderr = None
        self._before = {}

    def start(self, sigterm=True):
        """Take the signals over; nothing where this is not the main thread, which alone can have them."""
        if threading.current_thread() is not threading.main_thread():
            return
        if self.hard:  # stderr as it is now: while libraries are imported, `_quiet` holds back what is written there
            with contextlib.suppress(OSError, ValueError, AttributeError):
                self._stderr = open(os.dup(sys.stderr.fileno()), "w", encoding="utf8")
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self.note)
        # A handler of the caller's own knows better, and so does JAX among several processes
        if sigterm and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self.note)
        self._thread = threading.Thread(target=self._acknowledge, args=(self._reader,), daemon=True)
        self._thread.start()

    def end(self):
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

    def note(self, *signal_and_frame):
        """Take one signal."""
        now = time.monotonic()
        if not self.came:
            self.came, self._first = True, now
            if self.tell is not None:
                self.tell()
            elif not self.waits:
                raise KeyboardInterrupt
        elif not self.hard and now - self._first >= ECHO:
            self.again = True
            raise KeyboardInterrupt

    def check(self):
        """Raise KeyboardInterrupt if a signal has come."""
        if self.came and self.tell is None:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def stage(self, doing, waits=False):
        """Say what the body does, and whether a signal in it waits for `check`."""
        before = self.doing, self.waits
        self.doing, self.waits = doing, waits
        try:
            yield
        finally:
            self.doing, self.waits = before

    def say(self, text):
        """Write a line on stderr, over what stands in the terminal's last one."""
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
        cursor = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""  # a line of progress hides it
        self.say(f"quit{cursor}")
        os._exit(130)


@contextlib.contextmanager
def stop_signals(hard=False, sigterm=True):
    """Give the `StopSignals` of this run: those that a caller has started, else new ones that end with the body.

    Args:
        hard: see `StopSignals`.
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


def active():
    """Return the `StopSignals` that `interruptible` or a caller of it has started."""
    return _active


def interruptible(train):
    """Let Ctrl-C or SIGTERM before the first step end `train` with a sentence, and its folder as it was."""

    @functools.wraps(train)
    def stopped(build, source, recipe, output, **options):
        distribution = options.get("distribution")
        several, there = distribution is not None and distribution.processes > 1, os.path.lexists(output)
        with stop_signals(sigterm=not several) as signals:
            try:
                return train(build, source, recipe, output, **options)
            except KeyboardInterrupt as stop:
                if isinstance(stop, Interrupted) or signals.began or several:
                    raise
                raise Interrupted(f"interrupted before the first step; {output} is as it was") from None
            finally:
                if not there:  # but for files, if there are any by now
                    with contextlib.suppress(OSError):
                        os.rmdir(output)

    return stopped
