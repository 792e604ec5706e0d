"""The package's own errors; the commands map each to one exit code. Standard library only."""

import difflib
import errno

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
    """An argument that cannot be used: a misspelt name, a value out of range, two that contradict."""

    exit_code = 2


class OutputExistsError(ArgumentError):
    """The place to write to is taken, and overwriting was not asked for."""


class ModelFileError(ValueError):
    """A model file that cannot be read, or that is not safe to read.

    Attributes:
        path: the file.
        fault: what is wrong with it.
        cure: what to do about it.
    """

    exit_code = 3

    def __init__(self, path, fault, cure):
        super().__init__(f"{path}: {fault}. {cure}")
        self.path, self.fault, self.cure = path, fault, cure


class SourceError(ValueError):
    """Images or labels that cannot be used; the message names the file and the fault."""

    exit_code = 3


class SourceWarning(UserWarning):
    """Files that a source of images leaves out, or that are damaged but can be read; the message names them."""


class VerificationError(Exception):
    """An artifact that is not as it should be, or does not compute what its model computes."""

    exit_code = 1


class ConversionError(Exception):
    """A model that a format's converter cannot write."""

    exit_code = 1


class ArtifactError(Exception):
    """An artifact that its runtime refuses, or dies of."""

    exit_code = 1


class TrainingError(Exception):
    """A training that failed; the message says where its log is."""

    exit_code = 1


class OutputError(OSError):
    """A file or folder that cannot be written."""

    exit_code = 5

    @classmethod
    def from_os(cls, path, error):
        """Return the error that names `path`, the system's reason in `error` and the cure."""
        reason = error.strerror or str(error) or type(error).__name__
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            cure = "Free some space there, or choose another place"
        else:
            cure = "Choose a folder that you may write to"
        return cls(f"{path}: cannot be written ({reason}). {cure}.")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after what was done so far has been saved; the message says where."""


def nearest(name, names):
    """Return " Did you mean 'x'?" for the closest of `names`, or "" when none is close."""
    by_folded = {known.casefold(): known for known in names}
    match = difflib.get_close_matches(str(name).casefold(), by_folded, n=1, cutoff=0.5)
    return f" Did you mean {by_folded[match[0]]!r}?" if match else ""
