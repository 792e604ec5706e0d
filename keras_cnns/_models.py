"""Questions that training, evaluation and export ask of any functional Keras model."""

import contextlib

import keras
import numpy as np

from keras_cnns import _graph
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError

LOW_PRECISION = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")


def image_input(model):
    """Return (height, width, channels) of a model with one image as input; height or width may be None.

    Raises:
        ArgumentError: if it has other inputs.
    """
    if not getattr(model, "inputs", None):
        raise ArgumentError(f"{model.name}: the model has no known input; build a functional or sequential model.")
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        shapes = [tuple(x.shape) for x in model.inputs]
        raise ArgumentError(
            f"{model.name}: the model must take one batch of images, (batch, height, width, channels). "
            f"Received: inputs={shapes}"
        )
    return tuple(model.inputs[0].shape[1:])


def one_image_input(model):
    """Return what `image_input` does, of a model with one vector an image as output.

    Raises:
        ArgumentError: if it has other inputs or outputs.
    """
    shape = image_input(model)
    named = not isinstance(model, keras.Sequential) and isinstance(model.output, dict)
    if named or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = [tuple(x.shape) for x in model.outputs]
        raise ArgumentError(
            f"{model.name}: the model must give one vector an image, (batch, classes). Received: outputs={shapes}"
        )
    return shape


def main_output(model):
    """Return the model without its auxiliary heads: of several outputs the first, if it is called `predictions`.

    A sequential model becomes a functional one, which has what else is asked of models.
    """
    outputs = getattr(model, "outputs", None) or ()
    if isinstance(model, keras.Sequential) and outputs:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if len(outputs) < 2 or isinstance(model.output, dict) or outputs[0]._keras_history.operation.name != "predictions":
        return model
    return keras.Model(model.input, outputs[0], name=model.name)


@keras.saving.register_keras_serializable(package="keras_cnns")
class TwoClasses(keras.layers.Layer):
    """Turn the probability of the second of two classes into the probabilities of both.

    Call arguments:
        inputs: (batch, 1), a sigmoid's output.

    Returns:
        (batch, 2), float32: 1 - p and p.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs):
        """Return both probabilities."""
        return keras.ops.concatenate([1 - inputs, inputs], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)

    def compute_cost(self, input_shape):
        """Return {"macs": 0, "connections": 0}: only layers with a kernel or a pool have any."""
        return {"macs": 0, "connections": 0}


def as_classifier(model, class_names=()):
    """Return a model without auxiliary heads that gives a value for each of several classes, of which one is right.

    One sigmoid, the probability of the second of two classes, becomes the probabilities of both. One number without an
    activation may be a logit or a measurement: it is a logit where two class names are known, and refused elsewhere.

    Args:
        model: functional or sequential `keras.Model`, one batch of images in, one vector per image out.
        class_names: of the model or of the images' labels, () if there are none.

    Returns:
        Functional `keras.Model`: probabilities or logits (batch, classes), two classes or more.

    Raises:
        ArgumentError: if it has other inputs or outputs, if its classes do not exclude each other (several sigmoids),
            or if its one output does not tell classes apart.
    """
    main = main_output(model)
    one_image_input(main)
    if is_multi_label(main):
        raise ArgumentError(
            f"{main.name} ends with {main.outputs[0].shape[-1]} sigmoids: each says by itself whether a label applies, "
            "so that an image may have several (multi-label). Only models of which one class is right can be used "
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


def two_classes(model, class_names=()):
    """Return a model that ends with one sigmoid as one that gives the probabilities of two classes; others as they are.

    Args:
        model: what `main_output` returned.
        class_names: if they are two, one number without an activation is the logit of the second class.
    """
    outputs = getattr(model, "outputs", None) or ()
    if len(outputs) != 1 or tuple(outputs[0].shape[1:]) != (1,):
        return model
    probability = outputs[0]
    if _ending(probability) is None and len(class_names) == 2 and _is_linear(probability):
        probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(probability)
    if _ending(probability) != "sigmoid":
        return model
    return keras.Model(model.input, TwoClasses(name="two_classes")(probability), name=model.name)


def is_multi_label(model):
    """Return whether the first output ends with several sigmoids, which do not exclude each other."""
    output = model.outputs[0]
    several = len(output.shape) == 2 and output.shape[-1] > 1
    return several and not isinstance(output._keras_history.operation, TwoClasses) and _ending(output) == "sigmoid"


def class_count(outputs):
    """Return how many classes an output (batch, values) tells apart: two, if it has one value."""
    return max(2, outputs.shape[-1])


def by_class(outputs):
    """Return outputs (images, values) with a column for each class; both columns of one value p are 1 - p and p.

    Args:
        outputs: float array of probabilities.
    """
    return np.concatenate([1 - outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs


def classifiers(model):
    """Return the names of the last layers with weights in front of each output."""
    found, waiting = set(), list(model.outputs)
    while waiting:
        operation, node, _ = waiting.pop()._keras_history
        if operation.weights:
            found.add(operation.name)
        else:
            waiting += operation._inbound_nodes[node].input_tensors
    return found


def gives_probabilities(model):
    """Return whether a model's output went through a softmax or a sigmoid; otherwise it gives logits."""
    return _last_activation(model.outputs[0]) is not None


