"""Inception v2 (BN-Inception) and Inception v3.

S. Ioffe, C. Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
ICML 2015, arXiv 1502.03167.
C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna: Rethinking the Inception Architecture for Computer Vision,
CVPR 2016, arXiv 1512.00567.
"""

from functools import partial

from keras import layers

from keras_cnns.applications._builder import Start, choose, conv_bn, documented
from keras_cnns.layers import ceil_pooling

# Figure 5 of the first paper, its rows: #1x1, (#3x3 reduce, #3x3), (double #3x3 reduce, double #3x3), pool + proj. Rows
# without #1x1 have stride 2. 4c and 4d: the figure prints projections of 128 beside sums that need 96.
FIGURE_5 = {
    "inception_3a": (64, (64, 64), (64, 96), ("avg", 32)),
    "inception_3b": (64, (64, 96), (64, 96), ("avg", 64)),
    "inception_3c": (0, (128, 160), (64, 96), ("max", None)),
    "inception_4a": (224, (64, 96), (96, 128), ("avg", 128)),
    "inception_4b": (192, (96, 128), (96, 128), ("avg", 128)),
    "inception_4c": (160, (128, 160), (128, 160), ("avg", 96)),
    "inception_4d": (96, (128, 192), (160, 192), ("avg", 96)),
    "inception_4e": (0, (128, 192), (192, 256), ("max", None)),
    "inception_5a": (352, (192, 320), (160, 224), ("avg", 128)),
    "inception_5b": (352, (192, 320), (192, 224), ("max", 128)),
}

# Section 8 of the second paper: stride of the first convolution, whether there is a first pool, side of the input, the
# smallest side, and the smallest with the auxiliary head
STEMS = {"299": (2, True, 299, 75, 107), "151": (1, True, 151, 39, 55), "79": (1, False, 79, 21, 29)}


