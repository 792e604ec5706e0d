"""The CRF after a network, compared with exact sums over all pairs of pixels."""

import numpy as np
import pytest

from keras_cnns import data, layers, tasks
from keras_cnns.errors import ArgumentError
from keras_cnns.evaluation import CRF
from keras_cnns.evaluation.lattice import GaussianFilter


@pytest.mark.parametrize("dimensions, bound", [(1, 0.005), (2, 0.015), (3, 0.02), (5, 0.04)])
def test_the_lattice_is_close_to_the_gaussian_of_all_pairs(dimensions, bound):
    random = np.random.default_rng(dimensions)
    points = random.uniform(0, 3, (700, dimensions)).astype("float32")
    values = random.uniform(0, 1, (700, 4)).astype("float32")
    weights = np.exp(-((points[:, None] - points[None]) ** 2).sum(-1) / 2)
    exact = weights @ values / weights.sum(1, keepdims=True)
    found = GaussianFilter.of(points)(values)
    assert np.abs(found - exact).max() < bound
    # Without a filter the values differ much more
    assert np.abs(values - exact).mean() > 10 * np.abs(found - exact).mean()


def test_points_far_apart_keep_their_values():
    points = 50 * np.random.default_rng(0).permutation(60).reshape(20, 3).astype("float32")
    values = np.random.default_rng(1).uniform(0, 1, (20, 2)).astype("float32")
    np.testing.assert_allclose(GaussianFilter.of(points)(values), values, rtol=1e-5)


def noisy_shapes(count=4, size=32, noise=1.6, seed=0):
    """Return images, masks, and scores whose best class is right for about half of the pixels."""
    drawn = data.make_shapes(count, size=size, seed=seed)
    masks = (drawn.masks * (drawn.labels[:, None, None] + 1)).astype("uint8")
    random = np.random.default_rng(seed)
    scores = np.eye(4)[masks] + random.normal(scale=noise, size=(*masks.shape, 4))
    powers = np.exp(scores)
    return drawn.images, masks, (powers / powers.sum(-1, keepdims=True)).astype("float32")


def mean_iou(probabilities, masks):
    metric = tasks.MaskMetric(["background", "disc", "triangle", "square"])
    metric.update(probabilities, masks)
    return metric.result().mean_iou


WIDTHS = {"position_std": 10.0, "color_std": 20.0, "spatial_std": 1.0}


def test_it_is_close_to_the_layer_that_sums_over_all_pairs():
    images, masks, probabilities = noisy_shapes()
    layer = layers.DenseCRF(iterations=5, bilateral_weight=4.0, spatial_weight=3.0, **WIDTHS)
    scores = np.log(probabilities)
    exact = np.asarray(layer([scores, images.astype("float32")]))
    exact = np.exp(exact - exact.max(-1, keepdims=True))
    exact /= exact.sum(-1, keepdims=True)
    crf = CRF(iterations=5, **WIDTHS)
    refined = np.stack([crf.refine(*pair) for pair in zip(probabilities, images, strict=True)])
    assert np.abs(refined - exact).mean() < 0.01
    assert (refined.argmax(-1) == exact.argmax(-1)).mean() > 0.99
    np.testing.assert_allclose(refined.sum(-1), 1, rtol=1e-5)


def test_it_lifts_the_iou_of_noisy_scores_by_their_own_image_alone():
    images, masks, probabilities = noisy_shapes()
    crf = CRF(**WIDTHS)
    before = mean_iou(probabilities, masks)
    own = mean_iou([crf.refine(*pair) for pair in zip(probabilities, images, strict=True)], masks)
    others = mean_iou([crf.refine(*pair) for pair in zip(probabilities, images[::-1], strict=True)], masks)
    assert before < 0.5 and own > 0.9 and others < own - 0.2


def test_gray_images_are_refined():
    image = np.repeat([[0] * 8 + [255] * 8], 12, axis=0).astype("uint8")[..., None]
    mask = (image[..., 0] > 0).astype("uint8")
    scores = np.eye(2)[mask] + np.random.default_rng(0).normal(scale=0.8, size=(12, 16, 2))
    probabilities = (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).astype("float32")
    assert (probabilities.argmax(-1) != mask).mean() > 0.1
    np.testing.assert_array_equal(CRF(**WIDTHS).refine(probabilities, image).argmax(-1), mask)


def test_what_cannot_be_refined_is_named():
    with pytest.raises(ArgumentError, match="`color_std` must be positive"):
        CRF(color_std=0)
    with pytest.raises(ArgumentError, match="`spatial_weight` must not be negative"):
        CRF(spatial_weight=-1)
    with pytest.raises(ArgumentError, match="must have the size of its probabilities"):
        CRF().refine(np.full((4, 4, 2), 0.5, "float32"), np.zeros((4, 5, 3), "uint8"))
