"""Poor consoles and closed or full streams never cause a traceback."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from conftest import ROOT, one_sentence
from keras_cnns.cli import _common, _model, _output, _streams
from PIL import Image

from keras_cnns import applications

INFO = "from keras_cnns.cli.info import main; main()"


def ended(redirection, *arguments, source=INFO):
    """Run a command under a shell's redirection; return (exit code, stdout, stderr)."""
    line = f'"$0" -c "$1" "${{@:2}}" {redirection}'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, source, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [[], ["--json"], ["--help"], ["LeNet51"]])
def test_a_closed_stdout_is_reported_before_the_work(arguments):
    code, _, err = ended(">&-", *arguments)
    assert code == 5 and one_sentence(err, "stdout is closed", "Redirect it")
    assert ended(">&- 2>&-", *arguments)[0] == 5


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "<&-"])
def test_unusable_stdin_and_stderr_change_nothing(redirection):
    code, out, _ = ended(redirection, "--json")
    assert code == 0 and len(json.loads(out)) == len(applications.list_models())
    assert ended(redirection, "LeNet51")[:2] == (2, "")


def test_a_full_stdout_is_exit_code_5():
    for arguments in ([], ["--json"], ["--version"]):
        code, _, err = ended(">/dev/full", *arguments)
        assert code == 5 and one_sentence(err, "cannot be written (No space left on device). Free some space")


def test_no_new_file_gets_the_number_of_a_closed_stream():
    source = (
        "import os\nfrom keras_cnns.cli import _streams\n_streams.prepare()\n"
        "assert os.open('/dev/null', os.O_RDONLY) > 2\nprint('note', file=__import__('sys').stderr)"
    )
    assert ended("<&- 2>&-", source=source)[0] == 0


@pytest.fixture
def console(monkeypatch):
    """Return a function from an encoding to a console of it.

    The console replaces stdout and stderr; calling it returns what was written to both.
    """

    def make(encoding):
        raw = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, buffer in raw.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(buffer, encoding, errors="strict", write_through=True))
        _streams.prepare()
        return lambda: tuple(buffer.getvalue().decode(encoding) for buffer in raw.values())

    return make


@pytest.mark.parametrize(
    "encoding, cat",
    [("utf8", "猫"), ("cp1252", r"\u732b"), ("ascii", r"\u732b"), ("cp932", "猫"), ("latin1", r"\u732b")],
)
def test_characters_that_a_console_lacks_are_escaped(console, encoding, cat):
    shown = console(encoding)
    _output.table("猫:", [("class",), ("images", "right")], [("猫", 1), ("bad\udcff\x1b[2J\n.png", 2)])
    _output.note("note on 猫")
    _output.track(iter([1]), "猫")
    out, err = shown()
    lines = out.splitlines()
    assert lines[0] == f"{cat}:" and lines[3].split() == [cat, "1"] and err == f"note on {cat}\n"
    assert lines[4].split()[0] == r"bad\udcff\x1b[2J\n.png"
    if cat != "猫":  # escapes count with their length
        assert len(lines[3]) == len(lines[4]) == len(lines[1])


@pytest.mark.parametrize("encoding, escaped", [("utf8", False), ("cp1252", True), ("ascii", True)])
def test_json_is_valid_on_any_console(console, encoding, escaped):
    for values in ({"class": "猫"}, {"image": "bad\udcff.png"}):
        shown = console(encoding)
        _output.print_json(values)
        out = shown()[0]
        assert json.loads(out) == values and ("\\u" in out) == (escaped or "image" in values)


