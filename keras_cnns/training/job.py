"""The records that the steps of a training run pass on."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from keras_cnns.data.dataset_state import Position
from keras_cnns.data.sources import Source
from keras_cnns.data.splits import Split
from keras_cnns.recipes import Recipe
from keras_cnns.tasks.registry import task_for
from keras_cnns.tasks.task import Task
from keras_cnns.training.devices import Distribution

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Job:
    """The arguments of `train`, which describes them."""

    build: Callable[..., keras.Model]
    source: Source
    recipe: Recipe
    output: Path
    weights: Any  # what `applications.weights_info` returns: a `ModelInfo` with a name; None: random values
    input_size: int | None
    seed: int
    overwrite: bool
    resume: bool
    deterministic: bool
    max_minutes: float | None
    tensorboard: bool
    restore_best: bool
    quiet: bool
    data: Mapping[str, Any] | None
    command: str | None
    distribution: Distribution

    @functools.cached_property
    def task(self) -> Task:
        """The task of the source's images."""
        return task_for(self.source.target)

    @property
    def starting_weights(self) -> dict[str, str]:
        """The entry of a record about the weights to start from.

        {"weights": name}, or empty without weights, so that records say nothing of them, as those of older runs do.
        """
        return {"weights": str(self.weights.name)} if self.weights else {}


@dataclasses.dataclass(frozen=True)
class Splits:
    """The parts of the source.

    Attributes:
        training: as the network sees it, scarce images repeated if the recipe says so.
        validation: the source's own, or a part of its training split.
        test: None if there is none.
        steps: batches per epoch.
    """

    training: Split
    validation: Split
    test: Split | None
    steps: int


@dataclasses.dataclass(frozen=True)
class Batches:
    """What `model.fit` reads.

    Attributes:
        training: `tf.data.Dataset` of batches.
        validation: `tf.data.Dataset` of batches.
        position: where the training data starts.
        waited: function that returns the seconds spent waiting for training batches so far; None if TensorFlow has no
            clock, as with deterministic operations.
    """

    training: "tf.data.Dataset"
    validation: "tf.data.Dataset"
    position: Position
    waited: Callable[[], float] | None
