"""Network In Network.

M. Lin, Q. Chen, S. Yan: Network In Network, ICLR 2014, arXiv 1312.4400. An mlpconv layer is a convolution and two 1x1
convolutions after it (cccp: cascaded cross channel parametric pooling), each with a ReLU. The last 1x1 convolution has
one map per class, and the mean of a map is the class's score: there is no dense layer.
"""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import keras
import numpy as np
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
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import ceil_pooling
from keras_cnns.typing import Path

# The author's cuda-convnet files. A row is an mlpconv layer: side of its kernel, channels of the convolution and of the
# two 1x1 layers after it. The very last 1x1 layer, with one channel per class, is not in the table.
CIFAR = (5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192))
VARIANTS = {
    # name: mlpconv layers, input shape, classes
    "cifar10": (CIFAR, (32, 32, 3), 10),
    "cifar100": (CIFAR, (32, 32, 3), 100),
    "mnist": (((5, (96, 64, 48)), (5, (128, 96, 48)), (5, (128, 96))), (28, 28, 1), 10),
    "svhn": (((5, (128, 96, 64)), (5, (320, 256, 128)), (5, (384, 256))), (32, 32, 3), 10),
}


def NiN(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "nin",
    *,
    variant: Literal["cifar10", "cifar100", "mnist", "svhn"] | None = None,
    second_pool: Literal["average", "max"] | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
) -> keras.Model:
    """Build Network In Network for 32x32 pixels (Lin et al. 2014).

    It has three mlpconv layers and 966,986 parameters. Pools round up, as in the author's files: 32, 16, 8. Height and
    width may be None.

    The paper's ReLU after cccp6 can die in the first training steps; accuracy then stays at chance. To prevent that,
    keep the default initialization, or warm up the learning rate over the first 50 to 200 steps.

    Layers: conv1, cccp1, cccp2, pool1, drop1, conv2, cccp3, cccp4, pool2, drop2, conv3, cccp5, cccp6, gap, predictions.
    With `include_top=False` the network ends at cccp5.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 6x6; None: that of the weights, else the variant's.
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else the variant's.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        variant: "cifar10", "cifar100", "mnist" or "svhn": the author's widths, input shape and classes for each
            dataset. None: that of the weights, else "cifar10".
        second_pool: "average", as in the author's Caffe file for CIFAR-10, or "max", as in all his cuda-convnet files.
            None: that of the weights, else "average" for CIFAR-10 and "max" for the others.
        dropout: share of pool1's and pool2's outputs to drop while training; section 4.1.
        kernel_initializer: initializer of all kernels. None: He's, but small weights in the last 1x1 layer (see
            `class_maps`). The author's files draw from a Gaussian of deviation 0.05.
        bias_initializer: initializer of all biases. None: zeros, but ones in the last 1x1 layer.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Lin et al. 2014, section 3 and figure 2; widths from the author's cuda-convnet and Caffe files.

    Examples:
        >>> from keras_cnns import applications, data
        >>> model, info = applications.NiN(weights="digits"), applications.weights_info("NiN", "digits")
        >>> images, labels = data.read_pixels(data.open_source("digits").split("test").sample(3), info.preprocessing)
        >>> probabilities = model.predict(info.preprocessing.normalize(images.astype("float32")), verbose=0)
        >>> probabilities.argmax(axis=1).tolist() == labels.tolist()
        True
    """
    settings = check(
        "NiN",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={
            "variant": Option(variant, default="cifar10", choices=tuple(VARIANTS)),
            "second_pool": Option(second_pool, default=None, choices=("average", "max")),
        },
        defaults=lambda options: Defaults(*VARIANTS[options["variant"]][1:], minimum=6),
    )
    mlpconv_layers, *_ = VARIANTS[settings.options["variant"]]
    (kernel1, widths1), (kernel2, widths2), (kernel3, widths3) = mlpconv_layers
    second_pool = settings.options["second_pool"]
    if second_pool is None:
        second_pool = "average" if settings.options["variant"] == "cifar10" else "max"
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    x = mlpconv(inputs, kernel1, widths1, 1, 1, initializers)
    x = ceil_pooling("max", 3, 2, "pool1")(x)
    x = layers.Dropout(dropout, name="drop1")(x)  # 16x16
    x = mlpconv(x, kernel2, widths2, 2, 3, initializers)
    x = ceil_pooling(second_pool, 3, 2, "pool2")(x)
    x = layers.Dropout(dropout, name="drop2")(x)  # 8x8
    x = mlpconv(x, kernel3, widths3, 3, 5, initializers)
    if include_top:
        logits = class_maps(x, settings.classes, 6, initializers)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def NiNImageNet(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "nin_imagenet",
    *,
    widths: Sequence[int | None] | None = None,
    mlp_layers: int | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer | None = None,
    bias_initializer: Initializer | None = None,
) -> keras.Model:
    """Build Network In Network for ImageNet (Lin 2014).

    The first author's network has four mlpconv layers and 7,595,176 parameters. Pools round up: 54, 27, 13, 6. Height
    and width may be None.

    `NiNImageNet(input_shape=(224, 224, 1), classes=10, widths=(96, 256, 384, None), mlp_layers=1)` is the smaller
    network that textbooks train on Fashion-MNIST enlarged to 224 pixels (some of them round their pools down).

    Layers: conv1, cccp1, cccp2, pool1, ..., conv3, cccp5, cccp6, pool3, drop, conv4, cccp7, cccp8, gap, predictions.
    With `include_top=False` the network ends at cccp7.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 55x55; None: that of the weights, else (224, 224, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        widths: channels of each of the four mlpconv layers; None in place of a number stands for `classes`. None: the
            weights', else (96, 256, 384, 1024).
        mlp_layers: number of 1x1 layers after each convolution, at least 1; they are numbered consecutively. None: the
            weights', else 2.
        dropout: share of pool3's outputs to drop while training.
        kernel_initializer: initializer of all kernels. None: as in `NiN`. The author's file draws from Gaussians of
            deviation 0.01 and 0.05.
        bias_initializer: initializer of all biases. None: as in `NiN`.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        M. Lin: NIN-Imagenet, Caffe model zoo, 2014.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.NiNImageNet(include_top=False, pooling="avg")
        >>> model.output_shape
        (None, 1024)
    """
    if widths is not None:
        # A single number is put into a tuple, so that `_check_widths` can name it.
        widths = tuple(widths) if isinstance(widths, (tuple, list, np.ndarray)) else (cast(int, widths),)
    settings = check(
        "NiNImageNet",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={
            "widths": Option(widths, default=(96, 256, 384, 1024)),
            "mlp_layers": Option(mlp_layers, default=2),
        },
    )
    widths, mlp_layers = settings.options["widths"], settings.options["mlp_layers"]
    _check_widths(widths, mlp_layers)
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    # Sides of the kernels, and the strides and padding of the convolutions
    kernels = (11, 4, "valid"), (5, 1, "same"), (3, 1, "same"), (3, 1, "same")
    x = inputs
    for k, (width, (kernel_size, strides, padding)) in enumerate(zip(widths, kernels, strict=True), 1):
        channels = [settings.classes if width is None else width] * (1 + mlp_layers)
        if k == 4:
            x = layers.Dropout(dropout, name="drop")(x)
            del channels[-1]  # The last 1x1 layer belongs to the classifier.
        x = mlpconv(x, kernel_size, channels, k, 1 + mlp_layers * (k - 1), initializers, strides, padding)
        if k < 4:
            x = ceil_pooling("max", 3, 2, f"pool{k}")(x)  # 27x27, 13x13, 6x6
    if include_top:
        logits = class_maps(x, settings.classes, 4 * mlp_layers, initializers)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model


