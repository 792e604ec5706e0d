"""Speed of the training engine, compared with plain Keras.

    python benchmarks/training_engine.py [--rounds 5] [--epochs 2] [--only steps]

- ResNet-20 on random images, 32 pixels, batch 128: `training.train`, compared with `model.fit` on the same input. Only
  epochs are timed, as a long run consists of them.
- A checkpoint of ResNet-50, compared with `model.save`, which also keeps weights and optimizer, followed by fsync.
- LeNet-5, batch 64: `fit` with the steps per execution that `compile_model` chooses, compared with one.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import common
import keras
import numpy as np

from keras_cnns import applications, recipes, training
from keras_cnns.data import Preprocessing, fit_preprocessing
from keras_cnns.data.sources import Source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.training import _train, checkpoint

RECIPE = recipes.Recipe("plain", batch_size=128, augmentation="pad-crop-flip", precision="auto")


class Epochs(keras.callbacks.Callback):
    """Measure the seconds of each epoch except the first."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Record the time."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Return the mean seconds of an epoch, without the first."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def images(count: int, side: int, channels: int) -> ArraySplit:
    """Return random images of ten classes."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 10
    return ArraySplit(random.integers(0, 256, (count, side, side, channels), dtype="uint8"), labels)


def engine(rounds: int, epochs: int) -> dict[str, Any]:
    """Compare `train` with `fit`."""
    splits = {"train": images(6400, 32, 3), "validation": images(640, 32, 3)}
    source, recipe = Source("random", tuple("0123456789"), (32, 32, 3), splits), RECIPE.replace(epochs=epochs + 1)

    def bare() -> float:
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(training.policy_for("auto"))
        model = applications.ResNet20()
        keras.config.set_dtype_policy("float32")
        record = fit_preprocessing(splits["train"], Preprocessing((32, 32)), recipe.preprocessing)
        batches, held_out = training.make_datasets(model, recipe, record, *splits.values())
        training.compile_model(model, recipe, len(batches))
        timer = Epochs()
        settings = {"validation_data": held_out, "shuffle": False, "verbose": 0}
        model.fit(batches, epochs=recipe.epochs, callbacks=[timer], **settings)
        return timer.seconds

    def ours() -> float:
        timer, callbacks = Epochs(), _train.callbacks
        # `train` takes no callbacks, so the timer is added to its own
        _train.callbacks = lambda *arguments, **options: [*callbacks(*arguments, **options), timer]
        try:
            with tempfile.TemporaryDirectory() as folder:
                training.train(applications.ResNet20, source, recipe, folder, overwrite=True, quiet=True)
        finally:
            _train.callbacks = callbacks
        return timer.seconds

    times: dict[str, list[float]] = {"train": [], "fit": []}
    for _ in range(rounds):
        times["train"].append(ours())
        times["fit"].append(bare())
    return common.row("ResNet-20, an epoch of train beside fit", times, "train", "fit", "0.95")


def saving(rounds: int) -> dict[str, Any]:
    """Compare a checkpoint with `model.save`."""
    model = applications.ResNet50()
    training.compile_model(model, RECIPE.replace(optimizer="sgd"), 10)
    model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        callback = checkpoint.Checkpoint(path.with_name("checkpoint.npz"))
        callback.set_model(model)
        callback.on_train_begin()

        def save() -> None:
            model.save(path)
            with open(path, "rb+") as file:
                os.fsync(file.fileno())

        times = common.interleave({"checkpoint": callback.write, "save": save}, rounds)
    return common.row("ResNet-50, a checkpoint beside a save", times, "checkpoint", "save", "0.83")


def steps_at_once(rounds: int) -> dict[str, Any]:
    """Compare several steps per execution with one, for LeNet-5."""
    split, functions = images(12_800, 32, 1), {}
    recipe = RECIPE.replace(batch_size=64, augmentation="none")
    for name, steps in (("chosen", None), ("one", 1)):
        model = applications.LeNet5()
        training.compile_model(model, recipe, 200, steps_per_execution=steps)
        batches, _ = training.make_datasets(model, recipe, Preprocessing((32, 32), 1), split, split)
        functions[name] = lambda model=model, batches=batches: model.fit(batches, verbose=0, shuffle=False)
    times = common.interleave(functions, rounds)
    return common.row("LeNet-5, steps at once beside one", times, "chosen", "one", "1.2")


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="timed epochs, which follow a first one")
    parser.add_argument("--only", choices=("steps", "saving", "engine"), action="append")
    arguments = parser.parse_args()
    cases = {
        "steps": steps_at_once,
        "saving": saving,
        "engine": lambda rounds: engine(rounds, arguments.epochs),
    }
    rows = [cases[name](arguments.rounds) for name in arguments.only or cases]
    common.write("training_engine", rows, partial=bool(arguments.only))


if __name__ == "__main__":
    main()
