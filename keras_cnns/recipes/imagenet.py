"""Recipes of the papers for ImageNet, ordered by year.

Each value is followed by the section of the paper that it is from. "Not reproduced" names what the paper does and
Keras's optimizers cannot. Standard library only.

The training split of ImageNet has 1,281,167 images.
"""

from keras_cnns.recipes.record import Recipe, gaussian

# A. Krizhevsky, I. Sutskever, G. Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012.
ALEXNET_IMAGENET = Recipe(
    name="alexnet-imagenet",
    builder="AlexNet",
    network={"dropout": 0.5, "kernel_initializer": gaussian(0.01)},  # sections 4.2, 5
    biases={"conv2": 1.0, "conv4": 1.0, "conv5": 1.0, "fc6": 1.0, "fc7": 1.0},  # section 5
    optimizer="sgd",
    learning_rate=0.01,  # section 5
    momentum=0.9,  # section 5
    weight_decay=5e-4,  # section 5
    schedule="plateau",  # section 5: divided by 10 when the validation error stopped improving, three times
    decay_factor=0.1,
    batch_size=128,  # section 5
    epochs=90,  # section 5
    preprocessing="mean-image",  # section 2
    augmentation="crop-flip",  # section 4.1
    color_noise=0.1,  # section 4.1
    protocol="ten-crop",  # section 4.1
)

# BVLC CaffeNet: models/bvlc_reference_caffenet.
CAFFENET_IMAGENET = ALEXNET_IMAGENET.replace(
    name="caffenet-imagenet",
    builder="CaffeNet",
    schedule="step",  # 100,000 of 450,000 steps
    decay_at=(100 / 450, 200 / 450, 300 / 450, 400 / 450),
    decay_factor=(0.1, 0.01, 0.001, 0.0001),
    batch_size=256,
    color_noise=0.0,
    protocol="center",
)

# A. Krizhevsky: One weird trick for parallelizing convolutional neural networks, 2014, section 5: trained as in 2012.
ALEXNET_ONE_TOWER_IMAGENET = ALEXNET_IMAGENET.replace(name="alexnet-one-tower-imagenet", builder="AlexNetOneTower")

# The author's NIN-Imagenet in the Caffe model zoo.
NIN_IMAGENET = Recipe(
    name="nin-imagenet",
    builder="NiNImageNet",
    network={"dropout": 0.5, "kernel_initializer": gaussian(0.05)},
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    schedule="step",
    decay_at=(200 / 450, 400 / 450),
    decay_factor=(0.1, 0.01),
    batch_size=64,
    epochs=22,  # 450,000 steps
    preprocessing="mean-image",
    augmentation="crop-flip",
)

# M. Zeiler, R. Fergus: Visualizing and Understanding Convolutional Networks, 2014, section 3.1. Not reproduced: the
# paper takes ten fixed crops of each image, which are random here, and scales filters of large norm back.
ZFNET_IMAGENET = ALEXNET_IMAGENET.replace(
    name="zfnet-imagenet",
    builder="ZFNet",
    biases={},
    color_noise=0.0,
    weight_decay=0.0,  # section 3.1 names none
    epochs=70,
)

# K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, 2015. The
# paper initializes the deep networks from network A (`keras_cnns.training.transfer_weights`), or by Glorot's method
# (section 3.1).
VGG_IMAGENET = Recipe(
    name="vgg-imagenet",
    builder=("VGG11", "VGG11LRN", "VGG13", "VGG16C", "VGG16", "VGG19"),
    network={"dropout": 0.5, "kernel_initializer": "glorot_uniform"},  # section 3.1
    optimizer="sgd",
    learning_rate=0.01,  # section 3.1
    momentum=0.9,  # section 3.1
    weight_decay=5e-4,  # section 3.1
    schedule="plateau",  # section 3.1: divided by 10 when the validation accuracy stopped improving, three times
    decay_factor=0.1,
    batch_size=256,  # section 3.1
    epochs=74,  # section 3.1
    preprocessing="mean",  # section 2.1
    augmentation="scale-jitter",  # section 3.1
    color_noise=0.1,  # section 3.1 points to AlexNet's
    protocol="dense",  # section 3.2
)

