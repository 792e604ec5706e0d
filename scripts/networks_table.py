"""Print README's table of networks, or write it (--write).

Both READMEs have it.

The page docs/networks.md is made from the same facts while the documentation is built (`page`).
"""

import argparse
import ast
import re
from collections.abc import Mapping
from pathlib import Path

from keras_cnns import applications
from keras_cnns.applications._facts import FACTS

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- networks: scripts/networks_table.py --write -->\n", "<!-- end of networks -->"
# README: the headings of its columns, and the word between two numbers
READMES = {
    "README.md": ("| family | networks | published | parameters |", "to"),
    "README.zh.md": ("| 系列 | 网络 | 发表年份 | 参数 |", "至"),
}
PAGE = """\
# Networks

{count} networks in {families} families. The figures are those of the default arguments: parameters are the trained
ones; multiply-adds are those of convolutions and dense layers for one image. Errors are on the test split, as the
papers publish them; networks for segmentation have a mean IoU instead, and detectors a mean average precision. Options
are keyword arguments that only this network has; the reference explains them.

    cnn-info                # this table, in a terminal
    cnn-info ResNet50       # one network, layer by layer
"""
PAGE_HEAD = """\
| network | input | parameters | multiply-adds | options | published error |
|---|---|---:|---:|---|---|
"""
COMMON = {"dropout", "kernel_initializer", "bias_initializer"}  # keyword arguments of every network
# File of keras_cnns/applications: the family's name
FAMILIES = {
    "lenet": "LeNet-5",
    "nin": "Network in Network",
    "maxout": "Maxout",
    "alexnet": "AlexNet",
    "zfnet": "ZFNet",
    "vgg": "VGG",
    "googlenet": "GoogLeNet",
    "inception_v2": "Inception v2",
    "inception_v3": "Inception v3",
    "resnet": "ResNet",
    "resnet_v2": "ResNet v2",
    "resnet_cifar": "ResNet for CIFAR",
    "fcn": "FCN",
    "deeplab": "DeepLab",
    "crf_rnn": "CRF-RNN",
    "ssd": "SSD",
}


def families() -> dict[str, list[str]]:
    """Return the networks of each family, in the order of `_BUILDERS`."""
    networks: dict[str, list[str]] = {}
    for name, module in applications._BUILDERS.items():
        networks.setdefault(FAMILIES[module], []).append(name)
    return networks


def table(readme: str = "README.md") -> str:
    """Return the table of a README, one row per family."""
    head, to = READMES[readme]
    rows = [f"{head}\n|---|---|---|---|\n"]
    for family, names in families().items():
        years = sorted({FACTS[name].year for name in names})
        counts = sorted(FACTS[name].parameters for name in names)
        parameters = f" {to} ".join(dict.fromkeys((millions(counts[0]), millions(counts[-1]))))
        networks = ", ".join(f"`{name}`" for name in names)
        rows.append(f"| {family} | {networks} | {', '.join(map(str, years))} | {parameters} |\n")
    return "".join(rows)


def millions(count: int) -> str:
    """Return a number of parameters in millions, with two digits at least."""
    return f"{count / 1e6:.{0 if count >= 1e7 else 1 if count >= 1e6 else 2}f} M"


def page() -> str:
    """Return the page of all networks, one table per family."""
    parts = [PAGE.format(count=len(applications._BUILDERS), families=len(FAMILIES))]
    for family, names in families().items():
        papers = dict.fromkeys(FACTS[name].paper for name in names)
        parts.append(f"## {family}\n")
        parts += [f"{linked(paper)}\n" for paper in papers]
        parts.append(PAGE_HEAD + "".join(map(row, names)))
    return "\n".join(parts)


def row(name: str) -> str:
    """Return the row of a network on the page."""
    facts = FACTS[name]
    values = (
        f"[`{name}`][keras_cnns.applications.{name}]",
        "{}x{}x{}".format(*facts.input_shape),
        f"{facts.parameters:,}",
        f"{facts.macs / 1e6:,.1f} M",
        ", ".join(f"`{option}`" for option in options(name)) or "-",
        "<br>".join([*errors(facts.errors), *(f"{key}, mean IoU {value} %" for key, value in facts.results.items())])
        or "-",
    )
    return f"| {' | '.join(values)} |\n"


def errors(published: Mapping[str, float]) -> list[str]:
    """Return published errors as lines, top-5 beside top-1."""
    lines = []
    for key, value in published.items():
        if "top-5" in key and lines and lines[-1].startswith(f"{key.replace('top-5', 'top-1')} "):
            lines[-1] += f", top-5 {value} %"
        else:
            lines.append(f"{key} {value} %")
    return lines


def options(name: str) -> list[str]:
    """Return the keyword arguments that only this builder has."""
    path = ROOT / "keras_cnns" / "applications" / f"{applications._BUILDERS[name]}.py"
    functions = [node for node in ast.parse(path.read_text("utf8")).body if isinstance(node, ast.FunctionDef)]
    builder = next(function for function in functions if function.name == name)
    return [argument.arg for argument in builder.args.kwonlyargs if argument.arg not in COMMON]


def linked(paper: str) -> str:
    """Return a paper with a link to arXiv, if it is there."""
    return re.sub(r"arXiv (\d+\.\d+)", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)


def between_markers(text: str, part: str) -> str:
    """Return a text with another part between the markers of the table."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{part}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print the table, or write it into the READMEs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    if not parser.parse_args().write:
        print(table(), end="")
        return
    for readme in READMES:
        text = (ROOT / readme).read_text("utf8")
        (ROOT / readme).write_text(between_markers(text, table(readme)), "utf8")


if __name__ == "__main__":
    main()
