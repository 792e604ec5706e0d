"""What every builder shares: its documented arguments, the input, the head, the finished model."""

import inspect
import numbers
import operator

import keras
import numpy as np
from keras import layers

from keras_cnns._models import classifiers
from keras_cnns.applications import _loading, _weights
from keras_cnns.applications._facts import FACTS
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import BatchNormalization

ARGUMENTS = """\
include_top: whether the classifier is there; without it the network ends with the maps before it.
weights: None (random), a name of `list_weights`, or the path of a file with this network: `.keras`, `.weights.h5` (of
    `Model.save_weights`) or `.safetensors` (tensors called as Keras calls weights, `conv1/kernel`).
input_tensor: Keras tensor (batch, height, width, channels) to use as the input.
input_shape: (height, width, channels), by default at least {minimum}x{minimum}; height and width may be None where no
    dense layer sees all positions. None: that of the weights, else by default {shape}.
pooling: of a network without top: None (maps), "avg" or "max" (vectors).
classes: number of classes; if it is not that of the weights, the classifier alone starts anew, with a warning. None:
    that of the weights, else by default {classes}.
classifier_activation: "softmax", or None for logits.
name: of the model.
"""
INITIALIZERS = """\
kernel_initializer: of all kernels, any of Keras's.
bias_initializer: of all biases, any of Keras's.
"""
ENDING = """

Returns:
    Functional `keras.Model`; float32 images (batch, height, width, channels), whose normalization is the caller's, to
    float32 (batch, classes). Without top: to the maps, with `pooling` to vectors.

Raises:
    ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
    ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

Reference:
"""


def documented(function):
    """Complete a builder's docstring, which says itself only what is its own, with what all builders share."""
    facts = FACTS[function.__name__]
    text, _, reference = inspect.cleandoc(function.__doc__).partition("\n\nReference:\n")
    text, _, own = text.partition("\n\nArgs:\n")
    shared = ARGUMENTS.format(minimum=facts.minimum, shape=facts.input_shape, classes=facts.classes)
    arguments = inspect.cleandoc(shared + "\n".join(line.removeprefix("    ") for line in own.splitlines()))
    if "\nkernel_initializer:" not in arguments:
        arguments += "\n" + INITIALIZERS.rstrip()
    indented = "\n".join(f"    {line}" for line in arguments.splitlines())
    function.__doc__ = f"{text}\n\nArgs:\n{indented}{ENDING}{reference or f'    {facts.paper}.'}\n"
    return function


def choose(function, name, value, allowed):
    """Return the one of the allowed values that equals `value`; raise ArgumentError if there is none."""
    if isinstance(value, (str, numbers.Number, np.bool_, type(None))):
        for one in allowed:
            if value == one:
                return one
    raise ArgumentError(
        f"{function}: `{name}` must be one of {', '.join(map(repr, allowed))}. Received: {name}={value!r}"
    )


class Start:
    """The checked beginning of a network: its input, and what the arguments mean; it also finishes the network.

    Attributes:
        inputs: Keras tensor (batch, height, width, channels).
        classes: number of classes.
        options: the network's own options by name, those left at None as in the weights' record, else as in the paper.
        initializers: `kernel_initializer` and `bias_initializer`, to be passed to every layer with weights.
    """

    def __init__(self, function, arguments, *, flat=False, defaults=None, **options):
        """Check the arguments, settle them with the record of the weights, and create the input.

        Args:
            function: public name of the builder.
            arguments: what the builder was called with, by name: its `locals()`.
            flat: whether a layer sees all positions of a map, so that their number must be known.
            defaults: function from the settled options to (input shape, classes, smallest side); None: the facts'.
            **options: the network's own options that decide its weights: name=(the paper's value, other allowed
                values ...); just (the paper's value,): any is allowed.

        Raises:
            ArgumentError: if an argument cannot be used, or contradicts the weights.
        """
        self.function, self.name, self.include_top = function, arguments["name"], arguments["include_top"]
        _check_top(function, self.include_top)
        weights, classes = arguments["weights"], arguments["classes"]
        given = {option: arguments[option] for option in options}
        for option, allowed in options.items():
            if len(allowed) > 1:
                given[option] = choose(function, option, given[option], dict.fromkeys((None, *allowed)))
        choose(function, "pooling", arguments["pooling"], (None, "avg", "max"))
        if classes is not None and (not isinstance(classes, numbers.Integral) or classes is True or classes < 1):
            raise ArgumentError(
                f"{function}: `classes` must be a whole number of at least 1. Received: classes={classes!r}"
            )
        dropout = arguments["dropout"]
        if isinstance(dropout, bool) or not isinstance(dropout, numbers.Real) or not 0 <= dropout < 1:
            raise ArgumentError(
                f"{function}: `dropout` must be a share of at least 0 and below 1; 0 drops nothing. "
                f"Received: dropout={dropout!r}"
            )
        input_tensor = arguments["input_tensor"]
        input_shape = _checked_shape(function, arguments["input_shape"], input_tensor)

        self.record = _weights.find(function, weights)
        if self.include_top:
            given["input_shape"] = input_shape
        settled = _settle(function, weights, self.record, given)
        self.options = {
            option: papers if settled[option] is None else settled[option] for option, (papers, *_) in options.items()
        }
        facts = FACTS[function]
        published = facts.input_shape, facts.classes, facts.minimum
        default_shape, default_classes, minimum = defaults(self.options) if defaults else published
        self.chosen_classes = classes is not None
        trained_classes = self.record.network.get("classes") if self.record else None
        self.classes = int(classes or trained_classes or default_classes)
        if input_shape is None:
            trained = self.record.network.get("input_shape") if self.record else None
            input_shape = trained or default_shape
        _check_size(function, input_shape, minimum)
        if flat and self.include_top and None in input_shape[:2]:
            cure = "auxiliary=False" if arguments.get("auxiliary") else "include_top=False"
            raise ArgumentError(
                f"{function}: a layer sees every position of a map, so the size must be known: pass `input_shape`, or "
                f"{cure}. Received: input_shape={input_shape}"
            )
        if self.record:
            _loading.check_reachable(self.record, self.include_top)
        self.inputs = layers.Input(input_shape) if input_tensor is None else input_tensor
        self.initializers = {key: _as_description(arguments[key]) for key in ("kernel_initializer", "bias_initializer")}

    def body(self, x, pooling):
        """Return the model without its top: the maps `x` as they are, or averaged or maximized over the map."""
        if pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        if pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)
        return self._model(x)

    def classifier(self, logits, activation, heads=None):
        """Return the model that ends with `predictions`, the activation of `logits` in float32 under every policy.

        Args:
            logits: Keras tensor (batch, classes).
            activation: of the classifier; None gives the logits.
            heads: logits of auxiliary classifiers by name; outputs NAME_predictions follow `predictions`.
        """
        if isinstance(activation, layers.Layer):
            raise ArgumentError(
                f"{self.function}: `classifier_activation` must be the name of a Keras activation, such a function, or "
                f"None for logits. Received: classifier_activation={activation}"
            )
        heads = {"predictions": logits, **{f"{name}_predictions": x for name, x in (heads or {}).items()}}
        outputs = [layers.Activation(activation, dtype="float32", name=name)(x) for name, x in heads.items()]
        return self._model(outputs if len(outputs) > 1 else outputs[0])

    def _model(self, outputs):
        sources = keras.utils.get_source_inputs(self.inputs)
        sources = sources if len(sources) > 1 else sources[0]
        model = keras.Model(sources, outputs, name=self.name)
        if self.record:
            upstream = keras.Model(sources, self.inputs).layers  # of an `input_tensor`, which is the caller's
            own = [layer for layer in model.layers if layer not in upstream]
            fresh = classifiers(model) if self.include_top and self.chosen_classes else ()
            _loading.assign(own, self.record, top=self.include_top, heads=len(model.outputs) > 1, fresh=fresh)
        return model


def _settle(function, weights, record, given):
    """Return the arguments, those left at None filled in from the record; raise ArgumentError if one contradicts it."""
    known = record.network if record else {}
    settled = {}
    for name, value in given.items():
        settled[name] = known.get(name) if value is None else value
        if value is not None and name in known and value != known[name]:
            raise ArgumentError(
                f"{function}: `{name}` must be {known[name]!r} with weights={weights!r}, which were trained so; pass "
                f"weights=None, or leave `{name}` out. Received: {name}={value!r}"
            )
    return settled


