"""cnn-data: what a source of images holds, and what is wrong with it."""

import click
from keras_cnns.cli import _common, _model

PREVIEWED = 32  # images
PREVIEW_SIZE = 224  # pixels a side, where the images have no size in common


class _Unreadable(Exception):
    """Images that cannot be read: the check failed."""

    exit_code = 1


@click.command("cnn-data", epilog=_common.EXIT_CODES)
@click.argument("source", shell_complete=_model.complete_source)
@click.option("--all", "every", is_flag=True, help="Open every image, not a sample of 1,000 of each split.")
@click.option(
    "--preview",
    type=click.Path(dir_okay=False),
    metavar="FILE.png",
    help="Draw training images as a network gets them, with their labels.",
)
@click.option("--augmentation", metavar="NAME", help="Of the preview, as in a recipe.  [default: shift]")
@click.option(
    "--input-size",
    type=click.IntRange(4, 4096),
    metavar="N",
    help="Side of the previewed images in pixels; by default their own or 224.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the sample and the preview."
)
@_common.data_dir_option
@_common.download_option
@_common.force_option
@_common.options
def command(source, every, preview, augmentation, input_size, seed, data_dir, download, force, as_json):
    """Show what SOURCE holds (as cnn-train --data): classes, counts, sizes, means, and what is wrong with it.

    Warnings do not fail; images that cannot be read do.
    """
    if preview:
        _common.prepare_plot(preview, force)
    elif augmentation or input_size:
        option = "--augmentation" if augmentation else "--input-size"
        raise click.UsageError(f"{option} is of the preview: give --preview FILE.png too.")
    _model.load_keras()
    from keras_cnns.data import open_source, summarize
    from keras_cnns.data.summary import SAMPLE

    opened = open_source(source, data_dir=data_dir, download=download)
    if preview:
        _draw(opened, preview, augmentation or "shift", input_size, seed)
    summary = summarize(opened, sample=None if every else SAMPLE, seed=seed, progress=_common.track)
    if as_json:
        _common.print_json(summary.to_json())
    else:
        _show(summary)
    if count := len(summary.unreadable):
        raise _Unreadable(f"{count:,} of the images examined cannot be read. Replace or remove them.")


def _show(summary):
    """Print a summary."""
    lines = [f"{summary.source}: {_common.counted(len(summary.class_names), 'class')}"]
    lines += [f"{name}: {_common.counted(count, 'image')}" for name, count in summary.examples.items()]
    if summary.examined != summary.examples:
        parts = (f"{count:,} of {name}" for name, count in summary.examined.items())
        lines.append(f"sizes, means and warnings are of the images examined: {', '.join(parts)}; --all takes all")
    if summary.sizes:
        sizes = (f"{name} {width}x{height}" for name, (height, width) in summary.sizes.items())
        lines.append(f"width x height: {', '.join(sizes)}")
        lines.append(f"modes: {', '.join(f'{mode} {count:,}' for mode, count in summary.modes.items())}")
    if summary.mean:
        mean, deviation = (", ".join(f"{value:.1f}" for value in one) for one in (summary.mean, summary.deviation))
        lines.append(f"training pixels, 0 to 255: mean {mean}; deviation {deviation}")
    for name, counts in summary.counts.items():
        if sum(counts) != summary.examples[name]:
            lines.append(f"the classes of {name} were counted in {_common.counted(sum(counts), 'image')}")
    splits = list(summary.counts)
    rows = list(zip(summary.class_names, *(map("{:,}".format, summary.counts[name]) for name in splits), strict=True))
    _common.table("\n".join(lines), [("class", "left"), *((name, "right", 0) for name in splits)], rows)
    for skipped in summary.skipped:
        _common.echo(f"left out: {skipped}")
    warned = {finding.text for finding in summary.findings}
    for sentence in summary.notes:
        if sentence not in warned:
            _common.echo(f"note: {sentence}")
    for one in summary.findings:
        click.echo(f"{'error' if one.kind == 'unreadable' else 'warning'}: {one.text}")


def _draw(source, path, augmentation, input_size, seed):
    """Write a grid of training images that went through a pipeline; broken ones are left out."""
    import numpy as np

    from keras_cnns import _render
    from keras_cnns.data import Preprocessing, make_dataset
    from keras_cnns.data.pipeline import reading

    height, width, channels = source.image_shape
    alike = None not in (height, width)
    if input_size or not alike:
        height = width = input_size or PREVIEW_SIZE
    # As training does it: images all alike are stretched, others keep their aspect
    preprocessing = Preprocessing((height, width), channels, shorter_side=None if alike else height)
    split = source.split("train")
    if split.labels is None:
        split = split.sample(PREVIEWED)
    else:
        split = split.take(np.random.default_rng(seed).permutation(split.examples)[:PREVIEWED])
    data = make_dataset(
        split, preprocessing, PREVIEWED, augmentation=augmentation, seed=seed, normalize=False, skip_broken=True
    )
    with reading(split):
        images, labels = next(iter(data), (None, None))
    if images is None:
        _common.note(f"{path}: not written, as none of the images chosen for it can be read")
        return
    names = [source.class_names[label] if label >= 0 else "no label" for label in labels.numpy()]
    title = f"{source.name}, training images at {width}x{height}, augmentation {augmentation}"
    _render.image_grid(images.numpy(), names, path, title)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
