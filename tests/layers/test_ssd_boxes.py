"""SSD's default boxes against Caffe's sums, matching against loops, coding by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_cnns import layers
from keras_cnns.tasks.boxes import iou, match

SSD300 = {
    "image_size": (300, 300),
    "map_sizes": [(side, side) for side in (38, 19, 10, 5, 3, 1)],
    "smallest": (30, 60, 111, 162, 213, 264),
    "largest": (60, 111, 162, 213, 264, 315),
    "ratios": [(2,), (2, 3), (2, 3), (2, 3), (2,), (2,)],
    "steps": (8, 16, 32, 64, 100, 300),
}
SSD512 = {
    "image_size": (512, 512),
    "map_sizes": [(side, side) for side in (64, 32, 16, 8, 4, 2, 1)],
    "smallest": (35.84, 76.8, 153.6, 230.4, 307.2, 384.0, 460.8),
    "largest": (76.8, 153.6, 230.4, 307.2, 384.0, 460.8, 537.6),
    "ratios": [(2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)],
    "steps": (8, 16, 32, 64, 128, 256, 512),
}
SMALL = {
    "image_size": (48, 64),
    "map_sizes": [(6, 8), (3, 4)],
    "smallest": (10, 24),
    "largest": (24, 40),
    "ratios": [(2,), (2, 3)],
}


@pytest.mark.parametrize("options, count, total", [(SSD300, 8732, 17775.7867), (SSD512, 24564, 49128.0)])
def test_default_boxes_are_those_of_the_authors_program(options, count, total):
    """The sums were computed from prior_box_layer.cpp."""
    boxes = layers.default_boxes(**options)
    relative = boxes.astype("float64") / options["image_size"][0]
    assert len(boxes) == count and relative.sum() == pytest.approx(total, abs=2e-3)
    if count == 8732:
        np.testing.assert_allclose(relative[0], [-0.03667, -0.03667, 0.06333, 0.06333], atol=1e-5)
        outside = ((boxes < 0) | (boxes > 300)).any(1).sum()
        assert outside == 2869
        wide, high = boxes[2], boxes[3]  # ratio 2: wider than high, then turned
        np.testing.assert_allclose(wide[3] - wide[1], 30 * np.sqrt(2), rtol=1e-5)
        np.testing.assert_allclose(wide[2] - wide[0], 30 / np.sqrt(2), rtol=1e-5)
        np.testing.assert_allclose(high[2] - high[0], 30 * np.sqrt(2), rtol=1e-5)
    clipped = layers.default_boxes(**options, clip=True)
    assert clipped.min() == 0 and clipped.max() == options["image_size"][0]


def random_objects(random, images, most, height=48, width=64):
    """Return boxes (images, most, 4) and different labels (images, most); some rows only fill up."""
    start = random.uniform(0, (height - 4, width - 4), (images, most, 2))
    sides = random.uniform(3, 40, (images, most, 2))
    boxes = np.concatenate([start, np.minimum(start + sides, (height, width))], -1).astype("float32")
    labels = np.tile(np.arange(most, dtype="int32"), (images, 1))
    for image, count in enumerate(random.integers(0, most + 1, images)):
        boxes[image, count:], labels[image, count:] = -1, -1
    return boxes, labels


@pytest.mark.parametrize("most", [0, 1, 4, 30])
def test_matching_equals_a_loop(most):
    layer, random = layers.SSDBoxes(**SMALL), np.random.default_rng(most)
    encode = tf.function(layer.encode, reduce_retracing=True)
    for _ in range(5):
        boxes, labels = random_objects(random, 8, most)
        encoded = encode(boxes, labels).numpy()
        assert encoded.shape == (8, len(layer.boxes), 5)
        for rows, of_image, classes in zip(encoded, boxes, labels, strict=True):
            is_object = classes >= 0
            overlaps = iou(layer.boxes, of_image[is_object])
            matches = match(overlaps)
            expected = np.where(matches >= 0, np.append(classes[is_object], 0)[matches] + 1, 0)
            # Of two default boxes that overlap an object equally, float32 may prefer the other one
            differs = rows[:, 4] != expected
            for label in np.unique(rows[differs, 4])[1:]:
                there, here = (np.flatnonzero(differs & (of == label)) for of in (rows[:, 4], expected))
                best = [np.sort(overlaps[place][:, classes[is_object] == label - 1].max(1)) for place in (there, here)]
                np.testing.assert_allclose(*best, atol=1e-6)
            assert differs.mean() < 0.02
            # Decoded, the offsets are the boxes of the objects
            decoded = np.asarray(layer(rows[None]))[0]
            same = ~differs & (matches >= 0)
            np.testing.assert_allclose(decoded[same], of_image[is_object][matches[same]], atol=1e-3)
            assert not rows[rows[:, 4] == 0].any()


def test_more_objects_than_default_boxes_leave_some_without():
    layer = layers.SSDBoxes((16, 16), [(1, 1)], [4], [8], [()])
    boxes = np.array([[[5, 5, 9, 9], [6, 6, 10, 10], [4, 4, 12, 12], [0, 0, 1, 1]]], "float32")
    classes = layer.encode(boxes, np.array([[0, 1, 2, 3]])).numpy()[0, :, 4].tolist()
    assert len(layer.boxes) == 2 and classes == (match(iou(layer.boxes, boxes[0])) + 1).tolist() == [2, 3]


def test_offsets_are_those_of_the_paper():
    layer = layers.SSDBoxes((100, 100), [(1, 1)], [40], [400], [()])
    (default, _) = layer.boxes
    assert default.tolist() == [30, 30, 70, 70]
    ((row, _),) = layer.encode([[[40.0, 20.0, 60.0, 80.0]]], [[2]]).numpy()
    # Center (50, 50) of both; width 60 and height 20 of 40
    np.testing.assert_allclose(row, [0, 0, np.log(60 / 40) / 0.2, np.log(20 / 40) / 0.2, 3], rtol=1e-5)
    ((row, _),) = layer.encode([[[40.0, 42.0, 80.0, 82.0]]], [[0]]).numpy()
    np.testing.assert_allclose(row, [12 / 40 / 0.1, 10 / 40 / 0.1, 0, 0, 1], atol=1e-5)


def test_layers_survive_a_file_and_mixed_precision(tmp_path):
    inputs = keras.Input((len(layers.default_boxes(**SMALL)), 4 + 1 + 3))
    outputs = {
        "boxes": layers.SSDBoxes(**SMALL, negatives=2, name="boxes", dtype="mixed_bfloat16")(inputs),
        "scores": layers.ObjectScores(4, name="scores", dtype="mixed_bfloat16")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "boxes.keras")
    loaded = keras.saving.load_model(tmp_path / "boxes.keras")
    values = np.random.default_rng(0).normal(size=(2, *inputs.shape[1:])).astype("float32")
    for name, expected in model.predict(values, verbose=0).items():
        assert expected.dtype == "float32"
        np.testing.assert_array_equal(loaded.predict(values, verbose=0)[name], expected)
    assert loaded.get_layer("boxes").negatives == 2
    assert loaded.get_layer("boxes").places == model.get_layer("boxes").places
    exponents = np.exp(values[..., 4:])
    np.testing.assert_allclose(
        model.predict(values, verbose=0)["scores"], (exponents / exponents.sum(-1, keepdims=True))[..., 1:], rtol=1e-5
    )


def test_boxes_below_a_pixel_are_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        layers.SSDBoxes((16, 16), [(1, 1)], [0.5], [8], [()])


def test_maps_without_sides_are_refused():
    with pytest.raises(ValueError, match="each map needs a smallest and a largest side"):
        layers.SSDBoxes((16, 16), [(1, 1), (2, 2)], [4], [8], [()])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_channels_get_a_learned_length(policy):
    layer = layers.L2Normalization(dtype=policy)
    values = np.random.default_rng(0).normal(size=(2, 3, 3, 8)).astype("float32") * 100
    values[0, 0, 0] = 0
    result = np.asarray(keras.ops.cast(layer(values), "float32"))
    assert (result[0, 0, 0] == 0).all()
    expected = 20 * values / np.maximum(np.linalg.norm(values, axis=-1, keepdims=True), 1e-9)
    np.testing.assert_allclose(result, expected, atol=1e-4 if policy == "float32" else 0.15)
    layer.scale.assign(np.arange(8.0))
    result = np.asarray(keras.ops.cast(layer(values), "float32"))
    np.testing.assert_allclose(result, expected / 20 * np.arange(8), atol=1e-4 if policy == "float32" else 0.1)
