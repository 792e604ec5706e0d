"""A CSV file that lists image files with their labels."""

import csv
import os
from pathlib import Path

from keras_cnns.data.classes import sort_classes
from keras_cnns.data.folders import PARTS, file_split
from keras_cnns.errors import SourceError

COLUMNS = ("path", "label", "split")


def read_table(path):
    """Return (class names, `FileSplit` of each part) of a CSV file.

    Args:
        path: of a file in UTF-8 with a header, whose columns are called `path` (relative to the file), `label` and,
            optionally, `split` (train, test, or validation, val, valid; in any case), in any order. Others are left
            alone. Commas, semicolons or tabs divide them. Without `split` all rows are one part, "".

    Raises:
        SourceError: naming the line, if a column or a value is missing, or a row cannot be used.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            rows = csv.reader(file, delimiter=max(",;\t", key=head.count))
            columns = _columns(path, next(rows, []))
            parts = {}
            for row in filter(None, rows):
                part, image, label = _values(path, rows.line_num, columns, row)
                parts.setdefault(part, []).append((os.path.join(path.parent, image), label))
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text. Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise SourceError(f"{path}: is no CSV file ({error}). Save it as CSV with the columns path, label.") from None
    training = parts.get("train", parts.get(""))
    if not training:
        raise SourceError(f"{path}: has no row to train on. Add rows with an image's path and label (split: train).")
    if not os.path.lexists(training[0][0]):
        raise SourceError(
            f"{path}: there is no file {training[0][0]}, which its first row names. Write paths that are relative to "
            "the folder of the CSV file."
        )
    names = sort_classes({label for _, label in training})
    numbers = {name: number for number, name in enumerate(names)}
    for part, rows in parts.items():
        if odd := sorted({label for _, label in rows} - set(numbers)):
            raise SourceError(
                f"{path}: the split {part} has labels that no row of the training split has: {', '.join(odd[:10])}. "
                "Add rows for training, or remove these."
            )
    splits = {
        part: file_split([image for image, _ in parts[part]], [numbers[label] for _, label in parts[part]])
        for part in ("", "train", "validation", "test")
        if part in parts
    }
    return tuple(names), splits


def _columns(path, head):
    """Return the place of each column that is there."""
    found = [name.strip().casefold() for name in head]
    columns = {name: found.index(name) for name in COLUMNS if name in found}
    if missing := [name for name in COLUMNS[:2] if name not in columns]:
        raise SourceError(
            f"{path}: its first line must name the columns path and label, and may name split. It lacks "
            f"{', '.join(missing)}. Received: {', '.join(head[:10])!r}"
        )
    return columns


def _values(path, line, columns, row):
    """Return (part, image, label) of a row."""
    values = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
    if missing := [name for name, value in values.items() if not value]:
        raise SourceError(f"{path}: line {line} has no {missing[0]}. Complete the line, or remove it.")
    split = values.get("split", "")
    if split and split.casefold() not in PARTS:
        raise SourceError(
            f"{path}: line {line} has a split that is not known; use train, validation or test. Received: {split!r}"
        )
    return PARTS[split.casefold()] if split else "", values["path"], values["label"]
