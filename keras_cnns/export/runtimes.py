"""Each artifact run by its own runtime: what the format's users will run it with."""

from pathlib import Path

from keras_cnns._quiet import quiet
from keras_cnns.errors import ArgumentError
from keras_cnns.export.formats import FORMATS, INPUT


def open_artifact(path, format=None):
    """Return a function that runs an artifact.

    Args:
        path: of the artifact.
        format: a name of `FORMATS`; None: told by the suffix.

    Returns:
        A function from uint8 pictures (batch, height, width, channels) to a dictionary from output name to
        float32 array. It refuses an artifact whose input is not called `image`.

    Raises:
        ArgumentError: for a format that is not known.
    """
    format = format or next((name for name, one in FORMATS.items() if str(path).endswith(one.suffix)), None)
    runners = {"saved_model": _saved_model, "tflite": _tflite, "onnx": _onnx}
    if format not in runners:
        raise ArgumentError(f"an artifact is one of {', '.join(FORMATS)}. Received: path={str(path)!r}")
    with quiet():
        return runners[format](Path(path))


def _saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures["serving_default"]

    def run(images, loaded=loaded):  # the signature lives only as long as the object it came from
        return {name: value.numpy() for name, value in signature(**{INPUT: tf.constant(images)}).items()}

    return run


def _tflite(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()  # here, where what it says to stderr is held back
    runner = interpreter.get_signature_runner("serving_default")
    return lambda images: runner(**{INPUT: images})


def _onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True))
