"""ZFNet.

M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv 1311.2901. It is AlexNet
without groups, with smaller and denser filters in its first layers, as looking at AlexNet's features suggested.
"""

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Option,
    Pooling,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, dense_classifier, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.layers import LocalResponseNormalization, ceil_pooling
from keras_cnns.typing import Path


def ZFNet(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "zfnet",
    *,
    wide: bool | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build ZFNet (Zeiler and Fergus 2014).

    It has 62,357,608 parameters. Pools round up: 55, 13, 6. The paper's contrast normalization across maps is
    AlexNet's, with its constants. Height and width may be None only with `include_top=False`.

    Layers: conv1, pool1, norm1, conv2, pool2, norm2, conv3, conv4, conv5, pool5, flatten, fc6, drop6, fc7, drop7, fc8,
    predictions. With `include_top=False` the network ends at pool5.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 47x47; None: that of the weights, else (224, 224, 3).
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 1000.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        wide: whether conv3, conv4 and conv5 have 512, 1024 and 512 maps (table 2; 107,627,624 parameters) instead of
            384, 384 and 256. None: that of the weights, else False.
        dropout: share of fc6's and fc7's outputs to drop while training; section 3.
        kernel_initializer: initializer of all kernels; the paper sets all weights to 0.01.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Zeiler and Fergus 2014, figure 3 and section 5.1.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.ZFNet(wide=True, include_top=False)
        >>> [model.get_layer(name).filters for name in ("conv3", "conv4", "conv5")]
        [512, 1024, 512]
    """
    settings = check(
        "ZFNet",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={"wide": Option(wide, default=False, choices=(False, True))},
        needs_size_unless="include_top=False",
    )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    relu = {"activation": "relu", **initializers}
    conv3, conv4, conv5 = (512, 1024, 512) if settings.options["wide"] else (384, 384, 256)

    x = layers.ZeroPadding2D(1, name="conv1_pad")(inputs)
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
    if include_top:
        logits = dense_classifier(x, settings.classes, dropout, initializers)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model
