"""Masks: images whose pixels are class numbers. Imports no tensorflow."""

import os

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_cnns import _files
from keras_cnns.data import coco
from keras_cnns.errors import ArgumentError, SourceError
from keras_cnns.typing import Path, Size

IGNORE = 255  # label of pixels whose class is not known
MOST_CLASSES = 255  # as the label 255 is taken
# Formats, by Pillow's names, that keep class numbers as they are. (Programs that write GIF number colors anew.)
LOSSLESS = ("BMP", "PNG", "PPM", "TIFF", "TGA")
LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")  # of a TIFF
_CURE = "Save class numbers as a palette or gray PNG"
# Pillow stretches gray values of fewer than 8 bits to 0 to 255; by its name for their storage, the factor
_STRETCHED = {"L;2": 85, "L;4": 17, "L;2I": 85, "L;4I": 17}


def read_mask(
    path: Path, classes: int | None = None, size: Size | None = None, ignore: int = IGNORE
) -> NDArray[np.uint8]:
    """Return the class of each pixel in a mask.

    Args:
        path: path of a palette image, whose indices are the classes, or of a gray image, whose values are; both in a
            lossless format, best PNG. Or FILE.json#ID for the image with this id in a COCO file.
        classes: number of classes, for a check; None if it is not known.
        size: (height, width) of the mask's image, for a check; None if it is not known.
        ignore: label of pixels to ignore, which becomes 255. 255 is always ignored.

    Returns:
        uint8 array (height, width) of classes, 255 where pixels are ignored.

    Raises:
        SourceError: if the file is missing, damaged, a color image or a JPEG; or if a label or the size is wrong.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns.data.masks import read_mask, write_mask
        >>> write_mask(np.eye(4, dtype="uint8"), "mask.png")
        >>> read_mask("mask.png", classes=2, size=(4, 4))[0]
        array([1, 0, 0, 0], dtype=uint8)
    """
    source = coco.named_in(path)
    if source is None:
        mask = _read_file(path)
    else:
        file, image = source
        mask = coco.read_annotations(file).mask(image)
    if size is not None and mask.shape != tuple(size):
        (height, width), (mask_height, mask_width) = size, mask.shape
        cure = "Save it with the size of its image"
        if mask.shape == (width, height):
            cure = "Turn it: the camera's orientation of the image is applied when the image is read"
        raise SourceError(
            f"{path}: is a mask of {mask_width}x{mask_height} pixels, and its image has {width}x{height}. {cure}."
        )
    if ignore != IGNORE:
        mask = np.where(mask == ignore, np.uint8(IGNORE), mask)
    if classes is not None:
        _check_labels(path, mask, classes)
    return mask


def _check_labels(path: Path, mask: NDArray[np.uint8], classes: int) -> None:
    """Raise SourceError if a label is that of no class."""
    if classes > IGNORE or not (wrong := (mask >= classes) & (mask != IGNORE)).any():
        return
    row, column = np.argwhere(wrong)[0]
    raise SourceError(
        f"{path}: has the label {mask[row, column]} at row {row}, column {column}, and there are {classes} classes, "
        f"0 to {classes - 1}. Correct the label, name all classes, or write {IGNORE} for pixels to ignore."
    )


def _read_file(path: Path) -> NDArray[np.uint8]:
    """Return the labels in a mask file."""
    try:
        with Image.open(path) as image:
            if fault := _unfit(image):
                raise SourceError(f"{path}: {fault}.")
            stretched = _STRETCHED.get(_storage(image), 1)
            labels = np.asarray(ImageOps.exif_transpose(image))
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(f"{path}: there is no such mask. Add it, or remove its image.") from None
    except UnidentifiedImageError:
        raise SourceError(f"{path}: is no image in a format that is known. {_CURE}.") from None
    except Exception as error:  # each decoder has its own exceptions
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SourceError(f"{path}: cannot be read as a mask ({reason}). Replace it.") from None
    if labels.dtype != np.uint8 and (labels.min() < 0 or labels.max() > IGNORE):
        wrong = int(labels.min()) if labels.min() < 0 else int(labels.max())
        raise SourceError(
            f"{path}: has the label {wrong}, and labels are from 0 to {IGNORE}. Give the classes smaller numbers."
        )
    return labels.astype("uint8") // np.uint8(stretched)


def _unfit(image: Image.Image) -> str | None:
    """Return why an image is no mask, and the cure.

    None if it may be one.
    """
    compression = str(image.info.get("compression", ""))
    if image.format not in LOSSLESS or compression in LOSSY_COMPRESSIONS:
        kind = compression if image.format in LOSSLESS else str(image.format)
        return (
            f"is a mask in the format {kind.upper()}, which may change class numbers. {_CURE}, from the masks before "
            "they were compressed"
        )
    if image.mode == "F":
        return f"has floating-point pixels. {_CURE}"
    if image.mode not in ("P", "L", "1") and not image.mode.startswith("I"):
        return (
            f"is a color image (mode {image.mode}), which does not say the classes. {_CURE}; if each color stands for "
            "a class, keras_cnns.data.masks.from_colors converts the pixels"
        )
    return None


