"""Kinds of targets: what a model learns to predict of an image."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_cnns.data.views import View
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Labels

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_cnns.data.augment import Augment

Change: TypeAlias = Callable[["tf.Tensor", "tf.Tensor"], "tf.Tensor"]


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

    def read(self, target: "tf.Tensor", size: "tf.Tensor", faults: list[SourceError]) -> "tf.Tensor":
        """Return the target of one image from what the split holds, inside a tf.data map.

        Args:
            target: an element of the split's array, such as the path of a mask.
            size: int32 (2,), height and width of the image; 0 where they are not known.
            faults: list to which an error is appended, as tf.data passes on only that there was one.
        """
        return target

    def move(self, target: "tf.Tensor", view: View) -> "tf.Tensor":
        """Return the target of an image that is shown in a view, inside a tf.data map.

        Args:
            target: what `read` returned.
            view: `View`, whose fields may be tensors.
        """
        return target

    def move_batch(self, targets: "tf.Tensor", change: Change, seed: "tf.Tensor") -> "tf.Tensor":
        """Return targets whose images a change of geometry moves, inside a tf.data map.

        Args:
            targets: those of a batch.
            change: function (images, seed) -> images.
            seed: its seed.
        """
        return targets

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
