"""Print README's table of networks, or put it into README.md (--write)."""

import argparse
import re
from pathlib import Path

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS

README = Path(__file__).resolve().parent.parent / "README.md"
HEAD = """\
| | paper | input | parameters | multiply-adds | published test error |
|---|---|---|---:|---:|---|
"""
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")


def table() -> str:
    """Return the table, one row per network in the order of `_BUILDERS`."""
    rows = []
    for name in applications._BUILDERS:
        facts = FACTS[name]
        values = [
            f"`{name}`",
            re.sub(r"arXiv (.+)", r"[arXiv \1](https://arxiv.org/abs/\1)", facts.citation),
            "{}x{}x{}".format(*facts.input_shape),
            f"{facts.parameters:,}",
            f"{facts.macs / 1e6:,.1f} M",
            facts.published_error,
        ]
        rows.append(f"| {' | '.join(values)} |\n")
    return HEAD + "".join(rows)


def main() -> None:
    """Print the table, or write it into README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        README.write_text(TABLE.sub(lambda match: table(), README.read_text("utf8")), "utf8")
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
