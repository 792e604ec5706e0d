"""What differs between tasks, such as giving an image one class.

Training, evaluation and export are the same for all tasks; they ask a `Task` for the rest.
"""

import abc
import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from keras_cnns import _models, typing
from keras_cnns.data.targets import Target
from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe

# End of the names of weighted metrics, which replace the others in validation
EXACT = "_exactly"

Column: TypeAlias = tuple[str, Literal["left", "right"], int]  # heading, alignment, rank: the highest is left out first


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a result, as commands print them.

    Attributes:
        columns: heading and alignment of each column, and its rank: on a narrow terminal the column of the highest rank
            is left out first; 0 stays.
        rows: one text per column.
        notes: sentences below the table.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


class Result(abc.ABC):
    """The measurements of a model on a split.

    Attributes:
        examples: number of images, each counted once.
        worst: dictionary from the places of some images in the split to how well they were predicted, the worst ones
            first; empty where this is not kept.

    Examples:
        >>> from keras_cnns import evaluation
        >>> result = evaluation.score([[0.9, 0.1], [0.4, 0.6]], [0, 0], ["cat", "dog"])
        >>> isinstance(result, evaluation.Result), result.headline
        (True, 'top-1 50.00%, loss 0.5108')
    """

    examples: int
    worst: Mapping[int, float] = types.MappingProxyType({})

    @property
    @abc.abstractmethod
    def headline(self) -> str:
        """The most important measurements, as "top-1 97.50%, loss 0.0811"."""

    @abc.abstractmethod
    def summary(self) -> dict[str, float]:
        """Return the scalar metrics, which model files and manifests keep."""

    @abc.abstractmethod
    def table(self) -> Table:
        """Return the details as rows of text."""

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""

    @abc.abstractmethod
    def draw(self, folder: typing.Path, title: str) -> None:
        """Draw what there is to see of the measurements.

        Args:
            folder: folder for the PNG files; made if it does not exist.
            title: title of the drawings.

        Raises:
            OutputError: if they cannot be written.
        """


