"""Put a trained network among the weights that ship: python scripts/ship_weights.py RUN_DIR NAME LICENSE

RUN_DIR is what cnn-train wrote, NAME what the builder's `weights` argument will take, LICENSE a sentence on the
weights' license and what to cite. Copies model.keras into saved_models/, its record without the folders of the machine
that trained it, and writes the entry of manifest.json.
"""

import dataclasses
import hashlib
import json
import shlex
import sys
from pathlib import Path

from keras_cnns.saving import load_with_info, save_model

SHIPPED = Path(__file__).resolve().parent.parent / "saved_models"


def main(run_dir, name, license):
    """Copy the file and write its entry."""
    source = Path(run_dir) / "model.keras"
    model, record = load_with_info(source)
    if not record.training["complete"]:
        sys.exit(f"{source} comes from a training that is not complete. Finish it first.")
    command = shlex.join(map(without_folders, shlex.split(record.training["command"])))
    record = dataclasses.replace(
        record,
        data={"source": without_folders(record.data["source"])},
        training={**record.training, "command": command},
    )
    file = SHIPPED / f"{record.builder.lower()}-{name}.keras"
    save_model(model, file, record, overwrite=True)
    info = record.to_json()
    entry = {
        "name": name,
        "file": file.name,
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "license": license,
        **info,
    }
    path = SHIPPED / "manifest.json"
    manifest = json.loads(path.read_text("utf8"))
    others = [one for one in manifest["weights"] if (one["builder"], one["name"]) != (entry["builder"], name)]
    manifest["weights"] = sorted([*others, entry], key=lambda one: (one["builder"], one["name"]))
    path.write_text(json.dumps(manifest, indent=2) + "\n", "utf8")
    print(f"{file}: {entry['metrics']}")


def without_folders(word):
    """Return a word of a command line; of a path its last part."""
    return word if word.startswith("tfds:") else Path(word).name


if __name__ == "__main__":
    main(*sys.argv[1:])
