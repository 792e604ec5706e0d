"""The table of truths: what the papers' authors published, counted independently of this package's code."""

# (builder, options): trainable parameters. NiN: osmr/imgclsmob's README and the author's cuda-convnet files;
# the textbook's Fashion-MNIST network has two 1x1 layers a block (1,992,166), with one it is 223,054 smaller.
PARAMETERS = [
    ("NiN", {}, 966_986),
    ("NiN", {"second_pool": "max"}, 966_986),
    ("NiN", {"variant": "cifar10"}, 966_986),
    ("NiN", {"variant": "cifar100"}, 984_356),
    ("NiN", {"variant": "mnist"}, 349_674),
    ("NiN", {"variant": "svhn"}, 1_986_026),
    ("NiNImageNet", {}, 7_595_176),
    ("NiNImageNet", {"input_shape": (224, 224, 1), "classes": 10, "widths": (96, 256, 384, None)}, 1_992_166),
    (
        "NiNImageNet",
        {"input_shape": (224, 224, 1), "classes": 10, "widths": (96, 256, 384, None), "mlp_layers": 1},
        1_769_112,
    ),
]

# (builder, options): multiply-adds of one picture
MACS = [
    ("NiN", {}, 222_486_528),
    ("NiN", {"variant": "cifar100"}, 223_592_448),
    ("NiN", {"variant": "mnist"}, 50_699_712),
    ("NiN", {"variant": "svhn"}, 274_235_392),
    ("NiNImageNet", {}, 1_100_188_800),
]

# (builder, options): layer to (height, width, channels) of its output and its parameters
LAYERS = [
    (
        "NiN",
        {},
        {
            "conv1": ((32, 32, 192), 14_592),
            "cccp1": ((32, 32, 160), 30_880),
            "cccp2": ((32, 32, 96), 15_456),
            "pool1": ((16, 16, 96), 0),
            "drop1": ((16, 16, 96), 0),
            "conv2": ((16, 16, 192), 460_992),
            "cccp3": ((16, 16, 192), 37_056),
            "cccp4": ((16, 16, 192), 37_056),
            "pool2": ((8, 8, 192), 0),
            "drop2": ((8, 8, 192), 0),
            "conv3": ((8, 8, 192), 331_968),
            "cccp5": ((8, 8, 192), 37_056),
            "cccp6": ((8, 8, 10), 1_930),
            "gap": ((10,), 0),
            "predictions": ((10,), 0),
        },
    ),
    (
        "NiN",
        {"variant": "mnist"},
        {
            "conv1": ((28, 28, 96), 2_496),
            "cccp2": ((28, 28, 48), 3_120),
            "pool1": ((14, 14, 48), 0),
            "conv2": ((14, 14, 128), 153_728),
            "pool2": ((7, 7, 48), 0),
            "conv3": ((7, 7, 128), 153_728),
            "cccp6": ((7, 7, 10), 970),
        },
    ),
    (
        "NiN",
        {"variant": "svhn"},
        {"conv1": ((32, 32, 128), 9_728), "cccp4": ((16, 16, 128), 32_896), "conv3": ((8, 8, 384), 1_229_184)},
    ),
    (
        "NiNImageNet",
        {},
        {
            "conv1": ((54, 54, 96), 34_944),
            "pool1": ((27, 27, 96), 0),
            "conv2": ((27, 27, 256), 614_656),
            "pool2": ((13, 13, 256), 0),
            "conv3": ((13, 13, 384), 885_120),
            "pool3": ((6, 6, 384), 0),
            "drop": ((6, 6, 384), 0),
            "conv4": ((6, 6, 1024), 3_539_968),
            "cccp7": ((6, 6, 1024), 1_049_600),
            "cccp8": ((6, 6, 1000), 1_025_000),
            "gap": ((1000,), 0),
        },
    ),
]