def without_softmax(model):
    """Return the model up to the last softmax or sigmoid of each output; an output that has none stays as it is.

    Raises:
        ArgumentError: if the softmax is inside a nested model.
    """
    return keras.Model(model.input, logits_of(model), name=model.name)


def logits_of(model):
    """Return, for each output of a model, the tensor before its last softmax or sigmoid; itself if it has none.

    Raises:
        ArgumentError: if the softmax is inside a nested model.
    """

    def logits(tensor):
        end = tensor._keras_history.operation
        if isinstance(end, TwoClasses):
            # Half of the log-odds, with either sign: their softmax gives the two probabilities
            (probability,) = end._inbound_nodes[tensor._keras_history.node_index].input_tensors
            halves = keras.layers.Dense(2, use_bias=False, trainable=False, name=f"{end.name}_logits", dtype="float32")
            result = halves(logits(probability))
            halves.set_weights([np.array([[-0.5, 0.5]], "float32")])
            return result
        found = _last_activation(tensor)
        if found is None:
            return tensor
        operation, node = found
        if tensor._keras_history.operation is not operation and operation not in model.operations:
            raise ArgumentError(
                f"{model.name}: its softmax is inside a nested model, which has no logits to take; build it "
                "without nesting, or with classifier_activation=None."
            )
        (given,) = operation._inbound_nodes[node].input_tensors
        if type(operation).__name__ in ("Softmax", "Sigmoid", "Activation"):
            return given
        changes = {"activation": "linear", "name": f"{operation.name}_logits"}  # both may stand in one model
        linear = type(operation).from_config({**operation.get_config(), **changes})
        result = linear(given)
        linear.set_weights(operation.get_weights())
        return result

    return [logits(tensor) for tensor in model.outputs]


def _last_activation(tensor):
    """Return (operation, its node) of the softmax or sigmoid that a tensor comes out of; None if there is none."""
    while True:
        operation, node, _ = tensor._keras_history
        if isinstance(operation, keras.Model):
            tensor = operation.outputs[0]
            continue
        # The layers and the functions of keras.ops alike
        if type(operation).__name__ in ("Softmax", "Sigmoid"):
            return operation, node
        activation = getattr(operation, "activation", keras.activations.linear)
        if activation in (keras.activations.softmax, keras.activations.sigmoid):
            return operation, node
        passes_on = type(operation).__name__ in ("Activation", "Identity", "Dropout", "Cast", "TwoClasses")
        if not passes_on or activation is not keras.activations.linear:
            return None
        tensor = operation._inbound_nodes[node].input_tensors[0]


