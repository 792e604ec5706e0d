"""cnn-predict: the classes of images, pixels or objects."""

import collections
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _common, _foreign, _model, _objects, _options, _output

if TYPE_CHECKING:
    import keras

    from keras_cnns.data import Preprocessing
    from keras_cnns.evaluation import CRF
    from keras_cnns.saving import ModelInfo
    from keras_cnns.tasks import Task
    from keras_cnns.typing import Probabilities

CHUNK = 256  # images read at a time, so that a folder of any size fits into memory
EXAMPLES = (
    "cnn-predict nin:digits digit.png",
    "cnn-predict runs/digits/model.keras photos/ --csv --output table.csv",
)

Prediction = tuple[str, list[tuple[str, float]]]  # path of an image; its classes and probabilities, best first


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line.

    Attributes:
        model: MODEL.
        images: files and folders.
        top: number of classes per image.
        min_score: least score of objects.
        crf: `evaluation.CRF` that refines masks, or None.
        as_csv: whether to print CSV.
        output: file to write, or for masks a folder; or None.
        skip_broken: whether to leave out unreadable images.
        force: whether to overwrite the file.
        as_json: whether to print JSON.
    """

    model: str
    images: tuple[str, ...]
    top: int
    min_score: float | None
    crf: "CRF | None"
    as_csv: bool
    output: str | None
    skip_broken: bool
    force: bool
    as_json: bool


@_options.command("cnn-predict", examples=EXAMPLES)
@click.argument("model", shell_complete=_model.complete_model)
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGE...")
@_options.skip_broken_option
@_options.crf_option
@_options.option(
    "--top",
    type=click.IntRange(1),
    metavar="N",
    default=5,
    show_default=True,
    section="Output",
    help="Number of classes shown.",
)
@_options.option(
    "--min-score",
    type=click.FloatRange(0, 1),
    metavar="SCORE",
    section="Output",
    help="Least score of an object, for a MODEL that finds objects.  [default: 0.3]",
)
@_options.option(
    "--csv",
    "as_csv",
    is_flag=True,
    section="Output",
    help="Print CSV: path, rank, class, probability; with --top 1, one row per image. Of objects: path, class, score "
    "and box.",
)
@_options.option(
    "--output",
    type=click.Path(),
    metavar="PATH",
    section="Output",
    help="Write the result of --csv or --json to a file, which is complete or not written; for a MODEL that gives each "
    "pixel a class, the folder of the masks; for one that finds objects, that of drawings.",
)
@_options.force_option
@_foreign.model_options
@_options.output_options
def command(**options: Any) -> None:
    """Show the most probable classes of each IMAGE.

    For a MODEL that gives each pixel a class, their shares of the pixels are shown, and --output DIR gets the masks,
    as palette PNGs in the image's size, and the images with their masks laid over them. For a MODEL that finds
    objects, their boxes are shown in pixels, and --output DIR gets the images with the boxes drawn.

    MODEL is a .keras file, or NAME:WEIGHTS such as nin:digits.

    IMAGE is a file of any size and common format, gray, colored or partly transparent (shown on white); or a folder,
    whose images, including those in its subfolders, are all used.
    """
    request = _Request(**options)
    if request.as_csv and request.as_json:
        raise click.UsageError("--csv and --json are two forms of the result: give one of them.")
    model, record, _ = _model.open_model(request.model)
    from keras_cnns.tasks import task_of

    task = task_of(record)
    if task.scored == "pixel":
        _predict_masks(request, task, model, record)
        return
    if request.crf:
        raise click.UsageError(f"--crf goes with models that give each pixel a class; {request.model} does not.")
    if task.scored == "object":
        _predict_objects(request, task, model, record)
        return
    if request.min_score is not None:
        raise click.UsageError(f"--min-score goes with models that find objects; {request.model} does not.")
    if request.output:
        if not (request.as_csv or request.as_json):
            raise click.UsageError("--output goes with --csv or --json.")
        _common.prepare_plot(request.output, request.force)
    _write(request, _predictions(request, model, record))


def _predict_masks(request: _Request, task: "Task", model: "keras.Model", record: "ModelInfo") -> None:
    """Show the classes of the pixels of images, and write their masks."""
    import numpy as np
    from PIL import Image

    from keras_cnns import _files
    from keras_cnns._render.masks import overlay
    from keras_cnns.data import read_image
    from keras_cnns.data.masks import colors, write_mask
    from keras_cnns.evaluation.maps import whole_images
    from keras_cnns.evaluation.protocols import PROTOCOLS
    from keras_cnns.tasks.classifiers import names_of_classes

    predictor = _model.predictor(task, model, record.class_names, request.model)
    preprocessing = _model.preprocessing_of(model, record, request.model)
    seen = whole_images([predictor], [preprocessing], PROTOCOLS["center"], crf=request.crf)
    paths = _image_files(request.images)
    if request.skip_broken:
        paths = _without_broken(paths)
    names = names_of_classes(record.class_names, predictor.model.outputs[0].shape[-1])
    files = _mask_files(paths, request) if request.output else [None] * len(paths)
    predictions = []
    pairs = list(zip(paths, files, strict=True))
    for path, places in _output.track(pairs, "images") if len(pairs) > 1 else pairs:
        image = read_image(path, preprocessing.channels)
        mask = seen.mask(image)
        shares = np.bincount(mask.ravel(), minlength=len(names)) / mask.size
        best = np.argsort(-shares, kind="stable")[: request.top]
        predictions.append((path, [(names[k], float(shares[k])) for k in best if shares[k]]))
        if places:
            write_mask(mask, places[0])
            with _files.writing(places[1]) as temporary:
                Image.fromarray(overlay(image, mask, colors(len(names)), names)).save(temporary, "PNG")
    if request.output:
        _output.note(f"{request.output}: {_output.counted(len(paths), 'mask')}, and each laid over its image")
    _write(dataclasses.replace(request, output=None), predictions, "pixels")


def _predict_objects(request: _Request, task: "Task", model: "keras.Model", record: "ModelInfo") -> None:
    """Show the objects in images, and draw them."""
    from keras_cnns.data import read_image
    from keras_cnns.evaluation.objects import detect
    from keras_cnns.evaluation.plots import LEAST_SCORE
    from keras_cnns.tasks.classifiers import names_of_classes

    predictor = _model.predictor(task, model, record.class_names, request.model)
    preprocessing = _model.preprocessing_of(model, record, request.model)
    paths = _image_files(request.images)
    if request.skip_broken:
        paths = _without_broken(paths)
    names = names_of_classes(record.class_names, predictor.model.outputs[1].shape[-1])
    files = _objects.drawing_files(paths, request.output, request.force) if request.output else [None] * len(paths)
    least, found = LEAST_SCORE if request.min_score is None else request.min_score, []
    pairs = list(zip(paths, files, strict=True))
    for path, file in _output.track(pairs, "images") if len(pairs) > 1 else pairs:
        image = read_image(path, preprocessing.channels)
        (objects,) = detect(predictor, [image], preprocessing)
        found.append((path, objects.above(least)))
        if file:
            _objects.draw(image, found[-1][1], names, file)
    if request.output:
        _output.note(f"{request.output}: {_output.counted(len(paths), 'image')} with the boxes drawn")
    if request.as_json:
        _output.print_json(_objects.as_json(found, names))
    elif request.as_csv:
        _output.echo(_objects.as_csv(found, names).removesuffix("\n"))
    else:
        _objects.print_table(found, names, request.model)


def _mask_files(paths: Sequence[str], request: _Request) -> list[tuple[Path, Path] | None]:
    """Return each image's files of mask and overlay, if writable."""
    folder, files = Path(str(request.output)), []
    taken: collections.Counter[str] = collections.Counter()
    for path in paths:
        stem = Path(path).stem
        taken[stem] += 1
        stem += f"-{taken[stem]}" if taken[stem] > 1 else ""
        files.append((folder / f"{stem}.png", folder / f"{stem}_overlay.png"))
        for file in files[-1]:
            _common.prepare_plot(file, request.force)
    return files


