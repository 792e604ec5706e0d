"""Filters of convolutions of any kind."""

import keras
import numpy as np
from keras import layers

from keras_cnns import _graph
from keras_cnns import layers as our_layers
from keras_cnns.analysis import _outputs
from keras_cnns.errors import ArgumentError


def filters(model: keras.Model, layer: str | keras.Layer) -> np.ndarray:
    """Return the filter of each output channel of a convolution.

    Args:
        model: functional or sequential `keras.Model`.
        layer: a convolution of the model, or its name ("nested/conv1" in a nested model). It may be `Conv2D` or a
            subclass, grouped, depthwise, separable, transposed, or `ConnectionTableConv2D`.

    Returns:
        float32 (outputs, height, width, channels). `channels` are those of the layer's input, with these exceptions:
        the channels of one group if the layer has groups; 1 for a depthwise convolution, whose outputs are sorted by
        input channel. For a separable convolution the filter is the product of both steps. For a transposed one it
        is what the layer adds to its output around each input position.

    Raises:
        ArgumentError: if the layer is not in the model, or is not a convolution of images.

    Examples:
        >>> from keras_cnns import analysis, applications
        >>> analysis.filters(applications.LeNet5(), "C1").shape
        (6, 5, 5, 1)
    """
    name = _graph.check_layer(model, layer)
    uses = _graph.walk(model)[1]
    operation = next(use.operation for use in uses if use.name == name)
    kernel = _kernel(operation)
    if kernel is None:
        known = [use.name for use in uses if _kernel(use.operation) is not None]
        cure = f"one of {', '.join(known[:5])}{', ...' if len(known) > 5 else ''}" if known else "this model has none"
        raise ArgumentError(
            f"`layer` must be a convolution of images: {cure}; {name} is a {type(operation).__name__}. "
            f"Received: layer={name!r}"
        )
    return np.ascontiguousarray(kernel.transpose(3, 0, 1, 2), "float32")


def _kernel(layer: keras.Operation) -> np.ndarray | None:
    """Return a convolution's kernel (height, width, channels, outputs), or None."""
    if isinstance(layer, layers.Conv2DTranspose):
        return _outputs.as_array(layer.kernel).swapaxes(2, 3)
    if isinstance(layer, layers.SeparableConv2D):
        depthwise = _outputs.as_array(layer.depthwise_kernel)
        pointwise = _outputs.as_array(layer.pointwise_kernel)[0, 0].reshape(*depthwise.shape[2:], -1)
        return np.einsum("hwcm,cmo->hwco", depthwise, pointwise)
    if isinstance(layer, layers.DepthwiseConv2D):
        kernel = _outputs.as_array(layer.kernel)
        return kernel.reshape(*kernel.shape[:2], 1, -1)
    if isinstance(layer, our_layers.ConnectionTableConv2D):
        # `places` points missing connections to one entry after the last, which is zero here.
        connections = np.pad(_outputs.as_array(layer.kernel), [(0, 0), (0, 0), (0, 1)])
        return connections[..., layer.places].reshape(*connections.shape[:2], -1, len(layer.table))
    return _outputs.as_array(layer.kernel) if isinstance(layer, layers.Conv2D) else None
