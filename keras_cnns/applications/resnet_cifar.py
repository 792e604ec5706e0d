"""Residual networks for CIFAR-10.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385 (He et al.
2016a), section 4.2.
"""

from typing import Literal

import keras

from keras_cnns.applications._arguments import Activation, Arguments, Initializer, InputShape, Pooling
from keras_cnns.applications._residual import Architecture, UnitOptions, build_residual_network
from keras_cnns.typing import Path


def ResNet20(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet20",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-20 for CIFAR-10 (He et al. 2016a).

    Units have two 3x3 convolutions. Height and width may be None.

    Layers: conv1, then the units: conv2_1_conv1, conv2_1_conv2, conv2_1_add, conv2_1_out; a unit that changes the shape
    also has a shortcut, conv3_1_shortcut. Stages end at conv2_3_out, conv3_3_out, conv4_3_out. Then gap, drop, fc,
    predictions; with `include_top=False` the network ends before gap. Batch normalization and ReLU follow each
    convolution NAME of a unit: NAME_bn, NAME_relu.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 8x8; None: that of the weights, else (32, 32, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 10.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        stride_on: must be None: it chooses a layer of bottlenecks, which are in networks of 50 layers and more.
        shortcut: where the shape changes, "A" appends channels of zeros and "B" projects with a 1x1 convolution; "C"
            projects in every unit. None: that of the weights, else "A".
        residual: whether units have shortcuts. False builds the plain network, whose degradation with depth the first
            paper shows. None: that of the weights, else True.
        dropout: share of the classifier's inputs to drop while training; the papers have none.
        kernel_initializer: initializer of all kernels; He's, as in the paper.
        bias_initializer: initializer of the classifier's bias; the convolutions have none.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2 and table
        6.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet20(weights="cifar10").output_shape
        (None, 10)
        >>> applications.ResNet20(classes=100, shortcut="B").count_params()  # projections instead of zeros
        279892
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(20, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet32(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet32",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-32 for CIFAR-10 (He et al. 2016a).

    Units have two 3x3 convolutions.
    Stages end at conv2_5_out, conv3_5_out, conv4_5_out.
    The arguments, result and errors are those of `ResNet20`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet32().count_params()
        466426
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(32, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet44(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet44",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-44 for CIFAR-10 (He et al. 2016a).

    Units have two 3x3 convolutions.
    Stages end at conv2_7_out, conv3_7_out, conv4_7_out.
    The arguments, result and errors are those of `ResNet20`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet44().count_params()
        661754
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(44, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet56(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet56",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-56 for CIFAR-10 (He et al. 2016a).

    Units have two 3x3 convolutions.
    Stages end at conv2_9_out, conv3_9_out, conv4_9_out.
    The arguments, result and errors are those of `ResNet20`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet56(residual=False).count_params()  # the paper's plain network
        857082
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(56, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet110(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet110",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-110 for CIFAR-10 (He et al. 2016a).

    Units have two 3x3 convolutions.
    Stages end at conv2_18_out, conv3_18_out, conv4_18_out.
    The arguments, result and errors are those of `ResNet20`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet110().count_params()
        1736058
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(110, arguments, options, dropout, kernel_initializer, bias_initializer)


def _build(
    depth: int,
    arguments: Arguments,
    options: UnitOptions,
    dropout: float,
    kernel_initializer: Initializer,
    bias_initializer: Initializer,
) -> keras.Model:
    """Build the network of `depth` layers with weights."""
    architecture = Architecture(((depth - 2) // 6,) * 3, bottleneck=False, cifar=True)
    return build_residual_network(
        f"ResNet{depth}", architecture, arguments, options, dropout, kernel_initializer, bias_initializer
    )
