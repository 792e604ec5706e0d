"""Weights from another network, layer by layer, and layers that keep theirs."""

import difflib
import fnmatch

from keras_cnns.errors import ArgumentError, nearest


def transfer_weights(model, source_model, layers=None):
    """Copy the weights of layers that have the same name and the same shapes in both models.

    Args:
        model: `keras.Model` to copy into.
        source_model: `keras.Model` to copy from.
        layers: names of the layers to copy, each of which must fit; None: all that fit, the others staying as they are.

    Returns:
        The names of the layers copied, in the order of `model`.

    Raises:
        ArgumentError: if a layer of `layers` is missing, has no weights or other shapes, or if no layer fits; nothing
            has been copied then.

    Reference:
        K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        section 3.1: the deeper networks start from net A's first four convolutions and its dense layers, here
        `layers=["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"]`.
    """
    ours, theirs = ({layer.name: layer for layer in one.layers if layer.weights} for one in (model, source_model))
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
            for one, known in ((model, ours), (source_model, theirs)):
                _find(one, known, name, "layers")
            if _shapes(ours[name]) != _shapes(theirs[name]):
                raise ArgumentError(
                    f"weights are copied between the same shapes; {name} has {_shapes(ours[name])} in {model.name} and "
                    f"{_shapes(theirs[name])} in {source_model.name}. Leave it out. Received: layers={wanted}"
                )
        copied = [name for name in ours if name in wanted]
    for name in copied:
        ours[name].set_weights(theirs[name].get_weights())
    return copied


def freeze(model, names):
    """Keep the weights of layers in a training; compile the model after it.

    Frozen batch normalization computes in training as in prediction, with the statistics that it has, and keeps them:
    that is Keras's meaning of `trainable=False`. A saved file keeps it too.

    Args:
        model: `keras.Model`.
        names: of its layers, those with weights; patterns as "conv*" freeze every layer that fits.

    Raises:
        ArgumentError: if a name or pattern fits no layer with weights, or if no weights are left to train; nothing has
            been frozen then.
    """
    known = {layer.name: layer for layer in model.layers if layer.weights}
    frozen = {}
    for name in _names(names, "names"):
        fitting = [name] if name in known else fnmatch.filter(known, name)
        if not fitting:
            near = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or list(known)[:5]
            raise ArgumentError(
                f"{model.name} has no layer with weights that fits; the nearest are {', '.join(near)}. "
                f"Received: names: {name!r}"
            )
        frozen.update((fit, known[fit]) for fit in fitting)
    if not any(layer.trainable_weights for name, layer in known.items() if name not in frozen):
        raise ArgumentError(
            f"{model.name} must keep layers that train; freeze fewer. Received: names={_names(names, 'names')}"
        )
    for layer in frozen.values():
        layer.trainable = False


def _names(given, argument):
    """Return names as a list; one string would be taken for its letters."""
    if isinstance(given, str):
        raise ArgumentError(f"`{argument}` must be a list of layers' names. Received: {argument}={given!r}")
    return list(given)


def _find(model, known, name, argument):
    if name not in known:
        raise ArgumentError(
            f"{model.name} has no layer with weights of that name.{nearest(name, known)} Received: {argument}: {name!r}"
        )
    return known[name]


def _shapes(layer):
    return [tuple(weight.shape) for weight in layer.weights]
