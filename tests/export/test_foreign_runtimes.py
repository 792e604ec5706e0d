"""The shipped networks' artifacts in other runtimes: OpenVINO, OpenCV, onnxruntime-web, onnx, TensorFlow Lite Micro.

They are installed by `make .venv-runtimes/.installed`, which `make test-all` does.
"""

import pytest
import runtimes_table
from _shipped import entries, full_name


def cells():
    """{(network, artifact, runtime): what the page says}."""
    rows = [line.split(" | ") for line in runtimes_table.PAGE.read_text("utf8").splitlines() if line.startswith("| ")]
    names = [runtime for _, runtime, _ in runtimes_table.RUNTIMES]
    return {
        (network.removeprefix("| "), artifact, runtime): cell.removesuffix(" |")
        for network, artifact, *values in rows[1:]
        for runtime, cell in zip(names, values, strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [runtime for _, runtime, _ in runtimes_table.RUNTIMES])
@pytest.mark.parametrize("name", [full_name(entry) for entry in entries()])
def test_artifacts_in_other_runtimes(name, runtime):
    """What docs/runtimes.md says is measured again."""
    if runtime not in runtimes_table.installed():
        pytest.skip(f"{runtime} is not in .venv-runtimes; run make .venv-runtimes/.installed")
    said, rows = cells(), list(runtimes_table.measure(name, runtimes=[runtime]))
    assert rows
    for artifact, _, difference, others, refusal in rows:
        cell = said[name, artifact, runtime]
        assert (cell == "no") == (refusal is not None), (artifact, refusal)
        if refusal is None and "float32" in artifact:
            assert difference <= 1e-4 and others == 0, artifact
        elif refusal is None:
            told = int(cell.split(", ")[1].split()[0]) if "," in cell else 0
            assert others <= told + 1, artifact  # another processor rounds otherwise


def test_the_page_is_that_of_the_script():
    """Every network that ships and every artifact has its row."""
    text = runtimes_table.PAGE.read_text("utf8")
    for entry in entries():
        for artifact, *_ in runtimes_table.ARTIFACTS:
            assert f"| {full_name(entry)} | {artifact} |" in text
