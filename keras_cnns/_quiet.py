"""The start of TensorFlow, and messages that are not for users.

Standard library only.
"""

import contextlib
import gc
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from keras_cnns import _machine

# Lines that TensorFlow writes while it starts, before its logging obeys TF_CPP_MIN_LOG_LEVEL
CHATTER = re.compile(
    r"WARNING: All log messages before absl|[IWE]\d{4} [\d:.]+ +\d+ \S+\.cc:\d+\]|"
    r"\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IWE] |To enable the following instructions:"
)

# Packages that Keras and TensorFlow import where they are installed, for parts that no command uses: keras.wrappers,
# keras.visualization, tf.lite of JAX functions. They take a third of the time of `import keras`.
UNUSED = ("jax", "matplotlib", "sklearn")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what converters and runtimes write to stderr within the context.

    If they fail, the text becomes a note of the traceback.
    """
    level = logging.root.manager.disable
    texts: list[str] = []
    try:
        with held_back(texts):
            logging.disable(logging.WARNING)
            try:
                yield
            finally:
                logging.disable(level)
    except BaseException as error:
        if texts:
            error.add_note(texts[0])
        raise


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Import TensorFlow faster and silently within the context.

    All other text is written afterwards. If TF_CPP_MIN_LOG_LEVEL is set to any value, nothing is suppressed.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        with uncollected():
            yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # For later lines, such as those about a missing GPU
    texts: list[str] = []
    try:
        with held_back(texts), uncollected():
            yield
    finally:
        if "tensorflow" not in sys.modules:
            del os.environ["TF_CPP_MIN_LOG_LEVEL"]  # A later import may be that of TensorFlow
        for line in "".join(texts).splitlines(keepends=True):
            if not CHATTER.match(line) and sys.stderr is not None:
                sys.stderr.write(line)


def choose_kernels() -> None:
    """Let TensorFlow use its oneDNN kernels on any x86 processor with AVX2.

    By itself it does so only where there is AVX512-VNNI, AVX512-BF16 or AMX, but they are faster on older processors
    too: benchmarks/kernels.py measures how much. TensorFlow reads the variable once, when it is imported; after that,
    and if the variable is set, nothing is changed.
    """
    if "tensorflow" in sys.modules or "TF_ENABLE_ONEDNN_OPTS" in os.environ:
        return
    if "avx2" in _machine.instructions():
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"


def import_keras() -> None:
    """Import keras and its backend without TensorFlow's lines about its start."""
    with starting():
        import keras  # noqa: F401


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause Python's garbage collector within the context.

    The import of Keras and TensorFlow makes a million objects that stay. To look through them again and again would be
    a fifth of its time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def without_unused() -> Iterator[None]:
    """Let imports of `UNUSED` fail, as if they were not installed.

    Packages that are imported already, and the one that Keras computes with, are not touched. For commands only:
    programs may use the parts of Keras that would be missing.
    """
    needed = {*sys.modules, os.environ.get("KERAS_BACKEND")}
    names = [name for name in UNUSED if name not in needed]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None, at which an import stops
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextlib.contextmanager
def held_back(texts: list[str]) -> Iterator[None]:
    """Capture what is written to stderr within the context.

    C libraries are captured too. Without a stderr, or without room for a temporary file, nothing is captured.

    Args:
        texts: list to which the captured text is appended on leaving.
    """
    try:
        stderr, held = os.dup(2), tempfile.TemporaryFile()
    except OSError:  # stderr is closed, or no temporary file can be made
        yield
        return
    with held:
        _flush()
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            _flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            texts.append(held.read().decode(errors="replace"))


def _flush():
    if sys.stderr is not None:  # It is None in a program without a console
        sys.stderr.flush()
