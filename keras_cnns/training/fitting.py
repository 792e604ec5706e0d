"""One call of `fit`, and every way it can end."""

import contextlib
import itertools
import sys
import warnings

import keras

from keras_cnns.data.pipeline import reading
from keras_cnns.errors import OutputError, TrainingError
from keras_cnns.training import checkpoint as checkpoints
from keras_cnns.training._callbacks import Best, CtrlC, LossError, TimeUp
from keras_cnns.training._processes import Together, stop_all
from keras_cnns.training._signals import NOW, TRAINING
from keras_cnns.training._variables import array
from keras_cnns.training.diagnosis import find_fault
from keras_cnns.training.progress import Progress
from keras_cnns.training.run_folder import CHECKPOINT


class Fitting:
    """One call of `fit`, with what watches it.

    Args:
        model: `keras.Model`, compiled.
        recipe: `Recipe`.
        output: folder.
        watching: what `callbacks` returned.
        position: `Position` of the training data.
        splits: (training, validation) `Split`.
        distribution: `Distribution`, in whose scope `fit` is called.
        signals: `StopSignals`.
    """

    def __init__(self, model, recipe, output, watching, position, splits, distribution, signals):
        self.distribution, self.signals = distribution, signals
        self.model, self.recipe, self.output, self.position, self.splits = model, recipe, output, position, splits
        self.watching, self.progress = watching, None
        self.checkpoint = self.of(checkpoints.Checkpoint)
        self.best = self.of(Best)

    def of(self, kind):
        """Return the callback of a kind, None if there is none."""
        return next((one for one in self.watching if isinstance(one, kind)), None)

    @property
    def history(self):
        """The values of each epoch, by name."""
        found = self.of(keras.callbacks.History).history
        return {name: list(map(float, values)) for name, values in found.items()}

    def fit(self, batches, held_out, waited, quiet):
        """Train, show progress unless `quiet`, and return what stopped it: None, "interrupted" or "time".

        `waited` is what `measure_waiting` returned, or None.
        """
        several = self.distribution.processes > 1
        checkpoint, signals = self.checkpoint, self.signals
        signals.began, signals.tell = True, stop_all if several else None
        quiet = quiet or not self.distribution.writes
        self.position.stay(self.distribution.mirrored)  # its iterators read ahead from the moment they are made
        self.progress = progress = Progress(
            self.recipe.batch_size, self.recipe.epochs, checkpoint.steps, waited, checkpoint.step, show=not quiet
        )
        # First what names the logs, then what shows them: others may end an epoch by raising
        main_head, *others = self.watching
        try:
            with contextlib.ExitStack() as stack:
                # Keras prints on stdout, which is for results; and but on TensorFlow an epoch taken up in its middle is
                # short, which it finds worth a warning
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", "Your input ran out of data")
                stack.enter_context(reading(*self.splits))
                stack.enter_context(signals.stage(TRAINING, waits=True))
                stack.enter_context(progress)
                self.model.fit(
                    batches,
                    validation_data=held_out,
                    epochs=checkpoint.epoch if checkpoint.ended else self.recipe.epochs,
                    shuffle=False,  # the pipeline does
                    verbose=0,
                    callbacks=[main_head, progress, *others, CtrlC(signals, checkpoint)],
                )
        except LossError as error:
            raise self._explained(error, batches) from None
        except OutputError:
            log = self.output / "log.csv"
            if log.exists() and not log.stat().st_size:  # of a run that never began
                log.unlink()
            raise
        except OSError as error:
            raise OutputError.from_os(self.output / "log.csv", error) from error
        except (KeyboardInterrupt, TimeUp) as stop:
            # A second Ctrl-C, or one of this process alone
            if signals.again or (several and not self.of(Together).stops):
                raise
            self._finish_moving_average()
            return "time" if isinstance(stop, TimeUp) else "interrupted"
        finally:
            signals.doing, signals.tell = NOW, None
        return None

    def _finish_moving_average(self):
        """Give the weights their mean, where there is one, as `fit` does when it is not interrupted."""
        if int(array(self.model.optimizer.iterations)):  # before the first step the mean is zero
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def _explained(self, error, batches):
        """Return the TrainingError for a loss that is no number, after the steps from the last checkpoint once more."""
        where = str(error)
        if self.distribution.processes == 1 and (fault := self._fault(error, batches)):
            of_epoch, of_step = divmod(fault[0], self.checkpoint.steps)
            where = f"the loss stopped being a number in epoch {of_epoch + 1}, step {of_step + 1} ({fault[1]})"
        return TrainingError(
            f"{where}; {self.output / 'log.csv'} shows how. Train with a lower learning rate, a longer warm-up or "
            f"--precision float32. Received: recipe={self.recipe.name!r}"
        )

    def _fault(self, error, batches):
        """Return (steps from the start of the training, `Fault`) of a `LossError`; None if it is not found."""
        state, arrays = checkpoints.read(self.output / CHECKPOINT)
        checkpoints.restore(self.output / CHECKPOINT, self.model, state, arrays)
        epoch, step, steps = state["epoch"], state["step"], self.checkpoint.steps
        self.position.assign(epoch, step)
        self.position.stay(False)
        behind = (error.epoch - epoch) * steps + error.step - step + 1
        endless = itertools.chain.from_iterable(itertools.repeat(batches))
        with reading(*self.splits):
            fault = find_fault(self.model, endless, behind)
        return (epoch * steps + step + fault.step, fault) if fault else None
