"""Sources from tensorflow-datasets."""

import functools
import pathlib
import re
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from keras_cnns import _keras
from keras_cnns.data._tfds_masks import MaskLabels, mask_features, mask_keys
from keras_cnns.data._tfds_split import TfdsSplit, check_files, damaged_set
from keras_cnns.errors import ArgumentError, SourceError, nearest
from keras_cnns.typing import Path, Shape

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

Notes: TypeAlias = dict[str, tuple[str, ...]]  # as `Source.notes`


def open_tfds(
    spec: str, data_dir: Path | None, download: bool, test_share: float, seed: int
) -> tuple[tuple[str, ...], Shape, dict[str, TfdsSplit], Notes]:
    """Return class names, image shape, splits and notes of a dataset.

    Args:
        spec: the dataset, as "tfds:NAME", or "tfds:NAME#FEATURE" for masks.
        data_dir: folder in which tensorflow-datasets keeps its files; None for its default.
        download: whether a dataset that is not on disk is downloaded and prepared.
        test_share: share of the training split that becomes the test split, if the dataset has no other.
        seed: seed of that division.

    Returns:
        (class names, (height, width, channels), dictionary from the name of a split to `TfdsSplit`, notes as in
        `Source.notes`).

    Raises:
        ArgumentError: if there is no such dataset.
        SourceError: if it is not on disk, is damaged, or does not consist of 8-bit images with one class each, or with
            masks.
    """
    name, _, feature = spec.removeprefix("tfds:").partition("#")
    if not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_.\-]+)?(:[0-9.*]+)?", name):
        raise ArgumentError(
            f"'tfds:' must be followed by a dataset's name, as in tfds:cifar10. Received: source={spec!r}"
        )
    _work_offline()
    builder = _builder(spec, name, data_dir)
    if not builder.is_prepared():
        if not download:
            raise SourceError(
                f"{spec}: is not on disk in {builder.data_path.parent.parent}. On a machine with a network, add "
                f"--download, or run: tfds build {name}" + (f" --data_dir {data_dir}" if data_dir else "")
            )
        builder.download_and_prepare()
    check_files(spec, builder)
    features = builder.info.features
    keys, masks = mask_keys(spec, builder.info, feature) if feature else (_keys(builder.info), None)
    if keys is None:
        others = mask_features(features)
        cure = f"For its masks, write {spec}#{others[0]}" if others else "Choose a set of images with labels"
        raise SourceError(f"{spec}: does not pair an image with one class. {cure}.")
    image, label = keys
    dtype = np.dtype(features[image].np_dtype)
    if dtype != np.uint8:
        raise SourceError(f"{spec}: has images of {dtype}, not of 8 bits per channel. Choose another set.")
    splits, notes = _splits(spec, builder, keys, masks, test_share, seed)
    height, width, channels = features[image].shape
    if channels not in (1, 3):
        channels = 3
    names = masks.names if masks else tuple(features[label].names)
    return names, (height, width, channels), splits, notes


def _splits(
    spec: str,
    builder: "tfds.core.DatasetBuilder",
    keys: tuple[str, str],
    masks: MaskLabels | None,
    test_share: float,
    seed: int,
) -> tuple[dict[str, TfdsSplit], Notes]:
    """Return the splits of a dataset and a note on them.

    If the dataset has no test split, one is made.
    """
    stored = builder.info.splits
    if "train" not in stored:
        raise SourceError(f"{spec}: has no split 'train' (only {', '.join(stored)}). Choose another set.")
    splits = {
        name: TfdsSplit(builder, keys, [(name, 0, stored[name].num_examples)], masks)
        for name in ("train", "validation", "test")
        if name in stored
    }
    if "test" in splits:
        return splits, {}
    # Some datasets publish labels only for train and validation, and are measured on the latter
    if "validation" in splits:
        splits["test"] = splits.pop("validation")
        return splits, {"test": ("test is the set's validation split, as it has no test split with labels",)}
    splits["train"], splits["test"] = splits["train"].divide(test_share, seed)
    return splits, {"test": (f"test is the last {test_share:.0%} of the set's training split, as it has no other",)}


def _builder(spec: str, name: str, data_dir: Path | None) -> "tfds.core.DatasetBuilder":
    """Return the builder of a dataset, or raise an error that explains."""
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError
    from tensorflow_datasets.core.utils import file_utils

    data_folders = [pathlib.Path(folder) for folder in file_utils.list_data_dirs(data_dir)]
    set_folders = [folder / re.split("[/:]", name)[0] for folder in data_folders]
    written = next((folder for folder in set_folders if folder.is_dir() and any(folder.iterdir())), None)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        if written and "/" not in name:
            version, versions = name.partition(":")[2], _names_of_folders(written)
            if version and version not in versions:
                raise ArgumentError(
                    f"{written} holds no such version, but {', '.join(versions)}. Received: source={spec!r}"
                ) from None
            raise damaged_set(spec, written, "dataset_info.json or features.json is missing") from None
        on_disk = [set_name for folder in data_folders if folder.is_dir() for set_name in _names_of_folders(folder)]
        raise ArgumentError(
            f"tensorflow-datasets has no dataset of that name.{nearest(name, [*on_disk, *tfds.list_builders()])} "
            f"Received: source={spec!r}"
        ) from None
    except (ParseError, OSError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        if written and isinstance(error, (ParseError, OSError, ValueError)) and "/" not in name:
            raise damaged_set(spec, written, reason) from None
        raise ArgumentError(f"tensorflow-datasets cannot open it ({reason}). Received: source={spec!r}") from error


def _names_of_folders(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir())


def _keys(info: "tfds.core.DatasetInfo") -> tuple[str, str] | None:
    """Return the features that hold the image and its class, if clear."""
    import tensorflow_datasets as tfds

    features, keys = info.features, info.supervised_keys
    if not isinstance(features, tfds.features.FeaturesDict):
        return None
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if keys is None:
        # Datasets that were stored from a plain tf.data pipeline name no keys, and must have one feature of each kind
        candidates = [[name for name in features if type(features[name]) is kind] for kind in kinds]
        if any(len(names) != 1 for names in candidates):
            return None
        keys = [names[0] for names in candidates]
    if len(keys) != 2 or not all(isinstance(key, str) for key in keys):
        return None
    return tuple(keys) if all(isinstance(features[key], kind) for key, kind in zip(keys, kinds, strict=True)) else None


@functools.cache
def _work_offline() -> None:
    """Keep tensorflow-datasets from asking its bucket for descriptions.

    Without a network it would retry for minutes.
    """
    _keras.keep_tfds_offline()
