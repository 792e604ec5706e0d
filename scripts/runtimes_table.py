"""Run the shipped networks' artifacts in other runtimes, for docs/runtimes.md.

make runtimes                     # installs the runtimes in .venv-runtimes and runs this script
python scripts/runtimes_table.py nin:digits --no-write
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _shipped import ROOT, entries, full_name

FOLDER = ROOT / ".venv-runtimes"
PROGRAMS = ROOT / "tests" / "export" / "foreign"
PAGE = ROOT / "docs" / "runtimes.md"
IMAGES = 16  # the slowest runtime takes a second for each
# Name on the page, name for the programs, formats
RUNTIMES = (
    ("OpenVINO", "openvino", ("onnx", "tflite")),
    ("OpenCV", "opencv", ("onnx", "tflite")),
    ("onnxruntime-web", "web", ("onnx",)),
    ("onnx reference", "reference", ("onnx",)),
    ("TFLite Micro", "tflm", ("tflite",)),
)
# Name on the page, format, options of the export
ARTIFACTS: tuple[tuple[str, str, dict], ...] = (
    ("ONNX float32", "onnx", {}),
    ("ONNX float16", "onnx", {"quantize": "float16"}),
    ("ONNX int8", "onnx", {"quantize": "int8"}),
    ("TFLite float32", "tflite", {}),
    ("TFLite float32, `--io float32`", "tflite", {"io": "float32"}),
    ("TFLite int8", "tflite", {"quantize": "int8"}),
    ("TFLite `--integer-only`", "tflite", {"quantize": "int8", "integer_only": True}),
)
HEAD = """\
# Artifacts in other runtimes

`make runtimes` (`scripts/runtimes_table.py`) writes this page. It runs each artifact on {images} images: digits of
scikit-learn for gray networks, crops of its photographs for others; int8 is calibrated on more images of the same kind.
A cell shows the largest difference between a probability and the Keras model's, and how many images get another class,
if any. "no" means that the runtime refuses the file; its error message follows the table.

TFLite Micro has no CAST from uint8, so float32 files need `--io float32` there. OpenVINO computes with
`INFERENCE_PRECISION_HINT=f32`: by default it uses bfloat16 if the processor supports it, and then refuses int8 files.

Versions: {versions}.

"""


class Measurement(NamedTuple):
    """One artifact in one runtime.

    Attributes:
        artifact: name on the page.
        runtime: name for the programs.
        difference: largest difference of a probability; None if the runtime refuses the file.
        others: number of images of another class; None if the runtime refuses the file.
        refusal: why the runtime refuses the file, or None.
    """

    artifact: str
    runtime: str
    difference: float | None
    others: int | None
    refusal: str | None


def installed() -> list[str]:
    """Return the names of the installed runtimes, as the programs take them."""
    python, node = FOLDER / "bin" / "python", FOLDER / "node" / "node_modules" / "onnxruntime-web"
    names = []
    if python.exists():
        modules = {"openvino": "openvino", "opencv": "cv2", "reference": "onnx", "tflm": "tflite_micro"}
        for name, module in modules.items():
            if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0:
                names.append(name)
    return [*names, "web"] if node.exists() and shutil.which("node") else names


def run(runtime: str, path: str, images: np.ndarray) -> np.ndarray:
    """Return an artifact's outputs (images, classes) in a runtime.

    Args:
        runtime: name for the programs.
        path: of the artifact.
        images: array (images, height, width, channels) of the input's type.

    Raises:
        RuntimeError: with the last line of the program's error, if the runtime refuses the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "images.npy", Path(folder) / "outputs.npy"
        if runtime == "web":
            images.tofile(given)
            shape = ",".join(map(str, (1, *images.shape[1:])))
            command: list[str | Path] = [
                "node",
                PROGRAMS / "run.mjs",
                FOLDER / "node",
                path,
                given,
                images.dtype.name,
                shape,
                made,
            ]
        else:
            np.save(given, images)
            command = [FOLDER / "bin" / "python", PROGRAMS / "run.py", runtime, path, given, made]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in lines if "rror" in line] or lines or [f"exit code {done.returncode}"]
            raise RuntimeError(re.sub(r" /\S+:\d+:", "", errors[-1])[:200])  # without file names and line numbers
        return np.fromfile(made, "float32").reshape(len(images), -1) if runtime == "web" else np.load(made)


