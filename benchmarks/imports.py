"""What importing the networks costs beyond `import keras`.

python benchmarks/imports.py [--rounds 9]
"""

import argparse
import os
import statistics
import subprocess
import sys

import common

# Within one process, behind the import that varies by seconds: what comes on top of it
PROGRAM = """
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
NAMES = "import keras", "then keras_cnns.applications", "and every builder in it"
GOAL = "under 0.2 s"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    rounds = []
    for _ in range(1 + arguments.rounds):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, check=True, capture_output=True, text=True
        )
        rounds.append([float(word) for word in done.stdout.split()])
    del rounds[0]  # read from disk
    rows = []
    for name, seconds in zip(NAMES, zip(*rounds, strict=True), strict=True):
        each = [round(value, 4) for value in seconds]
        goal = "-" if name == NAMES[0] else GOAL
        rows.append({"case": name, "seconds": round(statistics.median(each), 4), "each round": each, "goal": goal})
        print(f"{name:<40} {rows[-1]['seconds']:>8.4f} s (goal {goal})")
    common.write("imports", rows)


if __name__ == "__main__":
    main()
