"""Drawn shapes: positions, areas, contrast, and reproducible images."""

import numpy as np
import pytest

from keras_cnns.data import Source, make_shapes
from keras_cnns.data.shapes import SHAPES
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError

# Corners, in degrees counterclockwise from the right
CORNERS = {
    "triangle": (90, 210, 330),
    "inverted_triangle": (270, 30, 150),
    "square": (45, 135, 225, 315),
    "diamond": (0, 90, 180, 270),
}


def test_the_same_arguments_give_the_same_images():
    few, many, other = make_shapes(6), make_shapes(12), make_shapes(6, seed=1)
    for name in ("images", "labels", "masks", "boxes"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:6])
    assert (few.images != other.images).mean() > 0.9 and (few.boxes != other.boxes).any(axis=1).all()
    # The boxes drawn today: if they change, so do results measured on these images
    assert few.boxes[:3].tolist() == [[4, 1, 20, 16], [7, 7, 27, 30], [9, 13, 19, 23]]


def test_shapes_and_dtypes():
    shapes = make_shapes(7, size=20, kinds=("square", "disc"))
    assert shapes.images.shape == (7, 20, 20, 3) and shapes.images.dtype == "uint8"
    assert shapes.masks.shape == (7, 20, 20) and shapes.masks.dtype == bool
    assert shapes.boxes.shape == (7, 4) and shapes.boxes.dtype == "int64"
    assert shapes.class_names == ("square", "disc") and shapes.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert make_shapes(2, kinds="disc").class_names == ("disc",)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("rotate", [False, True])
def test_boxes_are_the_smallest_around_the_masks_and_areas_are_those_of_discs(kind, rotate):
    shapes = make_shapes(40, size=64, kinds=[kind], radius=0.25, rotate=rotate)
    for mask, (top, left, bottom, right) in zip(shapes.masks, shapes.boxes, strict=True):
        assert mask[top:bottom, left:right].sum() == mask.sum()  # nothing outside
        sides = mask[top, left:right], mask[bottom - 1, left:right], mask[top:bottom, left], mask[top:bottom, right - 1]
        assert all(side.any() for side in sides)
    # A shape beyond the edge of the image would have a smaller area
    np.testing.assert_allclose(shapes.masks.sum(axis=(1, 2)), np.pi * 16**2, rtol=0.05)


@pytest.mark.parametrize("kind", CORNERS)
def test_masks_are_the_polygons(kind):
    """Compare with matplotlib's point-in-polygon test and the corners listed above."""
    from matplotlib.path import Path

    size, radius = 64, 16
    sides = len(CORNERS[kind])
    corner_radius = radius * np.sqrt(2 * np.pi / (sides * np.sin(2 * np.pi / sides)))  # a polygon of the disc's area
    points = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1).reshape(-1, 2)

    def polygon(turned):
        radians = np.radians(np.add(CORNERS[kind], turned))
        corners = size / 2 + corner_radius * np.stack([np.cos(radians), -np.sin(radians)], axis=1)
        return Path(corners).contains_points(points).reshape(size, size)

    mask = make_shapes(1, size, [kind], radius=radius / size, spread=0).masks[0]
    assert (mask != polygon(0)).sum() <= 2  # points on a side may count as inside or outside
    assert (mask != polygon(180 / sides)).sum() > 50


def test_upside_down_a_triangle_is_another_class():
    up, down = (make_shapes(1, kinds=[kind], radius=0.25, spread=0).masks[0] for kind in list(SHAPES)[1:3])
    np.testing.assert_array_equal(up[::-1], down)
    assert (up != down).sum() > 100
    disc = make_shapes(1, kinds="disc", radius=0.25, spread=0).masks[0]
    np.testing.assert_array_equal(disc[::-1], disc)


def test_objects_are_brighter_than_their_background():
    shapes = make_shapes(30)
    contrast = []
    for image, mask in zip(shapes.images.astype(float), shapes.masks, strict=True):
        by_mask = [image[m].mean() - image[~m].mean() for m in (mask, np.roll(mask, 16, axis=1))]
        contrast.append(by_mask)
    right, moved = np.transpose(contrast)
    assert right.min() > 60 and moved.mean() < 10


def test_noise_and_edges():
    smooth, noisy = make_shapes(5, noise=0), make_shapes(5, noise=20)
    difference = noisy.images.astype(int) - smooth.images
    assert 15 < abs(difference).max() <= 21 and (difference != 0).mean() > 0.8
    np.testing.assert_array_equal(smooth.masks, noisy.masks)


def test_spread_moves_objects_from_the_middle_to_anywhere():
    def centers(spread):
        masks = make_shapes(60, kinds="disc", radius=0.15, spread=spread).masks
        return np.array([np.argwhere(mask).mean(axis=0) + 0.5 for mask in masks])

    assert abs(centers(0) - 16).max() < 0.1
    assert 0.5 < abs(centers(0.2) - 16).max() < 2.5
    anywhere = centers(1)
    assert anywhere.min() < 7 and anywhere.max() > 25  # a disc of radius 4.8 has from 4.8 to 27.2


def test_rotation_turns_all_but_discs():
    def masks(kind, rotate):
        return make_shapes(5, kinds=kind, radius=0.25, spread=0, rotate=rotate).masks

    np.testing.assert_array_equal(masks("disc", True), masks("disc", False))
    turned = masks("triangle", True)
    assert ((turned != masks("triangle", False)).sum(axis=(1, 2)) > 20).all()
    assert (turned[0] != turned[1]).any()


def test_shapes_can_be_the_split_of_a_source():
    shapes = make_shapes(9)
    source = Source("shapes", shapes.class_names, (32, 32, 3), {"train": ArraySplit(shapes.images, shapes.labels)})
    split = source.split("train")
    np.testing.assert_array_equal(split.labels, shapes.labels)
    np.testing.assert_array_equal([element.numpy() for element, _ in split.elements()], shapes.images)


def test_tensorflow_is_not_imported(python):
    source = "import sys; from keras_cnns.data import make_shapes; make_shapes(2); print('tensorflow' in sys.modules)"
    done = python(source)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"count": 0}, "`count` must be a whole number, at least 1"),
        ({"count": 2.5}, "`count`"),
        ({"size": 4}, "`size` must be a whole number, at least 8"),
        ({"seed": -1}, "`seed`"),
        ({"kinds": ["disk"]}, "Did you mean 'disc'"),
        ({"kinds": []}, "`kinds`"),
        ({"kinds": ["disc", "disc"]}, "`kinds` must be different"),
        ({"radius": 0.4}, "up to 0.322"),
        ({"radius": (0.3, 0.2)}, "the smaller one first"),
        ({"radius": 0.001}, "a pixel"),
        ({"spread": 1.5}, "`spread`"),
        ({"noise": -1}, "`noise`"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ArgumentError, match="Received: ") as raised:
        make_shapes(**{"count": 1, **arguments})
    assert text in str(raised.value)


def test_a_disc_may_be_larger_than_a_triangle():
    assert make_shapes(1, kinds="disc", radius=0.4).masks.sum() > 450
