"""Reopen the source that a model was trained on."""

import os
from collections.abc import Mapping
from typing import Any

from keras_cnns.data.sources import ALIASES, Source, means_folder, open_source
from keras_cnns.data.splitting import split_source
from keras_cnns.errors import ArgumentError
from keras_cnns.typing import Path


def reopen_source(
    record: Mapping[str, Any] | None,
    name: Path | None = None,
    *,
    data_dir: Path | None = None,
    download: bool = False,
) -> Source:
    """Reopen the source of a model's training, with the same splits.

    Args:
        record: `ModelInfo.data` of the model: `Source.record()` and perhaps more; None: nothing is recorded, and
            `name` is needed.
        name: the source to open, as for `open_source`; None for the recorded one. A source other than the recorded one
            is opened with its own splits.
        data_dir: folder of tensorflow-datasets; None for the recorded one.
        download: whether a tensorflow-datasets dataset that is not on disk may be downloaded.

    Returns:
        `Source`. If files were added to or removed from a folder since, a few images at the edges of a split may
        differ.

    Raises:
        ArgumentError: if there is no such source, or the record cannot be used.
        SourceError: if the contents of the source cannot be used.

    Examples:
        >>> from keras_cnns import applications, data
        >>> info = applications.weights_info("NiN", "digits")  # or saving.read_info("model.keras")
        >>> data.reopen_source(info.data).name
        'digits'
    """
    record = record or {}
    recorded: Any = record.get("source")
    if name is None and recorded is None:
        raise ArgumentError("the model does not say which images it was trained on; name them. Received: name=None")
    if isinstance(recorded, str):
        recorded = ALIASES.get(recorded, recorded)  # a folder of that name is recorded as ./digits
    if name is None:
        name = recorded
    elif recorded is None or _place(name) != _place(recorded):
        return open_source(name, data_dir=data_dir, download=download)
    source = open_source(name, data_dir=data_dir or record.get("data_dir"), download=download)
    try:
        divisions = [
            ({part: float(share) for part, share in division["shares"].items()}, int(division["seed"]))
            for division in record.get("divisions", ())
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ArgumentError(
            "the model's record does not say how its images were divided; each division has `shares` and `seed`. "
            f"Received: divisions={record['divisions']!r}"
        ) from None
    for shares, seed in divisions:
        source = split_source(source, shares, seed)
    return source


def _place(name: Path) -> str:
    """Return the same text for every spelling of a source."""
    name = str(name)
    if name in ALIASES and not means_folder(name):
        name = ALIASES[name]
    return name if name.startswith(("tfds:", "sklearn:", "drawn:")) else os.path.realpath(name)
