"""Fully convolutional networks.

J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, arXiv 1411.4038.
Layers, padding, offsets and initial values are those of the authors' files (shelhamer/fcn.berkeleyvision.org).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
from keras import layers

from keras_cnns.applications import vgg
from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Option,
    Settings,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._backbones import (
    Backbone,
    dense_as_convolutions,
    last_output,
    model_of,
    set_weights,
)
from keras_cnns.applications._blocks import classify
from keras_cnns.applications._loading import load_weights
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import BilinearKernel, BilinearUpSampling2D, CropLike, PadToMultiple, ceil_pooling
from keras_cnns.typing import Path

Upsampling: TypeAlias = Literal["transposed", "resize"]


class Reference(NamedTuple):
    """What the authors' files have besides the layers.

    Attributes:
        score_pool4c: rows and columns that are cut off score_pool4 at the top left.
        score_pool3c: the same of score_pool3.
        score: the same of the result.
        kernel_size: side of the kernel that makes the last maps as large as the image.
    """

    score_pool4c: int | None
    score_pool3c: int | None
    score: int
    kernel_size: int


# The authors' files: voc-fcn32s, voc-fcn16s, voc-fcn8s and voc-fcn-alexnet. conv1 is padded by 100 pixels in all.
REFERENCES = {
    ("FCN32s", "VGG16"): Reference(None, None, 19, 64),
    ("FCN16s", "VGG16"): Reference(5, None, 27, 32),
    ("FCN8s", "VGG16"): Reference(5, 9, 31, 16),
    ("FCN32s", "AlexNet"): Reference(None, None, 18, 63),
    ("FCN32s", "CaffeNet"): Reference(None, None, 18, 63),
}
# Networks from whose weights a finer one may start
COARSER = {"FCN32s": (), "FCN16s": ("FCN32s",), "FCN8s": ("FCN16s", "FCN32s")}
# Layers that a network and the coarser ones do not share
OPTIONAL = {
    "FCN32s": (),
    "FCN16s": ("upscore", "upscore2", "score_pool4", "score_pool4c", "fuse_pool4", "upscore16"),
}
OPTIONAL["FCN8s"] = (*OPTIONAL["FCN16s"], "upscore_pool4", "score_pool3", "score_pool3c", "fuse_pool3", "upscore8")
# Layers with a channel per class
CLASSIFIER = ("score_fr", "score_pool4", "score_pool3", *(name for name in OPTIONAL["FCN8s"] if "upscore" in name))


def FCN32s(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "fcn32s",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    upsampling: Upsampling | None = None,
    learned_upsampling: bool = False,
    caffe_padding: bool | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build FCN-32s (Long et al. 2015).

    The scores of VGG16's last maps are enlarged 32 times; 134,346,581 trainable parameters.
    The arguments, result and errors are those of `FCN8s`; the layers end with score_fr, upscore, score, predictions.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.FCN32s(backbone="ResNet20", input_shape=(None, None, 3), classes=2)
        >>> model.output_shape, model.count_params()
        ((None, None, None, 2), 270834)
    """
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, classifier_activation, name)
    options = {
        "backbone": Option(backbone, default="VGG16"),
        "backbone_options": Option(backbone_options, default=None),
        "upsampling": Option(upsampling, default="transposed", choices=("transposed", "resize")),
        "caffe_padding": Option(caffe_padding, default=False, choices=(False, True)),
    }
    return _build(
        "FCN32s",
        arguments,
        options,
        backbone_weights,
        learned_upsampling,
        dropout,
        describe_initializers(kernel_initializer, bias_initializer),
    )


