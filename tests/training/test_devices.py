"""That devices and processes share a run without changing its result."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_cnns import recipes, training
from keras_cnns.errors import ArgumentError, TrainingError
from keras_cnns.saving import load_model, read_info
from keras_cnns.training import _processes

SCRIPT = Path(__file__).parent / "shared_run.py"
PLAIN = {"network": {"normalization": False}}


def start(runs, backend="jax", **settings):
    """Start training runs in a child process."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={settings.get('logical') or 1}"
    text = json.dumps({"runs": {str(output): options for output, options in runs.items()}, **settings})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, str(SCRIPT), text], env=environment, text=True, **pipes)


def finished(process, code=0):
    """Wait for a process, and return (lines of JSON on stdout, stderr)."""
    out, err = process.communicate(timeout=300)
    assert code is None or process.returncode == code, err
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], err


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_two(*runs, **settings):
    """Start two processes that train the same runs, or one each."""
    address = f"127.0.0.1:{free_port()}"
    return [
        start(runs[k % len(runs)], join={"coordinator": address, "num_processes": 2, "process_id": k}, **settings)
        for k in (0, 1)
    ]


def difference(one, other):
    """Return the largest difference between the weights of two runs."""
    pairs = zip(*(load_model(run / "model.keras").get_weights() for run in (one, other)), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def log_of(run):
    return np.loadtxt(run / "log.csv", delimiter=",", skiprows=1)


def check_same(one, other, tolerance=2e-6):
    assert difference(one, other) < tolerance
    np.testing.assert_allclose(log_of(one), log_of(other), rtol=5 * tolerance, atol=tolerance)
    first, second = (read_info(run / "model.keras") for run in (one, other))
    assert first.metrics["test"]["top1"] == second.metrics["test"]["top1"]
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in other.iterdir())
    best = [load_model(run / "best.keras").get_weights() for run in (one, other)]
    for a, b in zip(*best, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.mark.slow
def test_mirrored_training_equals_one_device(tmp_path):
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    runs = {one: {"devices": 1}, two: {"devices": 2}, other: {"devices": 1, "seed": 1}}
    found, _ = finished(start(runs, "tensorflow", logical=2))
    assert "devices" not in found[0]["training"] and found[1]["training"]["devices"] == ["CPU:0", "CPU:1"]
    check_same(one, two)
    assert difference(one, other) > 1e-2


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone, together = start({one: {}}), start_two({two: {}})
    found = [finished(process)[0][0] for process in together]
    finished(alone)
    assert found[0]["training"]["processes"] == 2 and found[0]["metrics"] == found[1]["metrics"]
    check_same(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_equal_one(tmp_path, backend):
    cases = {
        "even": {},
        "uneven": {"images": {"train": 77}, "recipe": PLAIN},
        "fewer images than devices": {"images": {"train": 73}, "recipe": PLAIN},
        "weights": {"images": {"train": 77}, "recipe": {**PLAIN, "balance": "weights"}},
        "soft": {"images": {"train": 77}, "recipe": {**PLAIN, "label_smoothing": 0.1}},
        "adam": {"images": {"train": 77}, "recipe": {**PLAIN, "optimizer": "adamw", "moving_average": 0.9}},
        "augmented": {"recipe": {"augmentation": "pad-crop-flip"}},
    }
    runs = {}
    for name, case in cases.items():
        runs |= {tmp_path / f"{name} {devices}": {"devices": devices, **case} for devices in (1, 2)}
    finished(start(runs, backend, logical=2))
    for name in cases:
        one, two = (tmp_path / f"{name} {devices}" for devices in (1, 2))
        assert difference(one, two) < 1e-5, name
        one, two = log_of(one), log_of(two)
        np.testing.assert_allclose(one[:, -2:], two[:, -2:], rtol=1e-5, err_msg=name)  # validation, of 19 images
        np.testing.assert_allclose(one[:, :-2], two[:, :-2], rtol=0.05, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_batch_normalization_and_dropout_nearly_equal_one_device(tmp_path, backend):
    """Batch normalization sees a repeated image twice, and dropout draws other numbers."""
    cases = {
        "uneven": {"images": {"train": 77}},
        "dropout": {"recipe": {"network": {"dropout": 0.3}, "epochs": 12}},
    }
    runs = {}
    for name, case in cases.items():
        runs |= {tmp_path / f"{name} {devices}": {"devices": devices, **case} for devices in (1, 2)}
    finished(start(runs, backend, logical=2))
    assert 1e-6 < difference(tmp_path / "uneven 1", tmp_path / "uneven 2") < 0.05
    one, two = (log_of(tmp_path / f"dropout {devices}") for devices in (1, 2))
    assert one[-1, -1] != two[-1, -1] and one[-1, -1] == pytest.approx(two[-1, -1], rel=0.3)
    assert one[-1, -2] > 0.9 and two[-1, -2] > 0.9


@pytest.mark.slow
def test_uneven_images_in_two_processes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    case = {"images": {"train": 73, "validation": 19}, "recipe": PLAIN}
    alone, together = start({one: case}), start_two({two: case})
    for process in [alone, *together]:
        finished(process)
    assert difference(one, two) < 1e-5
    np.testing.assert_allclose(log_of(one)[:, -2:], log_of(two)[:, -2:], rtol=1e-5)


@pytest.mark.slow
def test_stopped_runs_resume_with_other_numbers_of_processes(tmp_path):
    whole, narrower, wider = (tmp_path / name for name in ("whole", "narrower", "wider"))
    long = {"recipe": {"epochs": 60, "learning_rate": 0.01}}  # JAX takes some steps to agree where to stop
    alone = start({whole: long, wider: {**long, "stop_at": 13}})
    stopping = start_two({narrower: {**long, "stop_at": 13}}, {narrower: long})  # Ctrl-C in one of them
    assert "stopped" in finished(alone)[0][1]
    for process in stopping:
        (found,), _ = finished(process)
        assert "of 60 epochs; the network as it was then" in found["stopped"]
    with np.load(narrower / "checkpoint.npz") as file:
        state = json.loads(file["state"].tobytes())
    assert 13 <= 10 * state["epoch"] + state["step"] < 600
    resuming = [start({narrower: {**long, "resume": True}}), *start_two({wider: {**long, "resume": True}})]
    for process in resuming:
        finished(process)
    check_same(whole, narrower, 1e-4)
    check_same(whole, wider, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_stopped_runs_resume_with_other_numbers_of_devices(tmp_path, backend):
    whole, narrower, wider = (tmp_path / name for name in ("whole", "narrower", "wider"))
    exact = {"deterministic": True}
    runs = [
        {whole: {"devices": 1, **exact}, narrower: {"devices": 2, "stop_at": 13, **exact}},
        {narrower: {"devices": 1, "resume": True, **exact}, wider: {"devices": 1, "stop_at": 13, **exact}},
        {wider: {"devices": 2, "resume": True, **exact}},
    ]
    found = [line for some in runs for line in finished(start(some, backend, logical=2))[0]]
    stopped = ["stopped" in line for line in found]
    assert stopped == [False, True, False, True, False]
    check_same(whole, narrower)
    check_same(whole, wider)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_loss_that_is_not_finite_is_explained_on_several_devices(tmp_path, backend):
    case = {"devices": 2, "recipe": {"learning_rate": 1e30}}
    (found,), _ = finished(start({tmp_path / "run": case}, backend, logical=2))
    assert "became NaN or infinite in epoch 1, step" in found["failed"] and "(layer " in found["failed"]


@pytest.mark.slow
def test_a_killed_process_is_named_by_the_other(tmp_path):
    output = tmp_path / "run"
    killed = {"die_at": 200, "recipe": {"epochs": 2000}}
    first, second = start_two({output: {"recipe": {"epochs": 2000}}}, {output: killed})
    second.communicate(timeout=300)
    died = time.monotonic()
    _, err = finished(first, code=None)
    assert first.returncode != 0 and time.monotonic() - died < 60
    assert "TrainingError: process 1 is gone" in err and "call it again with resume=True" in err
    assert (output / "checkpoint.npz").exists()


@pytest.mark.slow
def test_the_other_process_ends_when_the_one_that_writes_is_killed(tmp_path):
    output = tmp_path / "run"
    killed = {"die_at": 200, "recipe": {"epochs": 2000}}
    first, second = start_two({output: killed}, {output: {"recipe": {"epochs": 2000}}})
    first.communicate(timeout=300)
    died = time.monotonic()
    _, err = finished(second, code=None)
    assert second.returncode != 0 and time.monotonic() - died < 60
    assert "process 0 is gone" in err or "coordination service" in err


@pytest.mark.slow
def test_processes_with_different_arguments_are_refused(tmp_path):
    output = tmp_path / "run"
    for process in start_two({output: {}}, {output: {"seed": 5}}):
        _, err = finished(process, code=None)
        assert process.returncode != 0
        assert (
            "all processes must be started with the same arguments" in err
            and "process 1 is not as process 0. Received: seed=" in err
        )
    assert not (output / "log.csv").exists()


@pytest.mark.slow
def test_a_process_that_never_comes_is_reported(tmp_path):
    source = (
        "from keras_cnns.training import _processes, distribution; _processes.MEETING_TIMEOUT = 3; "
        f"distribution(coordinator='127.0.0.1:{free_port()}', num_processes=3, process_id=0)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and "all 3 processes have not met at 127.0.0.1:" in done.stderr


def test_a_coordinator_that_does_not_answer_is_reported(monkeypatch):
    monkeypatch.setattr(_processes, "MEETING_TIMEOUT", 1)
    with pytest.raises(TrainingError, match=r"no process 0 answered there within 1 seconds .*start it, .*:1'"):
        _processes.join("127.0.0.1:1", 2, 1)


def test_two_coordinators_on_one_port_are_refused():
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ArgumentError, match="cannot listen there .*choose another port"):
            _processes.join(f"127.0.0.1:{port}", 2, 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("nowhere", 2, 0), "must be HOST:PORT of process 0"),
        (("host:port", 2, 0), "must be HOST:PORT of process 0"),
        (("host:1", 2, 2), "`process_id` from 0 to one less"),
        (("host:1", None, 0), "give `num_processes`"),
    ],
)
def test_impossible_addresses_and_numbers_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        _processes.join(*arguments)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"devices": 1000}, "there are no more devices than"),
        ({"devices": 0}, "'all' or a whole number from 1"),
        ({"devices": "2"}, "'all' or a whole number from 1"),
        ({"coordinator": "host:1", "num_processes": 2, "process_id": 0}, "several processes train on JAX: set KERAS_"),
        ({"num_processes": 2}, "need a `coordinator`"),
    ],
)
def test_impossible_distributions_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        training.distribution(**settings)


