"""Networks that tests build."""

import facts
import numpy as np
import pytest

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS

# Networks that quick tests build, one for each difference in the builders' code; all others are built by slow tests
FAMILIES = [
    ("LeNet5", {}),
    ("LeNet5Modern", {}),
    ("NiN", {}),
    ("NiNImageNet", {}),
    ("Maxout", {"variant": "mnist"}),
    ("AlexNet", {}),
    ("CaffeNet", {}),
    ("AlexNetOneTower", {}),
    ("ZFNet", {}),
    ("VGG11LRN", {}),
    ("GoogLeNet", {}),
    ("GoogLeNet", {"auxiliary": True, "batch_norm": True}),
    ("InceptionV2", {}),
    ("InceptionV3", {"stem": "79", "auxiliary": True}),
    ("ResNet18", {"shortcut": "A"}),
    ("ResNet50", {}),
    ("ResNet18V2", {}),
    ("ResNet20", {}),
    ("ResNet20", {"residual": False}),
]
# The same, with the networks that take seconds to build as slow tests
CHEAP_FIRST = [
    pytest.param(*case, marks=pytest.mark.slow) if case[0] in ("InceptionV2", "InceptionV3", "ResNet50") else case
    for case in FAMILIES
]
COVERED = {name for name, _ in FAMILIES}
# One network for each paper
FILES = [
    ("LeNet5", {}),
    ("NiN", {}),
    ("Maxout", {"variant": "mnist"}),
    ("AlexNet", {}),
    ("ZFNet", {}),
    ("VGG11LRN", {}),
    ("GoogLeNet", {}),
    ("InceptionV2", {}),
    ("ResNet20", {}),
]


def _slow_unless(quick):
    """Return every network and option of `FAMILIES` and the facts, as slow tests unless in `quick`.

    Those with `classes` or `widths` are left out, because `small` sets them.
    """
    others = [
        (name, options)
        for name, options in [*FAMILIES, *((name, options) for name, options, *_ in facts.PARAMETERS)]
        if (name, options) not in quick and "classes" not in options and "widths" not in options
        if FACTS[name].task == "classification"
    ]
    others = [case for k, case in enumerate(others) if case not in others[:k]]
    return [*quick, *(pytest.param(*case, marks=pytest.mark.slow) for case in others)]


EVERY_NETWORK = _slow_unless(FAMILIES)  # for what is cheap
SMALL_FIRST = _slow_unless([case for case in FILES if case[0] in ("LeNet5", "NiN", "Maxout", "ResNet20")])
EVERY_NETWORK_BUT_FILES_SLOW = _slow_unless(FILES)  # for what trains or exports


def minimum(name, options):
    """Return the smallest side that a builder takes with its options."""
    if name == "InceptionV3":
        smallest = {"299": (75, 107), "151": (39, 55), "79": (21, 29)}[options.get("stem", "299")]
        return smallest[options.get("auxiliary", False)]
    if name == "GoogLeNet" and options.get("auxiliary"):
        return 79
    return 16 if options.get("variant") == "mnist" and name == "Maxout" else FACTS[name].minimum


def small(name, options, channels=3, /, **more):
    """Build the network for small images and four classes."""
    side = max(minimum(name, options), 16)
    codes = {"codes": np.sign(np.random.default_rng(0).normal(size=(4, 84)))} if has_codes(name, options) else {}
    builder = getattr(applications, name)
    return builder(**{"input_shape": (side, side, channels), "classes": 4, **codes, **options, **more})


def has_codes(name, options):
    """Return whether the network needs codes for other classes than digits."""
    return name == "LeNet5" and options.get("head") != "softmax"


def random_images(model, count=8, seed=0):
    """Return normal random images of the model's input shape."""
    return np.random.default_rng(seed).normal(size=(count, *model.input_shape[1:])).astype("float32")


def randomize(model, seed=0):
    """Give every weight a random value that keeps activations in range."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for weight in layer.weights:
            shape, kind = weight.shape, weight.path.rpartition("/")[2]
            if kind == "kernel":
                values.append(random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
            elif kind in ("gamma", "moving_variance"):
                values.append(random.uniform(0.5, 1.5, shape))
            elif kind == "codes":
                values.append(random.choice([-1.0, 1.0], shape))
            else:  # bias, beta, moving_mean, coefficient
                values.append(random.normal(0.1, 0.2, shape))
        layer.set_weights(values)
