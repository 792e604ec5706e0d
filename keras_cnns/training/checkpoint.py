"""Save and restore the complete training state in one atomically written file."""

import io
import json
import math
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_cnns import _files, _keras
from keras_cnns.errors import ArgumentError, ModelFileError
from keras_cnns.training._variables import array, assign, finite
from keras_cnns.training.identity import LENGTH, differences
from keras_cnns.training.stops import Logs
from keras_cnns.typing import Path as PathLike

if TYPE_CHECKING:  # these import TensorFlow, which JAX does not need
    from keras_cnns.data.dataset_state import Position


FORMAT = 1
SHARE = 0.02  # at most this part of the time goes into writing
# The state of Keras's callbacks that decide something, by class
MEMORY = {
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
}


class Checkpoint(keras.callbacks.Callback):
    """Write the training state, and restore it with `resume`.

    It works in your own `model.fit` too. The file holds the variables of network, optimizer and metrics (which include
    the schedule and all random states), the epoch and step, the state of the callbacks of `MEMORY`, and the history. It
    is written before the first step, after epochs, and every `minutes` within an epoch, but so seldom that writing
    takes at most `SHARE` of the time.

    Args:
        path: path of the file, ".npz".
        run: JSON values that identify this run; a file with other values is refused.
        position: `data.Position` of the training data, which lets a run resume within an epoch, with the same images in
            the same order. None: the file is written only after epochs.
        steps: steps per epoch; needed with `position`.
        others: callbacks of this run whose state is saved.
        history: `keras.callbacks.History` that is saved and restored too.
        resume: whether to restore the file; without a file, training starts.
        extends: with `resume`, the last file of a complete run, restored if `path` does not exist. Its run may have had
            fewer epochs.
        minutes: between two checkpoints within an epoch.
        before: function called before each time of writing.
        writes: whether this process writes; the others only read.

    Attributes:
        epoch: epochs that are complete.
        step: steps that are complete in the current epoch.
        extends: whether a complete run is about to be extended; False once training has begun.
        extended: numbers of epochs after which the run was complete before, one for each extension.
        seconds: training time so far, over all resumed parts.
    """

    def __init__(
        self,
        path: PathLike,
        run: Mapping[str, Any] | None = None,
        *,
        position: "Position | None" = None,
        steps: int | None = None,
        others: Sequence[keras.callbacks.Callback] = (),
        history: keras.callbacks.History | None = None,
        resume: bool = False,
        extends: PathLike | None = None,
        minutes: float = 5.0,
        before: Callable[[], None] | None = None,
        writes: bool = True,
    ):
        super().__init__()
        self.path, self.run, self.position, self.steps = Path(path), run or {}, position, steps
        self.others, self.history = others, history
        self.pause, self.before, self.writes = 60 * minutes, before, writes
        self.epoch = self.step = 0
        self.seconds = 0.0
        self.extended: list[int] = []
        self.extends = bool(resume and extends is not None and not self.path.exists() and Path(extends).exists())
        self._written: tuple[int, int] | None = None  # epoch and step of the file
        self._metrics: dict[str, np.ndarray] | None = None  # sums of the restored epoch, until the metrics exist
        self._cost = 0.0  # seconds that writing took last time
        self._restored = None  # (state, arrays), until training begins
        if self.extends and extends is not None:
            self._restored = read(extends, self.run, but=(LENGTH,))
        elif resume and self.path.exists():
            self._restored = read(self.path, self.run)
        if self._restored:
            state = self._restored[0]
            self.extended = [*state.get("extended", ()), *([state["epoch"]] if self.extends else [])]
            self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
            if self.step and position is None:
                raise ArgumentError(
                    f"{self.path} was written within an epoch, so that the data must be able to start there, as that "
                    "of `make_datasets` does. Received: position=None"
                )
            if history is not None:
                history.history = {name: list(values) for name, values in state["history"].items()}

    def on_train_begin(self, logs: Logs = None) -> None:
        """Restore the file, or write it for the first time."""
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self._last = time.monotonic()
        self._start = self._last - self.seconds
        if self._restored is None:
            self.write()
            return
        state, arrays = self._restored
        self._metrics = restore(self.path, self.model, state, arrays)
        for callback in self.others:
            for name, value in state["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)
        _keras.start_fit_at(self.model, self.epoch)
        self._restored = None
        if self.extends:  # From now on the run is unfinished
            self.write()
            self.extends = False
        if self.step and keras.backend.backend() == "tensorflow":
            _keras.skip_steps(self.model, self.step)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Set the data's position and the metrics' sums to the present step."""
        _keras.start_fit_at(self.model, None)  # Or the next `fit` would start there too
        if epoch != self.epoch:
            self.epoch, self.step, self._metrics = epoch, 0, None
        if self.position is not None:
            self.position.assign(self.epoch, self.step)
        # On TensorFlow `fit` counts the steps that are skipped; on other backends its epoch is shorter
        self._before = 0 if keras.backend.backend() == "tensorflow" else self.step
        self._restore_metrics()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Count the step, and write if it is time."""
        step = self._before + batch + 1
        if step <= self.step:
            return
        self.step = step
        self._restore_metrics()
        if self.within and time.monotonic() - self._last > max(self.pause, self._cost / SHARE):
            self.write()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write, unless it was done a moment ago."""
        self.epoch, self.step = epoch + 1, 0
        # Always after the last epoch, because the measurements that follow may be interrupted
        if self.ends_with(epoch) or time.monotonic() - self._last >= self._cost / SHARE:
            self.write()

    def ends_with(self, epoch: int) -> bool:
        """Return whether the run is complete after an epoch, counted from 0."""
        return self.model.stop_training or epoch + 1 >= (self.params or {}).get("epochs", math.inf)

    def save(self) -> None:
        """Write the file, unless it holds the current step already."""
        if self._written != (self.epoch, self.step):
            self.write()

    def _restore_metrics(self):
        """Add a restored epoch's sums to the metrics once these exist."""
        ours = {variable.path: variable for variable in self.model.metrics_variables}
        # Before the first step only the loss's two variables exist; several devices have more of them than one has
        if self._metrics is not None and (len(ours) > 2 or len(self._metrics) <= 2):
            for path, value in self._metrics.items():
                if path in ours:
                    ours[path].assign(array(ours[path]) + value)
            self._metrics = None

    @property
    def within(self) -> bool:
        """Whether training is within an epoch and can resume there."""
        return self.position is not None and self.steps is not None and self.step < self.steps

    @property
    def ended(self) -> bool:
        """Whether early stopping ended the restored run."""
        early = self._restored and self._restored[0]["callbacks"].get("EarlyStopping")
        return bool(early and early["stopped_epoch"])

    def write(self) -> None:
        """Write the file, unless a variable is NaN or infinite.

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
        values = {group: list(map(array, members)) for group, members in variables.items()}
        if not all(finite(value) for members in values.values() for value in members):
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
            "callbacks": {type(callback).__name__: memory for callback in self.others if (memory := _memory(callback))},
            "variables": {group: [variable.path for variable in members] for group, members in variables.items()},
        }
        arrays: dict[str, Any] = {
            f"{group}.{k}": value for group, members in values.items() for k, value in enumerate(members)
        }
        with _files.writing(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, state=np.frombuffer(json.dumps(state).encode(), "uint8"), **arrays)
        self._last, self._written = time.monotonic(), (self.epoch, self.step)
        self._cost = self._last - begin


def read(
    path: PathLike, run: Mapping[str, Any] | None = None, but: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the state and the arrays of a checkpoint.

    Args:
        path: path of the file.
        run: JSON values that identify the run; None: the file of any run.
        but: names of values of `run`, as "recipe.epochs", that may differ.

    Returns:
        (state, arrays by name).

    Raises:
        ModelFileError: if the file is damaged or is no checkpoint.
        ArgumentError: if it belongs to another run.
    """
    cure = "Remove it to train from the start, or restore a copy."
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
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(path, f"is no complete checkpoint ({error})", cure) from None
    others = [] if run is None else [other for other in differences(state["run"], run) if other[0] not in but]
    if others:
        name, theirs, ours = others[0]
        raise ArgumentError(
            f"{path} belongs to another run: its {name} is {theirs!r}, not {ours!r}. Resume it with the command that "
            f"started it, or choose another folder. Received: resume=True"
        )
    return state, arrays


def restore(
    path: PathLike, model: keras.Model, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Assign the variables of a checkpoint to a compiled model.

    Args:
        path: path of the file, named in errors.
        model: compiled `keras.Model` whose optimizer is built.
        state: what `read` returned first.
        arrays: what `read` returned second.

    Returns:
        The sums of the metrics by the variables' paths. They are not assigned, because `fit` sets metrics to zero at
        the start of an epoch.

    Raises:
        ArgumentError: if the model has other variables; nothing has been changed then.
    """
    groups = _variables(model)
    metrics = {metric: arrays[f"metrics.{k}"] for k, metric in enumerate(state["variables"]["metrics"])}
    variables, values = [], []
    for name in ("model", "optimizer"):
        ours, theirs = groups[name], state["variables"][name]
        if len(ours) != len(theirs):
            raise ArgumentError(
                f"{path} belongs to another run: it has {len(theirs)} variables of the {name}, "
                f"{model.name} {len(ours)}. Received: model={model.name!r}"
            )
        variables += ours
        values += [arrays[f"{name}.{k}"] for k in range(len(ours))]
    for variable, value in zip(variables, values, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ArgumentError(
                f"{path} belongs to another run: {variable.path} has the shape {value.shape} there and "
                f"{tuple(variable.shape)} in {model.name}. Received: model={model.name!r}"
            )
    assign(variables, values)
    return metrics


def _variables(model):
    return {"model": model.variables, "optimizer": model.optimizer.variables, "metrics": model.metrics_variables}


def _memory(callback):
    """Return the state of a callback as JSON values, perhaps empty."""
    names = getattr(callback, "memory", ())  # The package's own callbacks say themselves what to save
    for kind, attributes in MEMORY.items():
        names = attributes if isinstance(callback, kind) else names
    values = {name: getattr(callback, name, None) for name in names}
    return {name: float(value) if hasattr(value, "dtype") else value for name, value in values.items()}
