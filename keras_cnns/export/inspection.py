"""What is inside an artifact, read from the file without running it."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from keras_cnns import _keras
from keras_cnns.errors import ArtifactError
from keras_cnns.export import _runner

NOISE = "keras_cnns.noise.json"  # key of ONNX's metadata: the signal-to-noise of each quantized layer
FLOATS = ("FLOAT32", "FLOAT16", "FLOAT64", "BFLOAT16")


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an artifact is made of.

    Attributes:
        operators: name of each kind of operator to how often it stands in the file, the frequent ones first.
        foreign: those that the plain runtime does not have: Flex, custom, of other domains.
        floats: names of TFLite's float tensors.
        dynamic: names of TFLite's tensors without a fixed shape.
        opset: of ONNX, None elsewhere.
        layers: of int8 ONNX, the signal-to-noise ratio of each quantized layer's output in decibels, {} elsewhere.
    """

    operators: Mapping[str, int]
    foreign: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    opset: int | None = None
    layers: Mapping[str, float] = dataclasses.field(default_factory=dict)


def inspect(path, format):
    """Return the `Contents` of an artifact; raise ArtifactError if it is damaged."""
    try:
        return {"saved_model": _saved_model, "tflite": _tflite, "onnx": _onnx}[format](Path(path))
    except (MemoryError, ModuleNotFoundError):
        raise
    except Exception as error:  # each parser has its own
        raise ArtifactError(f"it is cut off or damaged ({' '.join(str(error).split())[:200]})") from error


def _saved_model(path):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    kinds = collections.Counter(node.op for node in nodes)
    return Contents(dict(kinds.most_common()), tuple(kind for kind in kinds if "PyFunc" in kind))


def _tflite(path):
    schema = _keras.tflite_schema()

    codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    types = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    operators = [model.OperatorCodes(k) for k in range(model.OperatorCodesLength())]
    # Files of old converters have the code in the one field, new ones in the other
    names = [codes[max(one.BuiltinCode(), one.DeprecatedBuiltinCode())] for one in operators]
    custom = [
        f"{name} {one.CustomCode().decode()}" if name == "CUSTOM" else name
        for name, one in zip(names, operators, strict=True)
    ]
    kinds, floats, dynamic = collections.Counter(), [], []
    for graph in (model.Subgraphs(k) for k in range(model.SubgraphsLength())):
        kinds.update(custom[graph.Operators(k).OpcodeIndex()] for k in range(graph.OperatorsLength()))
        for tensor in (graph.Tensors(k) for k in range(graph.TensorsLength())):
            if types[tensor.Type()] in FLOATS:
                floats.append(tensor.Name().decode())
            if tensor.ShapeSignatureLength() and -1 in tensor.ShapeSignatureAsNumpy():
                dynamic.append(tensor.Name().decode())
    foreign = tuple(kind for kind in kinds if kind.startswith("CUSTOM"))
    return Contents(dict(kinds.most_common()), foreign, tuple(floats), tuple(dynamic))


def _onnx(path):
    import onnx

    model = onnx.load(path)
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    foreign = {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    noise = next((entry.value for entry in model.metadata_props if entry.key == NOISE), "{}")
    return Contents(dict(kinds.most_common()), tuple(sorted(foreign)), opset=opset, layers=json.loads(noise))


def read_card(path, format):
    """Return what an artifact says of itself; {} if another program wrote it."""
    if format != "onnx":
        return _runner.read_card(path)
    import onnx

    metadata = {one.key: one.value for one in onnx.load(path).metadata_props}
    return json.loads(metadata.get(_runner.CARD, "{}"))


def size(path):
    """Return the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files_of(path))


def sha256(path):
    """Return the sha256 of a file, or of names and contents of all files in a folder, sorted by name."""
    path, found = Path(path), hashlib.sha256()
    for file in _files_of(path):
        if path.is_dir():
            found.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as content:
            while block := content.read(1 << 22):
                found.update(block)
    return found.hexdigest()


def _files_of(path):
    path = Path(path)
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
