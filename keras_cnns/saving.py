"""One `.keras` file with a network and its record.

The record is a JSON member of the archive, with everything one must know to use the network. Plain
`keras.saving.load_model` reads such a file too. If the file holds a layer of `keras_cnns.layers` other than batch
normalization, plain Keras needs `import keras_cnns.layers` first; `load_model` here does that by itself.
"""

import contextlib
import dataclasses
import errno
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_cnns import _archive, _files, _keras, _quiet
from keras_cnns._lazy import dir_of
from keras_cnns.data.preprocessing import Preprocessing
from keras_cnns.errors import ModelFileError, OutputError

if TYPE_CHECKING:
    import keras
    import numpy as np

    from keras_cnns.typing import Path as PathLike

__all__ = [
    "ModelInfo",
    "check_info",
    "load_model",
    "load_with_info",
    "read_info",
    "save_model",
    "versions",
]
__dir__ = dir_of(__all__)

MEMBER = "keras_cnns.json"
FORMAT = 1

# Layers that run code or programs which come with the file
CODE_LAYERS = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What a model file holds besides the network.

    Attributes:
        class_names: in the order of the outputs.
        preprocessing: `Preprocessing` of the network's input.
        builder: public name of the network; None for a model of another kind.
        network: the builder's arguments.
        recipe: the recipe of the training run, as JSON.
        data: the source of the images, for `keras_cnns.data.reopen_source`: `Source.record()`, and "data_dir".
        metrics: by split, as {"test": {"examples": 360, "top1": 0.997, ...}}.
        training: seed, epochs, seconds, precision, command, the weights it started from and the commands that made
            them ("earlier"), whether it was interrupted.
        versions: versions of the packages that it was made with.
        class_ids: other names of the classes in a source of images, as ImageNet's n01440764 for tench; () if there
            are none.
        task: name of the network's task, for `keras_cnns.tasks.find_task`; None: it gives each image one class.

    Examples:
        >>> from keras_cnns import data, saving
        >>> preprocessing = data.Preprocessing((64, 64), 3, scale=(1 / 255,))
        >>> info = saving.ModelInfo(class_names=("cat", "dog"), preprocessing=preprocessing)
        >>> info.preprocessing.shape
        (64, 64, 3)
    """

    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    builder: str | None = None
    network: Mapping = dataclasses.field(default_factory=dict)
    recipe: Mapping | None = None
    data: Mapping | None = None
    metrics: Mapping = dataclasses.field(default_factory=dict)
    training: Mapping = dataclasses.field(default_factory=dict)
    versions: Mapping = dataclasses.field(default_factory=dict)
    class_ids: tuple[str, ...] = ()
    task: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values.

        It has the fields of this class alone: what `weights_info` adds describes a file, and not its model.
        """
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(ModelInfo)}
        values["class_names"] = list(self.class_names)
        if not self.class_ids:  # Left out of files and of the manifest, as in nearly all of them
            del values["class_ids"]
        if self.task is None:  # Left out, so that earlier versions read the file
            del values["task"]
        values["preprocessing"] = self.preprocessing and self.preprocessing.to_json()
        return {"format": FORMAT, **values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], arrays: "Mapping[str, np.ndarray] | None" = None) -> "ModelInfo":
        """Return the record that `to_json` described.

        Args:
            values: dictionary of JSON values.
            arrays: large arrays of the preprocessing, by name.

        Raises:
            ValueError, TypeError, KeyError: if the values are no such record.
        """
        values = dict(values)
        if (written := values.pop("format", None)) != FORMAT:
            newer = isinstance(written, int) and written > FORMAT
            raise ValueError("it was written by a newer keras_cnns" if newer else f"its format is not {FORMAT}")
        values["class_names"] = tuple(map(str, values["class_names"]))
        values["class_ids"] = tuple(map(str, values.get("class_ids", ())))
        if not isinstance(values.get("task"), str | None):
            raise ValueError("its task is no name")
        for key in ("network", "recipe", "data", "metrics", "training", "versions"):
            if not isinstance(values[key], dict) and not (values[key] is None and key in ("recipe", "data")):
                raise ValueError(f"its {key} are no mapping")
        if values["preprocessing"] is not None:
            values["preprocessing"] = Preprocessing.from_json(values["preprocessing"], arrays)
        values["network"] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values["network"].items()
        }
        return cls(**values)


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a model computes.

    Examples:
        >>> from keras_cnns import saving
        >>> "keras" in saving.versions()
        True
    """
    import importlib.metadata

    import keras

    import keras_cnns

    backend = keras.backend.backend()
    result = {"keras_cnns": keras_cnns.__version__, "keras": keras.__version__, "backend": backend}
    if backend in ("tensorflow", "jax", "torch"):
        result[backend] = importlib.metadata.version(backend)
    return result


def save_model(
    model: "keras.Model", path: "PathLike", info: ModelInfo | None = None, *, overwrite: bool = False
) -> None:
    """Write a model and its record into one `.keras` file atomically.

    The optimizer's state is left out: the file is for predicting and for starting another training run.

    Args:
        model: functional or sequential `keras.Model`.
        path: path of the file; ends in ".keras".
        info: `ModelInfo`. Its preprocessing tells every command how to read images; for a model that `model.fit`
            trained on pixels / 255 it is `Preprocessing((64, 64), 3, scale=(1 / 255,))`.
        overwrite: whether a file at `path` may be replaced.

    Raises:
        ValueError: if `path` does not end in ".keras".
        OutputExistsError: if the file exists and `overwrite` is False.
        OutputError: if it cannot be written; a file at `path` is as it was.

    Examples:
        >>> from keras_cnns import applications, saving
        >>> model = applications.LeNet5Modern(classes=2)
        >>> saving.save_model(model, "cats.keras", saving.ModelInfo(class_names=("cat", "dog")))
        >>> saving.read_info("cats.keras").class_names
        ('cat', 'dog')
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"`path` must end in '.keras'. Received: path={str(path)!r}")
    if not overwrite:
        _files.refuse_existing(path)
    plain = type(model).from_config(model.get_config())
    plain.set_weights(model.get_weights())
    text = json.dumps((info or ModelInfo()).to_json(), indent=1, ensure_ascii=False)
    arrays = info.preprocessing.arrays() if info and info.preprocessing else {}
    with _files.writing(path) as temporary:
        plain.save(temporary)
        with zipfile.ZipFile(temporary, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(MEMBER, text)
            if arrays:
                import numpy as np

                with archive.open(_archive.ARRAYS, "w", force_zip64=True) as file:
                    np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub takes one for `allow_pickle`


def load_model(path: "PathLike", *, compile: bool = False) -> "keras.Model":
    """Load the model of a `.keras` file that holds only known layers.

    The layers must be Keras's, this package's, or registered by the caller with
    `keras.saving.register_keras_serializable`. Layers that run code from the file are refused. That is a check, not a
    sandbox: load files that you trust. Batch normalization becomes `keras_cnns.layers.BatchNormalization`.

    Args:
        path: path of the file.
        compile: whether to compile the model as the file says.

    Returns:
        `keras.Model`.

    Raises:
        ModelFileError: for a file that cannot be used; it names the file, the fault and the cure.
        OutputError: if the temporary folder, into which some archives are unpacked, is full.

    Examples:
        >>> from keras_cnns import applications, saving
        >>> saving.save_model(applications.LeNet5Modern(), "lenet.keras")
        >>> saving.load_model("lenet.keras").output_shape
        (None, 10)
    """
    _quiet.import_keras()
    import keras

    from keras_cnns.layers import BatchNormalization  # This import registers all layers of the package

    _check_layers(path, json.loads(_archive.read_member(path, "config.json")))
    try:
        with _archive.as_keras_reads_it(path) as readable:
            model = keras.saving.load_model(readable, compile=compile, safe_mode=True)
    except ModelFileError:
        raise
    except Exception as error:
        if _is_out_of_memory(error):
            raise ModelFileError(
                path,
                "needs more memory than there is",
                "Raise the limit (of a container, or of ulimit -v), close other programs, or use a larger machine.",
            ) from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"{path}: cannot be unpacked, as the temporary folder {tempfile.gettempdir()} is full. Free some space "
                "there, or set TMPDIR to another folder."
            ) from error
        raise _unreadable(path, error) from error
    if not isinstance(model, keras.Model):
        raise ModelFileError(path, f"holds a {type(model).__name__}, no model", "Give the file of a model.")
    for layer in _keras.all_layers(model):
        # Our batch normalization is saved as Keras's, from which only its code differs. Changing the class of the
        # loaded layer restores it: Keras asks for no custom object in place of its own layer, and a new model would
        # lose what was compiled
        if type(layer) is keras.layers.BatchNormalization:
            layer.__class__ = BatchNormalization
    return model


