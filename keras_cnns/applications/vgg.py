"""VGG.

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, arXiv
1409.1556. All convolutions are 3x3, in five blocks that each end with a pool.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Pooling,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, dense_classifier, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.layers import LocalResponseNormalization
from keras_cnns.typing import Path

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
COLUMNS = {"VGG11": "A", "VGG11LRN": "A-LRN", "VGG13": "B", "VGG16C": "C", "VGG16": "D", "VGG19": "E"}


def VGG11(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "vgg11",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build VGG11 (Simonyan and Zisserman 2015).

    Column A of table 1: 8 convolutions and 3 dense layers; 132,863,336 parameters.
    The layers, arguments, result and errors are those of `VGG16`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.VGG11(classes=10).count_params()
        128807306
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _build("VGG11", arguments, dropout, kernel_initializer, bias_initializer)


def VGG11LRN(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "vgg11lrn",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build VGG11 with local response normalization (Simonyan and Zisserman 2015).

    Column A-LRN of table 1: column A with AlexNet's normalization, `norm1`, after conv1_1; 132,863,336 parameters.
    The layers, arguments, result and errors are those of `VGG16`.

    Examples:
        >>> from keras_cnns import applications
        >>> [layer.name for layer in applications.VGG11LRN(include_top=False).layers[1:4]]
        ['conv1_1', 'norm1', 'pool1']
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _build("VGG11LRN", arguments, dropout, kernel_initializer, bias_initializer)


def VGG13(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "vgg13",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build VGG13 (Simonyan and Zisserman 2015).

    Column B of table 1: 10 convolutions and 3 dense layers; 133,047,848 parameters.
    The layers, arguments, result and errors are those of `VGG16`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.VGG13(include_top=False, pooling="avg").output_shape
        (None, 512)
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _build("VGG13", arguments, dropout, kernel_initializer, bias_initializer)


def VGG16C(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "vgg16c",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build VGG16 with some 1x1 convolutions (Simonyan and Zisserman 2015).

    Column C of table 1: column D with 1x1 kernels in the third convolution of a block; 133,638,952 parameters.
    The layers, arguments, result and errors are those of `VGG16`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.VGG16C(include_top=False).get_layer("conv3_3").kernel_size
        (1, 1)
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _build("VGG16C", arguments, dropout, kernel_initializer, bias_initializer)


def VGG16(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "vgg16",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build VGG16 (Simonyan and Zisserman 2015).

    Column D of table 1: 13 convolutions and 3 dense layers; 138,357,544 parameters. Height and width may be None only
    with `include_top=False`.

    Layers: conv1_1, ..., pool1, conv2_1, ..., pool5, flatten, fc6, drop6, fc7, drop7, fc8, predictions. With
    `include_top=False` the network ends at pool5.

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
        dropout: share of fc6's and fc7's outputs to drop while training; section 3.1.
        kernel_initializer: initializer of all kernels. The paper draws from a Gaussian of deviation 0.1 (column A) or
            starts from the weights of a smaller network, and notes that Glorot's initialization would have done.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Simonyan and Zisserman 2015, table 1.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.VGG16(include_top=False, input_shape=(None, None, 3))  # images of any size
        >>> model.output_shape, model.count_params()
        ((None, None, None, 512), 14714688)
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _build("VGG16", arguments, dropout, kernel_initializer, bias_initializer)


def VGG19(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "vgg19",
    *,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build VGG19 (Simonyan and Zisserman 2015).

    Column E of table 1: 16 convolutions and 3 dense layers; 143,667,240 parameters.
    The layers, arguments, result and errors are those of `VGG16`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.VGG19().count_params()
        143667240
    """
    arguments = Arguments(
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name
    )
    return _build("VGG19", arguments, dropout, kernel_initializer, bias_initializer)


def _build(
    builder: str,
    arguments: Arguments,
    dropout: float,
    kernel_initializer: Initializer,
    bias_initializer: Initializer,
) -> keras.Model:
    """Build the network of a column of table 1.

    Args:
        builder: public name of the builder.
        arguments: what all builders take.
        dropout: share of fc6's and fc7's outputs to drop while training.
        kernel_initializer: initializer of all kernels.
        bias_initializer: initializer of all biases.
    """
    settings = check(builder, arguments, dropout, needs_size_unless="include_top=False")
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    x = features(inputs, COLUMNS[builder], initializers)
    if arguments.include_top:
        logits = dense_classifier(x, settings.classes, dropout, initializers)
        outputs = classify(logits, arguments.classifier_activation)
    else:
        outputs = pool_maps(x, arguments.pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=arguments.name)
    load_weights(model, inputs, settings)
    return model


def features(
    x: keras.KerasTensor,
    column: str,
    initializers: Mapping[str, Any],
    *,
    pool: Callable[[int], keras.Layer] | None = None,
    last_dilation: int = 1,
) -> keras.KerasTensor:
    """Return the maps of pool5, after the blocks of a column.

    Args:
        x: images (batch, height, width, channels).
        column: heading of the column of table 1.
        initializers: `kernel_initializer` and `bias_initializer` of the convolutions.
        pool: function from the number of a block to its pool, which must be called pool1, pool2, ...; None: as in the
            paper.
        last_dilation: distance of a kernel's positions in the last block, where DeepLab has 2.
    """
    for block, (convolutions, channels) in enumerate(zip(TABLE_1[column], CHANNELS, strict=True), 1):
        for k in range(1, convolutions + 1):
            x = layers.Conv2D(
                channels,
                kernel_size=1 if column == "C" and k == 3 else 3,
                padding="same",
                dilation_rate=last_dilation if block == 5 else 1,
                activation="relu",
                name=f"conv{block}_{k}",
                **initializers,
            )(x)
        if column == "A-LRN" and block == 1:
            x = LocalResponseNormalization(name="norm1")(x)
        layer = pool(block) if pool else layers.MaxPooling2D(2, name=f"pool{block}")
        x = layer(x)  # 112x112, 56x56, 28x28, 14x14, 7x7
    return x
