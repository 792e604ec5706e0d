"""Run one artifact in its own runtime.

The file is a module and the program of a child process.

Verification and benchmarks start this file as a program, so that each runtime has a process to itself:

    python -P _runner.py FORMAT PATH THREADS [MODULE...]

It reads one JSON request per line from stdin and answers each with one line on stdout. THREADS is 0 for the runtime's
default. Each MODULE is imported by `_keras_runner`. This file imports NumPy and the runtime, and nothing else of the
package, so that the process holds the runtime alone.
"""

import gc
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

CARD = "keras_cnns.json"  # the artifact's description of itself; also its key in ONNX metadata
LABELS = "labels.txt"

Description = dict[str, Any]  # of an input or output: {"dtype", "shape", "scale", "zero_point"}
Outputs = dict[str, np.ndarray]


class Runner:
    """A loaded artifact, which is called with images.

    Attributes:
        inputs, outputs: from each name to {"dtype": ..., "shape": [...], "scale": ..., "zero_point": ...}. A free axis
            is None. Scale and zero point are None unless integers are quantized numbers.
        card: the artifact's description of itself; {} if another program wrote it.
        labels: text of its `labels.txt`; None if it has none.
        call: function from an input array to a dictionary of output arrays, in the runtime's own types.
        loaded: the object of a loaded SavedModel; None for other formats.
    """

    def __init__(
        self,
        inputs: dict[str, Description],
        outputs: dict[str, Description],
        card: dict[str, Any],
        call: Callable[[np.ndarray], Mapping[str, np.ndarray]],
        labels: str | None = None,
        loaded: Any = None,
    ):
        self.inputs, self.outputs, self.card, self.call, self.labels = inputs, outputs, card, call, labels
        self.loaded = loaded

    @property
    def input(self) -> Description:
        """The description of the only input."""
        (description,) = self.inputs.values()
        return description

    def as_input(self, images: np.ndarray) -> np.ndarray:
        """Return images (batch, height, width, channels) in the input's type and layout."""
        return np.ascontiguousarray(as_input(images, self.input, self.card.get("input", {}).get("layout")))

    def __call__(self, images: np.ndarray) -> Outputs:
        """Return the outputs by name, as float32.

        Args:
            images: array (batch, height, width, channels), whatever the artifact's layout. Its values are uint8
                pixels, or float32 for an artifact with a float32 input. A quantized input is quantized here.
        """
        if len(self.inputs) != 1:
            raise ValueError(f"it takes {sorted(self.inputs)}, and not one image")
        outputs = self.call(self.as_input(images))
        return {name: dequantize(values, self.outputs[name]) for name, values in outputs.items()}


def as_input(images: np.ndarray, description: Description, layout: str | None = None) -> np.ndarray:
    """Return images in the type and layout of an input.

    Args:
        images: array (batch, height, width, channels).
        description: the input's entry in `Runner.inputs`.
        layout: "nchw" to move the channels first.

    Raises:
        ValueError: if the input takes integers and the images hold fractions.
    """
    dtype = np.dtype(description["dtype"])
    if description["scale"] is not None and dtype != images.dtype:
        limits = np.iinfo(description["dtype"])
        quantized = np.round(images / description["scale"]) + description["zero_point"]
        images = np.clip(quantized, limits.min, limits.max)
    if images.dtype != dtype and np.issubdtype(dtype, np.integer) and np.issubdtype(images.dtype, np.floating):
        if not np.array_equal(images, np.round(images)):
            raise ValueError(f"it takes {dtype} pixels, and these are fractions")
    images = images.astype(dtype, copy=False)
    return images.transpose(0, 3, 1, 2) if layout == "nchw" else images


def dequantize(values: Any, description: Description) -> np.ndarray:
    """Return an output as float32, with its scale and zero point applied.

    Args:
        values: array, or anything that NumPy makes one of.
        description: the output's entry in `Runner.outputs`.
    """
    values = np.asarray(values)
    if description["scale"] is not None:
        values = (values.astype("float32") - description["zero_point"]) * np.float32(description["scale"])
    return values.astype("float32")


