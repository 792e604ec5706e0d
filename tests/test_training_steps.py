"""The benchmark of training steps: its processes, its limits, and its networks in PyTorch."""

import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from families import randomize

from keras_cnns import _machine, applications

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import processes
processes.serve(lambda: open(sys.argv[2], "a").write("called "))
"""


@pytest.fixture
def benchmarks(monkeypatch):
    """Make the modules of benchmarks/ importable for one test."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before, environment = set(sys.modules), dict(os.environ)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BENCHMARKS:
            del sys.modules[name]
    for name in set(os.environ) - set(environment):
        del os.environ[name]


def test_processes_take_turns_and_a_failure_is_an_error(benchmarks, tmp_path):
    import common
    import processes

    files = {name: tmp_path / name for name in ("ours", "theirs")}
    commands = {name: (["-c", SERVER, str(BENCHMARKS), str(path)], {}) for name, path in files.items()}
    with processes.processes(commands) as functions:
        times = common.interleave(functions, 2)
    # One call in the process and one of `interleave` warm up, and two count
    assert [path.read_text() for path in files.values()] == ["called " * 4] * 2
    assert {name: len(seconds) for name, seconds in times.items()} == {"ours": 2, "theirs": 2}
    with (
        processes.processes({"ours": (["-c", "raise SystemExit(1)"], {})}) as functions,
        pytest.raises(RuntimeError, match="process of the benchmark failed"),
    ):
        functions["ours"]()


@pytest.mark.parametrize(
    "instructions, isa, expected",
    [
        (["avx2", "avx512f", "avx512_bf16"], None, True),
        (["avx2", "avx512f", "avx512_bf16"], "AVX2", False),
        (["avx2", "avx512f", "avx512_bf16"], "AVX512_CORE", False),
        (["avx2", "avx512f", "avx512_bf16", "amx_bf16"], "AVX512_CORE_BF16", True),
        (["avx2", "avx512f"], None, False),
    ],
)
def test_bfloat16_is_measured_only_where_it_is_not_emulated(benchmarks, monkeypatch, instructions, isa, expected):
    import training_steps

    monkeypatch.setattr(_machine, "instructions", lambda: instructions)
    assert training_steps.computes_bfloat16(isa) is expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["nin", "alexnet", "alexnet_one_tower", "vgg16", "googlenet", "inception_v3", "resnet50"]
)
def test_the_networks_in_pytorch_compute_the_same(benchmarks, name):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    import torch_twin
    import training_steps

    case = training_steps.CASES[name]
    model = getattr(applications, case.builder)(**case.options, classifier_activation=None)
    randomize(model)
    twin = torch_twin.build(name)  # it has as many parameters as the table says
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == torch_twin.TWINS[name].parameters
    torch_twin.copy_weights(model, twin)
    twin.eval()
    images = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
    ours = keras.ops.convert_to_numpy(model(images, training=False))
    with torch.no_grad():
        theirs = twin(torch.tensor(images.transpose(0, 3, 1, 2))).numpy()
    assert ours.std() > 0
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(ours).max())
