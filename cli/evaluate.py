"""cnn-evaluate: how well models classify images, or their pixels."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _common, _foreign, _model, _options, _output, _reports

from keras_cnns.evaluation.protocols import PROTOCOLS

if TYPE_CHECKING:
    from keras_cnns.data import Preprocessing, Source
    from keras_cnns.data.splits import Split
    from keras_cnns.evaluation import CRF, Robustness
    from keras_cnns.evaluation.maps import WholeImages
    from keras_cnns.saving import ModelInfo
    from keras_cnns.tasks import Predictor, Result, Task
    from keras_cnns.typing import Labels, Probabilities

RECIPE = "recipe"
EXAMPLES = (
    "cnn-evaluate nin:digits --data digits --plot digits.png",
    "cnn-evaluate first.keras second.keras --data photos/ --protocol recipe",
)


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line.

    Attributes:
        models: MODELs, whose probabilities are averaged.
        source: SOURCE.
        split: part of it.
        protocol: name of a protocol, or "recipe".
        scales: shorter sides in pixels, or None for the protocol's.
        crf: `evaluation.CRF`, or None.
        batch_size: views at a time, or None.
        corruptions: whether to measure on corrupted images too.
        output: folder to write to, or None.
        plot: file of the drawing, or None.
        force: whether to overwrite files.
        data_dir: folder of tensorflow-datasets.
        download: whether to download a dataset.
        as_json: whether to print JSON.
    """

    models: tuple[str, ...]
    source: str
    split: str
    protocol: str
    scales: list[int] | None
    crf: "CRF | None"
    batch_size: int | None
    corruptions: bool
    output: str | None
    plot: str | None
    force: bool
    data_dir: str | None
    download: bool
    as_json: bool


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """The models, the images, and what belongs to them.

    Attributes:
        predictors: the models as they predict.
        preprocessing: of each model.
        source: with the classes of the first model.
        split: that is measured on.
        protocol: name of the protocol.
        task: of the models.
    """

    predictors: "list[Predictor]"
    preprocessing: "list[Preprocessing]"
    source: "Source"
    split: "Split"
    protocol: str
    task: "Task"


@dataclasses.dataclass(frozen=True)
class _Measured:
    """The results.

    Attributes:
        title: one line for tables and drawings.
        predictions: of all images, and their targets, where mistakes are drawn of them; else None.
        result: `evaluation.Result`.
        robustness: `evaluation.Robustness`, or None.
    """

    title: str
    predictions: "tuple[Probabilities, Labels] | None"
    result: "Result"
    robustness: "Robustness | None"


def _scales(context: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    """Return the whole numbers in a text, which are separated by commas."""
    if text is None:
        return None
    try:
        return [int(side) for side in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"must be pixels with commas between, as 256,384,512. Received: {text!r}") from None


@_options.command("cnn-evaluate", examples=EXAMPLES)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=_model.complete_model)
@_options.option(
    "--data",
    "source",
    required=True,
    metavar="SOURCE",
    shell_complete=_model.complete_source,
    section="Data",
    help="Images: digits, FILE.npz, FILE.csv, a folder, or tfds:NAME; with masks also shapes and COCO FILE.json.",
)
@_options.option(
    "--split",
    metavar="NAME",
    default="test",
    show_default=True,
    section="Data",
    help="Split to measure on; all: every image.",
)
@_options.option(
    "--protocol",
    type=click.Choice([*PROTOCOLS, RECIPE]),
    default="center",
    show_default=True,
    section="Measurement",
    help="Views of an image that the model gets; recipe: the protocol of the model's recipe.",
)
@_options.option(
    "--scales",
    callback=_scales,
    metavar="PIXELS,...",
    section="Measurement",
    help="Shorter sides to which images are resized, instead of the protocol's; the results of several are averaged.",
)
@_options.crf_option
@_options.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    section="Measurement",
    help="Views at a time; by default it depends on the input's size.",
)
@_options.option(
    "--corruptions", is_flag=True, section="Measurement", help="Measure on corrupted images too (one MODEL)."
)
@_options.option(
    "--output",
    type=click.Path(file_okay=False),
    metavar="DIR",
    section="Output",
    help="Write evaluation.json, confusion.png, reliability.png and mistakes.png there.",
)
@_options.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    section="Output",
    help="Draw some of the images with their predicted classes (one MODEL).",
)
@_options.force_option
@_options.data_dir_option
@_options.download_option
@_foreign.model_options
@_options.output_options
def command(**options: Any) -> None:
    """Measure accuracy, loss and calibration of MODEL on images.

    MODEL is a .keras file, or NAME:WEIGHTS such as nin:digits. A table shows recall, precision and F1 of each class;
    for a model that gives each pixel a class, its intersection over union.

    The probabilities of several models are averaged.
    """
    _evaluate(_Request(**options))


