"""The callbacks of a training: Keras's own where it has them."""

import contextlib
import datetime
from pathlib import Path

import keras

from keras_cnns import _files
from keras_cnns.training._callbacks import Best, FiniteLoss, FiniteWeights, MainHead, TimeBudget
from keras_cnns.training._processes import Together
from keras_cnns.training.checkpoint import Checkpoint
from keras_cnns.training.run_folder import BEST, CHECKPOINT, FINAL


def callbacks(
    run_dir=None,
    recipe=None,
    *,
    resume=False,
    run=None,
    position=None,
    steps=None,
    info=None,
    minutes=5.0,
    max_minutes=None,
    tensorboard=False,
    distribution=None,
    twin=None,
):
    """Return the Keras callbacks of a training, for the user's own `model.fit(..., callbacks=...)` too.

    They rename the main head's loss and accuracy, follow a plateau and stop early as the recipe says, stop by
    `LossError` when the loss is no number any more, and in a folder write `log.csv`, `best.keras` (the network of the
    epoch with the highest validation accuracy) and `checkpoint.npz`, from which a `fit` with `resume=True` goes on.

    Args:
        run_dir: folder, made if need be; None: nothing is written.
        recipe: `Recipe` whose schedule, `early_stopping` and `moving_average` count; None: those of none.
        resume: whether to go on from the checkpoint in `run_dir`; where there is none, the training starts.
        run: JSON values that tell this training from others; a checkpoint with other ones is refused.
        position: `data.Position` of the training data, to go on in the middle of an epoch. None: behind an epoch alone.
        steps: steps an epoch; needed with `position`.
        info: `ModelInfo` for `best.keras`.
        minutes: between two checkpoints within an epoch.
        max_minutes: time after which the training stops: with a position by raising `TimeUp`, else behind an epoch.
        tensorboard: whether to write for TensorBoard, into a folder of `run_dir`.
        distribution: `Distribution`, of whose processes one writes; None: this process writes.
        twin: the same network built outside the distribution, by which `best.keras` is written.

    Returns:
        List of `keras.callbacks.Callback`. The state of the training is behind them: give callbacks of your own before
        them, or they see what these have not noted yet.

    Raises:
        ModelFileError: if the checkpoint is damaged.
        ArgumentError: if it belongs to another training.
        OutputError: if the folder cannot be made.
    """
    deciding = []
    if recipe is not None and recipe.schedule == "plateau":
        deciding.append(keras.callbacks.ReduceLROnPlateau("val_loss", recipe.decay_factor, recipe.patience))
    if recipe is not None and recipe.early_stopping:
        deciding.append(keras.callbacks.EarlyStopping("val_loss", patience=recipe.early_stopping))
    if run_dir is None:
        return [MainHead(), FiniteWeights(), *deciding, FiniteLoss()]
    folder, history, best = Path(run_dir), keras.callbacks.History(), None
    writes, several = distribution is None or distribution.writes, distribution and distribution.processes > 1
    _files.make_folder(folder)
    # Else it is not the saved weights that are validated
    if writes and (recipe is None or recipe.moving_average is None):
        best = Best(folder / BEST, info, twin, distribution.outside if distribution else contextlib.nullcontext)
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
        before=best and best.flush,
        writes=writes,
    )
    log = folder / "log.csv"
    if (goes_on := bool(checkpoint.epoch or checkpoint.step)) and writes:
        _cut_log(log, checkpoint.epoch)
    watching = [MainHead(), FiniteWeights(), *deciding, history]
    if writes:
        watching.append(keras.callbacks.CSVLogger(log, append=goes_on))
    if tensorboard and writes:
        import tensorboard as _  # noqa: F401  told now, not by TensorFlow in the middle of an epoch

        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        watching.append(keras.callbacks.TensorBoard(folder / "tensorboard" / stamp))
    watching += [checkpoint, FiniteLoss(checkpoint)]
    if several:
        watching.append(Together(checkpoint, max_minutes))
    elif max_minutes is not None:
        watching.append(TimeBudget(max_minutes, checkpoint))
    return watching


def _cut_log(path, epoch):
    """Take the rows of epochs that will be run again out of a log."""
    if not path.exists():
        return
    first, *rows = path.read_bytes().splitlines(keepends=True) or [b""]
    kept = [row for row in rows if row.endswith(b"\n") and int(row.partition(b",")[0]) < epoch]
    with _files.writing(path) as temporary:
        temporary.write_bytes(first + b"".join(kept))
