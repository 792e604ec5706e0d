"""A source once more, by what a model file notes of it."""

import os

from keras_cnns.data.sources import means_folder, open_source
from keras_cnns.data.splitting import split_source
from keras_cnns.errors import ArgumentError


def reopen_source(record, name=None, *, data_dir=None, download=False):
    """Return the source of images that a model file names, divided as it was for the training.

    Args:
        record: `ModelInfo.data`, which began as `Source.record()`; None: nothing is known.
        name: the source to open, for `open_source`; None: the recorded one. Any other is opened as it is.
        data_dir: for tensorflow-datasets; None: as recorded.
        download: as in `open_source`.

    Returns:
        `Source`. Where files of a folder have come or gone since, the images at the edge of a part may differ.

    Raises:
        ArgumentError: if there is no such source, or the record cannot be used.
        SourceError: if its contents cannot be used.
    """
    record = record or {}
    recorded = record.get("source")
    if name is None and recorded is None:
        raise ArgumentError("the model does not say which images it was trained on; name them. Received: name=None")
    if recorded == "digits":
        recorded = "sklearn:digits"  # a folder of that name is recorded as ./digits
    if name is not None and (recorded is None or _place(name) != _place(recorded)):
        return open_source(name, data_dir=data_dir, download=download)
    source = open_source(name or recorded, data_dir=data_dir or record.get("data_dir"), download=download)
    try:
        divisions = [
            ({part: float(share) for part, share in one["shares"].items()}, int(one["seed"]))
            for one in record.get("divisions", ())
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ArgumentError(
            "the model's record does not say how its images were divided; each division has `shares` and `seed`. "
            f"Received: divisions={record['divisions']!r}"
        ) from None
    for shares, seed in divisions:
        source = split_source(source, shares, seed)
    return source


def _place(name):
    """Return what is the same for all ways to spell one source."""
    name = str(name)
    if name == "digits" and not means_folder(name):
        name = "sklearn:digits"
    return name if name.startswith(("tfds:", "sklearn:")) else os.path.realpath(name)
