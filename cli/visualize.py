"""cnn-visualize: drawings of a model's inside."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _common, _foreign, _model, _options, _output

from keras_cnns.analysis.visualizations import VISUALIZATIONS

if TYPE_CHECKING:
    import keras

    from keras_cnns.analysis._image_set import ImageSet
    from keras_cnns.data import Preprocessing
    from keras_cnns.saving import ModelInfo

USUAL = ("cam", "occlusion", "saliency")
ON_REPORT = 12  # images on the first rows of the report
EXAMPLES = (
    "cnn-visualize nin:digits digit.png",
    "cnn-visualize nin:digits --data digits --what deconv --layer conv2",
)


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line.

    Attributes:
        model: MODEL.
        images: files.
        what: names of the drawings.
        layer: name of a layer, or None.
        units: channels of the layer.
        target: name or number of a class, or None.
        source: images with labels, or None.
        split: part of the source.
        count: how many images of the source.
        output: folder to write to.
        report: whether to write report.html.
        force: whether to overwrite files.
        data_dir: folder of tensorflow-datasets.
        download: whether to download a dataset.
        as_json: whether to print JSON.
    """

    model: str
    images: tuple[str, ...]
    what: tuple[str, ...]
    layer: str | None
    units: tuple[int, ...]
    target: str | None
    source: str | None
    split: str
    count: int
    output: str
    report: bool
    force: bool
    data_dir: str | None
    download: bool
    as_json: bool

    @property
    def everything(self) -> bool:
        """Return whether to draw everything that can be drawn, skipping the rest."""
        return "all" in self.what or (self.report and not self.what)

    @property
    def kinds(self) -> list[str]:
        """Return the names of the drawings to make."""
        return list(VISUALIZATIONS) if self.everything else list(dict.fromkeys(self.what or USUAL))

    @property
    def page(self) -> Path | None:
        """Return the path of the report, None without --report."""
        return Path(self.output) / "report.html" if self.report else None


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """One drawing.

    Attributes:
        kind: name of the visualization.
        file: where it was written; None if it could not be drawn.
        sentence: its result in words, or why it could not be drawn.
    """

    kind: str
    file: Path | None
    sentence: str


@_options.command(
    "cnn-visualize",
    examples=EXAMPLES,
    lists={"Drawings (--what)": [(name, kind.shows) for name, kind in VISUALIZATIONS.items()]},
)
@click.argument("model", shell_complete=_model.complete_model)
@click.argument("images", nargs=-1, type=click.Path(), metavar="[IMAGE]...")
@_options.option(
    "--what",
    type=click.Choice([*VISUALIZATIONS, "all"]),
    multiple=True,
    metavar="NAME",
    section="Drawing",
    help=f"What to draw; may be repeated.  [default: {', '.join(USUAL)}; with --report: all]",
)
@_options.option("--layer", metavar="NAME", section="Drawing", help="Layer to look at, as cnn-info lists them.")
@_options.option(
    "--unit",
    "units",
    type=click.IntRange(0),
    metavar="N",
    multiple=True,
    section="Drawing",
    help="Channel of the layer; may be repeated.",
)
@_options.option(
    "--target",
    metavar="CLASS",
    section="Drawing",
    help="Class to explain, by name or number.  [default: the most probable class of each image]",
)
@_options.option(
    "--data", "source", metavar="SOURCE", section="Data", help="Images with labels, instead of IMAGE or in addition."
)
@_options.option(
    "--split", metavar="NAME", default="test", show_default=True, section="Data", help="Split of SOURCE to use."
)
@_options.option(
    "--count",
    type=click.IntRange(1),
    metavar="N",
    default=200,
    show_default=True,
    section="Data",
    help="Number of images of SOURCE.",
)
@_options.option(
    "--output",
    default="visualized",
    show_default=True,
    type=click.Path(file_okay=False),
    metavar="DIR",
    section="Output",
    help="Folder to write to.",
)
@_options.option("--report", is_flag=True, section="Output", help="Also write report.html, one page with everything.")
@_options.force_option
@_options.data_dir_option
@_options.download_option
@_foreign.model_options
@_options.output_options_without_table
def command(**options: Any) -> None:
    """Draw the inside of MODEL, and what it sees in each IMAGE.

    MODEL is a .keras file, or NAME:WEIGHTS such as nin:digits; IMAGE is a file.
    """
    _visualize(_Request(**options))


def _visualize(request: _Request) -> None:
    """Draw as requested, write the report, and print the results."""
    _check(request)
    pages = [request.page] if request.page else []
    for path in [*(_file(request, kind) for kind in request.kinds), *pages]:
        _common.prepare_plot(path, request.force)
    model, record, _ = _model.open_model(request.model)
    from keras_cnns.tasks import task_of

    preprocessing = _model.preprocessing_of(model, record, request.model)
    names = list(record.class_names) if record and record.class_names else None
    model = task_of(record).image_scores(model, names or ())
    shown, sampled = _images(request, record, preprocessing)
    drawings = _draw(request, model, names, shown, sampled)
    if request.page and shown:
        _write_report(request, model, names, shown, drawings)
    _print_drawings(request, drawings)


