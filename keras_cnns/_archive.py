"""The `.keras` file as a zip archive, read with limits.

It imports no keras.
"""

import contextlib
import io
import json
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cnns.errors import ModelFileError

if TYPE_CHECKING:
    import numpy as np

    from keras_cnns.typing import Path as PathLike

ARRAYS = "keras_cnns.npz"  # member with the large arrays of the preprocessing, if it has any
JSON_BYTES = 64 << 20  # more than any network's description takes
ARRAY_BYTES = 1 << 30  # more than any mean image or whitening matrix takes
BLOCK = 1 << 22  # bytes read at a time
EXPANDED_BYTES = 1 << 28  # a member may always be so large
EXPANSION = 100  # a larger member may be at most so many times its packed size


@contextlib.contextmanager
def as_keras_reads_it(path: "PathLike") -> Iterator["PathLike"]:
    """Yield the path of an archive with only the members Keras needs.

    Keras unpacks an archive with further members into a temporary folder, and leaves the folder behind if that fails.

    Args:
        path: path of the `.keras` file.

    Raises:
        ModelFileError: for a member that is damaged or expands beyond `EXPANSION`.
    """
    needed = ("config.json", "metadata.json", "model.weights.h5")
    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = [
            member
            for member in archive.infolist()
            if member.filename in needed or member.filename.startswith("assets/")
        ]
        readable, copy = path, None
        if len(archive.infolist()) > len(needed):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="keras_cnns-"))
            readable = Path(folder) / "model.keras"
            copy = zipfile.ZipFile(readable, "w")
        for member in members:
            if member.file_size > max(EXPANDED_BYTES, EXPANSION * member.compress_size):
                raise ModelFileError(
                    path,
                    f"its {member.filename} takes {member.compress_size:,} bytes and would expand to "
                    f"{member.file_size:,}, as no network's does",
                    "Do not use this file.",
                )
            try:
                with archive.open(member) as content:  # At its end the checksum is compared
                    if copy is None:
                        while content.read(BLOCK):
                            pass
                    else:
                        with copy.open(member.filename, "w", force_zip64=True) as target:
                            shutil.copyfileobj(content, target, BLOCK)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
                raise ModelFileError(path, f"its {member.filename} is damaged", "Copy or save it again.") from None
        if copy is not None:
            copy.close()
        yield readable


def read_member(path: "PathLike", member: str, **default: Any) -> Any:
    """Return the bytes of a JSON member of the archive.

    Args:
        path: path of the `.keras` file.
        member: name of the member in the archive.
        **default: `missing=VALUE`, to be returned if the archive has no such member.

    Raises:
        ModelFileError: if the file is no `.keras` file, or the member is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise ModelFileError(path, "there is no such file", "Give the path of a .keras file.")
    if path.is_dir():
        raise ModelFileError(path, "is a folder", "Give the path of a .keras file.")
    if path.suffix != ".keras" and zipfile.is_zipfile(path):
        raise ModelFileError(path, "is an archive whose name does not say so", "Rename it to end in .keras.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not {"config.json", "metadata.json", "model.weights.h5"} <= set(names):
                raise ModelFileError(path, "is a zip archive, but holds no Keras model", "Give a .keras file.")
            if member not in names and "missing" in default:
                return default["missing"]
            if archive.getinfo(member).file_size > JSON_BYTES:
                raise ModelFileError(path, f"its {member} is far too long for a network", "Do not use this file.")
            text = archive.read(member)
            json.loads(text)
            return text
    except zipfile.BadZipFile:
        raise _not_an_archive(path) from None
    except OSError as error:
        raise ModelFileError(path, f"cannot be read ({error.strerror or error})", "Check the file.") from None
    except (ValueError, EOFError, RuntimeError, zlib.error) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(path, f"its {member} is damaged", "Copy or save it again.") from None


def read_arrays(path: "PathLike") -> "dict[str, np.ndarray]":
    """Return the arrays of the archive's member `ARRAYS`, by name.

    Raises:
        ValueError: if they cannot be read.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(ARRAYS).file_size > ARRAY_BYTES:
                raise ValueError("they are far too large")
            with np.load(io.BytesIO(archive.read(ARRAYS)), allow_pickle=False) as file:
                return {name: file[name] for name in file}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"its arrays {ARRAYS} cannot be read: {error}") from None


def _not_an_archive(path):
    """Return the error for an incomplete archive or another kind of file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
    if size == 0:
        return ModelFileError(path, "is empty", "Copy or save it again.")
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return ModelFileError(
            path,
            "is an HDF5 file; whole models in HDF5 are not read, as Keras does not check what code they hold",
            "Load it where you trust it, and save it with a name that ends in .keras.",
        )
    if start.startswith(b"PK\x03\x04"):
        whole = _announced_size(path)
        about = f" ({size:,} of about {whole:,} bytes)" if whole > size else f" (after {size:,} bytes)"
        return ModelFileError(path, f"the archive ends early{about}: the copy was cut off", "Copy it again.")
    return ModelFileError(path, "is no .keras file", "Give a file that Keras 3 or cnn-train saved.")


def _announced_size(path):
    """Return the least length of a cut-off archive by its headers."""
    end = 0
    with open(path, "rb") as file:
        while True:
            file.seek(end)
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                return end
            compressed, _, name, extra = struct.unpack("<IIHH", header[18:30])
            end += 30 + name + extra + compressed
