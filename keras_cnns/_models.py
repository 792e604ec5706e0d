"""Questions that training, evaluation and export ask of any functional Keras model."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_cnns import _graph, _keras
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Pixels

LOW_PRECISION = ("mixed_bfloat16", "mixed_float16", "bfloat16", "float16")


def image_input(model: keras.Model) -> tuple[Any, Any, Any]:
    """Return the input shape of a model of images.

    Returns:
        (height, width, channels), where height or width may be None.

    Raises:
        ArgumentError: if the model has other inputs.
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


def main_output(model: keras.Model) -> keras.Model:
    """Return the model without its auxiliary heads.

    Of several outputs only the first is kept, if it is called `predictions`; otherwise the model is returned as it is.
    A sequential model becomes a functional one, because the other functions here ask for one.
    """
    outputs: Sequence[Any] = getattr(model, "outputs", None) or ()
    if isinstance(model, keras.Sequential) and outputs:
        return keras.Model(model.inputs, model.outputs, name=model.name)
    if len(outputs) < 2 or isinstance(model.output, dict) or _keras.producer(outputs[0]).name != "predictions":
        return model
    return keras.Model(model.input, outputs[0], name=model.name)


def output_layers(model: keras.Model) -> set[str]:
    """Return the names of the last layers with weights before each output."""
    names, waiting = set(), list(model.outputs)
    while waiting:
        tensor = waiting.pop()
        operation = _keras.producer(tensor)
        if operation.weights:
            names.add(operation.name)
        else:
            waiting += _keras.call_inputs(operation, _keras.call_index(tensor))
    return names


def plain_preprocessing(model: keras.Model) -> Preprocessing:
    """Return the preprocessing for a model without a record.

    It leaves pixels of 0 to 255 as they are, and resizes images to the model's input.

    Raises:
        ArgumentError: if the input's size is not known, or it has neither 1 nor 3 channels.
    """
    height, width, channels = image_input(model)
    if None in (height, width) or channels not in (1, 3):
        raise ArgumentError(
            f"{model.name}: without a preprocessing record the model's input must have a known size (for export: "
            f"--input-size) and 1 or 3 channels. Received: input_shape={(height, width, channels)}"
        )
    return Preprocessing((height, width), channels, scale=(1.0,))


def normalizing_layer(model: keras.Model) -> str | None:
    """Return the name of the first layer that normalizes the input.

    Such a layer is Rescaling, Normalization, or arithmetic on the images themselves, before any layer with a kernel.
    Without one, None is returned.
    """
    kinds = ("Rescaling", "Normalization", "Divide", "TrueDivide", "Multiply", "Subtract")
    for use in _graph.walk(model)[1]:
        if type(use.operation).__name__ in kinds:
            return use.name
        if getattr(use.operation, "weights", ()) and not type(use.operation).__name__.startswith("Random"):
            return None
    return None


def as_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes in float32 throughout.

    It is a copy if some layers compute in lower precision, otherwise the model itself.
    """
    if all(layer.dtype_policy.name not in LOW_PRECISION for layer in _keras.all_layers(model)):
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


def batch_size_for(height: int, width: int) -> int:
    """Return how many images of a size to predict at a time.

    Large images come in small batches, because their activations take much memory.
    """
    return min(256, max(8, (1 << 22) // (height * width)))


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set Keras's global dtype policy within the context."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def predict_pixels(
    model: keras.Model, images: Pixels, preprocessing: Preprocessing, batch_size: int = 256
) -> np.ndarray:
    """Normalize uint8 images of the model's size and return its outputs, float32."""
    batches = (images[k : k + batch_size].astype("float32") for k in range(0, len(images), batch_size))
    return np.concatenate(
        [np.asarray(model.predict_on_batch(preprocessing.normalize(batch)), "float32") for batch in batches]
    )
