"""cnn-train: from images to one model file."""

from collections.abc import Sequence
from typing import Any

import click
from keras_cnns.cli import _common, _model, _options, _training

EXAMPLES = (
    "cnn-train NiN --data digits --output runs/digits",
    "cnn-train resnet50:imagenet --data photos/ --epochs 10 --freeze 'conv[1-4]*'",
)


def _devices(context: click.Context, parameter: click.Parameter, text: str) -> str | int:
    """Return "all" or a whole number."""
    if text == "all":
        return text
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise click.BadParameter(f"{text!r} is neither 'all' nor a whole number from 1")


@_options.command("cnn-train", examples=EXAMPLES)
@click.argument("network", metavar="NETWORK", shell_complete=_model.complete_network)
@_options.option(
    "--data",
    "source",
    required=True,
    metavar="SOURCE",
    shell_complete=_model.complete_source,
    section="Data",
    help="Images: digits, FILE.npz, FILE.csv, a folder DIR/train/CLASS/* (or DIR/CLASS/*), or tfds:NAME. With masks: "
    "shapes, a folder DIR/images and DIR/masks, PASCAL VOC, or a COCO FILE.json.",
)
@_options.data_dir_option
@_options.download_option
@_options.skip_broken_option
@_options.option(
    "--augmentation",
    metavar="NAME",
    section="Data",
    help="Random changes of training images, as cnn-data --preview shows them. An unknown name lists them all.",
)
@_options.option(
    "--balance",
    type=click.Choice(["none", "weights", "repeat"]),
    section="Data",
    help="For classes of unequal size: weight the loss, or repeat images of scarce classes.",
)
@_options.option(
    "--input-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    section="Data",
    help="Side of the network's input in pixels; by default that of the images or the network.",
)
@_options.option(
    "--fit",
    type=click.Choice(["crop", "stretch", "pad"]),
    section="Data",
    help="How images of another shape fill the input: cut off, with another aspect, or whole with a border. By default "
    "cropped, and with masks stretched.",
)
@_options.option(
    "--backbone",
    metavar="NAME",
    shell_complete=_model.complete_network,
    section="Training",
    help="Network that FCN, DeepLab and CRF-RNN stand on instead of the paper's, such as NiN or ResNet20 for small "
    "images.",
)
@_options.option(
    "--recipe",
    metavar="NAME",
    section="Training",
    help="How to train, such as nin-cifar10; by default a recipe that suits NETWORK and SOURCE. An unknown name lists "
    "them all.",
)
@_options.option(
    "--epochs",
    type=click.IntRange(1),
    metavar="N",
    section="Training",
    help="Passes over the training images. With --resume, more epochs extend a complete run.",
)
@_options.option("--batch-size", type=click.IntRange(1), metavar="N", section="Training", help="Images per step.")
@_options.option(
    "--scale-learning-rate", is_flag=True, section="Training", help="Scale the learning rate with --batch-size."
)
@_options.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    metavar="RATE",
    section="Training",
    help="Highest learning rate, instead of the recipe's.",
)
@_options.option(
    "--freeze",
    multiple=True,
    metavar="PATTERN",
    section="Training",
    help="Layers that keep their weights and batch statistics, such as 'conv*'; may be repeated.",
)
@_options.option(
    "--early-stopping",
    type=click.IntRange(1),
    metavar="N",
    section="Training",
    help="Stop when the validation loss has not fallen for N epochs.",
)
@_options.option(
    "--restore-best",
    is_flag=True,
    section="Training",
    help="At the end, give model.keras the weights of the epoch with the highest validation accuracy.",
)
@_options.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    default=0,
    show_default=True,
    section="Training",
    help="Seed of everything random.",
)
@_options.option(
    "--deterministic",
    is_flag=True,
    section="Training",
    help="Make equal runs end with exactly the same weights, resumed or not; slower.",
)
@_options.option(
    "--resume", is_flag=True, section="Training", help="Continue the run in the output folder where it stopped."
)
@_options.option(
    "--max-minutes",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    section="Training",
    help="Stop after this time; --resume continues the run.",
)
@_options.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed_bfloat16", "mixed_float16"]),
    section="Devices",
    help="Floating-point types of the computation; auto: those that suit the device.",
)
@_options.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    section="Devices",
    help="Device that computes; auto: a GPU if there is one.",
)
@_options.option(
    "--devices",
    default="1",
    show_default=True,
    metavar="all|N",
    callback=_devices,
    section="Devices",
    help="Number of devices that share each batch; with --coordinator, of each process.",
)
@_options.option(
    "--coordinator",
    metavar="HOST:PORT",
    section="Devices",
    help="Address of process 0, to train in several processes (on JAX); auto: from the variables of Slurm and others.",
)
@_options.option(
    "--num-processes",
    type=click.IntRange(1),
    metavar="N",
    section="Devices",
    help="Number of processes that train together.",
)
@_options.option(
    "--process-id", type=click.IntRange(0), metavar="I", section="Devices", help="Number of this process, from 0."
)
@_options.option(
    "--output",
    type=click.Path(file_okay=False),
    metavar="DIR",
    section="Output",
    help="Folder to write to.  [default: runs/NETWORK-SOURCE]",
)
@_options.option("--tensorboard", is_flag=True, section="Output", help="Also write logs for TensorBoard, into DIR.")
@_options.option("--quiet", is_flag=True, section="Output", help="Print no progress.")
@_options.force_option
@_options.output_options
def command(**options: Any) -> None:
    """Train NETWORK on images; write model.keras, best.keras, log.csv, curve.png and run.json.

    NETWORK is a name such as NiN. To start from trained weights, give NAME:WEIGHTS, such as nin:cifar10 or
    resnet50:imagenet, or a .keras file; if the classes differ, the classifier starts from random weights.

    The test split is used once, after the last epoch. To continue a run that was stopped, by Ctrl-C or otherwise,
    repeat the command with --resume. To extend a complete run, give more --epochs too.
    """
    _training.run(_training.Request(**options))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    _common.run(command, arguments)
