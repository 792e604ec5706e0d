"""cnn-info: tables of networks, and of their layers' costs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _common, _foreign, _model, _options, _output

if TYPE_CHECKING:
    from keras_cnns.analysis import Account, ReceptiveField
    from keras_cnns.saving import ModelInfo

EXAMPLES = ("cnn-info ResNet50 --plot resnet50.png", "cnn-info AlexNet VGG16 nin:digits")
ALL_COLUMNS = (
    ("network",),
    ("paper", "left", 6, 30),
    ("input", "left", 3),
    ("parameters", "right", 1),
    ("multiply-adds", "right", 2),
    ("published error", "left", 5, 30),
    ("weights", "left", 4, 12),
)
LAYER_COLUMNS = (
    ("layer",),
    ("kind", "left", 5),
    ("output", "left", 3),
    ("parameters", "right", 1),
    ("multiply-adds", "right", 2),
    ("receptive field", "right", 4),
)
COMPARISON_COLUMNS = (
    ("model",),
    ("input", "left", 5),
    ("parameters", "right", 1),
    ("multiply-adds", "right", 2),
    ("activations", "right", 4),
    ("error", "left", 3, 24),
)

Point = tuple[str, int, int, Mapping[str, float]]  # name, multiply-adds, parameters, errors in percent


@_options.command("cnn-info", examples=EXAMPLES)
@click.argument("models", nargs=-1, metavar="[NETWORK|MODEL]...", shell_complete=_model.complete_network)
@_options.option(
    "--input-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    section="Contents",
    help="Side of the images in pixels; by default the network's.",
)
@_options.option("--recipe", is_flag=True, section="Contents", help="Show how the network is trained, not its layers.")
@_options.option(
    "--versions",
    is_flag=True,
    section="Contents",
    help="Show versions, processor, devices and settings, for a bug report.",
)
@_options.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    section="Output",
    help="Draw one network with one bar per layer, or several as bubbles by multiply-adds, parameters and published "
    "error.",
)
@_options.force_option
@_foreign.import_option
@_options.output_options
def command(
    models: tuple[str, ...],
    input_size: int | None,
    recipe: bool,
    plot: str | None,
    versions: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Show all networks, the layers of one, or compare several.

    NETWORK is a name such as ResNet50; MODEL is a .keras file, or NAME:WEIGHTS such as nin:digits.

    Parameters are the trained ones, multiply-adds those of convolutions and dense layers for one image. A receptive
    field is the part of the image that one position of a feature map sees; it is followed by the distance between two
    neighboring fields.
    """
    from keras_cnns.errors import ArgumentError

    if versions:
        if models or recipe or plot or input_size:
            raise ArgumentError(f"--versions goes with --json only. Received: models={models}")
        _print_versions(as_json)
        return
    if plot:
        _common.prepare_plot(plot, force)
    if recipe:
        others = [name for name, value in (("--plot", plot), ("--input-size", input_size)) if value]
        if len(models) != 1 or others:
            raise ArgumentError(
                "--recipe takes one network or model, and neither --plot nor --input-size. Received: "
                f"{', '.join([*models, *others]) or 'none'}"
            )
        from keras_cnns.cli import _recipe_table

        _recipe_table.print_recipes(models[0], as_json)
    elif not models:
        if input_size:
            raise ArgumentError(f"--input-size takes a network or model. Received: --input-size {input_size}")
        _print_all(plot, as_json)
    else:
        _print_models(models, input_size, plot, as_json)


def _print_models(models: Sequence[str], input_size: int | None, plot: str | None, as_json: bool) -> None:
    """Print the layers of one model, or compare several."""
    from keras_cnns.applications._registry import canonical_name

    for text in models:  # finds a misspelled name before keras is imported, which takes seconds
        _model.locate(text) if _model.is_model(text) else canonical_name(text)
    _model.load_keras()
    subjects = [_examine(text, input_size) for text in models]
    if len(subjects) == 1:
        _print_layers(subjects[0], plot, as_json)
    else:
        _print_comparison(subjects, plot, as_json)


def _print_versions(as_json: bool) -> None:
    """Print versions, processor, devices and settings."""
    from keras_cnns.cli import _versions

    facts = _versions.collect()
    if as_json:
        _output.print_json(facts)
        return
    packages, settings = facts.pop("packages"), facts.pop("settings")
    rows = [*facts.items(), *packages.items(), *(settings.items() or [("settings", "none")])]
    _output.table("For a bug report:", [("name",), ("value", "left", 0, 20)], rows)


