"""How fast two devices or two processes train beside one that has all cores, and what the model of scaling expects.

python benchmarks/devices.py            # writes results/devices.json
python benchmarks/devices.py --scaling  # prints the table of expected scaling alone
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time

import common

BATCH, GOAL = 64, 0.85
STEPS = {"tensorflow": 6, "jax": 3}  # a round
NETWORKS = ("NiN", "ResNet20")
# multiply-adds an image and parameters of the README's table; bytes of float32 gradients
SCALED = {"ResNet50": (3.858e9, 25.557e6), "VGG16": (15.470e9, 138.358e6), "ResNet20": (40.6e6, 0.270e6)}
# (devices, bytes a second between two of them, what it is)
LINKS = [
    (8, 300e9, "8 in one host, NVLink, 300 GB/s"),
    (8, 20e9, "8 in one host, PCIe, 20 GB/s"),
    (64, 25e9, "64 in 8 hosts, 200 Gb/s"),
]
FLOPS, PER_DEVICE = 50e12, 64  # operations a second that a device attains, in bfloat16; images of the batch on each


def expected(macs, parameters, devices, link, flops=FLOPS, batch=PER_DEVICE):
    """Return the expected share, 0 to 1, of the throughput of `devices` times one.

    A step computes 6 operations a multiply-add and image (forward, and twice that backward), then a ring all-reduce
    sends 2 (n - 1) / n times the gradients' bytes over each link; nothing of it is hidden behind the computation.
    """
    compute = 6 * macs * batch / flops
    return compute / (compute + 2 * (devices - 1) / devices * 4 * parameters / link)


def scaling():
    """Return rows (network, devices, expected share) of the table."""
    return [
        {"network": name, "devices": what, "expected": round(expected(*costs, devices, link), 3)}
        for name, costs in SCALED.items()
        for devices, link, what in LINKS
    ]


def trainer(name, distribution, steps):
    """Return a function that trains for some steps, on all devices of a distribution."""
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

    def train():
        with distribution.scope():
            model.fit(batches, epochs=1, verbose=0, shuffle=False)

    return train


def in_one_process(backend, rounds):
    """Print the rows of two devices beside one, in this process, as JSON."""
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from keras_cnns import training

    rows = []
    for name in NETWORKS:
        one, two = training.distribution(1), training.distribution(2)
        plain = training.Distribution(())
        runs = {"no distribution": plain, "one device": one, "two devices": two}
        runs = {label: trainer(name, distribution, STEPS[backend]) for label, distribution in runs.items()}
        times = common.interleave(runs, rounds)
        rows.append((f"{backend}: {name}, two devices beside one", times, "two devices", "one device", GOAL))
        rows.append((f"{backend}: {name}, distribution(1) beside none", times, "one device", "no distribution", 0.97))
    print(json.dumps(rows))


def in_processes(name, address, count, process, rounds):
    """Print the seconds of each round of one of several processes as JSON."""
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


def start(*arguments, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    if backend == "jax" and arguments[0] == "one":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    command = [sys.executable, __file__, "--child", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def last_line(process):
    out = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a child ended with {process.returncode}")
    return json.loads(out.splitlines()[-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def processes(rounds):
    """Return the rows of two processes beside one: started in turns, some rounds in each."""
    found = []
    for name in NETWORKS:
        times = {"one process": [], "two processes": []}
        for _ in range(rounds):
            for count, label in ((1, "one process"), (2, "two processes")):
                address = f"127.0.0.1:{free_port()}"
                children = [start("many", name, address, count, k, 2, backend="jax") for k in range(count)]
                times[label] += [max(both) for both in zip(*map(last_line, children), strict=True)]
        found.append((f"jax: {name}, two processes beside one", times, "two processes", "one process", GOAL))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="print the table of expected scaling alone")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    found = parser.parse_args()
    if found.child:
        kind, *more = found.child
        if kind == "one":
            in_one_process(more[0], int(more[1]))
        else:
            in_processes(more[0], more[1], *map(int, more[2:]))
        return
    table = scaling()
    for row in table:
        print(f"{row['network']:<10} {row['devices']:<32} expected {row['expected']:.1%} of {PER_DEVICE} images each")
    if found.scaling:
        return
    raw = []
    for backend in STEPS:
        raw += last_line(start("one", backend, found.rounds, backend=backend))
    raw += processes(found.rounds)
    rows = [common.row(*one) for one in raw]
    common.write(
        "devices", [*rows, *({"case": f"expected: {one['network']}, {one['devices']}", **one} for one in table)]
    )


if __name__ == "__main__":
    main()
