"""cnn-evaluate: how well models do on a split of images."""

import click
from keras_cnns.cli import _common, _foreign, _model

from keras_cnns.evaluation.protocols import PROTOCOLS

RECIPE = "recipe"


def _scales(context, parameter, text):
    if text is None:
        return None
    try:
        return [int(side) for side in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"must be pixels with commas between, as 256,384,512. Received: {text!r}") from None


@click.command("cnn-evaluate", epilog=_common.EXIT_CODES)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True, shell_complete=_model.complete_model)
@click.option(
    "--data",
    "source",
    required=True,
    metavar="SOURCE",
    shell_complete=_model.complete_source,
    help="Images: digits, FILE.npz, FILE.csv, a folder, or tfds:NAME.",
)
@click.option("--split", default="test", show_default=True, help="Which part of them; all: every image.")
@click.option(
    "--protocol",
    type=click.Choice([*PROTOCOLS, RECIPE]),
    default="center",
    show_default=True,
    help="Which views of an image are shown; recipe: as the paper of the model's recipe did.",
)
@click.option(
    "--scales",
    callback=_scales,
    metavar="PIXELS,...",
    help="Shorter sides that images are resized to, in place of the protocol's; several are averaged.",
)
@click.option("--batch-size", type=click.IntRange(1), help="Views at a time.  [default: by the input's size]")
@click.option("--corruptions", is_flag=True, help="Measure on corrupted images too; one model.")
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write evaluation.json, confusion.png, reliability.png and mistakes.png there.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    help="Draw some of the images with their predicted classes; one model.",
)
@_common.force_option
@_common.data_dir_option
@_common.download_option
@_foreign.model_options
@_common.options
def command(
    models,
    source,
    split,
    protocol,
    scales,
    batch_size,
    corruptions,
    output,
    plot,
    force,
    data_dir,
    download,
    as_json,
):
    """Measure MODEL (a .keras file, or NAME:WEIGHTS as nin:digits): top-1, top-5, loss, calibration, each class.

    The probabilities of several models are averaged.
    """
    if len(models) > 1 and (corruptions or plot):
        raise click.UsageError(f"{'--corruptions' if corruptions else '--plot'} goes with one MODEL.")
    if plot:
        _common.prepare_plot(plot, force)
    written = _written(output, corruptions, force) if output else {}
    opened_models = [_model.open_model(model) for model in models]
    from keras_cnns.errors import ArgumentError
    from keras_cnns.evaluation import draw_predictions, predict_split, robustness, score
    from keras_cnns.evaluation.evaluator import check_outputs

    records = [record for _, record, _ in opened_models]
    loaded = [model for model, _, _ in opened_models]
    preprocessing = [_model.preprocessing_of(*one) for one in zip(loaded, records, models, strict=True)]
    opened = _model.reopen(records[0], source, data_dir, download)
    _say_division(models[0], records[0], opened, source)
    _model.tell(opened, split)
    for model, record in zip(models[1:], records[1:], strict=True):
        if record and record.class_names and opened.class_names not in (record.class_names, record.class_ids):
            raise ArgumentError(
                f"models whose probabilities are averaged must have the same classes in the same order; measure "
                f"{model} by itself. Received: {model!r} with {', '.join(record.class_names[:10])}"
            )
    protocol = _recipes(records[0], models[0]) if protocol == RECIPE else protocol
    images = opened.split(split)

    def track(batches):
        return _common.track(batches, "images")

    options = {"protocol": protocol, "scales": scales, "batch_size": batch_size, "progress": track}
    loaded = [
        check_outputs(_model.classifier(member, opened.class_names, text), opened.class_names)
        for member, text in zip(loaded, models, strict=True)
    ]
    probabilities, labels = predict_split(loaded, images, preprocessing, **options)
    result = score(probabilities, labels, opened.class_names)
    spoiled = None
    if corruptions:
        spoiled = robustness(loaded[0], images, preprocessing[0], batch_size=batch_size, progress=track)

    how = "" if protocol == "center" else f", {protocol}"
    how += f" at {', '.join(map(str, scales))}" if scales else ""
    # Among five classes or fewer the five best are all
    top5 = f" top-5 {result.top5:.2%}," if len(result.per_class) > 5 else ""
    title = f"{' + '.join(models)} on {split} of {source}{how}: top-1 {result.top1:.2%},{top5} loss {result.loss:.4f}"
    values = {
        **({"model": models[0]} if len(models) == 1 else {"models": models}),
        **{"data": source, "split": split, "protocol": protocol, "scales": scales},
        **result.to_json(),
        **({"robustness": spoiled.to_json()} if spoiled else {}),
    }
    if as_json:
        _common.print_json(values)
    else:
        _print(title, result, spoiled)
    if output:
        _write(written, values, title, result, spoiled, (probabilities, labels), images, preprocessing[0])
    if plot:
        draw_predictions(loaded[0], images, preprocessing[0], opened.class_names, plot, title)


