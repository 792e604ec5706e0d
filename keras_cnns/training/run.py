"""The whole road from a source of pictures to one model file."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import platform
import shlex
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_cnns import _files, _models, _render
from keras_cnns.data.pipeline import reading
from keras_cnns.data.position import Position, watched
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.statistics import fit_preprocessing
from keras_cnns.errors import ArgumentError, Interrupted, OutputError, SourceError, TrainingError
from keras_cnns.evaluation.protocols import evaluate
from keras_cnns.saving import ModelInfo, read_info, save_model, versions
from keras_cnns.training import checkpoint as checkpoints
from keras_cnns.training._callbacks import Best, CtrlC, LossError, TimeUp
from keras_cnns.training.compilation import compile_model, policy_for, set_biases
from keras_cnns.training.datasets import balanced, make_datasets, shorter_side
from keras_cnns.training.diagnosis import find_fault
from keras_cnns.training.progress import Progress
from keras_cnns.training.watching import BEST, CHECKPOINT, callbacks

FILES = ("model.keras", BEST, "log.csv", "curve.png", "run.json", CHECKPOINT)
VALIDATION_SHARE = 0.1  # of the training pictures, where the source has no validation split


def train(
    build,
    source,
    recipe,
    output,
    *,
    input_size=None,
    seed=0,
    overwrite=False,
    resume=False,
    deterministic=False,
    max_minutes=None,
    tensorboard=False,
    quiet=False,
    data=None,
    command=None,
):
    """Train a network on a source of pictures; write model.keras, best.keras, log.csv, curve.png and run.json.

    Progress goes to stderr. The test split, where there is one, is read once, at the end. Meanwhile checkpoint.npz
    says where the training stands; a run that was stopped, however hard, goes on from there with `resume`.

    Args:
        build: a function of `keras_cnns.applications`, or another that takes `classes`, `input_shape` and the
            recipe's network options and returns a classifier, perhaps with auxiliary heads behind its first output,
            which must then be called `predictions`.
        source: `Source`.
        recipe: `Recipe`.
        output: folder to write into; it may exist.
        input_size: height and width of the network's input, in pixels. None: those of the source's pictures,
            where they are all alike, else the network's own.
        seed: of the weights, the order of the pictures, the augmentation and the validation split.
        overwrite: whether files of an earlier run in `output` may be replaced.
        resume: whether to go on with the run in `output`. One that is complete is left as it is, and where none is,
            one starts.
        deterministic: whether to compute so that the same run on the same machine gives the very same weights, resumed
            or not, which is slower.
        max_minutes: time after which the run ends well and can be resumed; None: when it is complete.
        tensorboard: whether to write for TensorBoard, into a folder of `output`.
        quiet: whether to show no progress.
        data: what to note of the source beside its name, as {"data_dir": ...}.
        command: the command line, to be noted, and to be named when the run stops early.

    Returns:
        `ModelInfo`, with "validation" and, where there is one, "test" in its metrics; if the time was over before the
        run was complete, with False as `training["complete"]` and no "test".

    Raises:
        ArgumentError, SourceError: for a network, source or folder that cannot be used, a recipe that does not fit
            the network, a folder into which another run writes, or, with `resume`, in which another one began.
        ModelFileError: if the checkpoint to go on from is damaged.
        OutputError: if something cannot be written.
        TrainingError: if the loss stops being a number, or the network died; the log is kept.
        Interrupted: (a KeyboardInterrupt) after Ctrl-C, when what was learned has been saved.
    """
    output = Path(output)
    if not (overwrite or resume):
        _files.refuse_existing(*(output / name for name in FILES))
    if folders := [output / name for name in FILES if (output / name).is_dir()]:
        raise ArgumentError(f"a file is written there, and a folder has its name. Received: output={str(folders[0])!r}")
    training, validation = source.split("train"), source.splits.get("validation")
    if validation is None:
        training, validation = training.divide(VALIDATION_SHARE, seed)
    training = balanced(training, recipe, seed)

    if deterministic:
        _compute_the_same()
    policy = policy_for(recipe.precision)
    network = {"classes": len(source.class_names), **recipe.network}
    if shape := _input_shape(source, input_size):
        network["input_shape"] = shape
    keras.utils.set_random_seed(seed)
    with _dtype_policy(policy):
        model = build(**network)
    _models.one_image_input(_models.main_output(model))
    set_biases(model, recipe)
    steps = -(-training.examples // recipe.batch_size)
    compile_model(model, recipe, steps)
    height, width, channels = network["input_shape"] = tuple(model.inputs[0].shape[1:])

    _files.make_folder(output)
    with _alone(output):
        run = {
            "network": build.__name__,
            "arguments": {name: repr(value) for name, value in network.items()},
            "recipe": recipe.to_json(),
            "pictures": _fingerprint(source, training),
            "seed": seed,
            "precision": policy,
        }
        run = json.loads(json.dumps(run, default=repr))  # as it comes back from a file
        if resume and (complete := _complete(output, run)):
            return complete
        if not resume:  # of the run that is overwritten; the rest stays until there is something better
            (output / BEST).unlink(missing_ok=True)
        preprocessing = Preprocessing((height, width), channels, shorter_side(source, (height, width), recipe))
        preprocessing = fit_preprocessing(training, preprocessing, recipe.preprocessing)
        device = f"{keras.distribution.list_devices()[0]}, {platform.machine()}"
        notes = {"seed": seed, "precision": policy, "device": device, "command": command}
        info = ModelInfo(
            class_names=source.class_names,
            preprocessing=preprocessing,
            builder=build.__name__,
            network=network,
            recipe=recipe.to_json(),
            data={"source": source.name, **(data or {})},
            metrics={"validation": {"examples": validation.examples}},
            training={**notes, "pictures": training.examples, "deterministic": deterministic},
            versions=versions(),
        )
        _check_recordable(info)
        position = Position()
        batches, held_out = make_datasets(model, recipe, preprocessing, training, validation, seed, position)
        with reading(validation):  # a picture that cannot be read is told now, not after the first epoch
            for _ in held_out:
                pass
        watching = callbacks(
            output,
            recipe,
            resume=resume,
            run=run,
            position=position,
            steps=steps,
            info=info,
            max_minutes=max_minutes,
            tensorboard=tensorboard,
        )
        batches, waited = watched(batches)
        training = _Training(model, recipe, output, watching, position, (training, validation))
        stopped = training.fit(batches, held_out, waited, quiet)
        return _finish(training, info, stopped, held_out, source, run)


class _Training:
    """One call of `fit`, with what watches it.

    Args:
        model: `keras.Model`, compiled.
        recipe: `Recipe`.
        output: folder.
        watching: what `callbacks` returned.
        position: `Position` of the training data.
        splits: (training, validation) `Split`.
    """

    def __init__(self, model, recipe, output, watching, position, splits):
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

        `waited` is what `watched` returned, or None.
        """
        checkpoint, ctrl_c = self.checkpoint, CtrlC(self.checkpoint)
        self.progress = progress = Progress(
            self.recipe.batch_size, self.recipe.epochs, checkpoint.steps, waited, checkpoint.step, show=not quiet
        )
        try:
            with contextlib.ExitStack() as stack:
                # Keras prints on stdout, which is for results; an epoch taken up in its middle is short, which it finds
                # worth a warning
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
                stack.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", "Your input ran out of data")
                stack.enter_context(reading(*self.splits))
                stack.enter_context(ctrl_c)
                stack.enter_context(progress)
                self.model.fit(
                    batches,
                    validation_data=held_out,
                    epochs=checkpoint.epoch if checkpoint.ended else self.recipe.epochs,
                    shuffle=False,  # the pipeline does
                    verbose=0,
                    callbacks=[*self.watching, progress, ctrl_c],
                )
                ctrl_c.check()
        except LossError as error:
            raise self._explained(error, batches) from None
        except OutputError:
            raise
        except OSError as error:
            raise OutputError.from_os(self.output / "log.csv", error) from error
        except (KeyboardInterrupt, TimeUp) as stop:
            self._finish_moving_average()
            return "time" if isinstance(stop, TimeUp) else "interrupted"
        return None

    def _finish_moving_average(self):
        """Give the weights their mean, where there is one, as `fit` does when it is not interrupted."""
        if int(self.model.optimizer.iterations):  # before the first step the mean is zero
            self.model.optimizer.finalize_variable_values(self.model.trainable_variables)

    def _explained(self, error, batches):
        """Return the TrainingError for a loss that is no number, after the steps from the last checkpoint once more."""
        state, arrays = checkpoints.read(self.output / CHECKPOINT)
        checkpoints.restore(self.output / CHECKPOINT, self.model, state, arrays)
        epoch, step, steps = state["epoch"], state["step"], self.checkpoint.steps
        self.position.assign(epoch, step)
        behind = (error.epoch - epoch) * steps + error.step - step + 1
        endless = itertools.chain.from_iterable(itertools.repeat(batches))
        with reading(*self.splits):
            fault = find_fault(self.model, endless, behind)
        where = str(error)
        if fault:
            of_epoch, of_step = divmod(epoch * steps + step + fault.step, steps)
            where = f"the loss stopped being a number in epoch {of_epoch + 1}, step {of_step + 1} ({fault})"
        return TrainingError(
            f"{where}; {self.output / 'log.csv'} shows how. Train with a lower learning rate, a longer warm-up or "
            f"--precision float32. Received: recipe={self.recipe.name!r}"
        )


