"""Prepare a model for export.

The prepared model computes in float32 and has the outputs, preprocessing and class names that the options ask for.
"""

import dataclasses
import hashlib
import json

import keras
import numpy as np

from keras_cnns import _keras, _models
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ArgumentError
from keras_cnns.export._prepared import Prepared
from keras_cnns.export.formats import LOGITS, OUTPUT, PROBABILITIES
from keras_cnns.export.options import Options
from keras_cnns.layers import SplitConv2D
from keras_cnns.saving import ModelInfo
from keras_cnns.tasks import classifiers
from keras_cnns.tasks.registry import task_of

# What a depthwise convolution takes over from a grouped one
DEPTHWISE_CONFIG = (
    *("name", "dtype", "kernel_size", "strides", "padding", "dilation_rate"),
    *("data_format", "activation", "use_bias"),
)


def prepare_model(
    model: keras.Model, info: ModelInfo | None, options: Options, name: str, sha256: str | None = None
) -> Prepared:
    """Return the `Prepared` of a model.

    Args:
        model: functional or sequential model from one image to one vector, perhaps with auxiliary heads.
        info: the model's record, with `class_names` and `preprocessing`; None if it has none.
        options: `Options`.
        name: name of the source of the weights.
        sha256: hash of the file that the model was read from; None without a file.

    Raises:
        ArgumentError: if the model and the options do not fit together.
    """
    task = task_of(info)
    task.check(model)
    main = task.deployed(model)
    if options.auxiliary and (task.scored == "object" or len(model.outputs) == len(main.outputs)):
        raise ArgumentError(f"{model.name} has no auxiliary heads to keep. Received: auxiliary=True")
    float32_model = _models.as_float32(model if options.auxiliary else main)
    whole = _with_split_groups(float32_model)
    class_names = tuple(options.labels or (info and info.class_names) or ())
    outputs = whole.outputs[-1 if task.scored == "object" else 0]
    has_scores = task.scored in ("image", "pixel")
    _check_labels(class_names, classifiers.class_count(outputs) if has_scores else outputs.shape[-1])
    preprocessing = _choose_preprocessing(main, info, options)
    _check_normalization(preprocessing, options)
    if None in _models.image_input(main):
        _check_input_size(main, preprocessing)
    if has_scores:
        served, main_name, add_softmax = _choose_output(whole, preprocessing, class_names, options, model.name)
    elif options.logits:
        raise ArgumentError(f"{model.name} gives no scores of classes; leave out --logits. Received: logits=True")
    else:
        main_name = OUTPUT if task.scored == "nothing" else _keras.producer(whole.outputs[0]).name
        served, add_softmax = whole, False
    other_names = [_keras.producer(tensor).name for tensor in whole.outputs[1:]]
    return Prepared(
        model=served,
        whole=whole,
        outputs=(main_name, *other_names),
        softmax=(add_softmax,) * (1 + len(other_names)),
        task=task,
        preprocessing=preprocessing,
        class_names=class_names,
        known_names=tuple((info and info.class_names) or class_names),
        options=options,
        source={"name": name, "sha256": sha256, "weights_sha256": _hash_weights(float32_model)},
    )


def _choose_output(whole, preprocessing, class_names, options, name):
    """Return the model to export, its main output, and its softmax.

    Returns (model, name of the main output, whether to add a softmax).
    """
    has_last_softmax = classifiers.gives_probabilities(whole)
    is_probability = has_last_softmax or _looks_like_probabilities(whole, preprocessing)
    if not options.logits:
        add_softmax = bool(class_names) and not is_probability
        return whole, PROBABILITIES if is_probability or add_softmax else OUTPUT, add_softmax
    if is_probability and not has_last_softmax:
        raise ArgumentError(
            f"{name} gives probabilities, and its softmax was not found; leave out --logits. Received: logits=True"
        )
    return classifiers.without_softmax(whole), LOGITS, False


def _check_input_size(model, preprocessing):
    """Raise ArgumentError if a model cannot take images of a size."""
    try:
        keras.Model(model.inputs, model.outputs)(keras.KerasTensor((1, *preprocessing.shape)))
    except Exception as error:  # each layer raises its own kind
        reason = " ".join(str(error).split())[:200]
        raise ArgumentError(
            f"{model.name} cannot take images of {'x'.join(map(str, preprocessing.shape))} ({reason}). "
            f"Received: input_size={preprocessing.size}"
        ) from None


