"""SSD: detection by default boxes on several maps.

W. Liu, D. Anguelov, D. Erhan, C. Szegedy, S. Reed, C.-Y. Fu, A. C. Berg: SSD: Single Shot MultiBox Detector, ECCV 2016,
arXiv 1512.02325. Layers, default boxes and their order are those of the authors' files (examples/ssd/ssd_pascal.py).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from keras_cnns.applications import vgg
from keras_cnns.applications._arguments import (
    Arguments,
    Initializer,
    InputShape,
    Option,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._backbones import Backbone, last_output, model_of, set_weights, subsampled
from keras_cnns.applications._loading import load_weights
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import L2Normalization, ObjectScores, SSDBoxes, ceil_pooling
from keras_cnns.typing import Path


class Extra(NamedTuple):
    """A further map: a 1x1 convolution, then one that makes it smaller.

    Attributes:
        channels: of the two convolutions.
        kernel_size: of the second.
        strides: of the second.
        pad: pixels around the map before the second.
    """

    channels: tuple[int, int]
    kernel_size: int = 3
    strides: int = 2
    pad: int = 1


class Design(NamedTuple):
    """The numbers of one of the authors' files.

    Attributes:
        side: of the images, in pixels.
        extras: maps after fc7: conv6_2, conv7_2, ...
        shares: smallest sides of the default boxes in percent of the image, one per map, and the end.
        ratios: of the default boxes on each map.
        steps: pixels from one position of a map to the next.
    """

    side: int
    extras: tuple[Extra, ...]
    shares: tuple[float, ...]
    ratios: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...]


DESIGNS = {
    "SSD300": Design(
        side=300,
        extras=(
            Extra((256, 512)),  # 10x10
            Extra((128, 256)),  # 5x5
            Extra((128, 256), strides=1, pad=0),  # 3x3
            Extra((128, 256), strides=1, pad=0),  # 1x1
        ),
        shares=(10, 20, 37, 54, 71, 88, 105),
        ratios=((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
        steps=(8, 16, 32, 64, 100, 300),
    ),
    "SSD512": Design(
        side=512,
        extras=(
            Extra((256, 512)),  # 16x16
            Extra((128, 256)),  # 8x8
            Extra((128, 256)),  # 4x4
            Extra((128, 256)),  # 2x2
            Extra((128, 256), kernel_size=4, strides=1),  # 1x1
        ),
        shares=(7, 15, 30, 45, 60, 75, 90, 105),
        ratios=((2,), (2, 3), (2, 3), (2, 3), (2, 3), (2,), (2,)),
        steps=(8, 16, 32, 64, 128, 256, 512),
    ),
}
LEAST_STRIDE = 4  # of the finest map of `SSD`


def SSD300(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    name: str = "ssd300",
    *,
    backbone_weights: Path | None = None,
    clip: bool | None = None,
    kernel_initializer: Initializer = "glorot_uniform",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build SSD300 (Liu et al. 2016).

    VGG16 with dilated fc6 and four further maps; 8,732 default boxes; 26,285,486 trainable parameters with 20 classes.
    There is no `include_top`, no `pooling` and no `classifier_activation`, as the detections are the result.

    Layers: conv1_1 to conv5_3 of VGG16, whose pool3 rounds up and whose pool5 has no stride; fc6, fc7, conv6_1 to
    conv9_2; conv4_3_norm; for each map NAME_mbox_loc and NAME_mbox_conf; mbox_loc, mbox_conf, predictions, boxes,
    scores. Their names are those of the authors' file.

    Args:
        weights: None (random), or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, 300, 300, channels) to use as input.
        input_shape: (300, 300, channels). None: that of the weights, else (300, 300, 3).
        classes: number of classes, without the background; a number other than the weights' leaves the layers that
            score them untrained, with a warning. None: that of the weights, else 20.
        name: name of the model.
        backbone_weights: argument `weights` of VGG16 from which to start, such as "imagenet". fc6 and fc7 are
            subsampled, as by the authors. None: random.
        clip: whether default boxes are cut at the border of the image; the authors' for VOC are not. None: that of the
            weights, else False.
        kernel_initializer: initializer of all kernels; the authors' is Xavier's for layers after VGG's.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, 300, 300, channels), which the caller normalizes, to a
        dictionary of float32 tensors:

        - "boxes" (batch, 8732, 4): top, left, bottom, right in pixels of the input;
        - "scores" (batch, 8732, classes): probabilities of the classes; those of a box and its background add up to 1;
        - "predictions" (batch, 8732, 4 + 1 + classes): offsets and logits, which only training needs.

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Liu et al. 2016, section 2 and figure 2; models/VGGNet/VOC0712/SSD_300x300 of the authors.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.SSD300(classes=3)
        >>> {name: tensor.shape for name, tensor in model.output.items()}
        {'boxes': (None, 8732, 4), 'predictions': (None, 8732, 8), 'scores': (None, 8732, 3)}
    """
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, None, name)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    return _build("SSD300", arguments, backbone_weights, clip, initializers)


