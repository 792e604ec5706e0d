"""manifest.json: what lies in a folder of exports, how it was made and what proves it. Standard library only."""

import json
from pathlib import Path

from keras_cnns.errors import ArgumentError, OutputExistsError

NAME = "manifest.json"
FORMAT = "keras_cnns exports 1"


def read(folder):
    """Return {file name: what is known of it} of a folder; {} if it has no manifest.

    Raises:
        OutputExistsError: if there is a file of that name that is no such manifest.
    """
    path = Path(folder) / NAME
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text("utf8"))
        if values["format"] != FORMAT:
            raise ValueError
        return dict(values["artifacts"])
    except (OSError, ValueError, KeyError, TypeError):
        raise OutputExistsError(
            f"{path} is no manifest of exports, or a damaged one, and is kept as it is; move it away or choose another "
            f"folder. Received: output={str(folder)!r}"
        ) from None


def text(folder, entries):
    """Return the text of a folder's manifest with new entries; of older ones those stay whose files are there."""
    older = {name: entry for name, entry in read(folder).items() if (Path(folder) / name).exists()}
    return json.dumps({"format": FORMAT, "artifacts": {**older, **entries}}, indent=1, ensure_ascii=False) + "\n"


def entry_of(path):
    """Return what the manifest beside an artifact says of it; None if there is none."""
    path = Path(path)
    try:
        return read(path.parent).get(path.name)
    except ArgumentError:
        return None
