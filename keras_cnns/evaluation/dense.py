"""Classifiers turned into convolutions, for whole images of any size."""

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import keras
from keras import layers

from keras_cnns import _graph, _models
from keras_cnns import layers as our_layers
from keras_cnns.errors import ArgumentError
from keras_cnns.tasks import classifiers

# Layers that work on the last axis alone, so that more axes in front of it do not matter
PER_POSITION = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Identity, layers.Rescaling),
    *(layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum),
    *(our_layers.Maxout, our_layers.RBFOutput),
)
LINEAR = (layers.Identity, layers.Rescaling, layers.Dropout, layers.AlphaDropout, layers.GaussianNoise)


class _NotLinear(Exception):
    """An operation after a mean over positions is not linear.

    Such a mean cannot be moved to the end of the network.
    """


def dense_model(model: keras.Model) -> keras.Model:
    """Turn a classifier into a model that outputs maps of logits.

    The input of this model can have any size. These layers change:

    - A dense layer becomes a convolution. The first one after a `Flatten` has the size of the flattened map, the others
      are 1x1.
    - A global average pool is removed, and the layers after it are applied at each position. The mean of the map is
      then what the pool would have given.
    - If that is not the same, because the head is not linear, the pool becomes a window of the size that the map has at
      the training size. A global maximum always becomes such a window.

    At the training size the mean of the map equals the model's logits. Layers with "same" padding pad by what the new
    size needs.

    Args:
        model: functional or sequential `keras.Model` from (batch, height, width, channels) to (batch, classes).
            Auxiliary heads and the softmax are left out, and a single sigmoid becomes the logits of two classes. Its
            layers are shared with the result, except that dense layers are copied.

    Returns:
        Functional `keras.Model` from (batch, any height, any width, channels) to (batch, rows, columns, classes).
        Images smaller than the training size can be too small for it.

    Raises:
        ArgumentError: (a ValueError) if a layer cannot be applied at every position.

    Reference:
        K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        section 3.2; P. Sermanet et al.: OverFeat, ICLR 2014, section 3.5.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns import applications, evaluation
        >>> model = evaluation.dense_model(applications.LeNet5Modern())
        >>> model.predict(np.zeros((1, 32, 36, 1)), verbose=0).shape  # a map of logits
        (1, 2, 3, 10)
    """
    main = classifiers.two_classes(_models.main_output(model))
    channels = classifiers.one_image_input(main)[-1]
    logits = _graph.graph_of(classifiers.without_softmax(main))
    try:
        return _convert(logits, channels, windows=False)
    except _NotLinear:
        return _convert(logits, channels, windows=True)


def _convert(model: keras.Model, channels: int, windows: bool) -> keras.Model:
    """Return the dense model; with `windows`, global pools become windows."""
    conversion = _Conversion(model, windows)
    inputs = keras.Input((None, None, channels), dtype=model.inputs[0].dtype, name=model.inputs[0].name)
    output = keras.tree.flatten(_graph.follow(model, [inputs], conversion.convert))[0]
    if not conversion.is_vector_map(output):
        raise ArgumentError(
            f"{model.name}: its logits must come from dense layers or a global pool, so that every position has some. "
            f"Received: model={model.name!r}"
        )
    return keras.Model(inputs, output, name=f"{model.name}_dense")


