"""Run the shipped networks' artifacts in other runtimes, and write what was measured into docs/runtimes.md.

make runtimes                     # installs the runtimes in .venv-runtimes and runs this
python scripts/runtimes_table.py nin:digits --no-write
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from _shipped import ROOT, entries, full_name

FOLDER = ROOT / ".venv-runtimes"
PROGRAMS = ROOT / "tests" / "export" / "foreign"
PAGE = ROOT / "docs" / "runtimes.md"
IMAGES = 16  # the slowest runtime takes a second for each
# Name in the page, name for the programs, formats
RUNTIMES = (
    ("OpenVINO", "openvino", ("onnx", "tflite")),
    ("OpenCV", "opencv", ("onnx", "tflite")),
    ("onnxruntime-web", "web", ("onnx",)),
    ("onnx reference", "reference", ("onnx",)),
    ("TFLite Micro", "tflm", ("tflite",)),
)
# Name in the page, format, options of the export
ARTIFACTS = (
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
scikit-learn for gray networks, crops of its photographs for others; int8 is calibrated on more of the same. A cell is
the largest difference of a probability from the Keras model's, and how many images get another class, if any do. "no"
means that the runtime refuses the file; its words stand below the table.

TFLite Micro has no CAST from uint8, so float32 files need `--io float32` there. OpenVINO computes with
`INFERENCE_PRECISION_HINT=f32`: by default it uses bfloat16 where the processor has it, and there refuses int8 files.

Versions: {versions}.

"""


def installed():
    """Return the names of the runtimes that are installed, for the programs."""
    python, node = FOLDER / "bin" / "python", FOLDER / "node" / "node_modules" / "onnxruntime-web"
    names = []
    if python.exists():
        modules = {"openvino": "openvino", "opencv": "cv2", "reference": "onnx", "tflm": "tflite_micro"}
        for name, module in modules.items():
            if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode == 0:
                names.append(name)
    return [*names, "web"] if node.exists() and shutil.which("node") else names


def run(runtime, path, images):
    """Return an artifact's outputs (images, classes), as a runtime gives them.

    Raises:
        RuntimeError: with the last line that the program wrote, if the runtime refuses the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "images.npy", Path(folder) / "outputs.npy"
        if runtime == "web":
            images.tofile(given)
            shape = ",".join(map(str, (1, *images.shape[1:])))
            command = ["node", PROGRAMS / "run.mjs", FOLDER / "node", path, given, images.dtype.name, shape, made]
        else:
            np.save(given, images)
            command = [FOLDER / "bin" / "python", PROGRAMS / "run.py", runtime, path, given, made]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in lines if "rror" in line] or lines or [f"exit code {done.returncode}"]
            raise RuntimeError(re.sub(r" /\S+:\d+:", "", errors[-1])[:200])  # without places in its source
        return np.fromfile(made, "float32").reshape(len(images), -1) if runtime == "web" else np.load(made)


def measure(name, artifacts=ARTIFACTS, runtimes=None):
    """Yield (artifact, runtime, largest difference, images of another class, why not) for a network that ships.

    Args:
        name: as "nin:digits".
        artifacts: rows of `ARTIFACTS`.
        runtimes: names for the programs; None: those that are installed.
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
        for k, (artifact, format, given) in enumerate(artifacts):
            quantized = given.get("quantize") == "int8"
            options = Options(**given, verify=False, calibration=calibration if quantized else None)
            (made,) = export_model(model, folder, [format], options, info=info, stem=str(k)).artifacts
            (described,) = open_artifact(made.path).outputs.values()
            taken = images.astype("float32") if given.get("io") == "float32" else images
            for _, runtime, formats in RUNTIMES:
                if format not in formats or runtime not in runtimes:
                    continue
                try:
                    outputs = _runner.dequantize(run(runtime, str(made.path), taken), described)
                except RuntimeError as error:
                    yield artifact, runtime, None, None, str(error)
                    continue
                others = int((outputs.argmax(1) != expected.argmax(1)).sum())
                yield artifact, runtime, float(np.abs(outputs - expected).max()), others, None


def versions():
    """Return the versions of the runtimes, in words."""
    code = (
        "from importlib.metadata import version as v\n"
        "for name in ('openvino', 'opencv-python-headless', 'onnx', 'tflite_micro'): print(name, v(name))"
    )
    done = subprocess.run([FOLDER / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    package = (FOLDER / "node" / "node_modules" / "onnxruntime-web" / "package.json").read_text()
    return ", ".join([*done.stdout.split("\n")[:-1], f"onnxruntime-web {json.loads(package)['version']}"])


def page(results):
    """Return the page's text for {network: results of `measure`}."""
    lines = [HEAD.format(images=IMAGES, versions=versions())]
    lines.append(
        f"| network | artifact | {' | '.join(name for name, *_ in RUNTIMES)} |\n|{'---|' * (2 + len(RUNTIMES))}\n"
    )
    refusals = {}
    for network, measured in results.items():
        for artifact, format, _ in ARTIFACTS:
            cells = []
            for shown, runtime, formats in RUNTIMES:
                found = [row[2:] for row in measured if row[:2] == (artifact, runtime)]
                if not found:
                    cells.append("-" if format not in formats else "not run")
                elif found[0][2]:
                    cells.append("no")
                    refusals.setdefault((shown, found[0][2]), {})[network] = True  # in their order
                else:
                    difference, others, _ = found[0]
                    cells.append(f"{difference:.0e}" + (f", {others} of {IMAGES} other class" if others else ""))
            lines.append(f"| {network} | {artifact} | {' | '.join(cells)} |\n")
    if refusals:
        lines.append("\n")
        lines += [f"- {shown} ({', '.join(names)}): {why}\n" for (shown, why), names in refusals.items()]
    return "".join(lines)


def main():
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of shipped weights, as nin:digits; default: all")
    parser.add_argument("--no-write", action="store_true", help="print what was measured instead of writing the page")
    given = parser.parse_args()
    results = {}
    for name in given.names or [full_name(entry) for entry in entries()]:
        results[name] = []
        for row in measure(name):
            results[name].append(row)
            print(name, *row, flush=True)
    if not given.no_write:
        PAGE.write_text(page(results), "utf8")


if __name__ == "__main__":
    main()
