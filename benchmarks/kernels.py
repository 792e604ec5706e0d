"""Training steps with each of TensorFlow's sets of CPU kernels.

    python benchmarks/kernels.py [--rounds 5] [--only nin] [--isa AVX2]

TensorFlow has two: Eigen's, and oneDNN's (TF_ENABLE_ONEDNN_OPTS=1), which it takes by itself only on processors with
AVX512-VNNI, AVX512-BF16 or AMX. `--isa` limits oneDNN to what an older processor has (ONEDNN_MAX_CPU_ISA); Eigen's
kernels are those of every x86 processor in any case. Each set runs in a process of its own, and all take turns.
"""

import argparse
import os

import processes

# name: network, batch size
CASES = {"nin": ("NiN", 128), "alexnet": ("AlexNetOneTower", 32), "resnet50": ("ResNet50", 16)}


def serve(name):
    """Serve the training steps of one of `CASES`."""
    from keras_cnns import _quiet, applications

    _quiet.import_keras()
    import keras
    import numpy as np

    network, batch = CASES[name]
    model = getattr(applications, network)()
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    images = random.normal(size=(batch, *model.input_shape[1:])).astype("float32")
    labels = random.integers(0, model.output_shape[-1], batch)
    processes.serve(lambda: model.train_on_batch(images, labels))


def measure(name, rounds):
    """Return the line of one of `CASES`."""
    import common

    kernels = {"Eigen": {"TF_ENABLE_ONEDNN_OPTS": "0"}, "oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "1"}}
    commands = {kind: ([__file__, "--serve", name], environment) for kind, environment in kernels.items()}
    with processes.processes(commands) as steps:
        times = common.interleave(steps, rounds)
    network, batch = CASES[name]
    return common.row(f"{network}, float32, batch {batch}", times, "oneDNN", "Eigen", None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--isa", help="of an older processor, as AVX2 or AVX512_CORE")
    parser.add_argument("--serve", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    import common

    if arguments.isa:
        os.environ[common.LIMIT] = arguments.isa  # for the child processes, and for the class of the results
    rows = [measure(name, arguments.rounds) for name in arguments.only or CASES]
    common.write("kernels", rows, partial=bool(arguments.only))


if __name__ == "__main__":
    main()
