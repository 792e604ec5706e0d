"""SSD against the tables of the authors' files, walked here once more."""

import keras
import numpy as np
import pytest

from keras_cnns import applications
from keras_cnns.analysis import account
from keras_cnns.errors import ArgumentError
from keras_cnns.saving import ModelInfo, load_model, save_model

ZEROS = {"kernel_initializer": "zeros", "bias_initializer": "zeros"}
# (side of the maps, side of the kernel, channels in and out) of VGG16 at 300x300 with a pool3 that rounds up
VGG = [(300, 3, 3, 64), (300, 3, 64, 64), (150, 3, 64, 128), (150, 3, 128, 128), (75, 3, 128, 256)]
VGG += [(75, 3, 256, 256)] * 2 + [(38, 3, 256, 512)] + [(38, 3, 512, 512)] * 2 + [(19, 3, 512, 512)] * 3
SSD300 = [*VGG, (19, 3, 512, 1024), (19, 1, 1024, 1024), (19, 1, 1024, 256), (10, 3, 256, 512)]
SSD300 += [(10, 1, 512, 128), (5, 3, 128, 256), (5, 1, 256, 128), (3, 3, 128, 256), (3, 1, 256, 128), (1, 3, 128, 256)]
SOURCES = [(38, 512, 4), (19, 1024, 6), (10, 512, 6), (5, 256, 6), (3, 256, 4), (1, 256, 4)]  # side, channels, boxes


def test_the_authors_table_adds_up():
    heads = [(side, 3, channels, 25 * boxes) for side, channels, boxes in SOURCES]
    layers = [*SSD300, *heads]
    parameters = 512 + sum(size**2 * before * after + after for _, size, before, after in layers)
    macs = sum((side * size) ** 2 * before * after for side, size, before, after in layers)
    counted = account(applications.SSD300(**ZEROS))
    assert (counted.trainable, counted.macs) == (parameters, macs) == (26_285_486, 31_373_537_792)
    assert sum(side**2 * boxes for side, _, boxes in SOURCES) == 8732


@pytest.fixture(scope="module")
def small():
    return applications.SSD(classes=3, input_shape=(48, 64, 3))


def test_predictions_are_in_the_order_of_the_default_boxes():
    """Every map is constant, so that the biases of its layers return at each of its positions."""
    model = applications.SSD(classes=2, input_shape=(32, 48, 3), **ZEROS)
    layer = model.get_layer("boxes")
    expected = []
    for number, ((rows, columns), ratios) in enumerate(
        zip(layer.places["map_sizes"], layer.places["ratios"], strict=True), 1
    ):
        boxes = 2 + 2 * len(ratios)
        values = {}
        for name, width in ((f"mbox_loc{number}", 4), (f"mbox_conf{number}", 3)):
            kernel, bias = model.get_layer(name).get_weights()
            bias = np.arange(len(bias), dtype="float32") + 100 * number
            model.get_layer(name).set_weights([np.zeros_like(kernel), bias])
            values[name] = bias.reshape(boxes, width)
        expected.append(np.tile(np.concatenate(list(values.values()), -1), (rows * columns, 1)))
    outputs = model.predict(np.random.default_rng(0).normal(size=(2, 32, 48, 3)), verbose=0)
    raw = np.concatenate(expected)
    np.testing.assert_array_equal(outputs["predictions"], np.stack([raw, raw]))
    exponents = np.exp(raw[:, 4:] - raw[:, 4:].max(1, keepdims=True))
    np.testing.assert_allclose(outputs["scores"][0], (exponents / exponents.sum(1, keepdims=True))[:, 1:], rtol=1e-5)


def test_boxes_follow_the_offsets(small):
    layer = small.get_layer("boxes")
    raw = np.zeros((1, len(layer.boxes), 8), "float32")
    np.testing.assert_allclose(np.asarray(layer(raw))[0], layer.boxes, atol=1e-4)
    assert layer.places["map_sizes"] == [[12, 16], [6, 8], [3, 4], [2, 2]]
    sides = layer.places["smallest"] + layer.places["largest"][-1:]
    np.testing.assert_allclose(np.diff(sides), np.diff(sides)[0])  # equal steps, from a tenth to nine tenths
    assert sides[0] == pytest.approx(4.8) and sides[-2] == pytest.approx(43.2)


