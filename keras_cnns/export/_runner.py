"""One artifact, run by its own runtime. NumPy and that runtime only; nothing else of this package is imported.

A module of the package, and a program too, which verification and benchmarks start so that a runtime has a process of
its own:

    python -P _runner.py FORMAT PATH THREADS [MODULE...]

It reads one request a line from stdin, JSON, and answers each with a line on stdout. THREADS is 0 for the runtime's own
choice; a MODULE is for `_keras_runner`, which imports it.
"""

import json
import os
import sys
import time
import zipfile
from pathlib import Path

import numpy as np

CARD = "keras_cnns.json"  # what an artifact says of itself; also the key of ONNX's metadata
LABELS = "labels.txt"


class Runner:
    """An artifact that is loaded.

    Attributes:
        inputs, outputs: by name, {"dtype": ..., "shape": [...], "scale": ..., "zero_point": ...}; a free axis is None,
            and scale and zero point are None where values mean themselves.
        card: what the artifact says of itself; {} if another program wrote it.
        labels: text of its `labels.txt`; None if it has none.
        call: function from an array like the input to a dictionary of arrays, as the runtime takes and gives them.
    """

    def __init__(self, inputs, outputs, card, call, labels=None):
        self.inputs, self.outputs, self.card, self.call, self.labels = inputs, outputs, card, call, labels

    def __call__(self, image):
        """Return the outputs, by name, as float32.

        Args:
            image: array (batch, height, width, channels), whatever the artifact's layout: uint8 pixels, or float32 for
                an artifact that takes it. An integer input that stands for other numbers gets them by its scale.
        """
        if len(self.inputs) != 1:
            raise ValueError(f"it takes {sorted(self.inputs)}, and not one image")
        (given,) = self.inputs.values()
        image = fit(image, given, self.card.get("input", {}).get("layout"))
        return {
            name: real(values, self.outputs[name]) for name, values in self.call(np.ascontiguousarray(image)).items()
        }


def fit(image, given, layout=None):
    """Return images (batch, height, width, channels) as an input of that description takes them."""
    dtype = np.dtype(given["dtype"])
    if given["scale"] is not None and dtype != image.dtype:
        limits = np.iinfo(dtype)
        image = np.clip(np.round(image / given["scale"]) + given["zero_point"], limits.min, limits.max)
    if image.dtype != dtype and np.issubdtype(dtype, np.integer) and np.issubdtype(image.dtype, np.floating):
        if not np.array_equal(image, np.round(image)):
            raise ValueError(f"it takes {dtype} pixels, and these are fractions")
    image = image.astype(dtype, copy=False)
    return image.transpose(0, 3, 1, 2) if layout == "nchw" else image


def real(values, described):
    """Return the float32 numbers that an output stands for."""
    values = np.asarray(values)
    if described["scale"] is not None:
        values = (values.astype("float32") - described["zero_point"]) * np.float32(described["scale"])
    return values.astype("float32")


def open_saved_model(path, threads=0):
    """Return the `Runner` of a SavedModel's `serving_default`."""
    import tensorflow as tf

    limit_tensorflow(threads)
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]
    given = signature.structured_input_signature[1]
    inputs = {name: _described(spec.dtype.as_numpy_dtype, spec.shape.as_list()) for name, spec in given.items()}
    results = signature.structured_outputs
    outputs = {name: _described(spec.dtype.as_numpy_dtype, spec.shape.as_list()) for name, spec in results.items()}

    def call(image, loaded=loaded):  # the signature lives only as long as the object it came from
        return {name: value.numpy() for name, value in signature(**{next(iter(inputs)): tf.constant(image)}).items()}

    runner = Runner(inputs, outputs, read_card(path), call, read_member(path, LABELS))
    runner.loaded = loaded
    return runner


def limit_tensorflow(threads):
    """Let TensorFlow compute with so many threads; 0: its own choice. Before it computes anything."""
    if threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def open_tflite(path, threads=0):
    """Return the `Runner` of a TFLite file's `serving_default`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads or None)
    interpreter.allocate_tensors()  # here, where what it says to stderr is held back
    runner = interpreter.get_signature_runner("serving_default")

    def described(details):
        sides = details.get("shape_signature", details["shape"])
        shape = [None if side < 0 else int(side) for side in sides]
        scale, zero_point = details["quantization"]
        return _described(details["dtype"], shape, *((scale, zero_point) if scale else ()))

    inputs, outputs = (
        {name: described(one) for name, one in details.items()}
        for details in (runner.get_input_details(), runner.get_output_details())
    )
    labels = read_member(path, LABELS)
    return Runner(inputs, outputs, read_card(path), lambda image: runner(**{next(iter(inputs)): image}), labels)


def open_onnx(path, threads=0, fused=True):
    """Return the `Runner` of an ONNX file, with ONNX Runtime's optimizations of the graph or without any."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if fused else level.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def described(one):
        dtype = {"float": "float32", "float16": "float16"}.get(kind := one.type[7:-1], kind)
        return _described(dtype, [side if isinstance(side, int) else None for side in one.shape])

    inputs, outputs = (
        {one.name: described(one) for one in some} for some in (session.get_inputs(), session.get_outputs())
    )
    metadata = session.get_modelmeta().custom_metadata_map
    names = list(outputs)

    def call(image):
        return dict(zip(names, session.run(names, {next(iter(inputs)): image}), strict=True))

    return Runner(inputs, outputs, json.loads(metadata.get(CARD, "{}")), call, metadata.get(LABELS))