def _ending(tensor):
    """Return "softmax" or "sigmoid", whichever a tensor comes out of; None if it is neither."""
    found = _last_activation(tensor)
    if found is None:
        return None
    operation, _ = found
    activation = getattr(operation, "activation", None)
    is_sigmoid = type(operation).__name__ == "Sigmoid" or activation is keras.activations.sigmoid
    return "sigmoid" if is_sigmoid else "softmax"


def _is_linear(tensor):
    """Return whether no activation function is known to follow the last weights of a tensor."""
    operation = tensor._keras_history.operation
    if isinstance(operation, keras.Model):
        return _is_linear(operation.outputs[0])
    return getattr(operation, "activation", keras.activations.linear) is keras.activations.linear


def plain_preprocessing(model):
    """Return the record for a model that carries none: pixels of 0 to 255 as they are, at the model's size."""
    height, width, channels = one_image_input(main_output(model))
    if None in (height, width) or channels not in (1, 3):
        raise ArgumentError(
            f"{model.name}: without a preprocessing record the model's input must have a known size (for export: "
            f"--input-size) and 1 or 3 channels. Received: input_shape={(height, width, channels)}"
        )
    return Preprocessing((height, width), channels, scale=(1.0,))


def normalizing_layer(model):
    """Return the name of the first layer that normalizes what a model is given; None if there is none.

    That is a Rescaling or Normalization layer, or arithmetic on the images themselves, before any layer with a kernel.
    """
    kinds = ("Rescaling", "Normalization", "Divide", "TrueDivide", "Multiply", "Subtract")
    for use in _graph.walk(model)[1]:
        if type(use.operation).__name__ in kinds:
            return use.name
        if getattr(use.operation, "weights", ()) and not type(use.operation).__name__.startswith("Random"):
            return None
    return None


def as_float32(model):
    """Return the model, or a copy of it that computes in float32 if some of its layers do not."""
    if all(layer.dtype_policy.name not in LOW_PRECISION for layer in model._flatten_layers()):
        return model

    def rewrite(node):
        if isinstance(node, list):
            return [rewrite(value) for value in node]
        if not isinstance(node, dict):
            return node
        return {
            key: "float32" if key == "dtype" and _policy_name(value) in LOW_PRECISION else rewrite(value)
            for key, value in node.items()
        }

    def _policy_name(value):
        return value.get("config", {}).get("name") if isinstance(value, dict) else value

    copy = type(model).from_config(rewrite(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy


def to_probabilities(model, outputs):
    """Return float32 probabilities from what `as_classifier` gave: as they are, or the softmax of logits."""
    outputs = np.asarray(outputs, "float32")
    return outputs if gives_probabilities(model) else softmax(outputs)


def softmax(logits):
    """Return the softmax of float32 logits (images, classes); of one logit of two classes, its sigmoid (images, 1)."""
    if logits.shape[1] == 1:
        return softmax(np.concatenate([np.zeros_like(logits), logits], axis=1))[:, 1:]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def batch_size_for(height, width):
    """Return how many images to predict at a time: of large ones few, for their activations."""
    return min(256, max(8, (1 << 22) // (height * width)))


@contextlib.contextmanager
def dtype_policy(name):
    """Let layers be built under a dtype policy, and put back the one that was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def predict_pixels(model, images, preprocessing, batch_size=256):
    """Return the model's float32 outputs for uint8 images (images, height, width, channels) of its size."""
    batches = (images[k : k + batch_size].astype("float32") for k in range(0, len(images), batch_size))
    return np.concatenate(
        [np.asarray(model.predict_on_batch(preprocessing.normalize(batch)), "float32") for batch in batches]
    )


def names_of_classes(names, count):
    """Return a list of class names; where none are known, their numbers in words."""
    return list(names) if names else [f"class {k}" for k in range(count)]
