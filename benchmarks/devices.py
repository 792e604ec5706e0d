"""Training speed of two devices or processes, and the expected scaling.

    python benchmarks/devices.py            # writes results/devices.json
    python benchmarks/devices.py --scaling  # prints only the table of expected scaling

Two devices or processes are compared with one that has all cores.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import common

if TYPE_CHECKING:
    from keras_cnns.training import Distribution

BATCH, GOAL = 64, 0.85
STEPS = {"tensorflow": 6, "jax": 3}  # per round
NETWORKS = ("NiN", "ResNet20")
# Multiply-adds per image, and parameters, as in FACTS
SCALED = {"ResNet50": (3.858e9, 25.557e6), "VGG16": (15.470e9, 138.358e6), "ResNet20": (40.6e6, 0.270e6)}
# (devices, bytes per second between two of them, description)
LINKS = [
    (8, 300e9, "8 in one host, NVLink, 300 GB/s"),
    (8, 20e9, "8 in one host, PCIe, 20 GB/s"),
    (64, 25e9, "64 in 8 hosts, 200 Gb/s"),
]
FLOPS = 50e12  # operations per second that a device reaches in bfloat16
PER_DEVICE = 64  # images of each batch per device


def expected(macs: float, parameters: float, devices: int, link: float) -> float:
    """Return the expected throughput of devices, as a share of perfect scaling.

    A step computes 6 operations per multiply-add and image (2 forward, 4 backward). Then a ring all-reduce sends
    2 (n - 1) / n times the bytes of the gradients over each link. Computation and communication do not overlap.

    Args:
        macs: multiply-adds per image.
        parameters: of the network; their gradients are float32.
        devices: number n of devices.
        link: bytes per second between two devices.
    """
    compute = 6 * macs * PER_DEVICE / FLOPS
    return compute / (compute + 2 * (devices - 1) / devices * 4 * parameters / link)


def scaling() -> list[dict[str, Any]]:
    """Return the rows of the table of expected scaling."""
    return [
        {"network": name, "devices": description, "expected": round(expected(*costs, devices, link), 3)}
        for name, costs in SCALED.items()
        for devices, link, description in LINKS
    ]


def trainer(name: str, distribution: "Distribution", steps: int) -> Callable[[], None]:
    """Return a function that trains a network on a distribution."""
    import keras
    import numpy as np

    from keras_cnns import applications, data, recipes, training
    from keras_cnns.data.splits import ArraySplit

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (steps * BATCH, 32, 32, 3), dtype="uint8")
    split = ArraySplit(images, np.arange(len(images)) % 10)
    recipe = recipes.Recipe("bench", optimizer="sgd", batch_size=BATCH, epochs=1, precision="float32")
    with distribution.scope():
        keras.utils.set_random_seed(0)
        model = getattr(applications, name)(classes=10, input_shape=(32, 32, 3))
        training.compile_model(model, recipe, steps, distribution=distribution)
    record = data.Preprocessing((32, 32), 3)
    batches, _ = training.make_datasets(model, recipe, record, split, split, share=distribution.share)

    def train() -> None:
        with distribution.scope():
            model.fit(batches, epochs=1, verbose=0, shuffle=False)

    return train


def in_one_process(backend: str, rounds: int) -> None:
    """Print as JSON the rows that compare two devices with one."""
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from keras_cnns import training

    rows = []
    for name in NETWORKS:
        distributions = {
            "no distribution": training.Distribution(()),
            "one device": training.distribution(1),
            "two devices": training.distribution(2),
        }
        runs = {label: trainer(name, distribution, STEPS[backend]) for label, distribution in distributions.items()}
        times = common.interleave(runs, rounds)
        rows.append((f"{backend}: {name}, two devices beside one", times, "two devices", "one device", GOAL))
        rows.append((f"{backend}: {name}, distribution(1) beside none", times, "one device", "no distribution", 0.97))
    print(json.dumps(rows))


def in_processes(name: str, address: str, count: int, process: int, rounds: int) -> None:
    """Print as JSON the seconds of each round of one process.

    Args:
        name: of the network.
        address: of process 0.
        count: number of processes.
        process: number of this process.
        rounds: timed rounds.
    """
    from keras_cnns import training

    join = {"coordinator": address, "num_processes": count, "process_id": process} if count > 1 else {}
    train = trainer(name, training.distribution(**join), STEPS["jax"])
    train()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        train()
        times.append(time.perf_counter() - start)
    print(json.dumps(times))


def start(*arguments: object, backend: str) -> subprocess.Popen:
    """Start this script as a child process with a backend."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    if backend == "jax" and arguments[0] == "one":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def last_line(process: subprocess.Popen) -> Any:
    """Return the JSON on the last line that a child printed."""
    out = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a child ended with {process.returncode}")
    return json.loads(out.splitlines()[-1])


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes(rounds: int) -> list[tuple]:
    """Return the rows that compare two processes with one.

    They are started in turns, `rounds` times, with two timed rounds in each.
    """
    rows = []
    for name in NETWORKS:
        times: dict[str, list[float]] = {"one process": [], "two processes": []}
        for _ in range(rounds):
            for count, label in ((1, "one process"), (2, "two processes")):
                address = f"127.0.0.1:{free_port()}"
                children = [start("many", name, address, count, k, 2, backend="jax") for k in range(count)]
                times[label] += [max(both) for both in zip(*map(last_line, children), strict=True)]
        rows.append((f"jax: {name}, two processes beside one", times, "two processes", "one process", GOAL))
    return rows


def main() -> None:
    """Measure and write the results, or work as a child process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="print only the table of expected scaling")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        kind, *more = arguments.child
        if kind == "one":
            in_one_process(more[0], int(more[1]))
        else:
            in_processes(more[0], more[1], *map(int, more[2:]))
        return
    table = scaling()
    for row in table:
        print(f"{row['network']:<10} {row['devices']:<32} expected {row['expected']:.1%} of {PER_DEVICE} images each")
    if arguments.scaling:
        return
    comparisons = []
    for backend in STEPS:
        comparisons += last_line(start("one", backend, arguments.rounds, backend=backend))
    comparisons += processes(arguments.rounds)
    rows = [common.row(*comparison) for comparison in comparisons]
    rows += [{"case": f"expected: {row['network']}, {row['devices']}", **row} for row in table]
    common.write("devices", rows)


if __name__ == "__main__":
    main()
