"""The callbacks of a training run: Keras's own where it has them."""

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_cnns import _files
from keras_cnns.recipes import Recipe
from keras_cnns.saving import ModelInfo, save_model
from keras_cnns.tasks.registry import DEFAULT
from keras_cnns.tasks.task import EXACT, Monitor, Task
from keras_cnns.training._processes import SharedStop
from keras_cnns.training._variables import put_back
from keras_cnns.training.checkpoint import Checkpoint
from keras_cnns.training.run_folder import BEST, CHECKPOINT, FINAL
from keras_cnns.training.stops import FiniteLoss, FiniteWeights, Logs, TimeBudget
from keras_cnns.typing import Path as PathLike

if TYPE_CHECKING:  # these import TensorFlow, which JAX does not need
    from keras_cnns.data.dataset_state import Position
    from keras_cnns.training.devices import Distribution


def callbacks(
    run_dir: PathLike | None = None,
    recipe: Recipe | None = None,
    *,
    resume: bool = False,
    run: Mapping[str, Any] | None = None,
    position: "Position | None" = None,
    steps: int | None = None,
    info: ModelInfo | None = None,
    minutes: float = 5.0,
    max_minutes: float | None = None,
    tensorboard: bool = False,
    distribution: "Distribution | None" = None,
    twin: keras.Model | None = None,
    task: Task | None = None,
) -> list[keras.callbacks.Callback]:
    """Return the Keras callbacks of a training run.

    They serve `train`, and your own `model.fit(..., callbacks=...)` as well. They name the main head's loss and
    accuracy "loss" and "accuracy", lower the learning rate on a plateau and stop early as the recipe says, and raise
    `LossError` when the loss becomes NaN or infinite. In a folder they write

    - `log.csv`,
    - `best.keras`, the network of the epoch with the highest validation accuracy, or what the task goes by,
    - `checkpoint.npz`, from which a `fit` with `resume=True` continues.

    Args:
        run_dir: folder, made if need be; None: nothing is written.
        recipe: `Recipe` whose schedule, `early_stopping` and `moving_average` count; None: none of them.
        resume: whether to continue from the checkpoint in `run_dir`; without a checkpoint, training starts.
        run: JSON values that identify this run; a checkpoint with other values is refused.
        position: `data.Position` of the training data, to resume within an epoch. None: resume only from the end of an
            epoch.
        steps: steps per epoch; needed with `position`.
        info: `ModelInfo` for `best.keras`.
        minutes: between two checkpoints within an epoch.
        max_minutes: time after which training stops: with a position by raising `TimeUp`, otherwise after an epoch.
        tensorboard: whether to write for TensorBoard, into a folder of `run_dir`.
        distribution: `Distribution`, in which only process 0 writes; None: this process writes.
        twin: the same network built outside the distribution, with which `best.keras` is written.
        task: the `Task` of the network, which says what the best epoch is; None: it is a classifier.

    Returns:
        List of `keras.callbacks.Callback`. They save the state after each step, so put your own callbacks before them;
        otherwise those see values that have not been updated yet.

    Raises:
        ModelFileError: if the checkpoint is damaged.
        ArgumentError: if it belongs to another run.
        OutputError: if the folder cannot be made.

    Examples:
        >>> import os
        >>> import numpy as np
        >>> from keras_cnns import applications, recipes, training
        >>> images, labels = np.zeros((64, 28, 28, 1), "float32"), np.arange(64) % 10
        >>> model = training.compile_model(applications.LeNet5Modern(), recipes.SHORT, steps_per_epoch=2)
        >>> history = model.fit(images, labels, verbose=0, callbacks=training.callbacks("runs/mine", recipes.SHORT))
        >>> "log.csv" in os.listdir("runs/mine")
        True
    """
    deciding: list[keras.callbacks.Callback] = []
    if recipe is not None and recipe.schedule == "plateau":
        deciding.append(keras.callbacks.ReduceLROnPlateau("val_loss", recipe.decay_factor, recipe.patience))
    if recipe is not None and recipe.early_stopping:
        deciding.append(keras.callbacks.EarlyStopping("val_loss", patience=recipe.early_stopping))
    if run_dir is None:
        return [MainHead(), FiniteWeights(), *deciding, FiniteLoss()]
    folder, history, best = Path(run_dir), keras.callbacks.History(), None
    writes = distribution is None or distribution.writes
    _files.make_folder(folder)
    # With a moving average the weights that are validated are not the weights that are saved
    if writes and (recipe is None or recipe.moving_average is None):
        outside = distribution.outside if distribution else contextlib.nullcontext
        best = Best(folder / BEST, info, twin, outside, (task or DEFAULT).monitor)
        deciding.append(best)
    checkpoint = Checkpoint(
        folder / CHECKPOINT,
        run,
        position=position,
        steps=steps,
        others=deciding,
        history=history,
        resume=resume,
        extends=folder / FINAL,
        minutes=minutes,
        before=best.flush if best else None,
        writes=writes,
    )
    result = [MainHead(), FiniteWeights(), *deciding, history]
    if writes:
        result += _loggers(folder, checkpoint, tensorboard)
    result += [checkpoint, FiniteLoss(checkpoint)]
    if distribution is not None and distribution.processes > 1:
        result.append(SharedStop(checkpoint, max_minutes))
    elif max_minutes is not None:
        result.append(TimeBudget(max_minutes, checkpoint))
    return result