def open_saved_model(path: str | Path, threads: int = 0) -> Runner:
    """Return the `Runner` of a SavedModel's `serving_default`."""
    import tensorflow as tf

    limit_tensorflow(threads)
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    inputs, outputs = (
        {name: _describe(spec.dtype.as_numpy_dtype, spec.shape.as_list()) for name, spec in specs.items()}
        for specs in (signature.structured_input_signature[1], signature.structured_outputs)
    )

    def call(images):
        return {name: value.numpy() for name, value in signature(**{next(iter(inputs)): tf.constant(images)}).items()}

    # The runner keeps the loaded object, because the signature lives only as long as that does
    return Runner(inputs, outputs, read_card(path), call, read_member(path, LABELS), loaded)


def limit_tensorflow(threads: int) -> None:
    """Limit TensorFlow's threads, before it computes anything.

    Args:
        threads: how many; 0 leaves TensorFlow's default.
    """
    if threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def open_tflite(path: str | Path, threads: int = 0) -> Runner:
    """Return the `Runner` of a TFLite file's `serving_default`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads or None)
    interpreter.allocate_tensors()  # now, while the caller holds back what this writes to stderr
    signature = interpreter.get_signature_runner("serving_default")

    def describe(details):
        sides = details.get("shape_signature", details["shape"])
        shape = [None if side < 0 else int(side) for side in sides]
        scale, zero_point = details["quantization"]
        return _describe(details["dtype"], shape, *((scale, zero_point) if scale else ()))

    inputs, outputs = (
        {name: describe(tensor) for name, tensor in details.items()}
        for details in (signature.get_input_details(), signature.get_output_details())
    )

    def call(images):
        return signature(**{next(iter(inputs)): images})

    return Runner(inputs, outputs, read_card(path), call, read_member(path, LABELS))


def open_onnx(path: str | Path, threads: int = 0, fused: bool = True) -> Runner:
    """Return the `Runner` of an ONNX file.

    Args:
        path: the file.
        threads: how many the runtime may use; 0: its default.
        fused: whether ONNX Runtime optimizes the graph, which fuses operators; with False it runs the graph as it is.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if fused else level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def describe(tensor):
        kind = tensor.type.removeprefix("tensor(").removesuffix(")")
        dtype = {"float": "float32", "float16": "float16"}.get(kind, kind)
        return _describe(dtype, [side if isinstance(side, int) else None for side in tensor.shape])

    inputs = {tensor.name: describe(tensor) for tensor in session.get_inputs()}
    outputs = {tensor.name: describe(tensor) for tensor in session.get_outputs()}
    metadata = session.get_modelmeta().custom_metadata_map
    names = list(outputs)

    def call(images):
        return dict(zip(names, session.run(names, {next(iter(inputs)): images}), strict=True))

    return Runner(inputs, outputs, json.loads(metadata.get(CARD, "{}")), call, metadata.get(LABELS))


def open_unfused_onnx(path: str | Path, threads: int = 0) -> Runner:
    """Return the `Runner` of an ONNX file whose operators are not fused."""
    return open_onnx(path, threads, fused=False)


OPENERS: dict[str, Callable[..., Runner]] = {
    "saved_model": open_saved_model,
    "tflite": open_tflite,
    "onnx": open_onnx,
    "onnx-unfused": open_unfused_onnx,
}


def _describe(dtype, shape, scale=None, zero_point=None) -> Description:
    return {
        "dtype": np.dtype(dtype).name,
        "shape": list(shape),
        "scale": None if scale is None else float(scale),
        "zero_point": None if zero_point is None else int(zero_point),
    }


def read_card(path: str | Path) -> dict[str, Any]:
    """Return the card of a SavedModel or TFLite file; {} without one."""
    return json.loads(read_member(path, CARD) or "{}")


def read_member(path: str | Path, name: str) -> str | None:
    """Return a text from a SavedModel's assets or a TFLite file's zip.

    Args:
        path: folder of the SavedModel, or the TFLite file.
        name: name of the asset or zip member.

    Returns:
        The text; None if there is none of that name.
    """
    path = Path(path)
    if path.is_dir():
        file = path / "assets" / name
        return file.read_text("utf8") if file.exists() else None
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode() if name in archive.namelist() else None


