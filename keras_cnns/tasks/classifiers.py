"""Questions about a model that classifies images: its classes, probabilities and logits."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_cnns import _keras
from keras_cnns._models import image_input, main_output
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Probabilities


def one_image_input(model: keras.Model) -> tuple[Any, Any, Any]:
    """Return the input shape of a model from images to vectors.

    Returns:
        (height, width, channels), as `image_input`.

    Raises:
        ArgumentError: if the model has other inputs or outputs.
    """
    shape = image_input(model)
    named = not isinstance(model, keras.Sequential) and isinstance(model.output, dict)
    if named or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(x.shape) for x in model.outputs]
        cure = ""
        if any(len(shape) == 4 for shape in shapes):
            cure = " This one scores each pixel: choose images with masks for it, or a network of one class per image."
        raise ArgumentError(
            f"{model.name}: the model must output one vector per image, (batch, classes).{cure} "
            f"Received: outputs={shapes}"
        )
    return shape


@keras.saving.register_keras_serializable(package="keras_cnns")
class TwoClasses(keras.layers.Layer):
    """Turn the second class's probability into the probabilities of both classes.

    Call arguments:
        inputs: (batch, 1), a sigmoid's output.

    Returns:
        (batch, 2), float32: 1 - p and p.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs: Any) -> Any:
        """Return both probabilities."""
        return keras.ops.concatenate([1 - inputs, inputs], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return (batch, 2)."""
        return (*input_shape[:-1], 2)

    def compute_cost(self, input_shape: Sequence[Any]) -> dict[str, int]:
        """Return zero multiply-adds and connections, as a layer without kernel or pool."""
        return {"macs": 0, "connections": 0}


def as_classifier(model: keras.Model, class_names: Sequence[str] = ()) -> keras.Model:
    """Return a model as a classifier with one output column per class.

    Auxiliary heads are left out. One sigmoid is the probability of the second of two classes, and becomes the
    probabilities of both. One number without an activation may be a logit or a measurement: with two class names it is
    taken for the logit of the second class, otherwise it is refused.

    Args:
        model: functional or sequential `keras.Model`, one batch of images in, one vector per image out.
        class_names: names of the model's classes or of the images' labels; () if there are none.

    Returns:
        Functional `keras.Model` whose output is probabilities or logits (batch, classes), with two classes or more.

    Raises:
        ArgumentError: if the model has other inputs or outputs, if its classes do not exclude each other (several
            sigmoids), or if its one output does not distinguish classes.
    """
    main = main_output(model)
    one_image_input(main)
    if is_multi_label(main):
        raise ArgumentError(
            f"{main.name} ends with {main.outputs[0].shape[-1]} sigmoids: each says by itself whether a label applies, "
            "so that an image may have several (multi-label). Only models with one right class per image can be used "
            f"here; end it with a softmax. Received: model={main.name!r}"
        )
    main = two_classes(main, class_names)
    if main.outputs[0].shape[-1] > 1:
        return main
    if gives_probabilities(main):
        raise ArgumentError(
            f"{main.name} ends with the softmax of one number, which is 1 for every image; end it with one sigmoid, or "
            f"a softmax of two numbers. Received: model={main.name!r}"
        )
    if len(class_names) == 2:
        raise ArgumentError(
            f"{main.name} gives one number per image, and ends with an activation that makes it neither a probability "
            f"nor a logit; end it with one sigmoid. Received: model={main.name!r}"
        )
    raise ArgumentError(
        f"{main.name} gives one number per image and ends without a sigmoid. If the number is the logit of the second "
        "of two classes, name both (--labels; in code, class_names); a measurement (regression) is not supported. "
        f"Received: model={main.name!r}, class_names={tuple(class_names)}"
    )


def two_classes(model: keras.Model, class_names: Sequence[str] = ()) -> keras.Model:
    """Let a model that ends with one sigmoid output two probabilities.

    Args:
        model: what `main_output` returned.
        class_names: if there are two names, one number without an activation is the logit of the second class.

    Returns:
        The model with an output of shape (batch, 2); any other model as it is.
    """
    outputs: Sequence[Any] = getattr(model, "outputs", None) or ()
    if len(outputs) != 1 or tuple(outputs[0].shape[1:]) != (1,):
        return model
    probability = outputs[0]
    if _ending(probability) is None and len(class_names) == 2 and _is_linear(probability):
        probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(probability)
    if _ending(probability) != "sigmoid":
        return model
    return keras.Model(model.input, TwoClasses(name="two_classes")(probability), name=model.name)


def is_multi_label(model: keras.Model) -> bool:
    """Return whether the first output ends with several sigmoids.

    Their labels do not exclude each other.
    """
    output = model.outputs[0]
    several = len(output.shape) == 2 and output.shape[-1] > 1
    return several and not isinstance(_keras.producer(output), TwoClasses) and _ending(output) == "sigmoid"


def class_count(outputs: Any) -> int:
    """Return how many classes an output distinguishes.

    Args:
        outputs: array or tensor (batch, values); one value distinguishes two classes.
    """
    return max(2, outputs.shape[-1])


def by_class(outputs: Probabilities) -> Probabilities:
    """Return probabilities with one column per class.

    Args:
        outputs: float array of probabilities (images, values). One value p becomes the two columns 1 - p and p.
    """
    return np.concatenate([1 - outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def gives_probabilities(model: keras.Model) -> bool:
    """Return whether the first output went through a softmax or sigmoid.

    Otherwise the output is logits.
    """
    return _last_activation(model.outputs[0]) is not None


def without_softmax(model: keras.Model) -> keras.Model:
    """Return the model without the last softmax or sigmoid of each output.

    An output without one stays as it is.

    Raises:
        ArgumentError: if the softmax is inside a nested model.
    """
    return keras.Model(model.input, logits_of(model), name=model.name)


def logits_of(model: keras.Model) -> list[keras.KerasTensor]:
    """Return the tensor before the last softmax or sigmoid of each output.

    For an output without one, that is the output itself.

    Raises:
        ArgumentError: if the softmax is inside a nested model.
    """

    def logits(tensor):
        end = _keras.producer(tensor)
        if isinstance(end, TwoClasses):
            # The softmax of plus and minus half of the log-odds is the two probabilities
            (probability,) = _keras.call_inputs(end, _keras.call_index(tensor))
            halves = keras.layers.Dense(2, use_bias=False, trainable=False, name=f"{end.name}_logits", dtype="float32")
            result = halves(logits(probability))
            halves.set_weights([np.array([[-0.5, 0.5]], "float32")])
            return result
        activation = _last_activation(tensor)
        if activation is None:
            return tensor
        operation, call = activation
        if end is not operation and operation not in model.operations:
            raise ArgumentError(
                f"{model.name}: its softmax is inside a nested model, which has no logits to take; build it "
                "without nesting, or with classifier_activation=None."
            )
        (activated,) = _keras.call_inputs(operation, call)
        if type(operation).__name__ in ("Softmax", "Sigmoid", "Activation"):
            return activated
        # A new name, because one model may hold both layers
        changes = {"activation": "linear", "name": f"{operation.name}_logits"}
        linear = type(operation).from_config({**operation.get_config(), **changes})
        result = linear(activated)
        linear.set_weights(operation.get_weights())
        return result

    return [logits(tensor) for tensor in model.outputs]


def _last_activation(tensor):
    """Return the last softmax or sigmoid and its call number, or None."""
    while True:
        operation, call = _keras.producer(tensor), _keras.call_index(tensor)
        if isinstance(operation, keras.Model):
            tensor = operation.outputs[0]
            continue
        # Layers and operations of keras.ops have the same class names
        if type(operation).__name__ in ("Softmax", "Sigmoid"):
            return operation, call
        activation = getattr(operation, "activation", keras.activations.linear)
        if activation in (keras.activations.softmax, keras.activations.sigmoid):
            return operation, call
        passes_on = type(operation).__name__ in ("Activation", "Identity", "Dropout", "Cast", "TwoClasses")
        if not passes_on or activation is not keras.activations.linear:
            return None
        tensor = _keras.call_inputs(operation, call)[0]


def _ending(tensor):
    """Return "softmax" or "sigmoid", whichever comes last, or None."""
    last = _last_activation(tensor)
    if last is None:
        return None
    operation, _ = last
    activation = getattr(operation, "activation", None)
    is_sigmoid = type(operation).__name__ == "Sigmoid" or activation is keras.activations.sigmoid
    return "sigmoid" if is_sigmoid else "softmax"


def _is_linear(tensor):
    """Return whether a tensor's layer has no known activation function."""
    operation = _keras.producer(tensor)
    if isinstance(operation, keras.Model):
        return _is_linear(operation.outputs[0])
    return getattr(operation, "activation", keras.activations.linear) is keras.activations.linear


def to_probabilities(model: keras.Model, outputs: Any) -> Probabilities:
    """Return a classifier's outputs as float32 probabilities.

    Args:
        model: what `as_classifier` returned.
        outputs: its outputs (images, classes). Logits go through a softmax.
    """
    outputs = np.asarray(outputs, "float32")
    return outputs if gives_probabilities(model) else softmax(outputs)


def softmax(logits: Any) -> Probabilities:
    """Return the softmax of logits, or the sigmoid of one logit.

    Args:
        logits: float32 array (..., classes), or (..., 1) with the logit of the second of two classes.

    Returns:
        Array of the same shape.
    """
    if logits.shape[-1] == 1:
        return softmax(np.concatenate([np.zeros_like(logits), logits], axis=-1))[..., 1:]
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def names_of_classes(names: Sequence[str], count: int) -> list[str]:
    """Return the class names, or "class 0", "class 1", and so on.

    Args:
        names: known names, perhaps none.
        count: how many classes there are.
    """
    return list(names) if names else [f"class {k}" for k in range(count)]
