"""Speed of our artifacts, compared with other files of the same weights.

    python benchmarks/inference.py [--rounds 5] [--only resnet50] [--batch 1] [--runtime onnxruntime]

In each runtime the files of one network take turns, each in a process of its own:

- ONNX Runtime and OpenVINO: our ONNX file, torch.onnx's of a copy of the network (torch_copy.py), and tf2onnx's.
- LiteRT: our TFLite file, and the TensorFlow converter's.
- TensorFlow: our SavedModel, a compiled function of the Keras model, and its `predict_on_batch`.

All take normalized float32 images. "ours, pixels" is what cnn-export writes by default: it takes uint8 pixels and
normalizes them, which no other file does. Before anything is timed, all outputs must equal those of the Keras model.
Weights are random, except NiN's. OpenVINO and PyTorch are not dependencies; what is missing is said.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import common
import numpy as np
import processes

BATCHES = (1, 8, 32)
GOAL = 0.98
REST = 0.05  # seconds before each turn: ONNX Runtime's threads spin on after a call and would slow the next one
TURN = 0.3  # seconds of calls per turn, at least one call
TF2ONNX_LIMIT = 30e6  # parameters; tf2onnx needs 8 GB for 25 millions
# Name: builder, in keras_cnns.applications or keras.applications, and weights
NETWORKS = {
    "nin": ("NiN", "cifar10"),
    "resnet50": ("ResNet50", None),
    "vgg16": ("VGG16", None),
    "googlenet": ("GoogLeNet", None),
    "inception_v3": ("InceptionV3", None),
    "keras resnet50": ("keras.applications.ResNet50", None),
}
# Runtime: from the name of a column to the file in the network's folder
RUNTIMES = {
    "onnxruntime": {
        "ours": "ours/model.onnx",
        "ours, pixels": "pixels/model.onnx",
        "torch.onnx": "torch.onnx",
        "tf2onnx": "tf2onnx.onnx",
    },
    "openvino": {
        "ours": "ours/model.onnx",
        "ours, pixels": "pixels/model.onnx",
        "ours, TFLite": "ours/model.tflite",
        "torch.onnx": "torch.onnx",
        "tf2onnx": "tf2onnx.onnx",
    },
    "litert": {
        "ours": "ours/model.tflite",
        "ours, pixels": "pixels/model.tflite",
        "converter": "converter.tflite",
    },
    "tensorflow": {
        "ours": "ours/model_saved_model",
        "ours, pixels": "pixels/model_saved_model",
        "tf.function": "model.keras",
        "predict_on_batch": "model.keras",
    },
}
MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert", "tensorflow": "tensorflow"}


def build(name: str) -> Any:
    """Return a network with weights that no folding of batch normalization leaves unchanged."""
    import keras

    from keras_cnns import applications

    builder, weights = NETWORKS[name]
    keras.utils.set_random_seed(0)
    room = keras.applications if builder.startswith("keras.") else applications
    model = getattr(room, builder.rpartition(".")[2])(weights=weights)
    random = np.random.default_rng(0)
    normalizations = [layer for layer in model.layers if type(layer).__name__ == "BatchNormalization"]
    for layer in model.layers:
        for variable in layer.trainable_variables if weights is None else ():
            if variable.name in ("gamma", "beta", "bias"):
                center = float(variable.name == "gamma")
                variable.assign(center + random.uniform(-0.2, 0.2, variable.shape))
    for layer in normalizations:
        layer.momentum = 0.0  # so that one step in training mode sets the statistics, and activations keep their size
    if normalizations:
        model(random.normal(size=(8, *model.input_shape[1:])).astype("float32"), training=True)
    return model


def write_files(name: str, folder: Path, way: str) -> None:
    """Write files of a network into a folder.

    Args:
        name: of the network.
        folder: to write into.
        way: "ours", "torch", "tf2onnx" or "converter".
    """
    from keras_cnns import _quiet

    _quiet.import_keras()
    import keras

    model = build(name) if way == "ours" else keras.models.load_model(folder / "model.keras", compile=False)
    if way == "ours":
        from keras_cnns import export
        from keras_cnns.data import Preprocessing
        from keras_cnns.saving import ModelInfo

        model.save(folder / "model.keras")
        images = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype("float32")
        np.savez(folder / "expected.npz", images=images, outputs=model.predict_on_batch(images))
        record = Preprocessing(model.input_shape[1:3], mean=(124.0, 117.0, 104.0), scale=(0.017,))
        formats = ["onnx", "tflite", "saved_model"]
        for kind, preprocess in (("ours", False), ("pixels", True)):
            options = export.Options(preprocess=preprocess, verify=False)
            info = ModelInfo(preprocessing=record)
            export.export_model(model, folder / kind, formats, options, info=info, stem="model")
    elif way == "torch":
        import torch_copy

        torch_copy.write_onnx(model, str(folder / "torch.onnx"))
    elif way == "tf2onnx":
        import tensorflow as tf
        import tf2onnx

        spec = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, "image")]
        tf2onnx.convert.from_keras(model, spec, opset=17, output_path=str(folder / "tf2onnx.onnx"))
    else:
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as scratch:
            model.export(scratch, verbose=False)
            converted = tf.lite.TFLiteConverter.from_saved_model(scratch).convert()
        (folder / "converter.tflite").write_bytes(converted)


@dataclasses.dataclass(frozen=True)
class Opened:
    """A file in its runtime.

    Attributes:
        run: function from images to outputs.
        shape: of the images; None is a free axis.
        dtype: of the images, "uint8" or "float32".
    """

    run: Callable[[np.ndarray], np.ndarray]
    shape: Sequence[int | None]
    dtype: str

    def as_input(self, images: np.ndarray) -> np.ndarray:
        """Return images (batch, height, width, channels) in the file's layout."""
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2) if self.shape[1] == images.shape[3] else images)


