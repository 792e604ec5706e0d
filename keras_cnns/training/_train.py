"""The whole road from a source of images to one model file."""

import contextlib
import dataclasses
import functools
import json
import platform
import warnings
from pathlib import Path

import keras

from keras_cnns import _files, _models
from keras_cnns.data.dataset_state import Position, measure_waiting
from keras_cnns.data.pipeline import reading
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.statistics import fit_preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.saving import ModelInfo, versions
from keras_cnns.training._processes import agree, noticing
from keras_cnns.training._signals import active, interruptible
from keras_cnns.training.compilation import compile_model, learning_rate, policy_for, set_biases
from keras_cnns.training.datasets import balanced, make_datasets, shorter_side
from keras_cnns.training.devices import ONE_DEVICE
from keras_cnns.training.finishing import finish
from keras_cnns.training.fitting import Fitting
from keras_cnns.training.run_folder import BEST, FILES, FINAL, alone, complete_run, refuse_run, seen
from keras_cnns.training.transfer import freeze
from keras_cnns.training.watching import callbacks

VALIDATION_SHARE = 0.1  # of the training images, where the source has no validation split


@noticing
@interruptible
def train(
    build,
    source,
    recipe,
    output,
    *,
    weights=None,
    input_size=None,
    seed=0,
    overwrite=False,
    resume=False,
    deterministic=False,
    max_minutes=None,
    tensorboard=False,
    restore_best=False,
    quiet=False,
    data=None,
    command=None,
    distribution=None,
):
    """Train a network on a source of images; write model.keras, best.keras, log.csv, curve.png and run.json.

    Progress goes to stderr. The test split, where there is one, is read once, at the end. Meanwhile checkpoint.npz
    says where the training stands; a run that was stopped, however hard, goes on from there with `resume`. Of a
    complete run it becomes final_state.npz, from which the same run with more epochs goes on.

    The first Ctrl-C or SIGTERM is acknowledged on stderr at once, and stops the training after the step.

    Args:
        build: a function of `keras_cnns.applications`, or another that takes `classes`, `input_shape` and the
            recipe's network options and returns a classifier, perhaps with auxiliary heads behind its first output,
            which must then be called `predictions`.
        source: `Source`.
        recipe: `Recipe`.
        output: folder to write into; it may exist.
        weights: what the network starts from, as `applications.weights_info` gives it; None: random values. Their
            options and their normalization of images are kept then, in place of the recipe's; the classifier starts
            anew, with a warning, unless the source has the same classes. On the data that they were trained on keep the
            seed too, or validation images are among those that they have seen.
        input_size: height and width of the network's input, in pixels. None: those of the source's images,
            where they are all alike, else the network's own; with `weights` theirs, and most take no other.
        seed: of the weights, the order of the images, the augmentation and the validation split.
        overwrite: whether files of an earlier run in `output` may be replaced.
        resume: whether to go on with the run in `output`. One that is complete is left as it is, or extended if
            `recipe.epochs` alone is larger now; its schedule is then that of the new length. Where no run is, one
            starts.
        deterministic: whether to compute so that the same run on the same machine gives the very same weights, resumed
            or not, which is slower.
        max_minutes: time after which the run ends well and can be resumed; None: when it is complete.
        tensorboard: whether to write for TensorBoard, into a folder of `output`.
        restore_best: whether model.keras of a complete run gets the weights of best.keras: those of the epoch with the
            highest validation accuracy, in place of the last one's.
        quiet: whether to show no progress.
        data: what to note of the source beside its name, as {"data_dir": ...}.
        command: the command line, to be noted, and to be named when the run stops early.
        distribution: `Distribution` on which to train; None: one device. Of several processes all call this with the
            same arguments, and see the same `output`, into which one of them writes.

    Returns:
        `ModelInfo`, with "validation" and, where there is one, "test" in its metrics; if the time was over before the
        run was complete, with False as `training["complete"]` and no "test".

    Raises:
        ArgumentError, SourceError: for a network, source or folder that cannot be used, a recipe that does not fit
            the network, a folder into which another run writes, or, with `resume`, in which another one began; without
            `resume` and `overwrite`, for a folder that holds a run.
        ModelFileError: if the checkpoint to go on from is damaged.
        OutputError: if something cannot be written.
        TrainingError: if the loss stops being a number, the network died, or another process has gone; the log is kept.
        Interrupted: (a KeyboardInterrupt) after Ctrl-C or SIGTERM, when what was learned has been saved; before the
            first step, with `output` as it was.
    """
    output, distribution = Path(output), distribution or ONE_DEVICE
    if not (overwrite or resume):
        refuse_run(output)
    if restore_best and recipe.moving_average is not None:
        raise ArgumentError(
            "with a moving average the weights that are validated are not those that are saved, and no epoch is the "
            f"best one; leave out `restore_best`. Received: restore_best=True, recipe={recipe.name!r}"
        )
    if folders := [output / name for name in FILES if (output / name).is_dir()]:
        raise ArgumentError(f"a file is written there, and a folder has its name. Received: output={str(folders[0])!r}")
    if weights:
        source = _in_order_of(weights, source)
    training, validation = source.split("train"), source.splits.get("validation")
    if validation is None:
        training, validation = training.divide(VALIDATION_SHARE, seed)
    training = balanced(training, recipe, seed)

    signals = active()
    if deterministic:
        _compute_the_same()
    origin = {"weights": str(weights.name)} if weights else {}  # no word on it otherwise, as in older runs
    if distribution.processes > 1:  # or they would wait for each other in different places
        alike = {"network": build.__name__, "recipe": recipe.to_json(), "input_size": input_size, "seed": seed}
        alike |= origin
        alike |= {"resume": resume, "max_minutes": max_minutes, "classes": source.class_names}
        alike |= {"images": training.fingerprint().hex(), "validation images": validation.fingerprint().hex()}
        alike["devices"] = distribution.devices
        agree({**alike, **(seen(output) if resume else {})})
    policy = policy_for(recipe.precision)
    network = {**(weights.network if weights else {}), "classes": len(source.class_names), **recipe.network}
    if shape := _input_shape(source, input_size, weights):
        network["input_shape"] = shape
    steps = -(-training.examples // recipe.batch_size)
    built = functools.partial(_from_weights, build, weights, source.class_names) if weights else build
    if recipe.freeze and not weights:
        warnings.warn(
            f"the layers frozen by {', '.join(recipe.freeze)} keep random weights: start from trained ones, as "
            "NAME:WEIGHTS or a .keras file (in code: weights=...)",
            stacklevel=3,
        )
    model, twin = _networks(built, network, policy, recipe, steps, seed, distribution)
    height, width, channels = network["input_shape"] = tuple(model.inputs[0].shape[1:])

    _files.make_folder(output, room=4 * model.count_params())  # a full disk is told now, not after the first epoch
    with alone(output) if distribution.writes else contextlib.nullcontext():
        run = {
            "network": build.__name__,
            "arguments": {name: repr(value) for name, value in network.items()},
            "recipe": recipe.to_json(),
            "classes": source.class_names,
            "pictures": training.fingerprint().hex(),
            "seed": seed,
            "precision": policy,
            **origin,
            **({"restore_best": True} if restore_best else {}),
        }
        run = json.loads(json.dumps(run, default=repr))  # as it comes back from a file
        if resume and (complete := complete_run(output, run)):
            return complete
        resizing = {"size": (height, width), "shorter_side": shorter_side(source, (height, width), recipe)}
        if weights and weights.preprocessing:
            preprocessing = dataclasses.replace(weights.preprocessing, **resizing)
        else:
            preprocessing = Preprocessing(**resizing, channels=channels)
            preprocessing = fit_preprocessing(training, preprocessing, recipe.preprocessing)
        device = f"{keras.distribution.list_devices()[0]}, {platform.machine()}"
        notes = {"seed": seed, "precision": policy, "device": device, "command": command, **origin}
        if weights and weights.training.get("command"):
            notes["earlier"] = [*weights.training.get("earlier", ()), weights.training["command"]]
        info = ModelInfo(
            class_names=source.class_names,
            preprocessing=preprocessing,
            builder=build.__name__,
            network=network,
            recipe=recipe.to_json(),
            data={**source.record(), **(data or {})},
            metrics={"validation": {"examples": validation.examples}},
            training={**notes, "pictures": training.examples, "deterministic": deterministic, **distribution.record()},
            versions=versions(),
        )
        _check_recordable(info)
        position = Position()
        share = distribution.share
        batches, held_out = make_datasets(model, recipe, preprocessing, training, validation, seed, position, share)
        with reading(validation):  # an image that cannot be read is told now, not after the first epoch
            for _ in held_out:
                pass
        signals.check()  # a Ctrl-C that some library swallowed
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
            distribution=distribution,
            twin=twin,
        )
        batches, waited = measure_waiting(batches)
        fitting = Fitting(model, recipe, output, watching, position, (training, validation), distribution, signals)
        if fitting.checkpoint.extends and distribution.writes and not quiet:
            signals.say(_extension(fitting.checkpoint, recipe, steps))
        # Of the run that is overwritten; the rest stays until there is something better
        if not resume and distribution.writes:
            for name in (BEST, FINAL):
                (output / name).unlink(missing_ok=True)
        with distribution.scope():
            stopped = fitting.fit(batches, held_out, waited, quiet)
        return finish(fitting, twin, info, stopped, held_out, source, run)