def _evaluate(request: _Request) -> None:
    """Measure as requested, then print, write and draw the results."""
    if len(request.models) > 1 and (request.corruptions or request.plot):
        raise click.UsageError(f"{'--corruptions' if request.corruptions else '--plot'} goes with one MODEL.")
    if request.plot:
        _common.prepare_plot(request.plot, request.force)
    files = _output_files(request.output, request) if request.output else {}
    loaded = _load(request)
    measured = _measure(request, loaded)
    values = _to_json(request, loaded, measured)
    if request.as_json:
        _output.print_json(values)
    else:
        _reports.print_result(measured.title, measured.result, measured.robustness)
    if files:
        _write(files, values, request, loaded, measured)
    if request.plot:
        _plot(request.plot, request, loaded, measured.title)


def _plot(path: str, request: _Request, loaded: _Loaded, title: str) -> None:
    """Draw some of the images with what is predicted for them."""
    from keras_cnns.evaluation import draw_predictions
    from keras_cnns.evaluation.plots import MOST_MASKS, draw_masks, draw_objects

    names = loaded.source.class_names
    if loaded.task.scored == "object":
        split = loaded.split.sample(MOST_MASKS)
        draw_objects(loaded.predictors[0], split, loaded.preprocessing[0], names, path, title)
    elif loaded.split.target.at_own_size:
        draw_masks(_whole_images(request, loaded), loaded.split.sample(MOST_MASKS), names, path, title)
    else:
        draw_predictions(loaded.predictors[0].model, loaded.split, loaded.preprocessing[0], names, path, title)


def _whole_images(request: _Request, loaded: _Loaded) -> "WholeImages":
    """Return how the models see whole images."""
    from keras_cnns.evaluation.maps import whole_images
    from keras_cnns.evaluation.protocols import find_protocol

    protocol = find_protocol(loaded.protocol)
    return whole_images(loaded.predictors, loaded.preprocessing, protocol, request.scales, request.crf)


def _output_files(folder: str, request: _Request) -> dict[str, Path]:
    """Check that the files can be written, and return them by stem."""
    names = ["evaluation.json", "confusion.png", "reliability.png", "mistakes.png"]
    if request.corruptions:
        names.append("robustness.png")
    paths = [Path(folder) / name for name in names]
    for path in paths:
        _common.prepare_plot(path, request.force)
    return {path.stem: path for path in paths}


def _load(request: _Request) -> _Loaded:
    """Open the models and the images, and check that they fit together."""
    opened = [_model.open_model(text) for text in request.models]
    from keras_cnns.tasks import task_for

    models, records = [model for model, _, _ in opened], [record for _, record, _ in opened]
    preprocessing = [
        _model.preprocessing_of(model, record, text)
        for model, record, text in zip(models, records, request.models, strict=True)
    ]
    source = _model.reopen(records[0], request.source, request.data_dir, request.download)
    _note_division(request.models[0], records[0], source, request.source)
    _model.print_notes(source, request.split)
    _check_classes(request.models, records, source)
    protocol = request.protocol
    if protocol == RECIPE:
        protocol = _recipe_protocol(records[0], request.models[0])
    split = source.split(request.split)
    task = task_for(split.target)
    predictors = [
        _model.predictor(task, model, source.class_names, text)
        for model, text in zip(models, request.models, strict=True)
    ]
    return _Loaded(predictors, preprocessing, source, split, protocol, task)


def _check_classes(texts: Sequence[str], records: "Sequence[ModelInfo | None]", source: "Source") -> None:
    """Raise ArgumentError unless all models have the classes of the first one."""
    from keras_cnns.errors import ArgumentError

    for text, record in zip(texts[1:], records[1:], strict=True):
        if record and record.class_names and source.class_names not in (record.class_names, record.class_ids):
            raise ArgumentError(
                f"models whose probabilities are averaged must have the same classes in the same order; measure "
                f"{text} by itself. Received: {text!r} with {', '.join(record.class_names[:10])}"
            )


def _note_division(model: str, record: "ModelInfo | None", source: "Source", name: str) -> None:
    """Say how a source's division relates to that of the training.

    Args:
        model: MODEL.
        record: of the model.
        source: as opened.
        name: SOURCE.
    """
    trained_on = (record and record.data) or {}
    if source.divisions:
        _output.note(f"{name} is divided as it was for the training of {model}")
    elif trained_on.get("divisions"):
        _output.note(
            f"{model} was trained on a part of {trained_on['source']}, which was divided for it; {name} has its own "
            "splits: if these are the same images, the model was trained on some of them"
        )


