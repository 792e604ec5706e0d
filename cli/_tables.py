"""Tables that fit the terminal by leaving out whole columns."""

import dataclasses
import shutil
from collections.abc import Iterable, Sequence

GAP = "  "  # between columns, and before the first one


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: text above the column.
        justify: "left" or "right".
        rank: 0 for a column that is always shown, like the first column. Of the others, the column with the highest
            rank is left out first; of equal ranks, the last column.
        wraps: least width, in characters, to which long texts are wrapped at blanks; 0: they are never wrapped.
    """

    heading: str
    justify: str = "left"
    rank: int = 1
    wraps: int = 0


def cell_len(text: str) -> int:
    """Return a text's width in terminal cells, two per CJK character."""
    from rich.cells import cell_len

    return cell_len(text)


def output_width() -> int:
    """Return the width of stdout in characters.

    It is that of the variable COLUMNS, else the terminal's, else (for a pipe or a file) 80.
    """
    return shutil.get_terminal_size().columns


def layout(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, rule: str = "─"
) -> tuple[list[str], list[str]]:
    """Return a table as lines, and the headings left out.

    If even the columns of rank 0 do not fit side by side, each row's first cell gets a line to itself, with the other
    cells indented below it.

    Args:
        columns: `Column`s.
        rows: sequences of strings, one string per column.
        width: of the longest line, in terminal cells. A longer word is printed whole.
        rule: character of the line below the headings.
    """
    texts = [[row[k] for row in rows] for k in range(len(columns))]
    widths = [_least_width(*pair) for pair in zip(columns, texts, strict=True)]
    shown = _columns_that_fit(columns, widths, width)
    left_out = [column.heading for k, column in enumerate(columns) if k not in shown]
    stacked = _room(widths, shown, width) < 0 and len(shown) > 1
    side_by_side = shown[1:] if stacked else shown
    indent = GAP if stacked else ""
    # Columns that wrap share the remaining width, the lowest rank first
    spare = max(0, _room(widths, side_by_side, width) - len(indent))
    for k in sorted(side_by_side, key=lambda k: columns[k].rank):
        extra = min(spare, _natural_width(columns[k], texts[k]) - widths[k])
        widths[k] += extra
        spare -= extra
    shown_widths = [widths[k] for k in side_by_side]
    justifies = [columns[k].justify for k in side_by_side]

    lines = [GAP + columns[0].heading] if stacked and columns[0].heading else []
    lines += _row([[columns[k].heading] for k in side_by_side], justifies, shown_widths, indent)
    lines.append(indent + GAP[1:] + rule * (sum(shown_widths) + len(GAP) * len(side_by_side) - 1))
    for row in rows:
        if stacked and row[0]:
            lines.append(GAP + row[0])
        cells = [wrapped(row[k], widths[k] if columns[k].wraps else 0) for k in side_by_side]
        lines += _row(cells, justifies, shown_widths, indent)
    return lines, left_out


def _room(widths: Sequence[int], shown: Iterable[int], width: int) -> int:
    """Return the cells left beside the shown columns, negative if too few."""
    return width - sum(len(GAP) + widths[k] for k in shown)


def _columns_that_fit(columns: Sequence[Column], widths: Sequence[int], width: int) -> list[int]:
    """Return the numbers of the columns to show, by their rank."""
    shown = list(range(len(columns)))
    while _room(widths, shown, width) < 0 and (optional := [k for k in shown[1:] if columns[k].rank]):
        shown.remove(max(optional, key=lambda k: (columns[k].rank, k)))
    return shown


def groups(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Divide columns into groups that fit, each starting with the first column.

    Args:
        columns: `Column`s.
        rows: sequences of strings, one string per column.
        width: of the longest line, in terminal cells.

    Returns:
        Lists of column numbers.
    """
    widths = [_least_width(column, [row[k] for row in rows]) + len(GAP) for k, column in enumerate(columns)]
    numbers = [[0]]
    for k in range(1, len(columns)):
        if len(numbers[-1]) > 1 and sum(widths[kept] for kept in [*numbers[-1], k]) > width:
            numbers.append([0])
        numbers[-1].append(k)
    return numbers


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` cells.

    A longer word has a line to itself.

    Args:
        text: words with single blanks between them.
        width: in terminal cells; 0: one line.
    """
    if not width or cell_len(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _natural_width(column: Column, texts: Iterable[str]) -> int:
    return max(map(cell_len, [column.heading, *texts]))


def _least_width(column: Column, texts: Sequence[str]) -> int:
    """Return the width of a column whose texts wrap wherever they can."""
    natural = _natural_width(column, texts)
    if not column.wraps:
        return natural
    words = (cell_len(word) for text in [column.heading, *texts] for word in text.split(" "))
    return min(natural, max(column.wraps, *words))


def _row(cells: Sequence[Sequence[str]], justifies: Sequence[str], widths: Sequence[int], indent: str) -> list[str]:
    """Return the lines of a row.

    Args:
        cells: the lines of each cell.
        justifies: of each column, "left" or "right".
        widths: of each column, in terminal cells.
        indent: at the beginning of each line.
    """
    lines = []
    for number in range(max(map(len, cells))):
        line = indent
        for texts, justify, width in zip(cells, justifies, widths, strict=True):
            text = texts[number] if number < len(texts) else ""
            blanks = " " * (width - cell_len(text))
            line += GAP + (blanks + text if justify == "right" else text + blanks)
        lines.append(line.rstrip())
    return lines
