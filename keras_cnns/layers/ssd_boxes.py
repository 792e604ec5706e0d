"""SSD's default boxes: their places, matching and coding."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_cnns.layers._numbers import plain
from keras_cnns.layers._types import Cost, Tensor, TensorShape

LEAST_OVERLAP = 1e-6  # of a default box that is matched because an object has no better one


def default_boxes(
    image_size: Sequence[int],
    map_sizes: Sequence[Sequence[int]],
    smallest: Sequence[float],
    largest: Sequence[float],
    ratios: Sequence[Sequence[float]],
    steps: Sequence[float] | None = None,
    clip: bool = False,
) -> NDArray[np.float32]:
    """Return SSD's default boxes.

    At each position of a map there are, in this order: a square of the smallest side s, one of the side sqrt(s l) with
    the largest side l, and for each ratio r one of the size s / sqrt(r) x s sqrt(r) (height x width) and one turned by
    90 degrees. As in Caffe, sides are truncated to whole pixels.

    Args:
        image_size: (height, width) of the images, in pixels.
        map_sizes: (height, width) of each map.
        smallest: s of each map, in pixels.
        largest: l of each map, in pixels.
        ratios: those of each map, above 1.
        steps: pixels from one position to the next, for each map. None: image_size / map_sizes.
        clip: whether boxes are cut at the border of the image.

    Returns:
        float32 (boxes, 4), top, left, bottom, right in pixels: map by map, row by row, position by position.

    Reference:
        W. Liu et al.: SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325, section 2.2; prior_box_layer of
        the authors.

    Examples:
        >>> from keras_cnns import layers
        >>> boxes = layers.default_boxes((300, 300), [(1, 1)], [264], [315], [(2,)], steps=[300])
        >>> boxes.shape, boxes[0].tolist()
        ((4, 4), [18.0, 18.0, 282.0, 282.0])
    """
    boxes = []
    for number, map_size in enumerate(map_sizes):
        low, high = int(smallest[number]), int(largest[number])
        sides = [(float(low), float(low)), (float(np.sqrt(low * high)),) * 2]  # height and width
        for ratio in ratios[number]:
            wide = low / np.sqrt(ratio), low * np.sqrt(ratio)
            sides += [wide, wide[::-1]]
        step = [whole / count for whole, count in zip(image_size, map_size, strict=True)]
        step = [steps[number]] * 2 if steps is not None else step
        rows, columns = ((np.arange(count) + 0.5) * width for count, width in zip(map_size, step, strict=True))
        centers = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)[:, :, None]
        halves = np.array(sides) / 2
        boxes.append(np.concatenate([centers - halves, centers + halves], -1).reshape(-1, 4))
    together = np.concatenate(boxes)
    if clip:
        together = np.clip(together, 0, [*image_size, *image_size])
    return together.astype("float32")


@keras.saving.register_keras_serializable(package="keras_cnns")
class SSDBoxes(keras.layers.Layer):
    """Boxes from the offsets that SSD predicts for its default boxes.

    The layer has no weights. Its configuration has all constants of matching, coding and suppression, so that a model's
    file alone says how it is trained and what it finds.

    Args:
        image_size: (height, width) of the images, in pixels.
        map_sizes: as in `default_boxes`.
        smallest: as in `default_boxes`.
        largest: as in `default_boxes`.
        ratios: as in `default_boxes`.
        steps: as in `default_boxes`.
        clip: as in `default_boxes`.
        variances: divisors of the offsets (x, y, width, height).
        threshold: intersection over union from which a default box is to find an object.
        negatives: default boxes without an object that count in the loss, for each one with an object.
        min_negatives: number of them in an image without objects. 0, as in the paper: such an image has no loss.
        least_score: detections of a lower or equal score are left out.
        candidates: number of boxes of each class that are compared, the best ones.
        suppression: intersection over union above which the worse of two detections of a class is left out.
        limit: number of detections in an image, the best ones.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, boxes, 4 or more), any float dtype; the first four values are the offsets of the center to the
            right and down and the logarithms of width and height, each divided by its variance.

    Returns:
        (batch, boxes, 4), float32: top, left, bottom, right in pixels. They are not cut at the border.

    Raises:
        ValueError: if maps, sides and ratios are not of one number, or a side is below a pixel.

    Reference:
        W. Liu et al.: SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325, section 2.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layer = layers.SSDBoxes((96, 96), [(12, 12), (6, 6)], [12, 30], [30, 60], [(2,), (2, 3)])
        >>> layer(keras.Input((792, 8))).shape
        (None, 792, 4)
    """

    def __init__(
        self,
        image_size: Sequence[int],
        map_sizes: Sequence[Sequence[int]],
        smallest: Sequence[float],
        largest: Sequence[float],
        ratios: Sequence[Sequence[float]],
        steps: Sequence[float] | None = None,
        clip: bool = False,
        variances: Sequence[float] = (0.1, 0.1, 0.2, 0.2),
        threshold: float = 0.5,
        negatives: float = 3.0,
        min_negatives: int = 0,
        least_score: float = 0.01,
        candidates: int = 400,
        suppression: float = 0.45,
        limit: int = 200,
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.places: dict[str, Any] = {
            "image_size": [int(plain(side)) for side in image_size],
            "map_sizes": [[int(plain(side)) for side in size] for size in map_sizes],
            "smallest": [float(plain(side)) for side in smallest],
            "largest": [float(plain(side)) for side in largest],
            "ratios": [[float(plain(ratio)) for ratio in of_map] for of_map in ratios],
            "steps": None if steps is None else [float(plain(step)) for step in steps],
            "clip": bool(clip),
        }
        numbers = {name: len(self.places[name]) for name in ("map_sizes", "smallest", "largest", "ratios")}
        if len(set(numbers.values())) > 1:
            raise ValueError(f"each map needs a smallest and a largest side and ratios. Received: {numbers}")
        if any(int(side) < 1 for side in (*self.places["smallest"], *self.places["largest"])):
            raise ValueError(
                "default boxes must be at least one pixel wide. "
                f"Received: smallest={self.places['smallest']}, largest={self.places['largest']}"
            )
        self.variances = [float(plain(value)) for value in variances]
        self.threshold, self.negatives = float(plain(threshold)), float(plain(negatives))
        self.min_negatives = int(plain(min_negatives))
        self.least_score, self.candidates = float(plain(least_score)), int(plain(candidates))
        self.suppression, self.limit = float(plain(suppression)), int(plain(limit))
        self.boxes = default_boxes(**self.places)

    def call(self, inputs: Tensor) -> Tensor:
        """Return the boxes that offsets mean."""
        offsets = ops.cast(inputs[..., :4], "float32") * np.array(self.variances, "float32")
        centers, sides = _centers_and_sides(self.boxes)
        # The default boxes are rows and columns, the offsets columns and rows
        found = centers + ops.flip(offsets[..., :2], -1) * sides
        halves = ops.exp(ops.flip(offsets[..., 2:], -1)) * (sides / 2)
        return ops.concatenate([found - halves, found + halves], -1)

    def encode(self, boxes: Any, labels: Any) -> Any:
        """Return what the network is to predict, inside a tf.data map.

        First the object and the default box of the largest intersection over union are matched, then those of the
        largest one among the others, and so on, until each object has a default box. Every other default box is to find
        the object that it overlaps most, if by at least `threshold`.

        Args:
            boxes: float32 (batch, objects, 4), top, left, bottom, right in pixels of the images.
            labels: int32 (batch, objects); -1 in rows that only fill up.

        Returns:
            float32 (batch, boxes, 5): the four offsets, and the class, 0 for none and otherwise the label plus 1.
        """
        import tensorflow as tf

        # A row that only fills up, so that there is at least one
        boxes = tf.pad(tf.cast(boxes, tf.float32), [(0, 0), (0, 1), (0, 0)])
        labels = tf.pad(tf.cast(labels, tf.int32), [(0, 0), (0, 1)], constant_values=-1)
        overlaps = tf.where(labels[:, :, None] >= 0, _overlaps(boxes, self.boxes), -1.0)  # (batch, objects, boxes)
        matches = _matches(overlaps, self.threshold)
        is_object = matches >= 0
        wanted = tf.gather(boxes, tf.maximum(matches, 0), batch_dims=1)
        centers, sides = _centers_and_sides(self.boxes)
        wanted_sides = tf.maximum(wanted[..., 2:] - wanted[..., :2], 1e-6)
        moved = ((wanted[..., :2] + wanted[..., 2:]) / 2 - centers) / sides
        grown = tf.math.log(wanted_sides / sides)
        offsets = tf.concat([moved[..., ::-1], grown[..., ::-1]], -1) / np.array(self.variances, "float32")
        classes = tf.gather(labels, tf.maximum(matches, 0), batch_dims=1) + 1
        encoded = tf.concat([offsets, tf.cast(classes, tf.float32)[..., None]], -1)
        return tf.where(is_object[..., None], encoded, 0.0)

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        """Return (batch, boxes, 4)."""
        return (input_shape[0], len(self.boxes), 4)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zero multiply-adds and connections, as a layer without kernel or pool."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        """Return all arguments."""
        names = "variances threshold negatives min_negatives least_score candidates suppression limit".split()
        return {**super().get_config(), **self.places, **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="keras_cnns")
class ObjectScores(keras.layers.Layer):
    """Probabilities of classes, without that of the background.

    Args:
        skip: number of values before the logits.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, boxes, skip + 1 + classes), any float dtype: other values, the logit of the background, and
            those of the classes.

    Returns:
        (batch, boxes, classes), float32: the softmax of all logits, of which the first is left out.

    Examples:
        >>> import keras
        >>> from keras_cnns import layers
        >>> layers.ObjectScores(4)(keras.Input((8732, 25))).shape
        (None, 8732, 20)
    """

    def __init__(self, skip: int = 0, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.skip = int(plain(skip))

    def call(self, inputs: Tensor) -> Tensor:
        """Return the probabilities."""
        return ops.softmax(ops.cast(inputs[..., self.skip :], "float32"), -1)[..., 1:]

    def compute_output_shape(self, input_shape: TensorShape) -> TensorShape:
        """Return (batch, boxes, classes)."""
        return (*input_shape[:-1], input_shape[-1] - self.skip - 1)

    def compute_cost(self, input_shape: TensorShape) -> Cost:
        """Return zero multiply-adds and connections, as a layer without kernel or pool."""
        return {"macs": 0, "connections": 0}

    def get_config(self) -> dict[str, Any]:
        """Return all arguments."""
        return {**super().get_config(), "skip": self.skip}


def _centers_and_sides(boxes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (row, column) of the centers, and (height, width)."""
    return (boxes[:, :2] + boxes[:, 2:]) / np.float32(2), boxes[:, 2:] - boxes[:, :2]