def _is_out_of_memory(error):
    """Return whether an error means that memory ran out.

    Keras reports it as a fault of a layer.
    """
    if isinstance(error, MemoryError):
        return True
    words = "Unable to allocate|bad_alloc|memory allocation failed|OOM when allocating|out of memory"
    if type(error).__module__.startswith("tensorflow"):  # Its allocators use different words
        words += "|memory"
    return re.search(words, str(error)) is not None


def _unreadable(path, error):
    """Return the ModelFileError for an error of Keras, in plain words."""
    import keras

    text, module = str(error), type(error).__module__
    stored = re.search(r"could not be loaded.*?name=([^,>\s]+)", text, re.S)
    broken = re.search(r"Error when deserializing class '(\w+)'.*?Exception encountered: (.+)", text, re.S)
    unknown = re.search(r"Could not (?:deserialize|locate) (?:class |function )?'([\w.>]+)'", text)
    called = re.search(r"Exception encountered when calling ([\w.]+)\(\)", text)
    if stored:
        reason = f"its weights are not those of the layer {stored[1]}"
    elif broken:
        reason = f"a {broken[1]} layer is not described as Keras {keras.__version__} knows it"
    elif unknown:
        reason = f"there is no {unknown[1]}"
    elif called:
        reason = f"its layers do not fit each other: {called[1].removesuffix('.call')} cannot take what it gets"
    elif module.startswith("tensorflow"):
        reason = "TensorFlow cannot build its layers"
    elif module.startswith("h5py") or re.search(r"synchronously|h5|addr|object header|heap", text):
        reason = "its model.weights.h5 is damaged"
    elif re.search(r"incompatible with the layer|output size would be", text):
        reason = "its layers do not fit each other"
    else:
        reason = "its config.json describes no model"
    theirs = _keras_version(path)
    if theirs and _numbers(theirs) > _numbers(keras.__version__):
        return ModelFileError(
            path,
            f"was saved by Keras {theirs}, and this is Keras {keras.__version__}, which cannot read it ({reason})",
            "Update Keras: pip install --upgrade keras.",
        )
    return ModelFileError(path, f"Keras cannot read it ({reason})", "Save the model again.")