def _written(output, corruptions, force):
    """Return the files to write by their stems, after a check that they can be."""
    from pathlib import Path

    names = ["evaluation.json", "confusion.png", "reliability.png", "mistakes.png"]
    paths = [Path(output) / name for name in [*names, *(["robustness.png"] if corruptions else [])]]
    for path in paths:
        _common.prepare_plot(path, force)
    return {path.stem: path for path in paths}


def _say_division(model, record, opened, source):
    """Say which part of a divided source is measured on."""
    trained_on = (record and record.data) or {}
    if opened.divisions:
        _common.note(f"{source} is divided as it was for the training of {model}")
    elif trained_on.get("divisions"):
        _common.note(
            f"{model} was trained on a part of {trained_on['source']}, divided anew; {source} has its own splits: if "
            f"these are the same images, some were trained on"
        )


def _recipes(record, model):
    """Return the protocol of the recipe that a model was trained by."""
    from keras_cnns.errors import ArgumentError

    if not (record and record.recipe):
        raise ArgumentError(
            f"{model} does not say by which recipe it was trained; name one of {', '.join(PROTOCOLS)}. "
            f"Received: protocol={RECIPE!r}"
        )
    return record.recipe.get("protocol", "center")


def _print(title, result, spoiled):
    measures = [result.recall, result.precision, result.f1]
    rows = [
        (name, f"{sum(row):,}", *("" if measure[name] is None else f"{measure[name]:.2%}" for measure in measures))
        for name, row in zip(result.per_class, result.confusion, strict=True)
    ]
    rows.append(("all", f"{result.examples:,}", f"{result.top1:.2%}", "", ""))
    columns = [
        ("class",),
        ("images", "right", 0),
        ("recall", "right", 0),
        ("precision", "right", 1),
        ("F1", "right", 2),
    ]
    _common.table(title, columns, rows)
    _common.echo(f"expected calibration error {result.calibration_error:.2%}")
    if spoiled:
        rows = [(name, *(f"{value:.1%}" for value in values)) for name, values in spoiled.corrupted.items()]
        ranks = {1: 1, 5: 2, 3: 3, 2: 4, 4: 5}
        columns = [("corruption",), *((f"severity {k}", "right", ranks[k]) for k in range(1, 6))]
        _common.table(f"top-1 on corrupted images: mean {spoiled.mean:.2%}", columns, rows)


def _write(written, values, title, result, spoiled, predicted, images, preprocessing):
    """Write the JSON file and the drawings."""
    from keras_cnns import _files, _render
    from keras_cnns.evaluation import draw_mistakes, draw_result

    folder = written["evaluation"].parent
    _files.write_json(written["evaluation"], values)
    draw_result(result, folder, title)
    if not draw_mistakes(*predicted, images, preprocessing, list(result.per_class), written["mistakes"], title):
        written["mistakes"].unlink(missing_ok=True)  # of the run that is overwritten
        _common.note(f"{written['mistakes']}: not written, as there was no mistake")
    if spoiled:
        _render.robustness_curves(spoiled.clean, spoiled.corrupted, written["robustness"], title)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
