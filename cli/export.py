"""cnn-export: a model as artifacts for deployment, verified."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _child, _common, _foreign, _model, _options, _output, _reports

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

if TYPE_CHECKING:
    from keras_cnns.export import Options

FORMAT_NAMES = (*FORMATS, "all")
EXAMPLES = (
    "cnn-export nin:digits --format all",
    "cnn-export runs/digits/model.keras --format onnx --quantize int8",
)


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line, without the options of the export itself.

    Attributes:
        model: MODEL, or None for the default.
        formats: values of --format.
        output: folder to write to.
        verify_only: artifact to verify instead of exporting, or None.
        layers: whether to print signal-to-noise ratios.
        benchmark: whether to measure the artifacts too.
        force: whether to overwrite files.
        as_json: whether to print JSON.
        line: the command line itself, for the manifest.
    """

    model: str | None
    formats: tuple[str, ...]
    output: str
    verify_only: str | None
    layers: bool
    benchmark: bool
    force: bool
    as_json: bool
    line: str


def _quantize_help() -> str:
    kinds = [
        f"{kind.name}: {kind.what} ({', '.join(f.name for f in FORMATS.values() if kind.name in f.quantize)})"
        for kind in QUANTIZATIONS.values()
    ]
    return f"{'; '.join(kinds)}."


def _agreement_help() -> str:
    defaults = ", ".join(f"{kind.agreement:g} ({kind.name})" for kind in QUANTIZATIONS.values())
    return f"Least share of images that must get the model's class; by default {defaults}."


def _choice(values: Iterable[object]) -> str:
    return f"[{'|'.join(map(str, values))}]"


@_options.command("cnn-export", examples=EXAMPLES)
@click.argument("model", required=False, shell_complete=_model.complete_model)
@_options.option(
    "--format",
    "formats",
    multiple=True,
    metavar=_choice(FORMAT_NAMES),
    section="Artifact",
    help="What to write; may be repeated.",
)
@_options.option(
    "--quantize",
    metavar=_choice(QUANTIZATIONS),
    default="none",
    show_default=True,
    section="Artifact",
    help=_quantize_help(),
)
@_options.option(
    "--io",
    metavar=_choice(INPUT_TYPES),
    section="Artifact",
    help="Type of the input: uint8 pixels (default), the same as float32, or int8 (pixels minus 128). The output is "
    "float32; with int8 or --integer-only it has the input's type.",
)
@_options.option(
    "--batch",
    metavar="[dynamic|N]",
    default="dynamic",
    show_default=True,
    section="Artifact",
    help="Images per call.",
)
@_options.option(
    "--input-size",
    type=int,
    metavar="N",
    section="Artifact",
    help="Side in pixels, for a model of free height and width.",
)
@_options.option(
    "--preprocess/--no-preprocess",
    default=True,
    show_default=True,
    section="Artifact",
    help="Whether the artifact includes the preprocessing.",
)
@_options.option(
    "--bake-whitening",
    is_flag=True,
    section="Artifact",
    help="Include a preprocessing that whitens, with its matrix.",
)
@_options.option("--logits", is_flag=True, section="Artifact", help="Leave out the last softmax.")
@_options.option("--auxiliary", is_flag=True, section="Artifact", help="Keep auxiliary heads, as further outputs.")
@_options.option(
    "--opset",
    type=int,
    metavar="N",
    section="Artifact",
    help=f"Version of ONNX's operators, {OPSETS[0]} to {OPSETS[-1]} (default {OPSET}, with int8 {OPSET_INT8}).",
)
@_options.option(
    "--layout",
    metavar=_choice(LAYOUTS),
    section="Artifact",
    help=f"Order of the input's axes, for {OWNERS['layout']} (default nhwc).",
)
@_options.option(
    "--target",
    metavar=_choice(TARGETS),
    section="Artifact",
    help="Processor of an int8 ONNX file: weights have 8 bits for vnni and arm, and 7 bits for avx2 (also AVX-512 "
    "without VNNI), whose kernels saturate with 8. By default the file suits all of them, with 7 bits.",
)
@_options.option(
    "--integer-only",
    is_flag=True,
    section="Artifact",
    help=f"Integers from input to output, fixed shapes, audited; for {OWNERS['integer_only']} with --quantize int8.",
)
@_options.option(
    "--c-array",
    is_flag=True,
    section="Artifact",
    help="Also write the TFLite file as a C array: NAME.cc and NAME.h.",
)
@_options.option(
    "--calibration",
    metavar="SOURCE",
    section="Calibration",
    help="Images from which the ranges of activations are measured: the training split of a source, or a folder of "
    "images without class folders; by default the model's own training images.",
)
@_options.option(
    "--calibration-samples",
    type=int,
    metavar="N",
    default=200,
    show_default=True,
    section="Calibration",
    help="Number of these images.",
)
@_options.option(
    "--seed",
    type=int,
    metavar="N",
    default=0,
    show_default=True,
    section="Calibration",
    help="Seed of their random choice.",
)
@_options.option(
    "--verify-data",
    metavar="SOURCE",
    section="Verification",
    help="Images to verify on; by default the model's test images, or else samples from scikit-learn.",
)
@_options.option(
    "--tolerance",
    type=float,
    metavar="NUMBER",
    section="Verification",
    help=f"Largest difference of float32 outputs, relative to the largest output ({TOLERANCE:g}).",
)
@_options.option("--min-agreement", type=float, metavar="SHARE", section="Verification", help=_agreement_help())
@_options.option("--no-verify", is_flag=True, section="Verification", help="Write the artifacts without running them.")
@_options.option(
    "--verify-only",
    type=click.Path(),
    metavar="ARTIFACT",
    section="Verification",
    help="Only verify an existing artifact.",
)
@_options.option(
    "--output",
    type=click.Path(file_okay=False),
    metavar="DIR",
    default="exports",
    show_default=True,
    section="Output",
    help="Folder to write to.",
)
@_options.option(
    "--layers",
    is_flag=True,
    section="Output",
    help="Also print each layer's signal-to-noise ratio in int8 ONNX files.",
)
@_options.option(
    "--benchmark", is_flag=True, section="Output", help="Also measure model and artifacts, as cnn-benchmark does."
)
@_options.data_dir_option
@_options.force_option
@_foreign.model_options
@_options.output_options
@click.pass_obj
def command(line: str, **options: Any) -> None:
    """Export MODEL, run the artifacts with their own runtimes, and compare.

    MODEL is a .keras file, or NAME:WEIGHTS; by default nin:digits, which ships with keras_cnns.

    An artifact takes uint8 images, `image`, and outputs `probabilities`; it includes preprocessing, softmax and class
    names. If it differs from the model, no artifact is kept and the exit code is 1.
    """
    names = {field.name for field in dataclasses.fields(_Request)} - {"line"}
    request = _Request(line=line, **{name: options.pop(name) for name in names})
    _check_request(request, options["batch"])
    _export(request, _export_options(**options))


