"""Receptive fields: published figures, and pixels changed one by one."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_cnns import applications
from keras_cnns.analysis import account, receptive_field, receptive_fields
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import (
    CeilAveragePooling2D,
    CeilMaxPooling2D,
    ConnectionTableConv2D,
    LocalResponseNormalization,
    Maxout,
    SplitConv2D,
    TrainableSubsampling,
    ZeroPadShortcut,
)

ZEROS = {"kernel_initializer": "zeros"}


@pytest.mark.parametrize(
    "name, layer, size, stride",
    [
        # LeCun et al. 1998, section II.B: a unit of C5 sees the whole image
        ("LeNet5", "C1", 5, 1),
        ("LeNet5", "C5", 32, 4),
        # Araujo, Norris and Sim 2019, table 1
        ("AlexNet", "pool5", 195, 32),
        ("VGG16", "pool5", 212, 32),
        ("ResNet50", "conv5_3_out", 483, 32),
        ("ResNet101", "conv5_3_out", 1027, 32),
        ("InceptionV2", "inception_5b_output", 699, 32),
        ("InceptionV3", "mixed_7c_concat", 1311, 32),
        # Long, Shelhamer and Darrell 2015, table 1: "rf size" of FCN-VGG16
        ("FCN8s", "fc6", 404, 32),
        ("FCN8s", "score_fr", 404, 32),
    ],
)
def test_published_figures(name, layer, size, stride):
    field = receptive_field(getattr(applications, name)(**ZEROS), layer)
    assert (field.size, field.stride) == ((size, size), (stride, stride))


def seen_pixels(model, layer):
    """Return a function from position to pixels that change it.

    The pixels are (first, last) along each axis. Each pixel of the image is raised alone.
    """
    height, width = model.inputs[0].shape[1:3]
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    base = np.random.default_rng(0).uniform(0.1, 0.2, model.inputs[0].shape[1:]).astype("float32")
    raised = np.repeat(base[None], height * width, axis=0)
    for k, (i, j) in enumerate(np.ndindex(height, width)):
        raised[k, i, j] += 3
    before = np.asarray(part(base[None]))
    batches = np.array_split(raised, -(-len(raised) // 128))
    changed = np.concatenate([(np.abs(np.asarray(part(batch)) - before) > 1e-6).any(-1) for batch in batches])

    def seen(position):
        at = changed[:, *position].reshape(height, width)
        return tuple((int(axis.nonzero()[0][0]), int(axis.nonzero()[0][-1])) for axis in (at.any(1), at.any(0)))

    return seen


def positive(model):
    """Set positive weights, so that changes do not cancel. Return the model."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        layer.set_weights([random.uniform(0.1, 0.5, w.shape) / w.shape[0] for w in layer.weights])
    return model


def check_fields(model, layers_to_check=None):
    """Compare receptive fields with the pixels that change the output.

    They are equal inside the image. At its edge fewer pixels may matter, where the map of an earlier layer ends.
    """
    sizes = model.inputs[0].shape[1:3]
    for layer in layers_to_check or [layer.name for layer in model.layers[1:]]:
        field, seen, inside = receptive_field(model, layer), seen_pixels(model, layer), 0
        for position in np.ndindex(model.get_layer(layer).output.shape[1:3]):
            first = np.array(field.offset) + np.array(position) * field.stride - (np.array(field.size) - 1) / 2
            assert (first == first.astype(int)).all()
            last = first + field.size - 1
            found = seen(position)
            if (first >= 0).all() and (last < sizes).all():
                assert found == tuple(zip(first, last, strict=True)), (layer, position)
                inside += 1
            assert all(a <= c and d <= b for a, b, (c, d) in zip(first, last, found, strict=True)), (layer, position)
        assert inside, layer


def chain(*steps, shape=(20, 17, 4)):
    return positive(keras.Sequential([keras.Input(shape), *steps]))


CHAINS = {
    "valid": [layers.Conv2D(2, 3), layers.MaxPooling2D(2), layers.Conv2D(2, (3, 1), strides=2)],
    "same": [layers.Conv2D(2, 3, padding="same"), layers.Conv2D(2, 3, strides=2, padding="same")],
    "same, even kernels": [layers.Conv2D(2, 4, 2, "same"), layers.MaxPooling2D(3, 2, padding="same")],
    "dilated": [layers.Conv2D(2, 3, dilation_rate=2), layers.Conv2D(2, 3, dilation_rate=(1, 3), padding="same")],
    "padded": [layers.ZeroPadding2D(((3, 1), (0, 2))), layers.Conv2D(2, 5, 2), layers.Cropping2D(((1, 0), (2, 1)))],
    "depthwise": [layers.DepthwiseConv2D(3, 2), layers.SeparableConv2D(3, 3, padding="same")],
    "pools that round up": [CeilMaxPooling2D(3, 2), CeilAveragePooling2D(2, 2)],
    "layers of keras_cnns": [
        SplitConv2D(4, 3, groups=2, padding="same"),
        LocalResponseNormalization(alpha=0.01),
        Maxout(2),
        TrainableSubsampling(),
        ConnectionTableConv2D(((0,), (0, 1), (1,)), 3),
        ZeroPadShortcut(5, 2),
    ],
    "pointwise": [layers.Dense(3), layers.ReLU(), layers.Rescaling(2.0), layers.Dropout(0.5), layers.Conv2D(2, 2)],
}


