"""cnn-data: what a source of images contains, and its problems."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from keras_cnns.cli import _common, _model, _options, _output

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from keras_cnns.data import Source
    from keras_cnns.data.box_counts import BoxFacts
    from keras_cnns.data.summary import Summary
    from keras_cnns.typing import Pixels

PREVIEWED = 32  # images
PREVIEW_SIZE = 224  # pixels per side, if the images have different sizes
EXAMPLES = (
    "cnn-data photographs/ --all",
    "cnn-data photographs/ --preview grid.png --augmentation inception-crop",
)


class _Unreadable(Exception):
    """Images that cannot be read, so that the check failed."""

    exit_code = 1


@dataclasses.dataclass(frozen=True)
class _Request:
    """The command line.

    Attributes:
        source: SOURCE.
        every: whether to examine all images instead of a sample.
        preview: file of the drawing, or None.
        augmentation: of the previewed images, or None.
        input_size: side of the previewed images in pixels, or None.
        seed: of the sample and the preview.
        data_dir: folder of tensorflow-datasets.
        download: whether to download a dataset.
        force: whether to overwrite the drawing.
        as_json: whether to print JSON.
    """

    source: str
    every: bool
    preview: str | None
    augmentation: str | None
    input_size: int | None
    seed: int
    data_dir: str | None
    download: bool
    force: bool
    as_json: bool


@_options.command("cnn-data", examples=EXAMPLES)
@click.argument("source", shell_complete=_model.complete_source)
@_options.option(
    "--all", "every", is_flag=True, section="Data", help="Examine every image, not a sample of 1,000 per split."
)
@_options.option(
    "--preview",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    section="Preview",
    help="Draw training images as a network gets them, with their labels.",
)
@_options.option(
    "--augmentation",
    metavar="NAME",
    section="Preview",
    help="Augmentation of the preview, as in a recipe.  [default: shift; with boxes flip]",
)
@_options.option(
    "--input-size",
    type=click.IntRange(4, 4096),
    metavar="N",
    section="Preview",
    help="Side of the previewed images in pixels; by default their own or 224.",
)
@_options.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    show_default=True,
    section="Preview",
    help="Seed of the sample and of the preview.",
)
@_options.data_dir_option
@_options.download_option
@_options.force_option
@_options.output_options
def command(**options: Any) -> None:
    """Show classes, counts, sizes, means and problems of a SOURCE.

    SOURCE is digits, FILE.npz, FILE.csv, a folder, or tfds:NAME, as for cnn-train --data. It may have masks: a folder
    of images/ and masks/, of PASCAL VOC, a COCO FILE.json, or shapes.

    Problems are warnings, except unreadable images: these make the exit code 1.
    """
    request = _Request(**options)
    if request.preview:
        _common.prepare_plot(request.preview, request.force)
    elif request.augmentation or request.input_size:
        option = "--augmentation" if request.augmentation else "--input-size"
        raise click.UsageError(f"{option} is for the preview: give --preview FILE.png too.")
    _model.load_keras()
    from keras_cnns.data import Boxes, open_source, summarize
    from keras_cnns.data.summary import SAMPLE

    source = open_source(request.source, data_dir=request.data_dir, download=request.download)
    if request.preview:
        usual = "flip" if isinstance(source.target, Boxes) else "shift"
        _draw(source, request.preview, request.augmentation or usual, request.input_size, request.seed)
    sample = None if request.every else SAMPLE
    summary = summarize(source, sample=sample, seed=request.seed, progress=_output.track)
    if request.as_json:
        _output.print_json(summary.to_json())
    else:
        _print_summary(summary)
    if count := len(summary.unreadable):
        files = "images and masks" if summary.pixels else "images"
        raise _Unreadable(f"{count:,} of the {files} examined cannot be read. Replace or remove them.")


def _print_summary(summary: "Summary") -> None:
    """Print counts and sizes, a table of classes, notes and problems."""
    columns: list[tuple[Any, ...]] = [("class", "left")]
    values = [list(summary.class_names)]
    for name, counts in summary.counts.items():
        columns.append((name, "right", 0))
        values.append([f"{count:,}" for count in counts])
        if facts := summary.boxes.get(name):
            columns.append(("objects", "right", 0))
            values.append([f"{count:,}" for count in facts.objects])
        if pixels := summary.pixels.get(name):
            columns.append(("pixels", "right", 0))
            values.append([f"{count / max(sum(pixels), 1):.2%}" for count in pixels])
    rows = list(zip(*values, strict=True))
    _output.table("\n".join(_summary_lines(summary)), columns, rows)
    for skipped in summary.skipped:
        _output.echo(f"left out: {skipped}")
    findings = {finding.text for finding in summary.findings}
    for sentence in summary.notes:
        if sentence not in findings:
            _output.echo(f"note: {sentence}")
    for finding in summary.findings:
        click.echo(f"{'error' if finding.kind == 'unreadable' else 'warning'}: {finding.text}")


def _summary_lines(summary: "Summary") -> list[str]:
    """Return the lines above the table."""
    lines = [f"{summary.source}: {_output.counted(len(summary.class_names), 'class')}"]
    lines += [f"{name}: {_output.counted(count, 'image')}" for name, count in summary.examples.items()]
    if summary.examined != summary.examples:
        parts = (f"{count:,} of {name}" for name, count in summary.examined.items())
        lines.append(f"sizes, means and warnings are of the images examined: {', '.join(parts)}; --all examines all")
    if summary.sizes:
        sizes = (f"{name} {width}x{height}" for name, (height, width) in summary.sizes.items())
        lines.append(f"width x height: {', '.join(sizes)}")
        lines.append(f"modes: {', '.join(f'{mode} {count:,}' for mode, count in summary.modes.items())}")
    if summary.mean:
        mean, deviation = (
            ", ".join(f"{value:.1f}" for value in channels) for channels in (summary.mean, summary.deviation)
        )
        lines.append(f"training pixels, 0 to 255: mean {mean}; deviation {deviation}")
    if summary.pixels:
        shares = (
            f"{count / max(count + sum(summary.pixels[name]), 1):.2%} of {name}"
            for name, count in summary.ignored.items()
        )
        lines.append(f"pixels to ignore: {', '.join(shares)}")
        lines.append("of each split: images that show the class, and its share of the pixels that are not ignored")
    if summary.boxes:
        lines += [line for name, facts in summary.boxes.items() for line in _box_lines(name, facts)]
        lines.append("of each split: images that show the class, and its objects")
    for name, counts in summary.counts.items():
        if sum(counts) != summary.examples[name] and name not in summary.pixels and name not in summary.boxes:
            lines.append(f"the classes of {name} were counted in {_output.counted(sum(counts), 'image')}")
    return lines


def _box_lines(name: str, facts: "BoxFacts") -> list[str]:
    """Return lines on the objects of a split."""
    parts = [_output.counted(sum(facts.objects), "object"), f"up to {facts.most} in an image"]
    parts += [f"{_output.counted(facts.empty, 'image')} without any"] if facts.empty else []
    parts += [f"{facts.left_out:,} difficult or crowds"] if facts.left_out else []
    lines = [f"{name}: {', '.join(parts)}"]
    if facts.sides:
        sides = "/".join(f"{side:.0f}" for side in facts.sides) + " pixels"
        sides += " ({:.0%}/{:.0%}/{:.0%} of the image)".format(*facts.relative_sides) if facts.relative_sides else ""
        aspects = "{:.2f}/{:.2f}/{:.2f}".format(*facts.aspects)
        lines.append(f"{name}, percentiles 10/50/90: side (root of the area) {sides}, width/height {aspects}")
    return lines


def _draw(source: "Source", path: str, augmentation: str, input_size: int | None, seed: int) -> None:
    """Draw a grid of training images after augmentation, leaving out unreadable ones."""
    import keras
    import numpy as np

    from keras_cnns import _render
    from keras_cnns.data import Boxes, Mask, Preprocessing, make_dataset
    from keras_cnns.data.pipeline import reading

    height, width, channels = source.image_shape
    same_size = None not in (height, width)
    if input_size or not same_size:
        height = width = input_size or PREVIEW_SIZE
    # As in training, images of one size and those with masks are stretched, and others keep their aspect ratio
    is_stretched = same_size or source.target.at_own_size
    preprocessing = Preprocessing((height, width), channels, shorter_side=None if is_stretched else height)
    split = source.split("train")
    if split.labels is None:
        split = split.sample(PREVIEWED)
    else:
        split = split.take(np.random.default_rng(seed).permutation(split.examples)[:PREVIEWED])
    dataset = make_dataset(
        split, preprocessing, PREVIEWED, augmentation=augmentation, seed=seed, normalize=False, skip_broken=True
    )
    with reading(split):
        batch = next(iter(dataset), None)
    if batch is None:
        _output.note(f"{path}: not written, as none of the images chosen for it can be read")
        return
    images, targets = keras.tree.map_structure(np.asarray, batch)
    if isinstance(split.target, Boxes):
        images, names = _with_boxes(images, targets, source.class_names)
    elif isinstance(split.target, Mask):
        images, names = _with_masks(images, targets, source.class_names)
    else:
        names = [source.class_names[label] if label >= 0 else "no label" for label in targets]
    title = f"{source.name}, training images at {width}x{height}, augmentation {augmentation}"
    _render.image_grid(images, names, path, title)


def _with_boxes(
    images: "Pixels", targets: "Mapping[str, NDArray[Any]]", class_names: Sequence[str]
) -> "tuple[Pixels, list[str]]":
    """Return images with the boxes of their objects, and their classes."""
    import numpy as np

    from keras_cnns._render.boxes import outlined

    texts, shown = [], []
    for image, boxes, labels in zip(images, targets["boxes"], targets["labels"], strict=True):
        is_object = labels >= 0
        shown.append(outlined(image, boxes[is_object], labels[is_object]))
        names, counts = np.unique(labels[is_object], return_counts=True)
        parts = zip(names, counts, strict=True)
        texts.append(", ".join(class_names[name] + (f" ×{count}" if count > 1 else "") for name, count in parts))
    return np.stack(shown), [text or "no object" for text in texts]


def _with_masks(images: "Pixels", masks: "NDArray[np.uint8]", class_names: Sequence[str]) -> "tuple[Pixels, list[str]]":
    """Return images with their masks laid over them, and their classes."""
    import numpy as np

    from keras_cnns._render.masks import overlay
    from keras_cnns.data.masks import colors

    palette = colors(len(class_names))
    shown = [overlay(image, mask, palette, class_names) for image, mask in zip(images, masks, strict=True)]
    present = [[class_names[label] for label in np.unique(mask) if label < len(class_names)] for mask in masks]
    return np.stack(shown), [", ".join(names) or "not known" for names in present]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _common.run(command, arguments)
