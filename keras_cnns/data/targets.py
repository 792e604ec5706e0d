"""Kinds of targets: what a model learns to predict of an image."""

import abc
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Labels

if TYPE_CHECKING:
    from keras_cnns.data.augment import Augment


class Target(abc.ABC):
    """A kind of target. Stateless: the targets themselves are in the splits.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> split = data.ArraySplit(np.zeros((4, 8, 8, 1), "uint8"), [0, 0, 0, 1])
        >>> split.target
        ClassLabel()
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abc.abstractmethod
    def as_array(self, targets: ArrayLike, examples: int) -> NDArray[Any]:
        """Return the targets of a split as an array.

        Args:
            targets: one per image.
            examples: number of images, which is the length of the first axis.

        Raises:
            ArgumentError: if they are of another kind, or not one per image.
        """

    @abc.abstractmethod
    def classes(self, targets: NDArray[Any]) -> Labels | None:
        """Return the one class of each image.

        Splits are stratified and balanced by it.

        Args:
            targets: array, as `as_array` returned it.

        Returns:
            int64 array (examples,), or None if an image has no class, or several.
        """

    @abc.abstractmethod
    def refusal(self, augment: "Augment") -> str | None:
        """Return why images with such targets cannot be augmented so.

        Args:
            augment: `Augment`.

        Returns:
            A sentence without its full stop, or None if they can.
        """


class ClassLabel(Target):
    """The number of the image's class.

    It is an index in the split's `class_names`, or -1 if it is not known.

    Examples:
        >>> from keras_cnns import data
        >>> data.open_source("digits").split("test").target
        ClassLabel()
    """

    def as_array(self, targets: ArrayLike, examples: int) -> Labels:
        """Return int64 numbers (examples,), as `Target.as_array`."""
        if np.shape(targets) != (examples,):
            raise ArgumentError(
                f"`labels` must have one whole number for each of {examples} images. "
                f"Received: shape={np.shape(targets)}"
            )
        return np.asarray(targets, "int64")

    def classes(self, targets: NDArray[Any]) -> Labels:
        """Return the targets themselves, as `Target.classes`."""
        return targets

    def refusal(self, augment: "Augment") -> None:
        """Return None: a class stays however its image is changed."""
