"""What a source holds, and what is wrong with it."""

import collections
import dataclasses
import hashlib
import io

import numpy as np
from PIL import Image

from keras_cnns._text import counted
from keras_cnns.data.duplicates import SIDE, draw_for_near, in_two_splits, near_duplicates, under_two_labels
from keras_cnns.data.files import FileSplit
from keras_cnns.data.folders import Skipped
from keras_cnns.data.image_files import decoder_warning, read_image
from keras_cnns.data.splits import ArraySplit
from keras_cnns.errors import ArgumentError, SourceError

SAMPLE = 1000  # images of a split that are opened, where not all are
LABEL_BYTES = 1 << 30  # of a tensorflow-datasets split, so much is read to count the classes
FEW = 10  # training images of a class: below it there is nothing to learn from
IMBALANCE = 10  # times the images of the smallest class
SMALL = 32  # pixels a side


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong with a source, or may be.

    Attributes:
        kind: "unreadable", "damaged" (a JPEG whose decoder complains), "duplicate" (in two splits), "labels" (the same
            image under two), "near" (all but the same image in two splits or under two labels), "missing" (a class of
            a split), "few", "imbalance", "gray" or "small".
        text: one sentence.
        names: the images or classes meant, none if all are; of duplicates both, joined by " = ".
    """

    kind: str
    text: str
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `summarize` found.

    Attributes:
        source: name of the source.
        class_names: one string a class.
        examples: images of each split.
        examined: how many of them were opened.
        counts: of each split, images of each class, in the order of the names; of a tensorflow-datasets split too
            large to be read, those of the images examined.
        sizes: (height, width) in pixels of the "smallest", the "median" and the "largest" image by area.
        modes: how many images have each mode, as Pillow names them ("L", "RGB", "RGBA", "CMYK", "I;16", ...).
        mean: of each channel of the training images, in pixel units; each image weighs the same.
        deviation: as `mean`, standard deviation.
        findings: what is wrong.
        skipped: `Skipped` files of the source, which are in no split.
        notes: sentences on how its splits came about.
    """

    source: str
    class_names: tuple[str, ...]
    examples: dict[str, int]
    examined: dict[str, int]
    counts: dict[str, tuple[int, ...]]
    sizes: dict[str, tuple[int, int]]
    modes: dict[str, int]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unreadable(self):
        """Names of the images that cannot be read."""
        return tuple(name for one in self.findings if one.kind == "unreadable" for name in one.names)

    def to_json(self):
        """Return a dictionary of JSON values."""
        return dataclasses.asdict(self)


