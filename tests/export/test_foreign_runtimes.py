"""The shipped networks' artifacts in other runtimes: OpenVINO, OpenCV, onnxruntime-web, onnx, TensorFlow Lite Micro.

They are installed by `make .venv-runtimes/.installed`, which `make test-all` does.
"""

import pytest
import runtimes_table
from _shipped import entries, full_name

# TFLite Micro has no CAST from uint8; OpenCV takes no uint8 tensor of a TFLite file, and no quantized activation alone
REFUSED = {
    ("tflm", "TFLite float32"),
    ("opencv", "TFLite float32"),
    ("opencv", "TFLite int8"),
    ("opencv", "TFLite `--integer-only`"),
}


@pytest.mark.slow
@pytest.mark.parametrize("runtime", [runtime for _, runtime, _ in runtimes_table.RUNTIMES])
@pytest.mark.parametrize("name", [full_name(entry) for entry in entries()])
def test_artifacts_in_runtimes_of_others(name, runtime):
    if runtime not in runtimes_table.installed():
        pytest.skip(f"{runtime} is not in .venv-runtimes; run make .venv-runtimes/.installed")
    rows = list(runtimes_table.measure(name, runtimes=[runtime]))
    assert rows
    for artifact, _, difference, others, refusal in rows:
        if (runtime, artifact) in REFUSED:
            assert refusal
            continue
        assert refusal is None, (artifact, refusal)
        if "float32" in artifact:
            assert difference <= 1e-4 and others == 0, artifact
        else:
            assert others <= 1, artifact  # of `IMAGES`, as export allows of a few


def test_the_page_is_that_of_the_script():
    """Every network that ships and every artifact has its row."""
    text = runtimes_table.PAGE.read_text("utf8")
    for entry in entries():
        for artifact, *_ in runtimes_table.ARTIFACTS:
            assert f"| {full_name(entry)} | {artifact} |" in text
