"""cnn-export: a model as artifacts for deployment, verified."""

import click
from keras_cnns.cli import _child, _common, _foreign, _model

from keras_cnns.export.formats import (
    FORMATS,
    INPUT_TYPES,
    LAYOUTS,
    OPSET,
    OPSET_INT8,
    OPSETS,
    OWNERS,
    QUANTIZATIONS,
    TARGETS,
    TOLERANCE,
)

DEFAULT_MODEL = "nin:digits"


def _quantize_help():
    offered = [
        f"{one.name}: {one.what} ({', '.join(f.name for f in FORMATS.values() if one.name in f.quantize)})"
        for one in QUANTIZATIONS.values()
    ]
    return f"{'; '.join(offered)}."


def _choice(values):
    return f"[{'|'.join(map(str, values))}]"


@click.command("cnn-export", epilog=_common.EXIT_CODES)
@click.argument("model", required=False, shell_complete=_model.complete_model)
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar=_choice([*FORMATS, "all"]),
    help="What to write; may be given several times.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    default="exports",
    show_default=True,
    help="Folder to write to.",
)
@click.option("--quantize", metavar=_choice(QUANTIZATIONS), default="none", show_default=True, help=_quantize_help())
@click.option(
    "--io",
    metavar=_choice(INPUT_TYPES),
    help="Type of the input: uint8 pixels (default), the same as float32, or int8 (pixels minus 128). The output is "
    "float32; with int8 or --integer-only it has the input's type.",
)
@click.option("--batch", metavar="[dynamic|N]", default="dynamic", show_default=True, help="Images at a time.")
@click.option(
    "--input-size", type=int, metavar="N", help="Side in pixels, for a model whose height and width are free."
)
@click.option(
    "--preprocess/--no-preprocess", default=True, show_default=True, help="Whether the preprocessing is inside."
)
@click.option("--bake-whitening", is_flag=True, help="Let a preprocessing that whitens be inside, with its matrix.")
@click.option("--logits", is_flag=True, help="Leave out the last softmax.")
@click.option("--auxiliary", is_flag=True, help="Keep auxiliary heads, as further outputs.")
@click.option(
    "--opset",
    type=int,
    help=f"Version of ONNX's operators, {OPSETS[0]} to {OPSETS[-1]} (default {OPSET}, with int8 {OPSET_INT8}).",
)
@click.option("--layout", metavar=_choice(LAYOUTS), help=f"Of the input, for {OWNERS['layout']} (default nhwc).")
@click.option(
    "--target",
    metavar=_choice(TARGETS),
    help="Processor of an int8 ONNX file: weights of 8 bits for vnni and arm, of 7 for avx2 (also AVX-512 without "
    "VNNI), whose kernels saturate with 8; by default any, so 7.",
)
@click.option(
    "--integer-only",
    is_flag=True,
    help=f"Integers from input to output, fixed shapes, audited; for {OWNERS['integer_only']} with --quantize int8.",
)
@click.option("--c-array", is_flag=True, help="Also write the TFLite file as a C array: NAME.cc and NAME.h.")
@click.option(
    "--calibration",
    metavar="SOURCE",
    help="Images that the ranges of activations are fitted on: a source's training split, or a folder of images "
    "without class folders; by default the model's own training images.",
)
@click.option("--calibration-samples", type=int, default=200, show_default=True, help="How many of them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which ones.")
@click.option(
    "--verify-data",
    metavar="SOURCE",
    help="Images to verify on; by default those that the model was tested on, or some of scikit-learn's.",
)
@click.option(
    "--tolerance", type=float, help=f"What float32 outputs may differ by, relative to the largest ({TOLERANCE:g})."
)
@click.option(
    "--min-agreement",
    type=float,
    help="Share of images that must get the model's class; by default "
    + ", ".join(f"{one.agreement:g} ({one.name})" for one in QUANTIZATIONS.values())
    + ".",
)
@click.option("--no-verify", is_flag=True, help="Write the artifacts without running them.")
@click.option("--verify-only", type=click.Path(), metavar="ARTIFACT", help="Only verify a file that was made earlier.")
@click.option("--layers", is_flag=True, help="Also print each layer's signal-to-noise ratio in int8 ONNX files.")
@click.option("--benchmark", is_flag=True, help="Also measure model and artifacts, as cnn-benchmark does.")
@_common.data_dir_option
@_common.force_option
@_foreign.model_options
@_common.options
@click.pass_obj
def command(
    line,
    model,
    formats,
    output,
    batch,
    no_verify,
    verify_only,
    layers,
    benchmark,
    force,
    as_json,
    data_dir,
    **given,
):
    """Export MODEL, run the artifacts with their own runtimes, and compare.

    MODEL is a .keras file, or NAME:WEIGHTS; without it, nin:digits is exported, which ships with keras_cnns.

    An artifact takes uint8 images, `image`, and gives `probabilities`; preprocessing, softmax and class names are
    inside. If it differs from the model, nothing is kept and the exit code is 1.
    """
    from keras_cnns.errors import ArgumentError, nearest

    if verify_only:
        _refuse_beside_verify_only()
    elif not formats:
        missing = "option '--format'" if model else "argument 'MODEL' and option '--format'"
        raise click.UsageError(
            f"Missing {missing}, one of {', '.join([*FORMATS, 'all'])}. Without MODEL, {DEFAULT_MODEL} is exported."
        )
    for name in formats:
        if name not in (*FORMATS, "all"):
            raise ArgumentError(
                f"--format is one of {', '.join([*FORMATS, 'all'])}.{nearest(name, [*FORMATS, 'all'])} "
                f"Received: --format {name}"
            )
    if batch != "dynamic" and not batch.isdecimal():
        raise ArgumentError(f"--batch is 'dynamic' or a whole number. Received: --batch {batch}")
    from keras_cnns.export.options import Options

    options = Options(
        **given,
        batch=None if batch == "dynamic" else int(batch),
        labels=_foreign.given_labels(),
        verify=not no_verify,
        data_dir=data_dir,
    )
    formats = _all_formats(options) if "all" in formats else formats
    options.check(formats)
    if model is None:
        _common.note(f"no MODEL was given: exporting {DEFAULT_MODEL}, which ships with keras_cnns")
        model = DEFAULT_MODEL
    path, record, stem = _model.model_file(model)
    _model.load_keras()
    from keras_cnns import export, saving

    loaded = None if record and record.preprocessing else saving.load_model(path)
    # Images are chosen by the names that the model itself carries
    record = _foreign.described(record, loaded, model, options.input_size, rename=False)
    _model.preprocessing_note(record, model, loaded)
    measured = None
    with _common.stoppable() as note:
        note = _child.noted(note)
        if verify_only:
            report = export.verify(
                verify_only,
                path,
                options.verify_data,
                info=record,
                labels=options.labels,
                data_dir=data_dir,
                tolerance=options.tolerance,
                min_agreement=options.min_agreement,
                progress=note,
            )
        else:
            report = export.export_model(
                path,
                output,
                formats,
                options,
                info=record,
                stem=stem,
                overwrite=force,
                command=line,
                progress=note,
            )
        if benchmark:
            artifacts = [one.path for one in report.artifacts]
            if options.labels:
                record = saving.ModelInfo(options.labels, record and record.preprocessing, data=record and record.data)
            measured = export.benchmark(
                path, artifacts, options.verify_data, info=record, data_dir=data_dir, progress=note
            )
    if as_json:
        _common.print_json({**report.to_json(), **({"benchmark": measured.to_json()} if measured else {})})
        return
    _print_report(model, report)
    if layers:
        _print_layers(report)
    if measured:
        from keras_cnns.cli.benchmark import print_benchmark

        print_benchmark(measured)