def FCN16s(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "fcn16s",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    upsampling: Upsampling | None = None,
    learned_upsampling: bool = False,
    caffe_padding: bool | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build FCN-16s (Long et al. 2015).

    The scores of pool4 are added to those of VGG16's last maps, and the sum is enlarged 16 times; 134,357,354 trainable
    parameters. With `weights` of an `FCN32s` the network starts from it, as in the paper.
    The arguments, result and errors are those of `FCN8s`; the layers end with score_fr, upscore2, score_pool4,
    fuse_pool4, upscore16, score, predictions.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.FCN16s(backbone="NiN", input_shape=(50, 41, 3))
        >>> model.output_shape
        (None, 50, 41, 21)
    """
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, classifier_activation, name)
    options = {
        "backbone": Option(backbone, default="VGG16"),
        "backbone_options": Option(backbone_options, default=None),
        "upsampling": Option(upsampling, default="transposed", choices=("transposed", "resize")),
        "caffe_padding": Option(caffe_padding, default=False, choices=(False, True)),
    }
    return _build(
        "FCN16s",
        arguments,
        options,
        backbone_weights,
        learned_upsampling,
        dropout,
        describe_initializers(kernel_initializer, bias_initializer),
    )


def FCN8s(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "fcn8s",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    upsampling: Upsampling | None = None,
    learned_upsampling: bool = False,
    caffe_padding: bool | None = None,
    at_once: bool | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build FCN-8s (Long et al. 2015).

    It scores each pixel. VGG16 has its dense layers as convolutions; their scores are enlarged twice and added to those
    of pool4, enlarged twice and added to those of pool3, and enlarged eight times. There are 134,362,751 trainable
    parameters, and 127,008 fixed ones of bilinear kernels. The builder has no `include_top` and no `pooling`, because
    the maps are the result.

    Images of any size are padded with zeros to a multiple of the stride, 32, and the scores are cut back.

    Layers: pad, those of the backbone up to pool5, fc6, drop6, fc7, drop7, score_fr, upscore2, score_pool4, fuse_pool4,
    upscore_pool4, score_pool3, fuse_pool3, upscore8, score, predictions. Score layers start at zero, as those of the
    authors do.

    The paper trains in stages, each from the one before: FCN-32s, FCN-16s, FCN-8s. `weights="fcn16s.keras"` fills all
    layers that both networks have; the layers that only the finer one has start at zero or bilinear. So a finer network
    starts with the scores of the coarser one, up to the interpolation, which has one more step. An FCN-32s starts from
    a classifier, `backbone_weights="imagenet"`.

    Args:
        weights: None (random), or a .keras, .weights.h5 or .safetensors file of this network or of a coarser one.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels); height and width may be None, for images of any size. None: that of the
            weights, else (500, 500, 3).
        classes: number of classes; a number other than the weights' leaves the score layers untrained, with a warning.
            None: that of the weights, else 21.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        backbone: public name of the classifier. With S its total stride, FCN-32s enlarges the last maps S times,
            FCN-16s adds the scores of maps at stride S/2, and FCN-8s also those at S/4; the names of the layers stay.
            VGGs, ZFNet and AlexNets have fc6 and fc7; of other networks score_fr sees the last maps. The authors'
            FCN-AlexNet is FCN32s with "CaffeNet". LeNets pad nothing, so that their maps are cut; Maxout is no
            backbone. None: that of the weights, else "VGG16".
        backbone_weights: argument `weights` of the classifier from which to start, such as "imagenet"; the layers fc6
            and fc7 become convolutions. None: random.
        backbone_options: other arguments of the classifier, such as {"groups": 1} of CaffeNet. None: those of the
            weights, else of the backbone's weights, else its defaults.
        upsampling: "transposed" (transposed convolutions that start as bilinear interpolation, as in the paper) or
            "resize" (bilinear interpolation, without weights). Both compute the same except near the border, where
            transposed convolutions fade to zero. None: that of the weights, else "transposed".
        learned_upsampling: whether transposed convolutions are trained, as in the CVPR paper; in the authors' files
            they are fixed.
        caffe_padding: whether to pad conv1 by 100 pixels, fc6 by none and cut maps at the offsets of the authors'
            files, which exist for VGG16, and for AlexNet and CaffeNet in FCN32s. Weights of Caffe need it. None: that
            of the weights, else False.
        at_once: whether pool4 and pool3 are multiplied by 0.01 and 0.0001 before they are scored, so that all
            stages can be trained at once (voc-fcn8s-atonce). None: that of the weights, else False.
        dropout: share of fc6's and fc7's outputs to drop while training, and of dropout layers of the backbone.
        kernel_initializer: initializer of the kernels of the backbone, fc6 and fc7.
        bias_initializer: initializer of their biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, height, width, classes).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Long et al. 2015, sections 3 and 4 and figure 3; voc-fcn8s/net.py of the authors.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.FCN8s(backbone="NiN", input_shape=(None, None, 3), classes=3)
        >>> model.output_shape, [layer.name for layer in model.layers[-3:]]
        ((None, None, None, 3), ['fuse_pool3', 'score', 'predictions'])
    """
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, classifier_activation, name)
    options = {
        "backbone": Option(backbone, default="VGG16"),
        "backbone_options": Option(backbone_options, default=None),
        "upsampling": Option(upsampling, default="transposed", choices=("transposed", "resize")),
        "caffe_padding": Option(caffe_padding, default=False, choices=(False, True)),
        "at_once": Option(at_once, default=False, choices=(False, True)),
    }
    return _build(
        "FCN8s",
        arguments,
        options,
        backbone_weights,
        learned_upsampling,
        dropout,
        describe_initializers(kernel_initializer, bias_initializer),
    )