def _predictions(request: _Request, model: "keras.Model", record: "ModelInfo | None") -> list[Prediction]:
    """Return the predictions for the images of the command line."""
    paths = _image_files(request.images)
    from keras_cnns._models import main_output
    from keras_cnns.applications import decode_predictions
    from keras_cnns.tasks.classifiers import names_of_classes

    model = _model.classifier(model, record and record.class_names, request.model)
    preprocessing = _model.preprocessing_of(model, record, request.model)
    if request.skip_broken:
        paths = _without_broken(paths)
    probabilities = _probabilities(main_output(model), paths, preprocessing)
    names = names_of_classes(record and record.class_names, probabilities.shape[1])
    return list(zip(paths, decode_predictions(probabilities, names, top=request.top), strict=True))


def _image_files(images: Sequence[str]) -> list[str]:
    """Return the paths of the images, in the given order.

    Those of a folder and its subfolders are ordered by name. Other files are counted and named on stderr. Hidden files
    and folders are skipped, as other programs keep their own files there.

    Raises:
        SourceError: if a file does not exist, or a folder has no image.
    """
    from keras_cnns.data.image_listing import Listing
    from keras_cnns.errors import SourceError, nearest

    paths: list[str] = []
    for image in images:
        if "://" in image and not os.path.lexists(image):
            raise SourceError(f"{image}: an address is not fetched. Download the image and name its file.")
        if not os.path.lexists(image):
            folder = os.path.dirname(image) or "."
            near = nearest(os.path.basename(image), os.listdir(folder) if os.path.isdir(folder) else [])
            raise SourceError(f"{image}: No such file or folder.{near}")
        if not os.path.isdir(image):
            paths.append(image)
            continue
        listing = Listing()
        inside = listing.images_below(image)
        for skipped in listing.skipped:
            _output.note(f"{image}: left out {skipped}")
        if not inside:
            raise SourceError(f"{image}: holds no images{listing.hint()}. Add some, or name another folder.")
        paths += inside
    return paths


