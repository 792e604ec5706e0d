"""A command's child process: its death, Ctrl-C, and its parent's death."""

import os
import signal
import subprocess
import sys
import time

import pytest

PARENT = """
import sys
from pathlib import Path
from keras_cnns.cli import _child
_child.GRACE = 0.5
sys.exit(_child._supervise("cnn-export", "work", sys.argv[1:], Path("out")))
"""
START = """
import os, signal, sys, time
from keras_cnns import _files
from keras_cnns.cli import _child

def main():
    step = _child.noted(lambda text: print(text, file=sys.stderr, flush=True))
    with _files.made_folder("out"), _files.claimed("out/nin.onnx"), _files.writing("out/nin.onnx") as path:
        path.write_text("half")
        os.mkdir(os.path.join(os.environ["TMPDIR"], "left"))
        open("scratch", "w").write(os.environ["TMPDIR"])
        step("writing nin.onnx")
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a parent whose child runs some source.

    It returns the parent when the child has begun to work.
    """
    started = []

    def run(source):
        lines = "".join(f"        {line}\n" for line in source.splitlines())
        (tmp_path / "work.py").write_text(START + lines)
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr.readline() == "writing nin.onnx\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def nothing_is_left(folder):
    """Return whether only the test's own files are left."""
    scratch = (folder / "scratch").read_text()
    names = {path.name for path in folder.iterdir()} - {"work.py", "scratch", "__pycache__"}
    return not names and not os.path.exists(scratch)


def test_the_death_of_a_child_is_reported_in_one_sentence(start, tmp_path):
    process = start("os.kill(os.getpid(), signal.SIGABRT)")  # std::bad_alloc ends a process like this
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and nothing_is_left(tmp_path)
    (line,) = err.splitlines()
    assert "ended by SIGABRT after 'writing nin.onnx', most likely because memory ran out" in line
    assert "Raise the memory limit" in line


def test_other_files_in_the_folder_are_kept(start, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".nin-0123456789ab.tflite").write_text("another export is writing it")
    process = start("os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait(timeout=60) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".nin-0123456789ab.tflite"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_child_that_ignores_signals_is_killed(start, tmp_path, number):
    process = start("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    begun = time.monotonic()
    time.sleep(0.1)
    process.send_signal(number)
    assert "stopping" in process.stderr.readline() and time.monotonic() - begun < 1.5
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "cnn-export: interrupted\n" and nothing_is_left(tmp_path)
    assert time.monotonic() - begun < 20


def test_a_second_ctrl_c_kills_at_once(start, tmp_path):
    process = start("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    process.send_signal(signal.SIGINT)
    process.stderr.readline()
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130 and time.monotonic() - begun < 1.5


def test_the_exit_code_is_the_childs(start):
    assert start("sys.exit(5)").wait(timeout=60) == 5


def test_the_child_ends_with_its_parent(start, tmp_path):
    process = start(
        "import threading; threading.Thread(target=_child._end_with_parent, daemon=True).start()\n"
        "open('pid', 'w').write(str(os.getpid())); step('written'); time.sleep(60)"
    )
    process.stderr.readline()
    process.kill()
    deadline = time.monotonic() + 20
    while os.path.exists(f"/proc/{(tmp_path / 'pid').read_text()}/stat") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline
