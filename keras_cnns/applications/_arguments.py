"""The arguments that all builders share, checked and completed."""

import dataclasses
import numbers
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
import numpy as np

from keras_cnns.applications import _imagenet, _weights
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Path

InputShape: TypeAlias = tuple[int | None, int | None, int]  # height, width, channels
Pooling: TypeAlias = Literal["avg", "max"]
Activation: TypeAlias = str | Callable[[Any], Any]
Initializer: TypeAlias = str | dict[str, Any] | Callable[..., Any]  # a name, a description, or an initializer


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The eight arguments of keras.applications, as a builder received them."""

    include_top: bool
    weights: Path | None
    input_tensor: keras.KerasTensor | None
    input_shape: InputShape | None
    pooling: Pooling | None
    classes: int | None
    classifier_activation: Activation | None
    name: str


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of one network that decides its weights.

    Attributes:
        value: the builder's argument; None means the value in the weights' record, else `default`.
        default: the paper's value.
        choices: all values that are allowed besides None; empty if the builder checks the value itself.
    """

    value: Any
    default: Any
    choices: tuple[Any, ...] = ()


class Defaults(NamedTuple):
    """Default input shape and classes of a network, and its smallest side."""

    input_shape: InputShape
    classes: int
    minimum: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a network is built from.

    Attributes:
        builder: public name of the builder.
        include_top: whether the network has its classifier.
        input_tensor: the caller's Keras tensor, or None.
        input_shape: (height, width, channels).
        classes: number of classes.
        own_classes: whether the caller chose the number of classes, so that it may differ from the weights'.
        options: value of each of the network's options by name.
        weights: record of the weights to load, or None.
    """

    builder: str
    include_top: bool
    input_tensor: keras.KerasTensor | None
    input_shape: InputShape
    classes: int
    own_classes: bool
    options: Mapping[str, Any]
    weights: _weights.Weights | None


def check(
    builder: str,
    arguments: Arguments,
    dropout: float,
    *,
    options: Mapping[str, Option] | None = None,
    defaults: Callable[[Mapping[str, Any]], Defaults] | None = None,
    needs_size_unless: str | None = None,
    any_size: bool = False,
    also: Collection[str] = (),
) -> Settings:
    """Check a builder's arguments and complete them from the weights' record.

    Args:
        builder: public name of the builder.
        arguments: what all builders take.
        dropout: share of values to drop while training.
        options: the network's own options by name.
        defaults: function from the values of the options to `Defaults`. None: those of the facts.
        needs_size_unless: for networks that flatten a map, and therefore must know its height and width: the argument
            that leaves this layer out, such as "include_top=False". None for networks with global pooling.
        any_size: whether weights fit images of other sizes than those they were trained on.
        also: public names of other networks whose weights the builder accepts.

    Raises:
        ArgumentError: if an argument cannot be used, or contradicts the weights.
        ModelFileError: if a weights file cannot be read, or its server does not answer.
    """
    options = options or {}
    _check_top(builder, arguments)
    given = {
        name: choose(builder, name, option.value, (None, *option.choices)) if option.choices else option.value
        for name, option in options.items()
    }
    choose(builder, "pooling", arguments.pooling, (None, "avg", "max"))
    _check_numbers(builder, arguments.classes, dropout)
    given_shape = _check_shape(builder, arguments.input_shape, arguments.input_tensor)

    record = _weights.find(builder, arguments.weights, also)
    trained = record.network if record else {}
    compared = {**given, "input_shape": given_shape} if arguments.include_top and not any_size else given
    _check_agreement(builder, arguments.weights, trained, compared)

    values = {name: _first_known(given[name], trained.get(name), option.default) for name, option in options.items()}
    facts = FACTS[builder]
    default = defaults(values) if defaults else Defaults(facts.input_shape, facts.classes, facts.minimum)
    input_shape = given_shape or trained.get("input_shape") or default.input_shape
    _check_minimum(builder, input_shape, default.minimum)
    if needs_size_unless and arguments.include_top and None in input_shape[:2]:
        raise ArgumentError(
            f"{builder}: a layer sees every position of a map, so the size must be known: pass `input_shape`, or "
            f"{needs_size_unless}. Received: input_shape={input_shape}"
        )
    if record and record.path is None:
        _imagenet.check_reachable(builder, arguments.include_top)
    return Settings(
        builder=builder,
        include_top=bool(arguments.include_top),
        input_tensor=arguments.input_tensor,
        input_shape=input_shape,
        classes=int(arguments.classes or trained.get("classes") or default.classes),
        own_classes=arguments.classes is not None,
        options=values,
        weights=record,
    )


def choose(builder: str, name: str, value: Any, allowed: Iterable[Any]) -> Any:
    """Return the allowed value that equals `value`.

    Args:
        builder: public name of the builder.
        name: the argument's name.
        value: the argument; NumPy's numbers and booleans equal Python's.
        allowed: the values that the argument may have.

    Raises:
        ArgumentError: if there is no such value.
    """
    allowed = tuple(allowed)
    if isinstance(value, (str, numbers.Number, np.bool_, type(None))):
        for candidate in allowed:
            if value == candidate:
                return candidate
    raise ArgumentError(
        f"{builder}: `{name}` must be one of {', '.join(map(repr, allowed))}. Received: {name}={value!r}"
    )


def create_input(settings: Settings) -> keras.KerasTensor:
    """Return the input of the first layer.

    It is the caller's `input_tensor`, or the tensor of a new input layer.

    Args:
        settings: what the network is built from.
    """
    return keras.layers.Input(settings.input_shape) if settings.input_tensor is None else settings.input_tensor


def source_inputs(inputs: keras.KerasTensor) -> keras.KerasTensor | list[keras.KerasTensor]:
    """Return the tensors of the input layers from which `inputs` is computed.

    Args:
        inputs: input of the first layer.

    Returns:
        One tensor, or a list of several.
    """
    sources = keras.utils.get_source_inputs(inputs)
    return sources if len(sources) > 1 else sources[0]


def describe_initializers(
    kernel_initializer: Initializer | None, bias_initializer: Initializer | None
) -> dict[str, Any]:
    """Return keyword arguments from which each layer makes its own initializers.

    A shared initializer object would draw the same numbers for all layers of equal shapes.

    Args:
        kernel_initializer: initializer of all kernels.
        bias_initializer: initializer of all biases.
    """
    return {"kernel_initializer": _describe(kernel_initializer), "bias_initializer": _describe(bias_initializer)}


def _describe(initializer):
    """Return an initializer in serialized form.

    If Keras could not restore it from that, the initializer itself is returned.
    """
    if isinstance(initializer, keras.initializers.Initializer):
        description = keras.initializers.serialize(initializer)
        try:
            keras.initializers.get(description)
            return description
        except (TypeError, ValueError):  # The initializer's class is not registered.
            pass
    return initializer


def _first_known(*values):
    """Return the first value that is not None, or None."""
    return next((value for value in values if value is not None), None)


def _check_top(builder, arguments):
    """Check `include_top` and `classifier_activation`.

    Text is refused, because it would count as True: `NiN("digits")` would build a network without weights.
    """
    top = arguments.include_top
    if not (isinstance(top, (bool, np.bool_)) or (isinstance(top, int) and top in (0, 1))):
        cure = f"; for trained weights pass weights={top!r}" if isinstance(top, str) else ""
        raise ArgumentError(
            f"{builder}: `include_top` must be True, or False for a network without its classifier{cure}. "
            f"Received: include_top={top!r}"
        )
    if top and isinstance(arguments.classifier_activation, keras.layers.Layer):
        raise ArgumentError(
            f"{builder}: `classifier_activation` must be the name of a Keras activation, such a function, or "
            f"None for logits. Received: classifier_activation={arguments.classifier_activation}"
        )


def _check_numbers(builder, classes, dropout):
    """Check the number of classes and the share of values to drop."""
    if classes is not None and (not isinstance(classes, numbers.Integral) or classes is True or classes < 1):
        raise ArgumentError(f"{builder}: `classes` must be a whole number of at least 1. Received: classes={classes!r}")
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Real) or not 0 <= dropout < 1:
        raise ArgumentError(
            f"{builder}: `dropout` must be a share of at least 0 and below 1; 0 drops nothing. "
            f"Received: dropout={dropout!r}"
        )


def _check_shape(builder, input_shape, input_tensor):
    """Return the shape of one image, or None without one.

    Raises:
        ArgumentError: if it is not the shape of an image, or the two arguments differ.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ArgumentError(
            f"{builder}: the networks here have their channels last, as CPUs and exported artifacts want them; call "
            f"keras.config.set_image_data_format('channels_last') first. Received: image_data_format="
            f"{keras.config.image_data_format()!r}"
        )
    name = "input_shape"
    if input_shape is not None:
        try:
            input_shape = tuple(side if side is None else operator.index(side) for side in input_shape)
        except TypeError:
            raise ArgumentError(
                f"{builder}: `input_shape` must be (height, width, channels), whole numbers. "
                f"Received: input_shape={input_shape!r}"
            ) from None
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ArgumentError(
                f"{builder}: `input_tensor` must be a Keras tensor: keras.Input(...), or what a layer makes of one. "
                f"Received: input_tensor of type {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
        if input_shape not in (None, shape):
            raise ArgumentError(
                f"{builder}: `input_shape` must be that of `input_tensor`, {shape}, or left out. "
                f"Received: input_shape={input_shape}"
            )
        name, input_shape = "input_tensor", shape
    if input_shape is not None and (len(input_shape) != 3 or input_shape[-1] is None or input_shape[-1] < 1):
        raise ArgumentError(
            f"{builder}: `{name}` must be of images, (height, width, channels). Received: {name} of shape {input_shape}"
        )
    return input_shape


def _check_agreement(builder, weights, trained, given):
    """Raise ArgumentError if an argument contradicts the record of the weights.

    Args:
        builder: public name of the builder.
        weights: the argument that named the weights.
        trained: arguments that the weights were trained with, by name.
        given: the caller's arguments by name; None agrees with everything.
    """
    for name, value in given.items():
        if value is not None and name in trained and value != trained[name]:
            raise ArgumentError(
                f"{builder}: `{name}` must be {trained[name]!r} with weights={weights!r}, which were trained so; pass "
                f"weights=None, or leave `{name}` out. Received: {name}={value!r}"
            )


def _check_minimum(builder, input_shape, minimum):
    """Raise ArgumentError if height or width is too small for the network."""
    if any(side is not None and side < minimum for side in input_shape[:2]):
        if input_shape[0] in (1, 3) and None not in input_shape and min(input_shape[1:]) >= minimum:
            turned = (*input_shape[1:], input_shape[0])
            raise ArgumentError(
                f"{builder}: `input_shape` is (height, width, channels), the channels last: {turned}. "
                f"Received: input_shape={input_shape}"
            )
        raise ArgumentError(
            f"{builder}: images must be at least {minimum}x{minimum} pixels, or too little is left of them after "
            f"the last pooling. Received: input_shape={input_shape}"
        )
