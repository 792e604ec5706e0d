"""AlexNet, CaffeNet and the one-tower AlexNet.

A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012.
A. Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014, arXiv 1404.5997.
"""

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Option,
    Pooling,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, dense_classifier, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.layers import LocalResponseNormalization, SplitConv2D, ceil_pooling
from keras_cnns.typing import Path


def AlexNet(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "alexnet",
    *,
    groups: Literal[2, 1] | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build AlexNet with two groups (Krizhevsky et al. 2012).

    It has local response normalization, overlapping pools and 60,965,224 parameters. The normalization has the
    constants that the paper prints: k 2, n 5, alpha 1e-4, beta 0.75. The paper says 224 pixels; its software rounded
    up, and so computed as for 227. Height and width may be None only with `include_top=False`.

    Layers: conv1, norm1, pool1, conv2, norm2, pool2, conv3, conv4, conv5, pool5, flatten, fc6, drop6, fc7, drop7, fc8,
    predictions. With `include_top=False` the network ends at pool5.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 39x39; None: that of the weights, else (227, 227, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        groups: 2 (conv2, conv4 and conv5 have two groups: each half of their maps sees half of the maps before), or 1
            (all maps see all maps; 62,378,344 parameters). None: that of the weights, else 2.
        dropout: share of fc6's and fc7's outputs to drop while training; section 4.2.
        kernel_initializer: initializer of all kernels; the paper draws from a Gaussian of deviation 0.01.
        bias_initializer: initializer of all biases; the paper has ones in conv2, conv4, conv5, fc6 and fc7, and zeros
            elsewhere.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Krizhevsky et al. 2012, section 3 and figure 2.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.AlexNet(groups=1)  # without the groups of the two GPUs
        >>> model.count_params()
        62378344
    """
    settings = check(
        "AlexNet",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={"groups": Option(groups, default=2, choices=(2, 1))},
        needs_size_unless="include_top=False",
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    x = _features(inputs, settings.options["groups"], initializers, pool_first=False)
    if include_top:
        logits = dense_classifier(x, settings.classes, dropout, initializers)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def CaffeNet(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "caffenet",
    *,
    groups: Literal[2, 1] | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build AlexNet as Caffe's authors trained it (Jia et al. 2014).

    Each pool comes before its normalization, which has Caffe's constants: k 1, and alpha 1e-4 divided by n 5. There are
    60,965,224 parameters. Height and width may be None only with `include_top=False`.

    Layers: those of `AlexNet`, with pool1 before norm1 and pool2 before norm2.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 39x39; None: that of the weights, else (227, 227, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        groups: 2 or 1, as in `AlexNet`. None: that of the weights, else 2.
        dropout: share of fc6's and fc7's outputs to drop while training.
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
        Y. Jia et al.: Caffe, models/bvlc_reference_caffenet, 2014.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.CaffeNet(include_top=False, pooling="avg")
        >>> [layer.name for layer in model.layers[1:4]]  # pooling comes before normalization
        ['conv1', 'pool1', 'norm1']
    """
    settings = check(
        "CaffeNet",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={"groups": Option(groups, default=2, choices=(2, 1))},
        needs_size_unless="include_top=False",
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    x = _features(inputs, settings.options["groups"], initializers, pool_first=True, k=1.0, divide_alpha=True)
    if include_top:
        logits = dense_classifier(x, settings.classes, dropout, initializers)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def AlexNetOneTower(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "alexnet_one_tower",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build AlexNet without groups and normalization (Krizhevsky 2014).

    This is the network for one GPU, with 61,100,840 parameters. Its pools round down. Height and width may be None only
    with `include_top=False`.

    Layers: conv1, pool1, conv2, pool2, conv3, conv4, conv5, pool5, drop6, flatten, fc6, drop7, fc7, fc8, predictions.
    With `include_top=False` the network ends at pool5.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 63x63; None: that of the weights, else (224, 224, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        dropout: share of fc6's and fc7's inputs to drop while training.
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
        Krizhevsky 2014, footnote 1. Dropout is that of torchvision's `alexnet`, which is the same network.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.AlexNetOneTower(include_top=False)
        >>> model.output_shape
        (None, 6, 6, 256)
    """
    settings = check(
        "AlexNetOneTower",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        needs_size_unless="include_top=False",
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    relu = {"activation": "relu", **initializers}

    x = layers.ZeroPadding2D(2, name="conv1_pad")(inputs)
    x = layers.Conv2D(64, 11, 4, name="conv1", **relu)(x)  # 55x55
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)  # 27x27
    x = layers.Conv2D(192, 5, padding="same", name="conv2", **relu)(x)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)  # 13x13
    x = layers.Conv2D(384, 3, padding="same", name="conv3", **relu)(x)
    x = layers.Conv2D(256, 3, padding="same", name="conv4", **relu)(x)
    x = layers.Conv2D(256, 3, padding="same", name="conv5", **relu)(x)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)  # 6x6
    if include_top:
        x = layers.Dropout(dropout, name="drop6")(x)
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(4096, name="fc6", **relu)(x)
        x = layers.Dropout(dropout, name="drop7")(x)
        x = layers.Dense(4096, name="fc7", **relu)(x)
        logits = layers.Dense(settings.classes, name="fc8", **initializers)(x)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def _features(
    inputs: keras.KerasTensor, groups: int, initializers: Mapping[str, Any], *, pool_first: bool, **normalization: Any
) -> keras.KerasTensor:
    """Return the maps of pool5, after the convolutions of figure 2.

    The two halves of the figure are the groups.

    Args:
        inputs: images (batch, height, width, channels).
        groups: 2, one for each GPU of the paper, or 1.
        initializers: `kernel_initializer` and `bias_initializer` of all layers.
        pool_first: whether pools come before normalizations.
        **normalization: arguments of `LocalResponseNormalization`.
    """
    relu = {"activation": "relu", **initializers}

    def grouped(filters: int, kernel_size: int, name: str) -> keras.Layer:
        if groups == 1:
            return layers.Conv2D(filters, kernel_size, padding="same", name=name, **relu)
        return SplitConv2D(filters, kernel_size, padding="same", groups=groups, name=name, **relu)

    def pool_and_normalize(x: keras.KerasTensor, k: int) -> keras.KerasTensor:
        norm = LocalResponseNormalization(name=f"norm{k}", **normalization)
        pool = ceil_pooling("max", 3, 2, f"pool{k}")
        return norm(pool(x)) if pool_first else pool(norm(x))

    x = layers.Conv2D(96, 11, 4, name="conv1", **relu)(inputs)  # 55x55
    x = pool_and_normalize(x, 1)  # 27x27
    x = grouped(256, 5, "conv2")(x)
    x = pool_and_normalize(x, 2)  # 13x13
    x = layers.Conv2D(384, 3, padding="same", name="conv3", **relu)(x)
    x = grouped(384, 3, "conv4")(x)
    x = grouped(256, 3, "conv5")(x)
    return ceil_pooling("max", 3, 2, "pool5")(x)  # 6x6
