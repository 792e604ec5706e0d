"""Callbacks that stop a training run, and what they raise."""

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from keras_cnns.errors import TrainingError
from keras_cnns.training._signals import TRAINING, VALIDATING, StopSignals
from keras_cnns.training._variables import array, finite

if TYPE_CHECKING:
    from keras_cnns.training.checkpoint import Checkpoint

Logs = Mapping[str, Any] | None  # what `fit` passes to a callback: values by name


class TimeUp(Exception):
    """The time of a training run is over.

    Its checkpoint has been written.
    """


class LossError(TrainingError):
    """The loss of a training run became NaN or infinite.

    Args:
        epoch: where it was seen, counted from 0.
        step: where it was seen within the epoch, counted from 0. It may have happened up to `steps_per_execution` - 1
            steps earlier.

    Attributes:
        epoch, step: as the arguments.
    """

    def __init__(self, epoch: int, step: int):
        super().__init__(f"the loss became NaN or infinite in epoch {epoch + 1}, step {step + 1}")
        self.epoch, self.step = epoch, step


class CtrlC(keras.callbacks.Callback):
    """Stop training after the step during which Ctrl-C or SIGTERM came.

    When it comes during validation, the validation is finished first, and so it is after the last step of an epoch: a
    checkpoint is written between two steps or between two epochs.

    Args:
        signals: `StopSignals`, which leave it to this callback to stop. If they tell other processes, those decide.
        checkpoint: `Checkpoint`, placed before this callback.
    """

    def __init__(self, signals: StopSignals, checkpoint: "Checkpoint"):
        super().__init__()
        self.signals, self.checkpoint = signals, checkpoint

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Write the checkpoint and raise KeyboardInterrupt if a signal came."""
        if self.checkpoint.within:
            self._stop_if_asked()

    def on_test_begin(self, logs: Logs = None) -> None:
        """Let an acknowledgement say that a validation has begun."""
        self.signals.doing = VALIDATING
        if self.signals.came and self.signals.tell is None:
            self.signals.say(f"stopping: {VALIDATING}")

    def on_test_end(self, logs: Logs = None) -> None:
        """Let an acknowledgement speak of steps again."""
        self.signals.doing = TRAINING

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Stop between two epochs."""
        self._stop_if_asked()

    def _stop_if_asked(self):
        if self.signals.came and self.signals.tell is None:
            self.checkpoint.save()
            raise KeyboardInterrupt


class TimeBudget(keras.callbacks.Callback):
    """Stop training when its time is over.

    It writes the checkpoint and raises `TimeUp` after a step, or after the epoch if that was its last step. Where the
    data cannot start within an epoch, it sets `stop_training` after an epoch. After the last epoch it does nothing,
    because the run is complete.

    Args:
        minutes: from the start of `fit`.
        checkpoint: `Checkpoint`, placed before this callback.
    """

    def __init__(self, minutes: float, checkpoint: "Checkpoint"):
        super().__init__()
        self.minutes, self.checkpoint = minutes, checkpoint

    def on_train_begin(self, logs: Logs = None) -> None:
        """Start the clock."""
        self.end = time.monotonic() + 60 * self.minutes

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Write the checkpoint and raise `TimeUp` if the time is over."""
        if self.checkpoint.within and time.monotonic() >= self.end:
            self.checkpoint.save()
            raise TimeUp

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Stop between two epochs.

        Where an epoch is one call of the compiled function, there is no other place to stop.
        """
        if time.monotonic() < self.end or self.checkpoint.ends_with(epoch):
            return
        if self.checkpoint.position is None:
            self.model.stop_training = True
        else:
            self.checkpoint.save()
            raise TimeUp


class FiniteWeights(keras.callbacks.Callback):
    """Raise `LossError` after an epoch that leaves weights NaN or infinite.

    The loss of a step is computed before its update. Usually the next epoch's first step shows what the last update
    did, but after the last epoch nothing would. Place it before the callbacks that keep weights.
    """

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check the weights if the validation loss is not finite."""
        if math.isfinite(float((logs or {}).get("val_loss", 0.0))):
            return
        if not all(finite(array(weight)) for weight in self.model.trainable_variables):
            raise LossError(epoch, (self.params.get("steps") or 1) - 1)


class FiniteLoss(keras.callbacks.Callback):
    """Raise `LossError` after a step whose loss is NaN or infinite.

    Args:
        checkpoint: `Checkpoint` of the run, placed before this callback; None if there is none.
    """

    def __init__(self, checkpoint: "Checkpoint | None" = None):
        super().__init__()
        self.epoch, self.checkpoint = 0, checkpoint

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Check the loss."""
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            raise LossError(self.epoch, self.checkpoint.step - 1 if self.checkpoint else batch)
