"""Versions, hardware and settings for a bug report; imports no framework."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from typing import Any

from keras_cnns.cli import _common

import keras_cnns
from keras_cnns import _machine

PACKAGES = (
    "keras tensorflow tensorflow-datasets jax jaxlib torch numpy scipy scikit-learn pillow pillow-heif matplotlib "
    "ai-edge-litert onnx onnxruntime openvino tf2onnx h5py ml-dtypes protobuf safetensors click rich"
).split()
# Linux's names of the instructions by which the runtimes choose their kernels
INSTRUCTIONS = re.compile(r"(avx|avx2|fma|avx512f|avx512_bf16|avx_vnni|avx512_vnni|amx_.*|asimd|asimddp|bf16|i8mm|sve)")
SETTINGS = re.compile(
    r"(?!TF_CPP_|TF_CLI_)(KERAS_|TF_|XLA_|JAX_|CUDA_VISIBLE_|OMP_NUM_|LC_ALL$|LANG$|PYTHONIOENCODING$|PYTHONUTF8$)"
)


def collect() -> dict[str, Any]:
    """Return the facts that a bug report needs, by name.

    The values are strings, except "packages" and "settings", which are dictionaries of strings.
    """
    # `_common.run` has overwritten the user's backend
    environment = {**os.environ, "KERAS_BACKEND": _common.ASKED_BACKEND or ""}
    return {
        "keras_cnns": keras_cnns.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "system": platform.platform(),
        "processor": _processor(),
        "instructions": " ".join(_instructions()) or "not known",
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "gpus": "; ".join(_gpus()) or "none found",
        "console": f"{sys.stdout.encoding}, {'a terminal' if sys.stdout.isatty() else 'no terminal'}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "settings": {name: value for name, value in sorted(environment.items()) if value and SETTINGS.match(name)},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    return f"{_machine.cpuinfo('model name') or platform.processor() or 'not known'} ({platform.machine()})"


def _instructions() -> list[str]:
    return [word for word in _machine.instructions() if INSTRUCTIONS.fullmatch(word)]


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "not known"


def _gpus() -> list[str]:
    """Return the GPUs that nvidia-smi lists, usable by TensorFlow or not."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
