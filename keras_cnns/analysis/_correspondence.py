"""Correspondence of the same object part in different images."""

import dataclasses

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Images

# Smaller changes, as a share of an image's largest feature, have no sign: they are rounding errors of float32.
NO_CHANGE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Correspondence:
    """Similarity of feature changes when a part of each image is hidden.

    Attributes:
        layer: name of the layer.
        score: mean share of the units, 0 to 1, whose changes have different signs in two of the images. The lower the
            score, the more the images correspond.
        random_scores: float64 (random_parts,), the scores of parts of the same size at random places.
        p_value: probability of a score at most this low if the part were a random place.
        distances: float64 (images, images), the share for each pair of images.
        changed: mean share of the units that change at all. If it is near 0, a low score means nothing, because
            unchanged units have the same sign in all images.
    """

    layer: str
    score: float
    random_scores: np.ndarray
    p_value: float
    distances: np.ndarray
    changed: float


def correspondence(
    model: keras.Model,
    images: Images,
    parts: ArrayLike,
    layer: str | keras.Layer,
    random_parts: int = 20,
    permutations: int = 9999,
    seed: int = 0,
    fill: ArrayLike = 0.0,
) -> Correspondence:
    """Return how similarly features change when the same part is hidden.

    For each image, epsilon = features(image) - features(image with the part hidden). The score is the Hamming
    distance between the signs of two images' epsilons, as a share of the units, averaged over all pairs of images.
    The same is computed for boxes of the part's size at random places.

    The p-value is that of a permutation test: in each image, part and random boxes are exchanged at random. If the
    part were a random place too, every choice of one box per image would be equally likely to score lowest.

    Args:
        model: functional or sequential `keras.Model` from images to one vector per image.
        images: float32 (images, height, width, channels), as the model takes them; at least two, the paper has five.
        parts: integers (images, 4), a box in each image, for example around the left eye: top, left, bottom, right,
            in pixels; bottom and right lie outside. (4,): the same box in all images.
        layer: the layer whose features are compared, or its name.
        random_parts: number of random boxes in each image.
        permutations: number of permutations.
        seed: seed of the random boxes and of the permutations.
        fill: value of hidden pixels, one number or one per channel, normalized as the model takes pixels.

    Returns:
        `Correspondence`.

    Raises:
        ArgumentError: (a ValueError) if an argument does not fit the model or the images.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 4.3 and table 1. The
        p-value: B. Phipson, G. Smyth: Permutation P-values Should Never Be Zero, 2010.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images = np.random.default_rng(0).normal(size=(3, 32, 32, 1))
        >>> found = analysis.correspondence(applications.LeNet5(), images, (4, 4, 12, 12), "C3")
        >>> found.distances.shape
        (3, 3)
    """
    model = _outputs.prepare_model(model)
    images = _classes.check_images(model, images)
    layer = _outputs.check_one_output(model, layer)
    part_boxes = _check_parts(parts, images.shape)
    fill = _outputs.check_fill(fill, images.shape[3])
    for name, value in (("random_parts", random_parts), ("permutations", permutations)):
        if not isinstance(value, int) or value < 1:
            raise ArgumentError(f"`{name}` must be a whole number, at least 1. Received: {name}={value!r}")
    random = np.random.default_rng(seed)
    # (images, 1 + random_parts, 4): the part is box 0 of its image.
    boxes = np.concatenate([part_boxes[:, None], _random_boxes(part_boxes, images.shape, random_parts, random)], 1)
    signs = np.concatenate(
        [
            _signs_of_changes(model, image, boxes_of_image, layer, fill)
            for image, boxes_of_image in zip(images, boxes, strict=True)
        ]
    )
    count, boxes_per_image = boxes.shape[:2]
    differing = _count_differing_signs(signs)

    def sum_over_pairs(choices: np.ndarray) -> np.ndarray:
        """Return the sum over all pairs of images, (draws,).

        Args:
            choices: number of the box chosen in each image, (draws, images).
        """
        rows = choices + boxes_per_image * np.arange(count)
        return sum(differing[rows[:, k, None], rows].sum(1) for k in range(count))

    part_rows = np.arange(count) * boxes_per_image
    observed = sum_over_pairs(np.zeros((1, count), int))
    permuted = sum_over_pairs(random.integers(boxes_per_image, size=(permutations, count)))
    pairs = count * (count - 1) * signs.shape[1]
    return Correspondence(
        layer=layer,
        score=float(observed[0] / pairs),
        random_scores=sum_over_pairs(np.repeat(np.arange(1, boxes_per_image)[:, None], count, 1)) / pairs,
        p_value=float((1 + (permuted <= observed).sum()) / (1 + permutations)),
        distances=differing[np.ix_(part_rows, part_rows)] / signs.shape[1],
        changed=float((signs[part_rows] != 0).mean()),
    )