def _all_formats(options):
    """Return the formats that can hold what the options ask for, and say which cannot."""
    able = [name for name, format in FORMATS.items() if options.quantize in format.quantize]
    if not able:  # an unknown name, which `Options.check` refuses
        return list(FORMATS)
    for name, format in FORMATS.items():
        if name not in able:
            _common.note(f"{name} is left out with --quantize {options.quantize}: {format.instead[options.quantize]}")
    return able


def _refuse_beside_verify_only():
    """Raise UsageError for options that say how to export: the artifact itself says how it was."""
    context = click.get_current_context()
    taken = {"model", "verify_only", "verify_data", "tolerance", "min_agreement", "data_dir"}
    taken |= {"benchmark", "layers", "as_json"}
    for name in context.params:
        if name not in taken and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = next(one.opts[0] for one in context.command.params if one.name == name)
            raise click.UsageError(f"--verify-only takes an artifact as it is: leave out {option}.")


def _print_report(model, report):
    how = f"compared with the model on {report.images}" if report.images else "not verified"
    _common.table(f"{model}: {how}", *artifact_table(report))
    if report.images and report.accuracy is None:
        click.echo("Accuracy was not measured: these images have no labels that the model knows.")
    elif report.accuracy is not None:
        click.echo(f"The model's own accuracy: {report.accuracy:.2%}")
    # Artifacts of one export mostly agree equally often
    parities = [artifact.parity for artifact in report.artifacts if artifact.parity and artifact.parity.classes]
    for parity in {parity.disagreements: parity for parity in parities}.values():
        low, high = parity.agreement_interval
        click.echo(
            f"Same class for {parity.examples - parity.disagreements} of {parity.examples} images: between {low:.1%} "
            f"and {high:.1%} of all images like these (95 % confidence)."
        )
    if any(parity.classes == 1 for parity in parities):
        click.echo("The model gives all these images one class, so that this agreement proves little.")


def _print_layers(report):
    """Print the signal-to-noise ratios of layers that artifacts carry."""
    for artifact in report.artifacts:
        if not artifact.contents.layers:
            click.echo(f"{artifact.path.name}: carries no signal-to-noise ratios; only int8 ONNX files do.")
            continue
        columns = [("layer", "left"), ("signal-to-noise", "right")]
        rows = [(name, f"{ratio:.1f} dB") for name, ratio in artifact.contents.layers.items()]
        _common.table(f"{artifact.path.name}: layers beside float32", columns, rows)


def artifact_table(report):
    """Return (columns, rows) of a report's artifacts."""
    columns = [
        ("artifact", "left", 0),
        ("size", "right", 4),
        ("seconds", "right", 5),
        ("largest difference", "right", 2),
        ("same class", "right", 1),
        ("accuracy", "right", 3),
    ]

    def shown(value, form):
        return "-" if value is None else format(value, form)

    rows = []
    for one in report.artifacts:
        parity = one.parity
        rows.append(
            (
                one.path,
                f"{one.bytes / 1e6:.2f} MB",
                shown(one.seconds, ".1f"),
                shown(parity and parity.max_difference, ".1e"),
                shown(parity and parity.agreement, ".2%"),
                shown(parity and parity.accuracy, ".2%"),
            )
        )
    return columns, rows


def main(arguments=None):
    """Run the command; as a program, in a child process."""
    _child.run(command, __name__, arguments)