def summarize(source, *, sample=SAMPLE, seed=0, progress=None):
    """Look through a source: what it holds, and what is wrong with it.

    Time and memory grow with the number of images examined: about one decoding and half a kilobyte for each. Near
    duplicates are looked for among 10,000 of them at most, by comparing all pairs of their thumbnails (seconds).

    Args:
        source: `Source`, as it was opened or divided.
        sample: of how many images of each split the files are opened, drawn from `seed`; None: all. Images in an
            array are all looked at; of tensorflow-datasets the first ones are taken, as the order is random.
        seed: of the draw.
        progress: function from (numbers of the images, split name) to the same numbers, that shows how far one is.

    Returns:
        `Summary`. Nothing but the training split goes into `mean` and `deviation`.

    Raises:
        ArgumentError: for a split with repeats.
        SourceError: if the files of tensorflow-datasets are damaged. A single image that cannot be read is a
            finding.
    """
    for split in source.splits.values():
        if not (isinstance(split, (ArraySplit, FileSplit)) or hasattr(split, "encoded")):
            raise ArgumentError(
                f"a summary is of images as they are, before some are repeated. Received: split={type(split).__name__}"
            )
    looks, counts, moments = {}, {}, []
    for name, split in source.splits.items():
        chosen = _chosen(split, sample, seed)
        steps = progress(chosen, name) if progress else chosen
        looks[name], labels = [], split.labels
        for one in _contents(split, name, steps, len(chosen)):
            look, pixels = _look(*one, source.image_shape[2])
            looks[name].append(look)
            if name == "train" and pixels is not None:
                moments.append((pixels.mean(0, dtype="float64"), np.square(pixels, dtype="float64").mean(0)))
        if labels is None and (sample is None or split.stored_bytes <= LABEL_BYTES):
            labels = split.read_labels()
        elif labels is None:
            labels = np.array([one.label for one in looks[name]])
        counts[name] = tuple(np.bincount(labels[labels >= 0], minlength=len(source.class_names)).tolist())
    examples = {name: split.examples for name, split in source.splits.items()}
    examined = {name: len(some) for name, some in looks.items()}
    mean, deviation = _mean_and_deviation(moments)
    good = [one for some in looks.values() for one in some if one.size]
    by_area = sorted((one.size for one in good), key=lambda size: (size[0] * size[1], size))
    places = {"smallest": 0, "median": len(by_area) // 2, "largest": -1} if by_area else {}
    return Summary(
        source=source.name,
        class_names=source.class_names,
        examples=examples,
        examined=examined,
        counts=counts,
        sizes={name: by_area[place] for name, place in places.items()},
        modes=dict(collections.Counter(one.mode for one in good).most_common()),
        mean=mean,
        deviation=deviation,
        findings=tuple(_findings(looks, counts, source.class_names, examined == examples, seed)),
        skipped=source.skipped,
        notes=tuple(sentence for sentences in source.notes.values() for sentence in sentences),
    )


@dataclasses.dataclass(frozen=True, slots=True)  # there may be a million of them
class _Look:
    """What is kept of an image: its size is None if it cannot be read, and `fault` then says why.

    `thumbnail` is its gray values at `SIDE` x `SIDE`, and `damage` what the decoder complained of.
    """

    name: str
    label: int
    size: tuple[int, int] | None = None
    mode: str = ""
    digest: bytes = b""
    thumbnail: bytes = b""
    gray: bool = False
    fault: str = ""
    damage: str = ""


class _Named(io.BytesIO):
    """A file in memory that has a name in errors."""

    def __init__(self, content, name):
        super().__init__(content)
        self.name = name

    def __str__(self):
        return self.name


def _chosen(split, sample, seed):
    """Return the sorted indices of the images to be looked at."""
    if sample is None or isinstance(split, ArraySplit) or split.examples <= sample:
        return np.arange(split.examples)
    if not isinstance(split, FileSplit):  # tensorflow-datasets
        return np.arange(sample)
    return np.sort(np.random.default_rng(seed).choice(split.examples, sample, replace=False))


def _contents(split, name, chosen, count):
    """Yield (name, label, content) of the `count` chosen images: an array, None for a file, or a file's bytes."""
    if isinstance(split, ArraySplit):
        yield from ((f"{name}[{k}]", int(split.labels[k]), split.items[k]) for k in chosen)
    elif isinstance(split, FileSplit):
        yield from ((str(split.items[k]), int(split.labels[k]), None) for k in chosen)
    else:
        for k, (content, label) in zip(chosen, split.sample(count).encoded(), strict=True):
            yield f"{name}[{k}]", label, content


def _look(name, label, content, channels):
    """Return the `_Look` of one image, and its pixels (positions, channels) if it can be read."""
    damage = ""
    if isinstance(content, np.ndarray):
        pixels, mode = content, "L" if content.shape[-1] == 1 else "RGB"
        digest = hashlib.sha256(repr(content.shape).encode() + content.tobytes()).digest()
    else:
        try:
            if content is None:
                with open(name, "rb") as file:
                    content = file.read()
            pixels = read_image(_Named(content, name), channels)
        except (SourceError, OSError) as error:
            reason = str(error) if isinstance(error, SourceError) else f"{name}: cannot be read ({error.strerror})."
            return _Look(name, label, fault=reason), None
        with Image.open(io.BytesIO(content)) as image:
            mode = image.mode
        digest, damage = hashlib.sha256(content).digest(), decoder_warning(content)
    values = pixels.reshape(-1, pixels.shape[-1])
    gray = values.shape[1] == 1 or bool((values == values[:, :1]).all())
    shown = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).convert("L")
    thumbnail = shown.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()
    return _Look(name, label, pixels.shape[:2], mode, digest, thumbnail, gray, damage=damage), values


