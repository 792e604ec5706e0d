"""The shipped networks' artifacts run in other runtimes.

They are OpenVINO, OpenCV, onnxruntime-web, onnx's reference evaluator and TensorFlow Lite Micro. The target
`.venv-runtimes/.installed` of make installs them, and `make test-all` makes that target.
"""

import pytest
import runtimes_table
from _shipped import entries, full_name


def cells():
    """The cells of the page by (network, artifact, runtime)."""
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
def test_artifacts_in_other_runtimes_are_as_documented(name, runtime):
    """The cells of docs/runtimes.md are measured again."""
    if runtime not in runtimes_table.installed():
        pytest.skip(f"{runtime} is not in .venv-runtimes; run make .venv-runtimes/.installed")
    documented, rows = cells(), list(runtimes_table.measure(name, runtimes=[runtime]))
    assert rows
    for artifact, _, difference, others, refusal in rows:
        cell = documented[name, artifact, runtime]
        assert (cell == "no") == (refusal is not None), (artifact, refusal)
        if refusal is None and "float32" in artifact:
            assert difference <= 1e-4 and others == 0, artifact
        elif refusal is None:
            documented_others = int(cell.split(", ")[1].split()[0]) if "," in cell else 0
            assert others <= documented_others + 1, artifact  # another processor rounds in another way


def test_the_page_has_a_row_for_every_network_and_artifact():
    text = runtimes_table.PAGE.read_text("utf8")
    for entry in entries():
        for artifact, *_ in runtimes_table.ARTIFACTS:
            assert f"| {full_name(entry)} | {artifact} |" in text
