"""Features as vectors and as points in a plane."""

import keras
import numpy as np
import pytest

from keras_cnns import _render
from keras_cnns.analysis import embed, features
from keras_cnns.data import fit_components
from keras_cnns.errors import ArgumentError


@pytest.fixture(scope="module")
def clusters():
    """Three distant groups of twenty vectors, and the group of each vector."""
    random = np.random.default_rng(0)
    groups = np.arange(60) % 3
    return (random.normal(size=(60, 80)) + 12 * np.eye(80)[groups]).astype("float32"), groups


def neighbors_of_the_same_group(points, groups):
    """Return the share of points whose nearest neighbor is in their group."""
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(distances, np.inf)
    return (groups[distances.argmin(1)] == groups).mean()


def test_features_are_the_flattened_output_of_the_layer(shapes, shapes_model):
    images = shapes.images[:20].astype("float32")
    part = keras.Model(shapes_model.input, shapes_model.get_layer("pool2").output)
    expected = part.predict(images, verbose=0).reshape(20, -1)
    np.testing.assert_allclose(features(shapes_model, images, "pool2"), expected, rtol=1e-4, atol=1e-4)
    in_batches = features(shapes_model, ((images[k : k + 6], None) for k in range(0, 20, 6)), "pool2")
    np.testing.assert_allclose(in_batches, expected, rtol=1e-4, atol=1e-4)
    assert features(shapes_model, images).shape == (20, 3)  # the logits, because they are computed from maps


def test_principal_components(clusters):
    vectors, _ = clusters
    points = embed(vectors)
    expected = fit_components([vectors]).keep(2).compress(vectors)
    signs = np.sign((points * expected).sum(0))  # a direction has no sign
    np.testing.assert_allclose(points * signs, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(points * signs - expected[:, ::-1]).max() > 1


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_clusters_stay_apart(clusters, method):
    vectors, groups = clusters
    points = embed(vectors, method)
    assert points.shape == (60, 2) and points.dtype == "float32" and np.isfinite(points).all()
    assert neighbors_of_the_same_group(points, groups) == 1
    assert neighbors_of_the_same_group(points, np.random.default_rng(0).permutation(groups)) < 0.7
    np.testing.assert_array_equal(points, embed(vectors, method))


def test_classes_of_a_trained_network_stay_apart(shapes, shapes_model, untrained_shapes_model):
    images, labels = shapes.images[:90].astype("float32"), shapes.labels[:90]
    trained, untrained = (
        neighbors_of_the_same_group(embed(features(model, images)), labels)
        for model in (shapes_model, untrained_shapes_model)
    )
    assert trained > 0.95 and untrained < 0.8


def test_few_vectors_and_few_values():
    assert embed(np.eye(3)).shape == (3, 2)
    assert embed(np.arange(5.0)[:, None]).shape == (5, 2)
    assert embed(np.random.default_rng(0).normal(size=(4, 3)), "tsne").shape == (4, 2)


def test_bad_arguments_are_rejected(shapes, shapes_model):
    with pytest.raises(ArgumentError, match="`method` must be one of pca, tsne. Did you mean 'tsne'"):
        embed(np.eye(4), "t-sne")
    for wrong in (np.eye(4)[:2], np.ones(4), np.full((4, 4), np.nan)):
        with pytest.raises(ArgumentError, match="`vectors` must be finite numbers"):
            embed(wrong)
    with pytest.raises(ArgumentError, match="must be a layer of shapes"):
        features(shapes_model, shapes.images[:1].astype("float32"), "pool9")
    with pytest.raises(ArgumentError, match="`images` must have an image"):
        features(shapes_model, [])


def test_embedding_scatter(shapes, tmp_path):
    from PIL import Image

    random = np.random.default_rng(0)
    points, labels = random.normal(size=(40, 2)), np.arange(40) % 3
    sizes = []
    for name, images in (("points", None), ("images", shapes.images[:40]), ("gray", shapes.images[:40, ..., :1])):
        path = tmp_path / f"{name}.png"
        _render.embedding_scatter(points, labels, shapes.class_names, path, "Features", images)
        sizes.append(Image.open(path).size)
    assert sizes[0] == sizes[1] == sizes[2] and sizes[0][0] > 800
    many = np.arange(40)
    _render.embedding_scatter(points, many, [f"class {k}" for k in many], tmp_path / "many.png", "Features")
    assert Image.open(tmp_path / "many.png").size[0] > sizes[0][0]
