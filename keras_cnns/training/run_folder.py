"""The folder of a training run."""

import contextlib
import hashlib
import json
import shlex
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from keras_cnns import _files, _render
from keras_cnns.errors import ArgumentError, OutputExistsError
from keras_cnns.recipes import Recipe, get_recipe
from keras_cnns.saving import ModelInfo, read_info, save_model
from keras_cnns.tasks.registry import task_of
from keras_cnns.training.identity import LENGTH, RunIdentity, differences

if TYPE_CHECKING:
    import keras

BEST = "best.keras"
CHECKPOINT = "checkpoint.npz"
FINAL = "final_state.npz"  # the last checkpoint of a complete run
FILES = ("model.keras", BEST, "log.csv", "curve.png", "run.json", CHECKPOINT, FINAL)


def refuse_run(output: Path) -> None:
    """Raise OutputExistsError if a folder holds a run.

    Args:
        output: the folder, which need not exist.
    """
    if (output / CHECKPOINT).exists():
        raise OutputExistsError(
            f"the folder holds an unfinished run: resume it with --resume (in code: resume=True), choose another "
            f"folder, or discard it by --force (overwrite=True). Received: output={str(output)!r}"
        )
    _files.refuse_existing(*(output / name for name in FILES))


def recorded_recipe(output: Path, builder: str) -> Recipe | None:
    """Return the recipe of the run in a folder.

    A run that is resumed keeps it, even if the default recipe is another one by now.

    Args:
        output: the folder.
        builder: public name of the network, which the recipe must suit.

    Returns:
        `Recipe` or None.
    """
    try:
        if (output / CHECKPOINT).exists():
            with np.load(output / CHECKPOINT, allow_pickle=False) as file:
                run = json.loads(file["state"].tobytes())["run"]
        else:
            run = json.loads((output / "run.json").read_text("utf8"))["run"]
        return get_recipe(run["recipe"]["name"], builder)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None  # What is wrong with the folder is reported when the run is resumed


def complete_run(output: Path, identity: RunIdentity) -> ModelInfo | None:
    """Return the `ModelInfo` of a complete run.

    None means that the run is to be resumed, extended or started.

    Args:
        output: the folder.
        identity: `RunIdentity` of the run that is asked for.

    Raises:
        ArgumentError: if the folder holds another run, one without a checkpoint, or one that cannot be extended.
    """
    if (output / CHECKPOINT).exists():
        return None
    existing = [name for name in FILES if (output / name).exists()]
    if not existing:
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
            f"{output} holds a run without its checkpoint ({', '.join(existing)}): there is nothing to resume from. "
            f"{cure}"
        )
    others = differences(theirs, identity.to_json())
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


def file_hashes(output: Path) -> dict[str, str | None]:
    """Return the SHA-256 of the files that a run is resumed from.

    The keys are the files' names, the value of a missing file is None.
    Processes compare these to check that all of them see the same folder.
    """
    paths = {name: output / name for name in (CHECKPOINT, FINAL, "run.json")}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None for name, path in paths.items()
    }


@contextlib.contextmanager
def hold_folder(output: Path) -> Iterator[None]:
    """Lock a run's folder, and remove temporary files of a killed run.

    Raises:
        ArgumentError: if another run holds it.
    """
    try:
        with _files.locked(output, wait=False):
            for name in FILES:
                _files.sweep(output / name)
            yield
    except BlockingIOError:
        raise ArgumentError(
            f"another run is writing into this folder; wait for it, or choose another. Received: output={str(output)!r}"
        ) from None


def resume_command(command: str | None) -> str:
    """Return how to resume a run that was stopped.

    Args:
        command: the command line that started it; None if it was started in code.
    """
    if not command:
        return "call it again with resume=True"
    words = [word for word in shlex.split(command) if word not in ("--force", "--resume")]
    return shlex.join([*words, "--resume"])


def write_results(
    output: Path, model: "keras.Model", info: ModelInfo, history: dict[str, list[float]], identity: RunIdentity
) -> None:
    """Write model.keras, run.json and curve.png.

    Args:
        output: the folder.
        model: the trained network.
        info: record of the model.
        history: the values of each epoch, by name.
        identity: `RunIdentity` of the run.
    """
    save_model(model, output / "model.keras", info, overwrite=True)
    _files.write_json(output / "run.json", {**info.to_json(), "history": history, "run": identity.to_json()})
    if history.get("loss") and info.data:
        title, metric = f"{info.builder} on {info.data['source']}", task_of(info).monitor.name
        _render.training_curve(history, output / "curve.png", title, metric)