def open_file(runtime: str, column: str, path: str) -> Opened:
    """Open a file.

    Args:
        runtime: a key of `RUNTIMES`.
        column: name of the column.
        path: of the file.
    """
    if runtime == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (given,) = session.get_inputs()

        def run(images: np.ndarray) -> np.ndarray:
            return session.run(None, {given.name: images})[0]

        shape, dtype = given.shape, "uint8" if given.type == "tensor(uint8)" else "float32"
    elif runtime == "openvino":
        import openvino

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(path, "CPU", settings)
        request, port = compiled.create_infer_request(), compiled.inputs[0]

        def run(images: np.ndarray) -> np.ndarray:
            return request.infer([images], share_inputs=True)[compiled.outputs[0]]

        shape = [side.get_length() if side.is_static else None for side in port.get_partial_shape()]
        dtype = port.get_element_type().to_dtype().name
    elif runtime == "litert":
        from ai_edge_litert.interpreter import Interpreter

        signature = Interpreter(model_path=path, num_threads=os.cpu_count()).get_signature_runner("serving_default")
        ((name, details),) = signature.get_input_details().items()

        def run(images: np.ndarray) -> np.ndarray:
            return next(iter(signature(**{name: images}).values()))

        shape, dtype = details["shape"], np.dtype(details["dtype"]).name
    else:
        from keras_cnns import _quiet

        _quiet.import_keras()
        return _open_tensorflow(column, path)
    return Opened(run, shape, dtype)


def _open_tensorflow(column: str, path: str) -> Opened:
    import keras
    import tensorflow as tf

    if column.startswith("ours"):
        loaded = tf.saved_model.load(path)
        signature = loaded.signatures["serving_default"]
        ((name, spec),) = signature.structured_input_signature[1].items()

        def run_signature(images: np.ndarray) -> np.ndarray:
            return next(iter(signature(**{name: tf.constant(images)}).values())).numpy()

        run_signature.loaded = loaded  # type: ignore[attr-defined]  # the signature lives only as long as that
        return Opened(run_signature, spec.shape, spec.dtype.name)
    import keras_cnns.layers  # noqa: F401  # registers the layers of the file

    model = keras.models.load_model(path, compile=False)
    if column == "predict_on_batch":
        return Opened(model.predict_on_batch, model.input_shape, "float32")
    function = tf.function(
        lambda images: model(images, training=False), input_signature=[tf.TensorSpec(model.input_shape, tf.float32)]
    )
    return Opened(lambda images: function(tf.constant(images)).numpy(), model.input_shape, "float32")


