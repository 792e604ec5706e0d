"""From a source of images to one model file."""

import contextlib
import dataclasses
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_cnns import _files
from keras_cnns.data.dataset_state import Position, measure_waiting
from keras_cnns.data.pipeline import reading
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.sources import Source
from keras_cnns.data.statistics import fit_preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.saving import ModelInfo, versions
from keras_cnns.tasks.registry import name_in_record
from keras_cnns.training._callbacks import callbacks
from keras_cnns.training._processes import check_same_values, report_lost_processes
from keras_cnns.training._signals import active, interruptible
from keras_cnns.training.datasets import balanced, make_datasets, shorter_side
from keras_cnns.training.devices import ONE_DEVICE, Distribution
from keras_cnns.training.fit import Fit
from keras_cnns.training.identity import RunIdentity
from keras_cnns.training.job import Batches, Job, Splits
from keras_cnns.training.network import build_network
from keras_cnns.training.optimizers import learning_rate
from keras_cnns.training.results import finish
from keras_cnns.training.run_folder import BEST, FILES, FINAL, complete_run, file_hashes, hold_folder, refuse_run
from keras_cnns.typing import Path as PathLike

if TYPE_CHECKING:
    from keras_cnns.training.checkpoint import Checkpoint

VALIDATION_SHARE = 0.1  # of the training images, if the source has no validation split


def train(
    build: Callable[..., keras.Model],
    source: Source,
    recipe: Recipe,
    output: PathLike,
    *,
    weights: ModelInfo | None = None,
    input_size: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    resume: bool = False,
    deterministic: bool = False,
    max_minutes: float | None = None,
    tensorboard: bool = False,
    restore_best: bool = False,
    quiet: bool = False,
    data: Mapping[str, Any] | None = None,
    command: str | None = None,
    distribution: Distribution | None = None,
) -> ModelInfo:
    """Train a network on a source of images.

    The folder `output` gets model.keras, best.keras, log.csv, curve.png and run.json. Progress goes to stderr. The test
    split, if there is one, is read once, at the end.

    During training, checkpoint.npz holds the complete state. A run that was stopped or killed continues from it with
    `resume`. When the run is complete, the file becomes final_state.npz, from which the same run can be extended to
    more epochs.

    The first Ctrl-C or SIGTERM is acknowledged on stderr at once, and stops training after the current step.

    Args:
        build: a function of `keras_cnns.applications`, or another that takes `classes`, `input_shape` and the recipe's
            network options and returns a classifier. The classifier may have auxiliary heads after its first output,
            which must then be called `predictions`.
        source: `Source`.
        recipe: `Recipe`.
        output: folder to write into; it may exist.
        weights: what the network starts from, as `applications.weights_info` returns it; None: random values. The
            weights' network options and normalization of images are kept, instead of the recipe's. The classifier
            starts from random values, with a warning, unless the source has the same classes. To continue on the same
            data, reuse the seed; otherwise the validation split contains images the weights were trained on.
        input_size: height and width of the network's input, in pixels. None: the size of the source's images if all
            have one size, otherwise the network's default. With `weights` None means their size, and most accept no
            other.
        seed: seed of the weights, the order of the images, the augmentation and the validation split.
        overwrite: whether files of an earlier run in `output` may be replaced.
        resume: whether to continue the run in `output`. A complete run is left as it is, or extended if only
            `recipe.epochs` is larger now; its schedule is then that of the new length. Without a run there, one starts.
        deterministic: whether to compute so that the same run on the same machine gives exactly the same weights,
            resumed or not. This is slower.
        max_minutes: time after which the run stops and can be resumed; None: it runs until it is complete.
        tensorboard: whether to write for TensorBoard, into a folder of `output`.
        restore_best: whether model.keras of a complete run gets the weights of best.keras, the epoch with the highest
            validation accuracy, instead of those of the last epoch.
        quiet: whether to show no progress.
        data: what to record about the source besides its name, as {"data_dir": ...}.
        command: the command line, to be recorded, and to be named when the run stops early.
        distribution: `Distribution` on which to train; None: one device. With several processes, call this in each one
            with the same arguments and a shared `output`; only process 0 writes.

    Returns:
        `ModelInfo`, with "validation" and, if the source has the split, "test" in its metrics. If the time was over
        before the run was complete, `training["complete"]` is False and there is no "test".

    Raises:
        ArgumentError: for a network or folder that cannot be used, a recipe that does not fit the network, or a folder
            into which another run writes; with `resume`, for a folder with a different run; without `resume` and
            `overwrite`, for a folder with any run.
        SourceError: for images that cannot be used.
        ModelFileError: if the checkpoint to resume from is damaged.
        OutputError: if something cannot be written.
        TrainingError: if the loss becomes NaN or infinite, the network died, or another process has gone; the log is
            kept.
        Interrupted: (a KeyboardInterrupt) after Ctrl-C or SIGTERM, when what was learned has been saved; before the
            first step, with `output` as it was.

    Examples:
        >>> from keras_cnns import applications, data, recipes, training
        >>> source, recipe = data.open_source("digits"), recipes.SHORT.replace(epochs=1)
        >>> info = training.train(applications.LeNet5, source, recipe, "runs/lenet5", quiet=True)
        >>> info.metrics["test"]["examples"]
        360
    """
    return _run(
        Job(
            build=build,
            source=source,
            recipe=recipe,
            output=Path(output),
            weights=weights,
            input_size=input_size,
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            deterministic=deterministic,
            max_minutes=max_minutes,
            tensorboard=tensorboard,
            restore_best=restore_best,
            quiet=quiet,
            data=data,
            command=command,
            distribution=distribution or ONE_DEVICE,
        )
    )


