"""The writer of each format.

A writer is imported when its format is first written, because TensorFlow, tf2onnx and ONNX Runtime load slowly.
"""

from collections.abc import Callable
from pathlib import Path

from keras_cnns.export._prepared import Job


def write_saved_model(job: Job, path: Path) -> None:
    """Write a SavedModel folder; see `_saved_model.write`."""
    from keras_cnns.export import _saved_model

    _saved_model.write(job, path)


def write_tflite(job: Job, path: Path) -> None:
    """Write a TFLite file; see `_tflite.write`."""
    from keras_cnns.export import _tflite

    _tflite.write(job, path)


def write_onnx(job: Job, path: Path) -> None:
    """Write an ONNX file; see `_onnx_file.write`."""
    from keras_cnns.export import _onnx_file

    _onnx_file.write(job, path)


WRITERS: dict[str, Callable[[Job, Path], None]] = {
    "saved_model": write_saved_model,
    "tflite": write_tflite,
    "onnx": write_onnx,
}