def measure(
    name: str, artifacts: Sequence[tuple[str, str, dict]] = ARTIFACTS, runtimes: Sequence[str] | None = None
) -> Iterator[Measurement]:
    """Yield the measurements of a shipped network.

    Args:
        name: of the weights, such as "nin:digits".
        artifacts: rows of `ARTIFACTS`.
        runtimes: names for the programs; None: the installed runtimes.
    """
    from keras_cnns import applications, saving
    from keras_cnns.export import Options, _runner, export_model, open_artifact
    from keras_cnns.export.preparation import prepare_model
    from keras_cnns.export.sample_images import choose_images

    entry = next(entry for entry in entries() if full_name(entry) == name)
    info = applications.weights_info(entry["builder"], entry["name"])
    model = saving.load_with_info(info.path)[0]
    calibration = choose_images(info.preprocessing).images
    images = calibration[:IMAGES]
    prepared = prepare_model(model, info, Options(), name)
    expected = prepared.compute_references(images)[prepared.main_output].values
    runtimes = installed() if runtimes is None else runtimes
    with tempfile.TemporaryDirectory() as folder:
        for k, (artifact, format, settings) in enumerate(artifacts):
            quantized = settings.get("quantize") == "int8"
            options = Options(**settings, verify=False, calibration=calibration if quantized else None)
            (made,) = export_model(model, folder, [format], options, info=info, stem=str(k)).artifacts
            (output,) = open_artifact(made.path).outputs.values()
            inputs = images.astype("float32") if settings.get("io") == "float32" else images
            for _, runtime, formats in RUNTIMES:
                if format not in formats or runtime not in runtimes:
                    continue
                try:
                    outputs = _runner.dequantize(run(runtime, str(made.path), inputs), output)
                except RuntimeError as error:
                    yield Measurement(artifact, runtime, None, None, str(error))
                    continue
                others = int((outputs.argmax(1) != expected.argmax(1)).sum())
                yield Measurement(artifact, runtime, float(np.abs(outputs - expected).max()), others, None)


def versions() -> str:
    """Return the versions of the runtimes, in words."""
    code = (
        "from importlib.metadata import version as v\n"
        "for name in ('openvino', 'opencv-python-headless', 'onnx', 'tflite_micro'): print(name, v(name))"
    )
    done = subprocess.run([FOLDER / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    package = (FOLDER / "node" / "node_modules" / "onnxruntime-web" / "package.json").read_text()
    return ", ".join([*done.stdout.split("\n")[:-1], f"onnxruntime-web {json.loads(package)['version']}"])


def page(results: Mapping[str, Sequence[Measurement]]) -> str:
    """Return the text of the page.

    Args:
        results: measurements by network.
    """
    lines = [HEAD.format(images=IMAGES, versions=versions())]
    lines.append(
        f"| network | artifact | {' | '.join(name for name, *_ in RUNTIMES)} |\n|{'---|' * (2 + len(RUNTIMES))}\n"
    )
    refusals: dict[tuple[str, str], dict[str, bool]] = {}  # networks by runtime and reason, in their order
    for network, measurements in results.items():
        by_pair = {(measurement.artifact, measurement.runtime): measurement for measurement in measurements}
        for artifact, format, _ in ARTIFACTS:
            cells = []
            for title, runtime, formats in RUNTIMES:
                measurement = by_pair.get((artifact, runtime))
                if measurement is None:
                    cells.append("-" if format not in formats else "not run")
                elif measurement.refusal:
                    cells.append("no")
                    refusals.setdefault((title, measurement.refusal), {})[network] = True
                else:
                    others = f", {measurement.others} of {IMAGES} other class" if measurement.others else ""
                    cells.append(f"{measurement.difference:.0e}{others}")
            lines.append(f"| {network} | {artifact} | {' | '.join(cells)} |\n")
    if refusals:
        lines.append("\n")
        lines += [f"- {title} ({', '.join(names)}): {reason}\n" for (title, reason), names in refusals.items()]
    return "".join(lines)


def main() -> None:
    """Measure the networks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="shipped weights such as nin:digits; default: all")
    parser.add_argument("--no-write", action="store_true", help="print what was measured instead of writing the page")
    parsed = parser.parse_args()
    results: dict[str, list[Measurement]] = {}
    for name in parsed.names or [full_name(entry) for entry in entries()]:
        results[name] = []
        for row in measure(name):
            results[name].append(row)
            print(name, *row, flush=True)
    if not parsed.no_write:
        PAGE.write_text(page(results), "utf8")


if __name__ == "__main__":
    main()