@pytest.mark.parametrize("name", CHAINS)
def test_fields_equal_the_pixels_that_matter(name):
    check_fields(chain(*(type(layer).from_config(layer.get_config()) for layer in CHAINS[name])))


def test_the_field_of_branches_contains_all_of_theirs():
    x = keras.Input((18, 19, 2))
    a = layers.Conv2D(2, 5, strides=2, padding="same", name="a")(x)
    b = layers.Conv2D(2, 1, strides=2, name="b")(x)
    c = layers.Conv2D(2, (1, 7), padding="same", name="c")(a)
    model = positive(keras.Model(x, layers.Add(name="sum")([layers.Add(name="two")([a, b]), c])))
    check_fields(model)
    assert receptive_field(model, "sum").size == (5, 17)


@pytest.mark.parametrize("name", ["LeNet5", "ResNet20"])
def test_fields_of_networks_equal_the_pixels_that_matter(name):
    """Without top all layers have maps; batch normalization is the identity."""
    side = 36
    model = getattr(applications, name)(include_top=False, input_shape=(side, side, 1))
    random = np.random.default_rng(1)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            scale = 1 / np.prod(layer.kernel.shape[:-1])
            layer.set_weights([random.uniform(0.5, 1.0, w.shape) * scale for w in layer.weights])
    check_fields(model, ["C1", "S2", "C3", "S4", "C5"] if name == "LeNet5" else ["conv1", "conv2_2_out", "conv3_1_out"])


def test_receptive_fields_match_the_rows_of_account():
    model = applications.AlexNet(**ZEROS)
    fields = receptive_fields(model)
    rows = account(model).rows
    assert len(fields) == len(rows)
    for row, field in zip(rows, fields, strict=True):
        assert (field is not None) == (len(row.output_shape) == 3), row.layer
        if field:
            assert field == receptive_field(model, row.layer)
    assert receptive_field(model, model.get_layer("conv2")) == receptive_field(model, "conv2")


def test_nested_models():
    body = applications.NiN(include_top=False, input_shape=(None, None, 3), **ZEROS)
    x = keras.Input((64, 64, 3))
    model = keras.Sequential([x, layers.Conv2D(3, 3, strides=2, name="first"), body])
    inner, outer = receptive_field(body, "conv2", (31, 31, 3)), receptive_field(model, "nin/conv2")
    assert outer.stride == (2 * inner.stride[0],) * 2 and outer.size[0] == 3 + 2 * (inner.size[0] - 1)


def test_errors_give_the_reason_for_no_fixed_field():
    model = applications.LeNet5()
    with pytest.raises(ArgumentError, match="`F6` has no fixed field: after `flatten` every unit sees the whole"):
        receptive_field(model, "F6")
    with pytest.raises(ArgumentError, match="must be a layer of lenet5. Did you mean 'C3'"):
        receptive_field(model, "c3")
    x = keras.Input((16, 16, 1))
    up = keras.Model(x, layers.Conv2D(1, 3)(layers.UpSampling2D(name="up")(x)))
    with pytest.raises(ArgumentError, match="what a position of `up` sees, a UpSampling2D, is not known"):
        receptive_field(up, up.layers[-1])
    different = keras.Model(x, layers.Add(name="sum")([layers.Cropping2D(4)(x), layers.MaxPooling2D(2)(x)]))
    with pytest.raises(ArgumentError, match="maps of different strides meet"):
        receptive_field(different, "sum")
    free = keras.Model(y := keras.Input((None, None, 1)), layers.Conv2D(1, 3, 2, "same", name="conv")(y))
    with pytest.raises(ArgumentError, match="the padding of `conv` depends on the size .* pass `input_shape`"):
        receptive_field(free, "conv")
    assert receptive_field(free, "conv", (9, 8, 1)).offset == (0.0, 1.0)
    with pytest.raises(ArgumentError, match="must take one batch of images"):
        receptive_field(keras.Sequential([keras.Input((5,)), layers.Dense(2, name="d")]), "d")