def test_a_file_holds_everything(small, tmp_path):
    images = np.random.default_rng(0).normal(size=(2, 48, 64, 3)).astype("float32")
    expected = small.predict(images, verbose=0)
    save_model(
        small, tmp_path / "ssd.keras", ModelInfo(builder="SSD", network={"classes": 3, "input_shape": [48, 64, 3]})
    )
    for model in (load_model(tmp_path / "ssd.keras"), applications.SSD(weights=tmp_path / "ssd.keras")):
        for name, values in model.predict(images, verbose=0).items():
            np.testing.assert_array_equal(values, expected[name])


def test_another_number_of_classes_keeps_the_body(small, tmp_path):
    record = ModelInfo(builder="SSD", network={"classes": 3, "input_shape": [48, 64, 3]})
    save_model(small, tmp_path / "ssd.keras", record)
    with pytest.warns(UserWarning, match="mbox_conf1"):
        model = applications.SSD(weights=tmp_path / "ssd.keras", classes=5)
    for name in ("conv1", "extra1_2", "l2_norm", "mbox_loc1"):
        for own, other in zip(model.get_layer(name).get_weights(), small.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)


def test_the_backbone_starts_from_its_weights():
    model = applications.SSD(backbone="NiN", backbone_weights="digits", input_shape=(64, 64, 1), classes=2)
    classifier = applications.NiN(weights="digits")
    for name in ("conv1", "cccp4", "cccp5"):
        np.testing.assert_array_equal(
            model.get_layer(name).get_weights()[0], classifier.get_layer(name).get_weights()[0]
        )


@pytest.mark.slow
def test_fc6_and_fc7_of_vgg_are_subsampled(tmp_path):
    """Every third of fc6's positions and every fourth of its and fc7's channels, as the authors' files."""
    vgg = applications.VGG16(classes=2)
    save_model(vgg, tmp_path / "vgg.keras", ModelInfo(builder="VGG16", network={"classes": 2}))
    model = applications.SSD300(classes=2, backbone_weights=tmp_path / "vgg.keras")
    kernel, bias = vgg.get_layer("fc6").get_weights()
    kept = kernel.reshape(7, 7, 512, 4096)[::3, ::3, :, ::4]
    np.testing.assert_array_equal(model.get_layer("fc6").get_weights()[0], kept)
    np.testing.assert_array_equal(model.get_layer("fc6").get_weights()[1], bias[::4])
    kernel, _ = vgg.get_layer("fc7").get_weights()
    np.testing.assert_array_equal(model.get_layer("fc7").get_weights()[0][0, 0], kernel[::4, ::4])


@pytest.mark.parametrize("backbone", ["VGG11", "AlexNetOneTower", "GoogLeNet", "ResNet18V2", "LeNet5Modern", "ZFNet"])
def test_every_kind_of_backbone_has_maps(backbone):
    model = applications.SSD(backbone=backbone, input_shape=(96, 128, 3), classes=2, **ZEROS)
    sizes = model.get_layer("boxes").places["map_sizes"]
    # Maps have a position for each stride of the image, and none for a margin around it
    assert sizes[0] in [[96 // stride, 128 // stride] for stride in (4, 8)]
    assert len(sizes) >= 3 and all(a[0] > b[0] for a, b in zip(sizes, sizes[1:], strict=False)) and min(sizes[-1]) <= 2
    assert np.isfinite(model.predict(np.ones((1, 96, 128, 3)), verbose=0)["boxes"]).all()


@pytest.mark.parametrize(
    "builder, options, sentence",
    [
        ("SSD300", {"input_shape": (512, 512, 3)}, "takes images of 300x300; for others"),
        ("SSD", {"input_shape": (None, None, 3)}, "images of one size"),
        ("SSD", {"channels": 1}, "`channels` must be whole"),
        ("SSD", {"smallest": 0.5, "largest": 0.2}, "the smaller one first"),
        ("SSD", {"backbone": "Maxout"}, "`backbone` must be one of"),
        ("SSD", {"clip": 2}, "`clip` must be one of"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(builder, options, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        getattr(applications, builder)(**options)


def test_maps_are_normalized_before_they_predict(small):
    part = keras.Model(small.input, small.get_layer("l2_norm").output)
    lengths = np.linalg.norm(part.predict(np.random.default_rng(0).normal(size=(1, 48, 64, 3)), verbose=0), axis=-1)
    np.testing.assert_allclose(lengths[lengths > 1], 20, rtol=1e-4)