def SSD512(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    name: str = "ssd512",
    *,
    backbone_weights: Path | None = None,
    clip: bool | None = None,
    kernel_initializer: Initializer = "glorot_uniform",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build SSD512 (Liu et al. 2016).

    As `SSD300` for images of 512x512, with one map more: 24,564 default boxes; 27,188,676 trainable parameters.
    The arguments, result and errors are those of `SSD300`.

    Examples:
        >>> from keras_cnns import applications
        >>> applications.SSD512(classes=3).output["boxes"].shape
        (None, 24564, 4)
    """
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, None, name)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    return _build("SSD512", arguments, backbone_weights, clip, initializers)


def SSD(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    name: str = "ssd",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    channels: int | None = None,
    smallest: float | None = None,
    largest: float | None = None,
    clip: bool | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build SSD on the maps of any classifier.

    For images of any size that is known, so that it trains on a laptop; 1,285,338 trainable parameters by default. Maps
    are those of the classifier at a half and a quarter of its stride and its last ones, as far as their stride is at
    least 4, and further ones, each half as large, down to two positions. The default boxes have the paper's ratios;
    their sides grow in equal steps from the first map to the last (equation 4).

    Layers: those of the classifier, extra1_1, extra1_2, ...; l2_norm, which normalizes the first maps as in the paper;
    for each map mbox_loc1, mbox_conf1, ...; mbox_loc, mbox_conf, predictions, boxes, scores.

    Args:
        weights: None (random), or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels), in pixels, all of them known. None: that of the weights, else
            (96, 96, 3).
        classes: number of classes, as in `SSD300`. None: that of the weights, else 20.
        name: name of the model.
        backbone: public name of the classifier. None: that of the weights, else "ResNet20".
        backbone_weights: argument `weights` of the classifier from which to start, such as "cifar10". None: random.
        backbone_options: other arguments of the classifier. None: those of the weights, else of the backbone's weights,
            else its defaults.
        channels: of the further maps. None: that of the weights, else 128.
        smallest: smallest side of the default boxes of the first map, as a share of the image's shorter side. None:
            that of the weights, else 0.1.
        largest: the same of the last map. None: that of the weights, else 0.9.
        clip: whether default boxes are cut at the border of the image. None: that of the weights, else False.
        dropout: rate of dropout layers of the backbone.
        kernel_initializer: initializer of the kernels of the backbone and of further maps; layers that predict have
            Xavier's.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model`, as `SSD300`.

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Liu et al. 2016, section 2.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.SSD(input_shape=(96, 96, 3), classes=3)
        >>> model.output["boxes"].shape, model.get_layer("boxes").places["map_sizes"]
        ((None, 3454, 4), [[24, 24], [12, 12], [6, 6], [3, 3], [2, 2]])
    """
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, None, name)
    options = {
        "backbone": Option(backbone, default="ResNet20"),
        "backbone_options": Option(backbone_options, default=None),
        "channels": Option(channels, default=128),
        "smallest": Option(smallest, default=0.1),
        "largest": Option(largest, default=0.9),
        "clip": Option(clip, default=False, choices=(False, True)),
    }
    settings = check("SSD", arguments, dropout, options=options)
    height, width, _ = settings.input_shape
    if height is None or width is None:
        raise ArgumentError(
            f"SSD: default boxes belong to images of one size; give it. Received: input_shape={settings.input_shape}"
        )
    _check_numbers(settings.options)
    found = Backbone.of(settings, weights, backbone_weights)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    inputs = create_input(settings)

    maps = _maps_of(inputs, found, settings.options["channels"], dropout, initializers)
    sizes = [tuple(x.shape[1:3]) for x in maps]
    side, shares = min(height, width), (settings.options["smallest"], settings.options["largest"])
    low = [share * side for share in np.linspace(*shares, len(maps))]
    step = (shares[1] - shares[0]) / max(len(maps) - 1, 1)
    places = {
        "image_size": (height, width),
        "map_sizes": sizes,
        "smallest": low,
        "largest": [*low[1:], (shares[1] + step) * side],
        "ratios": [(2,) if k in (0, len(maps) - 1) else (2, 3) for k in range(len(maps))],
        "clip": settings.options["clip"],
    }
    maps[0] = L2Normalization(name="l2_norm")(maps[0])
    names = [(f"mbox_loc{k}", f"mbox_conf{k}") for k in range(1, len(maps) + 1)]
    outputs = _detect(maps, names, settings.classes, places, initializers["bias_initializer"])
    model = keras.Model(source_inputs(inputs), outputs, name=name)
    trained = found.trained_weights(inputs.shape[-1])
    set_weights(model, {layer: values for layer, values in trained.items() if layer not in ("fc6", "fc7")})
    load_weights(model, inputs, settings, classifier=[conf for _, conf in names])
    return model


