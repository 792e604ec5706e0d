"""The steps of `cnn-train`, after its command line has been read."""

import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _model, _output

if TYPE_CHECKING:
    from keras_cnns.data import Source
    from keras_cnns.errors import SourceError
    from keras_cnns.recipes import Recipe
    from keras_cnns.saving import ModelInfo
    from keras_cnns.training import Distribution

RECIPE_FIELDS = (
    "epochs batch_size learning_rate fit augmentation freeze precision balance early_stopping".split()
)  # fields of the recipe that an option of the same name replaces


@dataclasses.dataclass(frozen=True)
class Request:
    """The command line.

    Attributes:
        network: NETWORK.
        source: SOURCE.
        data_dir: folder of tensorflow-datasets.
        download: whether to download a dataset.
        skip_broken: whether to leave out unreadable images.
        backbone: public name of the network that NETWORK stands on; None: that of the recipe or the paper.
        recipe: name of the recipe, or None.
        epochs: passes over the training images; this and the next seven replace fields of the recipe, None keeps them.
        batch_size: images per step.
        learning_rate: highest learning rate.
        augmentation: name of the augmentation.
        freeze: patterns of layer names.
        precision: name of the dtype policy, or "auto".
        balance: "none", "weights" or "repeat".
        early_stopping: epochs without improvement.
        scale_learning_rate: whether the learning rate is proportional to the batch size.
        input_size: side of the network's input in pixels, or None.
        seed: of everything random.
        restore_best: whether the result has the weights of the best epoch.
        resume: whether to continue the run in the output folder.
        max_minutes: time after which to stop, or None.
        deterministic: whether equal runs must end with equal weights.
        device: "auto", "cpu" or "gpu".
        devices: "all" or a number.
        coordinator: address of process 0, "auto", or None.
        num_processes: number of processes, or None.
        process_id: number of this process, or None.
        tensorboard: whether to write logs for TensorBoard.
        quiet: whether to print no progress.
        output: folder to write to, or None for the default.
        force: whether to overwrite an earlier run.
        as_json: whether to print JSON.
    """

    network: str
    source: str
    data_dir: str | None
    download: bool
    skip_broken: bool
    backbone: str | None
    recipe: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    fit: str | None
    augmentation: str | None
    freeze: tuple[str, ...]
    precision: str | None
    balance: str | None
    early_stopping: int | None
    scale_learning_rate: bool
    input_size: int | None
    seed: int
    restore_best: bool
    resume: bool
    max_minutes: float | None
    deterministic: bool
    device: str
    devices: str | int
    coordinator: str | None
    num_processes: int | None
    process_id: int | None
    tensorboard: bool
    quiet: bool
    output: str | None
    force: bool
    as_json: bool


def run(request: Request) -> None:
    """Train as requested, and print the result."""
    from keras_cnns import applications, recipes
    from keras_cnns.training._signals import stop_signals

    click.get_current_context().with_resource(stop_signals(hard=True))
    name, weights = _network_and_weights(request.network)
    recipe = recipes.get_recipe(request.recipe, name) if request.recipe else None
    _check(request)
    output = request.output or _default_output(name, request.source)
    if request.coordinator:
        _train_on_jax(request.device)
    _model.load_keras()
    from keras_cnns.training import distribution, train, use_device

    use_device(request.device)
    together = distribution(
        request.devices,
        coordinator=request.coordinator,
        num_processes=request.num_processes,
        process_id=request.process_id,
    )
    note = _output.note if together.writes and not request.quiet else _no_note
    source, broken = _open_source(request, note)
    if recipe is None:
        recipe = _default_recipe(request, name, weights, source, output)
    recipe = _on_backbone(_changed(recipe, request), request.backbone, name)
    note(_first_line(request, name, weights, source, recipe, together))
    with warnings.catch_warnings():
        # Without the file and line that Python prints
        warnings.showwarning = lambda message, *_, **__: note(message)  # type: ignore[assignment]
        info = train(
            getattr(applications, name),
            source,
            recipe,
            output,
            weights=weights and applications.weights_info(name, weights),
            input_size=request.input_size,
            seed=request.seed,
            overwrite=request.force,
            resume=request.resume,
            deterministic=request.deterministic,
            max_minutes=request.max_minutes,
            tensorboard=request.tensorboard,
            restore_best=request.restore_best,
            quiet=request.quiet,
            data=_data_notes(request, broken),
            command=click.get_current_context().obj,
            distribution=together,
        )
    if not together.writes:
        return
    if not info.training["complete"]:
        note(f"the time is over after {info.training['epochs']} of {recipe.epochs} epochs; --resume continues the run")
    _print_result(info, output, request.as_json)


def _no_note(text: object) -> None:
    """Print nothing."""


def _network_and_weights(text: str) -> tuple[str, str | None]:
    """Return the name of NETWORK, and its initial weights or None.

    Keras is not imported, and of a file only its record is read.
    """
    from keras_cnns.applications import _weights
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError

    if _model.is_file_name(text):
        path = _model.locate(text)
        info = _model.read_record(path)
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


