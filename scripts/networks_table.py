"""Print README's table of networks from the facts; with --write, put it into README.md."""

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


def paper(text, year):
    """Return a paper's authors and year, and where it is."""
    authors, _, rest = text.partition(": ")
    names = [name.split()[-1] for name in authors.removesuffix(" et al.").split(", ")]
    short = f"{names[0]} et al." if len(names) > 3 or authors.endswith("et al.") else ", ".join(names)
    arxiv = re.search(r"arXiv (\d+\.\d+)", rest)
    where = f"[arXiv {arxiv[1]}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else rest.split(", ")[0]
    return f"{short} {year}, {where}"


def error(errors):
    """Return the first published error, its top-5 beside its top-1."""
    entries = list(errors.items())
    if not entries:
        return "-"
    key, value = entries[0]
    text = f"{key} {value} %"
    if len(entries) > 1 and entries[1][0] == key.replace("top-1", "top-5") != key:
        text += f", top-5 {entries[1][1]} %"
    return text


def table():
    """Return the table, a row a network in the order of the papers."""
    rows = []
    for name in applications._BUILDERS:
        facts = FACTS[name]
        values = [
            f"`{name}`",
            paper(facts.paper, facts.year),
            "{}x{}x{}".format(*facts.input_shape),
            f"{facts.parameters:,}",
            f"{facts.macs / 1e6:,.1f} M",
            error(facts.errors),
        ]
        rows.append(f"| {' | '.join(values)} |\n")
    return HEAD + "".join(rows)


def main():
    """Print the table, or write it into README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        README.write_text(TABLE.sub(lambda match: table(), README.read_text("utf8")), "utf8")
    else:
        print(table(), end="")


if __name__ == "__main__":
    main()