def _build(
    builder: str,
    arguments: Arguments,
    backbone_weights: Path | None,
    clip: bool | None,
    initializers: Mapping[str, Any],
) -> keras.Model:
    """Build one of the authors' networks.

    Args:
        builder: "SSD300" or "SSD512".
        arguments: what all builders take.
        backbone_weights: weights of VGG16 to start from.
        clip: whether default boxes are cut at the border, or None.
        initializers: `kernel_initializer` and `bias_initializer`.
    """
    design = DESIGNS[builder]
    options = {
        "backbone": Option("VGG16", default="VGG16"),
        "backbone_options": Option(None, default=None),
        "clip": Option(clip, default=False, choices=(False, True)),
    }
    settings = check(builder, arguments, 0.0, options=options)
    if tuple(settings.input_shape[:2]) != (design.side, design.side):
        raise ArgumentError(
            f"{builder}: takes images of {design.side}x{design.side}; for others, `SSD(backbone='VGG16', ...)`. "
            f"Received: input_shape={settings.input_shape}"
        )
    backbone = Backbone.of(settings, arguments.weights, backbone_weights)
    inputs = create_input(settings)

    # pool3 makes 75x75 of 300x300 to 38x38
    x = vgg.features(inputs, "D", initializers, pool=_vgg_pool)
    maps = {"conv4_3": last_output(model_of(x), "conv4_3")}
    x = layers.Conv2D(1024, 3, padding="same", dilation_rate=6, activation="relu", name="fc6", **initializers)(x)
    x = maps["fc7"] = layers.Conv2D(1024, 1, activation="relu", name="fc7", **initializers)(x)
    for number, extra in enumerate(design.extras, 6):
        x = _smaller(x, extra, f"conv{number}_1", f"conv{number}_2", initializers)
        maps[f"conv{number}_2"] = x
    first = L2Normalization(name="conv4_3_norm")(maps.pop("conv4_3"))
    maps = {"conv4_3_norm": first, **maps}

    sides = [share * design.side / 100 for share in design.shares]
    places = {
        "image_size": (design.side, design.side),
        "map_sizes": [tuple(x.shape[1:3]) for x in maps.values()],
        "smallest": sides[:-1],
        "largest": sides[1:],
        "ratios": design.ratios,
        "steps": design.steps,
        "clip": settings.options["clip"],
    }
    names = [(f"{name}_mbox_loc", f"{name}_mbox_conf") for name in maps]
    outputs = _detect(list(maps.values()), names, settings.classes, places, initializers["bias_initializer"])
    model = keras.Model(source_inputs(inputs), outputs, name=arguments.name)
    set_weights(model, subsampled(backbone.trained_weights(inputs.shape[-1]), {"": 6}, 3, 1024))
    load_weights(model, inputs, settings, classifier=[conf for _, conf in names])
    return model


def _vgg_pool(block: int) -> Any:
    """Return VGG's pool after a block, as SSD has it."""
    if block == 5:
        return layers.MaxPooling2D(3, 1, padding="same", name="pool5")
    return ceil_pooling("max", 2, 2, f"pool{block}")


def _smaller(
    x: keras.KerasTensor, extra: Extra, first: str, second: str, initializers: Mapping[str, Any]
) -> keras.KerasTensor:
    """Return a further map.

    Args:
        x: the map before it.
        extra: its numbers.
        first: name of the 1x1 convolution.
        second: name of the one that makes the map smaller.
        initializers: `kernel_initializer` and `bias_initializer`.
    """
    narrow, wide = extra.channels
    x = layers.Conv2D(narrow, 1, activation="relu", name=first, **initializers)(x)
    if extra.pad:
        # Keras's "same" would pad even maps at the bottom and right alone
        x = layers.ZeroPadding2D(extra.pad, name=f"{second}_pad")(x)
    return layers.Conv2D(wide, extra.kernel_size, extra.strides, activation="relu", name=second, **initializers)(x)


