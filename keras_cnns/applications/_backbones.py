"""Classifiers as the bodies of other networks.

Where they have their maps, and their dense layers as convolutions.
"""

import dataclasses
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from keras_cnns import applications
from keras_cnns.applications._arguments import Settings, choose, source_inputs
from keras_cnns.applications._facts import FACTS
from keras_cnns.applications._registry import create_model
from keras_cnns.applications._weights import find as find_weights
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Path


class Layout(NamedTuple):
    """Where a classifier has its maps.

    Attributes:
        stride: pixels of the image per position of the last maps.
        half: beginning of the names of layers at half of that stride; the last of them counts.
        quarter: the same at a quarter of that stride.
        margin: pixels that its unpadded convolutions use up.
        fc6: side of the maps that its first dense layer sees; None without dense layers.
    """

    stride: int
    half: str
    quarter: str
    margin: int = 0
    fc6: int | None = None


# Public name, or file, of the networks that can be a backbone
LAYOUTS = {
    "vgg": Layout(32, "pool4", "pool3", fc6=7),
    "AlexNet": Layout(32, "pool2", "pool1", margin=7, fc6=6),
    "CaffeNet": Layout(32, "norm2", "norm1", margin=7, fc6=6),
    "AlexNetOneTower": Layout(32, "pool2", "pool1", margin=31, fc6=6),
    "zfnet": Layout(32, "norm2", "conv2", margin=15, fc6=6),
    "googlenet": Layout(32, "inception_4", "inception_3"),
    "inception_v2": Layout(32, "inception_4d", "inception_3b"),
    "inception_v3": Layout(32, "mixed_6", "mixed_5", margin=43),
    "resnet": Layout(32, "conv4_", "conv3_"),
    "resnet_v2": Layout(32, "conv4_", "conv3_"),
    "resnet_cifar": Layout(4, "conv3_", "conv2_"),
    "NiN": Layout(4, "cccp4", "cccp2"),
    "NiNImageNet": Layout(32, "cccp6", "cccp4", margin=7),
    "LeNet5": Layout(4, "C3", "C1", margin=28),
    "LeNet5Modern": Layout(4, "C3", "C1", margin=8),
}
# Keyword arguments that are not options of a body; the last two are of LeNet-5's top
OTHER_ARGUMENTS = {"dropout", "kernel_initializer", "bias_initializer", "codes", "head"}


