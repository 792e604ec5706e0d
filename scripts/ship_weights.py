"""Put a trained network among the weights that ship, with its proof.

    python scripts/ship_weights.py RUN_DIR NAME --data cifar10.npz --license "Apache-2.0. Trained on ..."

RUN_DIR is what cnn-train wrote, NAME what the builder's `weights` argument will take. The network is measured, and must
be as good as the run says. Then model.keras is copied into saved_models/, its record without the folders of the machine
that trained it; its entry goes into manifest.json, and what it gives for the verification images into
tests/fixed_points/. With a file of saved_models/ in place of RUN_DIR that file stays as it is, and the rest is written
anew.

An entry says what the record in the file says, and what the file does not say of itself: its sha256 and size, the
license with what to cite, the sha256 of the data, and by which protocol the test split was measured: in a single view,
and where the recipe measures otherwise, in that way too.
"""

import argparse
import dataclasses
import hashlib
import shlex
import sys
from pathlib import Path

import _shipped
import numpy as np

from keras_cnns import _files, applications
from keras_cnns.data import open_source
from keras_cnns.saving import load_with_info, read_info, save_model


def main(arguments=None):
    """Measure the network, copy its file, write its entry and its logits."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN_DIR", type=Path, help="what cnn-train wrote, or a file of saved_models/")
    parser.add_argument("name", metavar="NAME", help="of the weights")
    parser.add_argument("--data", required=True, metavar="SOURCE", help="the run's images: digits or FILE.npz")
    parser.add_argument("--license", help="of the weights, and what to cite; those that ship have theirs")
    parser.add_argument("--replace", action="store_true", help="put the file in the place of one that ships")
    given = parser.parse_args(arguments)

    ships = given.run.suffix == ".keras"
    file = given.run if ships else given.run / "model.keras"
    record = read_info(file)
    if not record.training.get("complete", not record.training["interrupted"]):
        sys.exit(f"{file} comes from a training that is not complete. Finish it first.")
    if record.preprocessing.arrays():
        sys.exit(f"{file} has a mean image or a whitening matrix, for which the manifest has no room.")
    entries = {_shipped.full_name(one): one for one in _shipped.entries()}
    full_name = f"{record.builder.lower()}:{given.name}"
    if full_name in entries and not (ships or given.replace):
        parser.error(f"{full_name} ships already: with --replace it gives way to this file")
    license = given.license or entries.get(full_name, {}).get("license")
    if not license:
        parser.error(f"{full_name} needs --license: a sentence on its license, and what to cite")

    source = open_source(given.data)
    metrics = measured(file, record, source)
    if not ships:
        file = copied(file, f"{record.builder.lower()}-{given.name}.keras")
    info = read_info(file).to_json()
    entries[full_name] = {
        "name": given.name,
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "license": license,
        **info,
        "data": {**info["data"], "sha256": _shipped.data_sha256(source)},
        "metrics": metrics,
    }
    model = applications.create_model(record.builder, weights=file, classifier_activation=None)
    logits = _shipped.verification_logits(model, record.preprocessing)
    np.savez(_shipped.FIXED_POINTS / f"{file.stem}.npz", logits=logits)
    in_order = sorted(entries.values(), key=lambda one: (one["builder"], one["name"]))
    _files.write_json(_shipped.MANIFEST, {"weights": in_order})
    print(f"{file}: {metrics}")


def measured(file, record, source):
    """Return a record's metrics with the protocols of its test measurements; exit if they do not come out again."""
    metrics = dict(record.metrics)
    for key, protocol in _shipped.protocols(record.to_json()).items():
        now = _shipped.measure(file, source, protocol)
        before = metrics.get(key, now)
        if not _shipped.agree(now, before):
            sys.exit(f"{file}: {now} on {source.name}, but its record says {before}. Give the data of its training.")
        metrics[key] = {"protocol": protocol, **before}
    return metrics


def copied(file, name):
    """Copy a run's file into saved_models/ under a name, without the folders in its record; return its place."""
    model, record = load_with_info(file)
    training = {**record.training, "command": shortened(record.training["command"])}
    if "weights" in training:
        training["weights"] = without_folders(training["weights"])
        training["earlier"] = list(map(shortened, training.get("earlier", ())))
    data = {"source": without_folders(record.data["source"])}
    record = dataclasses.replace(record, data=data, training=training)
    save_model(model, _shipped.SHIPPED / name, record, overwrite=True)
    return _shipped.SHIPPED / name


def shortened(command):
    """Return a command line without the folders of the machine that it ran on."""
    return shlex.join(map(without_folders, shlex.split(command)))


def without_folders(word):
    """Return a word of a command line; of a path its last part, and of a run's network the run's folder too."""
    if word.startswith("tfds:"):
        return word
    path = Path(word)
    return f"{path.parent.name}/{path.name}" if path.name == "model.keras" else path.name


if __name__ == "__main__":
    main()