def _keras_version(path):
    """Return the version of Keras that wrote the file, or None."""
    with contextlib.suppress(ValueError, AttributeError):
        version = json.loads(_archive.read_member(path, "metadata.json")).get("keras_version")
        return version if isinstance(version, str) else None


def _numbers(version):
    """Return the leading numbers of a version, as (3, 15, 1)."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def read_info(path: "PathLike") -> ModelInfo | None:
    """Read the `ModelInfo` of a `.keras` file without importing keras.

    Args:
        path: path of the file.

    Returns:
        `ModelInfo`, or None if another program wrote the file.

    Raises:
        ModelFileError: as `load_model`, and if the record is damaged.

    Examples:
        >>> from keras_cnns import applications, saving
        >>> path = applications.weights_info("NiN", "digits").path  # or "runs/nin-digits/model.keras"
        >>> saving.read_info(path).class_names[:3]
        ('0', '1', '2')
    """
    text = _archive.read_member(path, MEMBER, missing=None)
    if text is None:
        return None
    try:
        values = json.loads(text)
        described = (values.get("preprocessing") or {}).get("arrays")
        return ModelInfo.from_json(values, _archive.read_arrays(path) if described else None)
    except ValueError as error:
        raise ModelFileError(
            path, f"its record {MEMBER} is damaged ({error})", "Save the model again, with this version."
        ) from None
    except (TypeError, KeyError, AttributeError):
        raise ModelFileError(
            path, f"its record {MEMBER} lacks a field, or has another", "Save the model again, with this version."
        ) from None


def load_with_info(path: "PathLike") -> "tuple[keras.Model, ModelInfo | None]":
    """Load the model and the record of a `.keras` file.

    Args:
        path: path of the file.

    Returns:
        (model, its `ModelInfo` or None), checked to fit each other.

    Raises:
        ModelFileError: as `load_model` and `read_info`, and if the record describes another network.

    Examples:
        >>> from keras_cnns import applications, saving
        >>> path = applications.weights_info("NiN", "digits").path  # or "runs/nin-digits/model.keras"
        >>> model, info = saving.load_with_info(path)
        >>> model.output_shape, len(info.class_names)
        ((None, 10), 10)
    """
    info, model = read_info(path), load_model(path)
    if info:
        check_info(path, model, info)
    return model, info


def check_info(path: "PathLike", model: "keras.Model", info: ModelInfo) -> None:
    """Check that a file's record describes the network in the file.

    Args:
        path: path of the file, named in errors.
        model: the network.
        info: record of the model.

    Raises:
        ModelFileError: if it describes another network.

    Examples:
        >>> from keras_cnns import applications, saving
        >>> model = applications.LeNet5Modern(classes=2)
        >>> saving.check_info("cats.keras", model, saving.ModelInfo(class_names=("cat", "cow", "dog")))
        Traceback (most recent call last):
            ...
        keras_cnns.errors.ModelFileError: cats.keras: its record names 3 classes, its network has 2 outputs. ...
    """
    if not getattr(model, "inputs", None):
        raise ModelFileError(path, "holds a model without a known input", "Save a functional or sequential model.")
    record, shape, classes = info.preprocessing, tuple(model.inputs[0].shape[1:]), _class_count(model)
    if record and any(side not in (None, own) for side, own in zip(shape, record.shape, strict=False)):
        raise ModelFileError(
            path, f"its record says images of shape {record.shape}, its network takes {shape}", "Save it again."
        )
    # A single output is the probability, or the logit, of the second of two classes
    if info.class_names and len(info.class_names) != classes and (len(info.class_names), classes) != (2, 1):
        raise ModelFileError(
            path,
            f"its record names {len(info.class_names)} classes, its network has {classes} outputs",
            "Save it again.",
        )


def _class_count(model):
    """Return the classes of the output "scores", or of the first one."""
    output = getattr(model, "output", None)
    scores = output["scores"] if isinstance(output, dict) and "scores" in output else model.outputs[0]
    return scores.shape[-1]


def _check_layers(path, config):
    """Raise ModelFileError unless all classes and functions are known."""
    from keras.saving import get_custom_objects

    registered = get_custom_objects()
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        if not isinstance(node, dict):
            continue
        waiting += node.values()
        name, module, full_name = (node.get(key) for key in ("class_name", "module", "registered_name"))
        if not isinstance(name, str):
            continue
        if name in CODE_LAYERS:
            raise ModelFileError(
                path,
                f"holds a {name.strip('_')} layer, which runs code that comes with the file",
                "Ask for the model with keras.layers or registered layers instead.",
            )
        known = module in ("builtins", "keras") or str(module).startswith("keras.")
        known = known or (not module and ">" not in str(full_name))
        if not known and full_name not in registered and name not in registered:
            raise ModelFileError(
                path,
                f"needs the class {full_name or name}{f' of {module}' if module else ''}, which is not known here",
                "Import the module that defines and registers it before loading; commands do so with --import MODULE.",
            )
