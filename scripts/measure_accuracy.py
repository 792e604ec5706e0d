"""Measure the shipped weights again and compare with manifest.json.

    python scripts/measure_accuracy.py [FOLDER] [NAME ...]

FOLDER holds cifar10.npz, mnist.npz and so on; scikit-learn's digits need no file. NAME is a name such as nin:digits;
without one, all are measured. Each network is measured on its test split by the protocol of its recipe.

Exit codes: 0 all accuracies are as recorded; 1 an accuracy or its images differ; 2 images are missing, so that not
everything was measured.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _shipped

from keras_cnns import applications
from keras_cnns.applications._weights import verified_path
from keras_cnns.data import Source, open_source
from keras_cnns.errors import ModelFileError, SourceError

COLUMNS = "{:<10}{:<16}{:>9}  {:<9}{:>8}  {:>8}  {:>8}  {:<6}{}"
HEAD = COLUMNS.format("network", "weights", "images", "protocol", "error", "recorded", "paper", "data", "")
MISSING = """\
{place} is missing, so {names} could not be measured. Pack the images as
keras.datasets gives them, in their published order, and name the folder: make accuracy DATA=FOLDER
    import keras, numpy
    (x_train, y_train), (x_test, y_test) = keras.datasets.{stem}.load_data()
    names = {classes}
    numpy.savez("{stem}.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, class_names=names)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table of the accuracies and return the exit code."""
    folder, entries = _shipped.arguments(__doc__, arguments)

    print(f"top-1 error on the test split; it may differ by {_shipped.TOLERANCE:.1%} of the images, or one\n\n{HEAD}")
    faults: list[str] = []
    missing: dict[str, list[str]] = {}
    for name, entry in entries.items():
        place = _shipped.data_place(entry["data"]["source"], folder)
        if place != "digits" and not Path(place).is_file():
            missing.setdefault(place, []).append(name)
            continue
        try:
            faults += measure_again(entry, open_source(place))
        except (ModelFileError, SourceError) as error:
            faults.append(str(error))
    print()
    for place, names in missing.items():
        classes = entries[names[0]]["class_names"]
        print(MISSING.format(place=place, names=" and ".join(names), stem=Path(place).stem, classes=classes))
    for fault in faults:
        print(fault)
    if not (missing or faults):
        print("All as recorded.")
    return 1 if faults else 2 if missing else 0


def measure_again(entry: Mapping[str, Any], source: Source) -> list[str]:
    """Measure an entry's network and print its rows of the table.

    Args:
        entry: of the manifest.
        source: `Source` of its images.

    Returns:
        A sentence for each difference from the manifest.
    """
    name, paper = _shipped.full_name(entry), _shipped.published_error(entry)
    same = _shipped.data_sha256(source) == entry["data"]["sha256"]
    faults = [] if same else [f"{source.name}: not the images or labels that {name} was measured on (other sha256)."]
    file = verified_path(applications.weights_info(entry["builder"], entry["name"]))
    for key, protocol in _shipped.protocols(entry).items():
        now, before = _shipped.measure(file, source, protocol), entry["metrics"][key]
        agrees = _shipped.agree(now, before)
        if not agrees:
            faults.append(f"{name}: {percent(now)} test error ({protocol}) is not the recorded {percent(before)}.")
        examples, verdict = f"{now['examples']:,}", "as recorded" if agrees and same else "DIFFERS"
        published = "-" if paper is None else f"{paper:.2f} %"
        network, weights = entry["builder"], entry["name"]
        values = network, weights, examples, protocol, percent(now), percent(before), published
        print(COLUMNS.format(*values, "same" if same else "OTHER", verdict), flush=True)
    return faults


def percent(metrics: Mapping[str, Any]) -> str:
    """Return the test error of a measurement, in percent."""
    return f"{1 - metrics['top1']:.2%}".replace("%", " %")


if __name__ == "__main__":
    sys.exit(main())