def test_one_device_needs_no_engine():
    distribution = training.distribution(1)
    assert distribution.engine is None and distribution.share is None and distribution.writes


def command(*arguments, **environment):
    """Start cnn-train in a child process."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", **environment}
    environment["PYTHONPATH"] = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    source = "from keras_cnns.cli.train import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", source, *map(str, arguments)], env=environment, text=True, **pipes)


@pytest.fixture
def images(tmp_path):
    random, parts = np.random.default_rng(0), {}
    for part, count in (("train", 60), ("test", 20)):
        labels = np.arange(count) % 2
        images = random.integers(0, 100, (count, 28, 28, 1)) + 100 * labels[:, None, None, None]
        parts |= {f"x_{part}": images.astype("uint8"), f"y_{part}": labels}
    np.savez(tmp_path / "images.npz", **parts)
    return tmp_path / "images.npz"


@pytest.mark.slow
def test_the_command_in_two_processes_of_a_scheduler(tmp_path, images):
    """Both start by Slurm's variables; another seed in one ends both."""
    common = ["LeNet5Modern", "--data", images, "--epochs", 2, "--batch-size", 8, "--json", "--coordinator", "auto"]
    slurm = {"SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "1"}

    def both(output, more=("", "")):
        slurm["SLURM_JOB_ID"] = str(free_port())
        for k in (0, 1):
            own = {"SLURM_PROCID": str(k), "SLURM_LOCALID": str(k)}
            yield command(*common, "--output", output, *more[k].split(), **slurm, **own)

    first, second = (process.communicate(timeout=300) for process in list(both(tmp_path / "run")))
    record = json.loads(first[0])
    assert record["training"]["processes"] == 2 and record["metrics"]["test"]["examples"] == 20, first[1]
    assert second[0] == "" and "epoch" in first[1] and "epoch" not in second[1]
    started = time.monotonic()
    for process in list(both(tmp_path / "other", ("", "--seed 3"))):
        _, err = process.communicate(timeout=300)
        assert (
            process.returncode == 2 and "all processes must be started with the same arguments" in err.splitlines()[-1]
        ), err
    assert time.monotonic() - started < 100


def test_wrong_options_of_the_command_are_usage_errors(cli, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    for text in ("0", "few", "-1"):
        code, _, err = cli("train", "NiN", "--data", "digits", "--devices", text)
        assert code == 2 and "neither 'all' nor a whole number from 1" in err
    code, _, err = cli("train", "NiN", "--data", "digits", "--devices", "1000")
    assert code == 2 and "there are no more devices than" in err
    code, _, err = cli("train", "NiN", "--data", "digits", "--num-processes", "2")
    assert code == 2 and "need a `coordinator`" in err


def test_the_rate_grows_with_the_batch_when_asked(cli, monkeypatch):
    seen = []

    def train(build, source, recipe, *arguments, **options):
        seen.append(recipe)
        raise ArgumentError("seen enough")

    monkeypatch.setattr(training, "train", train, raising=False)
    for more in ((), ("--scale-learning-rate",)):
        cli("train", "NiN", "--data", "digits", "--batch-size", "256", *more)
    plain, scaled = seen
    assert plain.batch_size == scaled.batch_size == 256
    assert scaled.learning_rate == plain.learning_rate * 256 / recipes.NIN_DIGITS.batch_size
    assert plain.learning_rate == recipes.NIN_DIGITS.learning_rate
