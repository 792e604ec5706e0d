"""Occlusion of a linear model, and of objects in trained networks."""

import keras
import numpy as np
import pytest
from analysis.helpers import SubclassedModel, random_images
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import occlusion_map
from keras_cnns.data import open_source
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks.classifiers import softmax

SHAPE = (9, 12, 2)


def linear_model(shape=SHAPE, classes=4, activation="softmax"):
    inputs = layers.Input(shape)
    outputs = layers.Dense(classes, activation, bias_initializer="normal", name="dense")(layers.Flatten()(inputs))
    return keras.Model(inputs, outputs, name="linear")


def explicit(model, images, tops, lefts, size, fill):
    """Return probabilities (images, rows, columns, classes), window by window.

    The logits lose the contribution of the hidden pixels and gain that of the fill.
    """
    kernel, bias = model.get_layer("dense").get_weights()
    kernel = kernel.reshape(*images.shape[1:], -1)
    found = np.empty((len(images), len(tops), len(lefts), kernel.shape[-1]))
    for n, i, j in np.ndindex(found.shape[:3]):
        window = np.s_[tops[i] : tops[i] + size[0], lefts[j] : lefts[j] + size[1]]
        logits = np.tensordot(images[n], kernel, 3) + bias
        logits -= np.tensordot(images[n][window], kernel[window], 3)
        logits += (np.broadcast_to(fill, images[n][window].shape)[..., None] * kernel[window]).sum(axis=(0, 1, 2))
        found[n, i, j] = softmax(logits[None])[0]
    return found


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("fill", [0.0, 0.7, (1.0, -0.5)])
def test_a_linear_model_is_exact(activation, fill):
    model, images = linear_model(activation=activation), random_images(2, *SHAPE)
    found = occlusion_map(model, images, [3, 1], size=(4, 5), stride=(2, 3), fill=fill)
    # 9 rows allow the starts 0, 2 and 4; one more window, from 5, ends at the edge. Columns are similar.
    assert found.tops.tolist() == [0, 2, 4, 5] and found.lefts.tolist() == [0, 3, 6, 7]
    expected = explicit(model, images, found.tops, found.lefts, (4, 5), fill)
    for n, target in enumerate((3, 1)):
        np.testing.assert_allclose(found.scores[n], expected[n, ..., target], rtol=1e-4)
    np.testing.assert_array_equal(found.predictions, expected.argmax(axis=-1))
    logits = model.predict(images, verbose=0)
    whole = logits if activation else softmax(logits)
    np.testing.assert_allclose(found.unoccluded, whole[[0, 1], [3, 1]], rtol=1e-5)
    assert found.targets.tolist() == [3, 1]
    shifted = explicit(model, images, found.tops, np.roll(found.lefts, 1), (4, 5), fill)
    assert abs(found.scores - shifted[[0, 1], ..., [3, 1]]).max() > 0.01


@pytest.mark.parametrize("side, size, stride", [(12, 4, 4), (12, 5, 3), (7, 7, 1), (10, 1, 1), (11, 4, 9)])
def test_windows_lie_inside_and_hide_every_pixel(side, size, stride):
    found = occlusion_map(linear_model((side, side, 1)), random_images(1, side, side, 1), size=size, stride=stride)
    hidden = np.zeros(side, int)
    for top in found.tops:
        assert 0 <= top and top + size <= side
        hidden[top : top + size] += 1
    assert set(np.diff(found.tops)[:-1]) <= {stride} and found.tops[-1] == side - size
    assert hidden.all() or stride > size
    np.testing.assert_array_equal(found.tops, found.lefts)


def test_on_images_is_the_mean_score_of_the_windows_over_a_pixel():
    found = occlusion_map(linear_model(), random_images(2, *SHAPE), size=(4, 5), stride=(3, 2))
    expected = np.full((2, 9, 12), np.nan)
    for n, y, x in np.ndindex(expected.shape):
        over = [
            found.scores[n, i, j]
            for i, top in enumerate(found.tops)
            for j, left in enumerate(found.lefts)
            if top <= y < top + 4 and left <= x < left + 5
        ]
        expected[n, y, x] = np.mean(over)
    np.testing.assert_allclose(found.on_images(), expected, rtol=1e-5)
    gaps = occlusion_map(linear_model(), random_images(2, *SHAPE), size=2, stride=5).on_images()
    assert np.isnan(gaps[:, 3]).all() and not np.isnan(gaps[:, [0, 1, 5, 6, 7, 8]][:, :, [0, 1, 11]]).any()


