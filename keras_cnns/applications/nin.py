"""Network In Network.

M. Lin, Q. Chen, S. Yan: Network In Network, ICLR 2014, arXiv 1312.4400. An mlpconv layer is a convolution
followed by two 1x1 convolutions (cccp: cascaded cross channel parametric pooling), each with a ReLU; the last
one has a map for each class, and the mean of a map is the class's score: there is no dense layer.
"""

import keras
from keras import layers

from keras_cnns.applications._builder import (
    as_shape,
    body_end,
    check_choice,
    finish,
    image_input,
    last_activation,
    settle,
)
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import ceil_pooling

# The author's cuda-convnet files. A row is an mlpconv layer: side of its kernel, channels of the convolution and of
# the two 1x1 layers behind it; the very last, with one channel a class, is not in the table.
CIFAR = (5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192))
VARIANTS = {
    # name: mlpconv layers, input shape, classes
    "cifar10": (CIFAR, (32, 32, 3), 10),
    "cifar100": (CIFAR, (32, 32, 3), 100),
    "mnist": (((5, (96, 64, 48)), (5, (128, 96, 48)), (5, (128, 96))), (28, 28, 1), 10),
    "svhn": (((5, (128, 96, 64)), (5, (320, 256, 128)), (5, (384, 256))), (32, 32, 3), 10),
}


def mlpconv(x, kernel_size, channels, number, first_cccp, initializers, strides=1, padding="same"):
    """Figure 1(b): a convolution and the 1x1 layers behind it, each with its ReLU."""
    kernel, bias = initializers
    initializers = {"kernel_initializer": kernel or "he_normal", "bias_initializer": bias or "zeros"}
    x = layers.Conv2D(
        channels[0], kernel_size, strides, padding, activation="relu", name=f"conv{number}", **initializers
    )(x)
    for k, width in enumerate(channels[1:], first_cccp):
        x = layers.Conv2D(width, 1, activation="relu", name=f"cccp{k}", **initializers)(x)
    return x


def class_maps(x, classes, number, initializers):
    """The last 1x1 layer, a map a class, and the mean of each map.

    Its inputs are all positive, so a map of random weights starts with one sign nearly everywhere: half of the maps
    are born without a gradient behind their ReLU. Small weights (the author's for ImageNet) and a bias of one, the
    same for all classes, start them all alive and say nothing yet.
    """
    kernel, bias = initializers
    kernel = keras.initializers.RandomNormal(stddev=0.01) if kernel is None else kernel
    x = layers.Conv2D(
        classes, 1, activation="relu", kernel_initializer=kernel, bias_initializer=bias or "ones", name=f"cccp{number}"
    )(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="gap")(x)


def NiN(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="nin",
    *,
    variant=None,
    second_pool=None,
    dropout=0.5,
    kernel_initializer=None,
    bias_initializer=None,
):
    """The network of the paper for pictures of 32x32 pixels: three mlpconv layers, 966,986 parameters.

    Layers: conv1, cccp1, cccp2, pool1, drop1, conv2, cccp3, cccp4, pool2, drop2, conv3, cccp5, cccp6, gap,
    predictions. Pools round up, as in the author's files: 32, 16, 8. The ReLU behind cccp6, which the paper has, can
    die in the first steps of a training (accuracy then stays at chance): keep the default initialization, or let the
    learning rate rise over the first 50 to 200 steps.

    Args:
        include_top: whether cccp6, the global average pooling and the classifier's activation are there;
            without them the network ends at cccp5.
        weights: None (random), "digits" (trained on scikit-learn's digits), or the path of a `.keras` file with
            this network.
        input_tensor: Keras tensor (batch, height, width, channels) to use as the input.
        input_shape: (height, width, channels), at least 6x6; height and width may be None. None: that of the
            weights, else of the variant.
        pooling: of a network without top: None (maps), "avg" or "max" (vectors).
        classes: number of classes. None: that of the weights, else of the variant.
        classifier_activation: "softmax", or None for logits, which are the means of the class maps.
        name: of the model.
        variant: "cifar10", "cifar100", "mnist" or "svhn", the author's widths for each. None: that of the
            weights, else "cifar10".
        second_pool: "average", as in the author's Caffe file, or "max", as in his cuda-convnet files. None: that of
            the weights, else "average".
        dropout: share of pool1's and pool2's outputs that is dropped while training; section 4.1.
        kernel_initializer: of all kernels. None: He's, and small weights in the last 1x1 layer (see `class_maps`);
            the author's files draw from a Gaussian of deviation 0.05.
        bias_initializer: of all biases. None: zeros, and ones in the last 1x1 layer.

    Returns:
        Functional `keras.Model`; float32 pictures (batch, height, width, channels), whose normalization is the
        caller's (see `weights_info`), to float32 (batch, classes).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.

    Reference:
        Lin et al. 2014, section 3 and figure 2; widths from the author's cuda-convnet and Caffe files.
    """
    check_choice("NiN", variant=(variant, (None, *VARIANTS)), second_pool=(second_pool, (None, "average", "max")))
    input_shape = as_shape("NiN", input_shape)
    record, settled = settle(
        "NiN",
        weights,
        variant=variant,
        classes=classes if include_top else None,
        input_shape=input_shape if include_top else None,
        second_pool=second_pool,
    )
    blocks, shape, ten_or_hundred = VARIANTS[settled["variant"] or "cifar10"]
    classes = ten_or_hundred if settled["classes"] is None else settled["classes"]
    inputs = image_input("NiN", input_shape, input_tensor, settled["input_shape"] or shape)
    initializers = kernel_initializer, bias_initializer

    (kernel1, widths1), (kernel2, widths2), (kernel3, widths3) = blocks
    x = mlpconv(inputs, kernel1, widths1, 1, 1, initializers)
    x = ceil_pooling("max", 3, 2, "pool1")(x)
    x = layers.Dropout(dropout, name="drop1")(x)  # 16x16

    x = mlpconv(x, kernel2, widths2, 2, 3, initializers)
    x = ceil_pooling(settled["second_pool"] or "average", 3, 2, "pool2")(x)
    x = layers.Dropout(dropout, name="drop2")(x)  # 8x8

    x = mlpconv(x, kernel3, widths3, 3, 5, initializers)
    if not include_top:
        return finish(inputs, body_end("NiN", x, pooling), name, record)
    x = class_maps(x, classes, 6, initializers)
    return finish(inputs, last_activation(x, classifier_activation), name, record)