def run_in_batches(
    runner: Runner, images: np.ndarray, first_sizes: Sequence[int] = (1, 3), batch_size: int = 64
) -> Outputs:
    """Return the outputs for all images, computed in batches of several sizes.

    An artifact with a fixed batch size gets that size each time; the last batch is padded with its first image.

    Args:
        runner: the artifact.
        images: array (images, height, width, channels).
        first_sizes: sizes of the first batches, so that each of them is tried.
        batch_size: size of the later batches.
    """
    fixed = runner.input["shape"][0]
    parts: list[Outputs] = []
    start = 0
    while start < len(images):
        count = fixed or (first_sizes[len(parts)] if len(parts) < len(first_sizes) else batch_size)
        batch = images[start : start + count]
        if fixed and len(batch) < fixed:
            batch = np.concatenate([batch, np.repeat(batch[:1], fixed - len(batch), axis=0)])
        parts.append({name: values[: len(images) - start] for name, values in runner(batch).items()})
        start += count
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def run_files(runner: Runner, contents: list[bytes]) -> Outputs:
    """Return the outputs of `serve_image_bytes` for image files.

    Args:
        runner: a SavedModel.
        contents: the contents of the image files.
    """
    import tensorflow as tf

    signature = runner.loaded.signatures["serve_image_bytes"]
    (spec,) = signature.structured_input_signature[1].values()
    count = spec.shape[0] or len(contents)
    batches = [(contents[k : k + count] + contents[:1] * count)[:count] for k in range(0, len(contents), count)]
    parts = [signature(image_bytes=tf.constant(batch)) for batch in batches]
    outputs = {name: np.concatenate([part[name].numpy() for part in parts])[: len(contents)] for name in parts[0]}
    return {
        name: np.char.decode(values.astype("S"), "utf8") if values.dtype == object else values
        for name, values in outputs.items()
    }


def time_calls(runner: Runner, images: np.ndarray, calls: int) -> list[float]:
    """Return the seconds of each of several calls with one batch.

    Args:
        runner: the artifact.
        images: the batch; its conversion to the input's type is not timed.
        calls: number of calls.
    """
    batch = runner.as_input(images)
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        runner.call(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_memory() -> int:
    """Return the peak memory of this process, in bytes."""
    try:  # getrusage would also count the memory that the parent held when it started this process
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def answer(runner: Runner, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request.

    Args:
        runner: the artifact.
        request: {"do": "describe" | "run" | "files" | "time" | "memory", ...} with the arguments of that action.
    """
    if request["do"] == "describe":
        modules = sorted({name.partition(".")[0] for name, module in sys.modules.items() if module})
        description = {name: getattr(runner, name) for name in ("inputs", "outputs", "card", "labels")}
        return {**description, "modules": modules}
    if request["do"] == "run":
        return _save(request["outputs"], run_in_batches(runner, np.load(request["images"])))
    if request["do"] == "files":
        return _save(request["outputs"], run_files(runner, [Path(path).read_bytes() for path in request["images"]]))
    if request["do"] == "time":
        return {"seconds": time_calls(runner, np.load(request["images"]), request["calls"])}
    return {"bytes": peak_memory()}


def _save(path, outputs):
    np.savez(path, **outputs)
    return {}


def main(openers: Mapping[str, Callable[..., Runner]] = OPENERS) -> None:
    """Serve requests until stdin ends.

    Args:
        openers: from FORMAT to the function that opens an artifact.
    """
    channel = os.fdopen(os.dup(1), "w")  # a copy of stdout, so that what a runtime prints never mixes with answers
    os.dup2(2, 1)
    if openers is OPENERS:
        # TensorFlow imports these where they are installed, for parts that are not used here: a third of its time
        sys.modules.update(dict.fromkeys(("jax", "matplotlib", "sklearn")))  # type: ignore[arg-type]
    runner = None
    for line in sys.stdin:
        try:
            if runner is None:
                format, path, threads = sys.argv[1:4]
                gc.disable()  # What an import makes stays: looking through it is a fifth of TensorFlow's time
                runner = openers[format](path, int(threads))
                gc.enable()
            reply = answer(runner, json.loads(line))
        except Exception as error:  # whatever a runtime raises is reported to the parent process
            reply = {"error": type(error).__name__, "text": " ".join(str(error).split())[:300]}
            reply["module"] = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        channel.write(json.dumps(reply) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
