"""Where a training stands, in one file, written whole or not at all, from which it goes on as if never stopped."""

import io
import json
import math
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_cnns import _files
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.training._variables import array, assign, finite

FORMAT = 1
LENGTH = "recipe.epochs"  # the one field in which a run may differ from that which it extends
SHARE = 0.02  # of the time, at most, goes into writing
# What the callbacks of Keras that decide something go by
MEMORY = {
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
}


class Checkpoint(keras.callbacks.Callback):
    """Writes where a training stands, and with `resume` takes it up there, in the user's own `model.fit` too.

    The file holds the variables of network, optimizer and metrics (the schedule and the state of everything random
    among them), epoch and step, what the callbacks of `MEMORY` go by, and the history. It is written before the first
    step, then behind an epoch, and within an epoch each `minutes`, but so seldom that writing takes no more than
    `SHARE` of the time.

    Args:
        path: of the file, ".npz".
        run: JSON values that tell this training from others; a file with other ones is refused.
        position: `data.Position` of the training data, by which it goes on in the middle of an epoch, with the same
            images in the same order. None: the file is written behind epochs alone.
        steps: steps an epoch; needed with `position`.
        others: callbacks of this training that may have something to remember.
        history: `keras.callbacks.History` that goes on too.
        resume: whether to take up the file; without one, the training starts.
        extends: with `resume`, the last file of a complete training, to take up where `path` does not exist. Its run
            may have had fewer epochs.
        minutes: between two times of writing within an epoch.
        before: called before each time of writing.
        writes: whether this process writes; others read alone.

    Attributes:
        epoch, step: where the training stands.
        extends: whether it extends a complete training; False once it has begun.
        extended: epochs of the trainings that were complete before they were extended.
        seconds: of training behind it, from its start.
    """

    def __init__(
        self,
        path,
        run=None,
        *,
        position=None,
        steps=None,
        others=(),
        history=None,
        resume=False,
        extends=None,
        minutes=5.0,
        before=None,
        writes=True,
    ):
        super().__init__()
        self.path, self.run, self.position, self.steps = Path(path), run or {}, position, steps
        self.others, self.history = others, history
        self.pause, self.before, self.writes = 60 * minutes, before, writes
        self.epoch = self.step = 0
        self._written = None
        self.seconds, self._metrics, self._cost = 0.0, None, 0.0
        self.extends = bool(resume and extends is not None and not self.path.exists() and Path(extends).exists())
        self.extended, self._found = [], None
        if self.extends:
            self._found = read(extends, self.run, but=(LENGTH,))
        elif resume and self.path.exists():
            self._found = read(self.path, self.run)
        if self._found:
            state = self._found[0]
            self.extended = [*state.get("extended", ()), *([state["epoch"]] if self.extends else [])]
            self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
            if self.step and position is None:
                raise ArgumentError(
                    f"{self.path} stands in the middle of an epoch, which needs data that can start there, as of "
                    "`make_datasets`. Received: position=None"
                )
            if history is not None:
                history.history = {name: list(values) for name, values in state["history"].items()}

    def on_train_begin(self, logs=None):
        """Take up what the file says, or write it for the first time."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._last = time.monotonic()
        self._start = self._last - self.seconds
        if self._found is None:
            self.write()
            return
        state, arrays = self._found
        self._metrics = restore(self.path, self.model, state, arrays)
        for callback in self.others:
            for name, value in state["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)
        # As Keras's own BackupAndRestore tells `fit` where to go on
        self.model._initial_epoch = self.epoch
        self._found = None
        if self.extends:  # from now on the run is unfinished
            self.write()
            self.extends = False
        if self.step and keras.backend.backend() == "tensorflow":
            self._leave_out(self.step)

    def on_epoch_begin(self, epoch, logs=None):
        """Let the data and the metrics stand where the training does."""
        self.model._initial_epoch = None  # for the next `fit`
        if epoch != self.epoch:
            self.epoch, self.step, self._metrics = epoch, 0, None
        if self.position is not None:
            self.position.assign(self.epoch, self.step)
        # On TensorFlow `fit` counts the steps that are left out, elsewhere its epoch is short
        self._before = 0 if keras.backend.backend() == "tensorflow" else self.step
        self._take_up_metrics()

    def on_train_batch_end(self, batch, logs=None):
        """Note the step, and write if it is time."""
        step = self._before + batch + 1
        if step <= self.step:
            return
        self.step = step
        self._take_up_metrics()
        if self.within and time.monotonic() - self._last > max(self.pause, self._cost / SHARE):
            self.write()

    def on_epoch_end(self, epoch, logs=None):
        """Write, unless it was done a moment ago."""
        self.epoch, self.step = epoch + 1, 0
        # After the last epoch always: what is measured then must not cost training if it is interrupted
        if self.ends_with(epoch) or time.monotonic() - self._last >= self._cost / SHARE:
            self.write()

    def ends_with(self, epoch):
        """Return whether the training is complete at the end of an epoch, counted from 0."""
        return self.model.stop_training or epoch + 1 >= (self.params or {}).get("epochs", math.inf)

    def save(self):
        """Write where the training stands, unless the file says so already."""
        if self._written != (self.epoch, self.step):
            self.write()

    def _take_up_metrics(self):
        """Add what the metrics had summed up in the epoch before, once they exist, which may be behind a step."""
        ours = {one.path: one for one in self.model.metrics_variables}
        # Before the first step there are the loss's two alone; on several devices there are more of them than on one
        if self._metrics is not None and (len(ours) > 2 or len(self._metrics) <= 2):
            for path, value in self._metrics.items():
                if path in ours:
                    ours[path].assign(array(ours[path]) + value)
            self._metrics = None

    def _leave_out(self, steps):
        """Let the first steps of `fit` do nothing.

        An epoch that is short of data is no way: when a step of TensorFlow's finds none, what does not depend on them
        has happened, as the optimizer's count.
        """
        model, function = self.model, self.model.train_function

        def pretend(iterator):
            nonlocal steps
            steps -= model.steps_per_execution
            if steps <= 0:
                model.train_function = function
            return {"loss": 0.0}

        model.train_function = pretend

    @property
    def within(self):
        """Whether the training stands in an epoch, where it can go on with the next step."""
        return self.position is not None and self.step < self.steps

    @property
    def ended(self):
        """Whether the training that the file tells of was stopped early, so that no epoch is left."""
        early = self._found and self._found[0]["callbacks"].get("EarlyStopping")
        return bool(early and early["stopped_epoch"])

    def write(self):
        """Write where the training stands, unless something in it is no number any more.

        Raises:
            OutputError: if it cannot be written; the file is as it was.
        """
        begin = time.monotonic()
        self.seconds = begin - self._start
        if not self.writes:
            return
        if self.before:
            self.before()
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        variables = _variables(self.model)
        groups = {name: list(map(array, some)) for name, some in variables.items()}
        if not all(finite(one) for some in groups.values() for one in some):
            return
        state = {
            "format": FORMAT,
            "run": self.run,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "extended": self.extended,
            "history": {name: list(map(float, values)) for name, values in self.history.history.items()}
            if self.history
            else {},
            "callbacks": {type(one).__name__: remembered for one in self.others if (remembered := _memory(one))},
            "variables": {name: [one.path for one in some] for name, some in variables.items()},
        }
        arrays = {f"{name}.{k}": one for name, some in groups.items() for k, one in enumerate(some)}
        with _files.writing(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, state=np.frombuffer(json.dumps(state).encode(), "uint8"), **arrays)
        self._last, self._written = time.monotonic(), (self.epoch, self.step)
        self._cost = self._last - begin


def read(path, run=None, but=()):
    """Return (state, arrays by name) of a checkpoint.

    Args:
        path: of the file.
        run: what tells the training from others; None: any training's file.
        but: names of values of `run`, as "recipe.epochs", that may differ.

    Raises:
        ModelFileError: if the file is damaged or none of ours.
        ArgumentError: if it belongs to another training.
    """
    cure = "Take it away to train from the start, or bring back a copy."
    try:
        content = Path(path).read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if bad := archive.testzip():
                raise ValueError(f"its part {bad} is damaged")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file}
        state = json.loads(arrays.pop("state").tobytes())
        if state["format"] != FORMAT:
            raise ValueError("another version of keras_cnns wrote it")
        for name, paths in state["variables"].items():
            if not all(f"{name}.{k}" in arrays for k in range(len(paths))):
                raise ValueError("variables are missing")
    except OSError as error:
        raise ModelFileError(path, f"cannot be read ({error.strerror or error})", cure) from None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise ModelFileError(path, f"is no whole checkpoint ({error})", cure) from None
    others = [] if run is None else [other for other in differences(state["run"], run) if other[0] not in but]
    if others:
        name, theirs, ours = others[0]
        raise ArgumentError(
            f"{path} belongs to another training: its {name} is {theirs!r}, not {ours!r}. Go on with the command that "
            f"began it, or choose another folder. Received: resume=True"
        )
    return state, arrays


def restore(path, model, state, arrays):
    """Give a compiled model, whose optimizer is built, the variables of a checkpoint.

    Returns:
        What its metrics had summed up, by the variables' paths, which each epoch of `fit` sets to zero first.

    Raises:
        ArgumentError: if the model has other variables; nothing has been changed then.
    """
    groups = _variables(model)
    metrics = {path: arrays[f"metrics.{k}"] for k, path in enumerate(state["variables"]["metrics"])}
    pairs = []
    for name in ("model", "optimizer"):
        ours, theirs = groups[name], state["variables"][name]
        pairs += [(one, arrays[f"{name}.{k}"]) for k, one in enumerate(ours) if k < len(theirs)]
        if len(ours) != len(theirs):
            raise ArgumentError(
                f"{path} belongs to another training: it has {len(theirs)} variables of the {name}, "
                f"{model.name} {len(ours)}. Received: model={model.name!r}"
            )
    for variable, value in pairs:
        if tuple(variable.shape) != value.shape:
            raise ArgumentError(
                f"{path} belongs to another training: {variable.path} has the shape {value.shape} there and "
                f"{tuple(variable.shape)} in {model.name}. Received: model={model.name!r}"
            )
    assign(*zip(*pairs, strict=True))
    return metrics


def differences(theirs, ours, name=""):
    """Return (name, value, value) of each leaf in which two JSON values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = [*theirs, *(key for key in ours if key not in theirs)]
        parts = ((f"{name}.{key}" if name else str(key), theirs.get(key), ours.get(key)) for key in keys)
        return [found for part, one, other in parts for found in differences(one, other, part)]
    return [] if theirs == ours else [(name, theirs, ours)]


def _variables(model):
    return {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}


def _memory(callback):
    """Return what one of Keras's callbacks goes by, as JSON values."""
    names = getattr(callback, "memory", ())  # of callbacks of ours
    for kind, others in MEMORY.items():
        names = others if isinstance(callback, kind) else names
    found = {name: getattr(callback, name, None) for name in names}
    return {name: float(value) if hasattr(value, "dtype") else value for name, value in found.items()}
