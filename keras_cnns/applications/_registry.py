"""Networks by name.

This module imports the standard library only, so that a misspelled name is answered at once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import ArgumentError, nearest

if TYPE_CHECKING:
    import keras
    from numpy.typing import ArrayLike


def list_models(task: str | None = None) -> list[str]:
    """Return the public names of all networks, or of a task's.

    Args:
        task: "classification", "segmentation" or "detection"; None: all.

    Raises:
        ArgumentError: if there is no such task.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.list_models("classification")[:3]
        ['AlexNet', 'AlexNetOneTower', 'CaffeNet']
        >>> "FCN8s" in applications.list_models("segmentation")
        True
    """
    tasks = sorted({facts.task for facts in FACTS.values()})
    if task not in (None, *tasks):
        raise ArgumentError(f"`task` must be None or one of {', '.join(map(repr, tasks))}. Received: task={task!r}")
    return sorted(name for name in applications._BUILDERS if task in (None, FACTS[name].task))


def canonical_name(name: str) -> str:
    """Return the public name of a network.

    Args:
        name: the name, written in any case.

    Raises:
        ArgumentError: if there is no such network.
    """
    for public_name in applications._BUILDERS:
        if public_name.casefold() == str(name).casefold():
            return public_name
    raise ArgumentError(
        f"there is no such network.{nearest(name, list_models())} There are {', '.join(list_models())}. "
        f"Received: name={name!r}"
    )


def create_model(name: str, /, **kwargs: Any) -> "keras.Model":
    """Build a network by name.

    Args:
        name: a name of `list_models()`, written in any case.
        **kwargs: arguments of the builder.

    Raises:
        ArgumentError: if there is no network of that name.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.create_model("resnet20", classes=100).output_shape
        (None, 100)
    """
    return getattr(applications, canonical_name(name))(**kwargs)


def decode_predictions(
    probabilities: "ArrayLike", classes: Sequence[str], top: int = 5
) -> list[list[tuple[str, float]]]:
    """Return the most probable classes of each image.

    Args:
        probabilities: array (batch, classes) of any float dtype. For two classes also (batch, 1), the probability of
            the second class.
        classes: class names, in the order of the columns.
        top: how many classes to return per image; all, if there are fewer.

    Returns:
        One list per image of (class name, probability), the most probable first; equal ones in class order.

    Raises:
        ArgumentError: (a ValueError) if the number of names is not the number of columns, or `top` is below 1.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.decode_predictions([[0.25, 0.75]], ["cat", "dog"], top=1)
        [[('dog', 0.75)]]
    """
    import numpy as np

    probabilities = np.asarray(probabilities, "float32")
    if probabilities.shape[1:] == (1,) and len(classes) == 2:
        probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
    if probabilities.ndim != 2 or probabilities.shape[1] != len(classes):
        raise ArgumentError(
            f"`probabilities` must have the shape (batch, {len(classes)}), a column for each of the classes. "
            f"Received: shape={probabilities.shape}"
        )
    if top < 1:
        raise ArgumentError(f"`top` must be at least 1. Received: top={top}")
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return [[(classes[k], float(row[k])) for k in best] for row, best in zip(probabilities, order, strict=True)]
