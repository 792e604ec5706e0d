"""What a run's folder holds, and whose run it is."""

import contextlib
import hashlib
import json
import shlex

from keras_cnns import _files, _render
from keras_cnns.errors import ArgumentError
from keras_cnns.saving import read_info, save_model
from keras_cnns.training.checkpoint import differences

BEST = "best.keras"
CHECKPOINT = "checkpoint.npz"
FILES = ("model.keras", BEST, "log.csv", "curve.png", "run.json", CHECKPOINT)


def complete_run(output, run):
    """Return the `ModelInfo` of a run that is complete; None if there is none, or a checkpoint to go on from.

    Raises:
        ArgumentError: if the folder holds another run, or one without a checkpoint.
    """
    if (output / CHECKPOINT).exists():
        return None
    there = [name for name in FILES if (output / name).exists()]
    if not there:
        return None
    try:
        record = json.loads((output / "run.json").read_text("utf8"))
        theirs, complete = record["run"], record["training"]["complete"]
    except (OSError, ValueError, KeyError, TypeError):
        theirs = complete = None
    if complete and not differences(theirs, run):
        return read_info(output / "model.keras")
    kind = "another run" if complete else "a run without its checkpoint"
    raise ArgumentError(
        f"{output} holds {kind} ({', '.join(there)}): there is nothing to go on from. Choose another folder, or start "
        f"anew with --force (in code: overwrite=True). Received: resume=True"
    )


def seen(output):
    """Return what a process sees of an earlier run: from the names of files to the hash of each, None where none is."""
    paths = {name: output / name for name in (CHECKPOINT, "run.json")}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None for name, path in paths.items()
    }


@contextlib.contextmanager
def alone(output):
    """Hold a run's folder, and take away what a killed run has left half written."""
    try:
        with _files.locked(output, wait=False):
            for name in FILES:
                _files.sweep(output / name)
            yield
    except BlockingIOError:
        raise ArgumentError(
            f"another run is writing into this folder; wait for it, or choose another. Received: output={str(output)!r}"
        ) from None


def going_on(command):
    """Return how to go on with a run that was stopped."""
    if not command:
        return "call it again with resume=True"
    words = [word for word in shlex.split(command) if word not in ("--force", "--resume")]
    return shlex.join([*words, "--resume"])


def write(output, model, info, history, run):
    """Write the model file, the run's record and the curves."""
    save_model(model, output / "model.keras", info, overwrite=True)
    _files.write_json(output / "run.json", {**info.to_json(), "history": history, "run": run})
    if history.get("loss"):
        _render.training_curve(history, output / "curve.png", f"{info.builder} on {info.data['source']}")
