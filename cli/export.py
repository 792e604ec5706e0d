"""cnn-export: a model as an artifact for deployment, verified."""

import click
from keras_cnns.cli import _common

from keras_cnns.export.formats import FORMATS

DEFAULT_MODEL = "nin:digits"


@click.command("cnn-export", epilog=_common.EXIT_CODES)
@click.argument("model", required=False)
@click.option(
    "--format",
    "formats",
    multiple=True,
    required=True,
    metavar=f"[{'|'.join([*FORMATS, 'all'])}]",
    help="What to write; may be given several times.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    default="exports",
    show_default=True,
    help="Folder to write to.",
)
@click.option(
    "--verify-data",
    metavar="SOURCE",
    help="Pictures to verify on; by default those that the model was tested on, or some of scikit-learn's.",
)
@_common.data_dir_option
@_common.force_option
@_common.options
def command(model, formats, output, verify_data, data_dir, force, as_json):
    """Export MODEL (a .keras file, or NAME:WEIGHTS), run the artifact with its own runtime, and compare.

    The artifact takes uint8 pictures, `image`, and gives `probabilities`; preprocessing and softmax are inside.
    If its outputs differ from the model's, nothing is kept and the exit code is 1.
    """
    from keras_cnns.errors import ArgumentError, nearest

    for name in formats:
        if name not in (*FORMATS, "all"):
            raise ArgumentError(
                f"--format is one of {', '.join([*FORMATS, 'all'])}.{nearest(name, [*FORMATS, 'all'])} "
                f"Received: --format {name}"
            )
    if model is None:
        _common.note(f"no MODEL was given: exporting {DEFAULT_MODEL}, which ships with keras_cnns")
        model = DEFAULT_MODEL
    loaded, record, stem = _common.open_model(model)
    from keras_cnns.export import export_model

    _common.preprocessing_of(loaded, record, model)
    report = export_model(
        loaded,
        output,
        FORMATS if "all" in formats else formats,
        info=record,
        stem=stem,
        verify_data=verify_data,
        data_dir=data_dir,
        overwrite=force,
        progress=_common.note,
    )
    if as_json:
        _common.print_json(report.to_json())
        return
    _common.table(f"{model}: equal to the model on {report.pictures}", *artifact_table(report))
    if report.accuracy is None:
        click.echo("Accuracy was not measured: these pictures have no labels that the model knows.")


def artifact_table(report):
    """Return (columns, rows) of a report's artifacts."""
    columns = [
        ("artifact", "left"),
        ("size", "right"),
        ("seconds", "right"),
        ("largest difference", "right"),
        ("accuracy", "right"),
    ]
    rows = [
        (
            artifact.path,
            f"{artifact.bytes / 1e6:.2f} MB",
            f"{artifact.seconds:.1f}",
            f"{artifact.parity.max_difference:.1e}",
            "-" if artifact.parity.accuracy is None else f"{artifact.parity.accuracy:.2%}",
        )
        for artifact in report.artifacts
    ]
    return columns, rows


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
