"""The target of detection: boxes around objects."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.targets import Target
from keras_cnns.data.views import View
from keras_cnns.errors import ArgumentError, SourceError

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_cnns.data.augment import Augment

# Columns of a row, one row per object. A row that only fills up has -1 in all of them.
COLUMNS = ("top", "left", "bottom", "right", "label", "difficult", "crowd", "area")
LABEL, DIFFICULT, CROWD, AREA = 4, 5, 6, 7
FILL = -1.0
THINNEST = 1e-3  # pixels; what is left of a box must be higher and wider

Rows: TypeAlias = NDArray[np.float32]  # (objects, 8)


@dataclasses.dataclass(frozen=True)
class Boxes(Target):
    """The objects of an image: a box and a class for each.

    A box is top, left, bottom, right in pixels ("yxyx" in `keras.utils.bounding_boxes`): the upper left corner of the
    image is 0, 0, and bottom and right are the first row and column outside. The target of an image is a dictionary:

    - "boxes": float32 (objects, 4);
    - "labels": int32 (objects,), numbers of classes from 0. -1 in a row that only fills up, as in a batch, whose images
      have different numbers of objects;
    - "difficult" and "crowd": bool (objects,), objects that measurements leave out, by the rules of VOC and of COCO;
    - "areas": float32 (objects,), in square pixels, by which COCO sorts objects.

    An image without objects is legal.

    Attributes:
        count: number of classes; None if it is not known.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import data
        >>> objects = [{"boxes": [[2, 3, 20, 30]], "labels": [1]}, {"boxes": [], "labels": []}]
        >>> split = data.ArraySplit(np.zeros((2, 32, 32, 3), "uint8"), objects, data.Boxes(2))
        >>> images, targets = next(iter(data.make_dataset(split, data.Preprocessing((64, 64)), 2)))
        >>> targets["boxes"].numpy().tolist()
        [[[4.0, 6.0, 40.0, 60.0]], [[-1.0, -1.0, -1.0, -1.0]]]
        >>> targets["labels"].numpy().tolist()
        [[1], [-1]]
    """

    count: int | None = None
    at_own_size: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ArgumentError(f"`count` must be at least 1 class, or None. Received: count={self.count}")

    def as_array(self, targets: Any, examples: int) -> NDArray[Any]:
        """Return the objects of each image as bytes, as `Target.as_array`.

        Args:
            targets: one per image: a dictionary with "boxes" and "labels", and if known "difficult", "crowd" and
                "areas"; or float32 (objects, 8), whose columns are `COLUMNS`; or what this function returned.
            examples: number of images.

        Returns:
            Object array (examples,) of bytes, the values of float32 rows.

        Raises:
            ArgumentError: if a target is something else, or a box or a label cannot be right.
        """
        if len(targets) != examples:
            raise ArgumentError(
                f"`labels` must have the objects of each of {examples} images. Received: {len(targets)} of them"
            )
        packed = np.empty(examples, object)
        for number, target in enumerate(targets):
            packed[number] = target if isinstance(target, bytes) else self._rows(target, number).tobytes()
        return packed

    def _rows(self, target: Any, number: int) -> Rows:
        """Return the rows of an image; raise ArgumentError for wrong ones."""
        try:
            rows = as_rows(target) if isinstance(target, Mapping) else np.asarray(target, "float32").reshape(-1, 8)
        except (KeyError, TypeError, ValueError) as error:
            raise ArgumentError(
                "the objects of an image must be a dictionary with 'boxes' (n, 4) and 'labels' (n,), and if known "
                f"'difficult', 'crowd' and 'areas' (n,). Received: image {number}, {error}"
            ) from None
        rows = rows[rows[:, LABEL] != FILL]
        labels = rows[:, LABEL]
        most = np.inf if self.count is None else self.count - 1
        if (wrong := (labels < 0) | (labels > most) | (labels != np.floor(labels))).any():
            raise ArgumentError(
                f"labels must be whole numbers from 0 to {most}. Received: image {number}, label={labels[wrong][0]:g}"
            )
        if (wrong := ~np.isfinite(rows).all(1) | (rows[:, 2:4] <= rows[:, :2]).any(1)).any():
            box = rows[wrong][0, :4].tolist()
            raise ArgumentError(
                "boxes must be finite, top above bottom and left before right; leave out those without area. "
                f"Received: image {number}, box={box}"
            )
        return rows

    def classes(self, targets: NDArray[Any]) -> None:
        """Return None: an image has objects of several classes."""
        return

    def read(
        self, target: "tf.Tensor", size: "tf.Tensor", faults: list[SourceError], content: "tf.Tensor | None" = None
    ) -> "tf.Tensor":
        """Return the rows of an image, float32 (objects, 8), as `Target.read`."""
        import tensorflow as tf

        return tf.reshape(tf.io.decode_raw(target, tf.float32), (-1, len(COLUMNS)))

    def move(self, target: "tf.Tensor", view: View) -> "tf.Tensor":
        """Return the rows of the objects whose center is shown, as `Target.move`.

        Boxes are cut at the border. SSD's paper keeps the same objects (section 2.2).
        """
        import tensorflow as tf

        height, width = view.size
        top, left, window_height, window_width = (view.window[k] for k in range(4))
        zoom = tf.cast(tf.stack([height / window_height, width / window_width]), tf.float32)
        start = tf.cast(tf.stack([top, left]), tf.float32)
        corners = (tf.reshape(target[:, :4], (-1, 2, 2)) - start) * zoom
        if not (isinstance(view.mirrored, bool) and not view.mirrored):
            mirrored = tf.stack([corners[:, ::-1, 1], width - corners[:, ::-1, 1]])
            columns = tf.where(view.mirrored, mirrored[1], corners[:, :, 1])
            corners = tf.stack([corners[:, :, 0], columns], -1)
        sides = tf.constant([height, width], tf.float32)
        middle = tf.reduce_mean(corners, 1)
        shown = tf.clip_by_value(corners, 0.0, sides)
        is_kept = tf.reduce_all((middle >= 0) & (middle < sides), -1)
        is_kept &= tf.reduce_all(shown[:, 1] - shown[:, 0] > THINNEST, -1)
        areas = target[:, AREA:] * tf.reduce_prod(zoom)
        rows = tf.concat([tf.reshape(shown, (-1, 4)), target[:, LABEL:AREA], areas], -1)
        return tf.ensure_shape(tf.boolean_mask(rows, is_kept), (None, len(COLUMNS)))

    def batch(self, data: "tf.data.Dataset", size: int) -> "tf.data.Dataset":
        """Return batches in which rows of -1 fill up, as `Target.batch`."""
        import tensorflow as tf

        image, _ = data.element_spec
        padding = tf.zeros((), image.dtype), tf.constant(FILL)
        return data.padded_batch(size, (image.shape, (None, len(COLUMNS))), padding)

    def finish(self, targets: "tf.Tensor") -> "dict[str, tf.Tensor]":
        """Return the dictionary of a batch's rows, as `Target.finish`."""
        import tensorflow as tf

        return {
            "boxes": targets[..., :LABEL],
            "labels": tf.cast(targets[..., LABEL], tf.int32),
            "difficult": targets[..., DIFFICULT] > 0,
            "crowd": targets[..., CROWD] > 0,
            "areas": targets[..., AREA],
        }

    def gathered(self, batches: Sequence[Any]) -> NDArray[Any]:
        """Return a dictionary for each image, as `Target.gathered`."""
        objects = []
        for batch in batches:
            for number, labels in enumerate(batch["labels"]):
                objects.append({name: values[number][labels >= 0] for name, values in batch.items()})
        gathered = np.empty(len(objects), object)
        gathered[:] = objects
        return gathered

    def renumbered(self, targets: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the objects with other numbers of classes, as `Target.renumbered`."""
        packed = np.empty(len(targets), object)
        for number, content in enumerate(targets):
            rows = np.frombuffer(content, "float32").reshape(-1, len(COLUMNS)).copy()
            rows[:, LABEL] = places[rows[:, LABEL].astype("int64")]
            packed[number] = rows.tobytes()
        return packed

    def refusal(self, augment: "Augment") -> str | None:
        """Return why boxes cannot follow an augmentation, as `Target.refusal`."""
        from keras_cnns.data.geometry import AUGMENTATIONS

        if augment.mixup or augment.cutmix:
            return "MixUp and CutMix mix labels, and the boxes of an image cannot be mixed; leave them out"
        if AUGMENTATIONS[augment.geometry].batch:
            windows = ", ".join(name for name, geometry in AUGMENTATIONS.items() if geometry.window)
            return f"{augment.geometry} moves pixels, and the boxes would stay; choose one of {windows}"
        if augment.rand_augment:
            return "RandAugment may move pixels, and the boxes would stay; leave it out"
        return None


def as_rows(target: Mapping[str, Any]) -> Rows:
    """Return the rows of the objects in a dictionary.

    Args:
        target: dictionary, as `Boxes` describes it.

    Returns:
        float32 (objects, 8).

    Raises:
        ValueError: if its parts do not have the same length.
    """
    labels = np.asarray(target["labels"], "float32").reshape(-1)
    boxes = np.asarray(target["boxes"], "float32").reshape(-1, 4)
    if len(boxes) != len(labels):
        raise ValueError(f"{len(boxes)} boxes and {len(labels)} labels")
    rows = np.zeros((len(labels), len(COLUMNS)), "float32")
    rows[:, :4], rows[:, LABEL] = boxes, labels
    for column, name in ((DIFFICULT, "difficult"), (CROWD, "crowd")):
        rows[:, column] = target.get(name, 0)
    rows[:, AREA] = target.get("areas", (boxes[:, 2:] - boxes[:, :2]).prod(-1))
    return rows


def from_bytes(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the objects of an image in a split.

    Args:
        content: an element of the split's `targets`.

    Returns:
        Dictionary, as `Boxes` describes it.
    """
    rows = np.frombuffer(content, "float32").reshape(-1, len(COLUMNS))
    return {
        "boxes": rows[:, :LABEL],
        "labels": rows[:, LABEL].astype("int32"),
        "difficult": rows[:, DIFFICULT] > 0,
        "crowd": rows[:, CROWD] > 0,
        "areas": rows[:, AREA],
    }
