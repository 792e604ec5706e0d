"""cnn-train: from images to one model file."""

import click
from keras_cnns.cli import _common, _model


def _devices(context, parameter, text):
    """Return "all" or a whole number."""
    if text == "all" or (text.isdecimal() and int(text) > 0):
        return text if text == "all" else int(text)
    raise click.BadParameter(f"{text!r} is neither 'all' nor a whole number from 1")


def _beginning(text):
    """Return (name of the network, the weights it starts from or None) for NETWORK.

    Neither keras is imported, nor more read than what a file says of itself.
    """
    from keras_cnns import saving
    from keras_cnns.applications import _weights
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError

    if _model.is_file_name(text):
        path, _, _ = _model.locate(text)
        info = saving.read_info(path)
        if not info or not info.builder:
            raise ArgumentError(
                f"the file does not say which network of keras_cnns.applications it holds; any Keras model is trained "
                f"in code, with training.compile_model. Received: NETWORK={text!r}"
            )
        return canonical_name(info.builder), str(path)
    network, colon, weights = text.partition(":")
    name = canonical_name(network)
    if not colon:
        return name, None
    _weights.find(name, weights)
    return name, weights


def _train_on_jax(device):
    """Let Keras, which is not imported yet, compute with JAX: TensorFlow cannot train in several processes."""
    import os

    os.environ["KERAS_BACKEND"] = "jax"
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda"}[device]


@click.command("cnn-train", epilog=_common.EXIT_CODES)
@click.argument("network", metavar="NETWORK", shell_complete=_model.complete_network)
@click.option(
    "--data",
    "source",
    required=True,
    metavar="SOURCE",
    shell_complete=_model.complete_source,
    help="Images: digits, FILE.npz, FILE.csv, a folder DIR/train/CLASS/* (or DIR/CLASS/*), or tfds:NAME.",
)
@click.option(
    "--recipe",
    metavar="NAME",
    help="How to train, as nin-cifar10; by default one that suits NETWORK and SOURCE. A name that is none lists all.",
)
@click.option(
    "--epochs", type=click.IntRange(1), help="Passes over the training images; more, with --resume, extend a run."
)
@click.option("--batch-size", type=click.IntRange(1), help="Images a step.")
@click.option(
    "--scale-learning-rate", is_flag=True, help="Let the rate grow with --batch-size, as the recipe's is for its own."
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    metavar="RATE",
    help="The recipe's highest learning rate.",
)
@click.option(
    "--augmentation",
    metavar="NAME",
    help="How training images are changed at random, as cnn-data --preview shows it. An unknown name lists them all.",
)
@click.option(
    "--freeze",
    multiple=True,
    metavar="PATTERN",
    help="Layers that keep their weights (batch normalization its statistics too), as 'conv*'; may be repeated.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of everything random.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed_bfloat16", "mixed_float16"]),
    help="What it computes in; auto looks at the device.",
)
@click.option(
    "--input-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Side of the network's input in pixels; by default that of the images or the network.",
)
@click.option(
    "--balance",
    type=click.Choice(["none", "weights", "repeat"]),
    help="For classes of unequal size: weights in the loss, or scarce images repeated.",
)
@click.option(
    "--early-stopping",
    type=click.IntRange(1),
    metavar="N",
    help="Stop when the validation loss has not fallen for N epochs.",
)
@click.option(
    "--restore-best",
    is_flag=True,
    help="At the end, give model.keras the weights of the epoch with the highest validation accuracy.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder, wherever it was stopped.")
