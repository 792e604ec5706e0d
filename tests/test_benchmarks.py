"""Result files of the benchmarks, and the page that is written from them."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EPYC = {"class": "AVX-512", "machine": "2 cores, EPYC"}
XEON = {"class": "AMX", "machine": "2 cores, Xeon"}


@pytest.fixture
def common(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("benchmarks_common", ROOT / "benchmarks" / "common.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.delenv(module.LIMIT, raising=False)
    return module


def rows(**seconds):
    return [{"case": case, "seconds": value} for case, value in seconds.items()]


def stored(common):
    return [(row["case"], row["seconds"], run["class"], run.get("limited to")) for row, run in common.read("speed")]


def test_a_run_replaces_only_its_own_machines_rows_of_the_same_case(common, monkeypatch):
    monkeypatch.setattr(common, "machine", lambda: EPYC)
    common.write("speed", rows(a=1, b=2))
    monkeypatch.setattr(common, "machine", lambda: XEON)
    common.write("speed", rows(a=3), partial=True)
    monkeypatch.setattr(common, "machine", lambda: {**EPYC, "class": "AVX2", "limited to": "AVX2"})
    common.write("speed", rows(a=4))
    assert stored(common) == [
        ("a", 1, "AVX-512", None),
        ("b", 2, "AVX-512", None),
        ("a", 3, "AMX", None),
        ("a", 4, "AVX2", "AVX2"),
    ]
    monkeypatch.setattr(common, "machine", lambda: EPYC)
    common.write("speed", rows(a=5), partial=True)
    assert stored(common)[0] == ("b", 2, "AVX-512", None) and stored(common)[-1] == ("a", 5, "AVX-512", None)
    common.write("speed", rows(c=6))  # not partial: cases that are no longer measured go, on this machine
    assert stored(common) == [("a", 3, "AMX", None), ("a", 4, "AVX2", "AVX2"), ("c", 6, "AVX-512", None)]
    run = json.loads((common.RESULTS / "speed.json").read_text("utf8"))["runs"][-1]
    assert run["date"] and run["versions"]["keras"] and run["command"].startswith("python ")


@pytest.mark.parametrize(
    "flags, limit, name",
    [
        ("avx2 avx512f amx_tile", "", "AMX"),
        ("avx2 avx512f", "", "AVX-512"),
        ("avx2", "", "AVX2"),
        ("avx2 avx512f amx_tile", "AVX512_CORE_BF16", "AVX-512"),
        ("avx2 avx512f amx_tile", "avx2", "AVX2"),
        ("avx2", "AVX512_CORE_AMX", "AVX2"),
        ("avx2", "SSE41", "SSE41"),
    ],
)
def test_class_is_the_widest_usable_instruction_set(common, monkeypatch, flags, limit, name):
    monkeypatch.setattr(common._machine, "instructions", flags.split)
    monkeypatch.setattr(common, "_gpu", lambda: "")
    monkeypatch.setenv(common.LIMIT, limit)
    machine = common.machine()
    assert machine["class"] == name and machine.get("limited to", "") == limit.upper()


def test_result_files_name_the_machine_of_every_row(common):
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        for run in json.loads(path.read_text("utf8"))["runs"]:
            assert run["rows"] and all(run[key] for key in ("class", "machine", "date", "command", "versions"))
