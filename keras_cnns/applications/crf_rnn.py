"""CRF-RNN: FCN-8s whose scores a conditional random field refines.

S. Zheng, S. Jayasumana, B. Romera-Paredes, V. Vineet, Z. Su, D. Du, C. Huang, P. Torr: Conditional Random Fields as
Recurrent Neural Networks, ICCV 2015, arXiv 1502.03240.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import keras
from keras import layers

from keras_cnns.applications._arguments import (
    Activation,
    Arguments,
    Initializer,
    InputShape,
    Option,
    check,
    create_input,
    describe_initializers,
    source_inputs,
)
from keras_cnns.applications._backbones import Backbone, set_weights
from keras_cnns.applications._blocks import classify
from keras_cnns.applications._loading import load_weights
from keras_cnns.applications.fcn import (
    CLASSIFIER,
    COARSER,
    OPTIONAL,
    add_scores,
    enlarge,
    feature_maps,
    find_reference,
    score,
)
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import CropLike, DenseCRF
from keras_cnns.typing import Path

# Layers that FCN8s does not have; "score" is the last one of FCN8s and of crf_on="maps"
OWN = ("score2", "score4", "crf_image", "coarse", "crf", "score")


def CRFasRNN(
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    classes: int | None = None,
    classifier_activation: Activation | None = "softmax",
    name: str = "crfasrnn",
    *,
    backbone: str | None = None,
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    caffe_padding: bool | None = None,
    crf_on: Literal["maps", "image"] | None = None,
    iterations: int = 5,
    position_std: float | None = None,
    color_std: float | None = None,
    spatial_std: float | None = None,
    dropout: float = 0.5,
    kernel_initializer: Initializer = "he_normal",
    bias_initializer: Initializer = "zeros",
) -> keras.Model:
    """Build CRF-RNN (Zheng et al. 2015).

    It is `FCN8s` with two trained transposed convolutions, and `layers.DenseCRF` with its three trained matrices:
    134,378,207 trainable parameters, and 112,896 fixed ones of the last bilinear kernel. There is no `include_top` and
    no `pooling`, as the maps are the result.

    The authors' filters are approximations, which run on images of 500x500. The layer here is exact and needs
    4 (height * width)**2 bytes per image: with crf_on="maps" it works at an eighth of the image's sides (64 MiB for
    500x500), on images averaged to that size, before the last upsampling.

    Layers: those of `FCN8s` up to score_fr; score2, score_pool4, fuse_pool4, score4, score_pool3, fuse_pool3;
    crf_image, crf, upscore8, score, predictions with crf_on="maps", and upscore8, coarse, crf, predictions with
    crf_on="image". score2 and score4 are the authors' names of upscore2 and upscore_pool4; score2 has a bias.

    Args:
        weights: None (random), or a .keras, .weights.h5 or .safetensors file of this network or of an `FCN8s`, from
            which the paper starts; score2 and score4 are bilinear then.
        input_tensor: Keras tensor (batch, height, width, channels) to use as input.
        input_shape: (height, width, channels); height and width may be None, for images of any size. None: that of the
            weights, else (500, 500, 3).
        classes: number of classes; a number other than the weights' leaves the score layers and the CRF untrained, with
            a warning. None: that of the weights, else 21.
        classifier_activation: "softmax", or None for logits.
        name: name of the model.
        backbone: public name of the classifier, as in `FCN8s`. None: that of the weights, else "VGG16".
        backbone_weights: argument `weights` of the classifier from which to start, such as "imagenet". None: random.
        backbone_options: other arguments of the classifier. None: those of the weights, else of the backbone's weights,
            else its defaults.
        caffe_padding: as in `FCN8s`; with crf_on="image" alone. None: that of the weights, else False.
        crf_on: "maps" (the scores at a quarter of the backbone's stride, every eighth pixel with VGG16) or "image" (all
            pixels, as in the paper; for small images). None: that of the weights, else "maps".
        iterations: mean-field steps; the paper trains with 5 and tests with 10.
        position_std: width of the bilateral kernel in positions, in pixels of the image. None: that of the weights,
            else 160.
        color_std: width of the bilateral kernel in colors, in the units of the input: 3 is for pixels of 0 to 255, from
            which a mean may have been subtracted. None: that of the weights, else 3.
        spatial_std: width of the spatial kernel, in pixels of the image. None: that of the weights, else 3.
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
        Zheng et al. 2015, sections 4 to 6; TVG_CRFRNN_new_deploy.prototxt of the authors.

    Examples:
        >>> from keras_cnns import applications
        >>> model = applications.CRFasRNN(backbone="NiN", input_shape=(64, 64, 3), crf_on="image", classes=3)
        >>> model.output_shape, model.get_layer("crf").count_params()
        ((None, 64, 64, 3), 27)
    """
    settings = check(
        "CRFasRNN",
        Arguments(True, weights, input_tensor, input_shape, None, classes, classifier_activation, name),
        dropout,
        options={
            "backbone": Option(backbone, default="VGG16"),
            "backbone_options": Option(backbone_options, default=None),
            "caffe_padding": Option(caffe_padding, default=False, choices=(False, True)),
            "crf_on": Option(crf_on, default="maps", choices=("maps", "image")),
            "position_std": Option(position_std, default=160.0),
            "color_std": Option(color_std, default=3.0),
            "spatial_std": Option(spatial_std, default=3.0),
        },
        any_size=True,
        also=("FCN8s", *COARSER["FCN8s"]),
    )
    options = settings.options
    classifier = Backbone.of(settings, weights, backbone_weights)
    reference = find_reference(settings, "FCN8s")
    if reference and options["crf_on"] == "maps":
        raise ArgumentError(
            "CRFasRNN: with `caffe_padding` the maps reach beyond the image, which the CRF needs at their size; pass "
            f"crf_on='image', or leave `caffe_padding` out. Received: caffe_padding=True, crf_on={crf_on!r}"
        )
    inputs = create_input(settings)
    initializers = describe_initializers(kernel_initializer, bias_initializer)

    larger = partial(enlarge, settings=settings, reference=reference)
    plus = partial(add_scores, settings=settings, reference=reference, cut=bool(classifier.layout.margin))
    pool3, pool4, fc7 = feature_maps(inputs, classifier, reference, dropout, initializers)
    x = score(fc7, settings.classes, "score_fr")
    x = larger(x, 2, "score2", trainable=True, use_bias=True)
    x = plus(x, pool4, "pool4")
    x = larger(x, 2, "score4", trainable=True)
    x = plus(x, pool3, "pool3")

    stride = classifier.layout.stride // 4
    crf = partial(DenseCRF, iterations, color_std=options["color_std"], name="crf")
    if options["crf_on"] == "maps":
        padded = keras.Model(source_inputs(x), x).get_layer("pad").output
        image = layers.AveragePooling2D(stride, name="crf_image")(padded)
        widths = {key: options[key] / stride for key in ("position_std", "spatial_std")}
        x = crf(**widths)([x, image])
        x = larger(x, stride, "upscore8")
        x = CropLike(name="score")([x, inputs])
    else:
        x = larger(x, stride, "upscore8")
        x = CropLike(reference and reference.score, name="coarse")([x, inputs])
        x = crf(position_std=options["position_std"], spatial_std=options["spatial_std"])([x, inputs])

    model = keras.Model(source_inputs(inputs), classify(x, classifier_activation), name=name)
    set_weights(model, classifier.trained_weights(inputs.shape[-1]))
    load_weights(
        model,
        inputs,
        settings,
        classifier=(*CLASSIFIER, "score2", "score4", "crf"),
        optional=(*OPTIONAL["FCN8s"], *OWN),
    )
    return model
