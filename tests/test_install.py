"""The wheel works in an empty environment outside the repository.

These tests install all dependencies, so only `make test-all` runs them.
"""

import json
import os
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", folder, clone], check=True, capture_output=True
    )
    return next(folder.glob("*.whl"))


def test_the_wheel_contains_only_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"keras_cnns/cli/export.py", "keras_cnns/saved_models/manifest.json"} <= set(names)
    assert "keras_cnns/saved_models/nin-digits.keras" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"keras_cnns"}
    assert not [name for name in names if "test" in name.split("/")[0]]


def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}

    def run(*command):
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    made = run(sys.executable, "-m", "venv", "empty")
    assert made.returncode == 0, made.stderr
    installed = run("empty/bin/python", "-m", "pip", "install", "--quiet", str(wheel))
    assert installed.returncode == 0, installed.stderr
    assert run("empty/bin/python", "-m", "pip", "check").returncode == 0
    done = run("empty/bin/cnn-export", "--format", "tflite", "--json")
    assert done.returncode == 0, done.stderr
    assert "no MODEL was given" in done.stderr and (tmp_path / "exports" / "nin-digits.tflite").is_file()
    assert json.loads(done.stdout)["accuracy"] >= 0.99
    source = (
        "import keras_cnns; print(keras_cnns.__file__, keras_cnns.applications.NiN(weights='digits').count_params())"
    )
    done = run("empty/bin/python", "-I", "-c", source)
    assert done.stdout.startswith(str(tmp_path)) and done.stdout.strip().endswith("349674"), done.stderr