def _looks_like_probabilities(model, preprocessing):
    """Return whether the outputs sum to one.

    Those of an ensemble do, although its last layer is not a softmax.
    """
    noise = np.random.default_rng(0).integers(0, 256, (8, *preprocessing.shape)).astype("float32")
    (values, *_) = keras.tree.flatten(model.predict_on_batch(preprocessing.normalize(noise)))
    values = np.asarray(values, "float32")
    return bool(values.shape[-1] > 1 and (values >= 0).all() and np.abs(values.sum(-1) - 1).max() < 1e-3)


def _with_split_groups(model):
    """Return the model without grouped convolutions, which no converter takes.

    One whose groups are single channels, as in ConvNeXt, becomes a depthwise convolution; others are split. The
    outputs and the values of the weights are the same.
    """
    if not any(_is_grouped(layer) for layer in _keras.all_layers(model)):
        return model
    copy = keras.models.clone_model(model, clone_function=_without_groups, recursive=True)
    # A depthwise kernel has other axes and the same values in the same order
    copy.set_weights(
        [value.reshape(weight.shape) for value, weight in zip(model.get_weights(), copy.weights, strict=True)]
    )
    return copy


def _is_grouped(layer):
    return type(layer) is keras.layers.Conv2D and layer.groups > 1 and layer.data_format == "channels_last"


def _without_groups(layer):
    """Return a new layer that computes the same without groups."""
    config = layer.get_config()
    if not _is_grouped(layer):
        return type(layer).from_config(config)
    rows, columns = layer.strides
    # TensorFlow has no depthwise convolution with two strides. A convolution per channel would be hundreds of nodes,
    # which take minutes to trace and convert.
    if layer.kernel.shape[-2] == 1 and rows == columns:
        kept = {key: config[key] for key in DEPTHWISE_CONFIG}
        return keras.layers.DepthwiseConv2D(depth_multiplier=layer.filters // layer.groups, **kept)
    return SplitConv2D.from_config(config)


def _check_labels(names, classes):
    if not names:
        return
    if len(names) != classes:
        raise ArgumentError(
            f"there must be one class name for each of the model's {classes} classes, one per line. "
            f"Received: {len(names)} labels, {', '.join(names[:5])}{', ...' if names[5:] else ''}"
        )
    if broken := [name for name in names if len(name.splitlines()) != 1]:
        raise ArgumentError(f"a class name is one line of text. Received: {broken[0]!r}")
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise ArgumentError(f"the class names must differ from each other. Received: {repeated[0]!r} more than once")


def _choose_preprocessing(model, info, options):
    """Return the `Preprocessing` of the artifact.

    The option `input_size` decides where the model's size is free.
    """
    height, width, channels = _models.image_input(model)
    preprocessing, side = info and info.preprocessing, options.input_size
    if side is None:
        return preprocessing or _models.plain_preprocessing(model)
    if preprocessing and preprocessing.arrays():
        raise ArgumentError(
            f"{model.name}: its preprocessing was fitted pixel by pixel, for images of one size; leave out "
            f"--input-size. Received: input_size={side}"
        )
    if any(fixed not in (None, side) for fixed in (height, width)):
        raise ArgumentError(
            f"{model.name} takes images of {height}x{width} pixels and no others; leave out --input-size, for "
            f"models whose height and width are free. Received: input_size={side}"
        )
    if preprocessing is None:
        return Preprocessing((side, side), channels, scale=(1.0,))
    shorter_side = preprocessing.shorter_side
    if shorter_side:
        shorter_side = max(side, round(shorter_side * side / min(preprocessing.size)))
    return dataclasses.replace(preprocessing, size=(side, side), shorter_side=shorter_side)


def _check_normalization(preprocessing, options):
    """Raise ArgumentError for a normalization that the artifact cannot hold.

    It is too large to be held unasked, or impossible with integers.
    """
    if not options.preprocess:
        return
    if preprocessing.whitening is not None and not options.bake_whitening:
        megabytes = sum(array.nbytes for array in preprocessing.arrays().values()) / 1e6
        raise ArgumentError(
            f"the preprocessing whitens images by a matrix that takes {megabytes:.1f} MB in each artifact: ask for it "
            "with --bake-whitening, or leave the preprocessing out with --no-preprocess. Received: bake_whitening=False"
        )
    if options.quantize == "int8" and (preprocessing.contrast_bias is not None or preprocessing.whitening is not None):
        raise ArgumentError(
            "integers of 8 bits cannot hold a normalization of each image by its own contrast: leave the preprocessing "
            "out with --no-preprocess. Received: quantize=int8, preprocess=True"
        )


def _hash_weights(model):
    """Return the sha256 of a model's weights.

    Types, shapes and values are hashed, in order.
    """
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(json.dumps([array.dtype.name, *array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
