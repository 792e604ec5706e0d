"""Interleaved timing, ratios of medians, and result files."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cnns import _machine

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("keras-cnns", "keras", "tensorflow", "jax", "torch", "numpy")


def interleave(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time functions in turns, once per round.

    Other work of the machine then slows all of them equally.

    Args:
        functions: by name; each is called once more beforehand.
        rounds: timed calls of each function.

    Returns:
        Seconds of each round, by name.
    """
    for function in functions.values():
        function()  # compiles, and warms caches
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return times


def row(
    case: str, times: Mapping[str, Sequence[float]], ours: str, theirs: str, goal: float | str | None
) -> dict[str, Any]:
    """Print and return a row of the results.

    It has the medians in seconds, and how many times faster one function is than another.

    Args:
        case: name of the row.
        times: result of `interleave`.
        ours: name of the first function.
        theirs: name of the second function.
        goal: how many times faster `ours` should be, or None.
    """
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = [b / a for a, b in zip(times[ours], times[theirs], strict=True)]
    faster = round(medians[theirs] / medians[ours], 2)
    seconds = {name: round(value, 4) for name, value in medians.items()}
    wanted = "" if goal is None else f"(goal {goal})"
    print(f"{case:<40} {faster:>6.2f} times faster {wanted}  {seconds}", flush=True)
    return {
        "case": case,
        "seconds": seconds,
        "times faster": faster,
        "each round": [round(ratio, 2) for ratio in ratios],
        "goal": goal,
    }


def write(name: str, rows: Sequence[dict[str, Any]], partial: bool = False) -> None:
    """Write rows with date, versions and machine to results/NAME.json.

    Args:
        name: of the file, without suffix.
        rows: results of `row`.
        partial: whether rows of other cases stay in the file, with the date and machine of their measurement.
    """
    record: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *map(os.path.relpath, sys.argv[:1]), *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES if _is_installed(package)},
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    if partial and path.exists():
        earlier = json.loads(path.read_text("utf8"))
        measured = {row["case"] for row in rows}
        origin = {key: earlier[key] for key in ("date", "command", "machine")}
        kept = [origin | row for row in earlier["rows"] if row["case"] not in measured]
        record["rows"] = [*kept, *rows]
    path.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    print(f"written to {os.path.relpath(path)}")


def _is_installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _processor() -> str:
    """Return the processor's name and its instructions for bfloat16."""
    instructions = _machine.instructions()
    return ", ".join([_machine.processor(), *(name for name in ("avx512_bf16", "amx_bf16") if name in instructions)])
