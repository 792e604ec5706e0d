"""Add a trained network to the weights that ship, with its measurements.

    python scripts/ship_weights.py RUN_DIR NAME --data cifar10.npz --license "Apache-2.0. Trained on ..."

RUN_DIR is a folder written by cnn-train, and NAME a new value of the builder's `weights` argument. The script

- measures the network, which must be as accurate as the run says,
- copies model.keras into saved_models/, with a record that names no folders of the machine that trained it,
- adds an entry to manifest.json,
- writes the logits for the verification images into tests/fixed_points/.

If a file of saved_models/ is given instead of RUN_DIR, the file is kept and the rest is written again.

An entry repeats the record in the file. It adds what the file does not say: its sha256 and size, the license with what
to cite, the sha256 of the data, and the protocols by which the test split was measured: a single view, and the recipe's
protocol if that differs.
"""

import argparse
import dataclasses
import hashlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _shipped
import numpy as np

from keras_cnns import _files, applications
from keras_cnns.data import Source, open_source
from keras_cnns.saving import ModelInfo, load_with_info, read_info, save_model


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the network, copy its file, write its entry and its logits."""
    parser, given = _parsed(arguments)
    ships = given.run.suffix == ".keras"
    file = given.run if ships else given.run / "model.keras"
    record = read_info(file)
    if not record.training.get("complete", not record.training["interrupted"]):
        sys.exit(f"{file} comes from a training that is not complete. Finish it first.")
    if record.preprocessing.arrays():
        sys.exit(f"{file} has a mean image or a whitening matrix, for which the manifest has no room.")
    entries = {_shipped.full_name(entry): entry for entry in _shipped.entries()}
    full_name = f"{record.builder.lower()}:{given.name}"
    if full_name in entries and not (ships or given.replace):
        parser.error(f"{full_name} ships already: with --replace this file replaces it")
    license = given.license or entries.get(full_name, {}).get("license")
    if not license:
        parser.error(f"{full_name} needs --license: a sentence on its license, and what to cite")

    source = open_source(given.data)
    metrics = measure(file, record, source)
    if not ships:
        file = copy_file(file, f"{record.builder.lower()}-{given.name}.keras")
    entries[full_name] = _entry(given.name, file, license, source, metrics)
    model = applications.create_model(record.builder, weights=file, classifier_activation=None)
    logits = _shipped.verification_logits(model, record.preprocessing)
    np.savez(_shipped.FIXED_POINTS / f"{file.stem}.npz", logits=logits)
    in_order = sorted(entries.values(), key=lambda entry: (entry["builder"], entry["name"]))
    _files.write_json(_shipped.MANIFEST, {"weights": in_order})
    print(f"{file}: {metrics}")


def _parsed(arguments: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", metavar="RUN_DIR", type=Path, help="folder of a run, or a file of saved_models/")
    parser.add_argument("name", metavar="NAME", help="name of the weights")
    parser.add_argument("--data", required=True, metavar="SOURCE", help="the run's images: digits or FILE.npz")
    parser.add_argument("--license", help="license, and what to cite; needed for new weights only")
    parser.add_argument("--replace", action="store_true", help="replace weights of this name that ship")
    return parser, parser.parse_args(arguments)


def _entry(name: str, file: Path, license: str, source: Source, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of a file in manifest.json."""
    info = read_info(file).to_json()
    return {
        "name": name,
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "license": license,
        **info,
        "data": {**info["data"], "sha256": _shipped.data_sha256(source)},
        "metrics": metrics,
    }


def measure(file: Path, record: ModelInfo, source: Source) -> dict[str, Any]:
    """Return a record's metrics, with the protocols of its test measurements.

    The script exits if the test split is not measured as recorded.

    Args:
        file: path of the `.keras` file.
        record: of the file.
        source: `Source` of the training.
    """
    metrics = dict(record.metrics)
    for key, protocol in _shipped.protocols(record.to_json()).items():
        now = _shipped.measure(file, source, protocol)
        before = metrics.get(key, now)
        if not _shipped.agree(now, before):
            sys.exit(f"{file}: {now} on {source.name}, but its record says {before}. Give the data of its training.")
        metrics[key] = {"protocol": protocol, **before}
    return metrics


def copy_file(file: Path, name: str) -> Path:
    """Copy a run's file into saved_models/, without the folders in its record.

    Args:
        file: path of the `.keras` file.
        name: of the copy.

    Returns:
        Path of the copy.
    """
    model, record = load_with_info(file)
    training = {**record.training, "command": shorten(record.training["command"])}
    if "weights" in training:
        training["weights"] = without_folders(training["weights"])
        training["earlier"] = list(map(shorten, training.get("earlier", ())))
    data = {"source": without_folders(record.data["source"])}
    record = dataclasses.replace(record, data=data, training=training)
    save_model(model, _shipped.SHIPPED / name, record, overwrite=True)
    return _shipped.SHIPPED / name


def shorten(command: str) -> str:
    """Return a command line without the folders of its machine."""
    return shlex.join(map(without_folders, shlex.split(command)))


def without_folders(word: str) -> str:
    """Return a word of a command line without folders.

    The path of a run's network keeps the run's folder: RUN/model.keras.
    """
    if word.startswith("tfds:"):
        return word
    path = Path(word)
    return f"{path.parent.name}/{path.name}" if path.name == "model.keras" else path.name


if __name__ == "__main__":
    main()
