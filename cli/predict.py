"""cnn-predict: what is in an image."""

import os

import click
from keras_cnns.cli import _common, _foreign, _model

CHUNK = 256  # images read at a time, so that a folder of any size fits into memory


@click.command("cnn-predict", epilog=_common.EXIT_CODES)
@click.argument("model", shell_complete=_model.complete_model)
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGE...")
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes to show.")
@click.option(
    "--csv", "as_csv", is_flag=True, help="Print CSV: path, rank, class, probability; --top 1: a row per image."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write what --csv or --json gives to FILE, whole or not at all.",
)
@click.option("--skip-broken", is_flag=True, help="Leave out images that cannot be read; each is named.")
@_common.force_option
@_foreign.model_options
@_common.options
def command(model, images, top, as_csv, output, skip_broken, force, as_json):
    """Show the most probable classes of each IMAGE, by MODEL (a .keras file, or NAME:WEIGHTS as nin:digits).

    IMAGE is a file of any size and common format, gray, colored or partly transparent (shown on white); or a folder,
    of which all images are taken, those in its subfolders too.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv and --json are two forms of the result: give one of them.")
    if output and not (as_csv or as_json):
        raise click.UsageError("--output goes with --csv or --json.")
    if output:
        _common.prepare_plot(output, force)
    loaded, record, _ = _model.open_model(model)
    paths = _files(images)
    from keras_cnns._models import main_output, names_of_classes
    from keras_cnns.applications import decode_predictions

    loaded = _model.classifier(loaded, record and record.class_names, model)
    preprocessing = _model.preprocessing_of(loaded, record, model)
    paths, probabilities = _predict(main_output(loaded), paths, preprocessing, skip_broken)
    names = names_of_classes(record and record.class_names, probabilities.shape[1])
    found = list(zip(paths, decode_predictions(probabilities, names, top=top), strict=True))
    if as_csv:
        text = _csv(found)
    elif as_json:
        text = [
            {"image": path, "predictions": [{"class": name, "probability": p} for name, p in pairs]}
            for path, pairs in found
        ]
    if output:
        from keras_cnns import _files as files

        if as_json:
            files.write_json(output, text)
        else:
            with files.writing(output) as temporary:  # names of files may hold bytes that are no UTF-8
                temporary.write_text(text, "utf8", "backslashreplace", newline="")
        _common.note(f"{output}: {_common.counted(len(found), 'image')}")
    elif as_json:
        _common.print_json(text)
    elif as_csv:
        _common.echo(text.removesuffix("\n"))
    else:
        rows = [
            (path if k == 0 else "", name, f"{probability:.2%}")
            for path, pairs in found
            for k, (name, probability) in enumerate(pairs)
        ]
        _common.table(model, [("image",), ("class", "left", 0), ("probability", "right", 0)], rows)


def _files(images):
    """Return the paths of the images, in the given order, those of a folder by name.

    Folders are searched as deep as they go. What is no image is counted and named on stderr; hidden files and folders
    are passed over, as other programs keep their own there.

    Raises:
        SourceError: if there is no such file, or no image in a folder.
    """
    from keras_cnns.data.image_listing import Listing
    from keras_cnns.errors import SourceError, nearest

    paths = []
    for given in images:
        if "://" in given and not os.path.lexists(given):
            raise SourceError(f"{given}: an address is not fetched. Download the image and name its file.")
        if not os.path.lexists(given):
            folder = os.path.dirname(given)
            near = nearest(os.path.basename(given), os.listdir(folder or ".") if os.path.isdir(folder or ".") else [])
            raise SourceError(f"{given}: No such file or folder.{near}")
        if not os.path.isdir(given):
            paths.append(given)
            continue
        listing = Listing()
        found = listing.images_below(given)
        for skipped in listing.skipped:
            _common.note(f"{given}: left out {skipped}")
        if not found:
            raise SourceError(f"{given}: holds no images{listing.hint()}. Add some, or name another folder.")
        paths += found
    return paths


def _predict(model, paths, preprocessing, skip_broken):
    """Return (paths, probabilities of each), without those that cannot be read if these are to be skipped."""
    import numpy as np

    from keras_cnns.data.broken_images import unreadable
    from keras_cnns.errors import SourceError
    from keras_cnns.evaluation import predict_images

    if skip_broken:
        broken = unreadable(paths)
        for error in broken.values():
            _common.note(f"left out: {error}")
        _common.note(f"{_common.counted(len(broken), 'image')} that cannot be read left out")
        paths = [path for path in paths if path not in broken]
        if not paths:
            raise SourceError("none of the images can be read. Replace them.")
    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    shown = _common.track(chunks, "images") if len(chunks) > 1 else chunks
    return paths, np.concatenate([predict_images(model, chunk, preprocessing) for chunk in shown])


def _csv(found):
    """Return the predictions as CSV."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "rank", "class", "probability"])
    writer.writerows(
        (path, rank, name, probability)
        for path, pairs in found
        for rank, (name, probability) in enumerate(pairs, start=1)
    )
    return text.getvalue()


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