def _check_request(request: _Request, batch: str) -> None:
    """Raise an error for options that are missing, unknown or contradictory."""
    from keras_cnns.errors import ArgumentError, nearest

    if request.verify_only:
        _refuse_export_options()
    elif not request.formats:
        missing = "option '--format'" if request.model else "argument 'MODEL' and option '--format'"
        raise click.UsageError(
            f"Missing {missing}, one of {', '.join(FORMAT_NAMES)}. Without MODEL, {_model.DEFAULT_MODEL} is exported."
        )
    for name in request.formats:
        if name not in FORMAT_NAMES:
            raise ArgumentError(
                f"--format is one of {', '.join(FORMAT_NAMES)}.{nearest(name, FORMAT_NAMES)} Received: --format {name}"
            )
    if batch != "dynamic" and not batch.isdecimal():
        raise ArgumentError(f"--batch is 'dynamic' or a whole number. Received: --batch {batch}")


def _refuse_export_options() -> None:
    """Raise UsageError for options of an export, which --verify-only does not make."""
    context = click.get_current_context()
    allowed = {"model", "verify_only", "verify_data", "tolerance", "min_agreement", "data_dir"}
    allowed |= {"benchmark", "layers", "as_json"}
    for name in context.params:
        if name not in allowed and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = next(parameter.opts[0] for parameter in context.command.params if parameter.name == name)
            raise click.UsageError(f"--verify-only takes an artifact as it is: leave out {option}.")


def _export_options(batch: str, no_verify: bool, **options: Any) -> "Options":
    """Return the options of the package's function."""
    from keras_cnns.export.options import Options

    return Options(
        batch=None if batch == "dynamic" else int(batch),
        labels=_foreign.given_labels(),
        verify=not no_verify,
        **options,
    )


def _export(request: _Request, options: "Options") -> None:
    """Export or verify as requested, and print the report."""
    formats = _all_formats(options) if "all" in request.formats else request.formats
    options.check(formats)
    model = request.model
    if model is None:
        _output.note(f"no MODEL was given: exporting {_model.DEFAULT_MODEL}, which ships with keras_cnns")
        model = _model.DEFAULT_MODEL
    path, record, stem = _model.model_file(model)
    _model.load_keras()
    from keras_cnns import export, saving

    loaded = None if record and record.preprocessing else saving.load_model(path)
    # Test images are matched by the class names that the model itself has, so --labels does not rename them here
    record = _foreign.described(record, loaded, model, options.input_size, rename=False)
    _model.preprocessing_note(record, model, loaded)
    measured = None
    with _common.stoppable() as note:
        note = _child.noted(note)
        if request.verify_only:
            report = export.verify(
                request.verify_only,
                path,
                options.verify_data,
                info=record,
                labels=options.labels,
                data_dir=options.data_dir,
                tolerance=options.tolerance,
                min_agreement=options.min_agreement,
                progress=note,
            )
        else:
            report = export.export_model(
                path,
                request.output,
                formats,
                options,
                info=record,
                stem=stem,
                overwrite=request.force,
                command=request.line,
                progress=note,
            )
        if request.benchmark:
            artifacts = [artifact.path for artifact in report.artifacts]
            if options.labels:
                record = saving.ModelInfo(options.labels, record and record.preprocessing, data=record and record.data)
            measured = export.benchmark(
                path, artifacts, options.verify_data, info=record, data_dir=options.data_dir, progress=note
            )
    if request.as_json:
        _output.print_json({**report.to_json(), **({"benchmark": measured.to_json()} if measured else {})})
        return
    _reports.print_report(model, report)
    if request.layers:
        _reports.print_layers(report)
    if measured:
        _reports.print_benchmark(measured)


def _all_formats(options: "Options") -> Sequence[str]:
    """Return the formats that support the quantization; note the others."""
    able = [name for name, format in FORMATS.items() if options.quantize in format.quantize]
    if not able:  # an unknown name, which `Options.check` refuses
        return list(FORMATS)
    for name, format in FORMATS.items():
        if name not in able:
            _output.note(f"{name} is left out with --quantize {options.quantize}: {format.instead[options.quantize]}")
    return able


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; as a program, in a child process."""
    _child.run(command, __name__, arguments)
