"""Printing: tables and JSON on stdout, notes and progress on stderr."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import click
from keras_cnns.cli import _streams, _tables

from keras_cnns._text import counted as counted  # the commands use it together with the functions below

WIDE = "keras_cnns.wide"  # key of the context's notes: whether --wide was given

Step = TypeVar("Step")


def table(
    title: str, columns: Sequence[_tables.Column | tuple], rows: Iterable[Sequence[Any]], below: bool = False
) -> None:
    """Print a title and a table that fits the terminal.

    A note on stderr names the columns that did not fit.

    Args:
        title: one or more lines, printed above the table.
        columns: `_tables.Column`, or tuples of its arguments: (heading, "left" or "right", rank, wraps).
        rows: sequences of values, one value per column.
        below: whether columns that do not fit go into a further table below; otherwise they are left out.
    """
    columns = [column if isinstance(column, _tables.Column) else _tables.Column(*column) for column in columns]
    rows = [[_streams.printable(str(value), one_line=True) for value in row] for row in rows]
    context = click.get_current_context(silent=True)
    width = sys.maxsize if context and context.meta.get(WIDE) else _tables.output_width()
    rule = "─" if _streams.can_encode("─") else "-"
    groups = _tables.groups(columns, rows, width) if below else [list(range(len(columns)))]
    lines: list[str] = []
    left_out: list[str] = []
    for group in groups:
        group_lines, group_left_out = _tables.layout(
            [columns[k] for k in group], [[row[k] for k in group] for row in rows], width, rule
        )
        lines += ["", *group_lines] if lines else group_lines
        left_out += group_left_out
    titles = _streams.printable(title).split("\n")
    # Only on a terminal: through a pipe a sentence stays on one line, so that it can be searched for
    if sys.stdout.isatty():
        titles = [part for line in titles for part in _tables.wrapped(line, width)]
    click.echo("\n".join([*titles, *lines]))
    if left_out:
        note(f"no room for: {', '.join(dict.fromkeys(left_out))} (--wide prints all columns, --json everything)")


def track(steps: Iterable[Step], description: str) -> Iterable[Step]:
    """Return the steps, showing their progress on stderr."""
    from rich.console import Console
    from rich.progress import track

    return track(steps, description, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def print_json(values: Any) -> None:
    """Print JSON on stdout, in ASCII if its encoding lacks a character."""
    import json

    text = json.dumps(values, indent=2, ensure_ascii=False)
    click.echo(text if _streams.can_encode(text) else json.dumps(values, indent=2))


def echo(text: str) -> None:
    """Print a line of the result on stdout, escaping unprintable characters."""
    click.echo(_streams.printable(text))


def note(text: object) -> None:
    """Print a line of progress on stderr, escaping unprintable characters."""
    click.echo(_streams.printable(str(text), sys.stderr), err=True)
