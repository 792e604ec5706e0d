"""The manifest.json of a folder of exports. Standard library only.

It says of each artifact how it was made and what proves it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cnns import typing
from keras_cnns.errors import ArgumentError, OutputExistsError

NAME = "manifest.json"
FORMAT = "keras_cnns exports 1"


def read(folder: typing.Path) -> dict[str, Any]:
    """Return a folder's entries by file name; {} without a manifest.

    Args:
        folder: the folder of exports.

    Raises:
        OutputExistsError: if `manifest.json` was written by another program or is damaged.
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
            f"{path} is not a manifest of exports, or a damaged one, and is kept as it is; move it away or choose "
            f"another folder. Received: output={str(folder)!r}"
        ) from None


def text(folder: typing.Path, entries: Mapping[str, Any]) -> str:
    """Return the text of a folder's manifest with new entries.

    Args:
        folder: the folder of exports. Its older entries stay if their files still exist.
        entries: the new entries by file name.
    """
    older = {name: entry for name, entry in read(folder).items() if (Path(folder) / name).exists()}
    return json.dumps({"format": FORMAT, "artifacts": {**older, **entries}}, indent=1, ensure_ascii=False) + "\n"


def entry_of(path: typing.Path) -> dict[str, Any] | None:
    """Return an artifact's entry in the manifest beside it, or None."""
    path = Path(path)
    try:
        return read(path.parent).get(path.name)
    except ArgumentError:
        return None