def _loggers(folder, checkpoint, tensorboard):
    """Return the callbacks that write log.csv and, if asked for, for TensorBoard."""
    log, resumed = folder / "log.csv", bool(checkpoint.epoch or checkpoint.step)
    if resumed:
        _cut_log(log, checkpoint.epoch)
    loggers = [keras.callbacks.CSVLogger(log, append=resumed)]
    if tensorboard:
        # A missing package is reported now, not by TensorFlow within an epoch
        import tensorboard as _  # noqa: F401

        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        loggers.append(keras.callbacks.TensorBoard(folder / "tensorboard" / stamp))
    return loggers


def _cut_log(path, epoch):
    """Remove the log's rows of epochs that run again, from `epoch` on."""
    if not path.exists():
        return
    header, *rows = path.read_bytes().splitlines(keepends=True) or [b""]
    kept_rows = [row for row in rows if row.endswith(b"\n") and int(row.partition(b",")[0]) < epoch]
    with _files.writing(path) as temporary:
        temporary.write_bytes(header + b"".join(kept_rows))


class MainHead(keras.callbacks.Callback):
    """Name the main head's loss and metrics "loss", "accuracy" and so on.

    Keras calls the weighted sum of all heads "loss"; here it becomes "total_loss". Where devices share batches, the
    validation values are those of the weighted metrics, which count every image once. Place it before the callbacks
    that read the names, because all of them get the same dictionary.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        """Rename the values of an epoch in place."""
        main = self.model.output_names[0]
        for name in [name for name in logs if name.endswith(EXACT)]:
            value, plain = logs.pop(name), name.removesuffix(EXACT)
            if name.startswith("val_"):
                logs[plain.replace("cross_entropy", "loss") if len(self.model.output_names) == 1 else plain] = value
        if len(self.model.output_names) == 1:
            return
        for prefix in ("", "val_"):
            start = f"{prefix}{main}_"
            if logs.pop(f"{start}loss", None) is not None:
                logs[f"{prefix}total_loss"] = logs[f"{prefix}loss"]
                logs[f"{prefix}loss"] = logs.pop(f"{start}cross_entropy")
                for name in [name for name in logs if name.startswith(start)]:
                    logs[prefix + name.removeprefix(start)] = logs.pop(name)


class Best(keras.callbacks.Callback):
    """Keep the weights of the epoch with the best validation.

    The file is written when `flush` is called.

    Args:
        path: path of the `.keras` file.
        info: `ModelInfo`, to which the epoch and its validation are added.
        twin: the same network outside any distribution, which takes the weights to be saved; None: the network that
            trains.
        outside: function that returns a context in which to save.
        monitor: `Monitor` that says what is best; None: that of a classifier, the highest accuracy.

    Attributes:
        value: the monitored value, None before the first epoch.
        epoch: counted from 0.
    """

    memory = ("value", "epoch")  # the attributes that `Checkpoint` saves and restores

    def __init__(
        self,
        path: Path,
        info: ModelInfo | None = None,
        twin: keras.Model | None = None,
        outside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        monitor: Monitor | None = None,
    ):
        super().__init__()
        self.monitor = monitor or DEFAULT.monitor
        self.path, self.info, self.twin, self.outside = path, info or ModelInfo(), twin, outside
        self.value: float | None = None
        self.epoch: int | None = None
        self._unsaved: tuple[list, dict[str, float]] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Keep the weights if they are the best so far."""
        logs = logs or {}
        value = logs.get(f"val_{self.monitor.name}")
        if value is None or not self.monitor.improves(float(value), self.value):
            return
        self.value, self.epoch = float(value), epoch
        metrics = {self.monitor.record: self.value, "loss": float(logs["val_loss"])}
        self._unsaved = self.model.get_weights(), metrics

    def flush(self) -> None:
        """Write the file, unless it holds the best network already.

        Raises:
            OutputError: if it cannot be written.
        """
        if self._unsaved is None:
            return
        (weights, metrics), self._unsaved = self._unsaved, None
        validation = {**self.info.metrics.get("validation", {}), **metrics}
        training = {**self.info.training, "epochs": (self.epoch or 0) + 1}
        info = dataclasses.replace(self.info, metrics={"validation": validation}, training=training)
        model = self.twin or self.model
        with self.outside(), put_back(model.weights):
            model.set_weights(weights)
            save_model(model, self.path, info, overwrite=True)