def test_commands_on_a_console_that_lacks_characters(console, tmp_path):
    """A class name is not in cp1252, a file name not UTF-8."""
    from keras_cnns.cli.data import command as data
    from keras_cnns.cli.predict import command as predict

    for name in ("猫", "Hündin"):
        (tmp_path / "tiere" / name).mkdir(parents=True)
        for k in range(10):
            pixels = np.random.default_rng(k).integers(0, 256, (32, 32, 3), "uint8")
            Image.fromarray(pixels).save(tmp_path / "tiere" / name / f"{k}.png")
    shown = console("cp1252")
    assert _common._exit_code(data, [str(tmp_path / "tiere")]) == 0
    assert {r"\u732b", "Hündin"} <= {line.split()[0] for line in shown()[0].splitlines() if line.strip()}
    bad = tmp_path / os.fsdecode(b"bad\xff.png")
    bad.write_bytes((tmp_path / "tiere" / "猫" / "0.png").read_bytes())
    shown = console("utf8")
    assert _common._exit_code(predict, ["nin:digits", str(bad)]) == 0 and r"bad\udcff.png" in shown()[0]
    shown = console("utf8")
    assert _common._exit_code(predict, ["nin:digits", str(bad), "--json"]) == 0
    assert json.loads(shown()[0])[0]["image"] == str(bad)
    table = tmp_path / "result.csv"
    assert (
        _common._exit_code(predict, ["nin:digits", str(tmp_path), "--csv", "--output", str(table), "--top", "1"]) == 0
    )
    rows = list(csv.DictReader(table.read_text("utf8").splitlines()))
    assert len(rows) == 21 and rows[0]["path"].endswith(r"bad\udcff.png") and {row["rank"] for row in rows} == {"1"}


@pytest.mark.parametrize("taken_over", [False, True])
def test_ctrl_c_is_acknowledged_while_a_library_computes(taken_over):
    """Python handles no signal during a key derivation."""
    source = f"""
import hashlib, signal, click
from keras_cnns.cli import _common
@click.command("cnn-compute")
def command():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it at first
    if {taken_over}:
        signal.signal(signal.SIGINT, lambda *_: None)  # training replaces the handler like this
    print("computing", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 3_000_000)
_common.run(command, [])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "computing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    if taken_over:
        assert process.communicate(timeout=60)[1] == "" and process.returncode == 0
        return
    first = process.stderr.readline()
    assert first == "cnn-compute: Ctrl-C was heard; stopping after the current step\n" and process.poll() is None
    assert process.communicate(timeout=60)[1].strip() == "cnn-compute: interrupted" and process.returncode == 130


def test_a_note_names_a_backend_that_is_not_used(capfd, monkeypatch):
    for asked, told in (("torch", "KERAS_BACKEND=torch is not used"), (keras.backend.backend(), ""), (None, "")):
        monkeypatch.setattr(_common, "ASKED_BACKEND", asked)
        _model.load_keras()
        err = capfd.readouterr().err
        assert told in err if told else not err


def test_help_breaks_no_word_on_a_narrow_terminal(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = cli("predict", "--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 40 and {"subfolders,", "probability;"} <= set(out.split())


def test_completion_offers_names_without_a_framework():
    """Bash splits NAME:WEIGHTS at the colon before it passes the words."""

    def offered(*words):
        environment = {
            "COMP_WORDS": "\n".join(words),
            "COMP_CWORD": str(len(words) - 1),
            "_CNN_TRAIN_COMPLETE": "bash_complete",
        }
        source = (
            "import sys, atexit\n"
            "atexit.register(lambda: print('framework' if {'keras', 'tensorflow'} & set(sys.modules) else 'none'))\n"
            "from keras_cnns.cli.train import main; main()"
        )
        done = subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment}
        )
        *items, framework = done.stdout.split()
        assert done.returncode == 0 and done.stderr == "" and framework == "none"
        return items

    assert offered("cnn-train", "--sc") == ["plain,--scale-learning-rate"]
    assert offered("cnn-train", "goo") == ["plain,GoogLeNet"]
    assert offered("cnn-train", "nin", ":", "di") == ["plain,digits"]
    assert "plain,digits" in offered("cnn-train", "nin", ":") and offered("cnn-train", "my") == ["file,my"]
    assert offered("cnn-train", "NiN", "--data", "d") == ["plain,digits"]
