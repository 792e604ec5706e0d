"""Tables of evaluations, export reports and benchmarks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _output

if TYPE_CHECKING:
    from keras_cnns.evaluation import Result, Robustness
    from keras_cnns.export import Benchmark, Report

ARTIFACT_COLUMNS = (
    ("artifact", "left", 0),
    ("size", "right", 4),
    ("seconds", "right", 5),
    ("largest difference", "right", 2),
    ("same class", "right", 1),
    ("accuracy", "right", 3),
)

SEVERITY_RANKS = {1: 1, 5: 2, 3: 3, 2: 4, 4: 5}  # rank of each severity's column: the extremes matter most


def print_result(title: str, result: "Result", robustness: "Robustness | None") -> None:
    """Print the tables of a result and of corruptions.

    Args:
        title: of the first table.
        result: `evaluation.Result`.
        robustness: `evaluation.Robustness`; None: no second table.
    """
    table = result.table()
    _output.table(title, table.columns, table.rows)
    for note in table.notes:
        _output.echo(note)
    if robustness:
        severities = [(f"severity {k}", "right", SEVERITY_RANKS[k]) for k in range(1, 6)]
        _output.table(
            f"top-1 on corrupted images: mean {robustness.mean:.2%}",
            [("corruption",), *severities],
            [(name, *(f"{value:.1%}" for value in values)) for name, values in robustness.corrupted.items()],
        )


def print_report(model: str, report: "Report") -> None:
    """Print how the artifacts of an export compare with the model.

    Args:
        model: MODEL.
        report: of `export_model` or `verify`.
    """
    how = f"compared with the model on {report.images}" if report.images else "not verified"
    _output.table(f"{model}: {how}", ARTIFACT_COLUMNS, _artifact_rows(report))
    if report.images and report.accuracy is None:
        click.echo("Accuracy was not measured: these images have no labels that the model knows.")
    elif report.accuracy is not None:
        click.echo(f"The model's own accuracy: {report.accuracy:.2%}")
    parities = [artifact.parity for artifact in report.artifacts if artifact.parity and artifact.parity.classes]
    _print_intervals(parities)
    if one_class := next((parity for parity in parities if parity.classes == 1), None):
        click.echo(f"The model assigns all these {one_class.unit} to one class, so this agreement proves little.")


def _artifact_rows(report: "Report") -> list[tuple]:
    def formatted(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        (
            artifact.path,
            f"{artifact.bytes / 1e6:.2f} MB",
            formatted(artifact.seconds, ".1f"),
            formatted(artifact.parity and artifact.parity.max_difference, ".1e"),
            formatted(artifact.parity.agreement if artifact.parity and artifact.parity.classes else None, ".2%"),
            formatted(artifact.parity and artifact.parity.accuracy, ".2%"),
        )
        for artifact in report.artifacts
    ]


def _print_intervals(parities: "Sequence[Any]") -> None:
    """Print the confidence interval of each distinct agreement."""
    for parity in {parity.disagreements: parity for parity in parities}.values():
        low, high = parity.agreement_interval
        click.echo(
            f"Same class for {parity.examples - parity.disagreements} of {parity.examples} {parity.unit}: between "
            f"{low:.1%} and {high:.1%} of all {parity.unit} like these (95 % confidence)."
        )


def print_layers(report: "Report") -> None:
    """Print each layer's signal-to-noise ratio in int8 ONNX artifacts."""
    for artifact in report.artifacts:
        if not artifact.contents.layers:
            click.echo(f"{artifact.path.name}: holds no signal-to-noise ratios; only int8 ONNX files do.")
            continue
        columns = [("layer", "left"), ("signal-to-noise", "right")]
        rows = [(name, f"{ratio:.1f} dB") for name, ratio in artifact.contents.layers.items()]
        _output.table(f"{artifact.path.name}: layers compared with float32", columns, rows)


def print_benchmark(benchmark: "Benchmark") -> None:
    """Print a `Benchmark`, one row per model or artifact."""
    batches = sorted({timing.batch for row in benchmark.rows for timing in row.timings})
    columns: list[tuple] = [("name", "left", 0), ("runtime", "left", 6), ("quantize", "left", 7)]
    columns += [("size", "right", 3), ("memory", "right", 5), ("accuracy", "right", 2)]
    for batch in batches:
        columns += [(f"batch {batch}", "right", 1), ("p90", "right", 8), ("images/s", "right", 4)]
    threads = f"{_output.counted(benchmark.threads, 'thread')} each, " if benchmark.threads else ""
    calls = f"medians of {_output.counted(benchmark.rounds, 'call')}, {threads}{benchmark.machine}"
    _output.table(
        f"On {benchmark.images}; {calls}", columns, [_benchmark_cells(row, batches) for row in benchmark.rows]
    )
    for row in benchmark.rows:
        if row.fixed_batch:
            click.echo(f"{row.name} takes exactly {_output.counted(row.fixed_batch, 'image')} per call.")
    if all(row.accuracy is None for row in benchmark.rows):
        click.echo("Accuracy was not measured: these images have no labels that the model knows.")


def _benchmark_cells(row: Any, batches: Sequence[int]) -> list[str]:
    cells = [
        row.name,
        row.runtime,
        row.quantize or "-",
        f"{row.bytes / 1e6:,.2f} MB",
        f"{row.peak_memory / 1e6:,.0f} MB",
        "-" if row.accuracy is None else f"{row.accuracy:.2%}",
    ]
    for timing in map(row.timing, batches):
        if timing is None:
            cells += ["-"] * 3
        else:
            cells += [milliseconds(timing.median), milliseconds(timing.p90), f"{timing.throughput:,.0f}"]
    return cells


def milliseconds(seconds: float) -> str:
    """Return a duration as milliseconds with three digits, such as "18.9 ms"."""
    value = 1e3 * seconds
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f} ms"
