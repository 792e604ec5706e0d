"""Interleaved timing, ratios of medians, and result files.

results/NAME.json has a list of runs. A run has rows, and says on which machine they were measured, when, by which
command, with which versions, and how busy other programs kept the processors meanwhile. Machines are of a class: the
widest instructions that the run could use. A new run replaces rows of its own machine only.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_cnns import _machine

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = (
    "keras-cnns",
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "torchvision",
    "numpy",
    "onnxruntime",
    "openvino",
    "ai-edge-litert",
    "tf2onnx",
)
# Classes of x86 processors, widest first, with the instruction that each needs
CLASSES = {"AMX": "amx_tile", "AVX-512": "avx512f", "AVX2": "avx2"}
MACHINE = ("class", "limited to", "machine")  # what tells one machine from another
LIMIT = "ONEDNN_MAX_CPU_ISA"


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
    """Write rows to results/NAME.json, beside those of other machines.

    Args:
        name: of the file, without suffix.
        rows: results of `row`.
        partial: whether this machine's rows of other cases stay in the file.
    """
    run: dict[str, Any] = {
        **machine(),
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *map(os.path.relpath, sys.argv[:1]), *sys.argv[1:]]),
        "busy with other programs": _STARTED.share_of_others(),
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES if _is_installed(package)},
        "rows": list(rows),
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    runs = json.loads(path.read_text("utf8"))["runs"] if path.exists() else []
    text = json.dumps({"runs": merge(runs, run, partial)}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", "utf8")
    print(f"written to {os.path.relpath(path)}")


def merge(runs: Sequence[dict[str, Any]], new: dict[str, Any], partial: bool) -> list[dict[str, Any]]:
    """Return earlier runs and a new one, without the earlier rows that it replaces.

    Args:
        runs: earlier runs, of any machines.
        new: run whose rows replace those of the same machine.
        partial: whether rows of cases that the new run has not measured stay.
    """
    cases = {row["case"] for row in new["rows"]}
    merged = []
    for run in runs:
        same_machine = all(run.get(key) == new.get(key) for key in MACHINE)
        rows = [row for row in run["rows"] if not same_machine or (partial and row["case"] not in cases)]
        if rows:
            merged.append({**run, "rows": rows})
    return [*merged, new]


def read(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each row of results/NAME.json with its run.

    Args:
        name: of the file, without suffix.
    """
    for run in json.loads((RESULTS / f"{name}.json").read_text("utf8"))["runs"]:
        for row in run["rows"]:
            yield row, run


def machine() -> dict[str, Any]:
    """Return the class, the limit if there is one, and the name of this machine.

    oneDNN can be limited to the instructions of an older processor (ONEDNN_MAX_CPU_ISA). A GPU counts if Keras has been
    imported and computes on it.
    """
    instructions = _machine.instructions()
    extensions = [name for name in ("avx512_bf16", "amx_bf16") if name in instructions]
    text = ", ".join([f"{os.cpu_count()} cores", _machine.processor(), *extensions])
    if gpu := _gpu():
        return {"class": f"GPU {gpu}", "machine": text}
    limit = os.environ.get(LIMIT, "").upper()
    if limit in ("", "DEFAULT", "ALL"):
        return {"class": instruction_class(instructions), "machine": text}
    return {"class": instruction_class(instructions, limit), "limited to": limit, "machine": text}


def instruction_class(instructions: Sequence[str], limit: str = "") -> str:
    """Return the name of the widest usable instructions, else the architecture.

    Args:
        instructions: result of `_machine.instructions`.
        limit: value of ONEDNN_MAX_CPU_ISA, such as "AVX2" or "AVX512_CORE_BF16"; "": no limit.
    """
    names = list(CLASSES)
    if limit:
        widest = "AMX" if "AMX" in limit else "AVX-512" if "AVX512" in limit or "AVX10" in limit else "AVX2"
        names = names[names.index(widest) :] if limit not in ("SSE41", "AVX") else []
    return next((name for name in names if CLASSES[name] in instructions), limit or platform.machine())


def _gpu() -> str:
    """Return the name of the GPU that Keras computes on, or ""."""
    if "keras" not in sys.modules:
        return ""
    backend = sys.modules["keras"].backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(devices[0]).get("device_name", "GPU") if devices else ""
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return device.device_kind if device.platform == "gpu" else ""
    return ""


class _Moment:
    """Time that the processors have worked until now, for all programs and for this one."""

    def __init__(self) -> None:
        used = os.times()
        self.clock, self.own = used.elapsed, used.user + used.system + used.children_user + used.children_system
        self.all: float | None = None
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:  # other systems have no such file
            return
        user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, fields)
        self.all = (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK")

    def share_of_others(self) -> float | None:
        """Return the share of the processors that other programs have used since then."""
        now = _Moment()
        if self.all is None or now.all is None or now.clock <= self.clock:
            return None
        others = (now.all - self.all) - (now.own - self.own)
        return round(max(0.0, others / (now.clock - self.clock) / (os.cpu_count() or 1)), 2)


_STARTED = _Moment()


def _is_installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False
