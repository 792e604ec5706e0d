"""Time, memory and size of exports, compared with plain Keras and tf2onnx.

    python benchmarks/exports.py [--rounds 3] [--network ResNet50] [--all-formats VGG16] [--shipped nin:digits]
    python benchmarks/exports.py --foreign ConvNeXtTiny MobileNetV2

Each export runs in a separate process. `--all-formats` also exports that network, at its published size, to every
format, and verifies it. `--shipped` runs the whole command `cnn-export` for shipped weights, and compares the size and
accuracy of int8 with float32's. `--foreign` runs that command for models of keras.applications instead, and keeps the
other rows. Its goal is for a machine that does nothing else; on a busy one, read the seconds of the processor.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import common

PROGRAM = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import json, sys, tempfile, time
from pathlib import Path
import keras
from keras_cnns import applications, export

format, way, name = sys.argv[1:]
model = getattr(applications, name)()
scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
start = time.perf_counter()
if way == "ours":
    formats = export.FORMATS if format == "all" else [format]
    export.export_model(model, folder, formats, export.Options(verify=format == "all"))
elif format == "saved_model":
    model.export(str(folder / "model"), verbose=False)
else:
    import tensorflow as tf
    import tf2onnx
    spec = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "image")]
    tf2onnx.convert.from_keras(model, spec, opset=17, output_path=str(folder / "model.onnx"))
seconds = time.perf_counter() - start
files = [file for file in folder.rglob("*") if file.is_file()]
print(json.dumps({
    "seconds": round(seconds, 2),
    "bytes over weights": round(sum(file.stat().st_size for file in files) / (4 * model.count_params()), 3),
}))
"""

SIDE = 96  # of the foreign models' images, in pixels
FOREIGN = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import sys
import keras_cnns  # before keras, because it chooses TensorFlow's kernels
import keras
import numpy as np
from sklearn.datasets import load_sample_images

name, side, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
keras.utils.set_random_seed(0)
model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classifier_activation=None)
# With random weights, statistics of 0 and 1 would give all images the same output, and nothing could be verified. Those
# of noise would be so small in late layers that rounding grew to whole numbers.
random, photographs = np.random.default_rng(0), load_sample_images().images
crops = []
for k in range(32):
    top, left = random.integers(0, 427 - side), random.integers(0, 640 - side)
    crops.append(photographs[k % 2][top : top + side, left : left + side])
layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
momenta = [layer.momentum for layer in layers]
for layer in layers:
    layer.momentum = 0.0
model(np.stack(crops).astype("float32"), training=True)
for layer, momentum in zip(layers, momenta):
    layer.momentum = momentum