def serve(runtime: str, column: str, folder: Path) -> None:
    """Time calls of a file, once for each batch size that comes on stdin.

    The first line of stdout has the largest difference from the Keras model's outputs, relative to their range, or null
    for pixels.
    """
    channel = os.fdopen(os.dup(1), "w")  # a copy of stdout, so that what a runtime prints does not mix with answers
    os.dup2(2, 1)
    opened = open_file(runtime, column, str(folder / RUNTIMES[runtime][column]))
    with np.load(folder / "expected.npz") as expected:
        images, outputs = expected["images"], expected["outputs"]
    if opened.dtype == "uint8":
        difference, images = None, np.random.default_rng(0).integers(0, 256, images.shape, dtype="uint8")
    else:
        difference = float(np.abs(opened.run(opened.as_input(images)) - outputs).max() / np.ptp(outputs))
    print(json.dumps(difference), file=channel, flush=True)
    for line in sys.stdin:
        batch = opened.as_input(np.resize(images, (int(line), *images.shape[1:])))
        opened.run(batch)  # allocates memory for the batch size, and fills the caches
        seconds: list[float] = []
        while not seconds or sum(seconds) < TURN:
            start = time.perf_counter()
            opened.run(batch)
            seconds.append(time.perf_counter() - start)
        print(json.dumps(float(np.median(seconds))), file=channel, flush=True)


class Subject(processes.Process):
    """A process that runs one file.

    Args:
        runtime: a key of `RUNTIMES`.
        column: name of the column.
        folder: with the network's files.
    """

    def __init__(self, runtime: str, column: str, folder: Path) -> None:
        super().__init__([__file__, "--serve", runtime, column, str(folder)])
        self.difference: float | None = json.loads(self.receive())

    def seconds(self, batch: int) -> float:
        """Return the seconds of a call."""
        time.sleep(REST)
        self.send(str(batch))
        return json.loads(self.receive())


def measure(name: str, runtime: str, folder: Path, batches: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Return the rows of a network in a runtime.

    Args:
        name: of the network.
        runtime: a key of `RUNTIMES`.
        folder: with the network's files.
        batches: sizes.
        rounds: turns of each file and batch size.
    """
    rows = []
    with contextlib.ExitStack() as stack:
        subjects = {}
        for column, file in RUNTIMES[runtime].items():
            if (folder / file).exists():
                subject = subjects[column] = Subject(runtime, column, folder)
                stack.callback(subject.close)
                if subject.difference is not None and not subject.difference < 1e-3:
                    raise SystemExit(f"{name}, {runtime}, {column}: outputs differ by {subject.difference}")
        for batch in batches:
            times: dict[str, list[float]] = {column: [] for column in subjects}
            for turn in range(rounds + 1):
                for column, subject in subjects.items():
                    seconds = subject.seconds(batch)
                    if turn > 0:  # the first turn warms the caches
                        times[column].append(seconds)
            others = [column for column in times if not column.startswith("ours")]
            best = min(others, key=lambda column: np.median(times[column])) if others else "ours"
            row = common.row(f"{name}, {runtime}, batch {batch}", times, "ours", best, GOAL if others else None)
            ours = row["seconds"]["ours"]
            rows.append({**row, "best other": best if others else None, "images a second": round(batch / ours, 1)})
    return rows


def make_folder(name: str, folder: Path) -> None:
    """Write all files of a network, and say which are missing.

    Args:
        name: of the network.
        folder: to write into.
    """
    for way in ("ours", "torch", "tf2onnx", "converter"):
        command = [sys.executable, __file__, "--write", name, str(folder), way]
        if way == "torch" and not importlib.util.find_spec("torch"):
            print(f"{name}: PyTorch is not installed, so torch.onnx's file is missing", flush=True)
            continue
        if way == "tf2onnx" and os.path.getsize(folder / "model.keras") / 4 > TF2ONNX_LIMIT:
            print(f"{name}: tf2onnx would need too much memory, so its file is missing", flush=True)
            continue
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
            print(f"{name}: no file by {way}: {reason}", flush=True)
            if way == "ours":
                raise SystemExit(1)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=NETWORKS, action="append", help="network")
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--runtime", choices=RUNTIMES, action="append")
    parser.add_argument("--files", type=Path, help="keep the files in this folder, and use those that are there")
    parser.add_argument("--write", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        name, folder, way = arguments.write
        return write_files(name, Path(folder), way)
    if arguments.serve:
        runtime, column, folder = arguments.serve
        return serve(runtime, column, Path(folder))
    runtimes = []
    for runtime in arguments.runtime or RUNTIMES:
        if importlib.util.find_spec(MODULES[runtime]):
            runtimes.append(runtime)
        else:
            print(f"{runtime} is not installed, so its rows are missing")
    rows = []
    for name in arguments.only or NETWORKS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = arguments.files / name if arguments.files else Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "model.keras").exists():
                make_folder(name, folder)
            for runtime in runtimes:
                rows += measure(name, runtime, folder, arguments.batch or BATCHES, arguments.rounds)
        # After each network, so that a failure loses nothing
        common.write("inference", rows, partial=bool(arguments.only or arguments.batch or arguments.runtime))


if __name__ == "__main__":
    main()
