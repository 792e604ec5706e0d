"""cnn-benchmark: a model and its artifacts side by side."""

import tempfile

import click
from keras_cnns.cli import _child, _common, _foreign, _model
from keras_cnns.cli.export import DEFAULT_MODEL


@click.command("cnn-benchmark", epilog=_common.EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="[MODEL] [ARTIFACT]...", shell_complete=_model.complete_model)
@click.option(
    "--data",
    "source",
    metavar="SOURCE",
    help="Images to measure on; by default those that the model was tested on, or some of scikit-learn's.",
)
@_common.data_dir_option
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    default=(1, 32),
    show_default=True,
    metavar="N",
    help="Images a call; may be given several times.",
)
@click.option(
    "--threads", type=click.IntRange(0), default=0, show_default=True, help="Of each runtime; 0: its own choice."
)
@click.option(
    "--rounds", type=click.IntRange(1), default=20, show_default=True, help="Calls of each batch size that count."
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    help="Draw accuracy by latency, with the file size as area.",
)
@_common.force_option
@_foreign.model_options
@_common.options
def command(paths, source, data_dir, batches, threads, rounds, plot, force, as_json):
    """Measure MODEL (a .keras file, or NAME:WEIGHTS) and ARTIFACTs: size, memory, accuracy, latency, throughput.

    Each runs on the processor in a process of its own, in turns. Without an ARTIFACT, MODEL is exported for it in every
    format, in float32 and int8. Latency is the median of the rounds; nine of ten calls stayed below p90.
    """
    if plot:
        _common.prepare_plot(plot, force)
    model, artifacts = _model_and_artifacts(paths)
    loaded = record = None
    if model is not None:
        loaded, record, stem = _model.open_model(model)
        _model.preprocessing_note(record, model, loaded)
    else:
        _refuse_model_options()
        _model.load_keras()
    from keras_cnns.export import _benchmark, _usual_exports

    with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
        if not artifacts:
            artifacts = _usual_exports.export_usual(
                loaded, folder, record, stem=stem, data_dir=data_dir, progress=_child.noted(_common.note)
            )
        measured = _benchmark.benchmark(
            loaded,
            artifacts,
            source,
            info=record,
            batches=batches,
            threads=threads,
            rounds=rounds,
            data_dir=data_dir,
            progress=_child.noted(_common.note),
        )
    if as_json:
        _common.print_json(measured.to_json())
    else:
        print_benchmark(measured)
    if plot:
        _draw(measured, plot, model)


def _model_and_artifacts(paths):
    """Return (MODEL or None, ARTIFACTs); the default MODEL if neither was given."""
    from keras_cnns.errors import ArgumentError
    from keras_cnns.export.runtimes import format_of

    if not paths:
        _common.note(f"no MODEL was given: measuring {DEFAULT_MODEL}, which ships with keras_cnns")
        return DEFAULT_MODEL, ()
    try:
        format_of(paths[0])
    except ArgumentError:
        return paths[0], paths[1:]
    return None, paths


def _refuse_model_options():
    """Raise UsageError for options that tell about a MODEL, where there is none."""
    for name in ("scale", "mean", "deviation", "labels"):
        if _foreign.given(name):
            raise click.UsageError(f"--{name} tells about a MODEL: give one before the artifacts.")


def print_benchmark(measured):
    """Print a `Benchmark` as a table."""
    batches = sorted({one.batch for row in measured.rows for one in row.timings})
    columns = [("name", "left", 0), ("runtime", "left", 6), ("quantize", "left", 7), ("size", "right", 3)]
    columns += [("memory", "right", 5), ("accuracy", "right", 2)]
    for batch in batches:
        columns += [(f"batch {batch}", "right", 1), ("p90", "right", 8), ("images/s", "right", 4)]
    rows = []
    for row in measured.rows:
        accuracy = "-" if row.accuracy is None else f"{row.accuracy:.2%}"
        shown = [row.name, row.runtime, row.quantize or "-", f"{row.bytes / 1e6:,.2f} MB"]
        shown += [f"{row.peak_memory / 1e6:,.0f} MB", accuracy]
        for one in map(row.timing, batches):
            shown += [_ms(one.median), _ms(one.p90), f"{one.throughput:,.0f}"] if one else ["-"] * 3
        rows.append(shown)
    threads = f"{_common.counted(measured.threads, 'thread')} each, " if measured.threads else ""
    calls = f"medians of {_common.counted(measured.rounds, 'call')}, {threads}{measured.machine}"
    _common.table(f"On {measured.images}; {calls}", columns, rows)
    for row in measured.rows:
        if row.fixed_batch:
            click.echo(f"{row.name} takes {_common.counted(row.fixed_batch, 'image')} per call and no other number.")
    if all(row.accuracy is None for row in measured.rows):
        click.echo("Accuracy was not measured: these images have no labels that the model knows.")


def _ms(seconds):
    """Return milliseconds with three digits: 0.234, 18.9, 1,230."""
    value = 1e3 * seconds
    return f"{value:,.{3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0}f} ms"


def _draw(measured, path, model):
    """Draw the rows by the smallest batch size that most of them have."""
    from keras_cnns import _render

    sizes = sorted(one.batch for row in measured.rows for one in row.timings)
    batch = max(dict.fromkeys(sizes), key=sizes.count)
    drawn = [row for row in measured.rows if row.timing(batch)]
    _render.benchmark_chart(
        [(row.name, row.runtime, row.accuracy, row.timing(batch).median, row.bytes) for row in drawn],
        path,
        f"{model}: {measured.images}" if model else measured.images,
        batch,
    )
    if missing := [row.name for row in measured.rows if row not in drawn]:
        _common.note(f"{path}: not measured with a batch of {batch}, so not drawn: {', '.join(missing)}")


def main(arguments=None):
    """Run the command; as a program, in a child process."""
    _child.run(command, __name__, arguments)