@report_lost_processes
@interruptible
def _run(job: Job) -> ModelInfo:
    """Take the steps of a training run."""
    _check(job)
    job, splits = _split(job)
    _prepare_process(job, splits)
    network = build_network(job, splits.steps)
    # A full disk is reported now, not after the first epoch
    _files.make_folder(job.output, room=4 * network.model.count_params())
    with hold_folder(job.output) if job.distribution.writes else contextlib.nullcontext():
        identity = _identify(job, splits, network)
        if job.resume and (complete := complete_run(job.output, identity)):
            return complete
        info = _describe(job, splits, network)
        batches = _feed(job, splits, network, info)
        fit = _make_fit(job, splits, network, batches, info, identity)
        with job.distribution.scope():
            stopped = fit.run()
        return finish(fit, info, identity, stopped)


def _check(job):
    """Raise an error for a folder or options that cannot be used."""
    if not (job.overwrite or job.resume):
        refuse_run(job.output)
    if job.restore_best and job.recipe.moving_average is not None:
        raise ArgumentError(
            "with a moving average the weights that are validated are not those that are saved, and no epoch is the "
            f"best one; leave out `restore_best`. Received: restore_best=True, recipe={job.recipe.name!r}"
        )
    if folders := [job.output / name for name in FILES if (job.output / name).is_dir()]:
        raise ArgumentError(f"a file is written there, and a folder has its name. Received: output={str(folders[0])!r}")