def backbones() -> list[str]:
    """Return the public names of all networks that can be a backbone."""
    return [name for name, file in applications._BUILDERS.items() if name in LAYOUTS or file in LAYOUTS]


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A classifier that becomes the body of another network.

    Attributes:
        name: public name of the classifier.
        options: its own options.
        weights: the argument `weights` to start it from, or None.
    """

    name: str
    options: Mapping[str, Any]
    weights: Path | None

    @classmethod
    def of(
        cls,
        settings: Settings,
        weights: Path | None,
        backbone_weights: Path | None,
        allowed: Sequence[str] | None = None,
    ) -> "Backbone":
        """Return the backbone of a network, after a check of its arguments.

        Args:
            settings: what the network is built from, with the options "backbone" and "backbone_options".
            weights: the network's argument `weights`.
            backbone_weights: the network's argument `backbone_weights`.
            allowed: public names to choose from; None: all of `backbones()`.

        Raises:
            ArgumentError: if the classifier cannot be a backbone, or both weights are given.
        """
        name, options = settings.options["backbone"], settings.options["backbone_options"]
        choose(settings.builder, "backbone", name, backbones() if allowed is None else allowed)
        if weights is not None and backbone_weights is not None:
            raise ArgumentError(
                f"{settings.builder}: `weights` replace those of the backbone; pass one of the two. "
                f"Received: weights={weights!r}, backbone_weights={backbone_weights!r}"
            )
        if options is None:
            record = find_weights(name, backbone_weights)
            parameters = inspect.signature(getattr(applications, name)).parameters.values()
            own = {each.name for each in parameters if each.kind is each.KEYWORD_ONLY} - OTHER_ARGUMENTS
            options = {key: value for key, value in (record.network if record else {}).items() if key in own}
        return cls(name, options, backbone_weights)

    @property
    def layout(self) -> Layout:
        """Where it has its maps."""
        return LAYOUTS.get(self.name) or LAYOUTS[applications._BUILDERS[self.name]]

    def body(self, x: keras.KerasTensor, dropout: float, initializers: Mapping[str, Any]) -> keras.Model:
        """Return the classifier without its top, whose layers follow `x`.

        Args:
            x: images (batch, height, width, channels).
            dropout: its argument `dropout`.
            initializers: `kernel_initializer` and `bias_initializer` of its layers.
        """
        return create_model(
            self.name, include_top=False, input_tensor=x, dropout=dropout, **initializers, **self.options
        )

    def trained_weights(self, channels: int) -> dict[str, list[np.ndarray]]:
        """Return its weights by layer name.

        Those of fc6 and fc7 are kernels of convolutions; fc8 is left out. The classifier is built for it, and released
        again. Without `weights` the result is empty.

        Args:
            channels: of the images.

        Raises:
            ArgumentError: if fc6 was trained on maps of another size.
        """
        if self.weights is None:
            return {}
        side = self.layout.fc6
        # With any number of classes a file's own is free; the classifier would warn that fc8 is not loaded
        part = {"classes": 2} if side else {"include_top": False, "input_shape": (None, None, channels)}
        with warnings.catch_warnings(action="ignore"):
            classifier = create_model(self.name, weights=self.weights, **part, **self.options)
        values = {layer.name: layer.get_weights() for layer in classifier.layers if layer.weights}
        if side is None:
            return values
        del values["fc8"]
        flattened = classifier.get_layer("flatten").input.shape[1:3]
        if flattened != (side, side):
            height, width, _ = FACTS[self.name].input_shape
            raise ArgumentError(
                f"{self.name}: fc6 of these weights sees maps of {flattened[0]}x{flattened[1]}, and must see "
                f"{side}x{side}; train the classifier on images of {height}x{width} pixels. "
                f"Received: backbone_weights={self.weights!r}"
            )
        for dense, size in (("fc6", side), ("fc7", 1)):
            kernel, bias = values[dense]
            # Keras flattens maps by rows, columns and channels, as a kernel is stored
            values[dense] = [kernel.reshape(size, size, -1, kernel.shape[1]), bias]
        return values


def last_output(model: keras.Model, prefix: str) -> keras.KerasTensor:
    """Return the output of the last layer whose name begins so.

    Args:
        model: functional `keras.Model`.
        prefix: beginning of the name.
    """
    return [layer for layer in model.layers if layer.name.startswith(prefix)][-1].output


def model_of(x: keras.KerasTensor) -> keras.Model:
    """Return the functional model that computes a tensor.

    Args:
        x: Keras tensor.
    """
    return keras.Model(source_inputs(x), x)


def dense_as_convolutions(
    x: keras.KerasTensor,
    kernel_size: int,
    padding: str,
    dropout: float,
    initializers: Mapping[str, Any],
    *,
    rate: int = 1,
    channels: int = 4096,
    suffix: str = "",
) -> keras.KerasTensor:
    """Return the maps of fc7.

    A classifier's two hidden dense layers are computed at each position. Layers: fc6, drop6, fc7, drop7.

    Args:
        x: feature maps (batch, height, width, channels).
        kernel_size: side of fc6's kernel; without dilation, of the maps that the dense layer sees.
        padding: "valid", or "same" for as many positions as `x` has.
        dropout: share of fc6's and fc7's outputs to drop while training.
        initializers: `kernel_initializer` and `bias_initializer` of the convolutions.
        rate: distance of the positions of fc6's kernel.
        channels: of fc6 and fc7.
        suffix: end of the names of the layers.
    """
    relu = {"activation": "relu", **initializers}
    x = layers.Conv2D(channels, kernel_size, padding=padding, dilation_rate=rate, name=f"fc6{suffix}", **relu)(x)
    x = layers.Dropout(dropout, name=f"drop6{suffix}")(x)
    x = layers.Conv2D(channels, 1, name=f"fc7{suffix}", **relu)(x)
    return layers.Dropout(dropout, name=f"drop7{suffix}")(x)


def subsampled(
    values: dict[str, list[np.ndarray]], branches: Mapping[str, int], kernel_size: int, channels: int
) -> dict[str, list[np.ndarray]]:
    """Return a classifier's weights with smaller fc6 and fc7.

    Args:
        values: weights by layer name.
        branches: dictionary whose keys are the suffixes of the layers fc6 and fc7, of which there may be several.
        kernel_size: side of fc6's kernel.
        channels: of fc6 and fc7.

    Returns:
        The weights by layer name. Of fc6's kernel, 7x7, equally distant positions are kept, the corners among them, and
        of fc6's and fc7's channels every n-th.
    """
    if "fc6" not in values:
        return values
    (kernel6, bias6), (kernel7, bias7) = values.pop("fc6"), values.pop("fc7")
    kept = np.round(np.linspace(0, len(kernel6) - 1, kernel_size)).astype(int)
    units = np.round(np.linspace(0, len(bias6), channels, endpoint=False)).astype(int)
    kernel6 = kernel6[kept][:, kept][..., units]
    kernel7 = kernel7[..., units, :][..., units]
    for suffix in branches:
        values[f"fc6{suffix}"] = [kernel6, bias6[units]]
        values[f"fc7{suffix}"] = [kernel7, bias7[units]]
    return values


def set_weights(model: keras.Model, values: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Set the weights of layers by name.

    Args:
        model: `keras.Model`.
        values: arrays of each layer, in the layer's order.
    """
    for name, arrays in values.items():
        model.get_layer(name).set_weights(arrays)
