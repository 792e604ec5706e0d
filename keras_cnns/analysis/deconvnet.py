"""Deconvnet: the activation of a unit, projected back to the pixels."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_cnns import _render
from keras_cnns.analysis import _backward, _classes, _gradients, _outputs
from keras_cnns.analysis.activations import TopActivations, check_unit, top_activations
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.typing import Images, Path


class DeconvNet:
    """Project activations of a network back to the pixels.

    Each kind of layer treats the signal on its way down as follows:

    - Convolutions and dense layers: the same filters transposed, without biases.
    - Max pools: the signal goes to the places of the maxima ("switches"); among equal values, to the first. Where
      windows overlap, signals add up. Global max pools and maxout do the same, but equal maxima share the signal.
    - ReLU, as a layer, as `activation=` or as an operation of `keras.ops`: the signal goes through a ReLU, whatever
      the activation was. A cap or a threshold (`max_value`, `threshold`, ReLU6) is not applied to it. A slope below
      zero (`negative_slope`, leaky ReLU) is applied; with slope 1 nothing is rectified.
    - Local response normalization (`keras_cnns.layers`): unchanged; the paper has none on the way down.
    - Batch normalization: its scale, as if it were part of the filters.
    - Branches: a concatenation gives each branch its channels, a sum gives the signal to each summand, and where
      branches fork their signals are added. Average pools spread the signal.
    - Any other layer or activation: its derivative at the image. This includes a ReLU that a custom layer computes
      internally, and one written as `ops.maximum(x, 0)`.

    Everything is computed in float32, also for models with mixed precision. During the computation the model's ReLUs
    are replaced, so do not use the model in another thread.

    Args:
        model: functional or sequential `keras.Model` with one image input (batch, height, width, channels), channels
            last, and at least one ReLU.

    Raises:
        ArgumentError: (a ValueError) if the model has no ReLU or no graph of layers.

    Reference:
        M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, section 2.1. The first
        version, arXiv 1311.2901v1, says that there is no contrast normalization on the way down.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> net = analysis.DeconvNet(applications.NiN())
        >>> net.project(np.ones((2, 32, 32, 3)), "conv1", unit=3).shape
        (2, 32, 32, 3)
    """

    def __init__(self, model: keras.Model) -> None:
        _backward.check_relu(model, "`saliency`")
        self.model = model

    def project(
        self,
        images: Images,
        layer: str | keras.Layer,
        unit: int,
        position: str | Sequence[int] = "max",
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Return a unit's activation in each image, projected to the pixels.

        All other activations of the layer are set to zero.

        Args:
            images: float32 array (images, height, width, channels), as the model takes them.
            layer: a layer of the model, or its name ("nested/conv1" in a nested model).
            unit: number of a channel, or of a unit of a dense layer.
            position: "max": the strongest position of the unit's map in each image, among equal ones the first;
                (row, column): this position; "all": the whole map.
            batch_size: images at a time. None: chosen by the size of the images.

        Returns:
            float32 array of the images' shape and unit; zeros where the unit is silent.

        Raises:
            ArgumentError: (a ValueError) if the layer, the unit or the position does not exist, or the images do
                not fit the model.
        """
        model, name = _outputs.prepare_model_and_layer(self.model, layer)
        images = _classes.check_images(model, images)
        shape = _outputs.layer_shape(model, name, images.shape[1:])
        unit = check_unit(shape, unit, name)
        place = _flat_position(shape[1:-1], position, name)

        def half_squared_activation(batch: Any) -> Any:
            maps = _outputs.layer_tensor(model, batch, name, _backward.deconvnet_rule)[..., unit]
            flat = ops.reshape(maps, (len(maps), -1))
            signal = ops.stop_gradient(flat)
            if place != "all":
                chosen = ops.argmax(flat, axis=1) if place == "max" else [place]
                signal *= ops.one_hot(chosen, flat.shape[1])
            # The gradient of `flat * signal` is `signal`, because `signal` counts as a constant.
            return flat * signal

        batches = _outputs.split_into_batches(images, batch_size, with_gradients=True)
        return np.concatenate([_gradients.gradients(half_squared_activation, batch)[1][0] for batch in batches])


def draw_projections(
    model: keras.Model,
    images: Images,
    layer: str | keras.Layer,
    units: Iterable[int],
    path: Path,
    count: int = 9,
    title: str | None = None,
) -> list[TopActivations]:
    """Draw the images that excite units most beside their projections.

    Of each image the plot shows the part that the unit sees.

    Args:
        model: functional or sequential `keras.Model` with one image input and at least one ReLU.
        images: float32 array (images, height, width, channels), as the model takes them.
        layer: a layer of the model, or its name ("nested/conv1" in a nested model).
        units: numbers of channels, or of units of a dense layer.
        path: PNG file to write.
        count: images per unit.
        title: title of the plot. None: the names of model and layer.

    Returns:
        One `TopActivations` per unit.

    Raises:
        ArgumentError: (a ValueError) if the layer or a unit does not exist, the images do not fit the model, or it has
            no ReLU.

    Reference:
        Zeiler and Fergus 2014, figure 2.

    Examples:
        >>> import os
        >>> import numpy as np
        >>> from keras_cnns import analysis, applications
        >>> images = np.random.default_rng(0).normal(size=(20, 32, 32, 3))
        >>> tops = analysis.draw_projections(applications.NiN(), images, "conv1", [0, 3], "units.png")
        >>> [top.unit for top in tops], os.listdir()
        ([0, 3], ['units.png'])
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


def _flat_position(sides: tuple[int | None, ...], position: str | Sequence[int], layer: str) -> str | int:
    """Return "max", "all", or the index in the flattened map.

    Args:
        sides: (rows, columns) of the map; () for a dense layer.
        position: as in `DeconvNet.project`.
        layer: name of the layer, for the error.

    Raises:
        ArgumentError: if there is no such position.
    """
    if isinstance(position, str):
        if position not in ("max", "all"):
            raise ArgumentError(
                f"`position` must be 'max', 'all' or (row, column).{nearest(position, ('max', 'all'))} "
                f"Received: position={position!r}"
            )
        return position
    place = np.asarray(position)
    fits = place.shape == (len(sides),) and np.issubdtype(place.dtype, np.integer)
    if not fits or (place < 0).any() or (place >= np.array(sides, int)).any():
        map_of = (
            f"(row, column) in the map of {layer}, {' x '.join(map(str, sides))}"
            if sides
            else f"left out: {layer} has no map"
        )
        raise ArgumentError(f"`position` must be 'max', 'all' or {map_of}. Received: position={position!r}")
    return int(np.ravel_multi_index(tuple(place), tuple(np.array(sides, int))))