def _networks(build, network, policy, recipe, steps, seed, distribution):
    """Return the network that trains, compiled, and its twin outside the distribution, which is saved and measured.

    They are one where there is one device.
    """

    def built():
        keras.utils.set_random_seed(seed)
        with _models.dtype_policy(policy):
            model = build(**network)
        _models.one_image_input(_models.main_output(model))
        set_biases(model, recipe)
        if recipe.freeze:  # the twin too, which is what is saved
            freeze(model, recipe.freeze)
        return model

    twin = None if distribution.engine is None else built()
    with distribution.scope():
        model = built()
        compile_model(model, recipe, steps, distribution=distribution)
    return model, twin or model


def _extension(checkpoint, recipe, steps):
    """Return what becomes of the schedule of a complete run that is extended, as a line."""
    line = f"extends the complete run of {checkpoint.epoch} epochs to {recipe.epochs}"
    if recipe.schedule not in ("cosine", "polynomial", "step"):  # the others do not depend on the length
        return line
    rate = learning_rate(recipe, steps * recipe.epochs)
    now = rate(checkpoint.epoch * steps) if callable(rate) else rate
    return (
        f"{line}: the {recipe.schedule} schedule is that of {recipe.epochs} epochs, so that the learning rate goes on "
        f"at {float(now):.2g}, higher than where it ended. The result is not that of {recipe.epochs} epochs in one run"
    )


