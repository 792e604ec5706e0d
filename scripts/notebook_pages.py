"""Render the notebooks of docs/notebooks as plain pages.

    python scripts/notebook_pages.py docs/notebooks/digits.py

A notebook is a .py file in jupytext's percent format. Its page holds the text as it stands, and each cell of code as a
block; images and printed results are left out, so neither nbconvert nor a run is needed. `make notebooks` writes the
.ipynb files.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

MARKER = re.compile(r"^# %%(?P<kind> \[markdown\])?.*\n", re.MULTILINE)


def cells(source: str) -> Iterator[tuple[str, str]]:
    """Yield the kind, "markdown" or "code", and the text of each cell.

    Args:
        source: a notebook in percent format.

    Raises:
        ValueError: if a line of a markdown cell is not a comment.
    """
    _header, *parts = MARKER.split(source)
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        if kind is None:
            yield "code", text.strip("\n")
            continue
        lines = text.strip("\n").splitlines()
        if wrong := [line for line in lines if not re.match(r"#( |$)", line)]:
            raise ValueError(f"each line of a markdown cell must start with '# '. Received: {wrong[0]!r}")
        yield "markdown", "\n".join(line[2:] for line in lines)


def page(path: str | Path) -> str:
    """Return a notebook as Markdown.

    Cells of code are Python blocks. Commands of the shell, `# !cnn-data ...`, are indented blocks.

    Args:
        path: the .py file.
    """
    path = Path(path)
    blocks = []
    for kind, text in cells(path.read_text("utf8")):
        if kind == "markdown":
            blocks.append(text)
        elif text.startswith("# !"):
            blocks.append("\n".join("    " + line.removeprefix("# !") for line in text.splitlines()))
        else:
            blocks.append(f"```python\n{text}\n```")
    title, *others = blocks
    note = f"*This page is the notebook `docs/notebooks/{path.stem}.ipynb`, which `make notebooks` writes.*"
    return "\n\n".join([title.partition("\n")[0], note, title.partition("\n")[2].strip(), *others]) + "\n"


if __name__ == "__main__":
    print(page(sys.argv[1]), end="")
