"""Present-day recipes, where they differ from the papers. Standard library only."""

from keras_cnns.recipes.record import Recipe

# For any network and a user's own images. The warm-up is for NiN. The ReLU after its last 1x1 layer, which the paper
# has, can die in the first steps, and accuracy then stays at chance. With He initialization in that layer this happened
# on the digits in 4 of 9 training runs at twice this rate, and at this rate on 220 flower photographs. With the
# builder's default initialization every class map starts alive (November 2026).
SHORT = Recipe(
    name="short",
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=2e-3,
    schedule="cosine",
    warmup_steps=150,
    batch_size=32,
    epochs=20,
)

# The default for a folder of photographs. Measured on 220 flower photographs of five classes at 64 pixels, with 80 test
# images (November 2026). Crops of random area lowered the test loss compared to "short": of ResNet-20 from 1.36 to 1.07
# and from 1.40 to 1.14 (seeds 0 and 1), of NiN from 1.20 to 1.08 (seed 0). Top-1 was 59 % and 59 % instead of 61 % and
# 56 %, and 58 % instead of 56 %, which is one or two images. "crop-flip" (seed 0) reached a loss of 1.11 and 64 % with
# ResNet-20, and 1.11 and 46 % with NiN.
PHOTOGRAPHS = SHORT.replace(name="photographs", augmentation="inception-crop")

# For networks that start from trained weights. Its steps are small, so that these are not lost while the classifier
# learns. On 220 flower photographs at 32 pixels, nin:cifar10 classified 67 % of the 80 test images correctly with this
# recipe, and 66 % with twice the loss with "short". "short" from random weights reached 55 % (one seed each, November
# 2026).
FINE_TUNING = SHORT.replace(name="fine-tuning", learning_rate=2e-4, augmentation="crop-flip")

# The widths of the NiN author's network for MNIST, on the 1,797 digits of scikit-learn. On images held out of the
# training split, shifting halved the errors, and the distortions of the LeNet-5 paper halved them again.
NIN_DIGITS = SHORT.replace(
    name="nin-digits",
    builder="NiN",
    network={"variant": "mnist", "second_pool": "average", "dropout": 0.5},
    epochs=30,
    augmentation="distort",
)

# The shipped weights "mnist" of LeNet5 and NiN were trained with the next two recipes, once each, on nine tenths of the
# training images of MNIST (November 2026). Their test errors are 0.56 % and 0.34 %.
LENET5_MODERN = SHORT.replace(
    name="lenet5-modern",
    builder="LeNet5",
    learning_rate=2e-3,
    weight_decay=1e-4,
    batch_size=64,
    epochs=60,
    augmentation="distort",
)

NIN_MNIST_MODERN = SHORT.replace(
    name="nin-mnist-modern",
    builder="NiN",
    network={"variant": "mnist", "dropout": 0.5},
    warmup_steps=400,
    batch_size=128,
    epochs=40,
    augmentation="distort",
)

# For small images and few epochs: an adaptive optimizer, a cosine, and the paper's shifts and mirrors. 32 epochs
# reached a test error of 13.21 % on CIFAR-10 (8.81 % in the paper). Accuracy was 94 % on the training images and 86 %
# on those held out.
NIN_MODERN = Recipe(
    name="nin-modern",
    builder="NiN",
    network={"dropout": 0.3},
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=2e-3,
    schedule="cosine",
    warmup_steps=400,
    batch_size=128,
    epochs=60,
    augmentation="pad-crop-flip",
    label_smoothing=0.1,
)

# A second run for a network trained with "nin-modern": the paper's dropout, and 25 times the decay per step, which is
# rate times decay. 22 epochs reduced the error above to 12.44 %, with accuracies of 94 % and 87 %. The gap remains, so
# the next attempt should make the images harder, by cutmix or erasing.
NIN_MODERN_AGAIN = NIN_MODERN.replace(
    name="nin-modern-again", network={"dropout": 0.5}, learning_rate=1e-3, weight_decay=0.1, epochs=30
)

# The same for the widths of the author's network for MNIST, on Fashion-MNIST, whose clothes can be mirrored like
# photographs. It reached 93.56 % on the test split.
NIN_FASHION_MNIST_MODERN = NIN_MODERN.replace(
    name="nin-fashion-mnist-modern", network={"variant": "mnist", "dropout": 0.3}, epochs=40
)

# Like the reference training of frameworks since 2021: cosine, label smoothing, mixing and erasing.
RESNET_MODERN = Recipe(
    name="resnet-modern",
    builder=tuple(f"ResNet{depth}{version}" for version in ("", "V2") for depth in (18, 34, 50, 101, 152)),
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=5e-5,
    schedule="cosine",
    warmup_steps=25_000,  # five epochs of ImageNet
    batch_size=256,
    epochs=100,
    preprocessing="standardize",
    augmentation="inception-crop",
    mixup=0.2,
    erasing=0.1,
    label_smoothing=0.1,
)

# The paper's rate, shifts and mirrors in half its steps, with a cosine and twice its decay. ResNet-20 reached a test
# error of 8.97 % (8.75 % in the paper).
RESNET_CIFAR10_MODERN = Recipe(
    name="resnet-cifar10-modern",
    builder=tuple(f"ResNet{depth}" for depth in (20, 32, 44, 56, 110)),
    network={"kernel_initializer": "he_normal"},
    optimizer="sgd",
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=2e-4,
    schedule="cosine",
    warmup_steps=400,
    batch_size=128,
    epochs=90,
    augmentation="pad-crop-flip",
)

INCEPTION_MODERN = RESNET_MODERN.replace(
    name="inception-modern",
    builder="InceptionV3",
    network={"dropout": 0.2},
    clip_norm=2.0,
    preprocessing="minus-one-one",
)

# For networks that give each pixel a class, from random weights, and a user's own images. FCN-8s on ResNet-20, with 184
# training images of CamVid at 224x224, reached a mean IoU of 44.5 % on its 117 test images, in 21 minutes on two cores.
# The most frequent class everywhere has 2.4 % (one seed, December 2026).
MASKS = Recipe(
    name="masks",
    builder=("FCN32s", "FCN16s", "FCN8s", "DeepLabLargeFOV", "DeepLabASPP"),
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=2e-3,
    schedule="cosine",
    warmup_steps=150,
    batch_size=8,
    epochs=60,
    augmentation="crop-flip",
)

# For networks that find objects, and a user's own images.
BOXES = Recipe(
    name="boxes",
    builder=("SSD", "SSD300", "SSD512"),
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=1e-3,
    clip_norm=5.0,
    schedule="cosine",
    warmup_steps=200,
    batch_size=16,
    epochs=30,
    augmentation="flip",
)

MODERN = (
    SHORT,
    PHOTOGRAPHS,
    FINE_TUNING,
    BOXES,
    NIN_DIGITS,
    LENET5_MODERN,
    NIN_MNIST_MODERN,
    NIN_MODERN,
    NIN_MODERN_AGAIN,
    NIN_FASHION_MNIST_MODERN,
    RESNET_MODERN,
    RESNET_CIFAR10_MODERN,
    INCEPTION_MODERN,
    MASKS,
)
