"""What cnn-predict shows of a model that finds objects."""

import collections
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cnns.cli import _common, _output

if TYPE_CHECKING:
    from keras_cnns.tasks import Detections

Found = tuple[str, "Detections"]  # path of an image and what is found in it
HEADER = ["path", "class", "score", "top", "left", "bottom", "right"]


def drawing_files(paths: Sequence[str], folder: str, force: bool) -> list[Path]:
    """Return the file of each image's drawing, if it can be written.

    Args:
        paths: paths of the images.
        folder: the folder of the drawings.
        force: whether to overwrite them.
    """
    files = []
    taken: collections.Counter[str] = collections.Counter()
    for path in paths:
        stem = Path(path).stem
        taken[stem] += 1
        files.append(Path(folder) / f"{stem}{f'-{taken[stem]}' if taken[stem] > 1 else ''}.png")
        _common.prepare_plot(files[-1], force)
    return files


def draw(image: Any, found: "Detections", class_names: Sequence[str], path: Path) -> None:
    """Write an image with the boxes of its objects.

    Args:
        image: uint8 (height, width, channels).
        found: what is found in it.
        class_names: names of the classes.
        path: PNG file to write.
    """
    from PIL import Image

    from keras_cnns import _files
    from keras_cnns._render.boxes import outlined

    texts = [
        f"{class_names[label]} {score:.0%}"
        for label, score in zip(found.labels.tolist(), found.scores.tolist(), strict=True)
    ]
    with _files.writing(path) as temporary:
        Image.fromarray(outlined(image, found.boxes, found.labels, texts)).save(temporary, "PNG")


def print_table(found: Sequence[Found], class_names: Sequence[str], title: str) -> None:
    """Print one row per object.

    Args:
        found: of each image.
        class_names: names of the classes.
        title: title of the table.
    """
    rows = []
    for path, objects in found:
        of_image = _rows(objects, class_names) or [("no object", None, ())]
        for number, (name, score, box) in enumerate(of_image):
            place = "" if score is None else f"{box[1]:.0f},{box[0]:.0f} {box[3] - box[1]:.0f}x{box[2] - box[0]:.0f}"
            rows.append(("" if number else path, name, "" if score is None else f"{score:.2%}", place))
    columns: list[Any] = [("image",), ("class", "left", 0), ("score", "right", 0), ("left,top size", "left", 1)]
    _output.table(title, columns, rows)


def as_json(found: Sequence[Found], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return what is found in images as JSON values.

    Args:
        found: of each image.
        class_names: names of the classes.
    """
    return [
        {
            "image": path,
            "objects": [
                {"class": name, "score": score, **dict(zip(HEADER[3:], box, strict=True))}
                for name, score, box in _rows(objects, class_names)
            ],
        }
        for path, objects in found
    ]


def as_csv(found: Sequence[Found], class_names: Sequence[str]) -> str:
    """Return one line per object; an image without any has none.

    Args:
        found: of each image.
        class_names: names of the classes.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for path, objects in found:
        writer.writerows((path, name, score, *box) for name, score, box in _rows(objects, class_names))
    return text.getvalue()


def _rows(found: "Detections", class_names: Sequence[str]) -> list[tuple[str, Any, tuple[float, ...]]]:
    """Return (class, score, box) of each object."""
    parts = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [(class_names[label], score, tuple(box)) for label, score, box in parts]
