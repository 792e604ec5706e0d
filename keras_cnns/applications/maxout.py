"""Maxout Networks.

I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio: Maxout Networks, ICML 2013, arXiv 1302.4389. There
is no activation function: a layer computes several linear maps for each of its outputs and keeps the largest.
"""

from keras import layers

from keras_cnns.applications._builder import Start, documented
from keras_cnns.layers import Maxout as MaxoutLayer
from keras_cnns.layers import ceil_pooling

# The authors' pylearn2 files. A row is a layer: kernel, padding, outputs, pieces, pool size (each pool has stride 2);
# then the dense layer: outputs, pieces; and the default input shape and classes, and the smallest side.
VARIANTS = {
    "cifar10": (
        ((8, 4, 96, 2, 4), (8, 3, 192, 2, 4), (5, 3, 192, 2, 2)),
        (500, 5),
        *((32, 32, 3), 10, 8),
    ),
    "svhn": (
        ((5, 4, 64, 2, 3), (5, 3, 128, 2, 3), (5, 3, 128, 2, 3)),
        (400, 5),
        *((32, 32, 3), 10, 8),
    ),
    "mnist": (
        ((8, 0, 48, 2, 4), (8, 3, 48, 2, 4), (5, 3, 24, 4, 2)),
        None,
        *((28, 28, 1), 10, 16),
    ),
}
INPUT_DROPOUT = 0.2


@documented
def Maxout(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=None,
    classifier_activation="softmax",
    name="maxout",
    *,
    variant=None,
    dropout=0.5,
    kernel_initializer="lecun_normal",
    bias_initializer="zeros",
):
    """The convolutional maxout network: three layers of maxima of linear maps; for CIFAR-10 16,247,830 parameters.

    Layers: drop0, h0_conv, h0_maxout, h0_pool, drop1, h1_conv, ..., h2_pool, flatten, drop3, h3_dense, h3_maxout,
    drop4, y, predictions (h3 is not in the MNIST network); without top it ends at h2_pool. Pools round up. The biases
    of a convolution are one a map; the authors' MNIST file has one a position.

    Args:
        variant: "cifar10" (CIFAR-100 with `classes=100`), "svhn" or "mnist". None: that of the weights, else "cifar10".
        dropout: share of each layer's inputs that is dropped while training; of the images themselves 0.2, and
            nothing with `dropout=0`. Section 5.
        kernel_initializer: of all kernels; the authors draw uniformly from +-0.005.
        bias_initializer: of all biases.

    Reference:
        Goodfellow et al. 2013, section 5; sizes from the authors' pylearn2 files.
    """
    start = Start(
        "Maxout",
        locals(),
        flat=True,
        defaults=lambda options: VARIANTS[options["variant"]][2:],
        variant=tuple(VARIANTS),
    )
    convolutions, dense, *_ = VARIANTS[start.options["variant"]]
    x = layers.Dropout(INPUT_DROPOUT if dropout else 0.0, name="drop0")(start.inputs)
    for k, (kernel_size, padding, outputs, pieces, pool_size) in enumerate(convolutions):
        if k > 0:
            x = layers.Dropout(dropout, name=f"drop{k}")(x)
        if padding:
            x = layers.ZeroPadding2D(padding, name=f"h{k}_pad")(x)
        x = layers.Conv2D(outputs * pieces, kernel_size, name=f"h{k}_conv", **start.initializers)(x)
        x = MaxoutLayer(pieces, name=f"h{k}_maxout")(x)
        x = ceil_pooling("max", pool_size, 2, f"h{k}_pool")(x)  # CIFAR-10: 16x16, 7x7, 5x5
    if not include_top:
        return start.body(x, pooling)
    x = layers.Flatten(name="flatten")(x)
    if dense:
        outputs, pieces = dense
        x = layers.Dropout(dropout, name="drop3")(x)
        x = layers.Dense(outputs * pieces, name="h3_dense", **start.initializers)(x)
        x = MaxoutLayer(pieces, name="h3_maxout")(x)
    x = layers.Dropout(dropout, name="drop4")(x)
    return start.classifier(layers.Dense(start.classes, name="y", **start.initializers)(x), classifier_activation)