def _from_weights(build, weights, class_names, **network):
    """Return the network with trained weights, its classifier new unless they know the classes by the same names."""
    model = build(weights=weights.name, **network)
    known = class_names in (weights.class_names, weights.class_ids)
    if not known and network["classes"] == weights.network.get("classes"):  # of another number: the builder's work
        for name in sorted(_models.classifiers(model)):
            layer = model.get_layer(name)
            if not layer.trainable_weights:  # the codes of LeNet-5
                continue
            twin = type(layer).from_config(layer.get_config())
            twin.build(layer.input.shape)
            layer.set_weights(twin.get_weights())
            warnings.warn(
                f"{build.__name__}: the weights {weights.name!r} are for other classes: {name} must be trained anew, "
                "all other layers have theirs",
                stacklevel=2,
            )
    return model


def _in_order_of(weights, source):
    """Return the source with its classes in the order that trained weights have them, if they are the same classes."""
    for names in (weights.class_names, weights.class_ids):
        if len(names) == len(source.class_names):
            with contextlib.suppress(ArgumentError):
                return source.with_classes(names)
    return source


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


def _input_shape(source, input_size, weights):
    """Return the network's input shape, None to leave it to the builder."""
    height, width, channels = source.image_shape
    if weights and weights.network:
        height = width = None
        channels = weights.preprocessing.channels if weights.preprocessing else channels
    if input_size is not None:
        return (input_size, input_size, channels)
    return None if None in (height, width) else (height, width, channels)