def _recipe_protocol(record: "ModelInfo | None", model: str) -> str:
    """Return the protocol of the recipe that a model was trained with."""
    from keras_cnns.errors import ArgumentError

    if not (record and record.recipe):
        raise ArgumentError(
            f"{model} does not say by which recipe it was trained; name one of {', '.join(PROTOCOLS)}. "
            f"Received: protocol={RECIPE!r}"
        )
    return record.recipe.get("protocol", "center")


def _measure(request: _Request, loaded: _Loaded) -> _Measured:
    """Return the results of the models on the split."""
    import numpy as np

    from keras_cnns.evaluation import robustness
    from keras_cnns.evaluation._streams import predict_batches

    def track(batches: Iterable) -> Iterable:
        return _output.track(batches, "images")

    metric, kept = loaded.task.metric(loaded.source.class_names), []
    for batch in predict_batches(
        loaded.predictors,
        loaded.split,
        loaded.preprocessing,
        protocol=loaded.protocol,
        scales=request.scales,
        crf=request.crf,
        batch_size=request.batch_size,
        progress=track,
    ):
        metric.update(*batch)
        if request.output and loaded.task.scored == "image":
            kept.append(batch)
    result, corrupted = metric.result(), None
    if request.corruptions:
        corrupted = robustness(
            loaded.predictors[0].model,
            loaded.split,
            loaded.preprocessing[0],
            batch_size=request.batch_size,
            progress=track,
        )
    predictions = (np.concatenate([of for of, _ in kept]), np.concatenate([of for _, of in kept])) if kept else None
    return _Measured(_title(request, loaded.protocol, result), predictions, result, corrupted)


def _title(request: _Request, protocol: str, result: "Result") -> str:
    how = "" if protocol == "center" else f", {protocol}"
    how += f" at {', '.join(map(str, request.scales))}" if request.scales else ""
    how += ", CRF" if request.crf else ""
    return f"{' + '.join(request.models)} on {request.split} of {request.source}{how}: {result.headline}"


def _to_json(request: _Request, loaded: _Loaded, measured: _Measured) -> dict[str, Any]:
    models: dict[str, Any] = {"models": request.models}
    if len(request.models) == 1:
        models = {"model": request.models[0]}
    values = {
        **models,
        "data": request.source,
        "split": request.split,
        "protocol": loaded.protocol,
        "scales": request.scales,
        **({"crf": dataclasses.asdict(request.crf)} if request.crf else {}),
        **measured.result.to_json(),
    }
    files = getattr(loaded.split, "items", None)  # paths, or images in memory
    if values.get("worst") and files is not None and isinstance(files[0], str):
        values["worst"] = [{"image": files[entry["place"]], **entry} for entry in values["worst"]]
    if measured.robustness:
        values["robustness"] = measured.robustness.to_json()
    return values


def _write(
    files: Mapping[str, Path], values: Mapping[str, Any], request: _Request, loaded: _Loaded, measured: _Measured
) -> None:
    """Write the JSON file and the drawings."""
    from keras_cnns import _files, _render
    from keras_cnns.evaluation import draw_result

    result, title = measured.result, measured.title
    _files.write_json(files["evaluation"], values)
    draw_result(result, files["evaluation"].parent, title)
    if not _draw_mistakes(files["mistakes"], request, loaded, measured):
        files["mistakes"].unlink(missing_ok=True)  # a drawing of the run that --force overwrites
        if loaded.task.scored != "object":  # of which no prediction is the one of an image
            _output.note(f"{files['mistakes']}: not written, as there was no mistake")
    if measured.robustness:
        clean, corrupted = measured.robustness.clean, measured.robustness.corrupted
        _render.robustness_curves(clean, corrupted, files["robustness"], title)


def _draw_mistakes(path: Path, request: _Request, loaded: _Loaded, measured: _Measured) -> bool:
    """Draw the worst predictions, and return whether there was a mistake."""
    from keras_cnns.evaluation import draw_mistakes
    from keras_cnns.evaluation.plots import draw_masks

    names, title, worst = loaded.source.class_names, measured.title, measured.result.worst
    if measured.predictions:
        return draw_mistakes(*measured.predictions, loaded.split, loaded.preprocessing[0], names, path, title)
    if worst:
        draw_masks(_whole_images(request, loaded), loaded.split, names, path, title, places=tuple(worst))
    return bool(worst)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _common.run(command, arguments)
