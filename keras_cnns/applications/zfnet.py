"""ZFNet.

M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv 1311.2901: AlexNet with
smaller and denser filters in its first layers, as looking at their features suggested, and without groups.
"""

from keras import layers

from keras_cnns.applications._builder import Start, dense_layers, documented
from keras_cnns.layers import LocalResponseNormalization, ceil_pooling


@documented
def ZFNet(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="zfnet",
    *,
    wide=None,
    dropout=0.5,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """The network of figure 3: 62,357,608 parameters.

    Layers: conv1, pool1, norm1, conv2, pool2, norm2, conv3, conv4, conv5, pool5, flatten, fc6, drop6, fc7, drop7, fc8,
    predictions; without top it ends at pool5. Pools round up: 55, 13, 6. The paper's contrast normalization across
    maps is AlexNet's, with its constants.

    Args:
        wide: whether conv3, conv4 and conv5 have 512, 1024 and 512 maps (table 2; 107,627,624 parameters) instead of
            384, 384 and 256. None: that of the weights, else False.
        dropout: share of fc6's and fc7's outputs that is dropped while training; section 3.
        kernel_initializer: of all kernels; the paper has 0.01 everywhere.
        bias_initializer: of all biases.

    Reference:
        Zeiler and Fergus 2014, figure 3 and section 5.1.
    """
    start = Start(
        "ZFNet",
        locals(),
        flat=True,
        wide=(False, True),
    )
    conv3, conv4, conv5 = (512, 1024, 512) if start.options["wide"] else (384, 384, 256)
    relu = {"activation": "relu", **start.initializers}
    x = layers.ZeroPadding2D(1, name="conv1_pad")(start.inputs)
    x = layers.Conv2D(96, 7, 2, name="conv1", **relu)(x)  # 110x110
    x = ceil_pooling("max", 3, 2, "pool1")(x)  # 55x55
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.Conv2D(256, 5, 2, name="conv2", **relu)(x)  # 26x26
    x = ceil_pooling("max", 3, 2, "pool2")(x)  # 13x13
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.Conv2D(conv3, 3, padding="same", name="conv3", **relu)(x)
    x = layers.Conv2D(conv4, 3, padding="same", name="conv4", **relu)(x)
    x = layers.Conv2D(conv5, 3, padding="same", name="conv5", **relu)(x)
    x = ceil_pooling("max", 3, 2, "pool5")(x)  # 6x6
    if not include_top:
        return start.body(x, pooling)
    return start.classifier(dense_layers(start, x, dropout), classifier_activation)
