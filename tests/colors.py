"""A source of small images, and Ctrl-C, for tests of training."""

import os
import signal

import keras
import numpy as np

from keras_cnns.data.sources import Source
from keras_cnns.data.splits import ArraySplit


def colors(train=80, test=20, validation=0, *, size=(12, 12), shape=None, channels=3, noise=100, signal=100, seed=0):
    """Return a source of images whose brightest channel is their class.

    Args:
        train, test, validation: numbers of images; without validation images the source has no such split.
        size: (height, width) of the images.
        shape: (height, width) that the source says of them; None: `size`.
        channels: 3, or 1 for images that are noise alone.
        noise: pixels are random numbers below it.
        signal: added to the channel of the class.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)

    def split(count):
        labels = np.arange(count) % 3
        images = random.integers(0, noise, (count, *size, channels), dtype="uint8")
        if channels == 3:
            images[np.arange(count), :, :, labels] += signal
        return ArraySplit(images, labels)

    counts = {"train": train, "validation": validation, "test": test}
    splits = {name: split(count) for name, count in counts.items() if count}
    return Source("colors", ("red", "green", "blue"), (*(shape or size), channels), splits)


class PressesCtrlC(keras.callbacks.CSVLogger):
    """Send SIGINT in a step of training, as a terminal does.

    It takes the place of `keras.callbacks.CSVLogger`, which `train` uses.
    """

    step = 1  # counted from 1

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def press_ctrl_c(monkeypatch, step):
    """Press Ctrl-C in a step of the next training runs.

    Steps are counted from 1 over all epochs.
    """
    monkeypatch.setattr(PressesCtrlC, "step", step)
    monkeypatch.setattr(keras.callbacks, "CSVLogger", PressesCtrlC)
