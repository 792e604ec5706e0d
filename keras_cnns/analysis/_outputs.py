"""What layers give for images, batch by batch."""

import numpy as np
from keras import layers, ops, tree

from keras_cnns import _graph, _models
from keras_cnns.analysis import _classes
from keras_cnns.errors import ArgumentError


def subject(model):
    """Return the functional model to look into: without auxiliary heads, one sigmoid as two classes, in float32.

    Raises:
        ArgumentError: if it does not take one batch of images, channels last, or not give one vector an image.
    """
    model = _models.two_classes(_models.main_output(model))
    _models.one_image_input(model)
    check_channels_last(model)
    return _models.as_float32(model)


def check_channels_last(model):
    """Raise ArgumentError if a layer has its channels first."""
    for use in _graph.walk(model)[1]:
        if getattr(use.operation, "data_format", None) == "channels_first":
            raise ArgumentError(
                f"`model` must have its channels last; build it with data_format='channels_last'. "
                f"Received: {use.name} of {model.name} with data_format='channels_first'"
            )


def outputs_of(model, images, layers):
    """Return ({layer: its output}, the model's first output) for one batch, float32 arrays.

    Args:
        model: functional `keras.Model`.
        images: float array (images, height, width, channels), as the model takes them.
        layers: names of layers that `check_one_output` let pass.
    """
    found = {}

    def keep(name, operation, compute):
        output = compute()
        if name in layers:
            found[name] = as_array(output)
        return output

    final = _graph.run(model, ops.convert_to_tensor(images, "float32"), keep)
    return found, as_array(tree.flatten(final)[0])


def check_one_output(model, layer):
    """Return the name of a layer; raise ArgumentError if it is not in the model, or gives more than one output."""
    name = _graph.check_layer(model, layer)
    outputs = [output for use in _graph.walk(model)[1] if use.name == name for output in use.outputs]
    if len(outputs) != 1:
        raise ArgumentError(
            f"`layer` must be used once and give one output; {name} gives {len(outputs)}. Received: layer={layer!r}"
        )
    return name


def batches(model, images):
    """Yield float32 arrays (images, height, width, channels) of as many images as a model takes at a time.

    Args:
        model: functional `keras.Model`.
        images: an array of all images; or an iterable of batches, each an array or a tuple whose first one is it.

    Raises:
        ArgumentError: if they are none that the model takes.
    """
    if hasattr(images, "shape"):
        images = _classes.check_images(model, images)
        size = _models.batch_size_for(*images.shape[1:3])
        yield from (images[k : k + size] for k in range(0, len(images), size))
    else:
        for batch in images:
            yield _classes.check_images(model, batch[0] if isinstance(batch, tuple) else batch)


def check_fill(fill, channels):
    """Return what takes the place of pixels as a float32 array; raise ArgumentError if it is no such value."""
    try:
        found = np.asarray(fill, "float32")
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.shape not in ((), (channels,)) or not np.isfinite(found).all():
        raise ArgumentError(f"`fill` must be a number, or one for each channel. Received: fill={fill!r}")
    return found


def first_layer(model):
    """Return the name of the first layer that has a kernel."""
    for use in _graph.walk(model)[1]:
        if _has_kernel(use):
            return use.name
    raise ArgumentError(f"{model.name}: no layer has a kernel; name a layer. Received: layer=None")


def last_layer(model):
    """Return the name of the layer that gives the vector, one an image, which the logits are computed from.

    Where the logits come from maps, as in Network in Network, it is the layer that makes them vectors.
    """
    made_by = {id(output): use for use in _graph.walk(model)[1] for output in use.outputs}

    def before(use):
        """Return what gives the one vector that reaches a layer; None if something else does."""
        found = made_by.get(id(use.inputs[0])) if len(use.inputs) == 1 else None
        return found if found and len(found.outputs[0].shape) == 2 else None

    use = list(made_by.values())[-1]
    while before(use) and not _has_kernel(use):  # softmax, or the sign of a distance
        use = before(use)
    use = before(use) or use
    while before(use) and isinstance(use.operation, layers.Dropout | layers.Identity):  # in inference, their input
        use = before(use)
    return use.name


def _has_kernel(use):
    """Return whether a layer has a weight of two dimensions or more, as normalization has none."""
    return any(len(weight.shape) > 1 for weight in getattr(use.operation, "weights", ()))


def as_array(tensor):
    """Return a tensor as a float32 array."""
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))