def _finish(training, info, stopped, held_out, source, run):
    """Write what a training gave, measure it, and return its `ModelInfo`."""
    output, recipe, model, done = training.output, training.recipe, training.model, training.history
    notes = {
        **info.training,
        "epochs": len(done.get("loss", ())),
        "seconds": round(training.checkpoint.seconds, 1),
        "pictures_per_second": training.progress.pictures_per_second,
        "waiting": training.progress.waiting,
        "best_epoch": training.best and training.best.epoch is not None and training.best.epoch + 1 or None,
        "interrupted": stopped == "interrupted",
        "complete": stopped is None,
    }
    metrics = {}
    if "val_accuracy" in done and recipe.moving_average is None:  # else those were not the weights that are saved
        values = {"top1": done["val_accuracy"][-1], "loss": done["val_loss"][-1]}
        metrics["validation"] = {**info.metrics["validation"], **values}
    info = dataclasses.replace(info, training=notes, metrics=metrics)
    go_on = _going_on(notes["command"])
    if stopped == "interrupted" and not notes["epochs"] and (output / "model.keras").exists():
        raise Interrupted(
            f"interrupted in the first epoch; {output / 'model.keras'} is the earlier run's. To go on: {go_on}"
        )
    # Saved before anything else that could fail: a damaged test picture must not cost a night's training.
    _write(output, model, info, done, run)
    if training.best:
        training.best.flush()
    if stopped:
        if stopped == "interrupted":
            raise Interrupted(
                f"interrupted after {notes['epochs']} of {recipe.epochs} epochs; the network as it was then is in "
                f"{output / 'model.keras'}. To go on: {go_on}"
            )
        return info
    _check_alive(model, held_out, recipe, notes["seed"])
    # Validation anew: the training's own loss may be that of smoothed labels, or of weights before their mean
    measured = {"validation": training.splits[1], "test": source.splits.get("test")}
    try:
        for name, split in measured.items():
            if split is not None:
                metrics[name] = evaluate(model, split, info.preprocessing, source.class_names).summary()
    except SourceError as error:
        raise SourceError(f"{error} The trained network is safe in {output / 'model.keras'}.") from None
    info = dataclasses.replace(info, metrics=metrics)
    _write(output, model, info, done, run)
    with contextlib.suppress(OSError):
        (output / CHECKPOINT).unlink()
    return info


