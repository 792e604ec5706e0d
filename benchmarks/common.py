"""What the benchmarks share: interleaved rounds, ratios of medians, and a JSON file that says where they were taken."""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("keras-cnns", "keras", "tensorflow", "jax", "torch", "numpy")


def interleave(functions, rounds):
    """Return {name: seconds of each round}: every function once a round, so that a busy machine hits all alike."""
    for function in functions.values():
        function()  # compiles, and warms caches
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return times


def row(case, times, ours, theirs, goal):
    """Return a line of the table, and print it: medians in seconds, how many times faster `ours` is than `theirs`.

    `goal` is that number as it should be, None without one.
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


def write(name, rows, partial=False):
    """Write the rows with date, versions and machine to results/NAME.json.

    The rows of a partial run take the place of those that were there for the same cases. Others stay as they are, and
    say when and where they were measured.
    """
    record = {
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
        before = json.loads(path.read_text("utf8"))
        measured = {row["case"] for row in rows}
        then = {key: before[key] for key in ("date", "command", "machine")}
        record["rows"] = [then | row for row in before["rows"] if row["case"] not in measured] + rows
    path.write_text(json.dumps(record, indent=1) + "\n", "utf8")
    print(f"written to {os.path.relpath(path)}")


def _is_installed(package):
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def _processor():
    """Return the processor's name and what it has of low precision."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return platform.processor()
    text = path.read_text()
    name = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "")
    return ", ".join([name, *(flag for flag in ("avx512_bf16", "amx_bf16") if flag in text.split())])
