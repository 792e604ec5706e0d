"""Read what is inside an artifact without running it."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_cnns import _keras, typing
from keras_cnns.errors import ArtifactError
from keras_cnns.export import _runner

NOISE = "keras_cnns.noise.json"  # key in ONNX metadata of the signal-to-noise ratio of each quantized layer
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16")


@dataclasses.dataclass(frozen=True)
class Contents:
    """The parts of an artifact.

    Attributes:
        operators: from the name of each kind of operator to how often the file has it, the most frequent first.
        foreign: kinds of operators that the plain runtime lacks: Flex, custom, or of another domain.
        floats: names of a TFLite file's float tensors.
        dynamic: names of a TFLite file's tensors without a fixed shape.
        opset: version of an ONNX file's operators; None for other formats.
        layers: signal-to-noise ratio in decibels of each quantized layer's output in an int8 ONNX file; {} for others.
    """

    operators: Mapping[str, int]
    foreign: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    opset: int | None = None
    layers: Mapping[str, float] = dataclasses.field(default_factory=dict)


def inspect(path: typing.Path, format: str) -> Contents:
    """Return the `Contents` of an artifact.

    Args:
        path: the artifact.
        format: a name of `FORMATS`.

    Raises:
        ArtifactError: if the artifact is damaged.
        ModuleNotFoundError: if the package that reads the format is not installed.
    """
    try:
        return INSPECTORS[format](Path(path))
    except (MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # each parser raises its own kinds
        raise ArtifactError(f"it is cut off or damaged ({' '.join(str(error).split())[:200]})") from error


def _inspect_saved_model(path):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    kinds = collections.Counter(node.op for node in nodes)
    return Contents(dict(kinds.most_common()), tuple(kind for kind in kinds if "PyFunc" in kind))


def _inspect_tflite(path):
    schema = _keras.tflite_schema()

    types = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    names = _tflite_operator_names(model, schema)
    kinds, floats, dynamic = collections.Counter(), [], []
    for graph in (model.Subgraphs(k) for k in range(model.SubgraphsLength())):
        kinds.update(names[graph.Operators(k).OpcodeIndex()] for k in range(graph.OperatorsLength()))
        for tensor in (graph.Tensors(k) for k in range(graph.TensorsLength())):
            if types[tensor.Type()] in FLOATS:
                floats.append(tensor.Name().decode())
            if tensor.ShapeSignatureLength() and -1 in tensor.ShapeSignatureAsNumpy():
                dynamic.append(tensor.Name().decode())
    foreign = tuple(kind for kind in kinds if kind.startswith("CUSTOM"))
    return Contents(dict(kinds.most_common()), foreign, tuple(floats), tuple(dynamic))


def _tflite_operator_names(model, schema):
    """Return the name of each operator code of a TFLite model.

    A custom operator is called "CUSTOM" and its own name.
    """
    known = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    names = []
    for code in (model.OperatorCodes(k) for k in range(model.OperatorCodesLength())):
        # Old converters wrote the code into one field, newer ones write it into the other
        name = known[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        names.append(f"{name} {code.CustomCode().decode()}" if name == "CUSTOM" else name)
    return names


def _inspect_onnx(path):
    import onnx

    model = onnx.load(path)
    standard = ("", "ai.onnx")
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    foreign = {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in standard}
    opset = next(opset.version for opset in model.opset_import if opset.domain in standard)
    noise = next((entry.value for entry in model.metadata_props if entry.key == NOISE), "{}")
    return Contents(dict(kinds.most_common()), tuple(sorted(foreign)), opset=opset, layers=json.loads(noise))


INSPECTORS = {"saved_model": _inspect_saved_model, "tflite": _inspect_tflite, "onnx": _inspect_onnx}


def read_card(path: typing.Path, format: str) -> dict[str, Any]:
    """Return an artifact's description of itself; {} if another program wrote it.

    Args:
        path: the artifact.
        format: a name of `FORMATS`.
    """
    if format != "onnx":
        return _runner.read_card(Path(path))
    import onnx

    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return json.loads(metadata.get(_runner.CARD, "{}"))


def size(path: typing.Path) -> int:
    """Return the bytes of a file or a whole folder."""
    return sum(file.stat().st_size for file in _files_of(path))


def sha256(path: typing.Path) -> str:
    """Return the sha256 of a file, or of a whole folder.

    Args:
        path: the file; of a folder, the names, sizes and contents of all files are hashed, sorted by name.
    """
    path, digest = Path(path), hashlib.sha256()
    for file in _files_of(path):
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as content:
            while block := content.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _files_of(path):
    path = Path(path)
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