def _maps_of(
    inputs: keras.KerasTensor,
    backbone: Backbone,
    channels: int,
    dropout: float,
    initializers: Mapping[str, Any],
) -> list[keras.KerasTensor]:
    """Return the maps of a classifier and further ones.

    Args:
        inputs: images (batch, height, width, channels).
        backbone: the classifier.
        channels: of the further maps.
        dropout: rate of dropout layers of the backbone.
        initializers: `kernel_initializer` and `bias_initializer`.
    """
    layout, x = backbone.layout, inputs
    if layout.margin:
        before = layout.margin // 2
        x = layers.ZeroPadding2D(((before, layout.margin - before),) * 2, name="margin")(x)
    body = backbone.body(x, dropout, initializers)
    parts = {4: last_output(body, layout.quarter), 2: last_output(body, layout.half), 1: body.output}
    strides = {part: layout.stride // part for part in parts if layout.stride // part >= LEAST_STRIDE}
    maps = [_without_margin(parts[part], inputs, stride) for part, stride in strides.items()]
    number = 1
    while min(maps[-1].shape[1:3]) > 2:
        extra = Extra((channels // 2, channels))
        maps.append(_smaller(maps[-1], extra, f"extra{number}_1", f"extra{number}_2", initializers))
        number += 1
    return maps


def _without_margin(x: keras.KerasTensor, inputs: keras.KerasTensor, stride: int) -> keras.KerasTensor:
    """Return the middle of maps that also see a margin.

    Args:
        x: feature maps (batch, height, width, channels).
        inputs: images (batch, height, width, channels).
        stride: pixels of the image per position.
    """
    more = [own + (-side // stride) for own, side in zip(x.shape[1:3], inputs.shape[1:3], strict=True)]
    if max(more) <= 0:
        return x
    cut = [(max(extra, 0) // 2, max(extra, 0) - max(extra, 0) // 2) for extra in more]
    return layers.Cropping2D(cut, name=f"cut{stride}")(x)


def _detect(
    maps: Sequence[keras.KerasTensor],
    names: Sequence[tuple[str, str]],
    classes: int,
    places: Mapping[str, Any],
    bias_initializer: Any,
) -> dict[str, keras.KerasTensor]:
    """Return the outputs: boxes, scores and raw predictions.

    Args:
        maps: feature maps (batch, height, width, channels).
        names: for each map the names of the layers that predict offsets and logits.
        classes: number of classes, without the background.
        places: arguments of `SSDBoxes`.
        bias_initializer: initializer of the biases.
    """
    offsets: list[keras.KerasTensor] = []
    logits: list[keras.KerasTensor] = []
    for x, ratios, (loc, conf) in zip(maps, places["ratios"], names, strict=True):
        height, width = x.shape[1:3]
        boxes = 2 + 2 * len(ratios)
        for values, name, parts in ((4, loc, offsets), (1 + classes, conf, logits)):
            y = layers.Conv2D(boxes * values, 3, padding="same", name=name, bias_initializer=bias_initializer)(x)
            parts.append(layers.Reshape((height * width * boxes, values), name=f"{name}_flat")(y))
    together = [
        layers.Concatenate(axis=1, name=name)(parts) for name, parts in (("mbox_loc", offsets), ("mbox_conf", logits))
    ]
    predictions = layers.Concatenate(name="predictions", dtype="float32")(together)
    return {
        "boxes": SSDBoxes(**places, name="boxes")(predictions),
        "predictions": predictions,
        "scores": ObjectScores(4, name="scores")(predictions),
    }


def _check_numbers(options: Mapping[str, Any]) -> None:
    """Raise ArgumentError unless shares and channels can be used."""
    channels, smallest, largest = options["channels"], options["smallest"], options["largest"]
    if not isinstance(channels, int | np.integer) or channels < 2:
        raise ArgumentError(f"SSD: `channels` must be whole and at least 2. Received: channels={channels!r}")
    if not 0 < smallest < largest < math.inf:
        raise ArgumentError(
            "SSD: `smallest` and `largest` must be shares of the image's shorter side, the smaller one first. "
            f"Received: smallest={smallest!r}, largest={largest!r}"
        )
