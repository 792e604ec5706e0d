"""Outputs of the networks, compared with independent code.

All weights are random, also biases, normalization statistics and LeNet-5's coefficients, so that no layer is an
identity.
"""

import keras
import numpy as np
import numpy_networks
import pytest
from families import randomize

from keras_cnns import applications
from keras_cnns.applications import _imagenet


def weights_by_layer(model):
    return {layer.name: [np.asarray(w, "float64") for w in layer.weights] for layer in model.layers if layer.weights}


def assert_close(ours, expected, tolerance=1e-4):
    ours, expected = np.asarray(ours, "float64"), np.asarray(expected, "float64")
    assert ours.shape == expected.shape and np.ptp(expected) > 1e-2 * np.abs(expected).max()
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


NUMPY = [
    # network, options, shape and scale of the image: normalization over channels needs large values to matter
    ("LeNet5", {}, (32, 32, 1), 1),
    ("LeNet5", {}, (37, 34, 3), 1),
    ("LeNet5Modern", {"activation": "tanh", "subsampling": "average"}, (28, 28, 1), 1),
    ("LeNet5Modern", {}, (30, 26, 1), 1),
    ("NiN", {}, (13, 10, 3), 1),
    ("NiN", {"variant": "mnist"}, (14, 12, 1), 1),
    ("NiNImageNet", {}, (80, 91, 3), 1),
    ("Maxout", {}, (13, 12, 3), 1),
    ("AlexNet", {}, (67, 71, 3), 300),
    ("AlexNet", {}, (90, 79, 3), 300),
    ("CaffeNet", {}, (71, 67, 3), 300),
    ("AlexNetOneTower", {}, (80, 67, 3), 1),
    ("ZFNet", {}, (63, 70, 3), 300),
    ("VGG11LRN", {}, (32, 64, 3), 300),
    ("VGG16C", {}, (32, 64, 3), 1),
    ("GoogLeNet", {"auxiliary": True}, (96, 128, 3), 300),
    ("GoogLeNet", {}, (64, 70, 3), 300),
    ("GoogLeNet", {"auxiliary": True, "batch_norm": True}, (96, 128, 3), 1),
    ("InceptionV2", {}, (64, 96, 3), 1),
    ("ResNet18", {}, (64, 71, 3), 1),
    ("ResNet18V2", {}, (64, 71, 3), 1),
    ("ResNet18V2", {"shortcut": "A"}, (64, 71, 3), 1),
    ("ResNet20", {}, (32, 27, 3), 1),
    ("ResNet20", {"shortcut": "B"}, (32, 27, 3), 1),
    ("ResNet20", {"shortcut": "C"}, (32, 27, 3), 1),
    ("ResNet20", {"residual": False}, (32, 27, 3), 1),
    ("ResNet50", {"stride_on": "3x3"}, (64, 71, 3), 1),
    ("ResNet50", {"shortcut": "A"}, (64, 71, 3), 1),
    ("ResNet50", {"shortcut": "C"}, (64, 71, 3), 1),
    ("ResNet50", {"residual": False}, (64, 71, 3), 1),
    ("ResNet50V2", {}, (64, 71, 3), 1),
    ("ResNet50V2", {"stride_on": "1x1"}, (64, 71, 3), 1),
    ("ResNet50V2", {"shortcut": "A"}, (64, 71, 3), 1),
    ("ResNet50V2", {"shortcut": "C"}, (64, 71, 3), 1),
    ("ResNet50V2", {"residual": False}, (64, 71, 3), 1),
]
SLOW = ("ResNet50", "ResNet50V2", "GoogLeNet", "InceptionV2", "VGG16C", "CaffeNet")
KERNELS = ("LeNet5", "NiN", "AlexNet", "ResNet20")  # together these have every kind of layer


def marked(case):
    slow = case[0] in SLOW or (case[0].startswith("ResNet") and case[1])
    marks = [pytest.mark.slow] if slow else [pytest.mark.kernels] if case[0] in KERNELS else []
    return pytest.param(*case, marks=marks)


@pytest.mark.parametrize(
    "name, options, shape, scale",
    map(marked, NUMPY),
    ids=str,
)
def test_forward_equals_numpy(name, options, shape, scale):
    """For one image, computed in NumPy and float64 from the papers' tables."""
    builder = getattr(applications, name)
    model = builder(input_shape=shape, classes=10, classifier_activation=None, **options)
    randomize(model)
    x = scale * np.random.default_rng(1).normal(size=shape)
    expected = numpy_networks.FORWARDS[name](weights_by_layer(model), x, **options)
    outputs = model.predict(x[None], verbose=0)
    heads = isinstance(outputs, list)
    for ours, theirs in zip(outputs if heads else [outputs], expected if heads else [expected], strict=True):
        assert_close(ours[0], theirs)


def test_inception_v3s_auxiliary_head_equals_numpy():
    """Compare only the head; keras.applications has the rest."""
    model = applications.InceptionV3(
        input_shape=(299, 187, 3), classes=7, classifier_activation=None, auxiliary=True, kernel_initializer="zeros"
    )
    maps = np.random.default_rng(1).normal(size=(17, 10, 768))
    head = keras.Model(model.get_layer("mixed_6e_concat").output, model.outputs[1])
    randomize(head)
    assert_close(head.predict(maps[None], verbose=0)[0], numpy_networks.inception_v3_head(weights_by_layer(head), maps))


