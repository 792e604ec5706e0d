"""DeepLab, versions 1 and 2, without its fully connected CRF.

L.-C. Chen, G. Papandreou, I. Kokkinos, K. Murphy, A. Yuille: Semantic Image Segmentation with Deep Convolutional Nets
and Fully Connected CRFs, ICLR 2015, arXiv 1412.7062 (version 1).
The same: DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully Connected
CRFs, 2016, arXiv 1606.00915 (version 2).
The CRF is `layers.DenseCRF`, for maps of the size that these networks score.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_cnns import _keras, applications
from keras_cnns.applications import resnet, vgg
from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Option,
    check,
    choose,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._backbones import Backbone, backbones, dense_as_convolutions, set_weights, subsampled
from keras_cnns.applications._blocks import classify
from keras_cnns.applications._loading import load_weights
from keras_cnns.applications._residual import UnitOptions, residual_maps
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import BilinearUpSampling2D, CropLike, PadToMultiple, Rescale2D, ResizeLike
from keras_cnns.typing import Path

# VGG's blocks in DeepLab (config/DeepLab-LargeFOV/test.prototxt): stride of the 3x3 pool; conv5 has a dilation of 2
POOL_STRIDES = (2, 2, 2, 1, 1)
# ResNet's stages: distance of the positions of 3x3 kernels; those with more than 1 have no stride
DILATIONS = (1, 1, 2, 4)
# Sides of the further images of version 2, in percent of the first one's (section 4.1)
SCALES = (75, 50)
# Backbones by file, and whether the corners of maps and image are aligned. The strides of the last two are below 8, so
# that nothing is dilated.
ALIGNED = {"vgg": True, "resnet": True, "resnet_cifar": True, "nin": False}


def DeepLabLargeFOV(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "deeplab_largefov",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    kernel_size: int | None = None,
    rate: int | None = None,
    channels: int | None = None,
    freeze_batch_norm: bool = False,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build DeepLab-LargeFOV (Chen et al. 2015), version 1.

    VGG16 scores every eighth pixel: the last two pools have no stride, conv5 is dilated by 2 and fc6 by 12, and fc6 and
    fc7 have 1,024 channels; 20,505,429 parameters. There is no `include_top` and no `pooling`, as the maps are the
    result.

    Images are padded with zeros to sides of 8 k + 1, so that the corners of scores and image are the same pixels; the
    paper trains on 321x321. Scores are enlarged by bilinear interpolation and cut back. The authors compare the scores
    of `fc8`, 41x41, with every eighth label.

    Layers: pad, conv1_1, ..., pool5, pool5a, fc6, drop6, fc7, drop7, fc8, fc8_interp, score, predictions.

    Args:
        weights: None (random), or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels); height and width may be None, for images of any size. None: that of the
            weights, else (321, 321, 3).
        classes: number of classes; a number other than the weights' leaves fc8 untrained, with a warning. None: that of
            the weights, else 21.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        backbone: public name of the classifier: a VGG; a ResNet, whose last two stages are dilated by 2 and 4 instead
            of having a stride; or NiN and the ResNets for CIFAR, whose stride is 4 already. All but VGGs are scored by
            fc8 alone, a 3x3 convolution with the same `rate`. None: that of the weights, else "VGG16".
        backbone_weights: argument `weights` of the classifier from which to start, such as "imagenet". fc6 and fc7 are
            subsampled, as by the authors. None: random.
        backbone_options: other arguments of the classifier. None: those of the weights, else of the backbone's weights,
            else its defaults.
        kernel_size: side of fc6's kernel; table 2 compares 7, 4 and 3. None: that of the weights, else 3.
        rate: distance of the positions of fc6's kernel ("input stride" in table 2). None: that of the weights, else 12.
        channels: of fc6 and fc7; 4096 in VGG. None: that of the weights, else 1024.
        freeze_batch_norm: whether batch normalization keeps its statistics and parameters, as in version 2.
        dropout: share of fc6's and fc7's outputs to drop while training, and of dropout layers of the backbone.
        kernel_initializer: initializer of all kernels but fc8's, which are Gaussian of deviation 0.01.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, height, width, classes).

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Chen et al. 2015, sections 3 and 5 and table 2; config/DeepLab-LargeFOV of the authors.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.DeepLabLargeFOV(backbone="VGG11", channels=64, input_shape=(None, None, 3))
        >>> model.output_shape, model.get_layer("fc6").dilation_rate
        ((None, None, None, 21), (12, 12))
    """
    options = {
        "backbone": Option(backbone, default="VGG16"),
        "backbone_options": Option(backbone_options, default=None),
        "kernel_size": Option(kernel_size, default=3),
        "rate": Option(rate, default=12),
        "channels": Option(channels, default=1024),
    }
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, classifier_activation, name)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    return _build("DeepLabLargeFOV", arguments, options, backbone_weights, freeze_batch_norm, dropout, initializers)


