"""Residual networks for ImageNet, first version.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385 (He et al.
2016a). The first pool is padded on all sides, as in torchvision and keras.applications; the authors' Caffe files round
up.
"""

from typing import Literal

import keras

from keras_cnns.applications._arguments import Activation, Arguments, Initializer, InputShape, Pooling
from keras_cnns.applications._residual import Architecture, UnitOptions, build_residual_network
from keras_cnns.typing import Path

# Table 1: the units of conv2_x, conv3_x, conv4_x and conv5_x, by depth
TABLE_1 = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),  # from here on bottlenecks: 1x1, 3x3, and 1x1 with four times the channels
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def ResNet18(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet18",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-18 (He et al. 2016a).

    Units have two 3x3 convolutions.
    Stages end at conv2_2_out, conv3_2_out, conv4_2_out, conv5_2_out.
    The arguments, result and errors are those of `ResNet50`; `stride_on` must be None.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet18(classes=10).count_params()
        11191242
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(18, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet34(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet34",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-34 (He et al. 2016a).

    Units have two 3x3 convolutions.
    Stages end at conv2_3_out, conv3_4_out, conv4_6_out, conv5_3_out.
    The arguments, result and errors are those of `ResNet50`; `stride_on` must be None.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet34(residual=False).count_params()  # the paper's plain network
        21639080
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(34, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet50(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet50",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-50 (He et al. 2016a).

    Units are bottlenecks: 1x1, 3x3 and 1x1 convolutions. Height and width may be None.

    Layers: conv1, pool1, then the units: conv2_1_conv1, conv2_1_conv2, ..., conv2_1_add, conv2_1_out; a unit that
    changes the shape also has a shortcut, conv3_1_shortcut. Stages end at conv2_3_out, conv3_4_out, conv4_6_out,
    conv5_3_out. Then gap, drop, fc, predictions; with `include_top=False` the network ends before gap. Batch
    normalization and ReLU follow each convolution NAME of a unit: NAME_bn, NAME_relu.

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
        stride_on: the convolution of stride 2 in the first bottleneck of a stage: "1x1", as in the paper, or "3x3",
            as in torchvision ("v1.5"). None: that of the weights, else "1x1".
        shortcut: where the shape changes, "A" appends channels of zeros and "B" projects with a 1x1 convolution; "C"
            projects in every unit. None: that of the weights, else "B".
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
        K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, table 1, figure 5 and
        section 3.3.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.ResNet50(include_top=False, input_shape=(None, None, 3), pooling="avg")
        >>> model.output_shape
        (None, 2048)
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(50, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet101(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet101",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-101 (He et al. 2016a).

    Units are bottlenecks: 1x1, 3x3 and 1x1 convolutions.
    Stages end at conv2_3_out, conv3_4_out, conv4_23_out, conv5_3_out.
    The arguments, result and errors are those of `ResNet50`.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.ResNet101(stride_on="3x3")  # as torchvision's
        >>> model.count_params()
        44654504
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(101, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet152(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet152",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-152 (He et al. 2016a).

    Units are bottlenecks: 1x1, 3x3 and 1x1 convolutions.
    Stages end at conv2_3_out, conv3_8_out, conv4_36_out, conv5_3_out.
    The arguments, result and errors are those of `ResNet50`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet152().count_params()
        60344232
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(152, arguments, options, dropout, kernel_initializer, bias_initializer)


def architecture(depth: int) -> Architecture:
    """Return the units of a column of table 1.

    Args:
        depth: number of layers with weights.
    """
    return Architecture(TABLE_1[depth], bottleneck=depth >= 50)


def _build(
    depth: int,
    arguments: Arguments,
    options: UnitOptions,
    dropout: float,
    kernel_initializer: Initializer,
    bias_initializer: Initializer,
) -> keras.Model:
    """Build the network of `depth` layers with weights."""
    return build_residual_network(
        f"ResNet{depth}", architecture(depth), arguments, options, dropout, kernel_initializer, bias_initializer
    )
