"""cnn-visualize: look inside a model."""

import os

import click
from keras_cnns.cli import _common, _foreign, _model

from keras_cnns.analysis.visualizations import VISUALIZATIONS

USUAL = ("cam", "occlusion", "saliency")
EPILOG = "\n\n".join([*(f"{name}: {kind.shows}" for name, kind in VISUALIZATIONS.items()), _common.EXIT_CODES])


@click.command("cnn-visualize", epilog=EPILOG)
@click.argument("model", shell_complete=_model.complete_model)
@click.argument("images", nargs=-1, type=click.Path(), metavar="[IMAGE]...")
@click.option(
    "--what",
    type=click.Choice([*VISUALIZATIONS, "all"]),
    multiple=True,
    metavar="NAME",
    help=f"What to draw; may be given again.  [default: {', '.join(USUAL)}; with --report: all]",
)
@click.option("--layer", metavar="NAME", help="Layer to look at, as cnn-info lists them.")
@click.option("--unit", "units", type=click.IntRange(0), multiple=True, help="Channel of it; may be given again.")
@click.option("--target", metavar="CLASS", help="Class to ask about.  [default: the most probable of each image]")
@click.option("--data", "source", metavar="SOURCE", help="Images with labels, beside or in place of IMAGE.")
@click.option("--split", default="test", show_default=True, help="Which part of them.")
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="How many of them.")
@click.option("--output", default="visualized", show_default=True, type=click.Path(file_okay=False), metavar="DIR")
@click.option("--report", is_flag=True, help="Write report.html too, one page with everything in it.")
@_common.force_option
@_common.data_dir_option
@_common.download_option
@_foreign.model_options
@_common.options_without_table
def command(
    model, images, what, layer, units, target, source, split, count, output, report, force, data_dir, download, as_json
):
    """Draw what is inside MODEL (a .keras file, or NAME:WEIGHTS as nin:digits), and what it sees in each IMAGE."""
    from pathlib import Path

    every = "all" in what or (report and not what)
    kinds = list(VISUALIZATIONS) if every else list(dict.fromkeys(what or USUAL))
    _check(kinds, what, images, source, report)
    paths = {kind: Path(output) / f"{kind}.png" for kind in kinds}
    page = Path(output) / "report.html" if report else None
    for path in [*paths.values(), *([page] if page else [])]:
        _common.prepare_plot(path, force)
    loaded, record, _ = _model.open_model(model)
    from keras_cnns import _models
    from keras_cnns.analysis._visualize import visualize
    from keras_cnns.errors import ArgumentError

    preprocessing = _model.preprocessing_of(loaded, record, model)
    names = list(record.class_names) if record and record.class_names else None
    loaded = _models.two_classes(_models.main_output(loaded), names or ())
    given, sampled = _images(images, source, split, count, data_dir, download, record, preprocessing)
    options = {
        "class_names": names,
        "layer": layer,
        "units": list(units) or None,
        "target": None if target is None else _class_number(target, names, loaded),
    }
    shown = {}
    for kind in _common.track(kinds, "drawings"):
        # What needs many images, or labels, looks at the source where there is one
        of_source = sampled is not None and (VISUALIZATIONS[kind].needs == "labels" or kind in ("deconv", "activity"))
        try:
            shown[kind] = paths[kind], visualize(loaded, kind, paths[kind], sampled if of_source else given, **options)
        except ArgumentError as error:
            if not every or kind in what:
                raise
            shown[kind] = None, str(error)
    if page:
        from keras_cnns.analysis.report import write_report

        few = given.first(12)
        probabilities = _models.to_probabilities(loaded, loaded.predict_on_batch(few.images))
        classes = _models.names_of_classes(names, probabilities.shape[1])
        write_report(page, loaded, few, probabilities, classes, shown, f"{model}, looked into")
    if as_json:
        drawn = [
            {"what": kind, "file": str(file) if file else None, "shows": VISUALIZATIONS[kind].shows, "says": sentence}
            for kind, (file, sentence) in shown.items()
        ]
        _common.print_json({"model": model, "drawings": drawn, "report": str(page) if page else None})
        return
    for kind, (file, sentence) in shown.items():
        click.echo(
            f"{kind}: not drawn. {sentence}" if file is None else f"{file}: {VISUALIZATIONS[kind].shows} {sentence}"
        )
    if page:
        click.echo(f"{page}: everything on one page.")


def _check(kinds, what, images, source, report):
    """Raise a usage error if the images that are needed are not given."""
    if not source and (labeled := [kind for kind in kinds if kind in what and VISUALIZATIONS[kind].needs == "labels"]):
        raise click.UsageError(f"{labeled[0]} needs images whose classes are known: --data SOURCE.")
    if folders := [path for path in images if os.path.isdir(path)]:
        raise click.UsageError(f"IMAGE is a file, and this is a folder: {folders[0]}. Name its files, or give --data.")
    if not (images or source) and (report or any(VISUALIZATIONS[kind].needs != "nothing" for kind in kinds)):
        raise click.UsageError("give images to look at: IMAGE... or --data SOURCE.")


def _images(images, source, split, count, data_dir, download, record, preprocessing):
    """Return (`Images` to show, `Images` of the source or None)."""
    from keras_cnns.analysis._image_set import read_images, sample_images

    sampled = None
    if source:
        opened = _model.reopen(record, source, data_dir, download)
        _model.tell(opened, split)
        sampled = sample_images(opened.split(split), preprocessing, opened.class_names, count)
    return (read_images(images, preprocessing) if images else sampled), sampled


def _class_number(target, names, model):
    """Return the number of a class given by name or number; raise ArgumentError if there is none such."""
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


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
