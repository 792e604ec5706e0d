"""A line about the progress of training.

It is rewritten on a terminal; in a log, a new line appears now and then.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import keras

from keras_cnns.tasks.registry import DEFAULT
from keras_cnns.tasks.task import Monitor
from keras_cnns.training.stops import Logs

REFRESH = 0.2  # seconds after which a line on a terminal is rewritten
LINES = 100  # about as many epochs get a line in a log
SIGN_OF_LIFE = 600  # seconds within an epoch after which a log gets a line
SIGNS_AT_ONE_PACE = 25  # after so many of these lines the next ones come half as often


class Progress(keras.callbacks.Callback):
    """Show epoch, step, loss, accuracy, speed, waiting time and time left.

    Use it with `fit(verbose=0)`, and as a context: on leaving it, the terminal is as it was.

    Args:
        batch_size: images per step.
        epochs: number of epochs of the whole run.
        steps: per epoch. None: what `fit` knows, otherwise the steps of the first whole epoch, before whose end no time
            left is shown.
        waited: function that returns the seconds spent waiting for input so far; None: not known.
        start: step at which the first epoch is resumed; only later steps are counted.
        show: whether to show anything.
        stream: where to show it; None: the present stderr at the time of writing.
        monitor: `Monitor` of the value that is shown beside the loss; None: that of a classifier.

    Attributes:
        images_per_second: mean over training, without validation; None before the first step.
        waiting: share of training time, 0 to 1, spent waiting for input; None if not known.
    """

    def __init__(
        self,
        batch_size: int,
        epochs: int,
        steps: int | None = None,
        waited: Callable[[], float] | None = None,
        start: int = 0,
        show: bool = True,
        stream: TextIO | None = None,
        monitor: Monitor | None = None,
    ):
        super().__init__()
        self.monitor = monitor or DEFAULT.monitor
        self.batch_size, self.epochs, self.steps, self.waited, self.show = batch_size, epochs, steps, waited, show
        self._stream, self._signs = stream, 0
        self._line: Any = None  # the `rich.live.Live` on a terminal
        self._unsaid: dict[str, Any] | None = None  # the last epoch's values, if no line has shown them
        # (steps, seconds, seconds of waiting) of all executions but the first, and of the first. That one compiles the
        # step, and measures the speed only as long as there is no other
        self._sums: tuple[int, float, float] = (0, 0.0, 0.0)
        self._first: tuple[int, float, float] | None = None
        self._epoch, self._done, self._validation = 0, 0, 0.0
        self._validating: float | None = None
        self._start = start

    def __enter__(self):
        if self.show and self._out.isatty():
            from rich.console import Console
            from rich.live import Live

            self._line = Live(console=Console(file=self._out), auto_refresh=False, transient=True)
            self._line.start()
        return self

    def __exit__(self, *error):
        if self._line:
            self._line.stop()
            self._line = None

    @property
    def images_per_second(self) -> float | None:
        """Images per second, without validation."""
        speed = self._speed
        return None if speed is None else round(speed, 1)

    @property
    def waiting(self) -> float | None:
        """Share of training time spent waiting for input."""
        _, seconds, waiting = self._measured
        return round(waiting / seconds, 4) if self.waited and seconds else None

    @property
    def _out(self):
        return sys.stderr if self._stream is None else self._stream

    @property
    def _measured(self):
        return self._sums if self._sums[0] or self._first is None else self._first

    @property
    def _speed(self):
        steps, seconds, _ = self._measured
        return steps * self.batch_size / seconds if seconds else None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the epoch's clock."""
        if self.steps is None:
            self.steps = (self.params or {}).get("steps")
        self._epoch, self._done, self._validating = epoch, self._start, None
        # On TensorFlow `fit` counts the steps that `Checkpoint` skips; on other backends its epoch is shorter
        self._before = 0 if keras.backend.backend() == "tensorflow" else self._start
        self._shown = time.monotonic()
        self._count_from(self._shown)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Count the step, and show the line if it is time."""
        now, done = time.monotonic(), self._before + batch + 1
        if self.steps is not None:  # The last execution of an epoch may have fewer steps than the others
            done = min(done, self.steps)
        if done <= self._start:  # Skipped steps of a resumed epoch
            self._count_from(now)
            return
        waiting = self.waited() - self._waited if self.waited else 0.0
        execution = (done - self._done, now - self._counted, waiting)
        if self._first is None:
            self._first = execution
        else:
            steps, seconds, waited = (total + part for total, part in zip(self._sums, execution, strict=True))
            self._sums = (steps, seconds, waited)
        self._done = done
        self._count_from(now)
        if self.show and now - self._shown >= self._pause:
            self._shown, self._signs = now, self._signs + 1
            self._say(logs or {}, in_epoch=True)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Start the validation's clock."""
        self._validating = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Show the epoch's values; a log of many epochs leaves some out."""
        if self._validating is not None:
            self._validation = time.monotonic() - self._validating
        if self.steps is None:
            self.steps = self._done
        self._start, self._done = 0, self.steps
        due = (epoch + 1) % -(-self.epochs // LINES) == 0 or epoch + 1 == self.epochs
        self._unsaid = None if due else dict(logs or {})
        if self.show and (due or self._line):
            self._say(logs or {}, lasting=due)

    def on_train_end(self, logs: Logs = None) -> None:
        """Show the last epoch if the training was stopped early."""
        if self.show and self._unsaid is not None:
            self._say(self._unsaid)

    @property
    def _shown_values(self):
        """Names of the values that are shown, and their form."""
        forms = {"loss": ".4f", self.monitor.name: self.monitor.form}
        return [(prefix + name, form) for prefix in ("", "val_") for name, form in forms.items()]

    @property
    def _pause(self):
        """Seconds between two lines within an epoch, growing in a log."""
        return REFRESH if self._line else SIGN_OF_LIFE * 2 ** (self._signs // SIGNS_AT_ONE_PACE)

    def _count_from(self, now):
        self._counted, self._waited = now, self.waited() if self.waited else 0.0

    def _say(self, logs, in_epoch=False, lasting=True):
        parts = [f"epoch {self._epoch + 1}/{self.epochs}"]
        if in_epoch:
            parts.append(f"step {self._done}" + (f"/{self.steps}" if self.steps else ""))
        parts += [
            f"{name.replace('val_', 'validation ').replace('_', ' ')} {float(logs[name]):{form}}"
            for name, form in self._shown_values
            if name in logs
        ]
        if speed := self._speed:
            parts.append(f"{speed:,.0f} images/s")
            if self.waiting is not None:
                parts.append(f"input {self.waiting:.0%}")
            if self.steps:
                left = ((self.epochs - self._epoch) * self.steps - self._done) * self.batch_size / speed
                validations = self.epochs - self._epoch - (not in_epoch)
                parts.append(f"{_duration(left + validations * self._validation)} left")
        if self._line is None:
            print("  ".join(parts), file=self._out, flush=True)
            return
        from rich.text import Text

        if in_epoch or not lasting:  # On a narrow terminal the least important parts are left out
            while len(parts) > 2 and len("  ".join(parts)) > self._line.console.width:
                del parts[-2]
            self._line.update(Text("  ".join(parts), no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self._line.update(Text(""), refresh=True)  # Otherwise the epoch's last step would remain below
            self._line.console.print(Text("  ".join(parts)), soft_wrap=True)


def _duration(seconds):
    """Return a duration in words, as "2 h 05 min"."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min" if minutes >= 2 else f"{round(seconds)} s"
