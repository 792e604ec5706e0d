"""The filters of convolutions of any kind."""

import numpy as np
from keras import layers

from keras_cnns import _graph
from keras_cnns import layers as our_layers
from keras_cnns.analysis import _outputs
from keras_cnns.errors import ArgumentError


def filters(model, layer):
    """Return what each output channel of a convolution multiplies its window with.

    Args:
        model: functional or sequential `keras.Model`.
        layer: name of a convolution of it, "nested/conv1" in a nested model, or the layer itself: `Conv2D` and its
            subclasses, grouped, depthwise, separable or transposed ones, or `ConnectionTableConv2D`.

    Returns:
        float32 (outputs, height, width, channels). `channels` are the input's; those of a group, if the inputs are
        divided into groups; 1 of a depthwise convolution, whose outputs are sorted by input channel. Of a separable
        one, the filter that both of its steps make together; of a transposed one, what it adds to its output around
        each input.

    Raises:
        ArgumentError: if the layer is not in the model, or no convolution of images.
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


def _kernel(layer):
    """Return the kernel (height, width, channels, outputs) of a convolution, None of another layer."""
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
        connections = np.pad(_outputs.as_array(layer.kernel), [(0, 0), (0, 0), (0, 1)])  # zeros for those that lack
        return connections[..., layer.places].reshape(*connections.shape[:2], -1, len(layer.table))
    return _outputs.as_array(layer.kernel) if isinstance(layer, layers.Conv2D) else None