def _check_widths(widths: Sequence[Any], mlp_layers: Any) -> None:
    """Check the channels and the number of the layers of `NiNImageNet`."""
    counts = [count for count in (*widths, mlp_layers) if count is not None]
    if len(widths) != 4 or any(not isinstance(count, numbers.Integral) or count < 1 for count in counts):
        raise ArgumentError(
            "NiNImageNet: `widths` must be four whole numbers, None among them for the number of classes, and "
            f"`mlp_layers` at least 1. Received: widths={widths}, mlp_layers={mlp_layers!r}"
        )


def mlpconv(
    x: keras.KerasTensor,
    kernel_size: int,
    channels: Sequence[int],
    number: int,
    first_cccp: int,
    initializers: Mapping[str, Any],
    strides: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    """Return an mlpconv layer (figure 1(b)).

    It is a convolution and 1x1 convolutions, each with its ReLU.

    Args:
        x: feature maps (batch, height, width, channels).
        kernel_size: side of the convolution's kernel.
        channels: channels of the convolution and of each 1x1 layer.
        number: number in the name of the convolution.
        first_cccp: number in the name of the first 1x1 layer.
        initializers: `kernel_initializer` and `bias_initializer`; None is replaced by the defaults of this block.
        strides: strides of the convolution.
        padding: padding of the convolution.
    """
    initializers = {
        "kernel_initializer": initializers["kernel_initializer"] or "he_normal",
        "bias_initializer": initializers["bias_initializer"] or "zeros",
    }
    x = layers.Conv2D(
        channels[0], kernel_size, strides, padding, activation="relu", name=f"conv{number}", **initializers
    )(x)
    for k, width in enumerate(channels[1:], first_cccp):
        x = layers.Conv2D(width, 1, activation="relu", name=f"cccp{k}", **initializers)(x)
    return x


def class_maps(x: keras.KerasTensor, classes: int, number: int, initializers: Mapping[str, Any]) -> keras.KerasTensor:
    """Return the logits, the means of the last 1x1 layer's maps.

    That layer has one map per class. Its inputs are all positive, so a map with random weights starts with the same
    sign nearly everywhere. Half of the maps would start with only zeros after their ReLU, and without a gradient. Small
    weights (the author's for ImageNet) and a bias of one, the same for all classes, start every map alive and without a
    preference.

    Args:
        x: feature maps (batch, height, width, channels).
        classes: number of classes.
        number: number in the name of the 1x1 layer.
        initializers: `kernel_initializer` and `bias_initializer`; None is replaced by the defaults of this block.
    """
    x = layers.Conv2D(
        classes,
        1,
        activation="relu",
        kernel_initializer=initializers["kernel_initializer"] or keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=initializers["bias_initializer"] or "ones",
        name=f"cccp{number}",
    )(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="gap")(x)