def DeepLabASPP(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "deeplab_aspp",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    rates: Sequence[int] | None = None,
    multi_scale: bool = False,
    freeze_batch_norm: bool = False,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build DeepLab with atrous spatial pyramid pooling (Chen et al. 2016).

    This is version 2. The maps of a backbone are scored by four convolutions of different dilation, whose scores are
    added. One builder has both ResNet101 (44,048,532 trainable parameters) and VGG16 (37,877,652), as nothing but the
    backbone and the depth of the four branches differs. There is no `include_top` and no `pooling`, as the maps are the
    result.

    Images are padded, scores enlarged and cut back as in `DeepLabLargeFOV`.

    Layers: pad, those of the backbone, fc1_c0 to fc1_c3 (with VGGs each has fc6_c0, drop6_c0, fc7_c0 and drop7_c0
    before it), fc1, fc1_interp, score, predictions. With `multi_scale` these layers see three images: image_75 and
    image_50 are smaller ones, score_75 and score_50 their scores at the image's size, and fuse is the largest.

    Args:
        weights: None (random), or a .keras, .weights.h5 or .safetensors file.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels); height and width may be None, for images of any size. None: that of the
            weights, else (321, 321, 3). The authors test at 513x513.
        classes: number of classes; a number other than the weights' leaves the last convolutions untrained, with a
            warning. None: that of the weights, else 21.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        backbone: public name of the classifier, as in `DeepLabLargeFOV`. None: that of the weights, else "ResNet101".
        backbone_weights: argument `weights` of the classifier from which to start, such as "imagenet". fc6 and fc7 of a
            VGG are subsampled for each branch. None: random.
        backbone_options: other arguments of the classifier. None: those of the weights, else of the backbone's weights,
            else its defaults.
        rates: distances of the positions of the branches' 3x3 kernels: (6, 12, 18, 24) are the paper's ASPP-L,
            (2, 4, 8, 12) its ASPP-S, and (12,) is LargeFOV. None: those of the weights, else ASPP-L.
        multi_scale: whether the image is also seen at 0.75 and 0.5 of its sides, and the largest of three scores
            counts, as by the authors. The scores of each scale are three further outputs, after that of the result, so
            that each is trained: scale_100_predictions, scale_75_predictions and scale_50_predictions.
        freeze_batch_norm: whether batch normalization keeps its statistics and parameters, as the authors trained; for
            batches of few images and trained backbones. Then 43,943,188 parameters are trained.
        dropout: share of fc6's and fc7's outputs to drop while training, and of dropout layers of the backbone.
        kernel_initializer: initializer of all kernels but those of the last convolutions, which are Gaussian of
            deviation 0.01.
        bias_initializer: initializer of all biases.

    Returns:
        Functional `keras.Model` from float32 images (batch, height, width, channels), which the caller normalizes, to
        float32 (batch, height, width, classes), or with `multi_scale` a list of four.

    Raises:
        ArgumentError: (a ValueError) if an argument cannot be used or contradicts the weights.
        ModelFileError: (a ValueError) if a weights file cannot be read or fetched.

    Reference:
        Chen et al. 2016, sections 3 and 4, figures 4 and 7.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.DeepLabASPP(backbone="ResNet20", rates=(1, 2), input_shape=(None, None, 3), classes=2)
        >>> model.output_shape, [layer.name for layer in model.layers[-4:]]
        ((None, None, None, 2), ['fc1', 'fc1_interp', 'score', 'predictions'])
    """
    options = {
        "backbone": Option(backbone, default="ResNet101"),
        "backbone_options": Option(backbone_options, default=None),
        "rates": Option(None if rates is None else tuple(rates), default=(6, 12, 18, 24)),
    }
    arguments = Arguments(True, weights, input_tensor, input_shape, None, classes, classifier_activation, name)
    initializers = describe_initializers(kernel_initializer, bias_initializer)
    return _build(
        "DeepLabASPP", arguments, options, backbone_weights, freeze_batch_norm, dropout, initializers, multi_scale
    )


def _build(
    builder: str,
    arguments: Arguments,
    options: Mapping[str, Option],
    backbone_weights: Path | None,
    freeze_batch_norm: bool,
    dropout: float,
    initializers: Mapping[str, Any],
    multi_scale: bool = False,
) -> keras.Model:
    """Build one of the two networks.

    Args:
        builder: public name of the builder.
        arguments: what all builders take.
        options: the builder's options.
        backbone_weights: weights of the classifier to start from.
        freeze_batch_norm: whether batch normalization keeps its statistics and parameters.
        dropout: share of values to drop while training.
        initializers: `kernel_initializer` and `bias_initializer`.
        multi_scale: whether the image is seen in three sizes.
    """
    choose(builder, "multi_scale", multi_scale, (False, True))
    settings = check(builder, arguments, dropout, options=options, any_size=True)
    backbone = Backbone.of(settings, arguments.weights, backbone_weights, deeplab_backbones())
    _check_whole(builder, settings.options)
    inputs = create_input(settings)
    file = applications._BUILDERS[backbone.name]

    stride = min(backbone.layout.stride, 8)
    x = PadToMultiple(stride, remainder=int(ALIGNED[file]), name="pad")(inputs)
    x = _maps(x, backbone, dropout, initializers)
    if builder == "DeepLabLargeFOV":
        branches = {"": settings.options["rate"]}
        if file == "vgg":
            # Caffe's average counts the zeros around the maps
            x = layers.ZeroPadding2D(1, name="pool5a_pad")(x)
            x = layers.AveragePooling2D(3, 1, name="pool5a")(x)
        kernel_size, channels, last = settings.options["kernel_size"], settings.options["channels"], "fc8"
    else:
        branches = {f"_c{k}": rate for k, rate in enumerate(settings.options["rates"])}
        kernel_size, channels, last = 3, 1024, "fc1"

    scores = []
    for suffix, rate in branches.items():
        if file == "vgg":
            named = {"rate": rate, "channels": channels, "suffix": suffix}
            y = dense_as_convolutions(x, kernel_size, "same", dropout, initializers, **named)
            scores.append(_score(y, settings.classes, 1, 1, f"{last}{suffix}", initializers))
        else:
            scores.append(_score(x, settings.classes, 3, rate, f"{last}{suffix}", initializers))
    x = layers.Add(name=last)(scores) if len(scores) > 1 else scores[0]
    x = BilinearUpSampling2D(stride, align_corners=ALIGNED[file], name=f"{last}_interp")(x)
    x = CropLike(name="score")([x, inputs])

    x, by_scale = _at_scales(inputs, x) if multi_scale else (x, {})
    outputs = classify(x, arguments.classifier_activation, by_scale)
    model = keras.Model(source_inputs(inputs), outputs, name=arguments.name)
    if freeze_batch_norm:
        for layer in model.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
    set_weights(model, subsampled(backbone.trained_weights(inputs.shape[-1]), branches, kernel_size, channels))
    own = [name for percent in SCALES for name in (f"image_{percent}", f"score_{percent}")]
    classifier = [f"{last}{suffix}" for suffix in branches]
    load_weights(model, inputs, settings, classifier=classifier, optional=(*own, "fuse"))
    return model


def _at_scales(
    inputs: keras.KerasTensor, scores: keras.KerasTensor
) -> tuple[keras.KerasTensor, dict[str, keras.KerasTensor]]:
    """Return the largest scores of three sizes, and those of each.

    Args:
        inputs: images (batch, height, width, channels).
        scores: those of the images, of the same size. The layers in between are used for every size.

    Returns:
        Scores of the size of the images, and a dictionary from the name of a scale to its scores.
    """
    network, by_scale = keras.Model(inputs, scores), {"scale_100": scores}
    for percent in SCALES:
        image = Rescale2D(percent / 100, name=f"image_{percent}")(inputs)
        (smaller,) = keras.tree.flatten(_keras.run_through_graph(network, [image], lambda operation: operation))
        by_scale[f"scale_{percent}"] = ResizeLike(name=f"score_{percent}")([smaller, inputs])
    return layers.Maximum(name="fuse")(list(by_scale.values())), by_scale


def deeplab_backbones() -> list[str]:
    """Return the public names of the classifiers that DeepLab takes."""
    return [name for name in backbones() if applications._BUILDERS[name] in ALIGNED and name != "NiNImageNet"]


def _maps(
    x: keras.KerasTensor, backbone: Backbone, dropout: float, initializers: Mapping[str, Any]
) -> keras.KerasTensor:
    """Return a backbone's last maps, at a stride of at most 8.

    Args:
        x: images (batch, height, width, channels).
        backbone: the classifier.
        dropout: share of values to drop while training.
        initializers: `kernel_initializer` and `bias_initializer`.
    """
    file = applications._BUILDERS[backbone.name]
    if file == "vgg":

        def pool(block: int) -> keras.Layer:
            return layers.MaxPooling2D(3, POOL_STRIDES[block - 1], padding="same", name=f"pool{block}")

        return vgg.features(x, vgg.COLUMNS[backbone.name], initializers, pool=pool, last_dilation=2)
    if file == "resnet":
        options = UnitOptions(**{"stride_on": "1x1", "shortcut": "B", "residual": True, **backbone.options})
        depth = int(backbone.name.removeprefix("ResNet"))
        return residual_maps(x, resnet.architecture(depth), options, initializers["kernel_initializer"], DILATIONS)
    return backbone.body(x, dropout, initializers).output


def _score(
    x: keras.KerasTensor, classes: int, kernel_size: int, rate: int, name: str, initializers: Mapping[str, Any]
) -> keras.KerasTensor:
    """Return the scores of maps, by a convolution whose weights start small.

    Args:
        x: feature maps (batch, height, width, channels).
        classes: number of classes.
        kernel_size: side of the kernel.
        rate: distance of its positions.
        name: name of the layer.
        initializers: `bias_initializer` is used.
    """
    gaussian = {**initializers, "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01)}
    return layers.Conv2D(classes, kernel_size, padding="same", dilation_rate=rate, name=name, **gaussian)(x)


def _check_whole(builder: str, options: Mapping[str, Any]) -> None:
    """Raise ArgumentError unless sizes and rates are whole numbers."""
    for name in ("kernel_size", "rate", "channels", "rates"):
        value = options.get(name, 1)
        numbers_given = value if isinstance(value, tuple) else (value,)
        whole = [isinstance(each, int | np.integer) and each > 0 for each in numbers_given]
        if not whole or not all(whole):
            raise ArgumentError(f"{builder}: `{name}` must be positive and whole. Received: {name}={value!r}")