def test_batches_and_defaults():
    model, images = linear_model(), random_images(3, *SHAPE)
    small, large = (occlusion_map(model, images, batch_size=size) for size in (1, 1000))
    np.testing.assert_allclose(small.scores, large.scores, rtol=1e-5)
    assert small.size == (2, 3) and small.image_size == (9, 12)  # a quarter
    np.testing.assert_array_equal(small.targets, model.predict(images, verbose=0).argmax(axis=1))
    assert len(small.tops) == 8 and len(small.lefts) == 10  # stride 1, because fewer than 15 windows fit
    found = occlusion_map(linear_model((60, 32, 1)), random_images(1, 60, 32, 1))
    assert found.scores.shape == (1, 16, 13)


def test_sequential_models_and_auxiliary_heads():
    """The first output counts."""
    images = random_images(1, 32, 32, 3)
    sequential = keras.Sequential([layers.Input((32, 32, 3)), layers.Flatten(), layers.Dense(3)])
    assert occlusion_map(sequential, images, size=16, stride=16).scores.shape == (1, 2, 2)
    inputs = layers.Input((32, 32, 3))
    x = layers.Flatten()(inputs)
    heads = [layers.Dense(3, "softmax", name=name)(x) for name in ("predictions", "other")]
    both, first = keras.Model(inputs, heads), keras.Model(inputs, heads[0])
    found = [occlusion_map(model, images, size=16, stride=16).scores for model in (both, first)]
    np.testing.assert_array_equal(*found)


def hidden_shares(masks, found):
    """Return the hidden share of each object, (images, rows, columns)."""
    height, width = found.size
    return np.array(
        [
            [[mask[top : top + height, left : left + width].mean() for left in found.lefts] for top in found.tops]
            for mask in masks
        ]
    ) * (height * width / masks.sum(axis=(1, 2))[:, None, None])


def with_and_without(masks, found):
    """Return the mean probability with the object hidden and with it visible."""
    shares = hidden_shares(masks, found)
    return found.scores[shares > 0.8].mean(), found.scores[shares < 0.05].mean()


def test_a_hidden_object_matters_only_to_a_trained_network(shapes, shapes_model, untrained_shapes_model):
    some = np.s_[:24]
    options = {"target": shapes.labels[some], "size": 14, "stride": 3, "fill": 60}
    found = occlusion_map(shapes_model, shapes.images[some], **options)
    hidden, seen = with_and_without(shapes.masks[some], found)
    assert hidden < seen - 0.2 and seen > 0.95
    assert found.unoccluded.mean() > 0.95
    # A class with more than half of the probability is the prediction.
    assert (found.predictions == shapes.labels[some][:, None, None])[found.scores > 0.5].all()
    hidden, seen = with_and_without(
        shapes.masks[some], occlusion_map(untrained_shapes_model, shapes.images[some], **options)
    )
    assert abs(hidden - seen) < 0.02


def test_hidden_ink_matters_to_the_network_that_ships(digits_model):
    model, info = digits_model
    test = open_source("digits").split("test")
    images = np.asarray(info.preprocessing.normalize(test.items[:20].astype("float32")))
    ink = test.items[:20, ..., 0] > 128
    untrained = applications.NiN(**info.network)
    differences = []
    for network in (model, untrained):
        found = occlusion_map(network, images, test.labels[:20], size=14, stride=6, fill=images.min())
        shares = hidden_shares(ink, found)
        most, least = (shares == extreme(shares, axis=(1, 2), keepdims=True) for extreme in (np.max, np.min))
        differences.append(found.scores[least].mean() - found.scores[most].mean())
    assert differences[0] > 0.4 and abs(differences[1]) < 0.02


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"size": 10}, "`size` must be a whole number of pixels, or two, from 1 to the image's 9x12"),
        ({"size": 0}, "`size`"),
        ({"size": 2.5}, "`size`"),
        ({"size": (2, 3, 4)}, "`size`"),
        ({"stride": 0}, "`stride`"),
        ({"fill": (1, 2, 3)}, "`fill` must be a number, or one for each channel"),
        ({"fill": np.nan}, "`fill`"),
        ({"fill": "gray"}, "`fill`"),
        ({"batch_size": 0}, "`batch_size`"),
        ({"target": 4}, "`target` must lie between 0 and 3"),
        ({"target": [0, 1, 2]}, "`target`"),
        ({"images": random_images(1, 8, 12, 2)}, "`images` must be (images, 9, 12, 2)"),
    ],
)
def test_bad_arguments_are_rejected(arguments, text):
    with pytest.raises(ArgumentError, match="Received: ") as raised:
        occlusion_map(**{"model": linear_model(), "images": random_images(2, *SHAPE), **arguments})
    assert text in str(raised.value)


def test_other_models_are_rejected():
    with pytest.raises(ArgumentError):
        occlusion_map(SubclassedModel(), random_images(2, *SHAPE))
    inputs = layers.Input((9, 12, 2))
    with pytest.raises(ArgumentError, match="one vector per image"):
        occlusion_map(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)), random_images(2, *SHAPE))
