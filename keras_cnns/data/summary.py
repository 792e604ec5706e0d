"""Summary of a source: its contents and their faults."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_cnns.data._tfds_split import TfdsSplit
from keras_cnns.data.box_counts import BoxCounts, BoxFacts
from keras_cnns.data.box_target import Boxes
from keras_cnns.data.examined_images import ExaminedImage, examine
from keras_cnns.data.file_split import FileSplit
from keras_cnns.data.findings import Finding, find_faults
from keras_cnns.data.image_listing import Skipped
from keras_cnns.data.mask_counts import MaskCounts
from keras_cnns.data.sources import Source
from keras_cnns.data.splits import ArraySplit
from keras_cnns.data.targets import Mask
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Size

SAMPLE = 1000  # images per split that are opened by default
LABEL_BYTES = 1 << 30  # size of a tensorflow-datasets split up to which it is read to count the classes

PlainSplit = ArraySplit | FileSplit | TfdsSplit  # a split without repeats
# Takes the indices of images and the name of their split; returns an iterable of the indices that shows progress
Progress = Callable[[NDArray[np.int64], str], Iterable[int]]
# Mean of an image's pixels and of their squares, per channel
Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Contents and faults of a source, as `summarize` returns them.

    Attributes:
        source: name of the source.
        class_names: one string per class.
        examples: number of images of each split.
        examined: number of images of each split that were opened.
        counts: for each split, images of each class in the order of the names. For a tensorflow-datasets split too
            large to be read, only the examined images are counted. With masks or boxes, they are the examined images
            that show each class.
        sizes: (height, width) in pixels of the "smallest", the "median" and the "largest" image by area.
        modes: number of images with each mode, by Pillow's names ("L", "RGB", "RGBA", "CMYK", "I;16", ...).
        mean: mean of each channel of the training images, in pixel units; each image has the same weight.
        deviation: standard deviation of each channel, likewise.
        findings: faults of the source.
        skipped: `Skipped` files of the source, which are in no split.
        notes: sentences on how its splits were made.
        pixels: for each split with masks, pixels of each class in the examined masks. Empty without masks.
        ignored: for each such split, pixels that are to be ignored.
        boxes: for each split with boxes, the `BoxFacts` of the examined images. Empty without boxes.
    """

    source: str
    class_names: tuple[str, ...]
    examples: dict[str, int]
    examined: dict[str, int]
    counts: dict[str, tuple[int, ...]]
    sizes: dict[str, Size]
    modes: dict[str, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    pixels: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    ignored: dict[str, int] = dataclasses.field(default_factory=dict)
    boxes: dict[str, BoxFacts] = dataclasses.field(default_factory=dict)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Names of the images and masks that cannot be read."""
        return tuple(name for finding in self.findings if finding.kind == "unreadable" for name in finding.names)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return dataclasses.asdict(self)


def summarize(
    source: Source, *, sample: int | None = SAMPLE, seed: int = 0, progress: Progress | None = None
) -> Summary:
    """Examine the contents of a source and look for faults.

    Time and memory grow with the number of examined images: about one decoding and half a kilobyte per image. Near
    duplicates are searched among at most 10,000 images, by comparing all pairs of their thumbnails (seconds).

    Args:
        source: `Source`, as it was opened or divided.
        sample: number of images per split whose files are opened, drawn from `seed`; None for all. Images in an array
            are all examined. From tensorflow-datasets the first ones are taken, as their order is random.
        seed: seed of the draw.
        progress: function from (indices of the images, name of the split) to the same indices, which shows the
            progress; None for none.

    Returns:
        `Summary`. Only the training split counts for `mean` and `deviation`.

    Raises:
        ArgumentError: for a split with repeats.
        SourceError: if the files of tensorflow-datasets are damaged. A single image that cannot be read is a
            finding.

    Examples:
        >>> from keras_cnns import data
        >>> summary = data.summarize(data.open_source("digits"))
        >>> summary.examples, summary.counts["test"][:3]
        ({'train': 1437, 'test': 360}, (36, 36, 35))
        >>> summary.findings  # a source without faults
        ()
    """
    splits: dict[str, PlainSplit] = {}
    for name, split in source.splits.items():
        if not isinstance(split, (ArraySplit, FileSplit, TfdsSplit)):
            raise ArgumentError(
                f"a summary is of images as they are, before some are repeated. Received: split={type(split).__name__}"
            )
        splits[name] = split
    examined: dict[str, list[ExaminedImage]] = {}
    counts: dict[str, tuple[int, ...]] = {}
    moments: list[Moments] = []
    masks: dict[str, MaskCounts] = {}
    boxes: dict[str, BoxCounts] = {}
    classes = len(source.class_names)
    for name, split in splits.items():
        if isinstance(split.target, Mask):
            masks[name] = MaskCounts(split.target)
        elif isinstance(split.target, Boxes):
            boxes[name] = BoxCounts()
        counter = masks.get(name) or boxes.get(name)
        examined[name], moments_of_split = _examine_split(
            split, name, source.image_shape[2], sample, seed, progress, counter
        )
        if counter:
            counts[name] = counter.images(classes)
        else:
            counts[name] = _class_counts(split, examined[name], classes, sample)
        moments += moments_of_split
    examples = {name: split.examples for name, split in splits.items()}
    examined_counts = {name: len(images) for name, images in examined.items()}
    mean, deviation = _mean_and_deviation(moments)
    readable = [image for images in examined.values() for image in images if image.size]
    complete = examined_counts == examples
    return Summary(
        source=source.name,
        class_names=source.class_names,
        examples=examples,
        examined=examined_counts,
        counts=counts,
        sizes=_sizes(readable),
        modes=dict(collections.Counter(image.mode for image in readable).most_common()),
        mean=mean,
        deviation=deviation,
        findings=tuple(find_faults(examined, counts, source.class_names, complete, seed, masks or boxes)),
        skipped=source.skipped,
        notes=tuple(sentence for sentences in source.notes.values() for sentence in sentences),
        pixels={name: counted.pixels(classes) for name, counted in masks.items()},
        ignored={name: counted.ignored for name, counted in masks.items()},
        boxes={name: counted.facts(classes) for name, counted in boxes.items()},
    )


def _examine_split(
    split: PlainSplit,
    name: str,
    channels: int,
    sample: int | None,
    seed: int,
    progress: Progress | None,
    counter: MaskCounts | BoxCounts | None,
) -> tuple[list[ExaminedImage], list[Moments]]:
    """Return the examined images of a split, and moments of training images.

    Images that cannot be read have no moments. The targets of the images are counted by `counter`.
    """
    chosen = _chosen(split, sample, seed)
    steps = progress(chosen, name) if progress else chosen
    images, moments = [], []
    contents = _contents(split, name, steps, len(chosen))
    for image_name, target, content in contents:
        image, pixels = examine(image_name, -1 if counter else int(target), content, channels)
        images.append(image)
        if counter:
            counter.add(target, image.size)
        if name == "train" and pixels is not None:
            moments.append((pixels.mean(0, dtype="float64"), np.square(pixels, dtype="float64").mean(0)))
    return images, moments


def _chosen(split: PlainSplit, sample: int | None, seed: int) -> NDArray[np.int64]:
    """Return the sorted indices of the images to examine."""
    if sample is None or isinstance(split, ArraySplit) or split.examples <= sample:
        return np.arange(split.examples)
    if not isinstance(split, FileSplit):  # tensorflow-datasets, whose order is random
        return np.arange(sample)
    return np.sort(np.random.default_rng(seed).choice(split.examples, sample, replace=False))


def _contents(
    split: PlainSplit, name: str, chosen: Iterable[int], count: int
) -> Iterator[tuple[str, Any, NDArray[np.uint8] | bytes | None]]:
    """Yield (name, target, content) of each chosen image.

    Args:
        split: the split.
        name: name of the split.
        chosen: indices of the images.
        count: how many there are.
    """
    if isinstance(split, ArraySplit):
        yield from ((f"{name}[{k}]", split.targets[k], split.items[k]) for k in chosen)
    elif isinstance(split, FileSplit):
        yield from ((str(split.items[k]), split.targets[k], None) for k in chosen)
    else:
        for k, (content, target) in zip(chosen, split.sample(count).encoded(), strict=True):
            yield f"{name}[{k}]", target, content


def _class_counts(
    split: PlainSplit, images: Sequence[ExaminedImage], classes: int, sample: int | None
) -> tuple[int, ...]:
    """Return the number of images of each class in a split."""
    if not isinstance(split, TfdsSplit):
        labels = split.targets
    elif sample is None or split.stored_bytes <= LABEL_BYTES:
        labels = split.read_labels()
    else:
        labels = np.array([image.label for image in images])
    return tuple(np.bincount(labels[labels >= 0], minlength=classes).tolist())


def _sizes(images: Sequence[ExaminedImage]) -> dict[str, Size]:
    """Return the smallest, the median and the largest size by area."""
    by_area = sorted((image.size for image in images if image.size), key=lambda size: (size[0] * size[1], size))
    if not by_area:
        return {}
    return {"smallest": by_area[0], "median": by_area[len(by_area) // 2], "largest": by_area[-1]}


def _mean_and_deviation(moments: Sequence[Moments]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, empty without images."""
    if not moments:
        return (), ()
    mean, square = np.mean(moments, axis=0)
    return tuple(mean.tolist()), tuple(np.sqrt(np.maximum(square - mean**2, 0)).tolist())