def _complete(output, run):
    """Return the `ModelInfo` of a run that is complete; None if there is none, or a checkpoint to go on from.

    Raises:
        ArgumentError: if the folder holds another run, or one without a checkpoint.
    """
    if (output / CHECKPOINT).exists():
        return None
    there = [name for name in FILES if (output / name).exists()]
    if not there:
        return None
    try:
        record = json.loads((output / "run.json").read_text("utf8"))
        theirs, complete = record["run"], record["training"]["complete"]
    except (OSError, ValueError, KeyError, TypeError):
        theirs = complete = None
    if complete and not checkpoints.differences(theirs, run):
        return read_info(output / "model.keras")
    kind = "another run" if complete else "a run without its checkpoint"
    raise ArgumentError(
        f"{output} holds {kind} ({', '.join(there)}): there is nothing to go on from. Choose another folder, or start "
        f"anew with --force (in code: overwrite=True). Received: resume=True"
    )


@contextlib.contextmanager
def _alone(output):
    """Hold a run's folder, and take away what a killed run has left half written."""
    try:
        with _files.locked(output, wait=False):
            for name in FILES:
                _files.sweep(output / name)
            yield
    except BlockingIOError:
        raise ArgumentError(
            f"another run is writing into this folder; wait for it, or choose another. Received: output={str(output)!r}"
        ) from None


