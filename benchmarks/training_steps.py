"""Speed of training steps, compared with other builds of the same networks.

    python benchmarks/training_steps.py [--rounds 5] [--only alexnet]

- AlexNet with its split convolutions, compared with native `groups=2` (227 pixels, batch 32).
- ResNet50, VGG16 and InceptionV3, compared with those of keras.applications (published sizes; batch 16, VGG16 8). If
  PyTorch is installed, the plain ResNet-50 of torch_twin.py is measured in the same rounds.
- Network in Network for CIFAR-10 in bfloat16, compared with float32 (batch 128).

All train by SGD with momentum, without dropout.
"""

import argparse
import functools
import importlib.util
import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import common
import keras
import numpy as np

from keras_cnns import applications


def native_alexnet() -> keras.Model:
    """Return AlexNet with Keras's own grouped convolutions."""
    ours = applications.AlexNet(dropout=0.0)
    x = inputs = keras.Input(ours.input_shape[1:])
    for layer in ours.layers[1:]:
        native = keras.layers.Conv2D if type(layer).__name__ == "SplitConv2D" else type(layer)
        x = native.from_config(layer.get_config())(x)
    return keras.Model(inputs, x, name="native")


CASES = {
    # Name: batch, our network, the other one, precisions with their goals
    "alexnet": (
        32,
        lambda: applications.AlexNet(dropout=0.0),
        native_alexnet,
        {"float32": 4.0, "mixed_bfloat16": 7.0},
    ),
    "resnet50": (
        16,
        applications.ResNet50,
        lambda: keras.applications.ResNet50(weights=None),
        {"float32": 1.25, "mixed_bfloat16": 1.5},
    ),
    "vgg16": (
        8,
        lambda: applications.VGG16(dropout=0.0),
        lambda: keras.applications.VGG16(weights=None),
        {"float32": 1.0, "mixed_bfloat16": 1.0},
    ),
    "inception_v3": (
        16,
        lambda: applications.InceptionV3(scale=False, dropout=0.0),
        lambda: keras.applications.InceptionV3(weights=None),
        {"float32": 1.3, "mixed_bfloat16": 1.3},
    ),
}


def step(build: Callable[[], keras.Model], batch: int, policy: str) -> Callable[[], Any]:
    """Return a function that trains for one step on a fixed batch.

    Args:
        build: returns the network.
        batch: number of images.
        policy: dtype policy of the network.
    """
    keras.config.set_dtype_policy(policy)
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.normal(size=(batch, *model.input_shape[1:])).astype("float32")
    y = random.integers(0, model.output_shape[-1], batch)
    return lambda: model.train_on_batch(x, y)


def compare_networks(name: str, rounds: int) -> list[dict[str, Any]]:
    """Return the rows of one of `CASES`."""
    batch, ours, theirs, goals = CASES[name]
    rows = []
    for policy, goal in goals.items():
        keras.backend.clear_session()
        functions = {"ours": step(ours, batch, policy), "theirs": step(theirs, batch, policy)}
        twin = name == "resnet50" and importlib.util.find_spec("torch")
        if twin:
            import torch_twin

            functions["torch"] = torch_twin.step(batch, policy != "float32")
        times = common.interleave(functions, rounds)
        case = f"{name}, {policy}, batch {batch}"
        rows.append(common.row(case, times, "ours", "theirs", goal))
        if twin:
            rows.append(common.row(f"{case}, beside PyTorch", times, "ours", "torch", None))
        del functions
    return rows


def compare_precisions(rounds: int) -> list[dict[str, Any]]:
    """Return the row of NiN in bfloat16.

    Its goal is for processors with AMX.
    """
    keras.backend.clear_session()
    policies = {"bfloat16": "mixed_bfloat16", "float32": "float32"}
    functions = {name: step(lambda: applications.NiN(dropout=0.0), 128, policy) for name, policy in policies.items()}
    times = common.interleave(functions, rounds)
    return [common.row("nin, bfloat16 beside float32, batch 128", times, "bfloat16", "float32", 2.3)]


def main() -> None:
    """Measure and write the results."""
    measures = {name: functools.partial(compare_networks, name) for name in CASES} | {"nin": compare_precisions}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=measures, action="append")
    arguments = parser.parse_args()
    rows = [row for name in arguments.only or measures for row in measures[name](arguments.rounds)]
    common.write("training_steps", rows, partial=bool(arguments.only))


if __name__ == "__main__":
    main()