def _split(job):
    """Return the job, its classes ordered as its weights, and its splits."""
    source = _in_order_of(job.weights, job.source) if job.weights else job.source
    training, validation = source.split("train"), source.splits.get("validation")
    if validation is None:
        training, validation = training.divide(VALIDATION_SHARE, job.seed)
    training = balanced(training, job.recipe, job.seed)
    steps = -(-training.examples // job.recipe.batch_size)
    return dataclasses.replace(job, source=source), Splits(training, validation, source.splits.get("test"), steps)


def _in_order_of(weights, source):
    """Return the source with its classes in the weights' order."""
    for names in (weights.class_names, weights.class_ids):
        if len(names) == len(source.class_names):
            with contextlib.suppress(ArgumentError):
                return source.with_classes(names)
    return source


def _prepare_process(job, splits):
    """Choose deterministic operations, and compare the arguments of all processes."""
    if job.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    if job.distribution.processes > 1:  # Different processes would wait for each other in different places
        check_same_values(
            {
                "network": job.build.__name__,
                "recipe": job.recipe.to_json(),
                "input_size": job.input_size,
                "seed": job.seed,
                **job.starting_weights,
                "resume": job.resume,
                "max_minutes": job.max_minutes,
                "classes": job.source.class_names,
                "images": splits.training.fingerprint().hex(),
                "validation images": splits.validation.fingerprint().hex(),
                "devices": job.distribution.devices,
                **(file_hashes(job.output) if job.resume else {}),
            }
        )


def _identify(job, splits, network):
    """Return the `RunIdentity` of the run."""
    return RunIdentity(
        network=job.build.__name__,
        arguments={name: repr(value) for name, value in network.arguments.items()},
        recipe=job.recipe.to_json(),
        classes=job.source.class_names,
        images=splits.training.fingerprint().hex(),
        seed=job.seed,
        precision=network.policy,
        weights=job.starting_weights.get("weights"),
        restore_best=job.restore_best,
    )


def _describe(job, splits, network):
    """Return the `ModelInfo` that is known before training.

    Raises:
        ArgumentError: if it could not be written as JSON.
    """
    resizing = {"size": network.size, "shorter_side": shorter_side(job.source, network.size, job.recipe)}
    resizing["fit"] = job.recipe.fit
    if job.weights and job.weights.preprocessing:
        preprocessing = dataclasses.replace(job.weights.preprocessing, **resizing)
    else:
        preprocessing = Preprocessing(**resizing, channels=network.channels)
        preprocessing = fit_preprocessing(splits.training, preprocessing, job.recipe.preprocessing)
    training = {
        "seed": job.seed,
        "precision": network.policy,
        "device": f"{keras.distribution.list_devices()[0]}, {platform.machine()}",
        "command": job.command,
        **job.starting_weights,
    }
    if job.weights and job.weights.training.get("command"):
        training["earlier"] = [*job.weights.training.get("earlier", ()), job.weights.training["command"]]
    training |= {"pictures": splits.training.examples, "deterministic": job.deterministic, **job.distribution.record()}
    info = ModelInfo(
        class_names=job.source.class_names,
        preprocessing=preprocessing,
        builder=job.build.__name__,
        network=network.arguments,
        recipe=job.recipe.to_json(),
        data={**job.source.record(), **(job.data or {})},
        metrics={"validation": {"examples": splits.validation.examples}},
        training=training,
        versions=versions(),
        task=name_in_record(job.task),
    )
    try:
        json.dumps(info.to_json())
    except TypeError as error:
        raise ArgumentError(
            f"the record in the model file must be JSON: name initializers, give paths as strings ({error}). "
            f"Received: network={dict(info.network)}, data={info.data}"
        ) from error
    return info


def _feed(job, splits, network, info):
    """Return the `Batches` of the run, after reading all validation images."""
    position = Position()
    training, validation = make_datasets(
        network.model,
        job.recipe,
        info.preprocessing,
        splits.training,
        splits.validation,
        job.seed,
        position,
        job.distribution.share,
        job.task,
    )
    with reading(splits.validation):  # An unreadable image is reported now, not after the first epoch
        for _ in validation:
            pass
    active().check()  # A library may have swallowed a Ctrl-C
    training, waited = measure_waiting(training)
    return Batches(training, validation, position, waited)


def _make_fit(job, splits, network, batches, info, identity):
    """Return the `Fit`, and remove files of an overwritten run."""
    fit = Fit(
        job,
        splits,
        network,
        batches,
        callbacks(
            job.output,
            job.recipe,
            resume=job.resume,
            run=identity.to_json(),
            position=batches.position,
            steps=splits.steps,
            info=info,
            max_minutes=job.max_minutes,
            tensorboard=job.tensorboard,
            distribution=job.distribution,
            twin=network.twin,
            task=job.task,
        ),
    )
    if fit.checkpoint.extends and job.distribution.writes and not job.quiet:
        active().say(_extension(fit.checkpoint, job.recipe, splits.steps))
    # The other files stay until there is something better
    if not job.resume and job.distribution.writes:
        for name in (BEST, FINAL):
            (job.output / name).unlink(missing_ok=True)
    return fit


def _extension(checkpoint: "Checkpoint", recipe: Recipe, steps: int) -> str:
    """Return a line about the schedule of an extended run."""
    line = f"extends the complete run of {checkpoint.epoch} epochs to {recipe.epochs}"
    if recipe.schedule not in ("cosine", "polynomial", "step"):  # The others do not depend on the length
        return line
    schedule = learning_rate(recipe, steps * recipe.epochs)
    rate = schedule(checkpoint.epoch * steps) if callable(schedule) else schedule
    return (
        f"{line}: the {recipe.schedule} schedule is that of {recipe.epochs} epochs, so that the learning rate "
        f"continues at {float(rate):.2g}, higher than where it ended. The result is not that of {recipe.epochs} epochs "
        "in one run"
    )