@pytest.mark.parametrize("name, wrong", [("AlexNet", "CaffeNet"), ("CaffeNet", "AlexNet")])
def test_the_comparison_notices_a_wrong_normalization(name, wrong):
    """Small values would hide another order, and other constants."""
    model = getattr(applications, name)(input_shape=(67, 67, 3), classes=10, classifier_activation=None)
    randomize(model)
    x = 300 * np.random.default_rng(1).normal(size=(67, 67, 3))
    with pytest.raises(AssertionError):
        assert_close(model.predict(x[None], verbose=0)[0], numpy_networks.FORWARDS[wrong](weights_by_layer(model), x))


@pytest.mark.parametrize("second_pool", ["average", "max"])
def test_both_second_pools_of_nin_equal_numpy(second_pool):
    model = applications.NiN(input_shape=(14, 14, 3), second_pool=second_pool, classifier_activation=None)
    randomize(model)
    x = np.random.default_rng(1).normal(size=(14, 14, 3))
    expected = numpy_networks.FORWARDS["NiN"](weights_by_layer(model), x, second_pool=second_pool)
    assert_close(model.predict(x[None], verbose=0)[0], expected)


DEEP = ("VGG19", "ResNet101", "ResNet152", "InceptionV3")
KERAS = {"VGG16": 64, "VGG19": 64, "ResNet50": 64, "ResNet101": 64, "ResNet152": 64, "InceptionV3": 107}


@pytest.mark.parametrize(
    "name, side",
    [pytest.param(*case, marks=[pytest.mark.slow] if case[0] in DEEP else []) for case in KERAS.items()],
)
def test_forward_equals_keras_applications(name, side):
    """With the weights translated as ImageNet weights are."""
    common = {"input_shape": (side, side + 32, 3), "weights": None, "classifier_activation": None, "classes": 50}
    theirs = getattr(keras.applications, name)(**common)
    randomize(theirs)
    ours = getattr(applications, name)(**common, kernel_initializer="zeros")
    values = _imagenet.translate(name, theirs, {layer.name: layer for layer in ours.layers})
    assert values.keys() == {layer.name for layer in ours.layers if layer.weights}
    for layer, arrays in values.items():
        ours.get_layer(layer).set_weights(arrays)
    x = np.random.default_rng(1).normal(size=(2, side, side + 32, 3)).astype("float32")
    assert_close(ours(x, training=False), theirs(x, training=False))


def torch_vgg(torch, blocks):
    """Return VGG in torch, from table 1."""
    from torch import nn

    layers, channels = [], 3
    for count, width in zip(blocks, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(512 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 9)]
    return nn.Sequential(*layers)


def torch_resnet(torch, units):
    """Return a ResNet of basic blocks in torch, modules ordered as ours."""
    from torch import nn

    class Unit(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.shortcut = nn.Identity()
            if stride > 1:
                self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

        def forward(self, x):
            y = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, count in enumerate(units):
        for k in range(count):
            layers.append(Unit(channels, 64 * 2**stage, 2 if stage > 0 and k == 0 else 1))
            channels = 64 * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 9))


def layer_names_in_torchs_order(name):
    """Return the names of our convolutions and dense layers in torch's order."""
    if name.startswith("VGG"):
        return [f"conv{b}_{k}" for b in range(1, 6) for k in (1, 2)], ["fc6", "fc7", "fc8"]
    counts = {"ResNet18": (2, 2, 2, 2), "ResNet34": (3, 4, 6, 3)}[name]
    units = [
        f"conv{stage}_{k}_{part}"
        for stage, count in enumerate(counts, 2)
        for k in range(1, count + 1)
        for part in ("conv1", "conv2", "shortcut")
    ]
    return [name for unit in ["conv1", *units] for name in (unit, f"{unit}_bn")], ["fc"]


@pytest.mark.parametrize("name", ["VGG11", "VGG13", "ResNet18", "ResNet34"])
def test_forward_equals_a_torch_twin(name):
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    blocks = {"VGG11": (1, 1, 2, 2, 2), "VGG13": (2, 2, 2, 2, 2)}
    units = {"ResNet18": (2, 2, 2, 2), "ResNet34": (3, 4, 6, 3)}
    twin = torch_vgg(torch, blocks[name]) if name in blocks else torch_resnet(torch, units[name])
    twin.eval()
    side = 64
    model = getattr(applications, name)(input_shape=(side, side, 3), classes=9, classifier_activation=None)
    randomize(model)
    convolutions, dense = layer_names_in_torchs_order(name)
    layer_names = {layer.name for layer in model.layers}
    names = [layer_name for layer_name in convolutions + dense if layer_name in layer_names]
    modules = [m for m in twin.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d))]
    with torch.no_grad():
        for ours, module in zip(names, modules, strict=True):
            values = [torch.tensor(w) for w in model.get_layer(ours).get_weights()]
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight[:], module.bias[:], module.running_mean[:], module.running_var[:] = values
                continue
            kernel = values[0]
            if isinstance(module, torch.nn.Conv2d):
                kernel = kernel.permute(3, 2, 0, 1)
            elif ours == "fc6":  # torch flattens channels first
                kernel = kernel.reshape(2, 2, 512, 4096).permute(2, 0, 1, 3).reshape(-1, 4096).T
            else:
                kernel = kernel.T
            module.weight.copy_(kernel)
            if module.bias is not None:
                module.bias.copy_(values[1])
    x = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype("float32")
    with torch.no_grad():
        expected = twin(torch.tensor(x).permute(0, 3, 1, 2)).numpy()
    assert_close(model(x, training=False), expected)
