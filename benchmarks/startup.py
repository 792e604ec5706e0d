"""Import time of the networks beyond `import keras`, and first use of the commands.

    python benchmarks/startup.py [--rounds 7]

The rows of first use are whole commands for the shipped weights nin:digits, and then the parts of their work, measured
in one process. Files are in the disk cache.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import common

# In one process, as the time of `import keras` varies by seconds between processes
IMPORTS = """
import time
a = time.perf_counter()
import keras
b = time.perf_counter()
from keras_cnns import applications
c = time.perf_counter()
for name in applications.list_models():
    getattr(applications, name)
d = time.perf_counter()
print(b - a, c - b, d - b)
"""
# The work of `cnn-predict` and `cnn-export --format tflite`. A step ends when the next one is announced.
PARTS = """
import os, sys, time
clock = time.perf_counter
start = clock()
from keras_cnns import _quiet
_quiet.import_keras()
times = {"import keras": clock() - start}

def measured(part, function, *arguments, **named):
    start = clock()
    result = function(*arguments, **named)
    times[part] = clock() - start
    return result

from keras_cnns import applications, saving
from keras_cnns.applications._weights import verified_path
path = verified_path(applications.weights_info("NiN", "digits"))
model, info = measured("load the model", saving.load_with_info, path)

def import_evaluation():
    from keras_cnns.evaluation import predict_images
    return predict_images

predict_images = measured("import the evaluation", import_evaluation)
measured("predict one image", predict_images, model, [sys.argv[1]], info.preprocessing)

def import_export():
    from keras_cnns.export import export_model
    return export_model

export_model = measured("import the export", import_export)
parts = {"choosing": "run the model on 1000 images", "tracing": "trace", "converting": "convert", "running": "verify"}
steps = [("prepare the export", clock())]

def say(text):
    step = text.rpartition(": ")[2].partition(" ")[0]
    if step in parts or step == "moving":
        steps.append((parts.get(step, "move into place"), clock()))

export_model(path, sys.argv[2], "tflite", progress=say)
steps.append(("", clock()))
for (part, start), (_, end) in zip(steps, steps[1:]):
    times[part] = end - start
print(*times, sep=chr(10))
print(*times.values())
"""
IMAGE = """
import sys
from PIL import Image
from sklearn.datasets import load_digits
Image.fromarray((load_digits().images[3] * 15).astype("uint8")).save(sys.argv[1])
"""
GOALS = {
    "import keras": "-",
    "then keras_cnns.applications": "under 0.2 s",
    "and every builder in it": "under 0.2 s",
    "cnn-info": "under 1 s",
    "cnn-info ResNet152": "under 15 s",
    "cnn-predict nin:digits IMAGE": "under 4 s",
    "cnn-export nin:digits --format tflite": "under 8 s",
}


def python(*arguments: str) -> tuple[float, str]:
    """Run Python and return its seconds and its output."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout


def measure(image: str, folder: str) -> dict[str, float]:
    """Return the seconds of each row, measured once.

    Args:
        image: path of an image.
        folder: to write exports into.
    """
    seconds = [float(word) for word in python("-c", IMPORTS)[1].split()]
    for name, *arguments in (
        ("info",),
        ("info", "ResNet152"),
        ("predict", "nin:digits", image),
        ("export", "nin:digits", "--format", "tflite", "--output", folder, "--force"),
    ):
        seconds.append(python("-c", f"from keras_cnns.cli.{name} import main; main()", *arguments)[0])
    *parts, values = python("-c", PARTS, image, os.path.join(folder, "parts"))[1].splitlines()
    shutil.rmtree(os.path.join(folder, "parts"))  # the next round writes it again
    times = dict(zip(GOALS, seconds, strict=True))
    return times | {f"of that, {part}": float(value) for part, value in zip(parts, values.split(), strict=True)}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "digit.png")
        python("-c", IMAGE, image)
        measure(image, folder)  # so that the disk cache holds everything
        measurements = [measure(image, folder) for _ in range(rounds)]
    rows = []
    for case in measurements[0]:
        each, goal = [round(times[case], 4) for times in measurements], GOALS.get(case, "-")
        rows.append({"case": case, "seconds": round(statistics.median(each), 4), "each round": each, "goal": goal})
        print(f"{case:<40} {rows[-1]['seconds']:>8.4f} s (goal {goal})")
    common.write("startup", rows)


if __name__ == "__main__":
    main()
