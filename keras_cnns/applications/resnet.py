"""Residual networks: for ImageNet in their first and second version, and for CIFAR-10.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385 (v1).
K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks, ECCV 2016, arXiv 1603.05027 (v2).

The first pool is padded on all sides, as in torchvision and keras.applications; the authors' Caffe files round up.
"""

from functools import partial

from keras import layers

from keras_cnns.applications import _builder
from keras_cnns.applications._builder import Start, documented
from keras_cnns.errors import ArgumentError
from keras_cnns.layers import BatchNormalization, ZeroPadShortcut

# Table 1 of the first paper: the units of conv2_x, conv3_x, conv4_x and conv5_x, by depth
TABLE_1 = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),  # from here on bottlenecks: 1x1, 3x3, and 1x1 with four times the channels
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}


def _unit(x, name, filters, strides, *, version, bottleneck, stride_on, shortcut, residual, first, initializer):
    """Figure 5 of the first paper; with version 2 figure 4(e) of the second, normalization and ReLU first."""
    conv, conv_bn = (partial(one, kernel_initializer=initializer) for one in (_builder.conv, _builder.conv_bn))
    sizes = ((filters, 1), (filters, 3), (4 * filters, 1)) if bottleneck else ((filters, 3), (filters, 3))
    strided = 2 if bottleneck and stride_on == "3x3" else 1
    y = entry = x
    for k, (width, kernel_size) in enumerate(sizes, 1):
        step = strides if k == strided else 1
        if version == 1:
            relu = k < len(sizes)
            y = conv_bn(y, width, kernel_size, f"{name}_conv{k}", strides=step, relu=relu, **BATCH_NORM)
        else:
            if k > 1 or not first:  # the very first unit stands behind the stem's own
                y = BatchNormalization(name=f"{name}_conv{k}_bn", **BATCH_NORM)(y)
                y = layers.ReLU(name=f"{name}_conv{k}_relu")(y)
            entry = y if k == 1 else entry
            y = conv(y, width, kernel_size, f"{name}_conv{k}", strides=step, use_bias=False)

    changes = strides > 1 or x.shape[-1] != y.shape[-1]
    if residual:
        if shortcut == "C" or (shortcut == "B" and changes):
            if version == 1:
                x = conv_bn(x, y.shape[-1], 1, f"{name}_shortcut", strides=strides, relu=False, **BATCH_NORM)
            else:
                x = conv(entry, y.shape[-1], 1, f"{name}_shortcut", strides=strides, use_bias=False)
        elif changes:
            x = ZeroPadShortcut(y.shape[-1], strides, name=f"{name}_shortcut")(entry)
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_out")(y) if version == 1 else layers.Identity(name=f"{name}_out")(y)


