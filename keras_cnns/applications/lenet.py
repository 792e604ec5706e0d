"""LeNet-5.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings
of the IEEE 86(11), 1998. The layers have the paper's names: C convolutions, S subsampling, F fully connected.
"""

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import layers
from numpy.typing import ArrayLike

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Option,
    Pooling,
    Settings,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import ConnectionTableConv2D, RBFOutput, TrainableSubsampling, scaled_tanh
from keras_cnns.typing import Path

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

# Figure 3 shows the codes of the classes as images of 7x12 pixels; these were redrawn. Ink is +1, paper -1.
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


def LeNet5(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "lenet5",
    *,
    c3: Literal["table", "full"] | None = None,
    subsampling: Literal["trainable", "average", "max"] | None = None,
    head: Literal["rbf", "softmax"] | None = None,
    codes: ArrayLike | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "lecun_uniform",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build LeNet-5 as published (LeCun et al. 1998).

    It recognizes digits in 32x32 pixels with 60,000 trained parameters and 840 fixed ones. Every layer from C1 to F6
    that has weights ends with the activation 1.7159 tanh(2x / 3). `rbf` computes the squared distance of F6 to the code
    of each class; the logits are minus that distance. Height and width may be None only with `include_top=False`.

    Layers: C1, S2, C3, S4, C5, flatten, drop, F6, rbf, minus, predictions. With `include_top=False` the network ends at
    C5.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 32x32; None: that of the weights, else (32, 32, 1).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 10.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        c3: "table" (the paper: each map of C3 sees some maps of S2) or "full" (it sees all). None: that of the weights,
            else "table".
        subsampling: "trainable" (the paper), "average" or "max". None: that of the weights, else "trainable".
        head: "rbf" (the paper), or "softmax": a dense layer `output`. None: that of the weights, else "rbf".
        codes: array (classes, 84) of +1 and -1, needed by head "rbf" for classes other than the ten digits. None: the
            weights', else images of the digits.
        dropout: share of F6's inputs to drop while training; the paper has none.
        kernel_initializer: initializer of all kernels; the paper draws uniformly from +-2.4 / fan-in, which is
            narrower than the default.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        LeCun et al. 1998, section II.B, figure 2 and table I; appendix A for the activation.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.LeNet5(weights="mnist")
        >>> model.get_layer("rbf").output.shape  # squared distances to the ten drawings of digits
        (None, 10)
        >>> applications.LeNet5(classes=26, head="softmax").output_shape  # letters
        (None, 26)
    """
    settings = check(
        "LeNet5",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={
            "c3": Option(c3, default="table", choices=("table", "full")),
            "subsampling": Option(subsampling, default="trainable", choices=("trainable", "average", "max")),
            "head": Option(head, default="rbf", choices=("rbf", "softmax")),
        },
        needs_size_unless="include_top=False",
    )
    has_rbf = settings.options["head"] == "rbf"
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    squashed = {"activation": scaled_tanh, **initializers}

    x = layers.Conv2D(6, 5, name="C1", **squashed)(inputs)  # 28x28
    x = _subsample(x, settings.options["subsampling"], "S2", initializers)  # 14x14
    if settings.options["c3"] == "table":
        x = ConnectionTableConv2D(TABLE_I, 5, name="C3", **squashed)(x)  # 10x10
    else:
        x = layers.Conv2D(16, 5, name="C3", **squashed)(x)  # 10x10
    x = _subsample(x, settings.options["subsampling"], "S4", initializers)  # 5x5
    x = layers.Conv2D(120, 5, name="C5", **squashed)(x)  # 1x1
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dropout(dropout, name="drop")(x)
        x = layers.Dense(84, name="F6", **squashed)(x)
        if has_rbf:
            x = RBFOutput(_check_codes(codes, settings), name="rbf")(x)
            logits = layers.Rescaling(-1.0, dtype="float32", name="minus")(x)
        else:
            if codes is not None:
                raise ArgumentError("LeNet5: `codes` are those of head='rbf'; leave them out. Received: head='softmax'")
            logits = layers.Dense(settings.classes, name="output", **initializers)(x)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    if include_top and has_rbf:
        _check_loaded_codes(model, codes, settings, weights)
    return model


def LeNet5Modern(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "lenet5_modern",
    *,
    activation: Literal["relu", "tanh", "sigmoid"] | None = None,
    subsampling: Literal["max", "average"] | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build LeNet-5 as it is taught today.

    It takes 28x28 pixels; each map of C3 sees all maps of S2, and the classifier is a softmax. There are 61,706
    parameters. Height and width may be None only with `include_top=False`.

    Layers: C1, S2, C3, S4, flatten, C5, F6, output, predictions. With `include_top=False` the network ends at S4.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 12x12; None: that of the weights, else (28, 28, 1).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 10.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        activation: activation of C1, C3, C5 and F6: "relu", or "tanh" or "sigmoid", as in older textbooks. None: the
            weights', else "relu".
        subsampling: "max" or "average". None: that of the weights, else "max".
        dropout: share of C5's and F6's outputs to drop while training.
        kernel_initializer: initializer of all kernels.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        The layers of LeCun et al. 1998, with later conventions.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.LeNet5Modern(activation="tanh")
        >>> model.input_shape, model.count_params()
        ((None, 28, 28, 1), 61706)
    """
    settings = check(
        "LeNet5Modern",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={
            "activation": Option(activation, default="relu", choices=("relu", "tanh", "sigmoid")),
            "subsampling": Option(subsampling, default="max", choices=("max", "average")),
        },
        needs_size_unless="include_top=False",
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    activated = {"activation": settings.options["activation"], **initializers}

    x = layers.Conv2D(6, 5, padding="same", name="C1", **activated)(inputs)  # 28x28
    x = _subsample(x, settings.options["subsampling"], "S2", initializers)  # 14x14
    x = layers.Conv2D(16, 5, name="C3", **activated)(x)  # 10x10
    x = _subsample(x, settings.options["subsampling"], "S4", initializers)  # 5x5
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for layer_name, units in (("C5", 120), ("F6", 84)):
            x = layers.Dense(units, name=layer_name, **activated)(x)
            x = layers.Dropout(dropout, name=f"{layer_name}_drop")(x)
        logits = layers.Dense(settings.classes, name="output", **initializers)(x)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def digit_codes() -> np.ndarray:
    """Return the codes of the digits, (10, 84) of +1 and -1."""
    rows = [line.split() for line in CODES.split("\n") if line.strip()]
    return np.array([[1 if pixel == "#" else -1 for row in rows for pixel in row[digit]] for digit in range(10)])


def _subsample(x: keras.KerasTensor, kind: str, name: str, initializers: Mapping[str, Any]) -> keras.KerasTensor:
    """Return feature maps of half the height and width.

    Args:
        x: feature maps (batch, height, width, channels).
        kind: "trainable", "average" or "max".
        name: name of the layer.
        initializers: `kernel_initializer` and `bias_initializer` of all layers.
    """
    if kind == "trainable":
        return TrainableSubsampling(scaled_tanh, initializers["bias_initializer"], name=name)(x)
    pool = {"average": layers.AveragePooling2D, "max": layers.MaxPooling2D}[kind]
    return pool(2, name=name)(x)


def _check_codes(codes: ArrayLike | None, settings: Settings) -> np.ndarray:
    """Return the codes of the classes, or zeros for weights to replace."""
    if codes is None:
        if settings.weights:
            return np.zeros((settings.classes, 84))
        codes = digit_codes()
    try:
        codes = np.asarray(codes, "float32")
    except (TypeError, ValueError):
        codes = np.zeros(0)
    if codes.shape != (settings.classes, 84) or not np.isin(codes, (-1, 1)).all():
        raise ArgumentError(
            f"LeNet5: `codes` must be an array ({settings.classes}, 84) of +1 and -1, a row per class; or take "
            f"head='softmax'. Received: codes of shape {codes.shape}"
        )
    return codes


def _check_loaded_codes(model: keras.Model, codes: ArrayLike | None, settings: Settings, weights: Path | None) -> None:
    """Check the codes that the network has after loading.

    Args:
        model: the network.
        codes: the builder's argument.
        settings: what the network was built from.
        weights: the builder's argument.

    Raises:
        ArgumentError: if the classes have no codes, or the weights were trained with others.
    """
    loaded = np.asarray(model.get_layer("rbf").codes)
    if not loaded.any():
        raise ArgumentError(
            f"LeNet5: `codes` must be given for other classes than those of the weights: an array of +1 and -1, "
            f"({settings.classes}, 84), a row per class. Received: classes={settings.classes}, codes=None"
        )
    if codes is not None and not np.array_equal(loaded, codes):
        raise ArgumentError(
            f"LeNet5: `codes` must be those of the weights, which were trained with others; leave `codes` out. "
            f"Received: weights={weights!r}"
        )
