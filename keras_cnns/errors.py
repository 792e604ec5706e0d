"""The errors of the package. Standard library only.

The commands exit with an error's `exit_code`.
"""

import difflib
import errno
import os
from collections.abc import Iterable
from typing import Any

from keras_cnns._lazy import dir_of

__all__ = [
    "ArgumentError",
    "ArtifactError",
    "ConversionError",
    "Interrupted",
    "ModelFileError",
    "OutputError",
    "OutputExistsError",
    "SourceError",
    "TrainingError",
    "VerificationError",
    "nearest",
]
__dir__ = dir_of(__all__)


class ArgumentError(ValueError):
    """An argument that cannot be used.

    It is misspelt, out of range, or contradicts another one.
    """

    exit_code = 2


class OutputExistsError(ArgumentError):
    """An output that exists, when overwriting was not asked for."""


class ModelFileError(ValueError):
    """A model file that is unreadable or unsafe.

    Args:
        path: the file.
        fault: what is wrong with it, as the rest of a sentence.
        cure: what to do about it, as a sentence.

    Attributes:
        path, fault, cure: as the arguments.
    """

    exit_code = 3

    def __init__(self, path: str | os.PathLike[str], fault: str, cure: str):
        super().__init__(f"{path}: {fault}. {cure}")
        self.path, self.fault, self.cure = path, fault, cure


class SourceError(ValueError):
    """Images or labels that cannot be used.

    The message names the file and the fault.
    """

    exit_code = 3


class SourceWarning(UserWarning):
    """Files of a source that are left out, or read although damaged.

    The message names them.
    """


class VerificationError(Exception):
    """An artifact that is damaged or differs from its model."""

    exit_code = 1


class ConversionError(Exception):
    """A model that a format's converter cannot write."""

    exit_code = 1


class ArtifactError(Exception):
    """An artifact that its runtime rejects, or that ends the runtime's process."""

    exit_code = 1


class TrainingError(Exception):
    """A training run that failed.

    The message says where its log is.
    """

    exit_code = 1


class OutputError(OSError):
    """A file or folder that cannot be written."""

    exit_code = 5

    @classmethod
    def from_os(cls, path: str | os.PathLike[str], error: OSError) -> "OutputError":
        """Return the error for a system's error.

        Args:
            path: what cannot be written.
            error: with the system's reason.

        Returns:
            The error; its message names the path, the reason and the cure.
        """
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            cure = "Free some space there, or choose another place"
        else:
            cure = "Choose a folder that you may write to"
        return cls(f"{path}: cannot be written ({reason}). {cure}.")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the work done so far has been saved.

    The message says where.
    """


def nearest(name: Any, names: Iterable[str]) -> str:
    """Return a question such as " Did you mean 'x'?".

    It is for the end of an error message.

    Args:
        name: what was given.
        names: what there is.

    Returns:
        The question with the closest of `names`, or "" if none is close.

    Examples:
        >>> from keras_cnns import errors
        >>> errors.nearest("conv", ["conv1", "fc"])
        " Did you mean 'conv1'?"
    """
    by_folded = {known.casefold(): known for known in names}
    match = difflib.get_close_matches(str(name).casefold(), by_folded, n=1, cutoff=0.5)
    return f" Did you mean {by_folded[match[0]]!r}?" if match else ""