def _check_top(function, include_top):
    """Raise ArgumentError unless `include_top` is True or False: any text would count as True, and load nothing."""
    if isinstance(include_top, (bool, np.bool_)) or (isinstance(include_top, int) and include_top in (0, 1)):
        return
    cure = f"; for trained weights pass weights={include_top!r}" if isinstance(include_top, str) else ""
    raise ArgumentError(
        f"{function}: `include_top` must be True, or False for a network without its classifier{cure}. "
        f"Received: include_top={include_top!r}"
    )


def _checked_shape(function, input_shape, input_tensor):
    """Return `input_shape` as a tuple of int and None, that of `input_tensor` if there is one, None if neither is.

    Raises:
        ArgumentError: if it is no shape of images, or the two differ.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ArgumentError(
            f"{function}: the networks here have their channels last, as CPUs and exported artifacts want them; call "
            f"keras.config.set_image_data_format('channels_last') first. Received: image_data_format="
            f"{keras.config.image_data_format()!r}"
        )
    name = "input_shape"
    if input_shape is not None:
        try:
            input_shape = tuple(side if side is None else operator.index(side) for side in input_shape)
        except TypeError:
            raise ArgumentError(
                f"{function}: `input_shape` must be (height, width, channels), whole numbers. "
                f"Received: input_shape={input_shape!r}"
            ) from None
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor):
            raise ArgumentError(
                f"{function}: `input_tensor` must be a Keras tensor: keras.Input(...), or what a layer makes of one. "
                f"Received: input_tensor of type {type(input_tensor).__name__}"
            )
        shape = tuple(input_tensor.shape[1:])
        if input_shape not in (None, shape):
            raise ArgumentError(
                f"{function}: `input_shape` must be that of `input_tensor`, {shape}, or left out. "
                f"Received: input_shape={input_shape}"
            )
        name, input_shape = "input_tensor", shape
    if input_shape is not None and (len(input_shape) != 3 or input_shape[-1] is None or input_shape[-1] < 1):
        raise ArgumentError(
            f"{function}: `{name}` must be of images, (height, width, channels). Received: {name} of shape "
            f"{input_shape}"
        )
    return input_shape


def _check_size(function, input_shape, minimum):
    if any(side is not None and side < minimum for side in input_shape[:2]):
        if input_shape[0] in (1, 3) and None not in input_shape and min(input_shape[1:]) >= minimum:
            turned = (*input_shape[1:], input_shape[0])
            raise ArgumentError(
                f"{function}: `input_shape` is (height, width, channels), the channels last: {turned}. "
                f"Received: input_shape={input_shape}"
            )
        raise ArgumentError(
            f"{function}: images must be at least {minimum}x{minimum} pixels, or too little is left of them after "
            f"the last pooling. Received: input_shape={input_shape}"
        )


def _as_description(initializer):
    """Return an initializer as its description, of which each layer makes its own.

    An object draws the same numbers for all layers of equal shapes. What Keras cannot describe stays what it is.
    """
    if isinstance(initializer, keras.initializers.Initializer):
        description = keras.initializers.serialize(initializer)
        try:
            keras.initializers.get(description)
            return description
        except (TypeError, ValueError):  # of a class that is not registered
            pass
    return initializer


def conv(x, filters, kernel_size, name, *, strides=1, padding="same", **options):
    """Return a convolution of `x`; a strided "same" pads both sides alike, as Caffe and torch do and TensorFlow not."""
    if padding == "same" and strides > 1 and kernel_size > 1:
        x, padding = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x), "valid"
    return layers.Conv2D(filters, kernel_size, strides, padding, name=name, **options)(x)


def conv_bn(x, filters, kernel_size, name, *, relu=True, momentum=0.99, epsilon=1e-3, scale=True, **options):
    """Return a convolution without bias, its batch normalization NAME_bn and, unless told not to, NAME_relu."""
    x = conv(x, filters, kernel_size, name, use_bias=False, **options)
    x = BatchNormalization(momentum=momentum, epsilon=epsilon, scale=scale, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x) if relu else x


def dense_layers(start, x, dropout):
    """Return fc8, the logits, behind flatten, fc6, drop6, fc7 and drop7: AlexNet's classifier, which others kept."""
    x = layers.Flatten(name="flatten")(x)
    for k in (6, 7):
        x = layers.Dense(4096, "relu", name=f"fc{k}", **start.initializers)(x)
        x = layers.Dropout(dropout, name=f"drop{k}")(x)
    return layers.Dense(start.classes, name="fc8", **start.initializers)(x)
