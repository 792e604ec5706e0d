"""Print docs/shipped_weights.md, which is made while the documentation is built.

The table and the images come from saved_models/manifest.json.
"""

import re
from collections.abc import Mapping
from typing import Any

import _shipped

HEAD = """\
| | top-1 on the test split | the paper's |
|---|---|---|
"""
IMAGE = "![{name}: test images with predictions, and where their evidence lies]({place})\n"
PAGE = """\
# Weights that ship

They come with the package: a builder takes them by name, and every command as NAME:WEIGHTS.

```python
from keras_cnns import applications

model = applications.NiN(weights="digits")
print(applications.weights_info("NiN", "digits").metrics["test"])
```

    cnn-predict lenet5:mnist photo.png
    cnn-evaluate resnet20:cifar10 --data cifar10.npz
    make accuracy DATA=FOLDER       # measures all of them again; FOLDER holds mnist.npz, cifar10.npz, ...

## Accuracy

{table}
Each network is the result of the commands that its section shows. The test split was read after training, in a single
view, as in the papers. For a network trained with augmentation (shifted, mirrored or distorted images), the paper's
figure is the one with augmentation, if the paper has one. The [guide](guides/weights.md) says how they are measured
again, and how to add a network.

{networks}"""
NETWORK = """\
## {name}

{image}
{commands}

{record}"""


def table() -> str:
    """Return the table, one row per file of the manifest."""
    rows = []
    for entry in _shipped.entries():
        paper, accuracies = _shipped.published_error(entry), _shipped.accuracies(entry)
        (_, one_view), *others = accuracies.items()
        top1 = f"{percent(one_view)} of {entry['metrics']['test']['examples']:,} images"
        top1 += "".join(f"; {protocol} {percent(value)}" for protocol, value in others)
        published = "-" if paper is None else percent(1 - paper / 100)
        if paper is not None and [*accuracies.values()][-1] < 1 - paper / 100:
            published += ", which this misses"
        name = _shipped.full_name(entry)
        rows.append(f"| [`{name}`](#{anchor(name)}) | {top1} | {published} |\n")
    return HEAD + "".join(rows)


def network(entry: Mapping[str, Any]) -> str:
    """Return the section of one file: image, commands, record."""
    name, training, image = _shipped.full_name(entry), entry["training"], _shipped.image(entry)
    record = {
        "file": f"`{entry['file']}`, {entry['bytes']:,} bytes",
        "sha256": f"`{entry['sha256']}`",
        "data": f"`{entry['data']['source']}`, sha256 `{entry['data']['sha256']}`",
        "training": f"seed {training['seed']}, {training['epochs']} epochs, {training['precision']}, "
        f"{training['seconds'] / 60:.0f} minutes on {training['device']}",
        "versions": ", ".join(f"{package} {version}" for package, version in entry["versions"].items()),
        "license": entry["license"],
    }
    return NETWORK.format(
        name=f"{name} {{ #{anchor(name)} }}",
        image=IMAGE.format(name=name, place=image.relative_to(_shipped.ROOT / "docs").as_posix()),
        commands="\n".join(f"    {command}" for command in commands(entry)),
        record="".join(f"- **{key}**: {value}\n" for key, value in record.items()),
    )


def anchor(name: str) -> str:
    """Return the anchor of a file's section, such as "nin-digits"."""
    return name.replace(":", "-")


def page() -> str:
    """Return the page of the weights that ship."""
    return PAGE.format(table=table(), networks="\n".join(map(network, _shipped.entries())))


def commands(entry: Mapping[str, Any]) -> list[str]:
    """Return the commands that train an entry's network from scratch, without interruptions."""
    training = entry["training"]
    lines = (*training.get("earlier", ()), training["command"])
    return [re.sub("( --(force|resume))+$", "", line) for line in lines]


def percent(share: float) -> str:
    """Return a share as the page writes it, such as "99.44 %"."""
    return f"{100 * share:.2f} %"


if __name__ == "__main__":
    print(page(), end="")
