"""cnn-benchmark: a model and its artifacts compared."""

import dataclasses
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _child, _common, _foreign, _model, _options, _output, _reports

if TYPE_CHECKING:
    from keras_cnns.export import Benchmark

EXAMPLES = (
    "cnn-benchmark nin:digits --plot chart.png",
    "cnn-benchmark runs/digits/model.keras exports/nin.onnx --batch 1 --threads 2",
)


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line.

    Attributes:
        paths: MODEL, if given, and ARTIFACTs.
        source: images to measure on, or None for those that the package chooses.
        data_dir: folder of tensorflow-datasets.
        batches: batch sizes.
        threads: of each runtime, 0 for its own choice.
        rounds: timed calls of each batch size.
        plot: file of the drawing, or None.
        force: whether to overwrite it.
        as_json: whether to print JSON.
    """

    paths: tuple[str, ...]
    source: str | None
    data_dir: str | None
    batches: tuple[int, ...]
    threads: int
    rounds: int
    plot: str | None
    force: bool
    as_json: bool


@_options.command("cnn-benchmark", examples=EXAMPLES)
@click.argument("paths", nargs=-1, metavar="[MODEL] [ARTIFACT]...", shell_complete=_model.complete_model)
@_options.option(
    "--data",
    "source",
    metavar="SOURCE",
    section="Data",
    help="Images to measure on; by default the model's test images, or else samples from scikit-learn.",
)
@_options.data_dir_option
@_options.option(
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    default=(1, 32),
    show_default=True,
    metavar="N",
    section="Measurement",
    help="Images per call; may be repeated.",
)
@_options.option(
    "--threads",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    section="Measurement",
    help="Threads of each runtime; 0: its own choice.",
)
@_options.option(
    "--rounds",
    type=click.IntRange(1),
    metavar="N",
    default=20,
    show_default=True,
    section="Measurement",
    help="Timed calls of each batch size.",
)
@_options.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    section="Output",
    help="Draw accuracy against latency, with the file size as area.",
)
@_options.force_option
@_foreign.model_options
@_options.output_options
def command(**options: Any) -> None:
    """Measure size, memory, accuracy and speed of MODEL and ARTIFACTs.

    MODEL is a .keras file, or NAME:WEIGHTS such as nin:digits; an ARTIFACT is a file or folder of cnn-export.

    Each runs on the CPU in a separate process, and they take turns. Without an ARTIFACT, MODEL is exported in every
    format, in float32 and int8. Latency is the median over the rounds; nine of ten calls took less than p90.
    """
    _benchmark(_Request(**options))


def _benchmark(request: _Request) -> None:
    """Measure as requested, and print or draw the results."""
    if request.plot:
        _common.prepare_plot(request.plot, request.force)
    model, artifacts = _model_and_artifacts(request.paths)
    loaded = record = stem = None
    if model is not None:
        loaded, record, stem = _model.open_model(model)
        _model.preprocessing_note(record, model, loaded)
    else:
        _refuse_model_options()
        _model.load_keras()
    from keras_cnns.export import _benchmark, _usual_exports

    note = _child.noted(_output.note)
    with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
        if not artifacts:
            artifacts = _usual_exports.export_usual(
                loaded, folder, record, stem=stem, data_dir=request.data_dir, progress=note
            )
        measured = _benchmark.benchmark(
            loaded,
            artifacts,
            request.source,
            info=record,
            batches=request.batches,
            threads=request.threads,
            rounds=request.rounds,
            data_dir=request.data_dir,
            progress=note,
        )
    if request.as_json:
        _output.print_json(measured.to_json())
    else:
        _reports.print_benchmark(measured)
    if request.plot:
        _draw(measured, request.plot, model)


def _model_and_artifacts(paths: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """Return MODEL or None, and the ARTIFACTs.

    If nothing is given, it is the default MODEL.
    """
    from keras_cnns.errors import ArgumentError
    from keras_cnns.export.runtimes import format_of

    if not paths:
        _output.note(f"no MODEL was given: measuring {_model.DEFAULT_MODEL}, which ships with keras_cnns")
        return _model.DEFAULT_MODEL, ()
    try:
        format_of(paths[0])
    except ArgumentError:
        return paths[0], paths[1:]
    return None, paths


def _refuse_model_options() -> None:
    """Raise UsageError for options that describe a MODEL, if there is none."""
    for name in ("scale", "mean", "deviation", "labels"):
        if _foreign.given(name):
            raise click.UsageError(f"--{name} describes a MODEL: give one before the artifacts.")


def _draw(benchmark: "Benchmark", path: str, model: str | None) -> None:
    """Draw the rows at a batch size that most of them have.

    Of several such sizes it is the smallest.
    """
    from keras_cnns import _render

    sizes = sorted(timing.batch for row in benchmark.rows for timing in row.timings)
    batch = max(dict.fromkeys(sizes), key=sizes.count)
    drawn = [row for row in benchmark.rows if row.timing(batch)]
    _render.benchmark_chart(
        [(row.name, row.runtime, row.accuracy, row.timing(batch).median, row.bytes) for row in drawn],
        path,
        f"{model}: {benchmark.images}" if model else benchmark.images,
        batch,
    )
    if missing := [row.name for row in benchmark.rows if row not in drawn]:
        _output.note(f"{path}: not measured with a batch of {batch}, so not drawn: {', '.join(missing)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; as a program, in a child process."""
    _child.run(command, __name__, arguments)