def _build(
    builder: str,
    arguments: Arguments,
    options: Mapping[str, Option],
    backbone_weights: Path | None,
    learned_upsampling: bool,
    dropout: float,
    initializers: Mapping[str, Any],
) -> keras.Model:
    """Build one of the three networks.

    Args:
        builder: public name of the builder.
        arguments: what all builders take.
        options: the builder's options.
        backbone_weights: weights of the classifier to start from.
        learned_upsampling: whether transposed convolutions are trained.
        dropout: share of values to drop while training.
        initializers: `kernel_initializer` and `bias_initializer`.
    """
    settings = check(builder, arguments, dropout, options=options, any_size=True, also=COARSER[builder])
    backbone = Backbone.of(settings, arguments.weights, backbone_weights)
    reference = find_reference(settings, builder)
    inputs = create_input(settings)

    pool3, pool4, last = feature_maps(inputs, backbone, reference, dropout, initializers)
    larger = partial(enlarge, settings=settings, reference=reference, trainable=learned_upsampling)
    plus = partial(add_scores, settings=settings, reference=reference, cut=bool(backbone.layout.margin))
    stride = backbone.layout.stride
    x = score(last, settings.classes, "score_fr")
    if builder == "FCN32s":
        x = larger(x, stride, "upscore")
    if builder in ("FCN16s", "FCN8s"):
        x = larger(x, 2, "upscore2")
        x = plus(x, pool4, "pool4")
    if builder == "FCN16s":
        x = larger(x, stride // 2, "upscore16")
    if builder == "FCN8s":
        x = larger(x, 2, "upscore_pool4")
        x = plus(x, pool3, "pool3")
        x = larger(x, stride // 4, "upscore8")
    x = CropLike(reference and reference.score, name="score")([x, inputs])

    outputs = classify(x, arguments.classifier_activation)
    model = keras.Model(source_inputs(inputs), outputs, name=arguments.name)
    set_weights(model, backbone.trained_weights(inputs.shape[-1]))
    load_weights(model, inputs, settings, classifier=CLASSIFIER, optional=OPTIONAL[builder])
    return model


def find_reference(settings: Settings, network: str) -> Reference | None:
    """Return the numbers of the authors' files, or None without `caffe_padding`.

    Args:
        settings: what the network is built from.
        network: "FCN32s", "FCN16s" or "FCN8s".

    Raises:
        ArgumentError: if there is no such file.
    """
    if not settings.options["caffe_padding"]:
        return None
    backbone = settings.options["backbone"]
    if (network, backbone) not in REFERENCES:
        there = ", ".join(name for other, name in REFERENCES if other == network)
        raise ArgumentError(
            f"{settings.builder}: the authors' files give `caffe_padding` for {there} alone; leave it out. "
            f"Received: caffe_padding=True, backbone={backbone!r}"
        )
    if settings.options.get("upsampling") == "resize":
        raise ArgumentError(
            f"{settings.builder}: the offsets of `caffe_padding` are those of transposed convolutions; leave one "
            f"of the two out. Received: caffe_padding=True, upsampling='resize'"
        )
    return REFERENCES[network, backbone]


def feature_maps(
    inputs: keras.KerasTensor,
    backbone: Backbone,
    reference: Reference | None,
    dropout: float,
    initializers: Mapping[str, Any],
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """Return pool3, pool4 and fc7, or what other backbones have.

    Args:
        inputs: images (batch, height, width, channels).
        backbone: the classifier.
        reference: numbers of the authors' files; None: padding that keeps the size.
        dropout: share of values to drop while training.
        initializers: `kernel_initializer` and `bias_initializer`.
    """
    layout = backbone.layout
    if reference is None:
        x = PadToMultiple(layout.stride, name="pad")(inputs)
        if layout.margin:
            before = layout.margin // 2
            x = layers.ZeroPadding2D(((before, layout.margin - before),) * 2, name="margin")(x)
        maps = backbone.body(x, dropout, initializers)
    elif backbone.name == "VGG16":
        x = layers.ZeroPadding2D(99, name="pad")(inputs)  # conv1_1 itself pads by one
        maps = model_of(vgg.features(x, "D", initializers, pool=lambda k: ceil_pooling("max", 2, 2, f"pool{k}")))
    else:
        maps = backbone.body(layers.ZeroPadding2D(100, name="pad")(inputs), dropout, initializers)
    last = maps.output
    if layout.fc6:
        padding = "valid" if reference else "same"
        if padding == "same" and layout.fc6 % 2 == 0:
            # An even kernel has no middle. It looks further to the top left, as AlexNet's pools do to the bottom right
            half = layout.fc6 // 2
            last, padding = layers.ZeroPadding2D(((half, half - 1),) * 2, name="fc6_pad")(last), "valid"
        last = dense_as_convolutions(last, layout.fc6, padding, dropout, initializers)
    return last_output(maps, layout.quarter), last_output(maps, layout.half), last


def score(x: keras.KerasTensor, classes: int, name: str) -> keras.KerasTensor:
    """Return the scores of maps: a 1x1 convolution that starts at zero.

    Args:
        x: feature maps (batch, height, width, channels).
        classes: number of classes.
        name: name of the layer.
    """
    return layers.Conv2D(classes, 1, kernel_initializer="zeros", bias_initializer="zeros", name=name)(x)


def add_scores(
    x: keras.KerasTensor, maps: keras.KerasTensor, pool: str, settings: Settings, reference: Reference | None, cut: bool
) -> keras.KerasTensor:
    """Add the scores of finer maps to scores (figure 3).

    Args:
        x: scores, as large as the maps or smaller.
        maps: feature maps (batch, height, width, channels).
        pool: "pool4" or "pool3", in the names of the layers.
        settings: what the network is built from.
        reference: numbers of the authors' files, or None.
        cut: whether the maps are larger than the scores.
    """
    if settings.options.get("at_once"):
        maps = layers.Rescaling({"pool4": 0.01, "pool3": 0.0001}[pool], name=f"scale_{pool}")(maps)
    finer = score(maps, settings.classes, f"score_{pool}")
    if reference or cut:
        offset = getattr(reference, f"score_{pool}c") if reference else None
        finer = CropLike(offset, name=f"score_{pool}c")([finer, x])
    return layers.Add(name=f"fuse_{pool}")([x, finer])


def enlarge(
    x: keras.KerasTensor,
    factor: int,
    name: str,
    settings: Settings,
    reference: Reference | None,
    *,
    trainable: bool = False,
    use_bias: bool = False,
) -> keras.KerasTensor:
    """Return scores that are enlarged by bilinear interpolation.

    Args:
        x: scores (batch, height, width, classes).
        factor: how many times; 1 adds no layer.
        name: name of the layer.
        settings: what the network is built from.
        reference: numbers of the authors' files, or None.
        trainable: whether the kernel is trained.
        use_bias: whether a bias is added.
    """
    if factor == 1:
        return x
    if settings.options.get("upsampling") == "resize":
        return BilinearUpSampling2D(factor, name=name)(x)
    return layers.Conv2DTranspose(
        settings.classes,
        reference.kernel_size if reference and factor > 2 else 2 * factor,
        factor,
        padding="valid" if reference else "same",
        use_bias=use_bias,
        kernel_initializer=BilinearKernel(),
        trainable=trainable,
        name=name,
    )(x)
