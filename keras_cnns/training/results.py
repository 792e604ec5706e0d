"""What a training run writes and measures at its end."""

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_cnns import _models
from keras_cnns.errors import Interrupted, SourceError, TrainingError
from keras_cnns.evaluation.evaluator import evaluate
from keras_cnns.saving import ModelInfo, load_with_info
from keras_cnns.training._signals import MEASURING, SAVING, active
from keras_cnns.training.run_folder import BEST, CHECKPOINT, FINAL, resume_command, write_results

if TYPE_CHECKING:
    from keras_cnns.training.fit import Fit
    from keras_cnns.training.identity import RunIdentity


def finish(fit: "Fit", info: ModelInfo, identity: "RunIdentity", stopped: str | None) -> ModelInfo:
    """Write the trained network, measure it, and write the measurements.

    Args:
        fit: after its `run`.
        info: as it is known before training.
        identity: `RunIdentity` of the run.
        stopped: what `Fit.run` returned.

    Returns:
        The complete `ModelInfo`.

    Raises:
        Interrupted: if the run was stopped by Ctrl-C, or is stopped while the network is measured.
        TrainingError: if the network's outputs are NaN or do not depend on the image.
        SourceError: if a test image cannot be read; the trained network has been written.
        OutputError: if something cannot be written.
    """
    job, twin = fit.job, fit.network.twin
    if twin is not fit.network.model:
        twin.set_weights(fit.network.model.get_weights())
    info = _with_history(fit, info, stopped)
    model_file, epochs = job.output / "model.keras", info.training["epochs"]
    how_to_resume = resume_command(job.command)
    if stopped == "interrupted" and not epochs and model_file.exists():
        raise Interrupted(
            f"interrupted in the first epoch; {model_file} is the earlier run's. To resume: {how_to_resume}"
        )
    info = _save(fit, info, identity, stopped)
    if stopped == "interrupted":
        raise Interrupted(
            f"interrupted after {epochs} of {job.recipe.epochs} epochs; the network as it was then is in "
            f"{model_file}. To resume: {how_to_resume}"
        )
    if stopped:
        return info
    try:
        info = dataclasses.replace(info, metrics=_measure(fit, info))
    except SourceError as error:
        raise SourceError(f"{error} The trained network is safe in {model_file}.") from None
    except KeyboardInterrupt:
        if active().again:
            raise
        raise Interrupted(
            f"interrupted while the trained network was measured; it is safe in {model_file}. To measure it: "
            f"{how_to_resume}"
        ) from None
    if job.distribution.writes:
        with active().stage(SAVING, waits=True):
            write_results(job.output, twin, info, fit.history, identity)
            with contextlib.suppress(OSError):
                os.replace(job.output / CHECKPOINT, job.output / FINAL)
    return info


def _with_history(fit, info, stopped):
    """Return the `ModelInfo` with what the training run was like."""
    history, best = fit.history, fit.best
    training = {
        **info.training,
        "epochs": len(history.get("loss", ())),
        "seconds": round(fit.checkpoint.seconds, 1),
        "pictures_per_second": fit.progress.images_per_second,
        "waiting": fit.progress.waiting,
        "best_epoch": None if best is None or best.epoch is None else best.epoch + 1,
        "interrupted": stopped == "interrupted",
        "complete": stopped is None,
    }
    if fit.checkpoint.extended:
        training["extended"] = fit.checkpoint.extended
    metrics = {}
    # With a moving average the validated weights are not the weights that are saved
    monitor = fit.job.task.monitor
    if (name := f"val_{monitor.name}") in history and fit.job.recipe.moving_average is None:
        values = {monitor.record: history[name][-1], "loss": history["val_loss"][-1]}
        metrics["validation"] = {**info.metrics["validation"], **values}
    return dataclasses.replace(info, training=training, metrics=metrics)


def _save(fit, info, identity, stopped):
    """Write the files of the run, and return the `ModelInfo` in them.

    They are written before anything else that could fail: a damaged test image must not cost a night's training.
    """
    output, twin, writes = fit.job.output, fit.network.twin, fit.job.distribution.writes
    with active().stage(SAVING, waits=True):
        if writes:
            write_results(output, twin, info, fit.history, identity)
        if fit.best:
            fit.best.flush()
        if stopped is None and identity.restore_best:
            info = _restore_best(fit, info)
            if writes:
                write_results(output, twin, info, fit.history, identity)
    return info


def _restore_best(fit, info):
    """Load the weights of best.keras in all processes, and return their `ModelInfo`."""
    if fit.job.distribution.processes > 1:
        from jax.experimental.multihost_utils import sync_global_devices

        sync_global_devices("best.keras is written")
    best, record = load_with_info(fit.job.output / BEST)
    fit.network.twin.set_weights(best.get_weights())
    return dataclasses.replace(
        info, metrics=record.metrics, training={**info.training, "restored_epoch": record.training["epochs"]}
    )


def _measure(fit: "Fit", info: ModelInfo) -> dict[str, Any]:
    """Return the metrics of the trained network by split.

    The validation is measured once more, because the loss in training may be that of smoothed labels, or of weights
    before their moving average.
    """
    model, metrics = fit.network.twin, {}
    assert info.preprocessing is not None  # every training run has one
    with active().stage(MEASURING):
        active().check()
        _check_alive(fit)
        for name, split in (("validation", fit.splits.validation), ("test", fit.splits.test)):
            if split is not None:
                metrics[name] = evaluate(model, split, info.preprocessing, fit.job.source.class_names).summary()
        active().check()  # A library may have swallowed a Ctrl-C
    return metrics


def _check_alive(fit):
    """Raise TrainingError if outputs are NaN, or the same for all images."""
    model, (images, *_) = _models.main_output(fit.network.twin), next(iter(fit.batches.validation))
    predicted = model.predict_on_batch(np.asarray(images))
    outputs = [np.asarray(values, "float32") for values in keras.tree.flatten(predicted)]
    received = f"Received: recipe={fit.job.recipe.name!r}, seed={fit.job.seed}"
    if any(np.isnan(values).any() for values in outputs):
        raise TrainingError(
            "the trained network's outputs are NaN: its last steps were too large. Train again (with --force) with a "
            f"lower learning rate or a longer warm-up. {received}"
        )
    if len(images) > 1 and not any(np.ptp(values, axis=0).any() for values in outputs):
        raise TrainingError(
            "the network gives every image the same answer: its ReLUs died early in the training. Train again "
            f"(with --force) with another seed, a lower learning rate or a longer warm-up. {received}"
        )
