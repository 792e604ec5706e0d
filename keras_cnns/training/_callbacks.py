"""What watches a training, and what stops it."""

import contextlib
import dataclasses
import math
import time

import keras

from keras_cnns.errors import TrainingError
from keras_cnns.saving import ModelInfo, save_model
from keras_cnns.training._signals import TRAINING, VALIDATING
from keras_cnns.training._variables import array, finite, put_back

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
    """Stop the training after the step, or the epoch's validation, during which Ctrl-C or SIGTERM came.

    After the last step of an epoch the validation comes first: a checkpoint stands between two steps, or between two
    epochs.

    Args:
        signals: `StopSignals`, which wait for this callback. If they tell other processes, those decide.
        checkpoint: `Checkpoint` before this one, which writes where the training stands.
    """

    def __init__(self, signals, checkpoint):
        super().__init__()
        self.signals, self.checkpoint = signals, checkpoint

    def on_train_batch_end(self, batch, logs=None):
        """Write where the training stands, and raise KeyboardInterrupt, if Ctrl-C came."""
        if self.checkpoint.within:
            self._stop_if_asked()

    def on_test_begin(self, logs=None):
        """Let an acknowledgement say that a validation has begun."""
        self.signals.doing = VALIDATING
        if self.signals.came and self.signals.tell is None:
            self.signals.say(f"stopping: {VALIDATING}")

    def on_test_end(self, logs=None):
        """Let an acknowledgement speak of steps again."""
        self.signals.doing = TRAINING

    def on_epoch_end(self, epoch, logs=None):
        """Stop between two epochs."""
        self._stop_if_asked()

    def _stop_if_asked(self):
        if self.signals.came and self.signals.tell is None:
            self.checkpoint.save()
            raise KeyboardInterrupt


class TimeBudget(keras.callbacks.Callback):
    """Stop a training when its time is over: after a step, or after the epoch if that was its last step.

    It raises `TimeUp`; where data cannot start in the middle of an epoch, it sets `stop_training` after an epoch. The
    last epoch's end is no place to stop: the training is complete.

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
            self.checkpoint.save()
            raise TimeUp

    def on_epoch_end(self, epoch, logs=None):
        """Stop between two epochs; where an epoch is one call of the compiled function, there is no other place."""
        if time.monotonic() < self.end or self.checkpoint.ends_with(epoch):
            return
        if self.checkpoint.position is None:
            self.model.stop_training = True
        else:
            self.checkpoint.save()
            raise TimeUp


class FiniteWeights(keras.callbacks.Callback):
    """Raise `LossError` after an epoch whose last update left weights that are NaN or infinite.

    The loss of a step is that before its update, so that the next epoch's first step would tell; after the last epoch
    nothing would. It must stand before the callbacks that keep weights.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Look at the weights if the validation loss is not finite."""
        if math.isfinite(float((logs or {}).get("val_loss", 0.0))):
            return
        if not all(finite(array(weight)) for weight in self.model.trainable_variables):
            raise LossError(epoch, (self.params.get("steps") or 1) - 1)


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
    is what its weighted metrics say, which count every image once. It must stand before the callbacks that are to
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
