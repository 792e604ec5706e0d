"""Inception v3.

C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna: Rethinking the Inception Architecture for Computer Vision,
CVPR 2016, arXiv 1512.00567.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Defaults,
    Initializer,
    InputShape,
    Option,
    Pooling,
    check,
    choose,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, conv_bn, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.typing import Path


class Stem(NamedTuple):
    """The first layers for one size of images; section 8.

    Attributes:
        strides: strides of the first convolution.
        has_pool: whether there is a first pool.
        side: height and width of the input by default.
        minimum: the smallest side.
        minimum_auxiliary: the smallest side with the auxiliary head.
    """

    strides: int
    has_pool: bool
    side: int
    minimum: int
    minimum_auxiliary: int


STEMS = {
    "299": Stem(2, True, 299, 75, 107),
    "151": Stem(1, True, 151, 39, 55),
    "79": Stem(1, False, 79, 21, 29),
}
Conv: TypeAlias = Callable[..., keras.KerasTensor]  # (x, filters, kernel_size, name, **options) -> feature maps


def InceptionV3(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "inception_v3",
    *,
    auxiliary: bool = False,
    scale: bool | None = None,
    stem: Literal["299", "151", "79"] | None = None,
    dropout: float = 0.2,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build Inception v3 as its authors released it (Szegedy et al. 2016).

    It has 23,834,568 parameters, 27,161,264 with the auxiliary head. Average pools do not count the padding. Height and
    width may be None, except with the auxiliary head.

    Layers: conv1a, conv2a, conv2b, pool1, conv3b, conv4a, pool2, then the modules mixed_5b to mixed_5d (35x35),
    mixed_6a to mixed_6e (17x17), mixed_7a to mixed_7c (8x8), each ending at NAME_concat; gap, drop, fc, predictions.
    With `include_top=False` the network ends at mixed_7c_concat. NAME_bn and NAME_relu follow each convolution NAME.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 75x75 (see `stem`); None: that of the weights,
            else (299, 299, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        auxiliary: whether a second output, aux_predictions (from mixed_6e, with batch normalization), follows the first
            one, `predictions`. Its loss counts 0.4 in the released code: compile with a list of two losses and
            loss_weights=[1, 0.4]. Weights trained with the head fit a network without it. The head's last convolution
            sees the whole map, so weights with the head fit images of one size only.
        scale: whether batch normalization has a factor; keras.applications leaves it out (23,817,352 parameters).
            None: that of the weights, else True.
        stem: "299"; or, for smaller images with maps of nearly the same sizes, "151" (the first convolution has stride
            1) or "79" (and there is no first pool); section 8. Sides are at least 75, 39 and 21; with the auxiliary
            head 107, 55 and 29. None: that of the weights, else "299".
        dropout: share of the classifier's inputs to drop while training.
        kernel_initializer: initializer of all kernels; the released code draws from a truncated Gaussian of deviation
            0.1.
        bias_initializer: initializer of the classifiers' biases; the convolutions have none.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Szegedy et al. 2016, table 1, figures 5 to 8 and 10, section 8; widths from the authors' released code.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.InceptionV3(classes=10, stem="79")  # for images of 79x79 pixels
        >>> model.input_shape
        (None, 79, 79, 3)
    """
    auxiliary = choose("InceptionV3", "auxiliary", auxiliary, (False, True)) and bool(include_top)

    def defaults(options: Mapping[str, Any]) -> Defaults:
        chosen = STEMS[options["stem"]]
        return Defaults((chosen.side, chosen.side, 3), 1000, chosen.minimum_auxiliary if auxiliary else chosen.minimum)

    settings = check(
        "InceptionV3",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={
            "scale": Option(scale, default=True, choices=(True, False)),
            "stem": Option(stem, default="299", choices=tuple(STEMS)),
        },
        defaults=defaults,
        needs_size_unless="auxiliary=False" if auxiliary else None,
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    kernel = initializers["kernel_initializer"]
    conv = partial(conv_bn, scale=settings.options["scale"], kernel_initializer=kernel)

    x = _stem(conv, inputs, STEMS[settings.options["stem"]])  # 35x35
    for module, projection in (("mixed_5b", 32), ("mixed_5c", 64), ("mixed_5d", 64)):
        x = _mixed_5(conv, x, module, projection)
    x = _mixed_6a(conv, x, "mixed_6a")  # 17x17
    for module, filters in (("mixed_6b", 128), ("mixed_6c", 160), ("mixed_6d", 160), ("mixed_6e", 192)):
        x = _mixed_6(conv, x, module, filters)
    auxiliary_logits = {}
    if auxiliary:
        y = layers.AveragePooling2D(5, 3, name="aux_pool")(x)  # 5x5
        y = conv(y, 128, 1, "aux_conv0")
        height, width = (min(side or 5, 5) for side in y.shape[1:3])
        y = conv(y, 768, (height, width), "aux_conv1", padding="valid")
        y = layers.GlobalAveragePooling2D(name="aux_gap")(y)
        auxiliary_logits["aux"] = layers.Dense(settings.classes, name="aux_fc", **initializers)(y)
    x = _mixed_7a(conv, x, "mixed_7a")  # 8x8
    for module in ("mixed_7b", "mixed_7c"):
        x = _mixed_7(conv, x, module)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="gap")(x)
        x = layers.Dropout(dropout, name="drop")(x)
        logits = layers.Dense(settings.classes, name="fc", **initializers)(x)
        outputs = classify(logits, classifier_activation, auxiliary_logits)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def _stem(conv: Conv, x: keras.KerasTensor, stem: Stem) -> keras.KerasTensor:
    """Return the input of the first module."""
    x = conv(x, 32, 3, "conv1a", strides=stem.strides, padding="valid")  # 149x149
    x = conv(x, 32, 3, "conv2a", padding="valid")
    x = conv(x, 64, 3, "conv2b")  # 147x147
    if stem.has_pool:
        x = layers.MaxPooling2D(3, 2, name="pool1")(x)  # 73x73
    x = conv(x, 80, 1, "conv3b")
    x = conv(x, 192, 3, "conv4a", padding="valid")  # 71x71
    return layers.MaxPooling2D(3, 2, name="pool2")(x)  # 35x35