@documented
def InceptionV2(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="inception_v2",
    *,
    dropout=0.0,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """BN-Inception: GoogLeNet with batch normalization and two 3x3 in place of each 5x5; 11,194,984 parameters.

    Layers: conv1_7x7_s2, pool1, conv2_3x3_reduce, conv2_3x3, pool2, then the modules: inception_3a_1x1,
    inception_3a_3x3_reduce, inception_3a_3x3, inception_3a_double3x3_reduce, inception_3a_double3x3_1,
    inception_3a_double3x3_2, inception_3a_pool, inception_3a_pool_proj, inception_3a_output; 3b to 5b, gap, classifier,
    predictions; without top it ends at inception_5b_output. Behind each convolution NAME_bn and NAME_relu. Average
    pools do not count what lies outside.

    Args:
        dropout: share of the classifier's inputs that is dropped while training; the paper has none (section 4.2.1).
        kernel_initializer: of all kernels.
        bias_initializer: of the classifier's bias; the convolutions have none.

    Reference:
        Ioffe and Szegedy 2015, figure 5, with an ordinary 7x7 convolution in front.
    """
    start = Start(
        "InceptionV2",
        locals(),
    )
    conv = partial(conv_bn, kernel_initializer=start.initializers["kernel_initializer"])

    def inception(x, name, conv1x1, conv3x3, double3x3, pool_projection):
        strides, (kind, projection) = 1 if conv1x1 else 2, pool_projection
        pool = {"avg": layers.AveragePooling2D, "max": layers.MaxPooling2D}[kind]
        pool = pool(3, strides, padding="same", name=f"{name}_pool")(x)
        y = conv(x, conv3x3[0], 1, f"{name}_3x3_reduce")
        z = conv(x, double3x3[0], 1, f"{name}_double3x3_reduce")
        z = conv(z, double3x3[1], 3, f"{name}_double3x3_1")
        branches = [
            conv(x, conv1x1, 1, f"{name}_1x1") if conv1x1 else None,
            conv(y, conv3x3[1], 3, f"{name}_3x3", strides=strides),
            conv(z, double3x3[1], 3, f"{name}_double3x3_2", strides=strides),
            conv(pool, projection, 1, f"{name}_pool_proj") if projection else pool,
        ]
        return layers.Concatenate(name=f"{name}_output")([branch for branch in branches if branch is not None])

    x = conv(start.inputs, 64, 7, "conv1_7x7_s2", strides=2)  # 112x112
    x = ceil_pooling("max", 3, 2, "pool1")(x)  # 56x56
    x = conv(x, 64, 1, "conv2_3x3_reduce")
    x = conv(x, 192, 3, "conv2_3x3")
    x = ceil_pooling("max", 3, 2, "pool2")(x)  # 28x28
    for name, row in FIGURE_5.items():
        x = inception(x, name, *row)  # 14x14 from 3c on, 7x7 from 4e on
    if not include_top:
        return start.body(x, pooling)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dropout(dropout, name="drop")(x)
    x = layers.Dense(start.classes, name="classifier", **start.initializers)(x)
    return start.classifier(x, classifier_activation)


@documented
def InceptionV3(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="inception_v3",
    *,
    auxiliary=False,
    scale=None,
    stem=None,
    dropout=0.2,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """Inception v3 as its authors released it: 23,834,568 parameters, 27,161,264 with the auxiliary head.

    Layers: conv1a, conv2a, conv2b, pool1, conv3b, conv4a, pool2, then the modules mixed_5b to mixed_5d (35x35),
    mixed_6a to mixed_6e (17x17), mixed_7a to mixed_7c (8x8), each ending at NAME_concat; gap, drop, fc, predictions;
    without top it ends at mixed_7c_concat. Behind each convolution NAME_bn and NAME_relu. Average pools do not count
    what lies outside.

    Args:
        auxiliary: whether there is a second output, aux_predictions (from mixed_6e, with batch normalization), behind
            the first one, `predictions`. Its loss counts 0.4 in the released code: compile with a list of two losses
            and loss_weights=[1, 0.4]. Weights trained with it fit without. Its last convolution sees the whole map, so
            that weights with the head fit images of one size.
        scale: whether batch normalization has a factor; keras.applications leaves it out (23,817,352 parameters).
            None: that of the weights, else True.
        stem: "299"; for smaller images, with maps of nearly the same sizes, "151" (the first convolution has stride
            1) or "79" (and there is no first pool): section 8. None: that of the weights, else "299".
        dropout: share of the classifier's inputs that is dropped while training.
        kernel_initializer: of all kernels; the released code draws from a truncated Gaussian of deviation 0.1.
        bias_initializer: of the classifiers' biases; the convolutions have none.

    Reference:
        Szegedy et al. 2016, table 1, figures 5 to 8 and 10, section 8; widths from the authors' released code.
    """
    auxiliary = choose("InceptionV3", "auxiliary", auxiliary, (False, True)) and bool(include_top)

    def published(options):
        _, _, side, *smallest = STEMS[options["stem"]]
        return (side, side, 3), 1000, smallest[auxiliary]

    start = Start(
        "InceptionV3",
        locals(),
        flat=auxiliary,
        defaults=published,
        scale=(True, False),
        stem=tuple(STEMS),
    )
    kernel = start.initializers["kernel_initializer"]
    conv = partial(conv_bn, scale=start.options["scale"], kernel_initializer=kernel)
    first_strides, first_pool, *_ = STEMS[start.options["stem"]]

    def chain(x, name, *convolutions, strides=1):
        """Convolutions one behind the other: (suffix, filters, kernel); the last has the strides, then unpadded."""
        for k, (suffix, filters, kernel_size) in enumerate(convolutions, 1):
            last = {"strides": strides, "padding": "valid"} if strides > 1 and k == len(convolutions) else {}
            x = conv(x, filters, kernel_size, f"{name}_{suffix}", **last)
        return x

    def pool_projection(x, name, filters):
        x = layers.AveragePooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
        return conv(x, filters, 1, f"{name}_pool_proj")

    def join(name, *branches):
        return layers.Concatenate(name=f"{name}_concat")(branches)

    x = conv(start.inputs, 32, 3, "conv1a", strides=first_strides, padding="valid")  # 149x149
    x = conv(x, 32, 3, "conv2a", padding="valid")
    x = conv(x, 64, 3, "conv2b")  # 147x147
    if first_pool:
        x = layers.MaxPooling2D(3, 2, name="pool1")(x)  # 73x73
    x = conv(x, 80, 1, "conv3b")
    x = conv(x, 192, 3, "conv4a", padding="valid")  # 71x71
    x = layers.MaxPooling2D(3, 2, name="pool2")(x)  # 35x35

    for name, projection in (("mixed_5b", 32), ("mixed_5c", 64), ("mixed_5d", 64)):
        x = join(
            name,
            chain(x, name, ("1x1", 64, 1)),
            chain(x, name, ("5x5_reduce", 48, 1), ("5x5", 64, 5)),
            chain(x, name, ("dbl_reduce", 64, 1), ("dbl_1", 96, 3), ("dbl_2", 96, 3)),
            pool_projection(x, name, projection),
        )
    name = "mixed_6a"  # figure 10: the grid shrinks without a bottleneck
    x = join(
        name,
        chain(x, name, ("3x3", 384, 3), strides=2),
        chain(x, name, ("dbl_reduce", 64, 1), ("dbl_1", 96, 3), ("dbl_2", 96, 3), strides=2),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )
    # Figure 6: 7x7 factorized into 1x7 and 7x1
    for name, c in (("mixed_6b", 128), ("mixed_6c", 160), ("mixed_6d", 160), ("mixed_6e", 192)):
        double = [(f"7x7dbl_{k}", c if k < 5 else 192, (7, 1) if k % 2 == 0 else (1, 7)) for k in range(2, 6)]
        x = join(
            name,
            chain(x, name, ("1x1", 192, 1)),
            chain(x, name, ("7x7_1", c, 1), ("7x7_2", c, (1, 7)), ("7x7_3", 192, (7, 1))),
            chain(x, name, ("7x7dbl_1", c, 1), *double),
            pool_projection(x, name, 192),
        )
    heads = {}
    if auxiliary:
        y = layers.AveragePooling2D(5, 3, name="aux_pool")(x)  # 5x5
        y = conv(y, 128, 1, "aux_conv0")
        y = conv(y, 768, [min(side or 5, 5) for side in y.shape[1:3]], "aux_conv1", padding="valid")
        y = layers.GlobalAveragePooling2D(name="aux_gap")(y)
        heads["aux"] = layers.Dense(start.classes, name="aux_fc", **start.initializers)(y)
    name = "mixed_7a"
    x = join(
        name,
        chain(x, name, ("3x3_1", 192, 1), ("3x3_2", 320, 3), strides=2),
        chain(
            x,
            name,
            ("7x7x3_1", 192, 1),
            ("7x7x3_2", 192, (1, 7)),
            ("7x7x3_3", 192, (7, 1)),
            ("7x7x3_4", 192, 3),
            strides=2,
        ),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    )
    for name in ("mixed_7b", "mixed_7c"):  # figure 7: the 3x3 ends in two branches, 1x3 and 3x1
        y = chain(x, name, ("3x3_1", 384, 1))
        z = chain(x, name, ("dbl_1", 448, 1), ("dbl_2", 384, 3))
        x = join(
            name,
            chain(x, name, ("1x1", 320, 1)),
            chain(y, name, ("3x3_2a", 384, (1, 3))),
            chain(y, name, ("3x3_2b", 384, (3, 1))),
            chain(z, name, ("dbl_3a", 384, (1, 3))),
            chain(z, name, ("dbl_3b", 384, (3, 1))),
            pool_projection(x, name, 192),
        )
    if not include_top:
        return start.body(x, pooling)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    x = layers.Dropout(dropout, name="drop")(x)
    return start.classifier(
        layers.Dense(start.classes, name="fc", **start.initializers)(x), classifier_activation, heads
    )
