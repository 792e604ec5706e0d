"""What watches a training, and what stops it."""

import contextlib
import dataclasses
import math
import signal
import threading
import time

import keras

from keras_cnns.errors import TrainingError
from keras_cnns.saving import ModelInfo, save_model
from keras_cnns.training._variables import put_back

EXACT = "_exactly"  # how the names of weighted metrics end that replace others in validation


class TimeUp(Exception):
    """The time that a training was given is over; where it stands has been written."""


class LossError(TrainingError):
    """The loss of a training stopped being a number.

    Attributes:
        epoch, step: where, counted from 0; it may have happened up to `steps_per_execution` - 1 steps earlier.
    """

    def __init__(self, epoch, step):
        super().__init__(f"the loss stopped being a number in epoch {epoch + 1}, step {step + 1}")
        self.epoch, self.step = epoch, step


class CtrlC(keras.callbacks.Callback):
    """Stops the training behind the step in which Ctrl-C came; a second Ctrl-C stops it at once.

    Python raises KeyboardInterrupt wherever it happens to be, and where that is a destructor or a callback from C, the
    interrupt is lost.

    Args:
        checkpoint: `Checkpoint`, which writes where the training stands; None: none.
        tell: function to call in place of stopping, where others must stop at the same step; None: none.
    """

    def __init__(self, checkpoint=None, tell=None):
        super().__init__()
        self.came, self.checkpoint, self.tell, self._told = False, checkpoint, tell, False

    def __enter__(self):
        self.main = threading.current_thread() is threading.main_thread()  # signals are for it alone
        if self.main:
            self.before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error):
        if self.main:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, *signal_and_frame):
        if self.came or self._told:
            raise KeyboardInterrupt
        if self.tell is None:
            self.came = True
        else:
            self._told = True
            self.tell()

    def check(self, step=None, logs=None):
        """Raise KeyboardInterrupt if Ctrl-C came."""
        if self.came:
            raise KeyboardInterrupt

    on_test_batch_end = check

    def on_train_batch_end(self, batch, logs=None):
        """Write where the training stands, and raise KeyboardInterrupt, if Ctrl-C came."""
        if self.came and self.checkpoint and self.checkpoint.within:
            self.checkpoint.write()
        self.check()


class TimeBudget(keras.callbacks.Callback):
    """Stops a training when its time is over: by `TimeUp` behind a step, or without a position behind an epoch.

    Args:
        minutes: from the start of `fit`.
        checkpoint: `Checkpoint` before this one, which writes where the training stands.
    """

    def __init__(self, minutes, checkpoint):
        super().__init__()
        self.minutes, self.checkpoint = minutes, checkpoint

    def on_train_begin(self, logs=None):
        """Start the clock."""
        self.end = time.monotonic() + 60 * self.minutes

    def on_train_batch_end(self, batch, logs=None):
        """Write and raise if the time is over."""
        if self.checkpoint.within and time.monotonic() >= self.end:
            self.checkpoint.write()
            raise TimeUp

    def on_epoch_end(self, epoch, logs=None):
        """Stop where data cannot go on in the middle of an epoch."""
        if self.checkpoint.position is None and time.monotonic() >= self.end:
            self.model.stop_training = True


class FiniteLoss(keras.callbacks.Callback):
    """Raises `LossError` behind the step whose loss is no number.

    Args:
        checkpoint: `Checkpoint` of the training, before this one; None: none.
    """

    def __init__(self, checkpoint=None):
        super().__init__()
        self.epoch, self.checkpoint = 0, checkpoint

    def on_epoch_begin(self, epoch, logs=None):
        """Note the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Look at the loss."""
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            raise LossError(self.epoch, self.checkpoint.step - 1 if self.checkpoint else batch)


class MainHead(keras.callbacks.Callback):
    """Gives the main head's loss and accuracy the names that they have in a network of one head, on one device.

    Keras calls the weighted sum of all heads "loss"; here it is "total_loss". Where devices share batches, validation
    is what its weighted metrics say, which count every picture once. It must stand before the callbacks that are to
    see the names, as all of them get the same dictionary.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Rename what an epoch gave, in place."""
        main = self.model.output_names[0]
        for name in [name for name in logs if name.endswith(EXACT)]:
            value, plain = logs.pop(name), name.removesuffix(EXACT)
            if name.startswith("val_"):
                logs[plain.replace("cross_entropy", "loss") if len(self.model.output_names) == 1 else plain] = value
        if len(self.model.output_names) == 1:
            return
        for prefix in ("", "val_"):
            if logs.pop(f"{prefix}{main}_loss", None) is not None:
                logs[f"{prefix}total_loss"] = logs[f"{prefix}loss"]
                logs[f"{prefix}loss"] = logs.pop(f"{prefix}{main}_cross_entropy")
                logs[f"{prefix}accuracy"] = logs.pop(f"{prefix}{main}_accuracy")


class Best(keras.callbacks.Callback):
    """Keeps the network of the epoch with the highest validation accuracy, and writes it when `flush` is called.

    Args:
        path: of the `.keras` file.
        info: `ModelInfo`, to which the epoch and its validation are added.
        twin: the same network outside any distribution, which takes the weights to be saved; None: the one that trains.
        outside: function that returns a context in which to save.

    Attributes:
        value: the accuracy, None before the first epoch.
        epoch: counted from 0.
    """

    memory = ("value", "epoch")  # for `Checkpoint`

    def __init__(self, path, info=None, twin=None, outside=contextlib.nullcontext):
        super().__init__()
        self.path, self.info, self.twin, self.outside = path, info or ModelInfo(), twin, outside
        self.value = self.epoch = self._kept = None

    def on_epoch_end(self, epoch, logs=None):
        """Keep the weights if they are the best so far."""
        accuracy = (logs or {}).get("val_accuracy")
        if accuracy is None or (self.value is not None and float(accuracy) <= self.value):
            return
        self.value, self.epoch = float(accuracy), epoch
        self._kept = self.model.get_weights(), {"top1": self.value, "loss": float(logs["val_loss"])}

    def flush(self):
        """Write the file, unless it holds the best network already.

        Raises:
            OutputError: if it cannot be written.
        """
        if self._kept is None:
            return
        (weights, metrics), self._kept = self._kept, None
        validation = {**self.info.metrics.get("validation", {}), **metrics}
        training = {**self.info.training, "epochs": self.epoch + 1}
        info = dataclasses.replace(self.info, metrics={"validation": validation}, training=training)
        model = self.twin or self.model
        with self.outside(), put_back(model.weights):
            model.set_weights(weights)
            save_model(model, self.path, info, overwrite=True)
