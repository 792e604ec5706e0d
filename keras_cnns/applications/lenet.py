"""LeNet-5.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings
of the IEEE 86(11), 1998. The layers have the paper's names: C convolutions, S subsampling, F fully connected.
"""

import numpy as np
from keras import layers

from keras_cnns.applications._builder import Start, documented
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import ConnectionTableConv2D, RBFOutput, TrainableSubsampling, scaled_tanh

# Table I: the maps of S2 that each map of C3 sees, 60 pairs
TABLE_I = (
    (0, 1, 2),
    (1, 2, 3),
    (2, 3, 4),
    (3, 4, 5),
    (0, 4, 5),
    (0, 1, 5),
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)

# Figure 3 shows the classes' codes as images of 7x12 pixels; these are drawn anew. Ink is +1, paper -1.
CODES = """
    ..###.. ...#... ..###.. .#####. ....##. ####### ..####. ####### ..###.. ..###..
    .#...#. ..##... .#...#. #.....# ....##. #...... .#..... ......# .#...#. .#...#.
    #.....# .#.#... #.....# ......# ...#.#. #...... #...... ......# #.....# #.....#
    #.....# ...#... ......# ......# ...#.#. #...... #...... .....#. #.....# #.....#
    #.....# ...#... ......# .....#. ..#..#. #...... #...... .....#. .#...#. #.....#
    #.....# ...#... .....#. ..###.. ..#..#. ######. #.###.. ....#.. ..###.. .#...##
    #.....# ...#... ....#.. .....#. .#...#. ......# ##...#. ....#.. .#...#. ..###.#
    #.....# ...#... ...#... ......# .#...#. ......# #.....# ...#... #.....# ......#
    #.....# ...#... ..#.... ......# ####### ......# #.....# ...#... #.....# ......#
    #.....# ...#... .#..... ......# .....#. ......# #.....# ..#.... #.....# ......#
    .#...#. ...#... #...... #.....# .....#. #.....# .#...#. ..#.... .#...#. .....#.
    ..###.. .#####. ####### .#####. .....#. .#####. ..###.. ..#.... ..###.. .####..
"""


def digit_codes():
    """Return the codes of the ten digits, (10, 84) of +1 and -1."""
    rows = [line.split() for line in CODES.split("\n") if line]
    rows = [row for row in rows if row]
    return np.array([[1 if pixel == "#" else -1 for row in rows for pixel in row[digit]] for digit in range(10)])


@documented
def LeNet5(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="lenet5",
    *,
    c3=None,
    subsampling=None,
    head=None,
    codes=None,
    dropout=0.0,
    kernel_initializer="lecun_uniform",
    bias_initializer="zeros",
):
    """The network of 1998 for digits in 32x32 pixels: 60,000 trained parameters and 840 fixed ones.

    Layers: C1, S2, C3, S4, C5, flatten, drop, F6, rbf, minus, predictions; without top it ends at C5. C1 to F6, pools
    without weights excepted, end with 1.7159 tanh(2x / 3). `rbf` gives the squared distance of F6 to the code of each
    class; the logits are minus that distance.

    Args:
        c3: "table", where each map of C3 sees some of S2's (the paper), or "full", where it sees all. None: that of
            the weights, else "table".
        subsampling: "trainable" (the paper), "average" or "max". None: that of the weights, else "trainable".
        head: "rbf" (the paper), or "softmax": a dense layer `output`. None: that of the weights, else "rbf".
        codes: (classes, 84) array of +1 and -1, for other classes than the ten digits with head "rbf". None: those of
            the weights, else images of the digits.
        dropout: share of F6's inputs that is dropped while training; the paper has none.
        kernel_initializer: of all kernels; the paper draws uniformly from +-2.4 / fan-in, more narrowly.
        bias_initializer: of all biases.

    Reference:
        LeCun et al. 1998, section II.B, figure 2 and table I; appendix A for the activation.
    """
    start = Start(
        "LeNet5",
        locals(),
        flat=True,
        c3=("table", "full"),
        subsampling=("trainable", "average", "max"),
        head=("rbf", "softmax"),
    )
    c3, subsampling, head = (start.options[key] for key in ("c3", "subsampling", "head"))
    squashed = {"activation": scaled_tanh, **start.initializers}

    x = layers.Conv2D(6, 5, name="C1", **squashed)(start.inputs)  # 28x28
    x = _subsample(x, subsampling, "S2", start.initializers)  # 14x14
    if c3 == "table":
        x = ConnectionTableConv2D(TABLE_I, 5, name="C3", **squashed)(x)
    else:
        x = layers.Conv2D(16, 5, name="C3", **squashed)(x)  # 10x10
    x = _subsample(x, subsampling, "S4", start.initializers)  # 5x5
    x = layers.Conv2D(120, 5, name="C5", **squashed)(x)  # 1x1
    if not include_top:
        return start.body(x, pooling)

    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(dropout, name="drop")(x)
    x = layers.Dense(84, name="F6", **squashed)(x)
    if head == "softmax":
        if codes is not None:
            raise ArgumentError("LeNet5: `codes` are those of head='rbf'; leave them out. Received: head='softmax'")
        return start.classifier(
            layers.Dense(start.classes, name="output", **start.initializers)(x), classifier_activation
        )
    x = RBFOutput(_check_codes(codes, start), name="rbf")(x)
    model = start.classifier(layers.Rescaling(-1.0, dtype="float32", name="minus")(x), classifier_activation)
    found = np.asarray(model.get_layer("rbf").codes)
    if not found.any():
        raise ArgumentError(
            f"LeNet5: `codes` must be given for other classes than those of the weights: an array of +1 and -1, "
            f"({start.classes}, 84), a row a class. Received: classes={start.classes}, codes=None"
        )
    if codes is not None and not np.array_equal(found, codes):
        raise ArgumentError(
            f"LeNet5: `codes` must be those of the weights, which were trained with others; leave `codes` out. "
            f"Received: weights={weights!r}"
        )
    return model