class Metric(abc.ABC):
    """A measurement that takes one batch after the other.

    Its memory does not grow with their number.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import tasks
        >>> metric = tasks.find_task(None).metric(["cat", "dog"])
        >>> metric.update(np.array([[0.9, 0.1]]), np.array([0]))
        >>> metric.result().examples
        1
    """

    @abc.abstractmethod
    def update(self, predictions: Any, targets: NDArray[Any]) -> None:
        """Add a batch.

        Args:
            predictions: what the task's predictor returned.
            targets: those of the same images.
        """

    @abc.abstractmethod
    def result(self) -> Result:
        """Return what was measured so far.

        Raises:
            ArgumentError: if there was no image.
        """


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The logged value by which an epoch is the best.

    Attributes:
        name: name of the Keras metric; in validation, "val_" is put before it.
        record: name of the same measurement in `Result.summary`.
        title: its name for people.
        form: how it is written, as a format specification.
        is_better: whether larger or smaller values are better.
    """

    name: str
    record: str
    title: str
    form: str
    is_better: Literal["larger", "smaller"] = "larger"

    def improves(self, value: float, best: float | None) -> bool:
        """Return whether a value is better than the best so far.

        Args:
            value: the new value.
            best: the best so far; None: there is none.
        """
        return best is None or (value > best if self.is_better == "larger" else value < best)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How targets become what losses compare with outputs.

    Attributes:
        one_hot: number of classes if labels are one-hot, which mixing images needs; else None.
        encode: function from targets to the losses' form, which runs in tf.data; None: they have it already.
    """

    one_hot: int | None = None
    encode: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A model and the meaning of its outputs.

    Attributes:
        model: functional `keras.Model` that computes in float32, from normalized images to outputs.
        convert: function from its outputs, as arrays, to predictions.
    """

    model: keras.Model
    convert: Callable[[Any], Any]

    def __call__(self, images: Any) -> Any:
        """Return the predictions for a batch of normalized images."""
        return self.convert(self.model.predict_on_batch(np.asarray(images)))


class Task(abc.ABC):
    """What a network is for; one subclass per task, stateless.

    Attributes:
        name: name of the task, which model files record.
        target: the kind of target that its images have.
        monitor: the `Monitor` that chooses the best epoch.
        averages_views: whether the mean of the predictions for several views of an image is a prediction for the image.
        scored: what gets one score per class: the image, each pixel, each of many boxes ("object"), or nothing. In an
            export, scores of images and pixels become probabilities.
        shown: measurements that are printed after training: name in `Result.summary`, title and form. Empty: those of
            the monitor and the loss.

    Examples:
        >>> from keras_cnns import data, tasks
        >>> task = tasks.task_for(data.open_source("digits").split("train").target)
        >>> task.monitor.title
        'top-1'
    """

    name: str
    target: Target
    monitor: Monitor
    averages_views: bool = False
    scored: Literal["image", "pixel", "object", "nothing"] = "nothing"
    shown: tuple[tuple[str, str, str], ...] = ()

    @abc.abstractmethod
    def check(self, model: keras.Model) -> None:
        """Raise ArgumentError unless a model fits the task.

        Args:
            model: functional or sequential model, whose inputs and outputs count.
        """

    @abc.abstractmethod
    def objective(self, model: keras.Model, recipe: Recipe, *, is_shared: bool = False) -> Mapping[str, Any]:
        """Return what `compile` takes besides the optimizer.

        Args:
            model: the network.
            recipe: `Recipe`.
            is_shared: whether devices share batches. Some images of a batch are then repeated, for which weights make
                up: validation needs weighted metrics, whose names end in `EXACT`.

        Returns:
            Dictionary with "loss", and as needed "loss_weights", "metrics" and "weighted_metrics". Among the metrics is
            that of `monitor`; with several outputs, those of the main one also have "cross_entropy", its own loss.

        Raises:
            ArgumentError: if the recipe does not fit the network.
        """

    def encoding(self, model: keras.Model, recipe: Recipe) -> Encoding:
        """Return the `Encoding` of targets; by default they stay as they are.

        Args:
            model: the network.
            recipe: `Recipe`.
        """
        return Encoding()

    @abc.abstractmethod
    def predictor(self, model: keras.Model, class_names: Sequence[str] = ()) -> Predictor:
        """Return a model as it predicts, without what only trains.

        Args:
            model: functional or sequential model.
            class_names: names of the classes; () if they are not known.

        Raises:
            ArgumentError: if its outputs are not those of the task, or of other classes.
        """

    @abc.abstractmethod
    def metric(self, class_names: Sequence[str]) -> Metric:
        """Return a new metric.

        Args:
            class_names: names of the classes, in the order of the model's outputs.
        """

    def deployed(self, model: keras.Model) -> keras.Model:
        """Return the model without what only trains.

        By default this is the main output, without auxiliary heads.

        Args:
            model: functional or sequential model that fits the task.
        """
        return _models.main_output(model)

    def image_scores(self, model: keras.Model, class_names: Sequence[str] = ()) -> keras.Model:
        """Return a model that gives an image one score per class.

        Explanations ask what speaks for a class. By default this is the model's main output.

        Args:
            model: functional or sequential model.
            class_names: names of the classes; () if they are not known.

        Raises:
            ArgumentError: if it has no such scores.
        """
        return _models.main_output(model)

    def derive(self, scores: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return what follows from scores.

        An artifact that reads image files gives it too. Such outputs jump where two scores are equal. They are
        therefore not compared with those of the model, but must be what this function gives for the artifact's own
        scores.

        Args:
            scores: main output for some images.

        Returns:
            Dictionary from the name of an output to its values; by default it is empty.
        """
        return {}


def for_heads(model: keras.Model, labels: Any) -> Any:
    """Return labels in the form that `fit` takes.

    Args:
        model: `keras.Model` with one or several heads.
        labels: array or tensor of labels.

    Returns:
        The labels themselves for one head; for several, a dictionary from each head's name to the labels.
    """
    return labels if len(model.outputs) == 1 else dict.fromkeys(model.output_names, labels)


def check_auxiliary_weight(model: keras.Model, recipe: Recipe) -> None:
    """Raise ArgumentError unless heads and their weight go together.

    Args:
        model: the network.
        recipe: `Recipe`.
    """
    if (len(model.outputs) > 1) != (recipe.auxiliary_weight > 0):
        raise ArgumentError(
            f"a network with auxiliary heads needs a recipe with a weight for them, and one without needs 0; "
            f"{model.name} has {len(model.outputs) - 1}. Received: auxiliary_weight={recipe.auxiliary_weight}"
        )


def check_examples(count: int) -> None:
    """Raise ArgumentError if a split to evaluate on is empty.

    Args:
        count: number of images.
    """
    if not count:
        raise ArgumentError("there are no images to measure on: the split is empty. Received: examples=0")


def check_finite(values: NDArray[Any], name: str = "the model") -> None:
    """Raise ArgumentError if an output is NaN or infinite.

    Args:
        values: outputs.
        name: of the model, for the error.
    """
    if not np.isfinite(values).all():
        raise ArgumentError(f"{name} outputs NaN or infinite values; train it again.")
