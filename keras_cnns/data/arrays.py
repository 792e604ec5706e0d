"""An `.npz` file of images and labels."""

import zipfile

import numpy as np

from keras_cnns.data.classes import need_two_classes, sort_classes
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import SourceError


def read_npz(path):
    """Return (class names, image shape, `ArraySplit` of each part) of an `.npz` file.

    Args:
        path: of a file with x_train, y_train, x_test and y_test: pixels of 0 to 255, (examples, height, width) or
            (examples, height, width, 1 or 3), and one label per image, a whole number or the name of a class. It may
            hold class_names, one per number; without it the names are the numbers, or the labels' own in order.

    Raises:
        SourceError: naming the file and what is wrong with it.
    """
    needed = ("x_train", "y_train", "x_test", "y_test")
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in needed if key not in file]
            arrays = {key: file[key] for key in (*needed, "class_names") if key in file}
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        zipfile.zlib.error,
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
        raise SourceError(f"{path}: lacks {', '.join(missing)}. It must hold {', '.join(needed)}.")

    names = arrays.get("class_names")
    if names is None and arrays["y_train"].dtype.kind in "US":
        names = np.array(sort_classes(set(_texts(arrays["y_train"].ravel()))))
    if names is None:
        y_train = arrays["y_train"]
        most = int(y_train.max()) if np.issubdtype(y_train.dtype, np.integer) and y_train.size else 0
        names = range(min(most, 1_000_000) + 1)
    elif names.ndim != 1:
        raise SourceError(f"{path}: class_names must be a list of strings. Received: shape={names.shape}")
    names = tuple(_texts(names))
    if len(set(names)) != len(names):
        raise SourceError(f"{path}: class_names must differ from each other. Received: class_names={names[:10]}")
    splits = {}
    for split in ("train", "test"):
        images = _checked_images(path, f"x_{split}", arrays[f"x_{split}"])
        labels = _checked_labels(path, f"y_{split}", arrays[f"y_{split}"], len(images), names)
        splits[split] = ArraySplit(images, labels)
    shape, other = splits["train"].items.shape[1:], splits["test"].items.shape[1:]
    if shape != other:
        raise SourceError(f"{path}: x_train has images of shape {shape}, x_test of {other}. Make them equal.")
    need_two_classes(path, names)
    empty = sorted(set(range(len(names))) - set(splits["train"].labels.tolist()))
    if empty:
        more = f" and {len(empty) - 1} more" if empty[1:] else ""
        raise SourceError(
            f"{path}: y_train has no image of class {names[empty[0]]!r}{more}; number classes from 0 without gaps."
        )
    return names, shape, splits


def _checked_images(path, key, images):
    """Return uint8 (examples, height, width, channels), or raise a SourceError that says what is wrong."""
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


def _texts(names):
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _checked_labels(path, key, labels, examples, names):
    """Return whole numbers (examples,), places in `names`; raise a SourceError that says what is wrong."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape == (examples,) and labels.dtype.kind in "US":
        places, texts = {name: place for place, name in enumerate(names)}, _texts(labels)
        if odd := sorted(set(texts) - set(places)):
            raise SourceError(
                f"{path}: {key} has labels that are not among the classes, which are {', '.join(names[:10])}. Add them "
                f"to class_names and y_train, or remove them. Received: {', '.join(odd[:10])}"
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
