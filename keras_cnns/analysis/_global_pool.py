"""The global average pool at the end of a classifier."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import activations, layers, ops, tree

from keras_cnns import _graph
from keras_cnns import layers as our_layers
from keras_cnns.analysis import _outputs
from keras_cnns.errors import ArgumentError

# Only these classes themselves, because a subclass may compute anything.
LINEAR = {
    *(layers.Dense, layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D),
    *(layers.BatchNormalization, our_layers.BatchNormalization, layers.Rescaling, layers.Normalization),
    *(layers.Activation, layers.Identity, layers.Flatten, layers.Reshape),
    *(layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
}
# Classes of keras.ops that are linear
LINEAR_OPERATIONS = {"Cast", "Identity", "Reshape", "Squeeze"}


@dataclasses.dataclass(frozen=True)
class GlobalPool:
    """The global average pool at the end of a network.

    Attributes:
        pool: number of its use in `_graph.walk`.
        source: number of the use whose maps it averages.
        layer: name of that use.
    """

    pool: int
    source: int
    layer: str


def find_global_pool(model: keras.Model, input_shape: Sequence[int]) -> GlobalPool:
    """Return the global average pool that only linear steps follow.

    Args:
        model: functional `keras.Model`.
        input_shape: (height, width, channels) of the images.

    Raises:
        ArgumentError: if the model ends differently.
    """
    uses = _graph.walk(model, input_shape)[1]
    made_by: dict[int, int] = {}
    makers = []  # for each use, the numbers of the uses that computed its inputs
    for number, use in enumerate(uses):
        makers.append([made_by.get(id(x)) for x in use.inputs])
        made_by |= dict.fromkeys(map(id, use.outputs), number)
    last: int | None = len(uses) - 1
    fault = "it has no such pool"
    while last is not None and not _is_global_average(uses[last]):
        use = uses[last]
        linear = len(use.inputs) == 1 and _is_linear(use.operation)
        last = makers[last][0] if linear else None
        fault = fault if linear else f"`{use.name}` is neither"
    if last is not None:
        source = makers[last][0]
        if source is not None and len(uses[source].outputs) == 1:
            return GlobalPool(last, source, uses[source].name)
        fault = "no layer stands in front of the pool"
    raise ArgumentError(
        f"a class activation map needs a model that ends with a global average pool of a layer's maps, followed by "
        f"linear steps only; {fault}. Use `grad_cam`. Received: model={model.name}"
    )


def _is_global_average(use: _graph.Use) -> bool:
    """Return whether a layer computes the mean of each map."""
    operation, given, out = use.operation, use.inputs[0].shape, use.outputs[0].shape
    if len(use.inputs) != 1 or len(given) != 4:
        return False
    if isinstance(operation, layers.AveragePooling2D):
        return tuple(operation.pool_size) == tuple(given[1:3]) and tuple(out[1:3]) == (1, 1)
    if type(operation).__name__ == "Mean":  # of keras.ops
        axes = operation.axis if isinstance(operation.axis, (tuple, list)) else [operation.axis]
        return None not in axes and {axis % 4 for axis in axes} == {1, 2}
    return isinstance(operation, layers.GlobalAveragePooling2D)


def _is_linear(operation: keras.Operation) -> bool:
    """Return whether an operation is linear in inference, up to a bias."""
    kind = type(operation)
    if kind in LINEAR:
        return getattr(operation, "activation", activations.linear) is activations.linear
    return kind.__module__.startswith("keras.") and kind.__name__ in LINEAR_OPERATIONS


def logits_by_position(
    model: keras.Model, images: np.ndarray, pool: GlobalPool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the logits of the images and of each position alone.

    The steps after the pool get more rows than there are images: the means of the maps, then a row of zeros, whose
    logits are the bias, then the channels of each position.

    Args:
        model: functional `keras.Model` from images to logits.
        images: float array (images, height, width, channels), as the model takes them.
        pool: what `find_global_pool` returned.

    Returns:
        float32 arrays: logits (images, classes), bias (classes,), and the logits of each position, bias included,
        (images, rows, columns, classes).
    """
    number, maps = -1, None

    def visit(name: str, operation: keras.Operation, compute: Callable[[], Any]) -> Any:
        nonlocal number, maps
        number += 1
        output = compute()
        if number == pool.source:
            (maps,) = tree.flatten(output)
        if number == pool.pool:
            positions = ops.reshape(ops.cast(maps, output.dtype), (-1, *output.shape[1:]))
            output = ops.concatenate([output, ops.zeros_like(output[:1]), positions])
        return output

    (outputs,) = tree.flatten(_graph.run(model, ops.convert_to_tensor(images), visit))
    logits, count = _outputs.as_array(outputs), len(images)
    assert maps is not None  # the pool's source is a use of this model
    return logits[:count], logits[count], logits[count + 1 :].reshape(*maps.shape[:3], -1)