@click.option(
    "--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop after this time; --resume goes on from there."
)
@click.option("--deterministic", is_flag=True, help="The same run gives the very same weights, resumed or not; slower.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="What it computes on; auto takes a GPU where there is one.",
)
@click.option(
    "--devices",
    default="1",
    show_default=True,
    metavar="all|N",
    callback=_devices,
    help="How many share each batch; with --coordinator, of each process.",
)
@click.option(
    "--coordinator",
    metavar="HOST:PORT",
    help="Where process 0 of several is reached; auto: as Slurm and its like say. They train on JAX.",
)
@click.option("--num-processes", type=click.IntRange(1), metavar="N", help="How many train together.")
@click.option("--process-id", type=click.IntRange(0), metavar="I", help="Number of this one, from 0.")
@click.option("--tensorboard", is_flag=True, help="Write for TensorBoard too, into the output folder.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--skip-broken", is_flag=True, help="Leave out images that cannot be read; each is named.")
@click.option("--output", type=click.Path(file_okay=False), help="Folder to write to.  [default: runs/NETWORK-SOURCE]")
@_common.data_dir_option
@_common.download_option
@_common.force_option
@_common.options
def command(
    network,
    source,
    recipe,
    epochs,
    batch_size,
    scale_learning_rate,
    learning_rate,
    augmentation,
    freeze,
    seed,
    precision,
    input_size,
    balance,
    early_stopping,
    restore_best,
    resume,
    max_minutes,
    deterministic,
    device,
    devices,
    coordinator,
    num_processes,
    process_id,
    tensorboard,
    quiet,
    skip_broken,
    output,
    data_dir,
    download,
    force,
    as_json,
):
    """Train NETWORK on images; write model.keras, best.keras, log.csv, curve.png and run.json.

    NETWORK is a name, as NiN. To start from trained weights: NAME:WEIGHTS, as nin:cifar10 or resnet50:imagenet, or a
    .keras file; for other classes the classifier alone starts anew.

    The test split is read once, after the last epoch. A run that was stopped, by Ctrl-C or worse, goes on with the same
    command and --resume. A complete one with more --epochs goes on too.
    """
    import re
    import warnings
    from pathlib import Path

    from keras_cnns import applications, recipes
    from keras_cnns.training._signals import stop_signals

    click.get_current_context().with_resource(stop_signals(hard=True))
    name, weights = _beginning(network)
    chosen = recipes.get_recipe(recipe, name) if recipe else None
    if learning_rate and scale_learning_rate:
        raise click.UsageError("--learning-rate is the rate itself, --scale-learning-rate another: give one of them.")
    if resume and force:
        raise click.UsageError("--resume goes on with a run, --force starts from scratch: give one of them.")
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augmentation": augmentation,
        "freeze": freeze or None,
        "precision": precision,
        "balance": balance,
        "early_stopping": early_stopping,
    }
    if output is None:
        stem = source if source.startswith("tfds:") else Path(source).resolve().stem
        words = re.sub(r"[^\w]+", "-", stem).strip("-")
        output = Path("runs", f"{name}-{words}".lower())

    if coordinator:
        _train_on_jax(device)
    _model.load_keras()
    from keras_cnns.data import open_source, without_broken
    from keras_cnns.training import distribution, holds_photographs, train, use_device
    from keras_cnns.training.run_folder import recorded_recipe

    use_device(device)
    together = distribution(devices, coordinator=coordinator, num_processes=num_processes, process_id=process_id)

    def note(text):
        if not quiet and together.writes:
            _common.note(text)

    opened, broken = open_source(source, data_dir=data_dir, download=download), {}
    if skip_broken:
        opened, broken = without_broken(opened)
        for error in broken.values():
            note(f"left out: {error}")
        note(f"left out because they cannot be read: {_common.counted(len(broken), 'image')}")
    if not quiet and together.writes:
        _model.tell(opened)
    if chosen is None:
        recorded = recorded_recipe(output, name) if resume else None
        chosen = recorded or recipes.default_recipe(name, source, weights, holds_photographs(opened))
    if scale_learning_rate and batch_size:
        changes["learning_rate"] = chosen.learning_rate * batch_size / chosen.batch_size
    chosen = chosen.replace(**{key: value for key, value in changes.items() if value is not None})
    start = f" from {weights}" if weights else ""
    note(
        f"{name}{start} on {source}: {_common.counted(opened.split('train').examples, 'training image')}, "
        f"{_common.counted(len(opened.class_names), 'class')}; recipe {chosen.name}, "
        f"{_common.counted(chosen.epochs, 'epoch')}"
        + (f", on {', '.join(together.devices)}" if together.engine else "")
    )
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: note(message)  # without Python's file and line
        info = train(
            getattr(applications, name),
            opened,
            chosen,
            output,
            weights=weights and applications.weights_info(name, weights),
            input_size=input_size,
            seed=seed,
            overwrite=force,
            resume=resume,
            deterministic=deterministic,
            max_minutes=max_minutes,
            tensorboard=tensorboard,
            restore_best=restore_best,
            quiet=quiet,
            data={**({"data_dir": data_dir} if data_dir else {}), **({"skipped": len(broken)} if broken else {})},
            command=click.get_current_context().obj,
            distribution=together,
        )
    if not together.writes:
        return
    if not info.training["complete"]:
        note(f"the time is over after {info.training['epochs']} of {chosen.epochs} epochs; --resume goes on")
    if as_json:
        _common.print_json({"output": str(output), **info.to_json()})
        return
    rows = [
        (split, values["examples"], f"{values['top1']:.2%}", f"{values['loss']:.4f}")
        for split, values in info.metrics.items()
    ]
    columns = [("split",), ("images", "right", 0), ("top-1", "right", 0), ("loss", "right", 1)]
    _common.table(f"{Path(output) / 'model.keras'}", columns, rows)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
