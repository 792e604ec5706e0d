"""ONNX files: seconds and peak memory beside plain tf2onnx, each export in a process of its own.

    python benchmarks/onnx_export.py [--rounds 3] [--network ResNet50] [--all-formats VGG16]

`--all-formats` also exports that network, at its published size, to every format through `export_model`.
"""

import argparse
import json
import statistics
import subprocess
import sys

import common

PROGRAM = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import json, resource, sys, tempfile, time
from pathlib import Path
import keras
from keras_cnns import applications
from keras_cnns._models import plain_preprocessing
from keras_cnns.export import FORMATS, export_model, writers

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

way, name = sys.argv[1:]
model = getattr(applications, name)()
before, folder = peak(), Path(tempfile.mkdtemp())
start = time.perf_counter()
if way == "ours":
    servable = writers.Servable(model, plain_preprocessing(model), "probabilities", False)
    writers.write_onnx(servable, folder / "model.onnx")
elif way == "plain":
    import tensorflow as tf
    import tf2onnx
    spec = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "image")]
    tf2onnx.convert.from_keras(model, spec, opset=17, output_path=str(folder / "model.onnx"))
else:
    export_model(model, folder, FORMATS)
seconds = time.perf_counter() - start
files = [file for file in folder.rglob("*") if file.is_file()]
print(json.dumps({
    "seconds": round(seconds, 2), "peak GB": round(peak(), 2), "more GB": round(peak() - before, 2),
    "bytes over weights": round(sum(file.stat().st_size for file in files) / (4 * model.count_params()), 3),
}))
"""


def run(way, name):
    done = subprocess.run([sys.executable, "-c", PROGRAM, way, name], capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.returncode}  # killed for memory, say
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="ResNet50")
    parser.add_argument("--all-formats", default="VGG16")
    arguments = parser.parse_args()
    rounds = [{way: run(way, arguments.network) for way in ("ours", "plain")} for _ in range(arguments.rounds)]
    faster, less = (
        statistics.median(one["plain"][key] / one["ours"][key] for one in rounds) for key in ("seconds", "peak GB")
    )
    print(f"{arguments.network}: {faster:.2f} times faster (goal 2.5), {less:.2f} times less memory (goal 4)")
    rows = [
        {"case": arguments.network, "times faster": round(faster, 2), "times less": round(less, 2), "rounds": rounds}
    ]
    every = run("all", arguments.all_formats)
    print(f"{arguments.all_formats}, every format: {every} (goal under 8 GB)")
    rows.append({"case": f"{arguments.all_formats}, every format", **every})
    common.write("onnx_export", rows)


if __name__ == "__main__":
    main()