class _Conversion:
    """Applies the operations of a classifier to maps, in their order.

    Where the classifier has a vector, the new model has a map with one such vector at each position. The sets below
    hold these maps by the `id` of their tensors, which the graph keeps alive.

    Attributes:
        flattened: dictionary from a map that the classifier flattens to its (height, width, channels) at the training
            size. The next dense layer becomes a convolution of this size.
        vector_maps: maps with one vector per position, after a dense layer or a global pool.
        averaged: those of them that come from a global average pool which was removed. Their mean is what the
            classifier has, as long as what follows is linear.
    """

    def __init__(self, model: keras.Model, windows: bool):
        self.model, self.windows = model, windows
        # In the order in which `follow` calls `convert`, with the shapes at the training size
        self.uses = iter(_graph.walk(model)[1])
        self.flattened: dict[int, tuple[int, ...]] = {}
        self.vector_maps: set[int] = set()
        self.averaged: set[int] = set()

    def is_vector_map(self, tensor: keras.KerasTensor) -> bool:
        """Return whether a tensor has one vector at each position."""
        return id(tensor) in self.vector_maps

    def convert(self, name: str, operation: Any, args: Any, kwargs: Any) -> Any:
        """Return the output of one operation, applied to maps."""
        use = next(self.uses)
        inputs = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        shape = tuple(use.inputs[0].shape[1:])
        averaged = _any_in(inputs, self.averaged)
        if averaged and not _is_linear(operation):
            raise _NotLinear
        if isinstance(operation, layers.Dense):
            output = self._dense(operation, inputs, shape, lambda: operation(*args, **kwargs))
        elif isinstance(operation, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D):
            output = self._global_pool(name, operation, inputs[0], shape)
        elif isinstance(operation, layers.Flatten | layers.Reshape) and len(use.outputs[0].shape) == 2:
            output = self._flatten(name, operation, inputs[0], shape)
        elif _any_in(inputs, self.flattened) or _any_in(inputs, self.vector_maps):
            operation = self._per_position(name, operation, inputs, shape)
            output = operation(*args, **kwargs)
            self._mark_like(inputs, output)
        else:
            output = operation(*args, **kwargs)
        if averaged:
            self.averaged.add(id(output))
        return output

    def _dense(
        self, layer: layers.Dense, inputs: list[keras.KerasTensor], shape: tuple[int, ...], apply: Callable[[], Any]
    ) -> Any:
        """Apply a dense layer, to a map as a convolution."""
        if _any_in(inputs, self.flattened):
            output = _convolution(layer, self.flattened[id(inputs[0])])(inputs[0])
        elif _any_in(inputs, self.vector_maps):
            output = _convolution(layer, (1, 1, shape[-1]))(inputs[0])
        else:
            return apply()
        self.vector_maps.add(id(output))
        return output

    def _global_pool(self, name: str, pool: Any, x: keras.KerasTensor, shape: tuple[int, ...]) -> keras.KerasTensor:
        """Leave out a global average pool, or pool by a window."""
        if self.windows:
            if None in shape:
                self._refuse(name, pool, "its head is not linear, and the model has no training size; build it for one")
            is_maximum = isinstance(pool, layers.GlobalMaxPooling2D)
            kind = layers.MaxPooling2D if is_maximum else layers.AveragePooling2D
            output = kind(shape[:2], 1, name=pool.name, dtype=pool.dtype_policy)(x)
        elif isinstance(pool, layers.GlobalMaxPooling2D):
            raise _NotLinear
        else:
            output = layers.Identity(name=pool.name, dtype=pool.dtype_policy)(x)
            self.averaged.add(id(output))
        self.vector_maps.add(id(output))
        return output

    def _flatten(self, name: str, layer: Any, x: keras.KerasTensor, shape: tuple[int, ...]) -> keras.KerasTensor:
        """Return the map itself, and remember its size."""
        # A new tensor, because the same map may also be used without being flattened
        output = layers.Identity(name=layer.name, dtype=layer.dtype_policy)(x)
        if _any_in([x], self.flattened) or _any_in([x], self.vector_maps):
            self._mark_like([x], output)
        elif None in shape:
            self._refuse(name, layer, "the size of the map that it flattens is not known; build the model for one size")
        else:
            self.flattened[id(output)] = shape
        return output

    def _per_position(self, name: str, operation: Any, inputs: list[keras.KerasTensor], shape: tuple[int, ...]) -> Any:
        """Return an operation on vectors as one at every position."""
        joins = isinstance(operation, layers.Concatenate) and operation.axis in (-1, len(shape))
        normalizes = isinstance(operation, layers.BatchNormalization | layers.LayerNormalization)
        is_map = len(shape) == 3  # 1x1 at the training size, after a pool with keepdims
        if _any_in(inputs, self.flattened) and not isinstance(operation, PER_POSITION):
            self._refuse(name, operation, "only a dense layer, a dropout or an activation can follow what is flattened")
        if not all(id(x) in self.vector_maps or id(x) in self.flattened for x in inputs):
            self._refuse(name, operation, "it joins what was pooled from the whole image with a map")
        if not (isinstance(operation, PER_POSITION) or joins or normalizes or (is_map and _is_1x1(operation))):
            self._refuse(name, operation, "it is not known to work on each position alone")
        if joins:
            return layers.Concatenate(axis=-1, name=operation.name)
        if normalizes and not is_map:
            return _normalization(operation, shape)
        return operation

    def _mark_like(self, inputs: list[keras.KerasTensor], output: keras.KerasTensor) -> None:
        """Mark an output as the same kind of map as the inputs."""
        if _any_in(inputs, self.flattened):
            self.flattened[id(output)] = self.flattened[id(inputs[0])]
        else:
            self.vector_maps.add(id(output))

    def _refuse(self, name: str, operation: Any, reason: str) -> NoReturn:
        raise ArgumentError(
            f"{self.model.name}: `{name}`, a {type(operation).__name__}, cannot be applied at every position of an "
            f"image: {reason}. Received: model={self.model.name!r}"
        )


def _any_in(tensors: Iterable[keras.KerasTensor], maps: Any) -> bool:
    """Return whether one of the tensors is in a collection of ids."""
    return any(id(tensor) in maps for tensor in tensors)


def _is_1x1(operation: Any) -> bool:
    return isinstance(operation, layers.Conv2D) and tuple(operation.kernel_size) == (1, 1)


def _is_linear(operation: Any) -> bool:
    """Return whether an operation on vectors is linear."""
    if isinstance(operation, layers.Dense):
        return operation.activation is keras.activations.linear
    if isinstance(operation, layers.Conv2D):
        return operation.activation is keras.activations.linear and _is_1x1(operation)
    if isinstance(operation, layers.Activation):
        return operation.activation is keras.activations.linear
    return isinstance(operation, (*LINEAR, layers.BatchNormalization, layers.Flatten, layers.Reshape))


def _convolution(dense: layers.Dense, shape: tuple[int, ...]) -> layers.Conv2D:
    """Return a dense layer on maps of a shape as a convolution.

    Args:
        dense: the dense layer, which is copied.
        shape: (height, width, channels) of the maps.
    """
    *window, channels = shape
    layer = layers.Conv2D(
        dense.units,
        window,
        activation=dense.activation,
        use_bias=dense.use_bias,
        name=dense.name,
        dtype=dense.dtype_policy,
    )
    layer.build((None, None, None, channels))
    kernel, *bias = dense.get_weights()
    layer.set_weights([kernel.reshape(*window, channels, dense.units), *bias])
    return layer


def _normalization(layer: Any, shape: tuple[int, ...]) -> Any:
    """Return a normalization of vectors as one of the channels of maps."""
    copy = type(layer).from_config({**layer.get_config(), "axis": -1})
    copy.build((None, None, None, shape[-1]))
    copy.set_weights(layer.get_weights())
    return copy