def NiNImageNet(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="nin_imagenet",
    *,
    widths=(96, 256, 384, 1024),
    mlp_layers=2,
    dropout=0.5,
    kernel_initializer=None,
    bias_initializer=None,
):
    """The first author's network for ImageNet: four mlpconv layers, 7,595,176 parameters.

    Layers: conv1, cccp1, cccp2, pool1, ..., conv3, cccp5, cccp6, pool3, drop, conv4, cccp7, cccp8, gap,
    predictions. Pools round up: 54, 27, 13, 6.

    `NiNImageNet(input_shape=(224, 224, 1), classes=10, widths=(96, 256, 384, None), mlp_layers=1)` is the smaller
    network that textbooks train on Fashion-MNIST enlarged to 224 pixels (some of them round their pools down).

    Args:
        include_top: whether the last 1x1 layer, the global average pooling and the activation are there.
        weights: None (random) or the path of a `.keras` file with this network.
        input_tensor: Keras tensor (batch, height, width, channels) to use as the input.
        input_shape: (height, width, channels), at least 55x55; height and width may be None. None: (224, 224, 3).
        pooling: of a network without top: None (maps), "avg" or "max" (vectors).
        classes: number of classes, the channels of the last 1x1 layer. None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits, which are the means of the class maps.
        name: of the model.
        widths: channels of each of the four mlpconv layers; None stands for `classes`.
        mlp_layers: number of 1x1 layers behind each convolution, at least 1; they are numbered through.
        dropout: share of pool3's outputs that is dropped while training.
        kernel_initializer: of all kernels. None: as in `NiN`; the author's file draws from Gaussians of deviation 0.01
            and 0.05.
        bias_initializer: of all biases. None: as in `NiN`.

    Returns:
        Functional `keras.Model`; float32 pictures (batch, height, width, channels) to float32 (batch, classes).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.

    Reference:
        M. Lin: NIN-Imagenet, Caffe model zoo, 2014.
    """
    widths = tuple(widths)
    if len(widths) != 4 or mlp_layers < 1:
        raise ArgumentError(
            "NiNImageNet: `widths` must have four values and `mlp_layers` be at least 1. "
            f"Received: widths={widths}, mlp_layers={mlp_layers}"
        )
    input_shape = as_shape("NiNImageNet", input_shape)
    record, settled = settle(
        "NiNImageNet",
        weights,
        classes=classes if include_top else None,
        input_shape=input_shape if include_top else None,
    )
    published = FACTS["NiNImageNet"]
    classes = published.classes if settled["classes"] is None else settled["classes"]
    shape = settled["input_shape"] or published.input_shape
    x = inputs = image_input("NiNImageNet", input_shape, input_tensor, shape)
    initializers = kernel_initializer, bias_initializer

    # Sides of the kernels, and the strides and padding of the convolutions
    kernels = (11, 4, "valid"), (5, 1, "same"), (3, 1, "same"), (3, 1, "same")
    for k, (width, (kernel_size, strides, padding)) in enumerate(zip(widths, kernels, strict=True), 1):
        channels = [classes if width is None else width] * (1 + mlp_layers)
        if k == 4:
            x = layers.Dropout(dropout, name="drop")(x)
            del channels[-1]
        x = mlpconv(x, kernel_size, channels, k, 1 + mlp_layers * (k - 1), initializers, strides, padding)
        if k < 4:
            x = ceil_pooling("max", 3, 2, f"pool{k}")(x)  # 27x27, 13x13, 6x6

    if not include_top:
        return finish(inputs, body_end("NiNImageNet", x, pooling), name, record)
    x = class_maps(x, classes, 4 * mlp_layers, initializers)
    return finish(inputs, last_activation(x, classifier_activation), name, record)
