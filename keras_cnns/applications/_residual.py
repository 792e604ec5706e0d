"""Residual units, and the network that they make up.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385 (version 1).
K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027 (version 2).
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Arguments,
    Initializer,
    Option,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._blocks import classify, conv, conv_bn, pool_maps
from keras_cnns.applications._loading import load_weights
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import BatchNormalization, ZeroPadShortcut

# Momentum and epsilon of batch normalization
MOMENTUM = 0.9
EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What distinguishes the networks of the papers.

    Attributes:
        units: number of units in each stage.
        bottleneck: whether a unit has three convolutions (1x1, 3x3, 1x1) instead of two (3x3, 3x3).
        version: 1 or 2.
        cifar: whether the network is for CIFAR-10, with a smaller stem.
    """

    units: tuple[int, ...]
    bottleneck: bool
    version: int = 1
    cifar: bool = False


@dataclasses.dataclass(frozen=True)
class UnitOptions:
    """The options of all residual networks.

    Attributes:
        stride_on: the convolution of stride 2 in the first bottleneck of a stage, "1x1" or "3x3".
        shortcut: "A", "B" or "C".
        residual: whether units have shortcuts.
    """

    stride_on: str | None
    shortcut: str | None
    residual: bool | None


def build_residual_network(
    builder: str,
    architecture: Architecture,
    arguments: Arguments,
    options: UnitOptions,
    dropout: float,
    kernel_initializer: Initializer,
    bias_initializer: Initializer,
) -> keras.Model:
    """Build a residual network.

    Args:
        builder: public name of the builder.
        architecture: the network of the paper.
        arguments: what all builders take.
        options: the builder's options; None where the weights or the paper decide.
        dropout: share of the classifier's inputs to drop while training.
        kernel_initializer: initializer of all kernels.
        bias_initializer: initializer of the classifier's bias.
    """
    _check_options(builder, architecture, options)
    first_strided, other_strided = ("1x1", "3x3") if architecture.version == 1 else ("3x3", "1x1")
    shortcuts = ("A", "B", "C") if architecture.cifar else ("B", "A", "C")
    settings = check(
        builder,
        arguments,
        dropout,
        options={
            "stride_on": Option(options.stride_on, default=first_strided, choices=(first_strided, other_strided)),
            "shortcut": Option(options.shortcut, default=shortcuts[0], choices=shortcuts),
            "residual": Option(options.residual, default=True, choices=(True, False)),
        },
    )
    options = UnitOptions(**settings.options)
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    x = residual_maps(inputs, architecture, options, initializers["kernel_initializer"])
    if arguments.include_top:
        x = layers.GlobalAveragePooling2D(name="gap")(x)
        x = layers.Dropout(dropout, name="drop")(x)
        logits = layers.Dense(settings.classes, name="fc", **initializers)(x)
        outputs = classify(logits, arguments.classifier_activation)
    else:
        outputs = pool_maps(x, arguments.pooling)
    model = keras.Model(source_inputs(inputs), outputs, name=arguments.name)
    load_weights(model, inputs, settings)
    return model


def residual_maps(
    x: keras.KerasTensor,
    architecture: Architecture,
    options: UnitOptions,
    initializer: Any,
    dilations: Sequence[int] = (1, 1, 1, 1),
) -> keras.KerasTensor:
    """Return the maps of the last unit.

    Args:
        x: images (batch, height, width, channels).
        architecture: the network of the paper.
        options: options of the units, all of them known.
        initializer: initializer of the kernels.
        dilations: for each stage, the distance of the positions of its 3x3 kernels, where DeepLab has (1, 1, 2, 4). A
            stage with another one than 1 has no stride.
    """
    x = _stem(x, architecture, initializer)
    for stage, (count, dilation) in enumerate(zip(architecture.units, dilations, strict=False), 2):
        filters = (16 if architecture.cifar else 64) * 2 ** (stage - 2)
        for k in range(1, count + 1):
            strides = 2 if k == 1 and stage > 2 and dilation == 1 else 1
            unit = _Unit(f"conv{stage}_{k}", filters, strides, dilation, architecture.bottleneck, options, initializer)
            if architecture.version == 1:
                x = _unit_v1(x, unit)
            else:
                x = _unit_v2(x, unit, is_first=(stage, k) == (2, 1))
    if architecture.version == 2:
        x = BatchNormalization(name="post_bn", momentum=MOMENTUM, epsilon=EPSILON)(x)
        x = layers.ReLU(name="post_relu")(x)
    return x


def _check_options(builder: str, architecture: Architecture, options: UnitOptions) -> None:
    """Raise ArgumentError if an option has no meaning for the network."""
    if options.stride_on is not None and not architecture.bottleneck:
        raise ArgumentError(
            f"{builder}: `stride_on` chooses a layer of bottlenecks, and there are none here; leave it out. "
            f"Received: stride_on={options.stride_on!r}"
        )
    if options.residual is False and options.shortcut is not None:
        raise ArgumentError(
            f"{builder}: there are no shortcuts with residual=False; leave `shortcut` out. "
            f"Received: shortcut={options.shortcut!r}"
        )


