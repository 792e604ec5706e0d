"""CSV files that list image files with their labels."""

import csv
import os
import pathlib
from collections.abc import Sequence

from keras_cnns.data.classes import sort_classes
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.folders import PARTS
from keras_cnns.errors import SourceError
from keras_cnns.typing import Path

COLUMNS = ("path", "label", "split")


def read_table(path: Path) -> tuple[tuple[str, ...], dict[str, FileSplit]]:
    """Return the class names and the splits of a CSV file.

    Args:
        path: path of a UTF-8 file with a header, in which commas, semicolons or tabs separate the columns. Columns:

            - `path`, relative to the file;
            - `label`, the class name;
            - optionally `split`: train, test, or validation (also val, valid), in upper or lower case.

            They may be in any order; other columns are ignored.

    Returns:
        (class names, dictionary from "train", "validation" or "test" to `FileSplit`). Without a `split` column, all
        rows are in one split, named "".

    Raises:
        SourceError: naming the line, if a column or a value is missing, or a row cannot be used.
    """
    file_path = pathlib.Path(path)
    try:
        rows = _read_rows(file_path)
    except UnicodeDecodeError:
        raise SourceError(f"{path}: is not UTF-8 text. Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise SourceError(f"{path}: is no CSV file ({error}). Save it as CSV with the columns path, label.") from None
    training = rows.get("train", rows.get(""))
    if not training:
        raise SourceError(f"{path}: has no row to train on. Add rows with an image's path and label (split: train).")
    first_image, _ = training[0]
    if not os.path.lexists(first_image):
        raise SourceError(
            f"{path}: there is no file {first_image}, which its first row names. Write paths that are relative to "
            "the folder of the CSV file."
        )
    names = sort_classes({label for _, label in training})
    numbers = {name: number for number, name in enumerate(names)}
    for part, rows_of_part in rows.items():
        if unknown := sorted({label for _, label in rows_of_part} - set(numbers)):
            raise SourceError(
                f"{path}: the split {part} has labels that no row of the training split has: "
                f"{', '.join(unknown[:10])}. Add rows for training, or remove these."
            )
    splits: dict[str, FileSplit] = {
        part: FileSplit.from_paths([image for image, _ in rows[part]], [numbers[label] for _, label in rows[part]])
        for part in ("", "train", "validation", "test")
        if part in rows
    }
    return tuple(names), splits


def _read_rows(path: pathlib.Path) -> dict[str, list[tuple[str, str]]]:
    """Return (image path, label) of each row, by the row's split."""
    rows: dict[str, list[tuple[str, str]]] = {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        head = file.readline()
        file.seek(0)
        reader = csv.reader(file, delimiter=max(",;\t", key=head.count))
        columns = _columns(path, next(reader, []))
        for row in filter(None, reader):
            part, image, label = _values(path, reader.line_num, columns, row)
            rows.setdefault(part, []).append((os.path.join(path.parent, image), label))
    return rows


def _columns(path: pathlib.Path, head: Sequence[str]) -> dict[str, int]:
    """Return the position of each known column in the header."""
    header = [name.strip().casefold() for name in head]
    columns = {name: header.index(name) for name in COLUMNS if name in header}
    if missing := [name for name in COLUMNS[:2] if name not in columns]:
        raise SourceError(
            f"{path}: its first line must name the columns path and label, and may name split. It lacks "
            f"{', '.join(missing)}. Received: {', '.join(head[:10])!r}"
        )
    return columns


def _values(path: pathlib.Path, line: int, columns: dict[str, int], row: Sequence[str]) -> tuple[str, str, str]:
    """Return (name of the split, image path, label) of a row."""
    values = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
    if missing := [name for name, value in values.items() if not value]:
        raise SourceError(f"{path}: line {line} has no {missing[0]}. Complete the line, or remove it.")
    split = values.get("split", "")
    if split and split.casefold() not in PARTS:
        raise SourceError(
            f"{path}: line {line} has a split that is not known; use train, validation or test. Received: {split!r}"
        )
    return PARTS[split.casefold()] if split else "", values["path"], values["label"]
