"""Records of how a network is trained, one constant per paper.

Standard library only.
"""

from keras_cnns._lazy import dir_of
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.recipes.detection import DETECTION, SSD300_VOC, SSD512_VOC
from keras_cnns.recipes.imagenet import (
    ALEXNET_IMAGENET,
    ALEXNET_ONE_TOWER_IMAGENET,
    CAFFENET_IMAGENET,
    GOOGLENET_IMAGENET,
    IMAGENET,
    INCEPTION_V2_IMAGENET,
    INCEPTION_V3_IMAGENET,
    NIN_IMAGENET,
    RESNET_IMAGENET,
    RESNET_V2_IMAGENET,
    VGG_IMAGENET,
    ZFNET_IMAGENET,
)
from keras_cnns.recipes.modern import (
    BOXES,
    FINE_TUNING,
    INCEPTION_MODERN,
    LENET5_MODERN,
    MASKS,
    MODERN,
    NIN_DIGITS,
    NIN_FASHION_MNIST_MODERN,
    NIN_MNIST_MODERN,
    NIN_MODERN,
    NIN_MODERN_AGAIN,
    PHOTOGRAPHS,
    RESNET_CIFAR10_MODERN,
    RESNET_MODERN,
    SHORT,
)
from keras_cnns.recipes.record import Recipe
from keras_cnns.recipes.segmentation import (
    CRF_RNN_VOC,
    DEEPLAB_ASPP_VOC,
    DEEPLAB_LARGEFOV_VOC,
    FCN8S_VOC,
    FCN16S_VOC,
    FCN32S_VOC,
    SEGMENTATION,
)
from keras_cnns.recipes.small_images import (
    LENET5_MNIST,
    LENET5_MODERN_MNIST,
    MAXOUT_CIFAR10,
    MAXOUT_MNIST,
    NIN_CIFAR10,
    NIN_MNIST,
    RESNET_CIFAR10,
    SMALL_IMAGES,
)

PAPERS = (*SMALL_IMAGES, *IMAGENET, *SEGMENTATION, *DETECTION)
__all__ = [
    "ALEXNET_IMAGENET",
    "ALEXNET_ONE_TOWER_IMAGENET",
    "BOXES",
    "CAFFENET_IMAGENET",
    "CRF_RNN_VOC",
    "DEEPLAB_ASPP_VOC",
    "DEEPLAB_LARGEFOV_VOC",
    "FCN16S_VOC",
    "FCN32S_VOC",
    "FCN8S_VOC",
    "FINE_TUNING",
    "GOOGLENET_IMAGENET",
    "INCEPTION_MODERN",
    "INCEPTION_V2_IMAGENET",
    "INCEPTION_V3_IMAGENET",
    "LENET5_MNIST",
    "LENET5_MODERN",
    "LENET5_MODERN_MNIST",
    "MASKS",
    "MAXOUT_CIFAR10",
    "MAXOUT_MNIST",
    "NIN_CIFAR10",
    "NIN_DIGITS",
    "NIN_FASHION_MNIST_MODERN",
    "NIN_IMAGENET",
    "NIN_MNIST",
    "NIN_MNIST_MODERN",
    "NIN_MODERN",
    "NIN_MODERN_AGAIN",
    "PAPERS",
    "PHOTOGRAPHS",
    "RECIPES",
    "RESNET_CIFAR10",
    "RESNET_CIFAR10_MODERN",
    "RESNET_IMAGENET",
    "RESNET_MODERN",
    "RESNET_V2_IMAGENET",
    "Recipe",
    "SHORT",
    "SSD300_VOC",
    "SSD512_VOC",
    "VGG_IMAGENET",
    "ZFNET_IMAGENET",
    "default_recipe",
    "get_recipe",
]
__dir__ = dir_of(__all__)
RECIPES = {recipe.name: recipe for recipe in (*MODERN, *PAPERS)}


def get_recipe(name: str, builder: str | None = None) -> Recipe:
    """Return the recipe of a name.

    Args:
        name: a key of `RECIPES`.
        builder: public name of the network that the recipe must suit; None: any.

    Raises:
        ArgumentError: if there is no such recipe, or it was made for another network.

    Examples:
        >>> from keras_cnns import recipes
        >>> recipe = recipes.get_recipe("nin-cifar10", builder="NiN")
        >>> recipe.optimizer, recipe.learning_rate
        ('sgd', 0.1)
    """
    if name not in RECIPES:
        raise ArgumentError(
            f"there is no such recipe; there are {', '.join(RECIPES)}.{nearest(name, RECIPES)} "
            f"Received: recipe={name!r}"
        )
    recipe = RECIPES[name]
    if builder is not None and not recipe.suits(builder):
        others = ", ".join(other.name for other in RECIPES.values() if other.suits(builder))
        raise ArgumentError(
            f"the recipe {name} is for {', '.join(recipe.builders)}; for {builder} choose another: {others}. "
            f"Received: recipe={name!r}"
        )
    return recipe


def default_recipe(builder: str, source: str, weights: str | None = None, photographs: bool = False) -> Recipe:
    """Return the recipe to use if none is named.

    Args:
        builder: public name of the network.
        source: SOURCE, as `data.open_source` takes it.
        weights: trained weights that the network starts from; None: random initialization.
        photographs: whether the source is a folder of photographs, as `training.holds_photographs` returns.

    Returns:
        `CRF_RNN_VOC` for CRFasRNN, which larger rates break; `BOXES` for networks whose images have boxes;
        `FINE_TUNING` with weights; `MASKS` for the other networks whose images have masks; `NIN_DIGITS` for NiN on the
        digits; `PHOTOGRAPHS` for photographs; else `SHORT`.

    Examples:
        >>> from keras_cnns import recipes
        >>> recipes.default_recipe("NiN", "digits").name
        'nin-digits'
        >>> recipes.default_recipe("NiN", "photos/", weights="cifar10").name
        'fine-tuning'
    """
    if CRF_RNN_VOC.suits(builder):
        return CRF_RNN_VOC
    if BOXES.suits(builder):
        return BOXES
    if weights is not None:
        return FINE_TUNING
    if MASKS.suits(builder):
        return MASKS
    if photographs:
        return PHOTOGRAPHS
    return NIN_DIGITS if builder == "NiN" and source in ("digits", "sklearn:digits") else SHORT