def _stem(x: keras.KerasTensor, architecture: Architecture, initializer: Any) -> keras.KerasTensor:
    """Return the input of the first unit."""
    stem = partial(conv_bn, kernel_initializer=initializer, momentum=MOMENTUM, epsilon=EPSILON)
    if architecture.cifar:
        return stem(x, 16, 3, "conv1")  # 32x32
    x = stem(x, 64, 7, "conv1", strides=2)  # 112x112
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    return layers.MaxPooling2D(3, 2, name="pool1")(x)  # 56x56


@dataclasses.dataclass(frozen=True)
class _Unit:
    """One residual unit.

    Attributes:
        name: beginning of its layers' names.
        filters: channels of its first convolution.
        strides: 2 if the unit halves height and width, else 1.
        dilation: distance of the positions of its 3x3 kernels.
        bottleneck: whether the unit has three convolutions.
        options: the network's options, all of them known.
        initializer: initializer of the kernels.
    """

    name: str
    filters: int
    strides: int
    dilation: int
    bottleneck: bool
    options: UnitOptions
    initializer: Any

    @property
    def convolutions(self) -> list[tuple[str, int, int, dict[str, Any]]]:
        """(name, filters, kernel size, strides and dilation) of each convolution."""
        if self.bottleneck:
            sizes = [(self.filters, 1), (self.filters, 3), (4 * self.filters, 1)]
        else:
            sizes = [(self.filters, 3), (self.filters, 3)]
        strided = 2 if self.bottleneck and self.options.stride_on == "3x3" else 1
        return [
            (
                f"{self.name}_conv{k}",
                filters,
                kernel_size,
                {
                    "strides": self.strides if k == strided else 1,
                    "dilation_rate": self.dilation if kernel_size > 1 else 1,
                },
            )
            for k, (filters, kernel_size) in enumerate(sizes, 1)
        ]

    def projects(self, channels_in: int, channels_out: int) -> bool:
        """Return whether the shortcut is a 1x1 convolution."""
        kind = self.options.shortcut
        return kind == "C" or (kind == "B" and self.changes_shape(channels_in, channels_out))

    def changes_shape(self, channels_in: int, channels_out: int) -> bool:
        """Return whether input and output of the unit have different shapes."""
        return self.strides > 1 or channels_in != channels_out


def _unit_v1(x: keras.KerasTensor, unit: _Unit) -> keras.KerasTensor:
    """Return a unit of version 1 (first paper, figure 5)."""
    convolve = partial(conv_bn, kernel_initializer=unit.initializer, momentum=MOMENTUM, epsilon=EPSILON)
    y = x
    *inner, last = unit.convolutions
    for name, filters, kernel_size, steps in inner:
        y = convolve(y, filters, kernel_size, name, **steps)
    name, filters, kernel_size, steps = last
    y = convolve(y, filters, kernel_size, name, **steps, relu=False)  # The unit's ReLU follows the addition.

    channels_in, channels_out = x.shape[-1], y.shape[-1]
    if unit.options.residual:
        if unit.projects(channels_in, channels_out):
            x = convolve(x, channels_out, 1, f"{unit.name}_shortcut", strides=unit.strides, relu=False)
        elif unit.changes_shape(channels_in, channels_out):
            x = ZeroPadShortcut(channels_out, unit.strides, name=f"{unit.name}_shortcut")(x)
        y = layers.Add(name=f"{unit.name}_add")([x, y])
    return layers.ReLU(name=f"{unit.name}_out")(y)


def _unit_v2(x: keras.KerasTensor, unit: _Unit, is_first: bool) -> keras.KerasTensor:
    """Return a unit of version 2 (second paper, figure 4(e)).

    Args:
        x: feature maps (batch, height, width, channels).
        unit: what the unit is built from.
        is_first: whether the unit follows the stem, which ends with the normalization and ReLU that the unit's first
            convolution needs.
    """
    convolve = partial(conv, kernel_initializer=unit.initializer, use_bias=False)
    activated = y = x
    for k, (name, filters, kernel_size, steps) in enumerate(unit.convolutions):
        if k > 0 or not is_first:
            y = BatchNormalization(name=f"{name}_bn", momentum=MOMENTUM, epsilon=EPSILON)(y)
            y = layers.ReLU(name=f"{name}_relu")(y)
        if k == 0:
            activated = y
        y = convolve(y, filters, kernel_size, name, **steps)

    channels_in, channels_out = x.shape[-1], y.shape[-1]
    if unit.options.residual:
        # Projections and zero padding take the activated maps; an identity shortcut takes the unit's input.
        if unit.projects(channels_in, channels_out):
            x = convolve(activated, channels_out, 1, f"{unit.name}_shortcut", strides=unit.strides)
        elif unit.changes_shape(channels_in, channels_out):
            x = ZeroPadShortcut(channels_out, unit.strides, name=f"{unit.name}_shortcut")(activated)
        y = layers.Add(name=f"{unit.name}_add")([x, y])
    return layers.Identity(name=f"{unit.name}_out")(y)
