"""What a run's folder holds, and whose run it is."""

import contextlib
import hashlib
import json
import shlex
import zipfile

import numpy as np

from keras_cnns import _files, _render
from keras_cnns.errors import ArgumentError, OutputExistsError
from keras_cnns.recipes import get_recipe
from keras_cnns.saving import read_info, save_model
from keras_cnns.training.checkpoint import LENGTH, differences

BEST = "best.keras"
CHECKPOINT = "checkpoint.npz"
FINAL = "final_state.npz"  # the last checkpoint of a complete run
FILES = ("model.keras", BEST, "log.csv", "curve.png", "run.json", CHECKPOINT, FINAL)


def refuse_run(output):
    """Raise OutputExistsError if a folder holds a run; one that is unfinished had better go on."""
    if (output / CHECKPOINT).exists():
        raise OutputExistsError(
            f"the folder holds an unfinished run: go on with it by --resume (in code: resume=True), choose another "
            f"folder, or discard it by --force (overwrite=True). Received: output={str(output)!r}"
        )
    _files.refuse_existing(*(output / name for name in FILES))


def recorded_recipe(output, builder):
    """Return the recipe of the run in a folder, so that another default is none of its concern; None if unknown.

    Args:
        output: `Path` of the folder.
        builder: public name of the network, which the recipe must suit.
    """
    try:
        if (output / CHECKPOINT).exists():
            with np.load(output / CHECKPOINT, allow_pickle=False) as file:
                run = json.loads(file["state"].tobytes())["run"]
        else:
            run = json.loads((output / "run.json").read_text("utf8"))["run"]
        return get_recipe(run["recipe"]["name"], builder)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # what is wrong with the folder is said when the run is taken up


def complete_run(output, run):
    """Return the `ModelInfo` of a run that is complete; None if it goes on, is extended, or starts.

    Raises:
        ArgumentError: if the folder holds another run, one without a checkpoint, or one that cannot be extended.
    """
    if (output / CHECKPOINT).exists():
        return None
    there = [name for name in FILES if (output / name).exists()]
    if not there:
        return None
    try:
        record = json.loads((output / "run.json").read_text("utf8"))
        theirs, training = record["run"], record["training"]
        complete = training["complete"]
    except (OSError, ValueError, KeyError, TypeError):
        complete = None
    cure = "Choose another folder, or start from scratch with --force (in code: overwrite=True). Received: resume=True"
    if not complete:
        raise ArgumentError(
            f"{output} holds a run without its checkpoint ({', '.join(there)}): there is nothing to go on from. {cure}"
        )
    others = differences(theirs, run)
    if not others:
        return read_info(output / "model.keras")
    name, value, ours = next((other for other in others if other[0] != LENGTH), others[0])
    if name != LENGTH:
        raise ArgumentError(f"{output} holds another run: its {name} is {value!r}, not {ours!r}. {cure}")
    if ours < value:
        fault = f"with {value} epochs, and can be extended to more"
    elif training["epochs"] < value:
        fault = f"by early stopping after {training['epochs']} of {value} epochs, and more of them change nothing"
    elif not (output / FINAL).exists():
        fault = f"without the {FINAL} from which to extend it; to start from its weights, NETWORK is its model.keras"
    else:
        return None
    raise ArgumentError(f"the run in {output} is complete {fault}. {cure}, epochs={ours}")


def seen(output):
    """Return what a process sees of an earlier run: from the names of files to the hash of each, None where none is."""
    paths = {name: output / name for name in (CHECKPOINT, FINAL, "run.json")}
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
