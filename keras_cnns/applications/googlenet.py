"""GoogLeNet.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich: Going Deeper with
Convolutions, CVPR 2015, arXiv 1409.4842.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_cnns.applications import _blocks
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
from keras_cnns.applications._blocks import classify, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.layers import LocalResponseNormalization, ceil_pooling
from keras_cnns.typing import Path

# Table 1, its rows: #1x1, (#3x3 reduce, #3x3), (#5x5 reduce, #5x5), pool proj
TABLE_1 = {
    "inception_3a": (64, (96, 128), (16, 32), 32),
    "inception_3b": (128, (128, 192), (32, 96), 64),
    "pool3": None,
    "inception_4a": (192, (96, 208), (16, 48), 64),
    "inception_4b": (160, (112, 224), (24, 64), 64),
    "inception_4c": (128, (128, 256), (24, 64), 64),
    "inception_4d": (112, (144, 288), (32, 64), 64),
    "inception_4e": (256, (160, 320), (32, 128), 128),
    "pool4": None,
    "inception_5a": (256, (160, 320), (32, 128), 128),
    "inception_5b": (384, (192, 384), (48, 128), 128),
}
HEADS = {"inception_4a": "loss1", "inception_4d": "loss2"}  # section 5: auxiliary classifiers
HEAD_DROPOUT = 0.7


def GoogLeNet(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "googlenet",
    *,
    auxiliary: bool = False,
    batch_norm: bool | None = None,
    dropout: float = 0.4,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build GoogLeNet with true 5x5 convolutions (Szegedy et al. 2015).

    It has 6,998,552 parameters, 13,378,280 with the auxiliary heads. Pools round up: 56, 28, 14, 7. Height and width
    may be None, except with auxiliary heads.

    Layers: conv1_7x7_s2, pool1, norm1, conv2_3x3_reduce, conv2_3x3, norm2, pool2, then the modules: inception_3a_1x1,
    inception_3a_3x3_reduce, inception_3a_3x3, inception_3a_5x5_reduce, inception_3a_5x5, inception_3a_pool,
    inception_3a_pool_proj, inception_3a_output; 3b, pool3, 4a to 4e, pool4, 5a, 5b; then pool5, drop, loss3_classifier,
    predictions. With `include_top=False` the network ends at inception_5b_output.

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
        auxiliary: whether two more outputs, loss1_predictions (from 4a) and loss2_predictions (from 4d), follow the
            first one, `predictions`. The paper adds 0.3 times their losses while training: compile with a list of three
            losses and loss_weights=[1, 0.3, 0.3]. Images are at least 79x79 then. Weights trained with the
            heads fit a network without them.
        batch_norm: whether batch normalization (NAME_bn, NAME_relu) follows each convolution, in place of biases and
            local response normalization; 7,005,832 parameters. None: that of the weights, else False.
        dropout: share of pool5's outputs to drop while training; section 5. In the heads 0.7 is dropped, or nothing
            with `dropout=0`.
        kernel_initializer: initializer of all kernels; Caffe's file has Glorot's.
        bias_initializer: initializer of all biases; Caffe's file has 0.2.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Szegedy et al. 2015, table 1, figures 2(b) and 3, section 5. The normalization and its constants (k 1, alpha
        1e-4 divided by n 5) are those of Caffe's models/bvlc_googlenet.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.GoogLeNet(auxiliary=True, classes=10)  # with the two heads that help training
        >>> model.output_names
        ['predictions', 'loss1_predictions', 'loss2_predictions']
    """
    auxiliary = choose("GoogLeNet", "auxiliary", auxiliary, (False, True)) and bool(include_top)
    settings = check(
        "GoogLeNet",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={"batch_norm": Option(batch_norm, default=False, choices=(False, True))},
        defaults=lambda options: Defaults((224, 224, 3), classes=1000, minimum=79 if auxiliary else 32),
        needs_size_unless="auxiliary=False" if auxiliary else None,
    )
    batch_norm = settings.options["batch_norm"]
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    if batch_norm:
        conv = partial(_blocks.conv_bn, kernel_initializer=initializers["kernel_initializer"])
    else:
        conv = partial(_blocks.conv, activation="relu", **initializers)

    def normalize(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return x if batch_norm else LocalResponseNormalization(k=1.0, divide_alpha=True, name=name)(x)

    x = conv(inputs, 64, 7, "conv1_7x7_s2", strides=2)  # 112x112
    x = normalize(ceil_pooling("max", 3, 2, "pool1")(x), "norm1")  # 56x56
    x = conv(x, 64, 1, "conv2_3x3_reduce")
    x = normalize(conv(x, 192, 3, "conv2_3x3"), "norm2")
    x = ceil_pooling("max", 3, 2, "pool2")(x)  # 28x28
    auxiliary_logits = {}
    for layer_name, row in TABLE_1.items():
        x = _inception(conv, x, layer_name, *row) if row else ceil_pooling("max", 3, 2, layer_name)(x)  # 14x14, 7x7
        if auxiliary and layer_name in HEADS:
            head = HEADS[layer_name]
            head_dropout = HEAD_DROPOUT if dropout else 0.0
            auxiliary_logits[head] = _auxiliary_logits(conv, x, head, settings.classes, head_dropout, initializers)
    if include_top:
        x = layers.GlobalAveragePooling2D(name="pool5")(x)
        x = layers.Dropout(dropout, name="drop")(x)
        logits = layers.Dense(settings.classes, name="loss3_classifier", **initializers)(x)
        outputs = classify(logits, classifier_activation, auxiliary_logits)
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
    conv5x5: tuple[int, int],
    pool_projection: int,
) -> keras.KerasTensor:
    """Return an inception module (figure 2(b)).

    It has four branches, joined along the channels.

    Args:
        conv: function (x, filters, kernel_size, name) that convolves.
        x: feature maps (batch, height, width, channels).
        name: name of the module.
        conv1x1: channels of the 1x1 branch.
        conv3x3: channels of the 3x3 branch: of the 1x1 convolution, and of the 3x3 convolution.
        conv5x5: channels of the 5x5 branch: of the 1x1 convolution, and of the 5x5 convolution.
        pool_projection: channels of the 1x1 convolution after the pool.
    """
    pool = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
    branches = [
        conv(x, conv1x1, 1, f"{name}_1x1"),
        conv(conv(x, conv3x3[0], 1, f"{name}_3x3_reduce"), conv3x3[1], 3, f"{name}_3x3"),
        conv(conv(x, conv5x5[0], 1, f"{name}_5x5_reduce"), conv5x5[1], 5, f"{name}_5x5"),
        conv(pool, pool_projection, 1, f"{name}_pool_proj"),
    ]
    return layers.Concatenate(name=f"{name}_output")(branches)


def _auxiliary_logits(
    conv: Callable[..., keras.KerasTensor],
    x: keras.KerasTensor,
    name: str,
    classes: int,
    dropout: float,
    initializers: Mapping[str, Any],
) -> keras.KerasTensor:
    """Return the logits of an auxiliary classifier; section 5.

    Args:
        conv: function (x, filters, kernel_size, name) that convolves.
        x: feature maps (batch, height, width, channels).
        name: beginning of the layers' names.
        classes: number of classes.
        dropout: share of the dense layer's outputs to drop while training.
        initializers: `kernel_initializer` and `bias_initializer` of the dense layers.
    """
    x = layers.AveragePooling2D(5, 3, name=f"{name}_ave_pool")(x)  # 4x4
    x = conv(x, 128, 1, f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    x = layers.Dense(1024, "relu", name=f"{name}_fc", **initializers)(x)
    x = layers.Dropout(dropout, name=f"{name}_drop")(x)
    return layers.Dense(classes, name=f"{name}_classifier", **initializers)(x)
