"""README's numbers are those of the records, and its programs run."""

import os
import re
import runpy
import subprocess
import sys

import pytest
from conftest import ROOT

from keras_cnns import applications

README = (ROOT / "README.md").read_text("utf8")


def test_the_table_of_expected_scaling_is_up_to_date(monkeypatch):
    """`python benchmarks/devices.py --scaling` prints its numbers."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    rows = runpy.run_path(str(ROOT / "benchmarks" / "devices.py"))["scaling"]()
    assert len(rows) == 9
    for name in {row["network"] for row in rows}:
        shares = " | ".join(f"{row['expected']:.0%}".replace("%", " %") for row in rows if row["network"] == name)
        assert f"| `{name}` | {shares} |" in README
    for devices in {row["devices"] for row in rows}:
        assert devices in README


def test_linked_files_exist():
    for path in re.findall(r"\]\((?!https:)([^)]+)\)", README):
        assert (ROOT / path).exists(), path


@pytest.mark.slow
@pytest.mark.parametrize("number", range(README.count("```python")))
def test_programs_run(number, tmp_path):
    program = re.findall(r"```python\n(.*?)```", README, re.S)[number]
    if "read_image" in program:  # it uses files that the shell commands before it make
        from PIL import Image

        from keras_cnns import data, export

        export.export_model(applications.weights_info("NiN", "digits").path, tmp_path / "exports", ["tflite"])
        Image.fromarray(data.open_source("digits").split("test").items[0].squeeze(-1)).save(tmp_path / "image.png")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "examples")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    if "imagenet" in program and "cannot be fetched" in done.stderr:
        pytest.skip("Keras's files cannot be fetched here")
    assert done.returncode == 0, done.stderr
    if "training.train" in program:
        assert float(re.search(r"'top1': ([0-9.]+)", done.stdout)[1]) >= 0.98
        assert sorted(os.listdir(tmp_path / "exports")) == [
            "manifest.json",
            "nin.onnx",
            "nin.tflite",
            "nin_saved_model",
        ]


@pytest.mark.slow
def test_train_nin_digits_is_as_accurate_as_its_docstring_says(tmp_path):
    script = ROOT / "scripts" / "train_nin_digits.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    share = float(re.search(r"([0-9.]+)% of 360 test images", done.stdout.splitlines()[-1])[1])
    assert share >= 98 and (tmp_path / "nin-digits.keras").is_file()
    assert re.search(r"Last line: [0-9.]+% of 360 test images", script.read_text("utf8"))