def open_unfused_onnx(path, threads=0):
    """Return the `Runner` of an ONNX file as it stands: no kernel computes two operators at once."""
    return open_onnx(path, threads, fused=False)


OPEN = {
    "saved_model": open_saved_model,
    "tflite": open_tflite,
    "onnx": open_onnx,
    "onnx-unfused": open_unfused_onnx,
}


def _described(dtype, shape, scale=None, zero_point=None):
    return {
        "dtype": np.dtype(dtype).name,
        "shape": list(shape),
        "scale": None if scale is None else float(scale),
        "zero_point": None if zero_point is None else int(zero_point),
    }


def read_card(path):
    """Return what a SavedModel or TFLite file says of itself; {} if another program wrote it."""
    return json.loads(read_member(path, CARD) or "{}")


def read_member(path, name):
    """Return the text that a SavedModel has among its assets, or a TFLite file in its zip; None if it has none."""
    path = Path(path)
    if path.is_dir():
        file = path / "assets" / name
        return file.read_text("utf8") if file.exists() else None
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.read(name).decode() if name in archive.namelist() else None


def in_batches(run, images, sizes=(1, 3), size=64):
    """Return an artifact's outputs for all images, in batches of 1, 3 and then 64, so that each size is tried.

    An artifact of a fixed batch gets that many each time; the last batch is filled up with its first image.
    """
    (given,) = run.inputs.values()
    fixed = given["shape"][0]
    parts, start = [], 0
    while start < len(images):
        count = fixed or (sizes[len(parts)] if len(parts) < len(sizes) else size)
        batch = images[start : start + count]
        if fixed and len(batch) < fixed:
            batch = np.concatenate([batch, np.repeat(batch[:1], fixed - len(batch), axis=0)])
        results = run(batch)
        parts.append({name: values[: len(images) - start] for name, values in results.items()})
        start += count
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def from_files(run, contents):
    """Return what a SavedModel's `serve_image_bytes` gives for image files."""
    import tensorflow as tf

    signature = run.loaded.signatures["serve_image_bytes"]
    (given,) = signature.structured_input_signature[1].values()
    count = given.shape[0] or len(contents)
    batches = [(contents[k : k + count] + contents[:1] * count)[:count] for k in range(0, len(contents), count)]
    results = [signature(image_bytes=tf.constant(batch)) for batch in batches]
    joined = {name: np.concatenate([one[name].numpy() for one in results])[: len(contents)] for name in results[0]}
    return {
        name: np.char.decode(values.astype("S"), "utf8") if values.dtype == object else values
        for name, values in joined.items()
    }


def timed(run, image, calls):
    """Return the seconds of each of so many calls with a batch, the runtime's own work alone."""
    (given,) = run.inputs.values()
    image = np.ascontiguousarray(fit(image, given, run.card.get("input", {}).get("layout")))
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        run.call(image)
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_memory():
    """Return the most bytes that this process has held in memory."""
    try:  # getrusage also counts what the parent held when it started this process
        text = Path("/proc/self/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def answer(run, request):
    """Return the answer to a request, {"do": "describe" | "run" | "files" | "time" | "memory", ...}."""
    if request["do"] == "describe":
        modules = sorted({name.partition(".")[0] for name in sys.modules})
        return {
            "inputs": run.inputs,
            "outputs": run.outputs,
            "card": run.card,
            "labels": run.labels,
            "modules": modules,
        }
    if request["do"] == "run":
        np.savez(request["outputs"], **in_batches(run, np.load(request["images"])))
        return {}
    if request["do"] == "files":
        np.savez(request["outputs"], **from_files(run, [Path(path).read_bytes() for path in request["images"]]))
        return {}
    if request["do"] == "time":
        return {"seconds": timed(run, np.load(request["images"]), request["calls"])}
    return {"bytes": peak_memory()}


def main():
    """Serve requests until stdin ends."""
    channel = os.fdopen(os.dup(1), "w")  # what a runtime prints must not come between the answers
    os.dup2(2, 1)
    run = None
    for line in sys.stdin:
        try:
            if run is None:
                format, path, threads = sys.argv[1:4]
                run = OPEN[format](path, int(threads))
            said = answer(run, json.loads(line))
        except Exception as error:  # whatever a runtime raises: who asked must hear of it
            said = {"error": type(error).__name__, "text": " ".join(str(error).split())[:300]}
            said["module"] = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        channel.write(json.dumps(said) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