def _without_broken(paths: Sequence[str]) -> list[str]:
    """Return the paths of readable images, and name the others on stderr."""
    from keras_cnns.data.broken_images import unreadable
    from keras_cnns.errors import SourceError

    broken = unreadable(paths)
    for error in broken.values():
        _output.note(f"left out: {error}")
    _output.note(f"left out because they cannot be read: {_output.counted(len(broken), 'image')}")
    readable = [path for path in paths if path not in broken]
    if not readable:
        raise SourceError("none of the images can be read. Replace them.")
    return readable


def _probabilities(model: "keras.Model", paths: Sequence[str], preprocessing: "Preprocessing") -> "Probabilities":
    """Return the probabilities (images, classes) of image files."""
    import numpy as np

    from keras_cnns.evaluation import predict_images

    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    tracked = _output.track(chunks, "images") if len(chunks) > 1 else chunks
    return np.concatenate([predict_images(model, chunk, preprocessing) for chunk in tracked])


def _write(request: _Request, predictions: list[Prediction], measure: str = "probability") -> None:
    """Print the predictions, or write them to a file.

    Args:
        request: the command line.
        predictions: of all images.
        measure: what the number of a class is.
    """
    if request.output:
        from keras_cnns import _files

        if request.as_json:
            _files.write_json(request.output, _to_json(predictions, measure))
        else:
            with _files.writing(request.output) as temporary:
                # Names of files may contain bytes that are not UTF-8
                temporary.write_text(_to_csv(predictions, measure), "utf8", "backslashreplace", newline="")
        _output.note(f"{request.output}: {_output.counted(len(predictions), 'image')}")
    elif request.as_json:
        _output.print_json(_to_json(predictions, measure))
    elif request.as_csv:
        _output.echo(_to_csv(predictions, measure).removesuffix("\n"))
    else:
        rows = [
            (path if k == 0 else "", name, f"{probability:.2%}")
            for path, pairs in predictions
            for k, (name, probability) in enumerate(pairs)
        ]
        _output.table(request.model, [("image",), ("class", "left", 0), (measure, "right", 0)], rows)


def _to_json(predictions: list[Prediction], measure: str) -> list[dict[str, Any]]:
    return [
        {"image": path, "predictions": [{"class": name, measure: value} for name, value in pairs]}
        for path, pairs in predictions
    ]


def _to_csv(predictions: list[Prediction], measure: str) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "rank", "class", measure])
    writer.writerows(
        (path, rank, name, probability)
        for path, pairs in predictions
        for rank, (name, probability) in enumerate(pairs, start=1)
    )
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _common.run(command, arguments)
