"""The processor, and the kernels that TensorFlow takes on it."""

import os
import sys

import pytest

from keras_cnns import _machine, _quiet

X86 = "processor\t: 0\nmodel name\t: A fast CPU: v2\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    "text, name, instructions",
    [(X86, "A fast CPU: v2", ["fpu", "avx2", "amx_bf16"]), (ARM, "", ["fp", "asimd", "bf16"]), (None, "", [])],
)
def test_name_and_instructions_of_the_first_processor(tmp_path, monkeypatch, text, name, instructions):
    if text:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(_machine, "CPUINFO", tmp_path / "cpuinfo")
    assert _machine.cpuinfo("model name") == name and _machine.instructions() == instructions
    assert _machine.processor()


@pytest.mark.parametrize(
    "text, given, chosen", [(X86, None, "1"), (X86, "0", "0"), (ARM, None, None), (X86.replace("avx2", ""), None, None)]
)
def test_tensorflow_starts_with_the_faster_kernels(tmp_path, monkeypatch, text, given, chosen):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(_machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given or "")
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    _quiet.choose_kernels()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == chosen


def test_kernels_are_not_chosen_after_tensorflow_was_imported(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    _quiet.choose_kernels()
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ


def test_the_package_chooses_them_when_it_is_imported(python):
    program = "import os, sys, keras_cnns; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'), 'tensorflow' in sys.modules)"
    environment = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert python(program, **environment).stdout.split() == ["0", "False"]
