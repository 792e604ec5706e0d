"""Data sets of tensorflow-datasets as sources."""

import functools
import re

import tensorflow as tf

from keras_cnns.data.splits import Split
from keras_cnns.errors import ArgumentError, SourceError, nearest


class TfdsSplit(Split):
    """The examples from `start` to `stop` of a split of a tensorflow-datasets builder that lies on disk."""

    def __init__(self, builder, name, start=0, stop=None):
        stop = builder.info.splits[name].num_examples if stop is None else stop
        super().__init__(stop - start)
        self.builder, self.name, self.start, self.stop = builder, name, start, stop

    def elements(self):
        """As `Split.elements`; the order is the files' own, which was shuffled when they were written."""
        split = f"{self.name}[{self.start}:{self.stop}]"
        data = self.builder.as_dataset(split=split, as_supervised=True)
        return data.map(lambda image, label: (image, tf.cast(label, tf.int64)))

    def divide(self, share, seed):
        """As `Split.divide`, but a slice, not stratified, whatever the seed."""
        cut = self.stop - round(self.examples * share)
        return tuple(TfdsSplit(self.builder, self.name, *bounds) for bounds in ((self.start, cut), (cut, self.stop)))

    def sample(self, count):
        """As `Split.sample`; the first ones, as the order is random already."""
        return TfdsSplit(self.builder, self.name, self.start, self.start + min(count, self.examples))


def open_tfds(spec, data_dir, download, test_share, seed):
    """Return (class names, image shape, splits) of "tfds:NAME"."""
    import tensorflow_datasets as tfds

    name = spec.removeprefix("tfds:")
    if not re.fullmatch(r"[A-Za-z0-9_]+(/[A-Za-z0-9_.\-]+)?(:[0-9.*]+)?", name):
        raise ArgumentError(f"after 'tfds:' stands a data set's name, as in tfds:cifar10. Received: source={spec!r}")
    _work_offline()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise ArgumentError(
            f"tensorflow-datasets has no data set of that name.{nearest(name, tfds.list_builders())} "
            f"Received: source={spec!r}"
        ) from None
    except (ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise ArgumentError(f"tensorflow-datasets cannot open it ({reason}). Received: source={spec!r}") from error
    if not builder.is_prepared():
        if not download:
            raise SourceError(
                f"{spec}: is not on disk in {builder.data_path.parent.parent}. On a machine with a network, add "
                f"--download, or run: tfds build {name}" + (f" --data_dir {data_dir}" if data_dir else "")
            )
        builder.download_and_prepare()
    features, keys = builder.info.features, builder.info.supervised_keys
    if (
        keys is None
        or not isinstance(features[keys[0]], tfds.features.Image)
        or not isinstance(features[keys[1]], tfds.features.ClassLabel)
    ):
        raise SourceError(f"{spec}: does not pair a picture with one class. Choose a set made for classification.")
    if "train" not in builder.info.splits:
        raise SourceError(f"{spec}: has no split 'train' (only {', '.join(builder.info.splits)}). Choose another set.")
    splits = {part: TfdsSplit(builder, part) for part in ("train", "validation", "test") if part in builder.info.splits}
    if "test" not in splits:
        # Some sets publish labels of train and validation alone: then the latter is what one is measured on.
        if "validation" in splits:
            splits["test"] = splits.pop("validation")
        else:
            splits["train"], splits["test"] = splits["train"].divide(test_share, seed)
    height, width, channels = features[keys[0]].shape
    if channels not in (1, 3):
        channels = 3
    return tuple(features[keys[1]].names), (height, width, channels), splits


@functools.cache
def _work_offline():
    """Keep tensorflow-datasets from asking its bucket for each set's description: it retries for minutes."""
    from tensorflow_datasets.core.utils import gcs_utils

    gcs_utils._is_gcs_disabled = True
