"""cnn-train: from pictures to one model file."""

import click
from keras_cnns.cli import _common


@click.command("cnn-train", epilog=_common.EXIT_CODES)
@click.argument("network")
@click.option(
    "--data",
    "source",
    required=True,
    metavar="SOURCE",
    help="Pictures: digits, FILE.npz, a folder DIR/train/CLASS/* (or DIR/CLASS/*), or tfds:NAME.",
)
@click.option(
    "--recipe",
    metavar="NAME",
    help="How to train, as nin-cifar10; by default one that suits NETWORK and SOURCE. A name that is none lists all.",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the training pictures.")
@click.option("--batch-size", type=click.IntRange(1), help="Pictures a step.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of everything random.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "mixed_bfloat16", "mixed_float16"]),
    help="What it computes in; auto looks at the device.",
)
@click.option(
    "--input-size",
    type=click.IntRange(1, 4096),
    metavar="N",
    help="Side of the network's input in pixels; by default that of the pictures or the network.",
)
@click.option("--skip-broken", is_flag=True, help="Leave out pictures that cannot be read; each is named.")
@click.option("--output", type=click.Path(file_okay=False), help="Folder to write to.  [default: runs/NETWORK-SOURCE]")
@_common.data_dir_option
@_common.download_option
@_common.force_option
@_common.options
def command(
    network,
    source,
    recipe,
    epochs,
    batch_size,
    seed,
    precision,
    input_size,
    skip_broken,
    output,
    data_dir,
    download,
    force,
    as_json,
):
    """Train NETWORK (as NiN) on pictures; write model.keras, log.csv, curve.png and run.json.

    The test split is read once, after the last epoch.
    """
    import re
    from pathlib import Path

    from keras_cnns import applications, recipes
    from keras_cnns.applications._registry import canonical_name

    name = canonical_name(network)
    chosen = recipes.get_recipe(recipe, name) if recipe else recipes.default_recipe(name, source)
    changes = {"epochs": epochs, "batch_size": batch_size, "precision": precision}
    chosen = chosen.replace(**{key: value for key, value in changes.items() if value is not None})
    if output is None:
        stem = source if source.startswith("tfds:") else Path(source).resolve().stem
        words = re.sub(r"[^\w]+", "-", stem).strip("-")
        output = Path("runs", f"{name}-{words}".lower())

    _common.load_keras()
    from keras_cnns.data import open_source, without_broken
    from keras_cnns.training import train

    opened, broken = open_source(source, data_dir=data_dir, download=download), {}
    if skip_broken:
        opened, broken = without_broken(opened)
        for error in broken.values():
            _common.note(f"left out: {error}")
        _common.note(f"{len(broken)} pictures that cannot be read were left out")
    _common.note(
        f"{name} on {source}: {opened.split('train').examples} training pictures, {len(opened.class_names)} classes; "
        f"recipe {chosen.name}, {chosen.epochs} epochs"
    )
    info = train(
        getattr(applications, name),
        opened,
        chosen,
        output,
        input_size=input_size,
        seed=seed,
        overwrite=force,
        data={**({"data_dir": data_dir} if data_dir else {}), **({"skipped": len(broken)} if broken else {})},
        command=click.get_current_context().obj,
    )
    if as_json:
        _common.print_json({"output": str(output), **info.to_json()})
        return
    rows = [
        (split, values["examples"], f"{values['top1']:.2%}", f"{values['loss']:.4f}")
        for split, values in info.metrics.items()
    ]
    columns = [("split", "left"), ("pictures", "right"), ("top-1", "right"), ("loss", "right")]
    _common.table(f"{Path(output) / 'model.keras'}", columns, rows)


def main(arguments=None):
    """Run the command."""
    _common.run(command, arguments)
