"""From two splits and a recipe to what `model.fit` takes."""

from PIL import Image

from keras_cnns.data.augment import Augment
from keras_cnns.data.balance import repeat_scarce, weight_by_class
from keras_cnns.data.crops import RATIO
from keras_cnns.data.dataset_state import with_length
from keras_cnns.data.files import FileSplit
from keras_cnns.data.geometry import AUGMENTATIONS
from keras_cnns.data.pipeline import fit_color, make_dataset
from keras_cnns.training.compilation import targets

VALIDATION_BATCH = 256
SAMPLE = 32  # images of a folder that are looked at
PHOTOGRAPH = 64  # pixels


def make_datasets(model, recipe, preprocessing, training, validation, seed=0, position=None, share=None):
    """Return the training and the validation data of a recipe.

    Args:
        model: `keras.Model` giving (batch, classes), and perhaps the same from auxiliary heads, that takes them.
        recipe: `Recipe`, of which batch size, augmentation, color noise, mixing, erasing, labels and balance by weights
            count.
        preprocessing: `Preprocessing`, fitted.
        training: `Split`; its colors are measured here, if the recipe has noise for them.
        validation: `Split`, which is neither augmented nor mixed.
        seed: of the order and of all that is random.
        position: `Position` at which each pass over the training data starts, for a training that can go on where it
            stopped.
        share: `Share` of a `Distribution`: this process's part of each batch, which its devices can divide. The
            validation data then has weights, if need be, by which a weighted metric counts every image once.

    Returns:
        Two `tf.data.Dataset` of (float32 images (batch, height, width, channels), labels), of known length. Labels are
        int64 (batch,), or float32 (batch, classes) if `recipe.soft_labels`; for several heads a dictionary of them.
        Where classes have weights, those of the training images, float32 (batch,), come third.

    Raises:
        ArgumentError: for an augmentation or a strength that `make_dataset` does not know.
        SourceError: if colors are measured and an image cannot be read.
    """
    one_hot = model.outputs[0].shape[-1] if recipe.soft_labels else None
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
        one_hot=one_hot,
        position=position,
        share=share,
    )
    devices = share.devices if share else 1
    size = max(VALIDATION_BATCH // devices, 1) * devices
    held_out = make_dataset(validation, preprocessing, size, one_hot=one_hot, share=share, counting=True)
    if recipe.balance == "weights":
        batches = batches.map(weight_by_class(training, model.outputs[0].shape[-1]))
    if len(model.outputs) > 1:
        batches, held_out = (
            data.map(lambda images, labels, *weights: (images, targets(model, labels), *weights))
            for data in (batches, held_out)
        )
    if position is not None:
        batches = with_length(batches, -(-training.examples // recipe.batch_size))
    return batches, held_out


def balanced(split, recipe, seed=0):
    """Return the training split, with scarce images repeated if the recipe says so."""
    return repeat_scarce(split, seed) if recipe.balance == "repeat" else split


def holds_photographs(source):
    """Return whether a source is a folder of photographs, by the headers of a sample of its training images.

    Photographs are color images whose shorter side has at least `PHOTOGRAPH` pixels; most of the sample must be.

    Args:
        source: `Source`.
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
        return False  # training says what is wrong with it


def shorter_side(source, size, recipe):
    """Return the resize rule of images that are measured, for `Preprocessing(shorter_side=...)`.

    A recipe that trains on parts of larger images is measured on their center at the papers' scale, the shorter side
    being 256/224 of the input. Otherwise images all alike are stretched, others lose no more than their edges.

    Args:
        source: `Source`.
        size: (height, width) of the network's input, in pixels.
        recipe: `Recipe`, of which the augmentation counts.

    Returns:
        Pixels, or None: the whole image is stretched to `size`.
    """
    if tuple(source.image_shape[:2]) == tuple(size):
        return None
    geometry = AUGMENTATIONS.get(recipe.augmentation)  # None: `make_datasets` says what there is
    if geometry and geometry.window:
        return round(RATIO * max(size))
    return max(size) if None in source.image_shape[:2] else None