# C. Szegedy et al.: Going Deeper with Convolutions, 2015. Not reproduced: asynchronous steps and photometric
# distortions.
GOOGLENET_IMAGENET = Recipe(
    name="googlenet-imagenet",
    builder="GoogLeNet",
    network={"auxiliary": True, "kernel_initializer": "glorot_uniform"},  # section 5; Caffe's file
    auxiliary_weight=0.3,  # section 5
    optimizer="sgd",
    learning_rate=0.01,  # Caffe's solver; section 6 names none
    momentum=0.9,  # section 6
    weight_decay=2e-4,  # Caffe's solver
    schedule="exponential",  # section 6: reduced by 4 % every 8 epochs
    decay_factor=0.96,
    decay_epochs=8,
    moving_average=0.9999,  # section 6: Polyak averaging
    batch_size=32,  # Caffe's solver
    epochs=60,
    preprocessing="mean",  # section 5
    augmentation="inception-crop",  # section 6
    protocol="144-crop",  # section 7
)

# S. Ioffe, C. Szegedy: Batch Normalization, 2015: BN-x5 of section 4.2.2, whose rate of 0.0075 falls six times
# faster.
INCEPTION_V2_IMAGENET = GOOGLENET_IMAGENET.replace(
    name="inception-v2-imagenet",
    builder="InceptionV2",
    network={"dropout": 0.0},  # section 4.2.1
    auxiliary_weight=0.0,
    learning_rate=0.0075,  # section 4.2.2
    weight_decay=4e-5,  # section 4.2.1: a fifth
    decay_epochs=8 / 6,
    preprocessing="minus-one-one",
)

# C. Szegedy et al.: Rethinking the Inception Architecture for Computer Vision, 2016. Not reproduced: 50 replicas.
INCEPTION_V3_IMAGENET = Recipe(
    name="inception-v3-imagenet",
    builder="InceptionV3",
    network={
        "auxiliary": True,  # section 4
        "dropout": 0.2,  # slim
        "kernel_initializer": {"class_name": "TruncatedNormal", "config": {"stddev": 0.1}},  # slim
    },
    auxiliary_weight=0.4,  # slim
    optimizer="rmsprop",  # section 8
    learning_rate=0.045,  # section 8
    momentum=0.9,
    rho=0.9,  # section 8
    epsilon=1.0,  # section 8
    weight_decay=4e-5,  # slim
    clip_norm=2.0,  # section 8
    moving_average=0.9999,  # section 8
    schedule="exponential",  # section 8: times 0.94 every two epochs
    decay_factor=0.94,
    decay_epochs=2,
    batch_size=32,  # section 8, for each of 50 replicas
    epochs=100,  # section 8
    preprocessing="minus-one-one",
    augmentation="inception-crop",
    label_smoothing=0.1,  # section 7
    protocol="144-crop",  # section 10
)

# K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, 2016.
RESNET_IMAGENET = Recipe(
    name="resnet-imagenet",
    builder=("ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152"),
    network={"kernel_initializer": "he_normal"},  # section 3.4
    optimizer="sgd",
    learning_rate=0.1,  # section 3.4
    momentum=0.9,  # section 3.4
    weight_decay=1e-4,  # section 3.4
    schedule="plateau",  # section 3.4: divided by 10 when the error plateaus
    decay_factor=0.1,
    batch_size=256,  # section 3.4
    epochs=120,  # section 3.4: up to 600,000 steps
    preprocessing="mean-image",  # section 3.4
    augmentation="scale-jitter-480",  # section 3.4
    color_noise=0.1,  # section 3.4
    protocol="ten-crop",  # section 3.4
)

# K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks, 2016, appendix.
RESNET_V2_IMAGENET = RESNET_IMAGENET.replace(
    name="resnet-v2-imagenet",
    builder=("ResNet18V2", "ResNet34V2", "ResNet50V2", "ResNet101V2", "ResNet152V2"),
    schedule="step",
    decay_at=(30 / 90, 60 / 90),
    decay_factor=(0.1, 0.01),
    epochs=90,
    protocol="center",
)

IMAGENET = (
    ALEXNET_IMAGENET,
    CAFFENET_IMAGENET,
    ALEXNET_ONE_TOWER_IMAGENET,
    NIN_IMAGENET,
    ZFNET_IMAGENET,
    VGG_IMAGENET,
    GOOGLENET_IMAGENET,
    INCEPTION_V2_IMAGENET,
    INCEPTION_V3_IMAGENET,
    RESNET_IMAGENET,
    RESNET_V2_IMAGENET,
)
