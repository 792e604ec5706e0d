"""Open artifacts in this process, or run them in child processes."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np

from keras_cnns import typing
from keras_cnns._quiet import quiet
from keras_cnns.errors import ArgumentError, ArtifactError
from keras_cnns.export import _runner
from keras_cnns.export.formats import FORMATS

TIMEOUT = 1800  # seconds after which a runtime that does not answer is considered to hang
PROGRAM = _runner.__file__  # the program that a `RuntimeProcess` starts by default


def format_of(path: typing.Path) -> str:
    """Return the name of an artifact's format, as its suffix says.

    Args:
        path: the artifact; it need not exist.

    Returns:
        A name of `FORMATS`.

    Raises:
        ArgumentError: if the path has none of the formats' suffixes and is not the folder of a SavedModel.

    Examples:
        >>> from keras_cnns import export
        >>> export.format_of("exports/nin-digits.onnx")
        'onnx'
    """
    for format in FORMATS.values():
        if str(path).rstrip("/").endswith(format.suffix):
            return format.name
    if (Path(path) / "saved_model.pb").is_file():
        return "saved_model"
    suffixes = ", ".join(format.suffix for format in FORMATS.values())
    raise ArgumentError(f"the name of an artifact ends in one of {suffixes}. Received: path={str(path)!r}")


def format_of_existing(path: typing.Path) -> str:
    """Return the name of an existing artifact's format.

    Args:
        path: the artifact.

    Raises:
        ArgumentError: as `format_of`, or if there is no such artifact.
    """
    format = format_of(path)
    if not Path(path).exists():
        raise ArgumentError(f"there is no such artifact. Received: artifact={str(path)!r}")
    return format


def open_artifact(path: typing.Path, format: str | None = None) -> _runner.Runner:
    """Return a function that runs an artifact in this process.

    Args:
        path: the artifact.
        format: a name of `FORMATS`; None: told by the suffix.

    Returns:
        A function from images (batch, height, width, channels) to a dictionary from output name to float32 array.
        The images are uint8 pixels, or float32 for an artifact with a float32 input. Quantized inputs and outputs are
        scaled, and channels are moved first, where the artifact needs it. The function's attributes `inputs`,
        `outputs` and `card` describe the artifact.

    Raises:
        ArgumentError: if the format is unknown.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import applications, export
        >>> report = export.export_model(applications.weights_info("NiN", "digits").path, "exports", "onnx")
        >>> run = export.open_artifact(report.artifacts[0].path)
        >>> run(np.zeros((1, 32, 32, 1), "uint8"))["probabilities"].shape
        (1, 10)
    """
    format = format or format_of(path)
    if format not in FORMATS:
        raise ArgumentError(f"`format` must be one of {', '.join(FORMATS)}. Received: format={format!r}")
    with quiet():
        return _runner.OPENERS[format](Path(path))


class RuntimeProcess:
    """A child process that runs one artifact.

    It imports only the artifact's runtime and NumPy.

    A context manager: the process lives inside the `with` block.

    Args:
        path: the artifact.
        format: a name of `FORMATS`, or another format that `program` knows.
        threads: how many the runtime may use; 0: its default.
        program: file that the process runs, with the protocol of `_runner`; None: `PROGRAM`.
    """

    def __init__(self, path: typing.Path, format: str, threads: int = 0, program: str | None = None):
        self.path = path
        self.command = [sys.executable, "-P", program or PROGRAM, format, str(path), str(threads)]

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        # All runtimes use the CPU. A GPU's memory belongs to this process already, and it may round float32 to 10 bits.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self.command, stdin=pipe, stdout=pipe, stderr=self.log, text=True, env=environment
        )
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request to the process and return its answer.

        Args:
            **request: JSON values, as `_runner.answer` takes them.

        Raises:
            ModuleNotFoundError: if the runtime is not installed.
            ArtifactError: if the runtime refuses the artifact, dies or hangs.
        """
        assert self.process.stdin and self.process.stdout  # for type checkers: both are pipes
        timer = threading.Timer(TIMEOUT, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timed_out = timer.finished.is_set()
            timer.cancel()
        if not line:
            raise ArtifactError(self._describe_end(timed_out))
        answer = json.loads(line)
        if answer.get("module"):
            raise ModuleNotFoundError(answer["text"], name=answer["module"])
        if "error" in answer:
            raise ArtifactError(f"{answer['error']}: {answer['text']}")
        return answer

    def run(self, images: np.ndarray) -> _runner.Outputs:
        """Return the float32 outputs by name.

        Args:
            images: array (images, height, width, channels), in the artifact's type.
        """
        with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
            input_file = Path(folder) / "images.npy"
            np.save(input_file, images)
            return self._ask_for_outputs(folder, do="run", images=str(input_file))

    def run_files(self, contents: list[bytes]) -> _runner.Outputs:
        """Return the outputs of a SavedModel's `serve_image_bytes`.

        Args:
            contents: the contents of image files.
        """
        with tempfile.TemporaryDirectory(prefix="keras_cnns-") as folder:
            paths = [Path(folder) / f"{k}.png" for k in range(len(contents))]
            for path, content in zip(paths, contents, strict=True):
                path.write_bytes(content)
            return self._ask_for_outputs(folder, do="files", images=[str(path) for path in paths])

    def _ask_for_outputs(self, folder, **request):
        output_file = Path(folder) / "outputs.npz"
        self.ask(**request, outputs=str(output_file))
        with np.load(output_file) as outputs:
            return dict(outputs)

    def _describe_end(self, timed_out):
        """Return how the process ended, with its last line of stderr."""
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        last_line = f"; its last line: {lines[-1][:200]}" if lines else ""
        if timed_out:
            return f"its runtime gave no answer for {TIMEOUT} seconds"
        if code < 0:
            reason = " (the system may have run out of memory)" if code == -9 else ""
            return f"the process that ran it was killed by signal {-code}{reason}{last_line}"
        return f"the process that ran it ended with exit code {code}{last_line}"
