"""VGG.

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, arXiv
1409.1556: nothing but 3x3 convolutions, in five blocks that each end with a pool.
"""

from keras import layers

from keras_cnns.applications._builder import Start, dense_layers, documented
from keras_cnns.layers import LocalResponseNormalization

# Table 1: the number of convolutions in each block, by column
TABLE_1 = {
    # column: 64, 128, 256, 512, 512 channels
    "A": (1, 1, 2, 2, 2),
    "A-LRN": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "C": (2, 2, 3, 3, 3),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
}
CHANNELS = (64, 128, 256, 512, 512)


def _column(function, column, what):
    """Return the builder called `function` of a column of table 1; `what` says what it has, in words."""
    model_name = function.lower()

    def build(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=None,
        classifier_activation="softmax",
        name=model_name,
        *,
        dropout=0.5,
        kernel_initializer="he_normal",
        bias_initializer="zeros",
    ):
        start = Start(
            function,
            locals(),
            flat=True,
        )
        x = start.inputs
        for block, (convolutions, channels) in enumerate(zip(TABLE_1[column], CHANNELS, strict=True), 1):
            for k in range(1, convolutions + 1):
                kernel_size = 1 if column == "C" and k == 3 else 3
                x = layers.Conv2D(
                    channels,
                    kernel_size,
                    padding="same",
                    activation="relu",
                    name=f"conv{block}_{k}",
                    **start.initializers,
                )(x)
            if column == "A-LRN" and block == 1:
                x = LocalResponseNormalization(name="norm1")(x)
            x = layers.MaxPooling2D(2, name=f"pool{block}")(x)  # 112x112, 56x56, 28x28, 14x14, 7x7
        if not include_top:
            return start.body(x, pooling)
        return start.classifier(dense_layers(start, x, dropout), classifier_activation)

    build.__name__ = build.__qualname__ = function
    build.__doc__ = f"""VGG's network {column}: {what}.

    Layers: conv1_1, ..., pool1, conv2_1, ..., pool5, flatten, fc6, drop6, fc7, drop7, fc8, predictions; without top it
    ends at pool5.

    Args:
        dropout: share of fc6's and fc7's outputs that is dropped while training; section 3.1.
        kernel_initializer: of all kernels; the paper draws from a Gaussian of deviation 0.1 (the small network) or
            starts from a smaller network's weights, and notes that Glorot's initialization would have done.
        bias_initializer: of all biases.

    Reference:
        Simonyan and Zisserman 2015, table 1, column {column}.
    """
    return documented(build)


VGG11 = _column("VGG11", "A", "11 layers with weights, 132,863,336 parameters")
VGG11LRN = _column("VGG11LRN", "A-LRN", "as A, with AlexNet's normalization `norm1` behind conv1_1")
VGG13 = _column("VGG13", "B", "13 layers with weights, 133,047,848 parameters")
VGG16C = _column("VGG16C", "C", "16 layers with weights, the third of a block 1x1; 133,638,952 parameters")
VGG16 = _column("VGG16", "D", "16 layers with weights, 138,357,544 parameters")
VGG19 = _column("VGG19", "E", "19 layers with weights, 143,667,240 parameters")
