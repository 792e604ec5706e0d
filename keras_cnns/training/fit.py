"""One call of `model.fit`, and every way in which it can end."""

import contextlib
import itertools
import sys
import warnings
from typing import TYPE_CHECKING, TypeVar

import keras

from keras_cnns.data.pipeline import reading
from keras_cnns.errors import OutputError, TrainingError
from keras_cnns.training import checkpoint as checkpoints
from keras_cnns.training._callbacks import Best
from keras_cnns.training._processes import SharedStop, stop_all
from keras_cnns.training._signals import NOW, TRAINING, active
from keras_cnns.training._variables import array
from keras_cnns.training.diagnosis import Fault, find_fault
from keras_cnns.training.progress import Progress
from keras_cnns.training.run_folder import CHECKPOINT
from keras_cnns.training.stops import CtrlC, LossError, TimeUp

if TYPE_CHECKING:
    from keras_cnns.training.job import Batches, Job, Splits
    from keras_cnns.training.network import Network

T = TypeVar("T", bound=keras.callbacks.Callback)


class Fit:
    """One call of `model.fit` with its callbacks.

    Args:
        job: what is asked for.
        splits: where the images come from.
        network: the network that trains.
        batches: what it reads.
        callbacks: what `callbacks` returned.

    Attributes:
        job, splits, network, batches: as the arguments.
        checkpoint: the `Checkpoint` among the callbacks.
        best: the `Best` among the callbacks; None if there is none.
        progress: the `Progress` of the call; None before it.
    """

    def __init__(
        self,
        job: "Job",
        splits: "Splits",
        network: "Network",
        batches: "Batches",
        callbacks: list[keras.callbacks.Callback],
    ):
        self.job, self.splits, self.network, self.batches = job, splits, network, batches
        self._callbacks, self._signals = callbacks, active()
        self.progress: Progress | None = None
        (self.checkpoint,) = self._all(checkpoints.Checkpoint)
        self.best = next(iter(self._all(Best)), None)

    def _all(self, kind: type[T]) -> list[T]:
        """Return the callbacks of a class."""
        return [callback for callback in self._callbacks if isinstance(callback, kind)]

    @property
    def history(self) -> dict[str, list[float]]:
        """The values of each epoch, by name."""
        (callback,) = self._all(keras.callbacks.History)
        return {name: list(map(float, values)) for name, values in callback.history.items()}

    def run(self) -> str | None:
        """Train and show progress.

        Returns:
            What stopped the training: None if it is complete, "interrupted" or "time".

        Raises:
            TrainingError: if the loss becomes NaN or infinite.
            OutputError: if the log or a checkpoint cannot be written.
            SourceError: if an image cannot be read.
            KeyboardInterrupt: at a second Ctrl-C.
        """
        job, checkpoint, signals = self.job, self.checkpoint, self._signals
        signals.began, signals.tell = True, stop_all if job.distribution.processes > 1 else None
        # A mirrored iterator reads ahead as soon as it is made, so the position must not move with it
        self.batches.position.stay(job.distribution.mirrored)
        self.progress = Progress(
            job.recipe.batch_size,
            job.recipe.epochs,
            self.splits.steps,
            self.batches.waited,
            checkpoint.step,
            show=job.distribution.writes and not job.quiet,
            monitor=job.task.monitor,
        )
        try:
            self._call()
        except LossError as error:
            raise self._explained(error) from None
        except OutputError:
            log = job.output / "log.csv"
            if log.exists() and not log.stat().st_size:  # The run never began
                log.unlink()
            raise
        except OSError as error:
            raise OutputError.from_os(job.output / "log.csv", error) from error
        except (KeyboardInterrupt, TimeUp) as stop:
            # With several processes, a Ctrl-C that did not stop all of them is an error as well
            if signals.again or not all(callback.stops for callback in self._all(SharedStop)):
                raise
            self._finish_moving_average()
            return "time" if isinstance(stop, TimeUp) else "interrupted"
        finally:
            signals.doing, signals.tell = NOW, None
        return None

    def _call(self):
        """Call `model.fit`."""
        # The callback that names the values comes first, then the one that shows them, because others may end an epoch
        # by raising an error
        main_head, *others = self._callbacks
        with contextlib.ExitStack() as stack:
            # Keras prints on stdout, which is for results
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            # Except on TensorFlow, an epoch that is resumed has fewer steps, about which Keras warns
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Your input ran out of data")
            stack.enter_context(reading(self.splits.training, self.splits.validation))
            stack.enter_context(self._signals.stage(TRAINING, waits=True))
            stack.enter_context(self.progress)
            self.network.model.fit(
                self.batches.training,
                validation_data=self.batches.validation,
                epochs=self.checkpoint.epoch if self.checkpoint.ended else self.job.recipe.epochs,
                shuffle=False,  # The pipeline shuffles
                verbose=0,
                callbacks=[main_head, self.progress, *others, CtrlC(self._signals, self.checkpoint)],
            )

    def _finish_moving_average(self):
        """Replace the weights by their moving average, as a complete `fit` does."""
        model = self.network.model
        if int(array(model.optimizer.iterations)):  # Before the first step the average is zero
            model.optimizer.finalize_variable_values(model.trainable_variables)

    def _explained(self, error: LossError) -> TrainingError:
        """Return the TrainingError for a loss, with the layer if found."""
        where = str(error)
        if self.job.distribution.processes == 1 and (found := self._find_fault(error)):
            steps_before, fault = found
            epoch, step = divmod(steps_before + fault.step, self.splits.steps)
            where = f"the loss became NaN or infinite in epoch {epoch + 1}, step {step + 1} ({fault})"
        return TrainingError(
            f"{where}; {self.job.output / 'log.csv'} shows how. Train with a lower learning rate, a longer warm-up or "
            f"--precision float32. Received: recipe={self.job.recipe.name!r}"
        )

    def _find_fault(self, error: LossError) -> tuple[int, Fault] | None:
        """Repeat the steps from the last checkpoint to find the fault.

        Returns:
            (steps from the start of training to the checkpoint, `Fault`); None if it is not found.
        """
        path, model, position = self.job.output / CHECKPOINT, self.network.model, self.batches.position
        state, arrays = checkpoints.read(path)
        checkpoints.restore(path, model, state, arrays)
        epoch, step, steps = state["epoch"], state["step"], self.splits.steps
        position.assign(epoch, step)
        position.stay(False)
        limit = (error.epoch - epoch) * steps + error.step - step + 1
        endless = itertools.chain.from_iterable(itertools.repeat(self.batches.training))
        with reading(self.splits.training, self.splits.validation):
            fault = find_fault(model, endless, limit)
        return (epoch * steps + step, fault) if fault else None
