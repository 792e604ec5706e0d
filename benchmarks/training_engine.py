"""What the training engine costs and gains: beside a bare `model.fit`, a bare save, and steps one by one.

    python benchmarks/training_engine.py [--rounds 5] [--epochs 2] [--only steps]

ResNet-20 on images made up, 32 pixels, batch 128: `training.train` beside `model.fit` on the same input, epochs
alone, which is what a training of any length repeats. A checkpoint of ResNet-50 beside `model.save`, which keeps
weights and optimizer too, followed by fsync. LeNet-5, batch 64: `fit` with the steps a call that `compile_model`
chooses beside one.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

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
    """Notes how long each epoch but the first takes, from the end of one to the end of the next."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_epoch_end(self, epoch, logs=None):
        """Note the time."""
        self.ends.append(time.perf_counter())

    @property
    def seconds(self):
        """Of an epoch."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def images(count, side, channels):
    random = np.random.default_rng(0)
    labels = np.arange(count) % 10
    return ArraySplit(random.integers(0, 256, (count, side, side, channels), dtype="uint8"), labels)


def engine(rounds, epochs):
    """Return the line of `train` beside `fit`."""
    splits = {"train": images(6400, 32, 3), "validation": images(640, 32, 3)}
    source, recipe = Source("random", tuple("0123456789"), (32, 32, 3), splits), RECIPE.replace(epochs=epochs + 1)

    def bare():
        keras.utils.set_random_seed(0)
        keras.config.set_dtype_policy(training.policy_for("auto"))
        model = applications.ResNet20()
        keras.config.set_dtype_policy("float32")
        record = fit_preprocessing(splits["train"], Preprocessing((32, 32)), recipe.preprocessing)
        batches, held_out = training.make_datasets(model, recipe, record, *splits.values())
        training.compile_model(model, recipe, len(batches))
        epochs = Epochs()
        held = {"validation_data": held_out, "shuffle": False, "verbose": 0}
        model.fit(batches, epochs=recipe.epochs, callbacks=[epochs], **held)
        return epochs.seconds

    def ours():
        epochs, real = Epochs(), _train.callbacks
        _train.callbacks = lambda *arguments, **options: [*real(*arguments, **options), epochs]
        try:
            with tempfile.TemporaryDirectory() as folder:
                training.train(applications.ResNet20, source, recipe, folder, overwrite=True, quiet=True)
        finally:
            _train.callbacks = real
        return epochs.seconds

    times = {"train": [], "fit": []}
    for _ in range(rounds):
        times["train"].append(ours())
        times["fit"].append(bare())
    return common.row("ResNet-20, an epoch of train beside fit", times, "train", "fit", "0.95")


def saving(rounds):
    """Return the line of a checkpoint beside a save."""
    model = applications.ResNet50()
    training.compile_model(model, RECIPE.replace(optimizer="sgd"), 10)
    model.optimizer.build(model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        mine = checkpoint.Checkpoint(path.with_name("checkpoint.npz"))
        mine.set_model(model)
        mine.on_train_begin()

        def bare():
            model.save(path)
            with open(path, "rb+") as file:
                os.fsync(file.fileno())

        times = common.interleave({"checkpoint": mine.write, "save": bare}, rounds)
    return common.row("ResNet-50, a checkpoint beside a save", times, "checkpoint", "save", "0.83")


def steps_at_once(rounds):
    """Return the line of LeNet-5."""
    split, functions = images(12_800, 32, 1), {}
    recipe = RECIPE.replace(batch_size=64, augmentation="none")
    for name, steps in (("chosen", None), ("one", 1)):
        model = applications.LeNet5()
        training.compile_model(model, recipe, 200, steps_per_execution=steps)
        batches, _ = training.make_datasets(model, recipe, Preprocessing((32, 32), 1), split, split)
        functions[name] = lambda model=model, batches=batches: model.fit(batches, verbose=0, shuffle=False)
    times = common.interleave(functions, rounds)
    return common.row("LeNet-5, steps at once beside one", times, "chosen", "one", "1.2")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="that count, behind a first one")
    cases = {
        "steps": steps_at_once,
        "saving": saving,
        "engine": lambda rounds: engine(rounds, arguments.epochs),
    }
    parser.add_argument("--only", choices=cases, action="append")
    arguments = parser.parse_args()
    rows = [cases[name](arguments.rounds) for name in arguments.only or cases]
    common.write("training_engine", rows, partial=bool(arguments.only))


if __name__ == "__main__":
    main()
