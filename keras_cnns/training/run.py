"""The whole road from a source of pictures to one model file."""

import contextlib
import dataclasses
import json
import math
import platform
import sys
import time
from pathlib import Path

import keras
import numpy as np

from keras_cnns import _files, _models, _render
from keras_cnns.data.pipeline import reading
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.statistics import fit_preprocessing
from keras_cnns.errors import ArgumentError, Interrupted, OutputError, SourceError, TrainingError
from keras_cnns.evaluation.protocols import evaluate
from keras_cnns.saving import ModelInfo, save_model, versions
from keras_cnns.training._callbacks import CtrlC, MainHead
from keras_cnns.training.compilation import callbacks, compile_model, policy_for, set_biases
from keras_cnns.training.datasets import make_datasets, shorter_side

FILES = ("model.keras", "log.csv", "curve.png", "run.json")
VALIDATION_SHARE = 0.1  # of the training pictures, where the source has no validation split


def train(build, source, recipe, output, *, input_size=None, seed=0, overwrite=False, data=None, command=None):
    """Train a network on a source of pictures, and write model.keras, log.csv, curve.png and run.json.

    Progress goes to stderr. The test split, where there is one, is read once, at the end.

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
        data: what to note of the source beside its name, as {"data_dir": ...}.
        command: the command line, to be noted.

    Returns:
        `ModelInfo`, with "validation" and, where there is one, "test" in its metrics.

    Raises:
        ArgumentError, SourceError: for a network, source or folder that cannot be used, or a recipe that does not fit
            the network.
        OutputError: if something cannot be written.
        TrainingError: if the loss stops being a number, or the network died; the log is kept.
        Interrupted: (a KeyboardInterrupt) after Ctrl-C, when what was learned has been saved.
    """
    output = Path(output)
    if not overwrite:
        _files.refuse_existing(*(output / name for name in FILES))
    if folders := [output / name for name in FILES if (output / name).is_dir()]:
        raise ArgumentError(f"a file is written there, and a folder has its name. Received: output={str(folders[0])!r}")
    training, validation = source.split("train"), source.splits.get("validation")
    if validation is None:
        training, validation = training.divide(VALIDATION_SHARE, seed)

    policy = policy_for(recipe.precision)
    network = {"classes": len(source.class_names), **recipe.network}
    if shape := _input_shape(source, input_size):
        network["input_shape"] = shape
    keras.utils.set_random_seed(seed)
    with _dtype_policy(policy):
        model = build(**network)
    _models.one_image_input(_models.main_output(model))
    set_biases(model, recipe)
    compile_model(model, recipe, -(-training.examples // recipe.batch_size))
    height, width, channels = network["input_shape"] = tuple(model.inputs[0].shape[1:])

    _files.make_folder(output, room=4 * model.count_params())  # a full disk is told now, not after the last epoch
    preprocessing = Preprocessing((height, width), channels, shorter_side(source, (height, width), recipe))
    preprocessing = fit_preprocessing(training, preprocessing, recipe.preprocessing)
    batches, held_out = make_datasets(model, recipe, preprocessing, training, validation, seed)
    info = ModelInfo(
        class_names=source.class_names,
        preprocessing=preprocessing,
        builder=build.__name__,
        network=network,
        recipe=recipe.to_json(),
        data={"source": source.name, **(data or {})},
        versions=versions(),
    )
    _check_recordable(info)
    with reading(validation):  # a picture that cannot be read is told now, not after the first epoch
        for _ in held_out:
            pass
    history = keras.callbacks.History()
    device = f"{keras.distribution.list_devices()[0]}, {platform.machine()}"
    notes = {
        "seed": seed,
        "precision": policy,
        "device": device,
        "command": command,
        "pictures": training.examples,
    }
    start, interrupted = time.monotonic(), False
    try:
        _fit(model, batches, held_out, recipe, output, history, (training, validation))
    except KeyboardInterrupt:
        interrupted = True
        _finish_moving_average(model)
    done = {key: list(map(float, values)) for key, values in history.history.items()}
    notes |= {
        "epochs": len(done.get("loss", ())),
        "seconds": round(time.monotonic() - start, 1),
        "interrupted": interrupted,
    }
    losses = [value for key in ("loss", "total_loss") for value in done.get(key, ())]
    if not all(map(math.isfinite, losses)):
        raise TrainingError(
            f"the loss stopped being a number in epoch {notes['epochs']}; {output / 'log.csv'} shows how. Train with a "
            f"lower learning rate, a longer warm-up or --precision float32. Received: recipe={recipe.name!r}"
        )
    metrics = {}
    if "val_accuracy" in done and recipe.moving_average is None:  # else those were not the weights that are saved
        metrics["validation"] = {
            "examples": validation.examples,
            "top1": done["val_accuracy"][-1],
            "loss": done["val_loss"][-1],
        }
    info = dataclasses.replace(info, training=notes, metrics=metrics)
    if interrupted and not notes["epochs"] and (output / "model.keras").exists():
        raise Interrupted(f"interrupted in the first epoch; {output / 'model.keras'} is the earlier run's")
    # Saved before anything else that could fail: a damaged test picture must not cost a night's training.
    _write(output, model, info, done)
    if interrupted:
        raise Interrupted(
            f"interrupted after {notes['epochs']} of {recipe.epochs} epochs; the network as it was then is in "
            f"{output / 'model.keras'}"
        )
    _check_alive(model, held_out, recipe, seed)
    # Validation anew: the training's own loss may be that of smoothed labels, or of weights before their mean
    measured = {"validation": validation, "test": source.splits.get("test")}
    try:
        for name, split in measured.items():
            if split is not None:
                metrics[name] = evaluate(model, split, preprocessing, source.class_names).summary()
    except SourceError as error:
        raise SourceError(f"{error} The trained network is safe in {output / 'model.keras'}.") from None
    info = dataclasses.replace(info, metrics=metrics)
    _write(output, model, info, done)
    return info


def _fit(model, batches, validation, recipe, output, history, splits):
    ctrl_c = CtrlC()
    try:
        # Keras prints its progress on stdout, which is for results
        with contextlib.redirect_stdout(sys.stderr), reading(*splits), ctrl_c:
            model.fit(
                batches,
                validation_data=validation,
                epochs=recipe.epochs,
                shuffle=False,  # the pipeline does
                verbose=1 if sys.stderr.isatty() else 2,
                callbacks=[
                    MainHead(),  # those behind it see its names
                    *callbacks(recipe),
                    history,
                    keras.callbacks.CSVLogger(output / "log.csv"),
                    keras.callbacks.TerminateOnNaN(),
                    ctrl_c,
                ],
            )
            ctrl_c.check()
    except OSError as error:
        raise OutputError.from_os(output / "log.csv", error) from error


def _finish_moving_average(model):
    """Give the weights their mean, where there is one, as `fit` does when it is not interrupted."""
    if int(model.optimizer.iterations):  # before the first step the mean is zero
        model.optimizer.finalize_variable_values(model.trainable_variables)


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


def _write(output, model, info, history):
    """Write the model file, the run's record and the curves."""
    save_model(model, output / "model.keras", info, overwrite=True)
    _files.write_json(output / "run.json", {**info.to_json(), "history": history})
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
