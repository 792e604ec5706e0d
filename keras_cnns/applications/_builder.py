"""What every builder shares: checked arguments, the input, the head, the finished model."""

import numbers
import operator

import keras
from keras import layers

from keras_cnns.applications import _weights
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import ArgumentError


def check_choice(function, **choices):
    """Raise ArgumentError unless each `name=(value, allowed)` has one of the allowed values."""
    for name, (value, allowed) in choices.items():
        if value not in allowed:
            raise ArgumentError(
                f"{function}: `{name}` must be one of {', '.join(map(repr, allowed))}. Received: {name}={value!r}"
            )


def as_shape(function, input_shape):
    """Return `input_shape` as a tuple of int and None, None for None; raise ArgumentError if it is no shape."""
    if input_shape is None:
        return None
    try:
        return tuple(side if side is None else operator.index(side) for side in input_shape)
    except TypeError:
        raise ArgumentError(
            f"{function}: `input_shape` must be (height, width, channels), whole numbers. "
            f"Received: input_shape={input_shape!r}"
        ) from None


def settle(function, weights, **arguments):
    """Return the weights' record and the arguments, those left at None filled in from the record.

    Args:
        function: public name of the builder.
        weights: None, the name of weights that ship, or the path of a `.keras` file.
        **arguments: what a record may know: variant, classes, input_shape, ...

    Raises:
        ArgumentError: if there are no such weights, or an explicit argument contradicts them.
    """
    classes = arguments.get("classes")
    if classes is not None and (not isinstance(classes, numbers.Integral) or classes is True or classes < 1):
        raise ArgumentError(
            f"{function}: `classes` must be a whole number of at least 1. Received: classes={classes!r}"
        )
    record = _weights.find(function, weights)
    known = record.network if record else {}
    settled = {}
    for name, value in arguments.items():
        settled[name] = known.get(name) if value is None else value
        if value is not None and name in known and value != known[name]:
            raise ArgumentError(
                f"{function}: `{name}` must be {known[name]!r} with weights={weights!r}, which were trained so; pass "
                f"weights=None, or leave `{name}` out. Received: {name}={value!r}"
            )
    return record, settled


def image_input(function, input_shape, input_tensor, default_shape):
    """Return the input tensor (batch, height, width, channels) of a network.

    Args:
        function: public name of the builder.
        input_shape: (height, width, channels) or None; height and width may be None.
        input_tensor: a Keras tensor to build upon, or None.
        default_shape: the shape if neither is given.
    """
    minimum = FACTS[function].minimum
    if keras.config.image_data_format() != "channels_last":
        raise ArgumentError(
            f"{function}: the networks here have their channels last, as CPUs and exported artifacts want them; call "
            f"keras.config.set_image_data_format('channels_last') first. Received: image_data_format="
            f"{keras.config.image_data_format()!r}"
        )
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            input_tensor = layers.Input(tensor=input_tensor)
        shape = tuple(input_tensor.shape[1:])
        if input_shape is not None and tuple(input_shape) != shape:
            raise ArgumentError(
                f"{function}: `input_shape` must be that of `input_tensor`, {shape}, or left out. "
                f"Received: input_shape={tuple(input_shape)}"
            )
    else:
        shape = default_shape if input_shape is None else input_shape
    if not isinstance(shape, (tuple, list)) or len(shape) != 3 or not isinstance(shape[-1], int) or shape[-1] < 1:
        raise ArgumentError(
            f"{function}: `input_shape` must be (height, width, channels), three values. Received: input_shape={shape}"
        )
    if any(side is not None and side < minimum for side in shape[:2]):
        raise ArgumentError(
            f"{function}: pictures must be at least {minimum}x{minimum} pixels, or nothing is left after the last "
            f"pooling. Received: input_shape={tuple(shape)}"
        )
    return layers.Input(tuple(shape)) if input_tensor is None else input_tensor


def body_end(function, x, pooling):
    """Return the features of a network without its top: as they are, or averaged or maximized over the map."""
    check_choice(function, pooling=(pooling, (None, "avg", "max")))
    if pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool")(x)
    if pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool")(x)
    return x


def last_activation(x, activation):
    """Return `predictions`: the classifier's activation, in float32 under every policy; None gives logits."""
    return layers.Activation(activation, dtype="float32", name="predictions")(x)


def finish(inputs, outputs, name, record):
    """Return the model with the weights of the record, if there is one."""
    sources = keras.utils.get_source_inputs(inputs)
    model = keras.Model(sources if len(sources) > 1 else sources[0], outputs, name=name)
    if record:
        _weights.assign(model, record)
    return model