def _network(depth, version=1, cifar=False):
    """Return the builder of a network of `depth` layers with weights."""
    function = f"ResNet{depth}{'' if version == 1 else 'V2'}"
    model_name = function.lower()
    units = ((depth - 2) // 6,) * 3 if cifar else TABLE_1[depth]
    bottleneck = depth >= 50 and not cifar

    def build(
        include_top=True,
        weights=None,
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=None,
        classifier_activation="softmax",
        name=model_name,
        *,
        stride_on=None,
        shortcut=None,
        residual=None,
        dropout=0.0,
        kernel_initializer="he_normal",
        bias_initializer="zeros",
    ):
        if stride_on is not None and not bottleneck:
            raise ArgumentError(
                f"{function}: `stride_on` chooses a layer of bottlenecks, and there are none here; leave it out. "
                f"Received: stride_on={stride_on!r}"
            )
        if residual is False and shortcut is not None:
            raise ArgumentError(
                f"{function}: there are no shortcuts with residual=False; leave `shortcut` out. "
                f"Received: shortcut={shortcut!r}"
            )
        start = Start(
            function,
            locals(),
            stride_on=("1x1", "3x3") if version == 1 else ("3x3", "1x1"),
            shortcut=tuple("ABC" if cifar else "BAC"),
            residual=(True, False),
        )
        initializer = start.initializers["kernel_initializer"]
        stem = partial(_builder.conv_bn, kernel_initializer=initializer, **BATCH_NORM)
        if cifar:
            filters = 16
            x = stem(start.inputs, filters, 3, "conv1")  # 32x32
        else:
            filters = 64
            x = stem(start.inputs, filters, 7, "conv1", strides=2)  # 112x112
            x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
            x = layers.MaxPooling2D(3, 2, name="pool1")(x)  # 56x56
        for stage, count in enumerate(units, 2):
            for k in range(1, count + 1):
                x = _unit(
                    x,
                    f"conv{stage}_{k}",
                    filters * 2 ** (stage - 2),
                    2 if k == 1 and stage > 2 else 1,
                    version=version,
                    bottleneck=bottleneck,
                    first=(stage, k) == (2, 1),
                    initializer=initializer,
                    **start.options,
                )
        if version == 2:
            x = BatchNormalization(name="post_bn", **BATCH_NORM)(x)
            x = layers.ReLU(name="post_relu")(x)
        if not include_top:
            return start.body(x, pooling)
        x = layers.GlobalAveragePooling2D(name="gap")(x)
        x = layers.Dropout(dropout, name="drop")(x)
        x = layers.Dense(start.classes, name="fc", **start.initializers)(x)
        return start.classifier(x, classifier_activation)

    family = "cifar" if cifar else f"v{version}"
    build.__name__ = build.__qualname__ = function
    build.__doc__ = DOCSTRING.format(
        depth=depth,
        ends=", ".join(f"conv{stage}_{count}_out" for stage, count in enumerate(units, 2)),
        inner="1x1, 3x3 and 1x1 convolutions" if bottleneck else "two 3x3 convolutions",
        stride_on=STRIDE_ON[family]
        if bottleneck
        else "of networks with bottlenecks, from 50 layers on; leave it None.",
        **WORDS[family],
    )
    return documented(build)


DOCSTRING = """The residual network of {depth} layers{what}.

    Layers: {stem}, then units of {inner}: conv2_1_conv1, conv2_1_conv2, ..., conv2_1_add,
    conv2_1_out; a unit that changes the shape also has a shortcut, conv3_1_shortcut. Stages end at
    {ends}; {end}gap, drop, fc, predictions; without top it ends before gap.
    Batch normalization and ReLU of a unit's convolution NAME stand {order} it: NAME_bn, NAME_relu.

    Args:
        stride_on: {stride_on}
        shortcut: where the shape changes, "A" appends channels of zeros and "B" projects with a 1x1 convolution; "C"
            projects in every unit. None: that of the weights, else "{shortcut}".
        residual: False builds the plain network, without shortcuts, whose degradation with depth the first paper
            shows. None: that of the weights, else True.
        dropout: share of the classifier's inputs that is dropped while training; the papers have none.
        kernel_initializer: of all kernels; He's, as in the paper.
        bias_initializer: of the classifier's bias; the convolutions have none.

    Reference:
        {reference}
    """
WORDS = {
    "v1": {
        "what": ", version 1",
        "stem": "conv1, pool1",
        "end": "",
        "order": "behind",
        "shortcut": "B",
        "reference": "He et al. 2016a, table 1, figure 5 and section 3.3.",
    },
    "v2": {
        "what": ", version 2",
        "stem": "conv1, pool1",
        "end": "post_bn, post_relu, ",
        "order": "in front of",
        "shortcut": "B",
        "reference": "He et al. 2016b, figure 4(e) and the appendix; the stem and first unit as in the authors' code.",
    },
    "cifar": {
        "what": " for CIFAR-10",
        "stem": "conv1",
        "end": "",
        "order": "behind",
        "shortcut": "A",
        "reference": "He et al. 2016a, section 4.2 and table 6.",
    },
}
STRIDE_ON = {
    "v1": """the convolution that halves the map in the first bottleneck of a stage: "1x1", as in the paper, or "3x3",
            as in torchvision ("v1.5"). None: that of the weights, else "1x1".""",
    "v2": """the convolution that halves the map in the first bottleneck of a stage: "3x3", as in the authors' code, or
            "1x1". None: that of the weights, else "3x3".""",
}

ResNet18, ResNet34, ResNet50, ResNet101, ResNet152 = map(_network, TABLE_1)
ResNet18V2, ResNet34V2, ResNet50V2, ResNet101V2, ResNet152V2 = (_network(depth, version=2) for depth in TABLE_1)
ResNet20, ResNet32, ResNet44, ResNet56, ResNet110 = (_network(depth, cifar=True) for depth in (20, 32, 44, 56, 110))
