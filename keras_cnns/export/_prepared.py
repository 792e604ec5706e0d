"""A model that is ready for conversion, and what it computes."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_cnns import _models, saving, typing
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.export.formats import INPUT, LOGITS, OUTPUT, PROBABILITIES
from keras_cnns.export.options import Options
from keras_cnns.export.parity import Reference
from keras_cnns.export.quantization import Calibration
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.task import Task

# The options that decide what an artifact is, whatever images it was calibrated or verified on
SHAPING = (
    "quantize io batch input_size preprocess bake_whitening logits auxiliary opset layout target integer_only".split()
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model as it is deployed.

    Attributes:
        model: float32 model from normalized images to one or more outputs.
        whole: the float32 model that it came from, whose first output tells what logits must be.
        outputs: names of the outputs, the main one first.
        softmax: for each output, whether a softmax is added to it; for a single value, a sigmoid.
        task: the model's task.
        preprocessing: `Preprocessing` of the images.
        class_names: class names, in the order of the main output; () if they are unknown.
        known_names: class names that the model itself carries, and its sources of images too.
        options: `Options`.
        source: where the weights are from: {"name", "sha256" of the file or None, "weights_sha256"}.
    """

    model: keras.Model
    whole: keras.Model
    outputs: tuple[str, ...]
    softmax: tuple[bool, ...]
    task: Task
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    known_names: tuple[str, ...]
    options: Options
    source: Mapping[str, Any]

    @property
    def main_output(self) -> str:
        """Name of the main output."""
        return self.outputs[0]

    @property
    def is_classifier(self) -> bool:
        """Whether the main output scores classes, of images or pixels."""
        return self.main_output in (PROBABILITIES, LOGITS)

    @property
    def scores_pixels(self) -> bool:
        """Whether the main output gives scores of classes for each pixel."""
        return self.is_classifier and self.task.scored == "pixel"

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have several classes.

        Then there is no accuracy on images with one label.
        """
        return classifiers.is_multi_label(self.whole)

    def as_input(self, images: typing.Pixels) -> np.ndarray:
        """Return uint8 images as the artifact takes them.

        They are unchanged, converted to float32, or normalized.
        """
        if not self.options.preprocess:
            return np.asarray(self.preprocessing.normalize(images.astype("float32")), "float32")
        return images if self.options.input_type != "float32" else images.astype("float32")

    def compute_references(self, images: typing.Pixels) -> dict[str, Reference]:
        """Run the model, and return its outputs by name.

        Args:
            images: uint8 (images, height, width, channels), of the model's size.
        """
        values = self._predict(images)
        # The second half holds the logits if the model has outputs after them, else all outputs are their own logits
        outputs, logits = values[: len(self.outputs)], values[-len(self.outputs) :]
        references = {}
        for name, output, logit, softmax in zip(self.outputs, outputs, logits, self.softmax, strict=True):
            shown = classifiers.softmax(output) if softmax else output
            references[name] = Reference(shown, self._kind_of(name), largest_logit=float(np.abs(logit).max()))
        return references

    def _kind_of(self, name):
        """Return what an output's values are.

        Those of auxiliary heads are the same kind as those of the main output.
        """
        if name in (PROBABILITIES, LOGITS):
            return name
        return self.main_output if self.is_classifier else OUTPUT

    def _predict(self, images):
        """Return all outputs for uint8 images, then the logits before them."""
        import tensorflow as tf

        batch_size = _models.batch_size_for(*self.preprocessing.size)
        model, parts = self._with_logits(), []
        # On a GPU, TensorFlow may compute float32 with 10 bits of precision, which would be no reference
        was_enabled = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(False)
        try:
            for start in range(0, len(images), batch_size):
                batch = self.preprocessing.normalize(images[start : start + batch_size].astype("float32"))
                parts.append(keras.tree.flatten(model.predict_on_batch(batch)))
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(was_enabled)
        return [np.concatenate([np.asarray(part[k], "float32") for part in parts]) for k in range(len(parts[0]))]

    def _with_logits(self):
        """Return the model with logits as further outputs, if they are found."""
        try:
            return keras.Model(self.model.input, [*self.model.outputs, *classifiers.logits_of(self.model)])
        except ArgumentError:  # the softmax is inside a nested model
            return self.model

    def card(self, name: str) -> dict[str, Any]:
        """Return the artifact's description of itself, as JSON values.

        Args:
            name: name of the artifact, without its suffix.
        """
        options = self.options
        return {
            "name": name,
            "classes": list(self.class_names),
            "input": {
                "name": INPUT,
                "dtype": options.input_type,
                "shape": [options.static_batch, *self.preprocessing.shape],  # channels last, whatever the layout
                "layout": options.layout or "nhwc",
                "values": "pixels, 0 to 255" if options.preprocess else "normalized by `preprocessing`",
            },
            "outputs": list(self.outputs),
            **({"multi_label": True} if self.is_multi_label else {}),
            "preprocessing": {**self.preprocessing.to_json(), "inside": options.preprocess},
            "options": {name: getattr(options, name) for name in SHAPING},
            "source": self.source,
            "versions": {**saving.versions(), **_converter_versions()},
        }


@dataclasses.dataclass(frozen=True)
class Job:
    """What a writer needs for one artifact.

    Attributes:
        prepared: the model.
        card: the artifact's description of itself, as JSON values.
        calibration: images that activations are fitted on, where the quantization needs them.
        say: function called with the name of each step of the writing, before it begins.
    """

    prepared: Prepared
    card: Mapping[str, Any]
    calibration: Calibration | None = None
    say: typing.Log = lambda step: None

    @property
    def card_text(self) -> str:
        """The card as indented JSON."""
        return json.dumps(self.card, indent=1, ensure_ascii=False)

    @property
    def labels_text(self) -> str:
        """The class names, one per line; "" without any."""
        return "".join(f"{name}\n" for name in self.prepared.class_names)

    def calibration_images(self, dtype: str) -> np.ndarray:
        """Return the calibration images as the artifact's graph takes them.

        Args:
            dtype: type of the graph's input.
        """
        assert self.calibration is not None  # `choose_calibration` gives one for each calibrated quantization
        if not self.prepared.options.preprocess:
            return self.prepared.as_input(self.calibration.images)
        return self.calibration.full_range_images().astype(dtype)


def _converter_versions():
    """Return the versions of the packages that write and run artifacts."""
    from importlib.metadata import version

    return {package: version(package) for package in ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert")}
