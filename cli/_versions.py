"""What a bug report needs: versions, processor, devices, settings. Imports no framework."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from keras_cnns.cli import _common

import keras_cnns

PACKAGES = (
    "keras tensorflow tensorflow-datasets jax jaxlib torch numpy scipy scikit-learn pillow pillow-heif matplotlib "
    "ai-edge-litert onnx onnxruntime openvino tf2onnx click rich"
).split()
# Instructions that decide which kernels the runtimes choose, as Linux calls them
INSTRUCTIONS = re.compile(r"(avx|avx2|fma|avx512f|avx512_bf16|avx_vnni|avx512_vnni|amx_.*|asimd|asimddp|bf16|i8mm|sve)")
SETTINGS = re.compile(
    r"(?!TF_CPP_|TF_CLI_)(KERAS_|TF_|XLA_|JAX_|CUDA_VISIBLE_|OMP_NUM_|LC_ALL$|LANG$|PYTHONIOENCODING$|PYTHONUTF8$)"
)


def collect() -> dict:
    """Return what a bug report needs, by name: texts, and a dictionary each of packages and settings."""
    # As they were before the command chose its backend
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


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpuinfo(field):
    """Return the first value of a field of Linux's list of processors, "" where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf8", "replace")
    except OSError:
        return ""
    found = re.search(rf"^{field}\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def _processor():
    return f"{_cpuinfo('model name') or platform.processor() or 'not known'} ({platform.machine()})"


def _instructions():
    return [word for word in (_cpuinfo("flags") or _cpuinfo("Features")).split() if INSTRUCTIONS.fullmatch(word)]


def _memory():
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, ValueError, OSError):
        return "not known"


def _gpus():
    """Return NVIDIA's GPUs as their own tool names them; whether TensorFlow sees them is another question."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