def _check(request: Request) -> None:
    """Raise a usage error for options that contradict each other."""
    if request.learning_rate and request.scale_learning_rate:
        raise click.UsageError(
            "--learning-rate sets the learning rate and --scale-learning-rate scales the recipe's: give one of them."
        )
    if request.resume and request.force:
        raise click.UsageError("--resume continues a run, --force starts from scratch: give one of them.")


def _default_output(name: str, source: str) -> str:
    """Return runs/NETWORK-SOURCE, with the last part of a path."""
    stem = source if source.startswith("tfds:") else Path(source).resolve().stem
    words = re.sub(r"[^\w]+", "-", stem).strip("-")
    return str(Path("runs", f"{name}-{words}".lower()))


def _train_on_jax(device: str) -> None:
    """Make Keras, not imported yet, compute with JAX.

    TensorFlow cannot train in several processes under Keras 3.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda"}[device]


def _open_source(request: Request, note: Callable[[object], None]) -> "tuple[Source, Mapping[str, SourceError]]":
    """Open SOURCE; return it, and the errors of images left out."""
    from keras_cnns.data import open_source, without_broken

    source = open_source(request.source, data_dir=request.data_dir, download=request.download)
    broken: Mapping[str, SourceError] = {}
    if request.skip_broken:
        source, broken = without_broken(source)
        for error in broken.values():
            note(f"left out: {error}")
        note(f"left out because they cannot be read: {_output.counted(len(broken), 'image')}")
    if note is not _no_note:
        _model.print_notes(source)
    return source, broken


def _data_notes(request: Request, broken: Mapping[str, object]) -> dict[str, Any]:
    """Return what the model file records about the source, besides its name."""
    notes: dict[str, Any] = {}
    if request.data_dir:
        notes["data_dir"] = request.data_dir
    if broken:
        notes["skipped"] = len(broken)
    return notes


def _default_recipe(request: Request, name: str, weights: str | None, source: "Source", output: str) -> "Recipe":
    """Return the resumed run's recipe, or one that suits network and source."""
    from keras_cnns import recipes
    from keras_cnns.training import holds_photographs
    from keras_cnns.training.run_folder import recorded_recipe

    recorded = recorded_recipe(output, name) if request.resume else None
    return recorded or recipes.default_recipe(name, request.source, weights, holds_photographs(source))


def _changed(recipe: "Recipe", request: Request) -> "Recipe":
    """Return a recipe with the fields that the command line replaces."""
    changes = {name: getattr(request, name) for name in RECIPE_FIELDS}
    if request.scale_learning_rate and request.batch_size:
        changes["learning_rate"] = recipe.learning_rate * request.batch_size / recipe.batch_size
    return recipe.replace(**{name: value for name, value in changes.items() if value not in (None, ())})


def _on_backbone(recipe: "Recipe", backbone: str | None, name: str) -> "Recipe":
    """Return a recipe whose network stands on a backbone."""
    import inspect

    from keras_cnns import applications
    from keras_cnns.applications._registry import canonical_name
    from keras_cnns.errors import ArgumentError

    if backbone is None:
        return recipe
    if "backbone" not in inspect.signature(getattr(applications, name)).parameters:
        raise ArgumentError(f"{name} stands on no other network; leave out --backbone. Received: backbone={backbone!r}")
    return recipe.replace(network={**recipe.network, "backbone": canonical_name(backbone)})


def _first_line(
    request: Request,
    name: str,
    weights: str | None,
    source: "Source",
    recipe: "Recipe",
    together: "Distribution",
) -> str:
    """Return a line on network, source and recipe."""
    start = f" from {weights}" if weights else ""
    devices = f", on {', '.join(together.devices)}" if together.engine else ""
    return (
        f"{name}{start} on {request.source}: "
        f"{_output.counted(source.split('train').examples, 'training image')}, "
        f"{_output.counted(len(source.class_names), 'class')}; recipe {recipe.name}, "
        f"{_output.counted(recipe.epochs, 'epoch')}{devices}"
    )


def _print_result(info: "ModelInfo", output: str, as_json: bool) -> None:
    """Print each split's accuracy and loss, or the record as JSON."""
    if as_json:
        _output.print_json({"output": output, **info.to_json()})
        return
    from keras_cnns.tasks import task_of

    task = task_of(info)
    monitor = task.monitor
    shown = task.shown or ((monitor.record, monitor.title, monitor.form), ("loss", "loss", ".4f"))
    rows = [
        (split, values["examples"], *(format(values[name], form) if name in values else "-" for name, _, form in shown))
        for split, values in info.metrics.items()
    ]
    columns = [("split",), ("images", "right", 0)]
    columns += [(title, "right", place) for place, (_, title, _) in enumerate(shown)]
    _output.table(f"{Path(output) / 'model.keras'}", columns, rows)
