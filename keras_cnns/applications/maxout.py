"""Maxout Networks.

I. Goodfellow, D. Warde-Farley, M. Mirza, A. Courville, Y. Bengio: Maxout Networks, ICML 2013, arXiv 1302.4389. There
is no activation function: a layer computes several linear maps for each of its outputs and keeps the largest.
"""

from typing import Literal

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Defaults,
    Initializer,
    InputShape,
    Option,
    Pooling,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.layers import Maxout as MaxoutLayer
from keras_cnns.layers import ceil_pooling
from keras_cnns.typing import Path

# The authors' pylearn2 files: the convolutions, one per row: kernel, padding, outputs, pieces, pool size (each pool has
# stride 2); the dense layer: outputs, pieces
VARIANTS = {
    "cifar10": (((8, 4, 96, 2, 4), (8, 3, 192, 2, 4), (5, 3, 192, 2, 2)), (500, 5)),
    "svhn": (((5, 4, 64, 2, 3), (5, 3, 128, 2, 3), (5, 3, 128, 2, 3)), (400, 5)),
    "mnist": (((8, 0, 48, 2, 4), (8, 3, 48, 2, 4), (5, 3, 24, 4, 2)), None),
}
DEFAULTS = {
    "cifar10": Defaults((32, 32, 3), classes=10, minimum=8),
    "svhn": Defaults((32, 32, 3), classes=10, minimum=8),
    "mnist": Defaults((28, 28, 1), classes=10, minimum=16),
}
INPUT_DROPOUT = 0.2


def Maxout(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: Pooling | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "maxout",
    *,
    variant: Literal["cifar10", "svhn", "mnist"] | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "lecun_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build the convolutional maxout network (Goodfellow et al. 2013).

    It has three convolutions with maxima of linear maps, and 16,247,830 parameters for CIFAR-10. Pools round up. A
    convolution has one bias per map; the authors' MNIST file has one per position. Height and width may be None only
    with `include_top=False`.

    Layers: drop0, h0_conv, h0_maxout, h0_pool, drop1, h1_conv, ..., h2_pool, flatten, drop3, h3_dense, h3_maxout,
    drop4, y, predictions. The MNIST network has no h3. With `include_top=False` the network ends at h2_pool.

    Args:
        include_top: whether to end with the classifier; False ends with the feature maps before it.
        weights: None (random), a name from `list_weights`, or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), at least 8x8 (MNIST 16x16); None: that of the weights,
            else the variant's.
        pooling: with include_top=False, None (feature maps), "avg" or "max" (vectors).
        classes: number of classes; a number other than the weights' leaves the classifier untrained, with a warning.
            None: that of the weights, else 10.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        variant: "cifar10" (CIFAR-100 with `classes=100`), "svhn" or "mnist". None: that of the weights, else "cifar10".
        dropout: share of each layer's inputs to drop while training; section 5. Of the images, 0.2 is dropped, or
            nothing with `dropout=0`.
        kernel_initializer: initializer of all kernels; the authors draw uniformly from +-0.005.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, classes). With `include_top=False` it outputs feature maps or, with `pooling`, vectors (batch,
        channels).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Goodfellow et al. 2013, section 5; sizes from the authors' pylearn2 files.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.Maxout(variant="mnist")
        >>> model.input_shape
        (None, 28, 28, 1)
    """
    settings = check(
        "Maxout",
        Arguments(include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name),
        dropout,
        options={"variant": Option(variant, default="cifar10", choices=tuple(VARIANTS))},
        defaults=lambda options: DEFAULTS[options["variant"]],
        needs_size_unless="include_top=False",
    )
    convolutions, dense = VARIANTS[settings.options["variant"]]
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    x = layers.Dropout(INPUT_DROPOUT if dropout else 0.0, name="drop0")(inputs)
    for k, (kernel_size, padding, channels, pieces, pool_size) in enumerate(convolutions):
        if k > 0:
            x = layers.Dropout(dropout, name=f"drop{k}")(x)
        if padding:
            x = layers.ZeroPadding2D(padding, name=f"h{k}_pad")(x)
        x = layers.Conv2D(channels * pieces, kernel_size, name=f"h{k}_conv", **initializers)(x)
        x = MaxoutLayer(pieces, name=f"h{k}_maxout")(x)
        x = ceil_pooling("max", pool_size, 2, f"h{k}_pool")(x)  # CIFAR-10: 16x16, 7x7, 5x5
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        if dense:
            units, pieces = dense
            x = layers.Dropout(dropout, name="drop3")(x)
            x = layers.Dense(units * pieces, name="h3_dense", **initializers)(x)
            x = MaxoutLayer(pieces, name="h3_maxout")(x)
        x = layers.Dropout(dropout, name="drop4")(x)
        logits = layers.Dense(settings.classes, name="y", **initializers)(x)
        outputs = classify(logits, classifier_activation)
    else:
        outputs = pool_maps(x, pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    load_weights(model, inputs, settings)
    return model
