"""How a network is trained: frozen records, one constant a paper. Standard library only."""
# ruff: noqa: F401  the constants are this package's names

from keras_cnns._lazy import dir_of
from keras_cnns.errors import ArgumentError, nearest
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
    FINE_TUNING,
    INCEPTION_MODERN,
    LENET5_MODERN,
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

PAPERS = (*SMALL_IMAGES, *IMAGENET)
__all__ = sorted(
    [
        *(name for name, value in list(vars().items()) if isinstance(value, Recipe)),
        *("PAPERS", "RECIPES", "Recipe", "default_recipe", "get_recipe"),
    ]
)
__dir__ = dir_of(__all__)
RECIPES = {recipe.name: recipe for recipe in (*MODERN, *PAPERS)}


def get_recipe(name, builder=None):
    """Return the recipe called `name`, which must suit the network called `builder`.

    Raises:
        ArgumentError: if there is none so called, or it was made for another network.
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


def default_recipe(builder, source, weights=None, photographs=False):
    """Return the recipe where none is named.

    Args:
        builder: public name of the network.
        source: SOURCE, as `data.open_source` takes it.
        weights: what the network starts from; None: random weights.
        photographs: whether the source is a folder of photographs, as `training.holds_photographs` finds out.

    Returns:
        `FINE_TUNING` with weights, `NIN_DIGITS` for NiN on the digits, `PHOTOGRAPHS` for photographs, else `SHORT`.
    """
    if weights is not None:
        return FINE_TUNING
    if photographs:
        return PHOTOGRAPHS
    return NIN_DIGITS if builder == "NiN" and source in ("digits", "sklearn:digits") else SHORT
