"""Atomic writing of files, and locks. Standard library only."""

import contextlib
import errno
import glob
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_cnns.errors import OutputError, OutputExistsError

CLAIM = ".claim"  # suffix of the locked file beside an output that is being written
PathLike = str | os.PathLike[str]


def refuse_existing(*paths: PathLike) -> None:
    """Raise OutputExistsError if a path exists; it names the first one.

    Args:
        *paths: of outputs.
    """
    for path in paths:
        if os.path.lexists(path):
            raise OutputExistsError(
                f"the output exists and is kept as it is; choose another place, or overwrite it with --force "
                f"(in code: overwrite=True). Received: output={str(path)!r}"
            )


def make_folder(path: PathLike, room: int = 0) -> None:
    """Make a folder and its parents, and check that it is writable.

    Args:
        path: path of the folder, which may exist.
        room: bytes for which there must be space.

    Raises:
        OutputError: if it cannot be made or written to.
    """
    probe = Path(path) / f".{secrets.token_hex(6)}"
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        with open(probe, "wb") as file:
            for start in range(0, room, 1 << 20):
                file.write(bytes(min(room - start, 1 << 20)))
    except OSError as error:
        raise OutputError.from_os(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


@contextlib.contextmanager
def locked(folder: PathLike, wait: bool = True) -> Iterator[None]:
    """Hold a folder's lock within the context.

    The lock ends with the process. On a system without locks, nothing is done.

    Args:
        folder: an existing folder.
        wait: whether to wait for another process that holds the lock.

    Raises:
        BlockingIOError: if another process holds it, and `wait` is False.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass  # Some file systems have no locks
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made_folder(path: PathLike) -> Iterator[None]:
    """Make a folder, and remove it if the body fails.

    As with `make_folder`, parents are made too. Only folders that were made here and are still empty are removed.
    """
    folder = Path(path)
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        make_folder(folder)
        yield
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):  # It holds something, or was never made
                place.rmdir()
        raise


@contextlib.contextmanager
def claimed(path: PathLike) -> Iterator[None]:
    """Reserve an output path for this process within the context.

    The claim is a locked file beside the output; its lock ends with the process. What a killed process left of this
    output is removed. On a system without locks, nothing is done.

    Args:
        path: path of the output, in an existing folder.

    Raises:
        OutputExistsError: if another process holds it.
        OutputError: if the folder cannot be written to.
    """
    path = Path(path)
    claim = path.with_name(f".{path.name}{CLAIM}")
    try:
        descriptor = _locked_file(claim, path)
    except ImportError:  # of fcntl
        yield
        return
    try:
        sweep(path)
        yield
    finally:
        # Removed while it is locked, so that a process which locks it next sees that the file is gone
        _remove(claim)
        os.close(descriptor)


def _locked_file(claim, path):
    """Lock the claim of an output, and return its file descriptor."""
    import fcntl

    while True:
        try:
            descriptor = os.open(claim, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OutputError.from_os(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise OutputExistsError(
                "another process is writing this output; wait until it is done, or choose another place. "
                f"Received: output={str(path)!r}"
            ) from None
        except OSError:  # Some file systems have no locks
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(claim)):
                return descriptor
        os.close(descriptor)  # The process that held the claim has just removed it: try again


def sweep(path: PathLike) -> None:
    """Remove the temporary files that `writing(path)` left in a killed process.

    The caller must hold a lock or a claim.
    """
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}-*{glob.escape(path.suffix)}"):
        if re.fullmatch(r"[0-9a-f]{12}", leftover.name.removesuffix(path.suffix).removeprefix(f".{path.stem}-")):
            _remove(leftover)


def sweep_claims(folder: PathLike) -> None:
    """Remove what killed processes left of outputs in a folder."""
    for claim in Path(folder).glob(f".*{CLAIM}"):
        with (
            contextlib.suppress(OutputError, OutputExistsError),
            claimed(claim.with_name(claim.name[1:].removesuffix(CLAIM))),
        ):
            pass


def _remove(path):
    """Remove a file or folder if it exists and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: PathLike) -> Iterator[Path]:
    """Yield a temporary path whose content moves to `path` on leaving.

    The temporary path is in the same folder and has the same suffix. A file or a folder may be written there. If the
    body fails or is interrupted, it is removed, and `path` is as it was.

    Args:
        path: path of the output.

    Raises:
        OutputError: instead of an OSError; it names `path`.
    """
    path = Path(path)
    mark = f".{path.stem}-{secrets.token_hex(6)}"
    temporary = path.with_name(f"{mark}{path.suffix}")
    old = path.with_name(f"{mark}.old")
    try:
        yield temporary
        if temporary.is_file():
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        if path.is_dir() and not path.is_symlink():
            if not temporary.is_dir():
                raise IsADirectoryError(errno.EISDIR, "a folder of that name is there")
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise
    except OutputError:
        raise
    except OSError as error:
        raise OutputError.from_os(path, error) from error
    finally:
        for leftover in (temporary, old):
            _remove(leftover)


def write_json(path: PathLike, values: Any) -> None:
    """Write a file of indented JSON atomically.

    Args:
        path: path of the file.
        values: JSON values.
    """
    with writing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", "utf8")
