"""cnn-evaluate: how well a model does on a split of pictures."""

import click
from keras_cnns.cli import _common


@click.command("cnn-evaluate", epilog=_common.EXIT_CODES)
@click.argument("model")
@click.option(
    "--data",
    "source",
    required=True,
    metavar="SOURCE",
    help="Pictures: digits, FILE.npz, a folder, or tfds:NAME.",
)
@click.option("--split", default="test", show_default=True, help="Which part of them.")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Pictures at a time.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    help="Draw some of the pictures with their predicted classes.",
)
@_common.force_option
@_common.data_dir_option
@_common.download_option
@_common.options
def command(model, source, split, batch_size, plot, force, data_dir, download, as_json):
    """Measure MODEL (a .keras file, or NAME:WEIGHTS as nin:digits): top-1, top-5, loss, each class."""
    if plot:
        _common.prepare_plot(plot, force)
    loaded, record, _ = _common.open_model(model)
    from keras_cnns._models import check_classes
    from keras_cnns.data import reopen_source
    from keras_cnns.evaluation import draw_predictions, evaluate

    preprocessing = _common.preprocessing_of(loaded, record, model)

    trained_on = record.data if record and record.data else {}
    opened = reopen_source(trained_on, source, data_dir=data_dir, download=download)
    if opened.divisions:
        _common.note(f"{source} is divided as it was for the training of {model}")
    elif trained_on.get("divisions"):
        _common.note(
            f"{model} was trained on a part of {trained_on['source']}, divided anew; {source} has its own splits: if "
            f"these are the same pictures, some were trained on"
        )
    if record and record.class_names:
        check_classes(record.class_names, opened.class_names, source)
    split_pictures = opened.split(split)
    result = evaluate(
        loaded,
        split_pictures,
        preprocessing,
        opened.class_names,
        batch_size=batch_size,
        progress=lambda batches: _common.track(batches, "pictures"),
    )
    title = f"{model} on {split} of {source}: top-1 {result.top1:.2%}, top-5 {result.top5:.2%}, loss {result.loss:.4f}"
    if as_json:
        _common.print_json({"model": model, "data": source, "split": split, **result.to_json()})
    else:
        counts = [sum(row) for row in result.confusion]
        rows = [
            (name, count, "" if share is None else f"{share:.2%}")
            for (name, share), count in zip(result.per_class.items(), counts, strict=True)
        ]
        rows.append(("all", result.examples, f"{result.top1:.2%}"))
        _common.table(title, [("class", "left"), ("pictures", "right"), ("top-1", "right")], rows)
    if plot:
        draw_predictions(loaded, split_pictures, preprocessing, opened.class_names, plot, title)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
