"""Tables that fit the terminal: names are never broken, and what has no room is left out and named."""

import dataclasses
import shutil

GAP = "  "  # between columns, and in front of the first


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its first line.
        justify: "left" or "right".
        rank: 0 for what is always shown, as the first column is; of the others the one with the highest rank is left
            out first, of equal ones the last.
        wraps: letters to which a long text may be wrapped, at blanks alone; 0: it is never wrapped.
    """

    heading: str
    justify: str = "left"
    rank: int = 1
    wraps: int = 0


def cell_len(text):
    """Return how many cells of a terminal a text takes: CJK letters take two each."""
    from rich.cells import cell_len

    return cell_len(text)


def output_width():
    """Return the letters a line of stdout has room for: COLUMNS, else the terminal's, else (a pipe, a file) 80."""
    return shutil.get_terminal_size().columns


def layout(columns, rows, width, rule="─"):
    """Return a table as lines, and the headings of the columns that were left out.

    If even the columns of rank 0 have no room beside each other, the first cell of each row stands on a line of its
    own above the others, which are indented.

    Args:
        columns: list of `Column`.
        rows: sequences of strings, one a column.
        width: of the longest line, in the cells of a terminal. A word longer than that is printed as it is.
        rule: letter of the line below the headings.
    """
    texts = [[row[k] for row in rows] for k in range(len(columns))]
    needs = [_need(*pair) for pair in zip(columns, texts, strict=True)]
    shown = list(range(len(columns)))

    def room(kept):
        return width - sum(len(GAP) + needs[k] for k in kept)

    while room(shown) < 0 and (optional := [k for k in shown[1:] if columns[k].rank]):
        shown.remove(max(optional, key=lambda k: (columns[k].rank, k)))
    left_out = [column.heading for k, column in enumerate(columns) if k not in shown]
    stacked = room(shown) < 0 and len(shown) > 1
    beside = shown[1:] if stacked else shown
    spare = max(0, room(beside) - len(GAP) * stacked)
    for k in sorted(beside, key=lambda k: columns[k].rank):  # what wraps gets what is left
        more = min(spare, _natural(columns[k], texts[k]) - needs[k])
        needs[k] += more
        spare -= more
    widths, justifies = [needs[k] for k in beside], [columns[k].justify for k in beside]

    def beside_each_other(cells):
        return [GAP * stacked + line for line in _row(cells, justifies, widths)]

    lines = [GAP + columns[0].heading] if stacked and columns[0].heading else []
    lines += beside_each_other([[columns[k].heading] for k in beside])
    lines.append(GAP * stacked + GAP[1:] + rule * (sum(widths) + len(GAP) * len(beside) - 1))
    for row in rows:
        if stacked and row[0]:
            lines.append(GAP + row[0])
        wraps = (wrapped(row[k], size if columns[k].wraps else 0) for k, size in zip(beside, widths, strict=True))
        lines += beside_each_other(list(wraps))
    return lines, left_out


def groups(columns, rows, width):
    """Return the columns in groups, as lists of numbers: the first one, and as many of the others as there is room for.

    Args:
        columns, rows, width: as for `layout`.
    """
    needs = [_need(column, [row[k] for row in rows]) + len(GAP) for k, column in enumerate(columns)]
    found = [[0]]
    for k in range(1, len(columns)):
        if len(found[-1]) > 1 and sum(needs[kept] for kept in [*found[-1], k]) > width:
            found.append([0])
        found[-1].append(k)
    return found


def wrapped(text, width):
    """Return a text as lines no longer than `width` (0: one line), but for words that are longer."""
    if not width or cell_len(text) <= width:
        return [text]
    lines = []
    for word in text.split(" "):
        if lines and cell_len(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _natural(column, texts):
    return max(map(cell_len, [column.heading, *texts]))


def _need(column, texts):
    """Return the least width of a column."""
    natural = _natural(column, texts)
    if not column.wraps:
        return natural
    words = (cell_len(word) for text in [column.heading, *texts] for word in text.split(" "))
    return min(natural, max(column.wraps, *words))


def _row(cells, justifies, widths):
    """Return the lines of a row, each of whose cells is a list of lines."""
    lines = []
    for number in range(max(map(len, cells))):
        line = ""
        for texts, justify, width in zip(cells, justifies, widths, strict=True):
            text = texts[number] if number < len(texts) else ""
            blanks = " " * (width - cell_len(text))
            line += GAP + (blanks + text if justify == "right" else text + blanks)
        lines.append(line.rstrip())
    return lines
