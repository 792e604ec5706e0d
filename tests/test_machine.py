"""The description of the processor in /proc/cpuinfo."""

import pytest

from keras_cnns import _machine

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
