"""What is exported: a model in float32, with the outputs, preprocessing and class names that the options ask for."""

import dataclasses
import hashlib
import json

import keras
import numpy as np

from keras_cnns import _keras, _models, saving
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.export.formats import INPUT, LOGITS, OUTPUT, PROBABILITIES
from keras_cnns.export.options import Options
from keras_cnns.layers import SplitConv2D

# The options that decide what an artifact is, whatever images it was fitted or verified on
SHAPING = (
    "quantize io batch input_size preprocess bake_whitening logits auxiliary opset layout target integer_only".split()
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model as it is deployed.

    Attributes:
        model: float32 `keras.Model` from normalized images to one or more outputs.
        whole: the float32 model that it came from, whose first output tells what logits must be.
        outputs: names of the outputs, the main one first.
        softmax: for each output, whether a softmax follows it; a sigmoid, where it has one value.
        preprocessing: `Preprocessing` of the images.
        class_names: in the order of the main output, () if they have none.
        known_names: those that the model itself carries, which sources of images have too.
        options: `Options`.
        source: of the weights: {"name", "sha256" of the file or None, "weights_sha256"}.
    """

    model: keras.Model
    whole: keras.Model
    outputs: tuple[str, ...]
    softmax: tuple[bool, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    known_names: tuple[str, ...]
    options: Options
    source: dict

    @property
    def is_classifier(self):
        """Whether the main output tells classes apart."""
        return self.outputs[0] != OUTPUT

    @property
    def is_multi_label(self):
        """Whether classes do not exclude each other, so that an image with one label has no accuracy."""
        return _models.is_multi_label(self.whole)

    def given(self, images):
        """Return what the artifact is given for uint8 images: they themselves, or float32, normalized or not."""
        if not self.options.preprocess:
            return np.float32(self.preprocessing.normalize(images.astype("float32")))
        return images if self.options.input_type != "float32" else images.astype("float32")

    def expected(self, images):
        """Return what the model makes of uint8 images (images, height, width, channels) of its size.

        Returns:
            (the outputs by name, of each output the largest absolute logit: rounding grows with it).
        """
        import tensorflow as tf

        batch_size = _models.batch_size_for(*self.preprocessing.size)
        reference, parts, short = self._with_logits(), [], tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(False)  # GPUs' float32 of 10 bits is no reference
        try:
            for start in range(0, len(images), batch_size):
                batch = self.preprocessing.normalize(images[start : start + batch_size].astype("float32"))
                parts.append(keras.tree.flatten(reference.predict_on_batch(batch)))
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(short)
        joined = [np.concatenate([np.asarray(part[k], "float32") for part in parts]) for k in range(len(parts[0]))]
        outputs, logits = joined[: len(self.outputs)], joined[-len(self.outputs) :]
        softened = (_models.softmax(one) if add else one for one, add in zip(outputs, self.softmax, strict=True))
        largest = (float(np.abs(one).max()) for one in logits)
        return dict(zip(self.outputs, softened, strict=True)), dict(zip(self.outputs, largest, strict=True))

    def _with_logits(self):
        """Return the model with the logits of each output behind its outputs, where it has others."""
        try:
            return keras.Model(self.model.input, [*self.model.outputs, *_models.logits_of(self.model)])
        except ArgumentError:  # inside a nested model
            return self.model

    def card(self, name):
        """Return what an artifact says of itself, as JSON values."""
        options = self.options
        return {
            "name": name,
            "classes": list(self.class_names),
            "input": {
                "name": INPUT,
                "dtype": options.input_type,
                "shape": [options.static_batch, *self.preprocessing.shape],  # before the layout
                "layout": options.layout or "nhwc",
                "values": "pixels, 0 to 255" if options.preprocess else "normalized by `preprocessing`",
            },
            "outputs": list(self.outputs),
            **({"multi_label": True} if self.is_multi_label else {}),
            "preprocessing": {**self.preprocessing.to_json(), "inside": options.preprocess},
            "options": {name: getattr(options, name) for name in SHAPING},
            "source": self.source,
            "versions": {**saving.versions(), **_converters()},
        }


def prepare_model(model, info, options, name, sha256=None):
    """Return the `Prepared` of a model.

    Args:
        model: functional or sequential `keras.Model`, one image in, one vector out, and perhaps auxiliary heads.
        info: the model's record, with `class_names` and `preprocessing`, or None.
        options: `Options`.
        name: of the source of the weights.
        sha256: of the file that the model was read from, if it was.

    Raises:
        ArgumentError: if the model and the options do not fit.
    """
    main = _models.main_output(model)
    _models.one_image_input(main)
    if options.auxiliary and len(model.outputs) == len(main.outputs):
        raise ArgumentError(f"{model.name} has no auxiliary heads to keep. Received: auxiliary=True")
    whole = _with_split_groups(_models.as_float32(model if options.auxiliary else main))
    class_names = tuple(options.labels or (info and info.class_names) or ())
    _check_labels(class_names, _models.class_count(whole.outputs[0]))
    preprocessing = _preprocessing(main, info, options)
    _check_normalization(preprocessing, options)
    if None in _models.one_image_input(main):
        _check_size(main, preprocessing)
    known = _models.gives_probabilities(whole)
    is_probability = known or _looks_like_probabilities(whole, preprocessing)
    if options.logits and is_probability and not known:
        raise ArgumentError(
            f"{model.name} gives probabilities, and where its softmax is cannot be told; leave out --logits. "
            "Received: logits=True"
        )
    if options.logits:
        served = _models.without_softmax(whole)
        first, add = LOGITS, False
    else:
        served = whole
        add = bool(class_names) and not is_probability
        first = PROBABILITIES if is_probability or add else OUTPUT
    others = [_keras.producer(tensor).name for tensor in whole.outputs[1:]]
    return Prepared(
        model=served,
        whole=whole,
        outputs=(first, *others),
        softmax=(add,) * (1 + len(others)),
        preprocessing=preprocessing,
        class_names=class_names,
        known_names=tuple((info and info.class_names) or class_names),
        options=options,
        source={"name": name, "sha256": sha256, "weights_sha256": _hash_weights(whole)},
    )


def _check_size(model, preprocessing):
    """Raise ArgumentError if a model cannot take images of a size."""
    try:
        keras.Model(model.inputs, model.outputs)(keras.KerasTensor((1, *preprocessing.shape)))
    except Exception as error:  # each layer has its own
        reason = " ".join(str(error).split())[:200]
        raise ArgumentError(
            f"{model.name} cannot take images of {'x'.join(map(str, preprocessing.shape))} ({reason}). "
            f"Received: input_size={preprocessing.size}"
        ) from None


def _looks_like_probabilities(model, preprocessing):
    """Return whether outputs sum to one: of an ensemble, say, whose softmax is not its last layer."""
    noise = np.random.default_rng(0).integers(0, 256, (8, *preprocessing.shape)).astype("float32")
    (values, *_) = keras.tree.flatten(model.predict_on_batch(preprocessing.normalize(noise)))
    values = np.asarray(values, "float32")
    return bool(values.shape[1] > 1 and (values >= 0).all() and np.abs(values.sum(1) - 1).max() < 1e-3)


def _with_split_groups(model):
    """Return the model with grouped convolutions split, as no converter takes Keras's own; the weights are the same."""

    def grouped(layer):
        return type(layer) is keras.layers.Conv2D and layer.groups > 1 and layer.data_format == "channels_last"

    if not any(grouped(layer) for layer in _keras.all_layers(model)):
        return model
    copy = keras.models.clone_model(
        model,
        clone_function=lambda layer: (SplitConv2D if grouped(layer) else type(layer)).from_config(layer.get_config()),
        recursive=True,
    )
    copy.set_weights(model.get_weights())
    return copy


def _check_labels(names, classes):
    if not names:
        return
    if len(names) != classes:
        raise ArgumentError(
            f"the class names must be as many as the model tells classes apart, {classes}, one a line. "
            f"Received: {len(names)} labels, {', '.join(names[:5])}{', ...' if names[5:] else ''}"
        )
    if broken := [name for name in names if len(name.splitlines()) != 1]:
        raise ArgumentError(f"a class name is one line of text. Received: {broken[0]!r}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise ArgumentError(f"the class names must differ from each other. Received: {twice[0]!r} more than once")


def _preprocessing(model, info, options):
    """Return the record of the images that the artifact takes; where the model is free, `input_size` decides."""
    height, width, channels = _models.one_image_input(model)
    record, side = info and info.preprocessing, options.input_size
    if side is None:
        return record or _models.plain_preprocessing(model)
    if record and record.arrays():
        raise ArgumentError(
            f"{model.name}: its preprocessing was fitted pixel by pixel, for images of one size; leave out "
            f"--input-size. Received: input_size={side}"
        )
    if side is not None and any(one not in (None, side) for one in (height, width)):
        raise ArgumentError(
            f"{model.name} takes images of {height}x{width} pixels and no others; leave out --input-size, for "
            f"models whose height and width are free. Received: input_size={side}"
        )
    if record is None:
        return Preprocessing((side, side), channels, scale=(1.0,))
    shorter = record.shorter_side and max(side, round(record.shorter_side * side / min(record.size)))
    return dataclasses.replace(record, size=(side, side), shorter_side=shorter)


def _check_normalization(preprocessing, options):
    """Raise ArgumentError for a normalization that is too large, or not for integers, to be in the artifact unasked."""
    if not options.preprocess:
        return
    if preprocessing.whitening is not None and not options.bake_whitening:
        size = sum(array.nbytes for array in preprocessing.arrays().values()) / 1e6
        raise ArgumentError(
            f"the preprocessing whitens images by a matrix that takes {size:.1f} MB in each artifact: ask for it "
            "with --bake-whitening, or leave the preprocessing out with --no-preprocess. Received: bake_whitening=False"
        )
    if options.quantize == "int8" and (preprocessing.contrast_bias is not None or preprocessing.whitening is not None):
        raise ArgumentError(
            "integers of 8 bits cannot hold a normalization of each image by its own contrast: leave the "
            "preprocessing out with --no-preprocess. Received: quantize=int8, preprocess=True"
        )


def _hash_weights(model):
    """Return the sha256 of a model's weights: shapes and values, in order."""
    found = hashlib.sha256()
    for value in model.get_weights():
        found.update(json.dumps([value.dtype.name, *value.shape]).encode())
        found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()


def _converters():
    """Return the versions of what writes and runs the artifacts."""
    from importlib.metadata import version

    return {package: version(package) for package in ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "ai-edge-litert")}