def _mean_and_deviation(moments):
    """Return both, a value a channel, from the means of each image's pixels and of their squares."""
    if not moments:
        return (), ()
    mean, square = np.mean(moments, axis=0)
    return tuple(mean.tolist()), tuple(np.sqrt(np.maximum(square - mean**2, 0)).tolist())


def _findings(looks, counts, class_names, whole, seed):
    """Yield what is wrong, the worst first; `whole` is whether every image was examined."""
    every = [one for some in looks.values() for one in some]
    bad, good = [one for one in every if one.size is None], [one for one in every if one.size]
    if bad:
        text = f"{counted(len(bad), 'image')} cannot be read, the first: {bad[0].fault}"
        yield Finding("unreadable", text, tuple(one.name for one in bad))
    if damaged := [look for look in good if look.damage]:
        text = (
            f"{counted(len(damaged), 'JPEG')} damaged in the middle, so that a part shows wrong; replace, the first: "
            f"{damaged[0].name} ({damaged[0].damage})"
        )
        yield Finding("damaged", text, tuple(look.name for look in damaged))
    among = "" if whole else ", among those examined"
    if pairs := tuple(in_two_splits(looks)):
        yield Finding("duplicate", f"{counted(len(pairs), 'image')} in two splits{among}, the first: {pairs[0]}", pairs)
    if pairs := tuple(under_two_labels(good, class_names)):
        text = f"{counted(len(pairs), 'image')} under two labels{among}, the first: {pairs[0]}"
        yield Finding("labels", text, pairs)
    some = draw_for_near(looks, seed)
    if pairs := tuple(near_duplicates(some, class_names)):
        among = "" if whole and len(some) == len(good) else f", among {len(some):,} images"
        text = (
            f"{counted(len(pairs), 'image')} all but the same in two splits or under two labels{among}, the first: "
            f"{pairs[0]}"
        )
        yield Finding("near", text, pairs)
    for split, numbers in counts.items():
        if none := tuple(name for name, count in zip(class_names, numbers, strict=True) if not count):
            yield Finding("missing", f"{split} has no image of {_listed(none)}", none)
    training = {name: count for name, count in zip(class_names, counts["train"], strict=True) if count}
    if few := tuple(name for name, count in training.items() if count < FEW):
        yield Finding("few", f"fewer than {FEW} training images: {_listed(few)}", few)
    most, least = (choose(training, key=training.get, default=None) for choose in (max, min))
    if training and training[most] > IMBALANCE * training[least]:
        text = (
            f"{training[most] / training[least]:.0f} times as many training images of {most!r} as of {least!r}; "
            "see class_weights, repeat_scarce and drop_surplus"
        )
        yield Finding("imbalance", text, (most, least))
    gray = tuple(one.name for one in good if one.gray)
    if 0 < len(gray) < len(good):
        yield Finding("gray", f"{counted(len(gray), 'gray image')} among color ones: {_listed(gray)}", gray)
    small = tuple(one.name for one in good if min(one.size) < SMALL)
    if small and len(small) == len(good):
        yield Finding("small", f"all images have a side of less than {SMALL} pixels", ())
    elif small:
        text = f"{counted(len(small), 'image')} with a side of less than {SMALL} pixels: {_listed(small)}"
        yield Finding("small", text, small)


def _listed(names, most=5):
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
