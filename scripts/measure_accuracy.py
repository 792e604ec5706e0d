"""Measure the weights that ship once more, each on its untouched test split, and compare with what manifest.json says.

    python scripts/measure_accuracy.py [FOLDER] [NAME ...]

FOLDER holds cifar10.npz, mnist.npz and so on; scikit-learn's digits need none. NAME is as nin:digits; without one all
are measured. Every network is shown its images as the protocol of its recipe says. Exit codes: 0 all come out again;
1 one does not, or its images are others; 2 images are missing. That is not everything measured, so no success.
"""

import sys
from pathlib import Path

import _shipped

from keras_cnns import applications
from keras_cnns.applications._weights import verified_path
from keras_cnns.data import open_source
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


def main(arguments=None):
    """Measure, print the table, and return the exit code."""
    folder, entries = _shipped.arguments(__doc__, arguments)

    print(f"top-1 error on the test split; it may differ by {_shipped.TOLERANCE:.1%} of the images, or one\n\n{HEAD}")
    faults, missing = [], {}
    for name, entry in entries.items():
        place = _shipped.data_place(entry["data"]["source"], folder)
        if place != "digits" and not Path(place).is_file():
            missing.setdefault(place, []).append(name)
            continue
        try:
            faults += measured_again(entry, open_source(place))
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


def measured_again(entry, source):
    """Measure one entry's network and print its lines of the table; return what is wrong, a sentence each."""
    name, paper = _shipped.full_name(entry), _shipped.published_error(entry)
    same = _shipped.data_sha256(source) == entry["data"]["sha256"]
    faults = [] if same else [f"{source.name}: not the images or labels that {name} was measured on (other sha256)."]
    file = verified_path(applications.weights_info(entry["builder"], entry["name"]))
    for key, protocol in _shipped.protocols(entry).items():
        now, before = _shipped.measure(file, source, protocol), entry["metrics"][key]
        good = _shipped.agree(now, before)
        if not good:
            faults.append(f"{name}: {percent(now)} test error ({protocol}) is not the recorded {percent(before)}.")
        examples, said = f"{now['examples']:,}", "as recorded" if good and same else "DIFFERS"
        published = "-" if paper is None else f"{paper:.2f} %"
        network, weights = entry["builder"], entry["name"]
        values = network, weights, examples, protocol, percent(now), percent(before), published
        print(COLUMNS.format(*values, "same" if same else "OTHER", said), flush=True)
    return faults


def percent(metrics):
    """Return the test error of a measurement, in percent."""
    return f"{1 - metrics['top1']:.2%}".replace("%", " %")


if __name__ == "__main__":
    sys.exit(main())
