"""Print README's table and images of the shipped weights.

With --write, put them into README.md.
"""

import argparse
import re
from collections.abc import Mapping
from typing import Any

import _shipped

README = _shipped.ROOT / "README.md"
HEAD = """\
| | top-1 on the test split | the paper's | made by |
|---|---|---|---|
"""
IMAGE = "![{name}: test images with predictions, and where their evidence lies]({place})\n"
TABLE = re.compile(re.escape(HEAD) + r"(?:\|.*\n)*")
ANY = re.sub(r"\\{\w+\\}", ".*", re.escape(IMAGE))
IMAGES = re.compile(rf"{ANY}(?:\n{ANY})*")


def table() -> str:
    """Return the table, one row per file of the manifest."""
    rows = []
    for entry in _shipped.entries():
        paper, accuracies = _shipped.published_error(entry), _shipped.accuracies(entry)
        (_, one_view), *others = accuracies.items()
        top1 = f"{percent(one_view)} of {entry['metrics']['test']['examples']:,} images"
        top1 += "".join(f"; {protocol} {percent(value)}" for protocol, value in others)
        published = "-" if paper is None else percent(1 - paper / 100)
        if paper is not None and [*accuracies.values()][-1] < 1 - paper / 100:
            published += ", which this misses"
        made_by = ", then ".join(f"`{command}`" for command in commands(entry))
        rows.append(f"| `{_shipped.full_name(entry)}` | {top1} | {published} | {made_by} |\n")
    return HEAD + "".join(rows)


def images() -> str:
    """Return the lines that show the image of each file."""
    places = {_shipped.full_name(entry): _shipped.image(entry) for entry in _shipped.entries()}
    return "\n".join(IMAGE.format(name=name, place=place.relative_to(_shipped.ROOT)) for name, place in places.items())


def commands(entry: Mapping[str, Any]) -> list[str]:
    """Return the commands that train an entry's network from scratch, without interruptions."""
    training = entry["training"]
    lines = (*training.get("earlier", ()), training["command"])
    return [re.sub("( --(force|resume))+$", "", line) for line in lines]


def percent(share: float) -> str:
    """Return a share as README writes it, such as "99.44 %"."""
    return f"{100 * share:.2f} %"


def main() -> None:
    """Print the table and the images, or write them into README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if not parser.parse_args().write:
        print(f"{table()}\n{images()}", end="")
        return
    text = README.read_text("utf8")
    for pattern, part in ((TABLE, table()), (IMAGES, images())):
        text = pattern.sub(lambda match, part=part: part, text, count=1)
    README.write_text(text, "utf8")


if __name__ == "__main__":
    main()
