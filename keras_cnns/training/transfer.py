"""Weights from another network, layer by layer, and layers that keep theirs."""

import difflib
import fnmatch
from collections.abc import Iterable
from typing import TYPE_CHECKING

from keras_cnns.errors import ArgumentError, nearest

if TYPE_CHECKING:
    import keras


def transfer_weights(
    model: "keras.Model", source_model: "keras.Model", layers: Iterable[str] | None = None
) -> list[str]:
    """Copy weights between layers of the same name and shapes.

    Args:
        model: `keras.Model` to copy into.
        source_model: `keras.Model` to copy from.
        layers: names of the layers to copy, each of which must fit. None: all that fit; the others stay as they are.

    Returns:
        The names of the layers copied, in the order of `model`.

    Raises:
        ArgumentError: if a layer of `layers` is missing, has no weights or other shapes, or if no layer fits. Nothing
            has been copied then.

    Examples:
        >>> from keras_cnns import applications, training
        >>> vgg11, vgg16 = (build(include_top=False) for build in (applications.VGG11, applications.VGG16))
        >>> training.transfer_weights(vgg16, vgg11, ["conv1_1", "conv2_1"])
        ['conv1_1', 'conv2_1']

    Reference:
        K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        section 3.1: the deeper networks start from net A's first four convolutions and its dense layers, here
        `layers=["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]`.
    """
    ours, theirs = ({layer.name: layer for layer in each.layers if layer.weights} for each in (model, source_model))
    if layers is None:
        copied = [name for name in ours if name in theirs and _shapes(ours[name]) == _shapes(theirs[name])]
        if not copied:
            raise ArgumentError(
                f"{model.name} has no layer with the name and the shapes of one of {source_model.name}; give a model "
                f"of the same family. Received: source_model={source_model.name!r}"
            )
    else:
        wanted = _names(layers, "layers")
        for name in wanted:
            _check_known(model, ours, name)
            _check_known(source_model, theirs, name)
            if _shapes(ours[name]) != _shapes(theirs[name]):
                raise ArgumentError(
                    f"weights are copied between the same shapes; {name} has {_shapes(ours[name])} in {model.name} and "
                    f"{_shapes(theirs[name])} in {source_model.name}. Leave it out. Received: layers={wanted}"
                )
        copied = [name for name in ours if name in wanted]
    for name in copied:
        ours[name].set_weights(theirs[name].get_weights())
    return copied


def freeze(model: "keras.Model", names: Iterable[str]) -> None:
    """Keep the weights of layers during training; compile the model afterwards.

    Frozen batch normalization computes in training as in prediction: it uses its statistics and keeps them, as
    `trainable=False` means in Keras. A saved file keeps the setting.

    Args:
        model: `keras.Model`.
        names: names of its layers with weights; a pattern such as "conv*" freezes every layer whose name
            matches.

    Raises:
        ArgumentError: if a name or pattern fits no layer with weights, or if no weights are left to train. Nothing has
            been frozen then.

    Examples:
        >>> from keras_cnns import applications, training
        >>> model = applications.LeNet5Modern()
        >>> training.freeze(model, ["C*"])
        >>> [layer.name for layer in model.layers if layer.trainable_weights]
        ['F6', 'output']
    """
    names = _names(names, "names")
    known = {layer.name: layer for layer in model.layers if layer.weights}
    frozen: dict[str, keras.Layer] = {}
    for name in names:
        fitting = [name] if name in known else fnmatch.filter(known, name)
        if not fitting:
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or list(known)[:5]
            raise ArgumentError(
                f"{model.name} has no layer with weights that fits; the nearest are {', '.join(near)}. "
                f"Received: names: {name!r}"
            )
        frozen.update((layer, known[layer]) for layer in fitting)
    if not any(layer.trainable_weights for name, layer in known.items() if name not in frozen):
        raise ArgumentError(f"{model.name} must keep layers that train; freeze fewer. Received: names={names}")
    for layer in frozen.values():
        layer.trainable = False


def _names(given, argument):
    """Return names as a list; raise ArgumentError for one string."""
    if isinstance(given, str):
        raise ArgumentError(f"`{argument}` must be a list of layers' names. Received: {argument}={given!r}")
    return list(given)


def _check_known(model, known, name):
    """Raise ArgumentError if no layer with weights has this name."""
    if name not in known:
        raise ArgumentError(
            f"{model.name} has no layer with weights of that name.{nearest(name, known)} Received: layers: {name!r}"
        )


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]
