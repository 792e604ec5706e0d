"""Put a trained network among the weights that ship: python scripts/ship_weights.py RUN_DIR NAME LICENSE

RUN_DIR is what cnn-train wrote, NAME what the builder's `weights` argument will take, LICENSE a sentence on the
weights' license and what to cite. Copies model.keras into saved_models/ and writes the entry of manifest.json.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

from keras_cnns.saving import read_info

SHIPPED = Path(__file__).resolve().parent.parent / "saved_models"


def main(run_dir, name, license):
    """Copy the file and write its entry."""
    source = Path(run_dir) / "model.keras"
    info = read_info(source).to_json()
    if info["training"]["interrupted"]:
        sys.exit(f"{source} comes from an interrupted training. Finish it first.")
    file = SHIPPED / f"{info['builder'].lower()}-{name}.keras"
    shutil.copyfile(source, file)
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


if __name__ == "__main__":
    main(*sys.argv[1:])
