"""Residual networks for ImageNet, second version.

K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027 (He et al.
2016b). The first pool is padded on all sides, as in torchvision and keras.applications.
"""

from typing import Literal

import keras

from keras_cnns.applications._arguments import Activation, Arguments, Initializer, InputShape, Pooling
from keras_cnns.applications._residual import Architecture, UnitOptions, build_residual_network
from keras_cnns.applications.resnet import TABLE_1
from keras_cnns.typing import Path


def ResNet18V2(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet18v2",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-18, version 2 (He et al. 2016b).

    Units have two 3x3 convolutions.
    Stages end at conv2_2_out, conv3_2_out, conv4_2_out, conv5_2_out.
    The arguments, result and errors are those of `ResNet50V2`; `stride_on` must be None.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet18V2(classes=10).count_params()
        11187658
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(18, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet34V2(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet34v2",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-34, version 2 (He et al. 2016b).

    Units have two 3x3 convolutions.
    Stages end at conv2_3_out, conv3_4_out, conv4_6_out, conv5_3_out.
    The arguments, result and errors are those of `ResNet50V2`; `stride_on` must be None.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet34V2(classes=10).count_params()
        21303242
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(34, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet50V2(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet50v2",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-50, version 2 (He et al. 2016b).

    Units are bottlenecks: 1x1, 3x3 and 1x1 convolutions. Height and width may be None.

    Layers: conv1, pool1, then the units: conv2_1_conv1, conv2_1_conv2, ..., conv2_1_add, conv2_1_out; a unit that
    changes the shape also has a shortcut, conv3_1_shortcut. Stages end at conv2_3_out, conv3_4_out, conv4_6_out,
    conv5_3_out. Then post_bn, post_relu, gap, drop, fc, predictions; with `include_top=False` the network ends before
    gap. Batch normalization and ReLU precede each convolution NAME of a unit: NAME_bn, NAME_relu.

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
        stride_on: the convolution of stride 2 in the first bottleneck of a stage: "3x3", as in the authors' code, or
            "1x1". None: that of the weights, else "3x3".
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
        K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, figure 4(e) and the
        appendix; the stem and first unit are those of the authors' code.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.ResNet50V2(include_top=False, input_shape=(None, None, 3))
        >>> model.output_shape
        (None, None, None, 2048)
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(50, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet101V2(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet101v2",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-101, version 2 (He et al. 2016b).

    Units are bottlenecks: 1x1, 3x3 and 1x1 convolutions.
    Stages end at conv2_3_out, conv3_4_out, conv4_23_out, conv5_3_out.
    The arguments, result and errors are those of `ResNet50V2`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet101V2(classes=10).count_params()
        42610634
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(101, arguments, options, dropout, kernel_initializer, bias_initializer)


def ResNet152V2(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "resnet152v2",
    *,
    stride_on: Literal["1x1", "3x3"] | None = None,
    shortcut: Literal["A", "B", "C"] | None = None,
    residual: bool | None = None,
    dropout: float = 0.0,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ResNet-152, version 2 (He et al. 2016b).

    Units are bottlenecks: 1x1, 3x3 and 1x1 convolutions.
    Stages end at conv2_3_out, conv3_8_out, conv4_36_out, conv5_3_out.
    The arguments, result and errors are those of `ResNet50V2`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.ResNet152V2(input_shape=(320, 320, 3)).output_shape  # the size that the paper measures
        (None, 1000)
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    options = UnitOptions(stride_on, shortcut, residual)
    return _build(152, arguments, options, dropout, kernel_initializer, bias_initializer)


def _build(
    depth: int,
    arguments: Arguments,
    options: UnitOptions,
    dropout: float,
    kernel_initializer: Initializer,
    bias_initializer: Initializer,
) -> keras.Model:
    """Build the network of `depth` layers with weights."""
    architecture = Architecture(TABLE_1[depth], bottleneck=depth >= 50, version=2)
    return build_residual_network(
        f"ResNet{depth}V2", architecture, arguments, options, dropout, kernel_initializer, bias_initializer
    )
