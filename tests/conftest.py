"""Fixtures that all tests share.

Some tests read real data from ../shared/data. They are skipped with a message if it is missing.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # exact comparisons need the arithmetic of the CPU

if "PYTEST_XDIST_WORKER" in os.environ:  # there is one worker per core, so that more threads would only wait
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")

import gc
import subprocess
import sys
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import keras_cnns  # noqa: F401  before keras, so that it chooses TensorFlow's kernels

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared():
    """The folder of real data."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data of ../shared/data is not at hand")
    return folder


@pytest.fixture(scope="session")
def flowers(shared, tmp_path_factory):
    """A folder of 300 real photographs, train/CLASS/*.jpg and test/CLASS/*.jpg."""
    folder = tmp_path_factory.mktemp("photographs")
    with tarfile.open(shared / "flowers" / "flowers.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "flowers"


@pytest.fixture(autouse=True)
def _seeded(request):
    """Seed all random generators, and free the networks of slow tests.

    Some of them take gigabytes.
    """
    import keras

    keras.utils.set_random_seed(0)
    yield
    if request.node.get_closest_marker("slow"):
        keras.backend.clear_session()
        gc.collect()


@pytest.fixture
def folder_of_images(tmp_path):
    """A folder of twelve red and twelve blue images of different sizes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for channel, name in ((0, "red"), (2, "blue")):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for k in range(12):
            pixels = random.integers(0, 60, (20 + k, 30, 3), dtype="uint8")
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / f"{k}.png")
    return tmp_path / "images"


@pytest.fixture
def cli(capfd):
    """Run a command in this process.

    cli("export", "--format", "onnx") -> (exit code, stdout, stderr)
    """
    import importlib

    def run(name, *arguments):
        command = importlib.import_module(f"keras_cnns.cli.{name}").command
        from keras_cnns.cli import _common

        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # commands print them, and are tested for it
            code = _common._exit_code(command, [str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    return run


@pytest.fixture(scope="session")
def digits_model():
    """The shipped network, in float32, and its record."""
    from keras_cnns import applications

    return applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")


@pytest.fixture
def digits_file(digits_model):
    """The shipped `.keras` file."""
    return digits_model[1].path


@pytest.fixture
def python():
    """Run Python source in a fresh process.

    python(source, KERAS_BACKEND="jax") -> CompletedProcess
    """

    def run(source, *arguments, **environment):
        return subprocess.run(
            [sys.executable, "-c", source, *map(str, arguments)],
            env={**os.environ, **environment},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    return run


def without(*packages):
    """Return Python source after which importing one of these packages fails."""
    return f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
"""


def one_sentence(err, *parts):
    """Return the last line of stderr, which must contain the parts."""
    last = err.strip().splitlines()[-1]
    for part in parts:
        assert part in last, err
    return last