def _subsample(x, kind, name, initializers):
    if kind == "trainable":
        return TrainableSubsampling(scaled_tanh, initializers["bias_initializer"], name=name)(x)
    pool = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[kind]
    return pool(2, name=name)(x)


def _check_codes(codes, start):
    """Return the codes of the classes; zeros, if there are weights whose own will replace them."""
    if codes is None:
        if start.record:
            return np.zeros((start.classes, 84))
        codes = digit_codes()
    try:
        codes = np.asarray(codes, "float32")
    except (TypeError, ValueError):
        codes = np.zeros(0)
    if codes.shape != (start.classes, 84) or not np.isin(codes, (-1, 1)).all():
        raise ArgumentError(
            f"LeNet5: `codes` must be an array ({start.classes}, 84) of +1 and -1, a row a class; or take "
            f"head='softmax'. Received: codes of shape {codes.shape}"
        )
    return codes


@documented
def LeNet5Modern(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="lenet5_modern",
    *,
    activation=None,
    subsampling=None,
    dropout=0.0,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """LeNet-5 as it is taught today, for 28x28 pixels: C3 sees everything, a softmax at the end; 61,706 parameters.

    Layers: C1, S2, C3, S4, flatten, C5, F6, output, predictions; without top it ends at S4.

    Args:
        activation: of C1, C3, C5 and F6: "relu", or "tanh" or "sigmoid" as older textbooks have it. None: that of the
            weights, else "relu".
        subsampling: "max" or "average". None: that of the weights, else "max".
        dropout: share of C5's and F6's outputs that is dropped while training.

    Reference:
        The layers of LeCun et al. 1998, with what later became usual.
    """
    start = Start(
        "LeNet5Modern",
        locals(),
        flat=True,
        activation=("relu", "tanh", "sigmoid"),
        subsampling=("max", "average"),
    )
    options = {"activation": start.options["activation"], **start.initializers}
    x = layers.Conv2D(6, 5, padding="same", name="C1", **options)(start.inputs)  # 28x28
    x = _subsample(x, start.options["subsampling"], "S2", start.initializers)  # 14x14
    x = layers.Conv2D(16, 5, name="C3", **options)(x)  # 10x10
    x = _subsample(x, start.options["subsampling"], "S4", start.initializers)  # 5x5
    if not include_top:
        return start.body(x, pooling)
    x = layers.Flatten(name="flatten")(x)
    for name, units in (("C5", 120), ("F6", 84)):
        x = layers.Dense(units, name=name, **options)(x)
        x = layers.Dropout(dropout, name=f"{name}_drop")(x)
    return start.classifier(layers.Dense(start.classes, name="output", **start.initializers)(x), classifier_activation)
