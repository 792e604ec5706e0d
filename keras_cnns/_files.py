"""Files written whole or not at all. Standard library only."""

import contextlib
import errno
import glob
import json
import os
import re
import secrets
import shutil
from pathlib import Path

from keras_cnns.errors import OutputError, OutputExistsError

CLAIM = ".claim"  # suffix of the file that tells that an output is being written


def refuse_existing(*paths):
    """Raise OutputExistsError, naming the first of `paths` that exists."""
    for path in paths:
        if os.path.lexists(path):
            raise OutputExistsError(
                f"the output exists and is kept as it is; choose another place, or overwrite it with --force "
                f"(in code: overwrite=True). Received: output={str(path)!r}"
            )


def make_folder(path, room=0):
    """Make a folder and its parents; raise OutputError if that, or writing `room` bytes into it, cannot be done."""
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
def locked(folder, wait=True):
    """Hold a folder's lock, which ends with the process; nothing where the system has none.

    Args:
        folder: that exists.
        wait: whether to wait for another process that holds it.

    Raises:
        BlockingIOError: if another holds it, and `wait` is False.
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
            pass  # some file systems have no locks
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def made_folder(path):
    """Make a folder as `make_folder` does; if the body fails, remove again what was made and is still empty."""
    folder = Path(path)
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        make_folder(folder)
        yield
    except BaseException:
        for place in missing:
            with contextlib.suppress(OSError):  # something is in it, or it was never made
                place.rmdir()
        raise


@contextlib.contextmanager
def claimed(path):
    """Hold an output path, in a folder that exists, against other processes; nothing where the system has no locks.

    The claim is a locked file beside it, which ends with the process. What a process that was killed left of this
    output is removed.

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
        _remove(claim)  # while it is locked: another process then sees that its own lock is of a removed file
        os.close(descriptor)


def _locked_file(claim, path):
    """Return the descriptor of the claim of an output, which this process has then locked."""
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
        except OSError:  # some file systems have no locks
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(claim)):
                return descriptor
        os.close(descriptor)  # whoever held it before has just removed it


def sweep(path):
    """Remove what `writing(path)` has left of a process that was killed; the caller must hold a lock or a claim."""
    path = Path(path)
    for leftover in path.parent.glob(f".{glob.escape(path.stem)}-*{glob.escape(path.suffix)}"):
        if re.fullmatch(r"[0-9a-f]{12}", leftover.name.removesuffix(path.suffix).removeprefix(f".{path.stem}-")):
            _remove(leftover)


def sweep_claims(folder):
    """Remove what killed processes have left of the outputs in a folder that they had claimed."""
    for claim in Path(folder).glob(f".*{CLAIM}"):
        with (
            contextlib.suppress(OutputError, OutputExistsError),
            claimed(claim.with_name(claim.name[1:].removesuffix(CLAIM))),
        ):
            pass


def _remove(path):
    """Remove a file or a folder, if it is there and can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path):
    """Give a temporary path in the folder of `path`, with its suffix; on leaving, move what is there into place.

    What is written may be a file or a folder. If the body fails, or is interrupted, nothing of it is left and
    what stood at `path` still does. An OSError becomes an OutputError that names `path`.
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


def write_json(path, values):
    """Write `values` as indented JSON, whole or not at all."""
    with writing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", "utf8")