def _check_parts(parts: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return the boxes as int64 (images, 4).

    Raises:
        ArgumentError: if there are fewer than two images, or a box does not lie in its image.
    """
    count, height, width, _ = shape
    boxes = np.asarray(parts)
    if count < 2:
        raise ArgumentError(f"`images` must be two images at least, to be compared. Received: {count}")
    if boxes.shape not in ((4,), (count, 4)) or boxes.dtype.kind not in "iu":
        raise ArgumentError(
            f"`parts` must be whole numbers ({count}, 4): top, left, bottom, right for each image. "
            f"Received: parts of shape {boxes.shape}, {boxes.dtype}"
        )
    boxes = np.broadcast_to(boxes, (count, 4)).astype("int64")
    top, left, bottom, right = boxes.T
    outside = (top < 0) | (left < 0) | (bottom > height) | (right > width) | (top >= bottom) | (left >= right)
    if outside.any():
        k = int(outside.argmax())
        raise ArgumentError(
            f"`parts` must be boxes in images of {height} x {width}, with top above bottom and left before right. "
            f"Received: parts[{k}]={boxes[k].tolist()}"
        )
    return boxes


def _random_boxes(parts: np.ndarray, shape: tuple[int, ...], count: int, random: np.random.Generator) -> np.ndarray:
    """Return random boxes of each part's size, int64 (images, count, 4).

    Args:
        parts: int64 (images, 4), top, left, bottom, right.
        shape: (images, height, width, channels) of the images.
        count: boxes per image.
        random: source of the places.
    """
    sizes = parts[:, None, 2:] - parts[:, None, :2]
    corners = random.integers(0, np.array(shape[1:3]) - sizes + 1, (len(parts), count, 2))
    return np.concatenate([corners, corners + sizes], 2)


def _signs_of_changes(
    model: keras.Model, image: np.ndarray, boxes: np.ndarray, layer: str, fill: np.ndarray
) -> np.ndarray:
    """Return the signs of the feature changes, int8 (boxes, units).

    Args:
        model: functional `keras.Model`.
        image: float32 (height, width, channels).
        boxes: int64 (boxes, 4), top, left, bottom, right; one is hidden at a time.
        layer: name of the layer.
        fill: value of hidden pixels.
    """
    hidden = np.repeat(image[None], len(boxes) + 1, 0)  # the first copy stays as it is
    for copy, (top, left, bottom, right) in zip(hidden[1:], boxes, strict=True):
        copy[top:bottom, left:right] = fill
    batches = _outputs.iterate_batches(model, hidden)
    features = np.concatenate([_outputs.layer_outputs(model, batch, (layer,))[0][layer] for batch in batches])
    features = features.reshape(len(features), -1)
    change = features[:1] - features[1:]
    change[np.abs(change) <= NO_CHANGE * np.abs(features[0]).max()] = 0
    return np.sign(change).astype("int8")


def _count_differing_signs(signs: np.ndarray) -> np.ndarray:
    """Return how many signs differ between two vectors, int64 (vectors, vectors)."""
    count = len(signs)
    both_change = np.zeros((count, count), "int64")
    agreement = np.zeros((count, count), "int64")  # units with the same sign minus units with opposite signs
    # Products of float32 matrices are faster than those of integers, and counts of this size are exact in float32.
    for start in range(0, signs.shape[1], 8192):
        part = signs[:, start : start + 8192].astype("float32")
        agreement += (part @ part.T).astype("int64")
        part = np.abs(part)
        both_change += (part @ part.T).astype("int64")
    changed = both_change.diagonal()
    # Units that change in only one of the two, and units that change in both with opposite signs
    return changed[:, None] + changed - 2 * both_change + (both_change - agreement) // 2
