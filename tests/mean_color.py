"""A task that only the tests have: to measure the mean color of an image."""

import dataclasses

import keras
import numpy as np

from keras_cnns import _models, data, tasks
from keras_cnns.errors import ArgumentError


class Colors(data.Target):
    """Three numbers from 0 to 1 per image."""

    def as_array(self, targets, examples):
        return np.asarray(targets, "float32").reshape(examples, 3)

    def classes(self, targets):
        return None

    def refusal(self, augment):
        return None if augment.changes_nothing else "an augmentation may change the mean color of an image"


@dataclasses.dataclass(frozen=True)
class ColorResult(tasks.Result):
    examples: int
    error: float

    @property
    def headline(self):
        return f"mean error {self.error:.4f}"

    def summary(self):
        return {"examples": self.examples, "error": self.error, "loss": self.error}

    def table(self):
        return tasks.Table(
            (("images", "right", 0), ("error", "right", 0)), ((str(self.examples), f"{self.error:.4f}"),)
        )

    def to_json(self):
        return dataclasses.asdict(self)

    def draw(self, folder, title):
        """There is nothing to see."""


class ColorMetric(tasks.Metric):
    def __init__(self):
        self.examples, self.sum = 0, 0.0

    def update(self, predictions, targets):
        self.examples += len(targets)
        self.sum += float(np.abs(predictions - targets).mean(1).sum())

    def result(self):
        return ColorResult(self.examples, self.sum / self.examples)


class MeanColor(tasks.Task):
    name = "mean color"
    target = Colors()
    monitor = tasks.Monitor("mae", record="error", title="error", form=".4f", is_better="smaller")
    averages_views = True

    def check(self, model):
        _models.image_input(model)
        if model.output_shape[1:] != (3,):
            raise ArgumentError(f"a color has three numbers. Received: output_shape={model.output_shape}")

    def objective(self, model, recipe, *, is_shared=False):
        exact = [keras.metrics.MeanAbsoluteError(name=f"mae{tasks.EXACT}")] if is_shared else None
        return {"loss": "mse", "metrics": [keras.metrics.MeanAbsoluteError(name="mae")], "weighted_metrics": exact}

    def predictor(self, model, class_names=()):
        self.check(model)
        return tasks.Predictor(_models.as_float32(model), lambda outputs: np.asarray(outputs, "float32"))

    def metric(self, class_names):
        return ColorMetric()


def Net(classes=3, input_shape=(8, 8, 3)):
    """Build a small network that can learn the task."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(8, 3, activation="relu", name="conv1")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, dtype="float32", name="color")(x), name="net")


def source(train=80, validation=19, test=20, seed=0):
    """Return images of noise around a color, and their mean colors."""
    random, splits = np.random.default_rng(seed), {}
    for name, count in {"train": train, "validation": validation, "test": test}.items():
        base = random.integers(40, 216, (count, 1, 1, 3))
        images = np.clip(base + random.normal(0, 20, (count, 8, 8, 3)), 0, 255).astype("uint8")
        splits[name] = data.ArraySplit(images, images.mean((1, 2)) / 255, Colors())
    return data.Source("noise", ("red", "green", "blue"), (8, 8, 3), splits)
