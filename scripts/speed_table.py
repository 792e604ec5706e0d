"""Write docs/guides/speed.md from the results of the benchmarks.

python scripts/speed_table.py
"""

import ast
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "guides" / "speed.md"
sys.path.insert(0, str(ROOT / "benchmarks"))

import common  # noqa: E402 - from benchmarks/, by the line above

# In the page's order; each has a program in benchmarks/
BENCHMARKS = (
    "training_steps",
    "gpu_training",
    "kernels",
    "inference",
    "input_pipeline",
    "training_engine",
    "devices",
    "evaluation",
    "exports",
    "startup",
    "dense_crf",
    "masks",
    "boxes",
)
HEAD = """\
# How fast on what

TensorFlow has two sets of CPU kernels, and by itself takes the faster one, oneDNN, only on processors with AVX512-VNNI,
AVX512-BF16 or AMX. Importing keras_cnns sets `TF_ENABLE_ONEDNN_OPTS=1` on every x86 processor with AVX2, so that
TensorFlow takes oneDNN there too. A value that you have set is kept. TensorFlow reads the variable once, when it is
imported: import keras_cnns before keras, or set the variable yourself. The last bits of results differ between the two
sets.
{gains}
`python scripts/speed_table.py` writes this page from the files in [benchmarks/results](../../benchmarks/results), and
`make bench` measures your machine and adds it to them. Compare numbers within one table only: tables come from
different machines, days and loads. Every table says its machine, its day, its command and how much of the processors
other programs used meanwhile, if that was measured. "Times faster" says how many times longer the other way takes than
the first one named, with several others the fastest of them; goals were set before measuring.

The classes are the widest instructions that a run could use: {classes}.
"Limited to AVX2" is a newer processor whose oneDNN was told to use no more than these (`ONEDNN_MAX_CPU_ISA`).
"""
NO_GPU = "\nNo GPU is among them yet: run `python benchmarks/gpu_training.py` on a machine that has one.\n"


def page() -> str:
    """Return the text of the page."""
    tables: dict[str, list[str]] = {}  # by class
    for name in BENCHMARKS:
        titled = set()  # classes that have the benchmark's title
        for run in common.read(name):
            if rows := [line for row in run["rows"] if (line := table_row(row))]:
                parts = tables.setdefault(run["class"], [])
                if run["class"] not in titled:
                    titled.add(run["class"])
                    parts.append(f"\n### {title(name)}\n")
                parts.append(table(run, rows))
    names = sorted(tables, key=_order)
    text = HEAD.format(gains=kernel_gains(), classes=", ".join(names))
    if not any(name.startswith("GPU") for name in names):
        text += NO_GPU
    return text + "".join(f"\n## {name}\n{''.join(tables[name])}" for name in names)


def title(name: str) -> str:
    """Return what a benchmark measures, in the words of its program."""
    text = (ROOT / "benchmarks" / f"{name}.py").read_text("utf8")
    return (ast.get_docstring(ast.parse(text)) or name).partition("\n")[0].rstrip(".")


def table(run: Mapping[str, Any], rows: Sequence[str]) -> str:
    """Return the table of a run, with its origin.

    Args:
        run: where and how it was measured.
        rows: lines of the table.
    """
    limit = f", limited to {run['limited to']}" if "limited to" in run else ""
    busy = run["busy with other programs"]
    load = "" if busy is None else f"; other programs used {busy:.0%} of the processors"
    origin = f"{run['machine']}{limit}; {run['date']}; `{run['command']}`{load}."
    head = "| case | seconds | times faster | goal |\n|---|---|---|---|\n"
    return f"\n{origin}\n\n{head}{''.join(rows)}"


def table_row(row: Mapping[str, Any]) -> str:
    """Return a line of a table; "" for a computed row."""
    if row.get("failed") or "expected" in row:
        return ""
    seconds, faster, goal = row.get("seconds", ""), row.get("times faster", ""), row.get("goal") or ""
    if isinstance(seconds, dict):
        seconds = ", ".join(f"{column} {number(value)}" for column, value in seconds.items())
    elif seconds != "":
        seconds = number(seconds)
    elif "ours" in row:
        seconds = f"{number(row['ours'])} images per second"
    if "plain / ours" in row:
        faster = row["plain / ours"]["seconds"]
    return f"| {row['case']} | {seconds} | {faster} | {'' if goal == '-' else goal} |\n"


def number(value: float) -> str:
    """Return a number with at least three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def kernel_gains() -> str:
    """Return a sentence on what oneDNN's kernels gain, by network and class."""
    parts = []
    for run in common.read("kernels"):
        gains = ", ".join(f"{row['case'].partition(',')[0]} {row['times faster']}" for row in run["rows"])
        limited = f", on a processor limited to {run['limited to']}" if "limited to" in run else ""
        parts.append(f"{run['class']}{limited} ({run['date']}): {gains}")
    text = f"Training steps are so many times faster with oneDNN's kernels. {'; '.join(parts)}."
    return f"\n{textwrap.fill(text, 120)}\n" if parts else ""


def _order(name: str) -> tuple[bool, int, str]:
    """Return the place of a class in the page.

    GPUs come first, then processors with the widest instructions.
    """
    known = list(common.CLASSES)
    return not name.startswith("GPU"), known.index(name) if name in known else len(known), name


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), "utf8")
    print(f"written to {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
