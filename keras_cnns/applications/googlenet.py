"""GoogLeNet.

C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich: Going Deeper with
Convolutions, CVPR 2015, arXiv 1409.4842.
"""

from keras import layers

from keras_cnns.applications import _builder
from keras_cnns.applications._builder import Start, choose, documented
from keras_cnns.layers import LocalResponseNormalization, ceil_pooling

# Table 1, its rows: #1x1, (#3x3 reduce, #3x3), (#5x5 reduce, #5x5), pool proj
TABLE_1 = {
    "inception_3a": (64, (96, 128), (16, 32), 32),
    "inception_3b": (128, (128, 192), (32, 96), 64),
    "pool3": None,
    "inception_4a": (192, (96, 208), (16, 48), 64),
    "inception_4b": (160, (112, 224), (24, 64), 64),
    "inception_4c": (128, (128, 256), (24, 64), 64),
    "inception_4d": (112, (144, 288), (32, 64), 64),
    "inception_4e": (256, (160, 320), (32, 128), 128),
    "pool4": None,
    "inception_5a": (256, (160, 320), (32, 128), 128),
    "inception_5b": (384, (192, 384), (48, 128), 128),
}
HEADS = {"inception_4a": "loss1", "inception_4d": "loss2"}  # section 5: auxiliary classifiers
HEAD_DROPOUT = 0.7


@documented
def GoogLeNet(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="googlenet",
    *,
    auxiliary=False,
    batch_norm=None,
    dropout=0.4,
    kernel_initializer="he_normal",
    bias_initializer="zeros",
):
    """The network of table 1, with true 5x5 convolutions: 6,998,552 parameters, 13,378,280 with auxiliary heads.

    Layers: conv1_7x7_s2, pool1, norm1, conv2_3x3_reduce, conv2_3x3, norm2, pool2, then the modules: inception_3a_1x1,
    inception_3a_3x3_reduce, inception_3a_3x3, inception_3a_5x5_reduce, inception_3a_5x5, inception_3a_pool,
    inception_3a_pool_proj, inception_3a_output; 3b, pool3, 4a to 4e, pool4, 5a, 5b; then pool5, drop, loss3_classifier,
    predictions; without top it ends at inception_5b_output. Pools round up: 56, 28, 14, 7.

    Args:
        auxiliary: whether there are two more outputs, loss1_predictions (from 4a) and loss2_predictions (from 4d),
            behind the first one, `predictions`. The paper adds 0.3 times their losses while training: compile with a
            list of three losses and loss_weights=[1, 0.3, 0.3]. Weights trained with the heads fit without them.
        batch_norm: whether each convolution is followed by batch normalization (NAME_bn, NAME_relu) instead of having
            a bias, and local response normalization is left out; 7,005,832 parameters. None: that of the weights, else
            False.
        dropout: share of pool5's outputs that is dropped while training; in the heads 0.7, and nothing with
            `dropout=0`. Section 5.
        kernel_initializer: of all kernels; Caffe's file has Glorot's.
        bias_initializer: of all biases; Caffe's file has 0.2.

    Reference:
        Szegedy et al. 2015, table 1, figures 2(b) and 3, section 5; normalization and its constants (k 1, alpha 1e-4
        divided by n 5) from Caffe's models/bvlc_googlenet.
    """
    auxiliary = choose("GoogLeNet", "auxiliary", auxiliary, (False, True)) and bool(include_top)
    start = Start(
        "GoogLeNet",
        locals(),
        flat=auxiliary,
        defaults=lambda options: ((224, 224, 3), 1000, 79 if auxiliary else 32),
        batch_norm=(False, True),
    )
    batch_norm = start.options["batch_norm"]

    def conv(x, filters, kernel_size, name, **options):
        if batch_norm:
            kernel = start.initializers["kernel_initializer"]
            return _builder.conv_bn(x, filters, kernel_size, name, kernel_initializer=kernel, **options)
        return _builder.conv(x, filters, kernel_size, name, activation="relu", **start.initializers, **options)

    def normalize(x, name):
        return x if batch_norm else LocalResponseNormalization(k=1.0, divide_alpha=True, name=name)(x)

    def inception(x, name, conv1x1, conv3x3, conv5x5, pool_projection):
        """Figure 2(b): four branches, joined along the channels."""
        pool = layers.MaxPooling2D(3, 1, padding="same", name=f"{name}_pool")(x)
        branches = [
            conv(x, conv1x1, 1, f"{name}_1x1"),
            conv(conv(x, conv3x3[0], 1, f"{name}_3x3_reduce"), conv3x3[1], 3, f"{name}_3x3"),
            conv(conv(x, conv5x5[0], 1, f"{name}_5x5_reduce"), conv5x5[1], 5, f"{name}_5x5"),
            conv(pool, pool_projection, 1, f"{name}_pool_proj"),
        ]
        return layers.Concatenate(name=f"{name}_output")(branches)

    def head(x, name):
        """Section 5: the logits of an auxiliary classifier."""
        x = layers.AveragePooling2D(5, 3, name=f"{name}_ave_pool")(x)  # 4x4
        x = conv(x, 128, 1, f"{name}_conv")
        x = layers.Flatten(name=f"{name}_flatten")(x)
        x = layers.Dense(1024, "relu", name=f"{name}_fc", **start.initializers)(x)
        x = layers.Dropout(HEAD_DROPOUT if dropout else 0.0, name=f"{name}_drop")(x)
        return layers.Dense(start.classes, name=f"{name}_classifier", **start.initializers)(x)

    x = conv(start.inputs, 64, 7, "conv1_7x7_s2", strides=2)  # 112x112
    x = normalize(ceil_pooling("max", 3, 2, "pool1")(x), "norm1")  # 56x56
    x = conv(x, 64, 1, "conv2_3x3_reduce")
    x = normalize(conv(x, 192, 3, "conv2_3x3"), "norm2")
    x = ceil_pooling("max", 3, 2, "pool2")(x)  # 28x28
    heads = {}
    for name, row in TABLE_1.items():
        x = inception(x, name, *row) if row else ceil_pooling("max", 3, 2, name)(x)  # 14x14, 7x7
        if auxiliary and name in HEADS:
            heads[HEADS[name]] = head(x, HEADS[name])
    if not include_top:
        return start.body(x, pooling)
    x = layers.GlobalAveragePooling2D(name="pool5")(x)
    x = layers.Dropout(dropout, name="drop")(x)
    x = layers.Dense(start.classes, name="loss3_classifier", **start.initializers)(x)
    return start.classifier(x, classifier_activation, heads)