def _mixed_5(conv: Conv, x: keras.KerasTensor, name: str, projection: int) -> keras.KerasTensor:
    """Return a module of figure 5.

    Its 5x5 stays one convolution, as in the released code.
    """
    return _join(
        name,
        _chain(conv, x, name, ("1x1", 64, 1)),
        _chain(conv, x, name, ("5x5_reduce", 48, 1), ("5x5", 64, 5)),
        _chain(conv, x, name, ("dbl_reduce", 64, 1), ("dbl_1", 96, 3), ("dbl_2", 96, 3)),
        _pool_projection(conv, x, name, projection),
    )


def _mixed_6a(conv: Conv, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return the module of figure 10.

    It halves the grid without a bottleneck.
    """
    return _join(
        name,
        _chain(conv, x, name, ("3x3", 384, 3), strides=2),
        _chain(conv, x, name, ("dbl_reduce", 64, 1), ("dbl_1", 96, 3), ("dbl_2", 96, 3), strides=2),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )


def _mixed_6(conv: Conv, x: keras.KerasTensor, name: str, filters: int) -> keras.KerasTensor:
    """Return a module of figure 6.

    Its 7x7 are factorized into 1x7 and 7x1.
    """
    double = [(f"7x7dbl_{k}", filters if k < 5 else 192, (7, 1) if k % 2 == 0 else (1, 7)) for k in range(2, 6)]
    return _join(
        name,
        _chain(conv, x, name, ("1x1", 192, 1)),
        _chain(conv, x, name, ("7x7_1", filters, 1), ("7x7_2", filters, (1, 7)), ("7x7_3", 192, (7, 1))),
        _chain(conv, x, name, ("7x7dbl_1", filters, 1), *double),
        _pool_projection(conv, x, name, 192),
    )


def _mixed_7a(conv: Conv, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return the second module that halves the grid."""
    factorized = ("7x7x3_1", 192, 1), ("7x7x3_2", 192, (1, 7)), ("7x7x3_3", 192, (7, 1)), ("7x7x3_4", 192, 3)
    return _join(
        name,
        _chain(conv, x, name, ("3x3_1", 192, 1), ("3x3_2", 320, 3), strides=2),
        _chain(conv, x, name, *factorized, strides=2),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )


def _mixed_7(conv: Conv, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return a module of figure 7.

    Each 3x3 ends in two branches, 1x3 and 3x1.
    """
    y = _chain(conv, x, name, ("3x3_1", 384, 1))
    z = _chain(conv, x, name, ("dbl_1", 448, 1), ("dbl_2", 384, 3))
    return _join(
        name,
        _chain(conv, x, name, ("1x1", 320, 1)),
        _chain(conv, y, name, ("3x3_2a", 384, (1, 3))),
        _chain(conv, y, name, ("3x3_2b", 384, (3, 1))),
        _chain(conv, z, name, ("dbl_3a", 384, (1, 3))),
        _chain(conv, z, name, ("dbl_3b", 384, (3, 1))),
        _pool_projection(conv, x, name, 192),
    )


def _chain(conv: Conv, x: keras.KerasTensor, name: str, *convolutions: Any, strides: int = 1) -> keras.KerasTensor:
    """Return the result of several convolutions in sequence.

    Args:
        conv: function that convolves.
        x: feature maps (batch, height, width, channels).
        name: name of the module.
        *convolutions: (end of the layer's name, filters, kernel size) of each.
        strides: strides of the last convolution, which is not padded if they are larger than 1.
    """
    for k, (suffix, filters, kernel_size) in enumerate(convolutions, 1):
        last = {"strides": strides, "padding": "valid"} if strides > 1 and k == len(convolutions) else {}
        x = conv(x, filters, kernel_size, f"{name}_{suffix}", **last)
    return x


def _pool_projection(conv: Conv, x: keras.KerasTensor, name: str, filters: int) -> keras.KerasTensor:
    """Return a branch with an average pool and a 1x1 convolution."""
    x = layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    return conv(x, filters, 1, f"{name}_pool_proj")


def _join(name: str, *branches: keras.KerasTensor) -> keras.KerasTensor:
    """Return the branches of a module, joined along the channels."""
    return layers.Concatenate(name=f"{name}_concat")(branches)
