"""Faults of a source that a summary reports."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from keras_cnns._text import counted
from keras_cnns.data.box_counts import BoxCounts
from keras_cnns.data.duplicates import draw_for_near, in_two_splits, near_duplicates, under_two_labels
from keras_cnns.data.examined_images import ExaminedImage
from keras_cnns.data.mask_counts import MaskCounts

FEW = 10  # training images; a class with fewer is too small to learn from
IMBALANCE = 10  # largest class divided by smallest class, above which classes are imbalanced
SMALL = 32  # pixels; an image with a shorter side is small


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault of a source, or something that may be one.

    Attributes:
        kind: one of these:

            - "unreadable": images, or masks, that cannot be read;
            - "damaged": JPEGs whose decoder complains;
            - "duplicate": the same image in two splits;
            - "labels": the same image under two labels;
            - "near": nearly the same image in two splits or under two labels;
            - "missing": a class without an image in a split;
            - "few": a class with few training images;
            - "imbalance": classes of very different size;
            - "gray": gray images among color images;
            - "small": small images.
        text: the fault in one sentence.
        names: the images or classes concerned, empty if all are; for duplicates both images, joined by " = ".
    """

    kind: str
    text: str
    names: tuple[str, ...]


def find_faults(
    examined: Mapping[str, Sequence[ExaminedImage]],
    counts: Mapping[str, Sequence[int]],
    class_names: Sequence[str],
    complete: bool,
    seed: int,
    targets: Mapping[str, MaskCounts] | Mapping[str, BoxCounts] | None = None,
) -> Iterator[Finding]:
    """Yield the faults of a source, the worst first.

    Args:
        examined: the images of each split that were opened.
        counts: images of each class, for each split.
        class_names: names of the classes.
        complete: whether every image was examined.
        seed: seed of the draw of images that are searched for near duplicates.
        targets: the examined masks or boxes of each split that has them.
    """
    images = [image for images_of_split in examined.values() for image in images_of_split]
    readable = [image for image in images if image.size]
    yield from _broken_images(images)
    yield from _broken_masks(targets or {})
    yield from _duplicates(examined, readable, class_names, complete, seed)
    # Classes of pixels and objects are known of the examined images alone, and cannot be repeated one by one
    scope = ", among those examined" if targets and not complete else ""
    yield from _class_sizes(counts, class_names, scope, not targets)
    yield from _gray_and_small_images(readable)


def _broken_images(images: Sequence[ExaminedImage]) -> Iterator[Finding]:
    """Yield the findings "unreadable" and "damaged"."""
    if unreadable := [image for image in images if image.size is None]:
        text = f"{counted(len(unreadable), 'image')} cannot be read, the first: {unreadable[0].fault}"
        yield Finding("unreadable", text, tuple(image.name for image in unreadable))
    if damaged := [image for image in images if image.damage]:
        text = (
            f"{counted(len(damaged), 'JPEG')} damaged in the middle, so that a part shows wrong; replace, the first: "
            f"{damaged[0].name} ({damaged[0].damage})"
        )
        yield Finding("damaged", text, tuple(image.name for image in damaged))


def _duplicates(
    examined: Mapping[str, Sequence[ExaminedImage]],
    readable: Sequence[ExaminedImage],
    class_names: Sequence[str],
    complete: bool,
    seed: int,
) -> Iterator[Finding]:
    """Yield the findings "duplicate", "labels" and "near"."""
    among = "" if complete else ", among those examined"
    if pairs := tuple(in_two_splits(examined)):
        yield Finding("duplicate", f"{counted(len(pairs), 'image')} in two splits{among}, the first: {pairs[0]}", pairs)
    if pairs := tuple(under_two_labels(readable, class_names)):
        text = f"{counted(len(pairs), 'image')} under two labels{among}, the first: {pairs[0]}"
        yield Finding("labels", text, pairs)
    compared = draw_for_near(examined, seed)
    if pairs := tuple(near_duplicates(compared, class_names)):
        among = "" if complete and len(compared) == len(readable) else f", among {len(compared):,} images"
        text = (
            f"{counted(len(pairs), 'image')} nearly the same in two splits or under two labels{among}, the first: "
            f"{pairs[0]}"
        )
        yield Finding("near", text, pairs)


def _broken_masks(masks: Mapping[str, MaskCounts] | Mapping[str, BoxCounts]) -> Iterator[Finding]:
    """Yield the finding "unreadable" of masks."""
    if faults := {name: fault for counts in masks.values() for name, fault in counts.faults.items()}:
        first = next(iter(faults.values()))
        text = f"{counted(len(faults), 'mask')} cannot be used, the first: {first}"
        yield Finding("unreadable", text, tuple(faults))


def _class_sizes(
    counts: Mapping[str, Sequence[int]], class_names: Sequence[str], among: str, balance: bool
) -> Iterator[Finding]:
    """Yield the findings "missing", "few" and "imbalance".

    Args:
        counts: images of each class, for each split.
        class_names: names of the classes.
        among: end of a sentence that says in which images they were counted.
        balance: whether classes of very different size are a fault that can be mended.
    """
    for split, counts_of_split in counts.items():
        if missing := tuple(name for name, count in zip(class_names, counts_of_split, strict=True) if not count):
            yield Finding("missing", f"{split} has no image of {_listed(missing)}{among}", missing)
    training = {name: count for name, count in zip(class_names, counts["train"], strict=True) if count}
    if few := tuple(name for name, count in training.items() if count < FEW):
        yield Finding("few", f"fewer than {FEW} training images: {_listed(few)}{among}", few)
    if not training or not balance:
        return
    largest, smallest = max(training, key=training.__getitem__), min(training, key=training.__getitem__)
    if training[largest] > IMBALANCE * training[smallest]:
        text = (
            f"{training[largest] / training[smallest]:.0f} times as many training images of {largest!r} as of "
            f"{smallest!r}; see class_weights, repeat_scarce and drop_surplus"
        )
        yield Finding("imbalance", text, (largest, smallest))


def _gray_and_small_images(readable: Sequence[ExaminedImage]) -> Iterator[Finding]:
    """Yield the findings "gray" and "small"."""
    gray = tuple(image.name for image in readable if image.gray)
    if 0 < len(gray) < len(readable):
        yield Finding("gray", f"{counted(len(gray), 'gray image')} among color ones: {_listed(gray)}", gray)
    small = tuple(image.name for image in readable if image.size and min(image.size) < SMALL)
    if small and len(small) == len(readable):
        yield Finding("small", f"all images have a side of less than {SMALL} pixels", ())
    elif small:
        text = f"{counted(len(small), 'image')} with a side of less than {SMALL} pixels: {_listed(small)}"
        yield Finding("small", text, small)


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