model.save(path)
"""


def run(format: str, way: str, name: str) -> dict[str, Any]:
    """Return the time, memory and size of an export.

    The export runs in a separate process; the memory is that of all its processes together.

    Args:
        format: name of a format, or "all".
        way: "ours" or "plain".
        name: of the network.
    """
    line = [sys.executable, "-c", PROGRAM, format, way, name]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak, done = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not done.wait(0.02):
                peak = max(peak, _memory_of(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        out, err = process.communicate()
        done.set()
        watcher.join()
    if process.returncode:
        return {
            "failed": process.returncode,
            "because": err.strip().splitlines()[-1:],
        }  # for example killed for its memory
    return {**json.loads(out.splitlines()[-1]), "peak GB": round(peak / 1e9, 2)}


def _memory_of(pid: int | str) -> int:
    """Return the resident memory of a process and its children, in bytes.

    It is read from Linux's /proc.
    """
    try:
        held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, IndexError):
        return 0
    return held + sum(map(_memory_of, children))


def compare(format: str, name: str, rounds: int, goal: str) -> dict[str, Any]:
    """Return the row that compares our export with the plain one.

    Args:
        format: name of a format.
        name: of the network.
        rounds: exports of each kind, in turns.
        goal: in words.
    """
    pairs = [{way: run(format, way, name) for way in ("ours", "plain")} for _ in range(rounds)]
    if any("failed" in result for pair in pairs for result in pair.values()):
        print(f"{name} {format}: failed: {pairs}", flush=True)
        return {"case": f"{name}, {format}", "failed": True, "rounds": pairs}
    median = {
        key: statistics.median(pair["plain"][key] / pair["ours"][key] for pair in pairs)
        for key in ("seconds", "peak GB", "bytes over weights")
    }
    texts = ", ".join(f"{key} {value:.2f} times ours" for key, value in median.items())
    ours = statistics.median(pair["ours"]["bytes over weights"] for pair in pairs)
    print(f"{name} {format}, plain: {texts}; our bytes {ours:.3f} times the weights (goal {goal})", flush=True)
    return {
        "case": f"{name}, {format}",
        "plain / ours": {key: round(value, 2) for key, value in median.items()},
        "goal": goal,
        "rounds": pairs,
    }


def command(name: str, *options: str) -> tuple[float, dict[str, Any]]:
    """Return the seconds and the report of a `cnn-export`, imports included."""
    with tempfile.TemporaryDirectory() as folder:
        line: list[str | Path] = [
            Path(sys.executable).with_name("cnn-export"),
            name,
            *options,
            "--output",
            folder,
            "--json",
        ]
        start = time.perf_counter()
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        return time.perf_counter() - start, json.loads(done.stdout)


def shipped(name: str, rounds: int) -> dict[str, Any]:
    """Return the row of shipped weights."""
    runs = [command(name, "--format", "all") for _ in range(rounds)]
    seconds = statistics.median(run_seconds for run_seconds, _ in runs)
    float32_bytes = {artifact["format"]: artifact["bytes"] for artifact in runs[0][1]["artifacts"]}
    _, int8 = command(name, "--format", "tflite", "--format", "onnx", "--quantize", "int8")
    shares, kept = {}, {}
    for artifact in int8["artifacts"]:
        format = artifact["format"]
        shares[format] = round(artifact["bytes"] / float32_bytes[format], 4)
        kept[format] = round(artifact["parity"]["accuracy"] / int8["accuracy"], 4)
    print(f"cnn-export {name} --format all: {seconds:.1f} s (goal 25)")
    print(f"{name}, int8 over float32: bytes {shares} (goal 0.27), accuracy {kept} (goal 0.99)")
    return {
        "case": f"cnn-export {name} --format all",
        "seconds": round(seconds, 1),
        "goal": "25 s",
        "int8 bytes over float32's": shares,
        "int8 accuracy over float32's": kept,
    }


def foreign(name: str) -> list[dict[str, Any]]:
    """Return the rows of a model of keras.applications: each format alone, then all together.

    Args:
        name: of the builder.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, f"{name}.keras")
        done = subprocess.run([sys.executable, "-c", FOREIGN, name, str(SIDE), file], capture_output=True, text=True)
        if done.returncode:
            return [{"case": name, "failed": done.returncode, "because": done.stderr.strip().splitlines()[-1:]}]
        for format in ("saved_model", "tflite", "onnx", "all"):
            case = f"cnn-export {name}.keras --format {format}"
            before = _processor_seconds()
            try:
                seconds, report = command(file, "--format", format)
            except subprocess.CalledProcessError as error:
                rows.append(
                    {"case": case, "failed": error.returncode, "because": error.stderr.strip().splitlines()[-1:]}
                )
                print(rows[-1], flush=True)
                continue
            row = {
                "case": case,
                "seconds": round(seconds, 1),
                "seconds of the processor": round(_processor_seconds() - before, 1),
                "seconds of writing": {artifact["format"]: artifact["seconds"] for artifact in report["artifacts"]},
                "goal": "60 s",
            }
            print(
                f"{case}: {row['seconds']} s, of the processor {row['seconds of the processor']} s (goal 60)",
                flush=True,
            )
            rows.append(row)
    return rows


def _processor_seconds() -> float:
    """Return the processor's seconds of all finished child processes, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="ResNet50")
    parser.add_argument("--all-formats", default="VGG16")
    parser.add_argument("--shipped", default="nin:digits")
    parser.add_argument("--foreign", nargs="+", metavar="NAME", default=())
    arguments = parser.parse_args()
    if arguments.foreign:
        rows = [row for name in arguments.foreign for row in foreign(name)]
        common.write("exports", rows, partial=True)
        sys.exit(any("failed" in row for row in rows))
    rows = [shipped(arguments.shipped, arguments.rounds)]
    rows.append(compare("saved_model", arguments.network, arguments.rounds, "ours at most 1.05 times the weights"))
    rows.append(compare("onnx", arguments.network, arguments.rounds, "2.5 times the seconds, 4 times the peak GB"))
    all_formats = run("all", "ours", arguments.all_formats)
    print(f"{arguments.all_formats}, every format, verified: {all_formats} (goal under 8 GB)")
    rows.append({"case": f"{arguments.all_formats}, every format, verified", "goal": "8 GB", **all_formats})
    common.write("exports", rows)
    sys.exit(any("failed" in row for row in rows))


if __name__ == "__main__":
    main()
