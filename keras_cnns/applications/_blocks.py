"""Groups of layers that several networks share."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from keras_cnns.applications._arguments import Activation, Pooling
from keras_cnns.layers import BatchNormalization


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int],
    name: str,
    *,
    strides: int = 1,
    padding: str = "same",
    **options: Any,
) -> keras.KerasTensor:
    """Return a convolution of `x`, padded equally on all sides.

    Caffe and torch pad so; Keras's own "same" pads a strided convolution more at the bottom right.

    Args:
        x: feature maps (batch, height, width, channels).
        filters: channels of the result.
        kernel_size: side of the kernel, or (height, width).
        name: name of the layer.
        strides: distance of the kernel's positions.
        padding: "same" or "valid".
        **options: other arguments of `keras.layers.Conv2D`.
    """
    if padding == "same" and strides > 1 and isinstance(kernel_size, int) and kernel_size > 1:
        x, padding = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"
    return layers.Conv2D(filters, kernel_size, strides, padding, name=name, **options)(x)


def conv_bn(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int | tuple[int, int],
    name: str,
    *,
    relu: bool = True,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    scale: bool = True,
    **options: Any,
) -> keras.KerasTensor:
    """Return a convolution without bias, its batch normalization and its ReLU.

    Args:
        x: feature maps (batch, height, width, channels).
        filters: channels of the result.
        kernel_size: side of the kernel, or (height, width).
        name: name of the convolution; the other layers are NAME_bn and NAME_relu.
        relu: whether there is a ReLU.
        momentum: momentum of the moving statistics.
        epsilon: number added to the variance.
        scale: whether the normalization has a trained factor.
        **options: other arguments of `conv`.
    """
    x = conv(x, filters, kernel_size, name, use_bias=False, **options)
    x = BatchNormalization(momentum=momentum, epsilon=epsilon, scale=scale, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def dense_classifier(
    x: keras.KerasTensor, classes: int, dropout: float, initializers: Mapping[str, Any]
) -> keras.KerasTensor:
    """Return the logits of AlexNet's classifier, which ZFNet and VGG kept.

    Layers: flatten, fc6, drop6, fc7, drop7, fc8.

    Args:
        x: feature maps (batch, height, width, channels).
        classes: number of classes.
        dropout: share of fc6's and fc7's outputs to drop while training.
        initializers: `kernel_initializer` and `bias_initializer` of the dense layers.
    """
    x = layers.Flatten(name="flatten")(x)
    for k in (6, 7):
        x = layers.Dense(4096, "relu", name=f"fc{k}", **initializers)(x)
        x = layers.Dropout(dropout, name=f"drop{k}")(x)
    return layers.Dense(classes, name="fc8", **initializers)(x)


def pool_maps(x: keras.KerasTensor, pooling: Pooling | None) -> keras.KerasTensor:
    """Return the outputs of a network without top.

    Args:
        x: feature maps (batch, height, width, channels).
        pooling: None (the maps), "avg" or "max" (their average or maximum over all positions).
    """
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def classify(
    logits: keras.KerasTensor,
    activation: Activation | None,
    auxiliary: Mapping[str, keras.KerasTensor] | None = None,
) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Return the output `predictions`, float32 under every dtype policy.

    Args:
        logits: Keras tensor (batch, classes).
        activation: activation of the classifier; None gives the logits.
        auxiliary: logits of auxiliary classifiers by name. The outputs NAME_predictions follow `predictions` in a list.
    """
    logits_by_name = {"predictions": logits}
    for name, auxiliary_logits in (auxiliary or {}).items():
        logits_by_name[f"{name}_predictions"] = auxiliary_logits
    outputs = [layers.Activation(activation, dtype="float32", name=name)(x) for name, x in logits_by_name.items()]
    return outputs if len(outputs) > 1 else outputs[0]
