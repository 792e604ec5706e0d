"""The end of a training: what is written, what is measured, and whether the network lives."""

import contextlib
import dataclasses
import os

import numpy as np

from keras_cnns import _models
from keras_cnns.errors import Interrupted, SourceError, TrainingError
from keras_cnns.evaluation.evaluator import evaluate
from keras_cnns.saving import load_with_info
from keras_cnns.training._signals import MEASURING, SAVING
from keras_cnns.training.run_folder import BEST, CHECKPOINT, FINAL, going_on, write


def finish(fitting, twin, info, stopped, held_out, source, run):
    """Write what a training gave, measure it, and return its `ModelInfo`.

    Args:
        fitting: `Fitting`, behind its `fit`.
        twin: the network that trained, or the same outside of its distribution, which is what is saved and measured.
        info: `ModelInfo` so far.
        stopped: what `fit` returned.
        held_out: the validation data.
        source: `Source`.
        run: what tells this training from others.
    """
    output, recipe, model, done = fitting.output, fitting.recipe, twin, fitting.history
    best, writes = fitting.best, fitting.distribution.writes
    signals = fitting.signals
    if twin is not fitting.model:
        twin.set_weights(fitting.model.get_weights())
    notes = {
        **info.training,
        "epochs": len(done.get("loss", ())),
        "seconds": round(fitting.checkpoint.seconds, 1),
        "pictures_per_second": fitting.progress.images_per_second,
        "waiting": fitting.progress.waiting,
        "best_epoch": None if best is None or best.epoch is None else best.epoch + 1,
        "interrupted": stopped == "interrupted",
        "complete": stopped is None,
    }
    if fitting.checkpoint.extended:
        notes["extended"] = fitting.checkpoint.extended
    metrics = {}
    if "val_accuracy" in done and recipe.moving_average is None:  # else those were not the weights that are saved
        values = {"top1": done["val_accuracy"][-1], "loss": done["val_loss"][-1]}
        metrics["validation"] = {**info.metrics["validation"], **values}
    info = dataclasses.replace(info, training=notes, metrics=metrics)
    go_on = going_on(notes["command"])
    if stopped == "interrupted" and not notes["epochs"] and (output / "model.keras").exists():
        raise Interrupted(
            f"interrupted in the first epoch; {output / 'model.keras'} is the earlier run's. To go on: {go_on}"
        )
    # Saved before anything else that could fail: a damaged test image must not cost a night's training.
    with signals.stage(SAVING, waits=True):
        if writes:
            write(output, model, info, done, run)
        if best:
            best.flush()
        if stopped is None and run.get("restore_best"):
            info = _restore_best(fitting, model, info)
            notes = info.training
            if writes:
                write(output, model, info, done, run)
    if stopped:
        if stopped == "interrupted":
            raise Interrupted(
                f"interrupted after {notes['epochs']} of {recipe.epochs} epochs; the network as it was then is in "
                f"{output / 'model.keras'}. To go on: {go_on}"
            )
        return info
    # Once more: the training's own loss may be that of smoothed labels, or of weights before their mean
    measured, metrics = {"validation": fitting.splits[1], "test": source.splits.get("test")}, {}
    try:
        with signals.stage(MEASURING):
            signals.check()
            _check_alive(model, held_out, recipe, notes["seed"])
            for name, split in measured.items():
                if split is not None:
                    metrics[name] = evaluate(model, split, info.preprocessing, source.class_names).summary()
            signals.check()  # a Ctrl-C that some library swallowed
    except SourceError as error:
        raise SourceError(f"{error} The trained network is safe in {output / 'model.keras'}.") from None
    except KeyboardInterrupt:
        if signals.again:
            raise
        raise Interrupted(
            f"interrupted while the trained network was measured; it is safe in {output / 'model.keras'}. To measure "
            f"it: {go_on}"
        ) from None
    info = dataclasses.replace(info, metrics=metrics)
    if not writes:
        return info
    with signals.stage(SAVING, waits=True):
        write(output, model, info, done, run)
        with contextlib.suppress(OSError):
            os.replace(output / CHECKPOINT, output / FINAL)
    return info


def _restore_best(fitting, model, info):
    """Give the network the weights of best.keras, which all processes read, and return its `ModelInfo`."""
    if fitting.distribution.processes > 1:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("best.keras is written")
    best, record = load_with_info(fitting.output / BEST)
    model.set_weights(best.get_weights())
    return dataclasses.replace(
        info, metrics=record.metrics, training={**info.training, "restored_epoch": record.training["epochs"]}
    )


def _check_alive(model, data, recipe, seed):
    """Raise TrainingError if a trained network says NaN, or the same of all images: nothing passes its ReLUs."""
    model, (images, *_) = _models.main_output(model), next(iter(data))
    outputs = np.asarray(model.predict_on_batch(np.asarray(images)))
    if np.isnan(outputs).any():
        raise TrainingError(
            "the trained network's outputs are NaN: its last steps were too large. Train again (with --force) with a "
            f"lower learning rate or a longer warm-up. Received: recipe={recipe.name!r}, seed={seed}"
        )
    if len(images) > 1 and not np.ptp(outputs, axis=0).any():
        raise TrainingError(
            "the network gives every image the same answer: its ReLUs died early in the training. Train again "
            "(with --force) with another seed, a lower learning rate or a longer warm-up. "
            f"Received: recipe={recipe.name!r}, seed={seed}"
        )
