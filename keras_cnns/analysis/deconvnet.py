"""What in an image excites a unit: its activation projected down to the pixels."""

import numpy as np
from keras import ops

from keras_cnns import _render
from keras_cnns.analysis import _backward, _classes, _gradients
from keras_cnns.analysis.activations import (
    check_model,
    check_unit,
    in_batches,
    layer_shape,
    output_of,
    top_activations,
)
from keras_cnns.errors import ArgumentError, nearest


class DeconvNet:
    """A network that goes the way of another one backwards, from a unit's activation down to the pixels.

    What happens to the signal at each layer on its way down:

    - Convolutions and dense layers: the same filters transposed, without biases.
    - Max pools: it goes to the places where the maxima were ("switches"), of equal ones to the first; where windows
      overlap, signals add up. Global max pools and maxout: likewise, equal maxima share.
    - ReLU, given as a layer, as `activation=` or as an operation of `keras.ops`: it goes through a ReLU itself,
      whatever the activation was. A cap or a threshold (`max_value`, `threshold`, ReLU6) is not applied to it; a
      slope below zero (`negative_slope`, leaky ReLU) is, with no kink left at slope 1.
    - Local response normalization (`keras_cnns.layers`): nothing; the paper has none on the way down.
    - Batch normalization: its scale, as if it were part of the filters.
    - Branches: where they part on the way up, their signals are added; a concatenation gives each its own channels.
      Sums give the signal to each summand; average pools spread it.
    - Any other layer, other activations too: its own derivative at the image. So is a ReLU that a custom layer
      computes itself, or one written as `ops.maximum(x, 0)`.

    Computed in float32, also for models of mixed precision. While it computes, the model's ReLUs are replaced: do not
    use the model in another thread.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels), channels
            last, and at least one ReLU.

    Raises:
        ArgumentError: (a ValueError) if the model has no ReLU or is no graph of layers.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, section 2.1. That there
        is no contrast normalization on the way down is said in the first version, arXiv 1311.2901v1.
    """

    def __init__(self, model):
        _backward.check_relu(model, "`saliency`")
        self.model = model

    def project(self, images, layer, unit, position="max", batch_size=None):
        """Return a unit's activation in each image, projected down to the pixels.

        All other activations of the layer are set to zero.

        Args:
            images: float32 array (images, height, width, channels), as the model takes them.
            layer: name of a layer of the model, "nested/conv1" in a nested model, or the layer itself.
            unit: number of a channel, or of a unit of a dense layer.
            position: "max", the strongest of the unit's map in each image, of equal ones the first; (row, column);
                or "all", the whole map.
            batch_size: images at a time. None: many small ones, few large ones.

        Returns:
            float32 array like `images`, in the units of the images; zeros where the unit is silent.

        Raises:
            ArgumentError: (a ValueError) if the layer, the unit or the position does not exist, or the images do
                not fit the model.
        """
        model, name = check_model(self.model, layer)
        images = _classes.check_images(model, images)
        shape = layer_shape(model, name, images.shape[1:])
        unit = check_unit(shape, unit, name)
        place = _place(shape[1:-1], position, name)

        def activation(batch):
            maps = output_of(model, batch, name, _backward.deconvolution)[..., unit]
            flat = ops.reshape(maps, (len(maps), -1))
            signal = ops.stop_gradient(flat)
            if place != "all":
                chosen = ops.argmax(flat, axis=1) if place == "max" else [place]
                signal *= ops.one_hot(chosen, flat.shape[1])
            return flat * signal

        batches = in_batches(images, batch_size, gradients=True)
        return np.concatenate([_gradients.gradients(activation, batch)[1][0] for batch in batches])


def draw_projections(model, images, layer, units, path, count=9, title=None):
    """Draw the images that excite units most, as far as the units see, beside their projections, into one PNG.

    Args:
        model, images, layer, count: as in `top_activations`.
        units: numbers of channels, or of units of a dense layer.
        path: PNG file to write.
        title: above the image. None: the names of model and layer.

    Returns:
        A list of `TopActivations`, one a unit.

    Raises:
        ArgumentError: (a ValueError) as `top_activations` and `DeconvNet` do.

    Reference:
        Zeiler and Fergus 2014, figure 2.
    """
    net = DeconvNet(model)
    tops = top_activations(model, images, layer, list(units), count)
    rows = [
        (f"{top.layer}, unit {top.unit}", top.values, top.images, net.project(top.images, layer, top.unit), top.boxes)
        for top in tops
    ]
    title = f"{model.name}: what excites units of {tops[0].layer}" if title is None else title
    _render.projection_grid(rows, path, title)
    return tops


def _place(sides, position, layer):
    """Return "max", "all", or the number of a place in a map of such sides; raise ArgumentError if there is none."""
    if isinstance(position, str):
        if position not in ("max", "all"):
            raise ArgumentError(
                f"`position` must be 'max', 'all' or (row, column).{nearest(position, ('max', 'all'))} "
                f"Received: position={position!r}"
            )
        return position
    place = np.asarray(position)
    fits = place.shape == (len(sides),) and np.issubdtype(place.dtype, np.integer)
    if not fits or (place < 0).any() or (place >= sides).any():
        map_of = (
            f"(row, column) in the map of {layer}, {' x '.join(map(str, sides))}"
            if sides
            else f"left out: {layer} has no map"
        )
        raise ArgumentError(f"`position` must be 'max', 'all' or {map_of}. Received: position={position!r}")
    return int(np.ravel_multi_index(tuple(place), sides))
