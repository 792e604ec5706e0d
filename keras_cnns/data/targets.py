"""Kinds of targets: what a model learns to predict of an image."""

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_cnns.data.masks import IGNORE, read_mask
from keras_cnns.data.png import labels_as_gray
from keras_cnns.data.views import View
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Labels, Size

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_cnns.data.augment import Augment

# Those of a split: numbers, masks, names of files, or dictionaries of objects
Targets: TypeAlias = ArrayLike | Sequence[Mapping[str, Any]]
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

    # Whether a prediction is compared with the target in the image's own size, and not in that of the input
    at_own_size: ClassVar[bool] = False

    @abc.abstractmethod
    def as_array(self, targets: Targets, examples: int) -> NDArray[Any]:
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

    def content(self, name: str) -> bytes:
        """Return what TensorFlow can decode a target from, without Python.

        `read` then gets it, so that a pipeline waits for Python's lock once for many targets.

        Args:
            name: what the split holds, such as the path of a mask.

        Returns:
            The bytes; empty if this target must be read in Python.
        """
        return b""

    def fault(self, name: str, size: Size | None = None) -> SourceError | None:
        """Return what is wrong with a target, if it cannot be read.

        Args:
            name: what the split holds, such as the path of a mask.
            size: (height, width) of the image, for a check; None if it is not known.
        """
        return None

    def read(
        self, target: "tf.Tensor", size: "tf.Tensor", faults: list[SourceError], content: "tf.Tensor | None" = None
    ) -> "tf.Tensor":
        """Return the target of one image, inside a tf.data map.

        Args:
            target: what the split holds, such as the path of a mask.
            size: int32 (2,), height and width of the image; 0 where they are not known.
            faults: list to which an error is appended, as tf.data passes on only that there was one.
            content: what `content` returned; None if it was not called.
        """
        return target

    def move(self, target: "tf.Tensor", view: View) -> "tf.Tensor":
        """Return the target of an image in a view, inside a map.

        Args:
            target: what `read` returned.
            view: `View`, whose fields may be tensors.
        """
        return target

    def batch(self, data: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
        """Return a dataset in batches.

        Args:
            data: `tf.data.Dataset` of (image, moved target).
            size: images per batch; the last one may hold fewer.
        """
        return data.batch(size)

    def finish(self, targets: "tf.Tensor") -> Any:
        """Return a batch of targets in the form that losses take.

        Args:
            targets: those of a batch, after every change.
        """
        return targets

    def gathered(self, batches: Sequence[Any]) -> NDArray[Any]:
        """Return the targets of all images of some batches.

        Args:
            batches: what `finish` returned, as arrays.
        """
        return np.concatenate(batches)

    def renumbered(self, targets: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any] | None:
        """Return targets with other numbers of classes.

        Args:
            targets: array, as `as_array` returned it.
            places: the new number of each class.

        Returns:
            Array of the same kind, or None if classes cannot be numbered anew.
        """
        return None

    def move_batch(self, targets: "tf.Tensor", change: Change, seed: "tf.Tensor") -> "tf.Tensor":
        """Return targets whose images are moved, inside a tf.data map.

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

    def as_array(self, targets: Targets, examples: int) -> Labels:
        """Return int64 numbers (examples,), as `Target.as_array`."""
        array = np.asarray(targets)
        if array.shape != (examples,):
            raise ArgumentError(
                f"`labels` must have one whole number for each of {examples} images. Received: shape={array.shape}"
            )
        return array.astype("int64")

    def classes(self, targets: NDArray[Any]) -> Labels:
        """Return the targets themselves, as `Target.classes`."""
        return targets

    def renumbered(self, targets: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the new numbers, as `Target.renumbered`; -1 stays."""
        return np.where(targets < 0, targets, places[np.maximum(targets, 0)]).astype("int64")

    def refusal(self, augment: "Augment") -> None:
        """Return None: a class stays however its image is changed."""


@dataclasses.dataclass(frozen=True)
class Mask(Target):
    """The class of each pixel.

    In memory, a mask is a uint8 array (height, width) of classes, in which 255 marks pixels to ignore. The targets of a
    split are such masks, or names of files that `keras_cnns.data.masks.read_mask` reads.

    Attributes:
        count: number of classes; None if it is not known.
        ignore: label that mask files have at pixels to ignore, besides 255. It becomes 255 in memory.

    Examples:
        >>> from keras_cnns import data
        >>> data.open_source("shapes").target
        Mask(count=4, ignore=255)
    """

    count: int | None = None
    ignore: int = IGNORE
    at_own_size: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count is not None and not 1 <= self.count <= 255:
            raise ArgumentError(f"`count` must be from 1 to 255 classes, or None. Received: count={self.count}")
        if not 0 <= self.ignore <= 255:
            raise ArgumentError(f"`ignore` must be a label from 0 to 255. Received: ignore={self.ignore}")

    def as_array(self, targets: Targets, examples: int) -> NDArray[Any]:
        """Return masks or names of files, as `Target.as_array`.

        Args:
            targets: uint8 array (examples, height, width), or one text per image.
            examples: number of images.

        Returns:
            uint8 array (examples, height, width), or object array (examples,) of texts.

        Raises:
            ArgumentError: for anything else, or a label that is that of no class.
        """
        array = np.asarray(targets)
        if array.dtype.kind in "OU" and array.shape == (examples,):
            names = array.astype(object)
            if all(isinstance(name, str) for name in names):
                return names
        if array.dtype != np.uint8 or array.ndim != 3 or len(array) != examples:
            raise ArgumentError(
                "`labels` must be uint8 masks (examples, height, width) or names of mask files, one for each of "
                f"{examples} images. Received: dtype={array.dtype}, shape={array.shape}"
            )
        if self.count is not None and (wrong := (array >= self.count) & (array != IGNORE)).any():
            raise ArgumentError(
                f"`labels` must be from 0 to {self.count - 1}, or 255 for pixels to ignore. "
                f"Received: label={array[wrong][0]}"
            )
        return array

    def classes(self, targets: NDArray[Any]) -> None:
        """Return None: an image has pixels of several classes."""
        return

    def content(self, name: str) -> bytes:
        """Return a PNG whose gray values are the labels, as `Target.content`."""
        try:
            with open(name, "rb") as file:
                return labels_as_gray(file.read())
        except OSError:
            return b""  # also for an image in a COCO file

    def fault(self, name: str, size: Size | None = None) -> SourceError | None:
        """Return the error of a mask file, as `Target.fault`."""
        import tensorflow as tf

        try:
            read_mask(name, self.count, size, self.ignore)
            if content := self.content(name):
                tf.io.decode_png(content, 1)
        except SourceError as error:
            return error
        except tf.errors.InvalidArgumentError:
            return SourceError(f"{name}: is a PNG that TensorFlow cannot decode. Save it again.")
        return None

    def read(
        self, target: "tf.Tensor", size: "tf.Tensor", faults: list[SourceError], content: "tf.Tensor | None" = None
    ) -> "tf.Tensor":
        """Return the mask of an image, uint8 (height, width), as `Target.read`."""
        import tensorflow as tf

        if target.dtype != tf.string:
            return target

        def read(path, size):
            try:
                return read_mask(path.decode(), self.count, tuple(size.tolist()) if size.all() else None, self.ignore)
            except SourceError as error:
                faults.append(error)
                raise

        def in_python() -> "tf.Tensor":
            return tf.ensure_shape(tf.numpy_function(read, [target, size], tf.uint8, stateful=False), (None, None))

        if content is None:
            return in_python()
        ignore = tf.constant(IGNORE, tf.uint8)

        def in_graph() -> "tf.Tensor":
            labels = tf.ensure_shape(tf.io.decode_png(content, 1), (None, None, 1))[..., 0]
            labels = labels if self.ignore == IGNORE else tf.where(labels == self.ignore, ignore, labels)
            is_right = tf.logical_or(tf.reduce_all(size == 0), tf.reduce_all(tf.shape(labels) == size))
            if self.count is not None:
                is_right &= tf.reduce_max(labels + 1) <= self.count  # in uint8, 255 + 1 is 0
            # What is wrong is named in Python
            return tf.cond(is_right, lambda: labels, in_python)

        return tf.cond(tf.strings.length(content) > 0, in_graph, in_python)

    def move(self, target: "tf.Tensor", view: View) -> "tf.Tensor":
        """Return the classes at the centers of shown pixels, as `Target.move`.

        Beyond the image they are 255.
        """
        import tensorflow as tf

        moved, inside = target, []
        for places in view.places():
            indices, side = tf.cast(tf.floor(places), tf.int32), tf.shape(moved)[0]
            nearest = tf.clip_by_value(indices, 0, side - 1)
            inside.append(indices == nearest)
            # Gathering rows and transposing takes half as long as gathering columns
            moved = tf.transpose(tf.gather(moved, nearest))
        rows, columns = inside
        is_whole = tf.reduce_all(rows) & tf.reduce_all(columns)
        outside = tf.constant(IGNORE, tf.uint8)
        moved = tf.cond(is_whole, lambda: moved, lambda: tf.where(rows[:, None] & columns, moved, outside))
        return tf.ensure_shape(moved, view.size)

    def move_batch(self, targets: "tf.Tensor", change: Change, seed: "tf.Tensor") -> "tf.Tensor":
        """Return masks with 255 where images have black, as `Target.move_batch`."""
        import tensorflow as tf

        # In uint8, 255 + 1 is 0, which is what comes in from outside
        return tf.squeeze(change(targets[..., None] + 1, seed), -1) - 1

    def refusal(self, augment: "Augment") -> str | None:
        """Return why masks cannot follow an augmentation, as `Target.refusal`."""
        if augment.mixup or augment.cutmix:
            return "MixUp and CutMix mix labels, and the class of a pixel cannot be mixed; leave them out"
        if augment.geometry == "distort":
            return "distortions move pixels, and the mask would stay; choose another geometry"
        if augment.rand_augment:
            return "RandAugment may move pixels, and the mask would stay; leave it out"
        return None
