"""Weights from another network, layer by layer, and layers that keep theirs."""

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
    """Let layers keep their weights in a training, and batch normalization its statistics; compile the model after it.

    Args:
        model: `keras.Model`.
        names: of its layers, those with weights.

    Raises:
        ArgumentError: if one is missing or has no weights; nothing has been frozen then.
    """
    known = {layer.name: layer for layer in model.layers if layer.weights}
    for layer in [_find(model, known, name, "names") for name in _names(names, "names")]:
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