def _file(request: _Request, kind: str) -> Path:
    return Path(request.output) / f"{kind}.png"


def _check(request: _Request) -> None:
    """Raise a usage error if images are missing that the drawings need."""
    kinds, source = request.kinds, request.source
    labeled = [kind for kind in kinds if kind in request.what and VISUALIZATIONS[kind].needs == "labels"]
    if labeled and not source:
        raise click.UsageError(f"{labeled[0]} needs images whose classes are known: --data SOURCE.")
    if folders := [path for path in request.images if os.path.isdir(path)]:
        raise click.UsageError(f"IMAGE is a file, and this is a folder: {folders[0]}. Name its files, or give --data.")
    needs_images = request.report or any(VISUALIZATIONS[kind].needs != "nothing" for kind in kinds)
    if needs_images and not (request.images or source):
        raise click.UsageError("give images to look at: IMAGE... or --data SOURCE.")


def _images(
    request: _Request, record: "ModelInfo | None", preprocessing: "Preprocessing"
) -> "tuple[ImageSet | None, ImageSet | None]":
    """Return the images to show, and those of the source."""
    from keras_cnns.analysis._image_set import read_images, sample_images

    sampled = None
    if request.source:
        source = _model.reopen(record, request.source, request.data_dir, request.download)
        _model.print_notes(source, request.split)
        sampled = sample_images(source.split(request.split), preprocessing, source.class_names, request.count)
    return (read_images(request.images, preprocessing) if request.images else sampled), sampled


def _draw(
    request: _Request,
    model: "keras.Model",
    names: list[str] | None,
    shown: "ImageSet | None",
    sampled: "ImageSet | None",
) -> list[_Drawing]:
    """Write the drawings, with progress on stderr.

    Args:
        request: the command line.
        model: `keras.Model`.
        names: of its classes, if known.
        shown: images to show.
        sampled: images of the source.
    """
    from keras_cnns.analysis._visualize import visualize
    from keras_cnns.errors import ArgumentError

    options = {
        "class_names": names,
        "layer": request.layer,
        "units": list(request.units) or None,
        "target": None if request.target is None else _class_number(request.target, names, model),
    }
    drawings = []
    for kind in _output.track(request.kinds, "drawings"):
        # Drawings that need labels or many images use the source if there is one
        needs_source = VISUALIZATIONS[kind].needs == "labels" or kind in ("deconv", "activity")
        images = sampled if needs_source and sampled is not None else shown
        path = _file(request, kind)
        try:
            drawings.append(_Drawing(kind, path, visualize(model, kind, path, images, **options)))
        except ArgumentError as error:
            if not request.everything or kind in request.what:
                raise
            drawings.append(_Drawing(kind, None, str(error)))
    return drawings


def _class_number(target: str, names: list[str] | None, model: "keras.Model") -> int:
    """Return the number of a class given by name or number.

    Raises:
        ArgumentError: if there is no such class.
    """
    from keras_cnns.errors import ArgumentError, nearest

    classes = model.outputs[0].shape[-1]
    if names and target in names:
        return names.index(target)
    if target.isdecimal() and int(target) < classes:
        return int(target)
    near = nearest(target, names or ())
    raise ArgumentError(
        f"`target` must be a class of the model, by name or by its number, 0 to {classes - 1}.{near} "
        f"Received: target={target!r}"
    )


def _write_report(
    request: _Request, model: "keras.Model", names: list[str] | None, shown: "ImageSet", drawings: list[_Drawing]
) -> None:
    """Write one page with all drawings and the predictions for some images."""
    from keras_cnns.analysis.report import write_report
    from keras_cnns.tasks import classifiers

    images = shown.first(ON_REPORT)
    probabilities = classifiers.to_probabilities(model, model.predict_on_batch(images.images))
    classes = classifiers.names_of_classes(names, probabilities.shape[1])
    parts = {drawing.kind: (drawing.file, drawing.sentence) for drawing in drawings}
    write_report(request.page, model, images, probabilities, classes, parts, f"Inside {request.model}")


def _print_drawings(request: _Request, drawings: list[_Drawing]) -> None:
    """Print the file and the result of each drawing."""
    if request.as_json:
        values = [
            {
                "what": drawing.kind,
                "file": str(drawing.file) if drawing.file else None,
                "shows": VISUALIZATIONS[drawing.kind].shows,
                "says": drawing.sentence,
            }
            for drawing in drawings
        ]
        report = str(request.page) if request.page else None
        _output.print_json({"model": request.model, "drawings": values, "report": report})
        return
    for drawing in drawings:
        if drawing.file is None:
            click.echo(f"{drawing.kind}: not drawn. {drawing.sentence}")
        else:
            click.echo(f"{drawing.file}: {VISUALIZATIONS[drawing.kind].shows} {drawing.sentence}")
    if request.page:
        click.echo(f"{request.page}: everything on one page.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _common.run(command, arguments)
