"""A classifier turned into convolutions, to be applied to whole images of any size."""

import keras
from keras import layers

from keras_cnns import _graph, _models
from keras_cnns import layers as our_layers
from keras_cnns.errors import ArgumentError

# What works on the last axis alone, whatever is in front of it
PER_POSITION = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ELU, layers.Identity, layers.Rescaling),
    *(layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum),
    *(our_layers.Maxout, our_layers.RBFOutput),
)
LINEAR = (layers.Identity, layers.Rescaling, layers.Dropout, layers.AlphaDropout, layers.GaussianNoise)


class _NotLinear(Exception):
    """What follows a mean over all positions is not linear, so that it cannot be moved behind it."""


def dense_model(model):
    """Return a classifier as a model of free spatial size, that gives a map of logits for each class.

    A dense layer becomes a convolution: the first one behind a `Flatten` of the size of the map that is flattened, the
    others 1x1. Behind a global average pool it is applied at each position and the pool left out, so that the mean of
    the map is what the pool would have given; where that is not the same, because the head is not linear, and for a
    global maximum, the pool becomes a window of the size that the map has at the training size. At the training size
    the mean of the map equals the model's logits. Layers that pad "same" pad by what the new size needs.

    Args:
        model: functional or sequential `keras.Model` from (batch, height, width, channels) to (batch, classes);
            auxiliary heads and the softmax are left out, and one sigmoid becomes the logits of two classes. Its layers
            are shared; dense layers are copied.

    Returns:
        Functional `keras.Model` from (batch, any height, any width, channels) to (batch, rows, columns, classes).
        An image smaller than the training size may be too small for it.

    Raises:
        ArgumentError: (a ValueError) if a layer cannot be applied at every position.

    Reference:
        K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
        section 3.2; P. Sermanet et al.: OverFeat, ICLR 2014, section 3.5.
    """
    main = _models.two_classes(_models.main_output(model))
    channels = _models.one_image_input(main)[-1]
    logits = _graph.graph_of(_models.without_softmax(main))
    try:
        return _converted(logits, channels, windows=False)
    except _NotLinear:
        return _converted(logits, channels, windows=True)


def _converted(model, channels, windows):
    uses = iter(_graph.walk(model)[1])  # in the same order, with the shapes at the training size
    flat, rows, means = {}, set(), set()  # tensors by identity: maps that stand for vectors

    def act(name, operation, args, kwargs):
        use = next(uses)
        given = [x for x in keras.tree.flatten((args, kwargs)) if isinstance(x, keras.KerasTensor)]
        before = tuple(use.inputs[0].shape[1:])

        def fault(why):
            return ArgumentError(
                f"{model.name}: `{name}`, a {type(operation).__name__}, cannot be applied at every position of a "
                f"image: {why}. Received: model={model.name!r}"
            )

        from_flat, from_rows = (any(id(x) in some for x in given) for some in (flat, rows))
        from_mean = any(id(x) in means for x in given)
        if from_mean and not _is_linear(operation):
            raise _NotLinear
        if isinstance(operation, layers.Dense):
            if from_flat:
                out = _convolution(operation, flat[id(given[0])])(given[0])
            elif from_rows:
                out = _convolution(operation, (1, 1, before[-1]))(given[0])
            else:
                return operation(*args, **kwargs)
            rows.add(id(out))
        elif isinstance(operation, layers.GlobalAveragePooling2D | layers.GlobalMaxPooling2D):
            if windows and None in before:
                raise fault("its head is not linear, and the model has no training size; build it for one")
            if windows:
                kind = layers.AveragePooling2D
                if isinstance(operation, layers.GlobalMaxPooling2D):
                    kind = layers.MaxPooling2D
                out = kind(before[:2], 1, name=operation.name, dtype=operation.dtype_policy)(given[0])
            elif isinstance(operation, layers.GlobalMaxPooling2D):
                raise _NotLinear
            else:
                out = layers.Identity(name=operation.name, dtype=operation.dtype_policy)(given[0])
                means.add(id(out))
            rows.add(id(out))
        elif isinstance(operation, layers.Flatten | layers.Reshape) and len(use.outputs[0].shape) == 2:
            # Another tensor for the same map, as one map may go two ways
            out = layers.Identity(name=operation.name, dtype=operation.dtype_policy)(given[0])
            if from_rows:
                rows.add(id(out))
            elif from_flat:
                flat[id(out)] = flat[id(given[0])]
            elif None in before:
                raise fault("the size of the map that it flattens is not known; build the model for one size")
            else:
                flat[id(out)] = before
        elif from_flat or from_rows:
            joins = isinstance(operation, layers.Concatenate) and operation.axis in (-1, len(before))
            normalizes = isinstance(operation, layers.BatchNormalization | layers.LayerNormalization)
            is_map = len(before) == 3  # 1x1, behind a pool that keeps its axes
            if from_flat and not isinstance(operation, PER_POSITION):
                raise fault("only a dense layer, a dropout or an activation can follow what is flattened")
            if not all(id(x) in rows or id(x) in flat for x in given):
                raise fault("it joins what was pooled from the whole image with a map")
            if not (isinstance(operation, PER_POSITION) or joins or normalizes or (is_map and _is_1x1(operation))):
                raise fault("it is not known to work on each position alone")
            if joins:
                operation = layers.Concatenate(axis=-1, name=operation.name)
            elif normalizes and not is_map:
                operation = _normalization(operation, before)
            out = operation(*args, **kwargs)
            if from_flat:
                flat[id(out)] = flat[id(given[0])]
            else:
                rows.add(id(out))
        else:
            return operation(*args, **kwargs)
        if from_mean:
            means.add(id(out))
        return out

    inputs = keras.Input((None, None, channels), dtype=model.inputs[0].dtype, name=model.inputs[0].name)
    output = keras.tree.flatten(_graph.follow(model, [inputs], act))[0]
    if id(output) not in rows:
        raise ArgumentError(
            f"{model.name}: its logits must come from dense layers or a global pool, to be had at every position. "
            f"Received: model={model.name!r}"
        )
    return keras.Model(inputs, output, name=f"{model.name}_dense")


def _is_1x1(operation):
    return isinstance(operation, layers.Conv2D) and tuple(operation.kernel_size) == (1, 1)


def _is_linear(operation):
    """Return whether an operation on vectors is linear."""
    if isinstance(operation, layers.Dense):
        return operation.activation is keras.activations.linear
    if isinstance(operation, layers.Conv2D):
        return operation.activation is keras.activations.linear and _is_1x1(operation)
    if isinstance(operation, layers.Activation):
        return operation.activation is keras.activations.linear
    return isinstance(operation, (*LINEAR, layers.BatchNormalization, layers.Flatten, layers.Reshape))


def _convolution(dense, shape):
    """Return the convolution that applies a dense layer to maps of (height, width, channels) at every position."""
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


def _normalization(layer, shape):
    """Return a normalization of vectors as one of maps, along their channels."""
    copy = type(layer).from_config({**layer.get_config(), "axis": -1})
    copy.build((None, None, None, shape[-1]))
    copy.set_weights(layer.get_weights())
    return copy