def _fingerprint(source, training):
    """Return what tells the training pictures from others, wherever they lie."""
    digest = hashlib.sha256(repr((source.class_names, training.examples)).encode())
    if training.labels is not None:
        digest.update(np.asarray(training.labels).tobytes())
    items = getattr(training, "items", None)
    if isinstance(items, np.ndarray) and items.dtype == np.uint8:
        digest.update(np.ascontiguousarray(items).data)
    elif hasattr(training, "keys") and callable(training.keys):
        digest.update(repr(list(training.keys())).encode())
    return digest.hexdigest()[:16]


def _going_on(command):
    """Return how to go on with a run that was stopped."""
    if not command:
        return "call it again with resume=True"
    words = [word for word in shlex.split(command) if word not in ("--force", "--resume")]
    return shlex.join([*words, "--resume"])


def _compute_the_same():
    """Let TensorFlow choose what gives the same bits every time."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _check_recordable(info):
    """Raise ArgumentError, before a training rather than after it, if its record could not be written."""
    try:
        json.dumps(info.to_json())
    except TypeError as error:
        raise ArgumentError(
            f"what the model file says of itself must be JSON: name initializers, give paths as strings ({error}). "
            f"Received: network={dict(info.network)}, data={info.data}"
        ) from error


def _check_alive(model, data, recipe, seed):
    """Raise TrainingError if a trained network says the same of all pictures: nothing passes its ReLUs any more."""
    model, (images, _) = _models.main_output(model), next(iter(data))
    if len(images) > 1 and not np.ptp(np.asarray(model.predict_on_batch(images)), axis=0).any():
        raise TrainingError(
            "the network gives every picture the same answer: its ReLUs died early in the training. Train again "
            "(with --force) with another seed, a lower learning rate or a longer warm-up. "
            f"Received: recipe={recipe.name!r}, seed={seed}"
        )


def _write(output, model, info, history, run):
    """Write the model file, the run's record and the curves."""
    save_model(model, output / "model.keras", info, overwrite=True)
    _files.write_json(output / "run.json", {**info.to_json(), "history": history, "run": run})
    if history.get("loss"):
        _render.training_curve(history, output / "curve.png", f"{info.builder} on {info.data['source']}")


def _input_shape(source, input_size):
    """Return the network's input shape, None to leave it to the builder."""
    height, width, channels = source.image_shape
    if input_size is not None:
        return (input_size, input_size, channels)
    return None if None in (height, width) else (height, width, channels)


@contextlib.contextmanager
def _dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
