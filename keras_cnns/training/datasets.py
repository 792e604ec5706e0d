"""From two splits and a recipe to what `model.fit` takes."""

from typing import TYPE_CHECKING

from PIL import Image

from keras_cnns.data.augment import Augment
from keras_cnns.data.balance import repeat_scarce, weight_by_class
from keras_cnns.data.crops import RATIO
from keras_cnns.data.dataset_state import Position, with_length
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.geometry import AUGMENTATIONS
from keras_cnns.data.pipeline import fit_color, make_dataset
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.data.sharding import Share
from keras_cnns.data.sources import Source
from keras_cnns.data.splits import Split
from keras_cnns.errors import ArgumentError
from keras_cnns.recipes import Recipe
from keras_cnns.tasks.registry import DEFAULT
from keras_cnns.tasks.task import Task
from keras_cnns.typing import Size

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

VALIDATION_BATCH = 256
SAMPLE = 32  # images of a folder that are examined
PHOTOGRAPH = 64  # pixels of the shorter side, at least


def make_datasets(
    model: "keras.Model",
    recipe: Recipe,
    preprocessing: Preprocessing,
    training: Split,
    validation: Split,
    seed: int = 0,
    position: Position | None = None,
    share: Share | None = None,
    task: Task | None = None,
) -> "tuple[tf.data.Dataset, tf.data.Dataset]":
    """Return the training and the validation data of a recipe.

    Args:
        model: `keras.Model` with outputs (batch, classes), perhaps from several heads.
        recipe: `Recipe`; its batch size, augmentation, color noise, mixing, erasing, labels and balance by weights
            count.
        preprocessing: `Preprocessing`, fitted.
        training: `Split`; its colors are measured here, if the recipe has color noise.
        validation: `Split`, which is neither augmented nor mixed.
        seed: seed of the order and of everything random.
        position: `Position` at which each pass over the training data starts, so that a run can resume within an epoch.
        share: `Share` of a `Distribution`, this process's part of each batch, made divisible by its devices. The
            validation data then has weights if needed, with which a weighted metric counts every image once.
        task: the `Task` of the model; None: it is a classifier.

    Returns:
        Two `tf.data.Dataset` of known length with elements (images, labels): float32 images (batch, height, width,
        channels), and labels int64 (batch,), or float32 (batch, classes) if `recipe.soft_labels`. Several heads get a
        dictionary of labels. Where classes have weights, the training images' weights, float32 (batch,), come third.

    Raises:
        ArgumentError: for an augmentation or a strength that `make_dataset` does not know.
        SourceError: if colors are measured and an image cannot be read.

    Examples:
        >>> from keras_cnns import applications, data, recipes, training
        >>> model, preprocessing = applications.LeNet5(), data.Preprocessing((32, 32), 1)
        >>> train, validation = data.open_source("digits").split("train").divide(0.1, seed=0)
        >>> batches, held_out = training.make_datasets(model, recipes.SHORT, preprocessing, train, validation)
        >>> len(batches), len(held_out)  # for model.fit(batches, validation_data=held_out)
        (41, 1)
    """
    encoding = (task or DEFAULT).encoding(model, recipe)
    batches = make_dataset(
        training,
        preprocessing,
        recipe.batch_size,
        shuffle=True,
        augmentation=Augment(
            recipe.augmentation,
            rand_augment=recipe.rand_augment,
            color=fit_color(training, preprocessing) if recipe.color_noise else None,
            color_deviation=recipe.color_noise,
            erasing=recipe.erasing,
            mixup=recipe.mixup,
            cutmix=recipe.cutmix,
        ),
        seed=seed,
        one_hot=encoding.one_hot,
        position=position,
        share=share,
    )
    devices = share.devices if share else 1
    size = max(VALIDATION_BATCH // devices, 1) * devices
    held_out = make_dataset(validation, preprocessing, size, one_hot=encoding.one_hot, share=share, counting=True)
    if recipe.balance == "weights":
        batches = batches.map(weight_by_class(training, model.outputs[0].shape[-1]))
    if encode := encoding.encode:
        batches, held_out = (
            data.map(lambda images, labels, *weights: (images, encode(labels), *weights))
            for data in (batches, held_out)
        )
    if position is not None:
        batches = with_length(batches, -(-training.examples // recipe.batch_size))
    return batches, held_out


def balanced(split: Split, recipe: Recipe, seed: int = 0) -> Split:
    """Repeat scarce images of the training split, if the recipe says so."""
    if recipe.balance != "repeat":
        return split
    return repeat_scarce(split, seed)  # type: ignore[arg-type]  # it refuses a split whose labels are not known


def holds_photographs(source: Source) -> bool:
    """Return whether a source is a folder of photographs.

    Photographs are color images whose shorter side has at least `PHOTOGRAPH` pixels. More than half of a sample of the
    training images must be photographs, according to their headers.

    Args:
        source: `Source`.

    Examples:
        >>> from keras_cnns import data, training
        >>> training.holds_photographs(data.open_source("digits"))
        False
    """
    split = source.split("train")
    if not isinstance(split, FileSplit):
        return False
    paths = split.items[:: -(-len(split.items) // SAMPLE)]
    return sum(map(_is_photograph, paths)) > len(paths) / 2


def _is_photograph(path):
    try:
        with Image.open(path) as image:
            return image.mode in ("RGB", "CMYK", "YCbCr") and min(image.size) >= PHOTOGRAPH
    except (OSError, ValueError, Image.DecompressionBombError):
        return False  # Training reports what is wrong with it


def shorter_side(source: Source, size: Size, recipe: Recipe) -> int | None:
    """Return the resize rule for measured images, for `Preprocessing(shorter_side=...)`.

    The recipe's `fit` decides. Without one, a recipe that trains on crops of larger images is measured on their center
    at the papers' scale, with a shorter side of 256/224 of the input. Otherwise images of one size are stretched, and
    images of different sizes are cropped at the edges only. Where every pixel counts, as with masks, whole images are
    stretched.

    Args:
        source: `Source`.
        size: (height, width) of the network's input, in pixels.
        recipe: `Recipe`, of which `fit` and the augmentation count.

    Returns:
        Pixels of the shorter side, or None: the whole image is shown.

    Raises:
        ArgumentError: if images are to be cropped whose every pixel counts.

    Examples:
        >>> from keras_cnns import data, recipes, training
        >>> recipe = recipes.SHORT.replace(augmentation="crop-flip")
        >>> training.shorter_side(data.open_source("digits"), (224, 224), recipe)
        256
    """
    if recipe.fit == "crop" and source.target.at_own_size:
        raise ArgumentError(
            f"{source.name}: each pixel of an image counts, so that none is cropped; choose fit 'stretch' or 'pad'. "
            f"Received: fit={recipe.fit!r}"
        )
    if recipe.fit in ("stretch", "pad"):
        return None
    if recipe.fit is None and (tuple(source.image_shape[:2]) == tuple(size) or source.target.at_own_size):
        return None
    geometry = AUGMENTATIONS.get(recipe.augmentation)  # For an unknown name `make_datasets` raises an error
    if geometry and geometry.window:
        return round(RATIO * max(size))
    return max(size) if recipe.fit == "crop" or None in source.image_shape[:2] else None
