"""Errors, Ctrl-C and unwritable output have their exit codes in every command."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, one_sentence


def test_ctrl_c_stops_the_command_even_if_a_library_swallows_it():
    from keras_cnns.cli import _common

    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt), _common.stoppable() as note:
            try:
                os.kill(os.getpid(), number)
                time.sleep(1)
            except KeyboardInterrupt:
                pass  # as a library's C callback does
            note("the next step")
        assert signal.getsignal(number) is before


def test_an_unexpected_error_is_exit_code_70(cli, monkeypatch):
    from keras_cnns import saving

    monkeypatch.setattr(saving, "read_info", lambda path: 1 / 0)
    code, out, err = cli("predict", str(ROOT / "saved_models" / "nin-digits.keras"), "a.png")
    assert code == 70 and one_sentence(err, "unexpected error, ZeroDivisionError", "KERAS_CNNS_TRACEBACK=1")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_ctrl_c_while_libraries_are_imported(seconds):
    source = "from keras_cnns.cli.evaluate import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", source, "nin:digits", "--data", "digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "") and one_sentence(err, "interrupted"), err


@pytest.mark.slow
def test_another_backend_in_the_environment_changes_nothing(python):
    source = "from keras_cnns.cli.evaluate import main; main(['nin:digits', '--data', 'digits', '--json'])"
    done = python(source, KERAS_BACKEND="jax")
    assert done.returncode == 0 and json.loads(done.stdout)["examples"] == 360, done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("place, message", [("/dev/full", "No space left"), ("closed pipe", "")])
def test_unwritable_stdout_is_exit_code_5(option, place, message):
    command = [sys.executable, "-c", "from keras_cnns.cli.train import main; main()", option]
    if place == "closed pipe":
        reader, out = os.pipe()
        os.close(reader)
    else:
        out = os.open(place, os.O_WRONLY)
    done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(out)
    assert done.returncode == 5 and "Traceback" not in done.stderr and message in done.stderr
    assert message or not done.stderr
