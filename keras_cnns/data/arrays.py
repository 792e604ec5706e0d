"""Sources in an `.npz` file of images and labels."""

import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data.classes import need_two_classes, sort_classes
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import SourceError
from keras_cnns.typing import Labels, Path, Pixels, Shape

NEEDED = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path) -> tuple[tuple[str, ...], Shape, dict[str, ArraySplit]]:
    """Return class names, image shape and splits of an `.npz` file.

    Args:
        path: path of a file with these members:

            - `x_train` and `x_test`: pixels from 0 to 255, (examples, height, width) or
              (examples, height, width, 1 or 3);
            - `y_train` and `y_test`: one label per image, a whole number or the name of a class;
            - optionally `class_names`, one per number. Without it the names are the numbers, or the names among the
              labels in the order of `sort_classes`.

    Returns:
        (class names, (height, width, channels), dictionary from "train" and "test" to `ArraySplit`).

    Raises:
        SourceError: naming the file and what is wrong with it.
    """
    members = _load(path)
    names = _class_names(path, members)
    splits = {}
    for split in ("train", "test"):
        images = _checked_images(path, f"x_{split}", members[f"x_{split}"])
        labels = _checked_labels(path, f"y_{split}", members[f"y_{split}"], len(images), names)
        splits[split] = ArraySplit(images, labels)
    shape, test_shape = splits["train"].items.shape[1:], splits["test"].items.shape[1:]
    if shape != test_shape:
        raise SourceError(f"{path}: x_train has images of shape {shape}, x_test of {test_shape}. Make them equal.")
    need_two_classes(path, names)
    empty = sorted(set(range(len(names))) - set(splits["train"].targets.tolist()))
    if empty:
        more = f" and {len(empty) - 1} more" if empty[1:] else ""
        raise SourceError(
            f"{path}: y_train has no image of class {names[empty[0]]!r}{more}; number classes from 0 without gaps."
        )
    return names, shape, splits


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Return the members of the file by name, or raise SourceError."""
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in NEEDED if key not in file]
            members = {key: file[key] for key in (*NEEDED, "class_names") if key in file}
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        if "pickle" in str(error).lower():
            fault, cure = (
                "holds pickled Python objects, which could run any code; NumPy also makes them of images of "
                "different sizes",
                "Save plain arrays with np.savez, or put images of different sizes into a folder",
            )
        else:
            fault, cure = "is damaged or no .npz file", "Make it again with np.savez"
        raise SourceError(f"{path}: {fault}. {cure}.") from None
    if missing:
        raise SourceError(f"{path}: lacks {', '.join(missing)}. It must hold {', '.join(NEEDED)}.")
    return members


def _class_names(path: Path, members: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    """Return the file's class names, or those implied by its training labels."""
    stored, y_train = members.get("class_names"), members["y_train"]
    if stored is not None and stored.ndim != 1:
        raise SourceError(f"{path}: class_names must be a list of strings. Received: shape={stored.shape}")
    if stored is not None:
        names = tuple(_texts(stored))
    elif y_train.dtype.kind in "US":
        names = tuple(sort_classes(set(_texts(y_train.ravel()))))
    else:
        largest = int(y_train.max()) if np.issubdtype(y_train.dtype, np.integer) and y_train.size else 0
        names = tuple(_texts(range(min(largest, 1_000_000) + 1)))
    if len(set(names)) != len(names):
        raise SourceError(f"{path}: class_names must differ from each other. Received: class_names={names[:10]}")
    return names


def _checked_images(path: Path, key: str, images: NDArray[Any]) -> Pixels:
    """Return uint8 images (examples, height, width, channels), or raise SourceError."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise SourceError(
            f"{path}: {key} must be (examples, height, width) or (examples, height, width, 1 or 3), none of them 0. "
            f"Received: shape={images.shape}"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating):
        raise SourceError(f"{path}: {key} must hold numbers from 0 to 255. Received: dtype={images.dtype}")
    if not np.isfinite(images).all():
        raise SourceError(f"{path}: {key} holds values that are not finite (NaN or infinity). Replace them.")
    low, high = images.min(), images.max()
    if low < 0 or high > 255 or (high <= 1 and np.issubdtype(images.dtype, np.floating)):
        if low < 0:
            cure = "Undo the normalization: scale and shift the values, as (x + 1) * 127.5 for values from -1 to 1"
        elif high > 255:
            cure = "Divide 16-bit pixels (0 to 65535) by 257 and round them; bring others to 0 to 255"
        else:
            cure = "Multiply images of 0 to 1 by 255"
        raise SourceError(
            f"{path}: {key} must hold pixels from 0 to 255, best as uint8. {cure}. "
            f"Received: values from {low:g} to {high:g}"
        )
    return np.round(images).astype("uint8")


def _texts(names: Iterable[Any]) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _checked_labels(path: Path, key: str, labels: NDArray[Any], examples: int, names: tuple[str, ...]) -> Labels:
    """Return whole numbers (examples,), indices in `names`, or raise SourceError."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape == (examples,) and labels.dtype.kind in "US":
        places, texts = {name: place for place, name in enumerate(names)}, _texts(labels)
        if unknown := sorted(set(texts) - set(places)):
            raise SourceError(
                f"{path}: {key} has labels that are not among the classes, which are {', '.join(names[:10])}. Add them "
                f"to class_names and y_train, or remove them. Received: {', '.join(unknown[:10])}"
            )
        return np.array([places[text] for text in texts], "int64")
    if labels.shape != (examples,) or not np.issubdtype(labels.dtype, np.integer):
        cure = "Store the argmax of one-hot labels" if labels.ndim == 2 else "Convert them with .astype('int64')"
        raise SourceError(
            f"{path}: {key} must hold one whole number or class name per image, shape ({examples},). {cure}. "
            f"Received: shape={labels.shape}, dtype={labels.dtype}"
        )
    classes = len(names)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise SourceError(
            f"{path}: {key} must lie between 0 and {classes - 1}, as there are {classes} classes. "
            f"Received: labels from {low} to {high}"
        )
    return labels