def _overlaps(boxes: Any, others: NDArray[np.float32]) -> Any:
    """Return the intersections over union, (batch, objects, others)."""
    import tensorflow as tf

    # One coordinate at a time: TensorFlow is slow where the last axis is short
    top, left, bottom, right = (boxes[:, :, k, None] for k in range(4))
    height = tf.nn.relu(tf.minimum(bottom, others[:, 2]) - tf.maximum(top, others[:, 0]))
    width = tf.nn.relu(tf.minimum(right, others[:, 3]) - tf.maximum(left, others[:, 1]))
    common = height * width
    union = (bottom - top) * (right - left) + np.prod(others[:, 2:] - others[:, :2], -1) - common
    return common / tf.maximum(union, 1e-6)


def _matches(overlaps: Any, threshold: float) -> Any:
    """Return the object that each default box is to find.

    Args:
        overlaps: float32 (batch, objects, boxes); below 0 for objects that do not count.
        threshold: smallest overlap of the second step.

    Returns:
        int32 (batch, boxes), -1 for none.
    """
    import tensorflow as tf

    batch, objects, boxes = tf.unstack(tf.shape(overlaps))
    # Before an object gets its box, fewer than `objects` others can be taken, so that its best ones suffice
    values, places = tf.math.top_k(overlaps, tf.minimum(objects, boxes))
    chosen = tf.fill((batch, objects), boxes)

    def match_best(step, values, chosen):
        flat = tf.reshape(values, (batch, -1))
        best = tf.argmax(flat, -1, tf.int32)
        is_match = tf.reduce_max(flat, -1) > LEAST_OVERLAP
        number = best // tf.shape(values)[2]
        place = tf.gather(tf.reshape(places, (batch, -1)), best, batch_dims=1)
        is_row = tf.range(objects) == number[:, None]
        taken = is_match[:, None, None] & (is_row[:, :, None] | (places == place[:, None, None]))
        left = tf.ensure_shape(tf.where(taken, -1.0, values), values.shape)
        now = tf.where(is_match[:, None] & is_row, place[:, None], chosen)
        return step + 1, left, tf.ensure_shape(now, chosen.shape)

    def is_left(step, values, chosen):
        return (step < objects) & (tf.reduce_max(values) > LEAST_OVERLAP)

    _, _, chosen = tf.while_loop(is_left, match_best, (0, values, chosen))
    by_threshold = tf.where(tf.reduce_max(overlaps, 1) >= threshold, tf.argmax(overlaps, 1, tf.int32), -1)
    # Objects without a box write into one behind the last
    places = tf.stack([tf.repeat(tf.range(batch), objects), tf.reshape(chosen, (-1,))], -1)
    padded = tf.pad(by_threshold, [(0, 0), (0, 1)])
    numbers = tf.tile(tf.range(objects), [batch])
    return tf.tensor_scatter_nd_update(padded, places, numbers)[:, :-1]
