"""cnn-predict: what is in a picture."""

import click
from keras_cnns.cli import _common


@click.command("cnn-predict", epilog=_common.EXIT_CODES)
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGE...")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to show.")
@_common.model_options
@_common.options
def command(model, images, top, as_json):
    """Show the most probable classes of each IMAGE, by MODEL (a .keras file, or NAME:WEIGHTS as nin:digits).

    Pictures may be of any size and of any common format, gray, colored or partly transparent (shown on white).
    """
    loaded, record, _ = _common.open_model(model)
    from keras_cnns._models import names_of_classes
    from keras_cnns.applications import decode_predictions
    from keras_cnns.evaluation import predict_pictures

    loaded = _common.classifier(loaded, record and record.class_names, model)
    preprocessing = _common.preprocessing_of(loaded, record, model)
    probabilities = predict_pictures(loaded, images, preprocessing)
    names = names_of_classes(record and record.class_names, probabilities.shape[1])
    best = decode_predictions(probabilities, names, top=top)
    if as_json:
        _common.print_json(
            [
                {"image": image, "predictions": [{"class": name, "probability": p} for name, p in pairs]}
                for image, pairs in zip(images, best, strict=True)
            ]
        )
        return
    rows = [
        (image if k == 0 else "", name, f"{probability:.2%}")
        for image, pairs in zip(images, best, strict=True)
        for k, (name, probability) in enumerate(pairs)
    ]
    _common.table(model, [("image", "left"), ("class", "left"), ("probability", "right")], rows)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
