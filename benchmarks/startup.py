"""Import time of the networks beyond `import keras`, and of cnn-info.

python benchmarks/startup.py [--rounds 7]
"""

import argparse
import os
import statistics
import subprocess
import sys
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
GOALS = {
    "import keras": "-",
    "then keras_cnns.applications": "under 0.2 s",
    "and every builder in it": "under 0.2 s",
    "cnn-info": "under 1 s",
    "cnn-info ResNet152": "under 15 s",
}


def python(*arguments: str) -> tuple[float, str]:
    """Run Python and return its seconds and its output."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout


def measure() -> list[float]:
    """Return the seconds of each row, measured once."""
    imports = [float(word) for word in python("-c", IMPORTS)[1].split()]
    command = "from keras_cnns.cli.info import main; main()"
    return [*imports, python("-c", command)[0], python("-c", command, "ResNet152")[0]]


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    measure()  # so that the disk cache holds everything
    rounds = [measure() for _ in range(parser.parse_args().rounds)]
    rows = []
    for (case, goal), seconds in zip(GOALS.items(), zip(*rounds, strict=True), strict=True):
        each = [round(value, 4) for value in seconds]
        rows.append({"case": case, "seconds": round(statistics.median(each), 4), "each round": each, "goal": goal})
        print(f"{case:<40} {rows[-1]['seconds']:>8.4f} s (goal {goal})")
    common.write("startup", rows)


if __name__ == "__main__":
    main()
