"""Plots of maps and filters, checked by the colors of their pixels."""

import numpy as np
import pytest
from analysis.helpers import random_pixels
from PIL import Image

from keras_cnns import _render
from keras_cnns._render import maps, tiles
from keras_cnns.analysis import OcclusionMap


def pixels_of(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def count_pixels(plot, color, tolerance=3):
    """Return the number of pixels with a color, given as "#RRGGBB"."""
    wanted = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    return int((abs(plot - wanted).max(axis=-1) <= tolerance).sum())


@pytest.mark.parametrize("channels", [1, 3])
def test_class_map_grid(tmp_path, channels):
    images = np.zeros((3, 16, 16, channels), "uint8")
    class_maps = np.zeros((3, 16, 16))
    class_maps[1, :8] = 2
    texts = [[(name, "")] for name in "abc"]
    _render.class_map_grid(images, class_maps, texts, tmp_path / "a.png", "title", "logit", columns=2)
    found = pixels_of(tmp_path / "a.png")
    assert found.shape[0] > 600 and found.shape[1] > 300
    # Over black images the maps have 60 % of their color; the color bar has the full one.
    high, low = (0.6 * np.array(rgb) for rgb in ((253, 231, 37), (68, 1, 84)))
    areas = [(abs(found - color).max(axis=-1) < 4).sum() for color in (high, low)]
    assert areas[0] * 4 < areas[1] < areas[0] * 6  # one half of one map of three is high
    _render.class_map_grid(images, class_maps, texts, tmp_path / "b.png", "t", "logit", limits=(0, 4), columns=2)
    assert (abs(pixels_of(tmp_path / "b.png") - high).max(axis=-1) < 4).sum() < areas[0] / 4


def occlusion(predictions):
    scores = np.linspace(0, 1, predictions.size).reshape(predictions.shape)
    starts = np.array([0, 4, 8, 10])
    return OcclusionMap(scores, predictions, np.array([1, 0]), np.array([0.9, 0.8]), starts, starts, (6, 6), (16, 16))


def test_occlusion_grid(tmp_path):
    predictions = np.zeros((2, 4, 4), int)
    predictions[0, 1, 2] = 1
    names = ["one", "two", "three"]
    _render.occlusion_grid(
        np.full((2, 16, 16, 3), 255, "uint8"), occlusion(predictions), names, tmp_path / "a.png", "title"
    )
    found = pixels_of(tmp_path / "a.png")
    over_white = [
        "#" + "".join(f"{round(255 - 0.75 * (255 - int(c[k : k + 2], 16))):02X}" for k in (1, 3, 5))
        for c in maps.COLORS
    ]
    frequent, rare, absent = (count_pixels(found, color) for color in over_white[:3])
    # The cells cover 13x13 pixels of each image, and the rare class has 4x3 of them in one image.
    assert 25.5 < frequent / rare < 29 and absent == 0


def test_many_classes_share_gray(tmp_path):
    predictions = np.arange(32).reshape(2, 4, 4)
    names = [f"class {k}" for k in range(32)]
    _render.occlusion_grid(random_pixels(2, 16, 16, 3), occlusion(predictions), names, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_cell_edges_lie_between_the_centers():
    np.testing.assert_allclose(maps._cell_edges(np.array([3.0, 7, 11, 13])), [1, 5, 9, 12, 14])
    np.testing.assert_allclose(maps._cell_edges(np.array([5.0])), [4.5, 5.5])


def test_feature_map_grid(tmp_path):
    feature_maps = np.random.default_rng(0).uniform(size=(6, 6, 80))
    _render.feature_map_grid(feature_maps, tmp_path / "all.png", "conv1")
    _render.feature_map_grid(feature_maps, tmp_path / "some.png", "conv1", units=[3, 79])
    _render.feature_map_grid(feature_maps * 0, tmp_path / "none.png", "conv1", units=[3])
    heights = [pixels_of(tmp_path / f"{name}.png").shape[0] for name in ("all", "some")]
    assert heights[0] > 4 * heights[1]
    assert tiles._add_count("conv1", 64, 80, "channels") == "conv1 (64 of 80 channels)"


@pytest.mark.parametrize("channels", [1, 3, 5, 40])
def test_filter_grid(tmp_path, channels):
    kernels = np.random.default_rng(0).normal(size=(10, 3, 3, channels)).astype("float32")
    _render.filter_grid(kernels, tmp_path / "a.png", "conv1")
    assert pixels_of(tmp_path / "a.png").std() > 10
    _render.filter_grid(0 * kernels, tmp_path / "zeros.png", "conv1", units=[0, 9])
    assert (tmp_path / "zeros.png").exists()


def test_zero_is_gray_in_color_filters():
    kernel = np.zeros((3, 3, 3))
    kernel[0, 0] = 2, -1, 0
    found = tiles._to_color_image(kernel)
    assert found[0, 0].tolist() == [255, 64, 128] and (found[1:] == 128).all()
