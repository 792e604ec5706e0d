"""Network In Network.

M. Lin, Q. Chen, S. Yan: Network In Network, ICLR 2014, arXiv 1312.4400. An mlpconv layer is a convolution
followed by two 1x1 convolutions (cccp: cascaded cross channel parametric pooling), each with a ReLU; the last
one has a map for each class, and the mean of a map is the class's score: there is no dense layer.
"""

import numbers

import keras
import numpy as np
from keras import layers

from keras_cnns.applications._builder import Start, documented
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


def class_maps(x, classes, number, initializers):
    """The last 1x1 layer, a map a class, and the mean of each map.

    Its inputs are all positive, so a map of random weights starts with one sign nearly everywhere: half of the maps
    are born without a gradient behind their ReLU. Small weights (the author's for ImageNet) and a bias of one, the
    same for all classes, start them all alive and say nothing yet.
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


@documented
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
    """The network of the paper for images of 32x32 pixels: three mlpconv layers, 966,986 parameters.

    Layers: conv1, cccp1, cccp2, pool1, drop1, conv2, cccp3, cccp4, pool2, drop2, conv3, cccp5, cccp6, gap,
    predictions; without top it ends at cccp5. Pools round up, as in the author's files: 32, 16, 8. The ReLU behind
    cccp6, which the paper has, can die in the first steps of a training (accuracy then stays at chance): keep the
    default initialization, or let the learning rate rise over the first 50 to 200 steps.

    Args:
        variant: "cifar10", "cifar100", "mnist" or "svhn", the author's widths, input shape and classes for each.
            None: that of the weights, else "cifar10".
        second_pool: "average", as in the author's Caffe file for CIFAR-10, or "max", as in all his cuda-convnet files.
            None: that of the weights, else "average" for CIFAR-10 and "max" for the others.
        dropout: share of pool1's and pool2's outputs that is dropped while training; section 4.1.
        kernel_initializer: of all kernels. None: He's, and small weights in the last 1x1 layer (see `class_maps`);
            the author's files draw from a Gaussian of deviation 0.05.
        bias_initializer: of all biases. None: zeros, and ones in the last 1x1 layer.

    Reference:
        Lin et al. 2014, section 3 and figure 2; widths from the author's cuda-convnet and Caffe files.
    """
    start = Start(
        "NiN",
        locals(),
        defaults=lambda options: (*VARIANTS[options["variant"]][1:], 6),
        variant=tuple(VARIANTS),
        second_pool=(None, "average", "max"),
    )
    variant = start.options["variant"]
    (kernel1, widths1), (kernel2, widths2), (kernel3, widths3) = VARIANTS[variant][0]
    x = mlpconv(start.inputs, kernel1, widths1, 1, 1, start.initializers)
    x = ceil_pooling("max", 3, 2, "pool1")(x)
    x = layers.Dropout(dropout, name="drop1")(x)  # 16x16

    x = mlpconv(x, kernel2, widths2, 2, 3, start.initializers)
    second_pool = start.options["second_pool"] or ("average" if variant == "cifar10" else "max")
    x = ceil_pooling(second_pool, 3, 2, "pool2")(x)
    x = layers.Dropout(dropout, name="drop2")(x)  # 8x8

    x = mlpconv(x, kernel3, widths3, 3, 5, start.initializers)
    if not include_top:
        return start.body(x, pooling)
    return start.classifier(class_maps(x, start.classes, 6, start.initializers), classifier_activation)


@documented
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
    widths=None,
    mlp_layers=None,
    dropout=0.5,
    kernel_initializer=None,
    bias_initializer=None,
):
    """The first author's network for ImageNet: four mlpconv layers, 7,595,176 parameters.

    Layers: conv1, cccp1, cccp2, pool1, ..., conv3, cccp5, cccp6, pool3, drop, conv4, cccp7, cccp8, gap,
    predictions; without top it ends at cccp7. Pools round up: 54, 27, 13, 6.

    `NiNImageNet(input_shape=(224, 224, 1), classes=10, widths=(96, 256, 384, None), mlp_layers=1)` is the smaller
    network that textbooks train on Fashion-MNIST enlarged to 224 pixels (some of them round their pools down).

    Args:
        widths: channels of each of the four mlpconv layers; None among them stands for `classes`. None: those of the
            weights, else (96, 256, 384, 1024).
        mlp_layers: number of 1x1 layers behind each convolution, at least 1; they are numbered through. None: that
            of the weights, else 2.
        dropout: share of pool3's outputs that is dropped while training.
        kernel_initializer: of all kernels. None: as in `NiN`; the author's file draws from Gaussians of deviation 0.01
            and 0.05.
        bias_initializer: of all biases. None: as in `NiN`.

    Reference:
        M. Lin: NIN-Imagenet, Caffe model zoo, 2014.
    """
    if widths is not None:
        widths = tuple(widths) if isinstance(widths, (tuple, list, np.ndarray)) else (widths,)
    start = Start(
        "NiNImageNet",
        locals(),
        widths=((96, 256, 384, 1024),),
        mlp_layers=(2,),
    )
    widths, mlp_layers = start.options["widths"], start.options["mlp_layers"]
    counts = [width for width in (*widths, mlp_layers) if width is not None]
    if len(widths) != 4 or any(not isinstance(count, numbers.Integral) or count < 1 for count in counts):
        raise ArgumentError(
            "NiNImageNet: `widths` must be four whole numbers, None among them for the number of classes, and "
            f"`mlp_layers` at least 1. Received: widths={widths}, mlp_layers={mlp_layers!r}"
        )

    # Sides of the kernels, and the strides and padding of the convolutions
    kernels = (11, 4, "valid"), (5, 1, "same"), (3, 1, "same"), (3, 1, "same")
    x = start.inputs
    for k, (width, (kernel_size, strides, padding)) in enumerate(zip(widths, kernels, strict=True), 1):
        channels = [start.classes if width is None else width] * (1 + mlp_layers)
        if k == 4:
            x = layers.Dropout(dropout, name="drop")(x)
            del channels[-1]
        x = mlpconv(x, kernel_size, channels, k, 1 + mlp_layers * (k - 1), start.initializers, strides, padding)
        if k < 4:
            x = ceil_pooling("max", 3, 2, f"pool{k}")(x)  # 27x27, 13x13, 6x6

    if not include_top:
        return start.body(x, pooling)
    return start.classifier(class_maps(x, start.classes, 4 * mlp_layers, start.initializers), classifier_activation)