def _print_all(plot: str | None, as_json: bool) -> None:
    """Print all networks, from the recorded facts alone."""
    from keras_cnns import applications
    from keras_cnns.applications._facts import FACTS

    weights = {name: applications.list_weights(name) for name in FACTS}
    if plot:
        points = [(name, facts.macs, facts.parameters, facts.errors) for name, facts in FACTS.items()]
        _plot_bubbles(points, plot, "The networks as published")
    if as_json:
        _output.print_json(
            [{"name": name, **dataclasses.asdict(facts), "weights": weights[name]} for name, facts in FACTS.items()]
        )
        return
    rows = [
        (
            name,
            facts.citation,
            _shape(facts.input_shape),
            f"{facts.parameters:,}",
            f"{facts.macs / 1e6:,.1f} M",
            facts.published_error,
            ", ".join(weights[name]) or "-",
        )
        for name, facts in FACTS.items()
    ]
    _output.table(f"{len(rows)} networks", ALL_COLUMNS, rows)


@dataclasses.dataclass(frozen=True)
class _Subject:
    """A network or model, and its measures.

    Attributes:
        title: the name on the command line.
        citation: of its paper; None for a model of another kind.
        account: `keras_cnns.analysis.Account`.
        fields: for each row of the account, the receptive field or None.
        errors: in percent; published for a network, measured for a model.
        results: published mean IoU in percent.
    """

    title: str
    citation: str | None
    account: "Account"
    fields: "Sequence[ReceptiveField | None]"
    errors: Mapping[str, float]
    results: Mapping[str, float]

    @property
    def inputs(self) -> str:
        """Return the shapes of the inputs, in words."""
        return ", ".join(map(_shape, self.account.input_shapes))

    @property
    def activations(self) -> str:
        """Return the size of all activations, in words."""
        return f"{self.account.activation_bytes / 1e6:,.3g} MB"


def _examine(text: str, input_size: int | None) -> _Subject:
    """Build or open a network or model, and count its layers' costs."""
    from keras_cnns import applications
    from keras_cnns.analysis import account, receptive_fields
    from keras_cnns.applications._facts import FACTS
    from keras_cnns.applications._registry import canonical_name

    shape = None
    if _model.is_model(text):
        model, record, _ = _model.open_model(text)
        title, facts = text, FACTS.get(record.builder) if record and record.builder else None
        errors = _measured_errors(record) if record else {}
        if input_size:
            shape = (input_size, input_size, model.inputs[0].shape[-1])
    else:
        title = canonical_name(text)
        facts, errors = FACTS[title], dict(FACTS[title].errors)
        sized = {"input_shape": (input_size, input_size, facts.input_shape[-1])} if input_size else {}
        # Zeros, because drawing random weights would take most of the time
        model = applications.create_model(title, kernel_initializer="zeros", **sized)
    costs = account(model, shape)
    takes_images = len(model.inputs) == 1 and len(model.inputs[0].shape) == 4
    fields = receptive_fields(model, shape) if takes_images else [None] * len(costs.rows)
    results = facts.results if facts and not _model.is_model(text) else {}
    return _Subject(title, facts.citation if facts else None, costs, fields, errors, results)


def _measured_errors(record: "ModelInfo") -> dict[str, float]:
    """Return the test error in a model's record, in percent.

    Its name has the form of published ones.
    """
    source, metrics = (record.data or {}).get("source", "images"), record.metrics.get("test", {})
    return {f"{source} test, top-1": round(100 * (1 - metrics["top1"]), 2)} if "top1" in metrics else {}


def _print_layers(subject: _Subject, plot: str | None, as_json: bool) -> None:
    """Print the layers of one network or model."""
    account = subject.account
    if plot:
        from keras_cnns import _render

        bars = [
            (row.layer, row.output_shape, row.macs, row.trainable + row.fixed)
            for row in account.rows
            if row.macs is None or row.connections
        ]
        _render.network_bars(bars, plot, f"{subject.title}, input {subject.inputs}")
    if as_json:
        values = account.to_json()
        for row, field in zip(values["rows"], subject.fields, strict=True):
            row["receptive_field"] = field and dataclasses.asdict(field)
        _output.print_json({"model": subject.title, "errors": subject.errors, **values})
        return
    rows = [
        (
            row.layer,
            row.kind,
            _shape(row.output_shape),
            f"{row.trainable:,}" + (f" + {row.fixed:,}" if row.fixed else ""),
            "not counted" if row.macs is None else f"{row.macs:,}",
            "-" if field is None else f"{_shape(field.size)} / {field.stride[0]}",
        )
        for row, field in zip(account.rows, subject.fields, strict=True)
    ]
    lines = [f"{subject.title}: {subject.citation}" if subject.citation else subject.title]
    lines.append(
        f"input {subject.inputs}; {account.trainable:,} parameters trained, {account.fixed:,} fixed; "
        f"{account.macs:,} multiply-adds; {account.connections:,} connections; {subject.activations} of activations "
        "per image"
    )
    if account.not_counted:
        lines.append(f"not counted, and not in these sums: {', '.join(account.not_counted)}")
    lines += [f"error, {key}: {value} %" for key, value in subject.errors.items()]
    lines += [f"mean IoU, {key}: {value} %" for key, value in subject.results.items()]
    _output.table("\n".join(lines), LAYER_COLUMNS, rows)


def _print_comparison(subjects: Sequence[_Subject], plot: str | None, as_json: bool) -> None:
    """Print several networks or models, one per row."""
    if plot:
        points = [
            (subject.title, subject.account.macs, subject.account.trainable, subject.errors) for subject in subjects
        ]
        _plot_bubbles(points, plot, ", ".join(subject.title for subject in subjects))
    if as_json:
        values: list[dict[str, Any]] = []
        for subject in subjects:
            totals = {key: value for key, value in subject.account.to_json().items() if key != "rows"}
            values.append({"model": subject.title, "errors": subject.errors, **totals})
        _output.print_json(values)
        return
    rows = [
        (
            subject.title,
            subject.inputs,
            f"{subject.account.trainable:,}",
            f"{subject.account.macs / 1e6:,.1f} M"
            + (" and what is not counted" if subject.account.not_counted else ""),
            subject.activations,
            "; ".join(f"{key} {value} %" for key, value in list(subject.errors.items())[:2]) or "-",
        )
        for subject in subjects
    ]
    _output.table(f"{len(rows)} models", COMPARISON_COLUMNS, rows)


def _shape(shape: Iterable[int | None]) -> str:
    return "x".join(map(str, shape))


def _plot_bubbles(points: Sequence[Point], path: str, title: str) -> None:
    """Draw networks by the error that is known for most of them.

    Args:
        points: (name, multiply-adds, parameters, errors) of each network.
        path: of the PNG file.
        title: of the drawing.
    """
    from keras_cnns import _render

    all_errors = [_errors_by_dataset(errors) for *_, errors in points]
    kinds = dict.fromkeys(kind for errors in all_errors for kind in errors)
    if not kinds:
        sizes = [(name, macs, parameters, parameters) for name, macs, parameters, _ in points]
        _render.network_bubbles(sizes, path, title, "parameters")
        return
    shared = max(kinds, key=lambda kind: sum(kind in errors for errors in all_errors))
    bubbles, missing = [], []
    for (name, macs, parameters, _), errors in zip(points, all_errors, strict=True):
        if shared in errors:
            bubbles.append((name, macs, parameters, errors[shared]))
        else:
            missing.append(name)
    _render.network_bubbles(bubbles, path, title, f"error, %: {shared}")
    if missing:
        _output.note(f"{path}: no error on {shared} is known, so they are not drawn: {', '.join(missing)}")


def _errors_by_dataset(errors: Mapping[str, float]) -> dict[str, float]:
    """Return the first error of each dataset and rank.

    A name such as "ILSVRC-2012 validation, 10 crops, top-1" loses its conditions: "ILSVRC-2012 validation, top-1".
    """
    by_dataset: dict[str, float] = {}
    for key, value in errors.items():
        dataset, *conditions = key.split(", ")
        rank = conditions[-1] if conditions and conditions[-1].startswith("top-") else ""
        by_dataset.setdefault(f"{dataset}, {rank}".rstrip(", "), value)
    return by_dataset


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _common.run(command, arguments)
