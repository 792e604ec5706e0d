"""Inception v2, also called BN-Inception.

S. Ioffe, C. Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
ICML 2015, arXiv 1502.03167.
"""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Pooling,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, conv_bn, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.layers import ceil_pooling
from keras_cnns.typing import Path

# Figure 5, its rows: #1x1, (#3x3 reduce, #3x3), (double #3x3 reduce, double #3x3), pool + proj. Rows without #1x1 have
# stride 2. 4c and 4d: the figure prints projections of 128 beside sums that need 96.
FIGURE_5 = {
    "inception_3a": (64, (64, 64), (64, 96), ("avg", 32)),
    "inception_3b": (64, (64, 96), (64, 96), ("avg", 64)),
    "inception_3c": (0, (128, 160), (64, 96), ("max", None)),
    "inception_4a": (224, (64, 96), (96, 128), ("avg", 128)),
    "inception_4b": (192, (96, 128), (96, 128), ("avg", 128)),
    "inception_4c": (160, (128, 160), (128, 160), ("avg", 96)),
    "inception_4d": (96, (128, 192), (160, 192), ("avg", 96)),
    "inception_4e": (0, (128, 192), (192, 256), ("max", None)),
    "inception_5a": (352, (192, 320), (160, 224), ("avg", 128)),
    "inception_5b": (352, (192, 320), (192, 224), ("max", 128)),
}


def InceptionV2(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "inception_v2",
    *,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build Inception v2, or BN-Inception (Ioffe and Szegedy 2015).

    It is GoogLeNet with batch normalization, and with two 3x3 convolutions in place of each 5x5; 11,194,984 parameters.
    Average pools do not count the padding. Height and width may be None.

    Layers: conv1_7x7_s2, pool1, conv2_3x3_reduce, conv2_3x3, pool2, then the modules: inception_3a_1x1,
    inception_3a_3x3_reduce, inception_3a_3x3, inception_3a_double3x3_reduce, inception_3a_double3x3_1,
    inception_3a_double3x3_2, inception_3a_pool, inception_3a_pool_proj, inception_3a_output; 3b to 5b, gap, drop,
    classifier, predictions. With `include_top=False` the network ends at inception_5b_output. NAME_bn and NAME_relu
    follow each convolution NAME.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 32x32; None: that of the weights, else (224, 224, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        dropout: share of the classifier's inputs to drop while training; the paper has none (section 4.2.1).
        kernel_initializer: initializer of all kernels.
        bias_initializer: initializer of the classifier's bias; the convolutions have none.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Ioffe and Szegedy 2015, figure 5. The first convolution is an ordinary 7x7.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.InceptionV2(include_top=False, pooling="avg")
        >>> model.output_shape
        (None, 1024)
    """
    settings = check(
        "InceptionV2",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    conv = partial(conv_bn, kernel_initializer=initializers["kernel_initializer"])

    x = conv(inputs, 64, 7, "conv1_7x7_s2", strides=2)  # 112x112
    x = ceil_pooling("max", 3, 2, "pool1")(x)  # 56x56
    x = conv(x, 64, 1, "conv2_3x3_reduce")
    x = conv(x, 192, 3, "conv2_3x3")
    x = ceil_pooling("max", 3, 2, "pool2")(x)  # 28x28
    for layer_name, row in FIGURE_5.items():
        x = _inception(conv, x, layer_name, *row)  # 14x14 from 3c on, 7x7 from 4e on
    if include_top:
        x = layers.GlobalAveragePooling2D(name="gap")(x)
        x = layers.Dropout(dropout, name="drop")(x)
        logits = layers.Dense(settings.classes, name="classifier", **initializers)(x)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def _inception(
    conv: Callable[..., keras.KerasTensor],
    x: keras.KerasTensor,
    name: str,
    conv1x1: int,
    conv3x3: tuple[int, int],
    double3x3: tuple[int, int],
    pool_projection: tuple[str, int | None],
) -> keras.KerasTensor:
    """Return an inception module.

    It has four branches, joined along the channels; if `conv1x1` is 0, three branches of stride 2.

    Args:
        conv: function (x, filters, kernel_size, name, strides=1) that convolves.
        x: feature maps (batch, height, width, channels).
        name: name of the module.
        conv1x1: channels of the 1x1 branch, or 0.
        conv3x3: channels of the 3x3 branch: of the 1x1 convolution, and of the 3x3 convolution.
        double3x3: channels of the branch with two 3x3: of the 1x1 convolution, and of both 3x3 convolutions.
        pool_projection: kind of the pool, "avg" or "max", and channels of the 1x1 convolution after it, if any.
    """
    strides, (kind, projection) = 1 if conv1x1 else 2, pool_projection
    pool_class = {"avg": layers.AveragePooling2D, "max": layers.MaxPooling2D}[kind]
    pool = pool_class(3, strides, padding="same", name=f"{name}_pool")(x)
    y = conv(x, conv3x3[0], 1, f"{name}_3x3_reduce")
    z = conv(x, double3x3[0], 1, f"{name}_double3x3_reduce")
    z = conv(z, double3x3[1], 3, f"{name}_double3x3_1")
    branches = [
        conv(x, conv1x1, 1, f"{name}_1x1") if conv1x1 else None,
        conv(y, conv3x3[1], 3, f"{name}_3x3", strides=strides),
        conv(z, double3x3[1], 3, f"{name}_double3x3_2", strides=strides),
        conv(pool, projection, 1, f"{name}_pool_proj") if projection else pool,
    ]
    return layers.Concatenate(name=f"{name}_output")([branch for branch in branches if branch is not None])
