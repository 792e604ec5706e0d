"""Each artifact run by its own runtime: what the format's users will run it with."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np

from keras_cnns._quiet import quiet
from keras_cnns.errors import ArgumentError, ArtifactError
from keras_cnns.export import _runner
from keras_cnns.export.formats import FORMATS

SECONDS = 1800  # after which a runtime that does not answer has hung


def format_of(path):
    """Return the name of an artifact's format, told by its suffix; raise ArgumentError if it has none of them."""
    for name, one in FORMATS.items():
        if str(path).rstrip("/").endswith(one.suffix):
            return name
    if (Path(path) / "saved_model.pb").is_file():
        return "saved_model"
    suffixes = ", ".join(one.suffix for one in FORMATS.values())
    raise ArgumentError(f"the name of an artifact ends in one of {suffixes}. Received: path={str(path)!r}")


def format_of_existing(path):
    """Return the name of the format of an artifact; raise ArgumentError as `format_of`, and if there is none."""
    format = format_of(path)
    if not Path(path).exists():
        raise ArgumentError(f"there is no such artifact. Received: artifact={str(path)!r}")
    return format


def open_artifact(path, format=None):
    """Return a function that runs an artifact in this process.

    Args:
        path: of the artifact.
        format: a name of `FORMATS`; None: told by the suffix.

    Returns:
        A function from images (batch, height, width, channels) to a dictionary from output name to float32 array.
        The images are uint8 pixels, or float32 for an artifact that takes it; integer inputs and outputs are
        scaled, and channels put first, where the artifact wants it. Its attributes `inputs`, `outputs` and `card`
        describe the artifact.

    Raises:
        ArgumentError: for a format that is not known.
    """
    format = format or format_of(path)
    if format not in FORMATS:
        raise ArgumentError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}")
    with quiet():
        return _runner.OPEN[format](Path(path))


class RuntimeProcess:
    """An artifact in a process of its own, which imports the runtime and NumPy only. A context manager.

    Args:
        path: of the artifact.
        format: a name of `FORMATS`, or of another runner that `program` knows.
        threads: of the runtime; 0: its own choice.
        program: the file to run, which serves as `_runner` does.
    """

    def __init__(self, path, format, threads=0, program=_runner.__file__):
        self.path, self.command = path, [sys.executable, "-P", program, format, str(path), str(threads)]

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        pipe = subprocess.PIPE
        # On the CPU, as the other runtimes; a GPU's memory is this process's already, and its float32 is shorter
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        self.process = subprocess.Popen(
            self.command, stdin=pipe, stdout=pipe, stderr=self.log, text=True, env=environment
        )
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def ask(self, **request):
        """Return the answer to a request; see `_runner.answer`.

        Raises:
            ModuleNotFoundError: if the runtime is not installed.
            ArtifactError: if the runtime refuses the artifact, dies or hangs.
        """
        late = threading.Timer(SECONDS, self.process.kill)
        late.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            hung = late.finished.is_set()
            late.cancel()
        if not line:
            raise ArtifactError(self._how_it_ended(hung))
        said = json.loads(line)
        if said.get("module"):
            raise ModuleNotFoundError(said["text"], name=said["module"])
        if "error" in said:
            raise ArtifactError(f"{said['error']}: {said['text']}")
        return said

    def run(self, images):
        """Return the outputs for all images (images, height, width, channels), as `Runner` gives them."""
        with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
            given, made = Path(folder) / "images.npy", Path(folder) / "outputs.npz"
            np.save(given, images)
            self.ask(do="run", images=str(given), outputs=str(made))
            with np.load(made) as outputs:
                return dict(outputs)

    def run_files(self, contents):
        """Return what a SavedModel's `serve_image_bytes` gives for the contents of image files."""
        with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
            paths = [Path(folder) / f"{k}.png" for k in range(len(contents))]
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            made = Path(folder) / "outputs.npz"
            self.ask(do="files", images=[str(path) for path in paths], outputs=str(made))
            with np.load(made) as outputs:
                return dict(outputs)

    def _how_it_ended(self, hung):
        code = self.process.wait()
        self.log.seek(0)
        said = self.log.read().decode(errors="replace").strip().splitlines()
        last = f"; its last line: {said[-1][:200]}" if said else ""
        if hung:
            return f"its runtime gave no answer for {SECONDS} seconds"
        if code < 0:
            killed = " (the system may have run out of memory)" if code == -9 else ""
            return f"the process that ran it was killed by signal {-code}{killed}{last}"
        return f"the process that ran it ended with exit code {code}{last}"