def _storage(image: Image.Image) -> str:
    """Return Pillow's name for how a file stores pixels.

    It is known until they are read.
    """
    tiles = getattr(image, "tile", None)  # which images from a file have
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def write_mask(mask: ArrayLike, path: Path) -> None:
    """Write a mask as a palette PNG, in the colors of `colors`.

    Args:
        mask: array (height, width) of whole numbers from 0 to 255.
        path: path of the file, which ends in .png. A file that exists is replaced.

    Raises:
        ArgumentError: for another array or another name.
        OutputError: if the file cannot be written.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from keras_cnns.data.masks import write_mask
        >>> write_mask(np.ones((3, 5), int), "mask.png")
        >>> Image.open("mask.png").mode
        'P'
    """
    labels = np.asarray(mask)
    fits = labels.ndim == 2 and labels.size and labels.dtype.kind in "biu"
    if not fits or labels.min() < 0 or labels.max() > IGNORE:
        raise ArgumentError(
            f"`mask` must be an array (height, width) of whole numbers from 0 to {IGNORE}. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    if not os.fspath(path).lower().endswith(".png"):
        raise ArgumentError(
            f"a mask is written as PNG, so that its name must end in .png. Received: path={str(path)!r}"
        )
    image = Image.fromarray(labels.astype("uint8"))
    image.putpalette(colors().tobytes())
    with _files.writing(path) as temporary:
        image.save(temporary, format="PNG")


def colors(count: int = 256) -> NDArray[np.uint8]:
    """Return the colors in which PASCAL VOC shows classes.

    Args:
        count: number of classes, at most 256.

    Returns:
        uint8 array (count, 3): black for the background, then dark red, green, yellow, blue, ...; 255 is cream.

    Examples:
        >>> from keras_cnns.data.masks import colors
        >>> colors(3).tolist()
        [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    """
    labels = np.arange(count)
    palette = np.zeros((count, 3), "uint8")
    # The bits of a label go in turn to red, green and blue, the lowest ones to the highest bits of the colors
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((labels >> (3 * bit + channel)) & 1) << (7 - bit)).astype("uint8")
    return palette


def from_colors(pixels: ArrayLike, palette: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Return the mask that a color image shows.

    Args:
        pixels: uint8 array (height, width, 3), as `read_image` returns it.
        palette: sequence of (red, green, blue), one color for each class; None for `colors()`.

    Returns:
        uint8 array (height, width): the index of each pixel's color.

    Raises:
        ArgumentError: if a pixel has another color; it names the color and the position.

    Examples:
        >>> import numpy as np
        >>> from keras_cnns.data.masks import from_colors
        >>> from_colors(np.array([[[9, 9, 9], [0, 80, 0]]], "uint8"), [(0, 80, 0), (9, 9, 9)]).tolist()
        [[1, 0]]
    """
    pixels, known = np.asarray(pixels), np.asarray(colors() if palette is None else palette, "int64")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise ArgumentError(
            f"`pixels` must be a uint8 array (height, width, 3). Received: shape={pixels.shape}, dtype={pixels.dtype}"
        )
    if known.ndim != 2 or known.shape[1] != 3 or not 0 < len(known) <= 256:
        raise ArgumentError(
            f"`palette` must have one color of three numbers for each of at most 256 classes. "
            f"Received: shape={known.shape}"
        )
    weights = np.array([1 << 16, 1 << 8, 1])
    keys, present = known @ weights, pixels.astype("int64") @ weights
    order = np.argsort(keys, kind="stable")
    places = order[np.minimum(np.searchsorted(keys[order], present), len(keys) - 1)]
    if (wrong := keys[places] != present).any():
        row, column = np.argwhere(wrong)[0]
        raise ArgumentError(
            f"the pixel at row {row}, column {column} has a color that stands for no class; add it to `palette`. "
            f"Received: color={tuple(pixels[row, column].tolist())}"
        )
    return places.astype("uint8")


def file_of(name: Path) -> str:
    """Return the file that holds a mask.

    Args:
        name: as for `read_mask`.
    """
    source = coco.named_in(name)
    return os.fspath(name) if source is None else source[0]


def label_counts(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of pixels with each label.

    Args:
        mask: uint8 array of labels.

    Returns:
        int64 array (256,).
    """
    return np.bincount(mask.ravel(), minlength=IGNORE + 1)
