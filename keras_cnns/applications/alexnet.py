"""AlexNet, CaffeNet and the one-tower AlexNet.

A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012.
A. Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014, arXiv 1404.5997.
"""

from keras import layers

from keras_cnns.applications._builder import Start, dense_layers, documented
from keras_cnns.layers import LocalResponseNormalization, SplitConv2D, ceil_pooling


def _features(start, pool_first, **normalization):
    """conv1 to pool5: figure 2 of the paper, whose two halves, one a GPU, are the groups."""
    groups, relu = start.options["groups"], {"activation": "relu", **start.initializers}

    def grouped(filters, kernel_size, name):
        if groups == 1:
            return layers.Conv2D(filters, kernel_size, padding="same", name=name, **relu)
        return SplitConv2D(filters, kernel_size, padding="same", groups=groups, name=name, **relu)

    def pool_and_normalize(x, k):
        norm = LocalResponseNormalization(name=f"norm{k}", **normalization)
        pool = ceil_pooling("max", 3, 2, f"pool{k}")
        return norm(pool(x)) if pool_first else pool(norm(x))

    x = layers.Conv2D(96, 11, 4, name="conv1", **relu)(start.inputs)  # 55x55
    x = pool_and_normalize(x, 1)  # 27x27
    x = grouped(256, 5, "conv2")(x)
    x = pool_and_normalize(x, 2)  # 13x13
    x = layers.Conv2D(384, 3, padding="same", name="conv3", **relu)(x)
    x = grouped(384, 3, "conv4")(x)
    x = grouped(256, 3, "conv5")(x)
    return ceil_pooling("max", 3, 2, "pool5")(x)  # 6x6


@documented
def AlexNet(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="alexnet",
    *,
    groups=None,
    dropout=0.5,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """The network of 2012: two groups, local response normalization, overlapping pools; 60,965,224 parameters.

    Layers: conv1, norm1, pool1, conv2, norm2, pool2, conv3, conv4, conv5, pool5, flatten, fc6, drop6, fc7, drop7, fc8,
    predictions; without top it ends at pool5. The paper says 224 pixels, which its software, rounding up, took as if
    they were 227. The normalization has the constants that the paper prints: k 2, n 5, alpha 1e-4, beta 0.75.

    Args:
        groups: 2, where half of the maps of conv2, conv4 and conv5 see half of the maps before, or 1, where all see
            all (62,378,344 parameters). None: that of the weights, else 2.
        dropout: share of fc6's and fc7's outputs that is dropped while training; section 4.2.
        kernel_initializer: of all kernels; the paper draws from a Gaussian of deviation 0.01.
        bias_initializer: of all biases; the paper has ones in conv2, conv4, conv5, fc6 and fc7, and zeros elsewhere.

    Reference:
        Krizhevsky et al. 2012, section 3 and figure 2.
    """
    start = Start(
        "AlexNet",
        locals(),
        flat=True,
        groups=(2, 1),
    )
    x = _features(start, pool_first=False)
    if not include_top:
        return start.body(x, pooling)
    return start.classifier(dense_layers(start, x, dropout), classifier_activation)


@documented
def CaffeNet(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="caffenet",
    *,
    groups=None,
    dropout=0.5,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """AlexNet as Caffe's authors trained it: each pool before its normalization; 60,965,224 parameters.

    Layers: as `AlexNet`, with pool1 before norm1 and pool2 before norm2. The normalization has Caffe's constants:
    k 1, and alpha 1e-4 divided by n 5.

    Args:
        groups: 2 or 1, as in `AlexNet`. None: that of the weights, else 2.
        dropout: share of fc6's and fc7's outputs that is dropped while training.

    Reference:
        Y. Jia et al.: Caffe, models/bvlc_reference_caffenet, 2014.
    """
    start = Start(
        "CaffeNet",
        locals(),
        flat=True,
        groups=(2, 1),
    )
    x = _features(start, pool_first=True, k=1.0, divide_alpha=True)
    if not include_top:
        return start.body(x, pooling)
    return start.classifier(dense_layers(start, x, dropout), classifier_activation)


@documented
def AlexNetOneTower(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="alexnet_one_tower",
    *,
    dropout=0.5,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """AlexNet of 2014 for one GPU, without groups and normalization: 61,100,840 parameters.

    Layers: conv1, pool1, conv2, pool2, conv3, conv4, conv5, pool5, drop6, flatten, fc6, drop7, fc7, fc8, predictions;
    without top it ends at pool5. Pools round down.

    Args:
        dropout: share of fc6's and fc7's inputs that is dropped while training.

    Reference:
        Krizhevsky 2014, footnote 1; dropout as in torchvision, whose `alexnet` it is.
    """
    start = Start(
        "AlexNetOneTower",
        locals(),
        flat=True,
    )
    relu = {"activation": "relu", **start.initializers}
    x = layers.ZeroPadding2D(2, name="conv1_pad")(start.inputs)
    x = layers.Conv2D(64, 11, 4, name="conv1", **relu)(x)  # 55x55
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)  # 27x27
    x = layers.Conv2D(192, 5, padding="same", name="conv2", **relu)(x)
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)  # 13x13
    x = layers.Conv2D(384, 3, padding="same", name="conv3", **relu)(x)
    x = layers.Conv2D(256, 3, padding="same", name="conv4", **relu)(x)
    x = layers.Conv2D(256, 3, padding="same", name="conv5", **relu)(x)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)  # 6x6
    if not include_top:
        return start.body(x, pooling)
    x = layers.Dropout(dropout, name="drop6")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(4096, name="fc6", **relu)(x)
    x = layers.Dropout(dropout, name="drop7")(x)
    x = layers.Dense(4096, name="fc7", **relu)(x)
    return start.classifier(layers.Dense(start.classes, name="fc8", **start.initializers)(x), classifier_activation)
