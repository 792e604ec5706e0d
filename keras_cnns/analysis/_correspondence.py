"""Whether hiding the same part of an object changes the features of different images in the same way."""

import dataclasses

import numpy as np

from keras_cnns.analysis import _classes, _outputs
from keras_cnns.errors import ArgumentError

NO_CHANGE = 1e-6  # of an image's largest feature: what is below has no sign, being the noise of float32


@dataclasses.dataclass(frozen=True, eq=False)
class Correspondence:
    """How alike the changes are that hiding a part causes in the features of different images.

    Attributes:
        layer: name.
        score: mean share of the units, 0 to 1, whose changes have different signs in two of the images; the lower,
            the more the images correspond.
        random_scores: float64 (random_parts,), the same for parts of the same size at random places.
        p_value: how probable a score as low is where the part is no more than a random place.
        distances: float64 (images, images), that share for each pair.
        changed: mean share of the units that the part's hiding changes at all. Where it is near 0, a low score says
            nothing: what does not change has the same sign everywhere.
    """

    layer: str
    score: float
    random_scores: np.ndarray
    p_value: float
    distances: np.ndarray
    changed: float


def correspondence(model, images, parts, layer, random_parts=20, permutations=9999, seed=0, fill=0.0):
    """Return how alike images change when the same part of each is hidden, and how probable that is by chance.

    For each image, epsilon = features(image) - features(image with the part hidden); the score is the mean, over
    pairs of images, of the Hamming distance between the signs of their epsilons, as a share of the units. The same is
    done with boxes of the part's size at random places. For the p-value, part and random boxes of each image change
    places at random, image by image: if the part were a random place too, no choice of a box from each image
    would differ from another.

    Args:
        model: functional or sequential `keras.Model` from images to one vector an image.
        images: float32 (images, height, width, channels), as the model takes them; two at least, the paper has five.
        parts: whole numbers (images, 4) of a box in each image, around the left eye for example: top, left, bottom,
            right, in pixels; its rows are those from top up to, but not with, bottom. (4,): the same box in all.
        layer: name of the layer, or itself, whose features are compared.
        random_parts: random boxes in each image.
        permutations: how often boxes change places.
        seed: of the random boxes and of the permutations.
        fill: what hides a part, one value or one a channel, as the model takes pixels.

    Returns:
        `Correspondence`.

    Raises:
        ArgumentError: (a ValueError) if an argument does not fit the model or the images.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 4.3 and table 1. The
        p-value: B. Phipson, G. Smyth: Permutation P-values Should Never Be Zero, 2010.
    """
    model = _outputs.subject(model)
    images = _classes.check_images(model, images)
    layer = _outputs.check_one_output(model, layer)
    parts = _check_parts(parts, images.shape)
    fill = _outputs.check_fill(fill, images.shape[3])
    for name, value in (("random_parts", random_parts), ("permutations", permutations)):
        if not isinstance(value, int) or value < 1:
            raise ArgumentError(f"`{name}` must be a whole number, at least 1. Received: {name}={value!r}")
    random = np.random.default_rng(seed)
    boxes = np.concatenate([parts[:, None], _random_boxes(parts, images.shape, random_parts, random)], 1)
    signs = np.concatenate([_signs(model, image, own, layer, fill) for image, own in zip(images, boxes, strict=True)])
    count, choices = boxes.shape[:2]
    differing = _differing(signs)

    def totals(chosen):
        """Return the sums over all pairs, (draws,), for the boxes chosen in each image, (draws, images)."""
        places = chosen + choices * np.arange(count)
        return sum(differing[places[:, k, None], places].sum(1) for k in range(count))

    own = np.arange(count) * choices
    observed = totals(np.zeros((1, count), int))
    permuted = totals(random.integers(choices, size=(permutations, count)))
    pairs = count * (count - 1) * signs.shape[1]
    return Correspondence(
        layer=layer,
        score=float(observed[0] / pairs),
        random_scores=totals(np.repeat(np.arange(1, choices)[:, None], count, 1)) / pairs,
        p_value=float((1 + (permuted <= observed).sum()) / (1 + permutations)),
        distances=differing[np.ix_(own, own)] / signs.shape[1],
        changed=float((signs[own] != 0).mean()),
    )


def _check_parts(parts, shape):
    """Return the boxes as int64 (images, 4); raise ArgumentError if they are none in the images."""
    count, height, width, _ = shape
    found = np.asarray(parts)
    if count < 2:
        raise ArgumentError(f"`images` must be two images at least, to be compared. Received: {count}")
    if found.shape not in ((4,), (count, 4)) or found.dtype.kind not in "iu":
        raise ArgumentError(
            f"`parts` must be whole numbers ({count}, 4): top, left, bottom, right for each image. "
            f"Received: parts of shape {found.shape}, {found.dtype}"
        )
    found = np.broadcast_to(found, (count, 4)).astype("int64")
    top, left, bottom, right = found.T
    outside = (top < 0) | (left < 0) | (bottom > height) | (right > width) | (top >= bottom) | (left >= right)
    if outside.any():
        k = int(outside.argmax())
        raise ArgumentError(
            f"`parts` must be boxes in images of {height} x {width}, with top above bottom and left before right. "
            f"Received: parts[{k}]={found[k].tolist()}"
        )
    return found


def _random_boxes(parts, shape, count, random):
    """Return so many boxes of each part's size, anywhere in its image, int64 (images, count, 4)."""
    sizes = parts[:, None, 2:] - parts[:, None, :2]
    corners = random.integers(0, np.array(shape[1:3]) - sizes + 1, (len(parts), count, 2))
    return np.concatenate([corners, corners + sizes], 2)


def _signs(model, image, boxes, layer, fill):
    """Return the signs of what hiding each of the boxes in an image changes, int8 (boxes, units)."""
    hidden = np.repeat(image[None], len(boxes) + 1, 0)
    for copy, (top, left, bottom, right) in zip(hidden[1:], boxes, strict=True):
        copy[top:bottom, left:right] = fill
    found = np.concatenate(
        [_outputs.outputs_of(model, batch, (layer,))[0][layer] for batch in _outputs.batches(model, hidden)]
    )
    found = found.reshape(len(found), -1)
    change = found[:1] - found[1:]
    change[np.abs(change) <= NO_CHANGE * np.abs(found[0]).max()] = 0
    return np.sign(change).astype("int8")


def _differing(signs):
    """Return in how many units each two vectors of signs -1, 0, 1 differ, int64 (vectors, vectors)."""
    both, agreeing = 0, 0  # units that change in both; those with the same sign less those with the opposite one
    for start in range(0, signs.shape[1], 8192):  # float32 counts so far exactly, and is the fast one
        part = signs[:, start : start + 8192].astype("float32")
        agreeing = agreeing + (part @ part.T).astype("int64")
        part = np.abs(part)
        both = both + (part @ part.T).astype("int64")
    changed = both.diagonal()
    # In one of the two alone, or in both with opposite signs
    return changed[:, None] + changed - 2 * both + (both - agreeing) // 2
