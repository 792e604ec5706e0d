"""The formats that a model can be exported to. Standard library only: the help of `cnn-export` reads it."""

import dataclasses

INPUT = "image"  # the name of every artifact's input
PROBABILITIES = "probabilities"  # of its output, if the model is a classifier
OUTPUT = "output"  # of its output, if it is not


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: as `--format` takes it.
        suffix: of the file or folder.
        runtime: the program that runs it, as people call it.
    """

    name: str
    suffix: str
    runtime: str


FORMATS = {
    one.name: one
    for one in (
        Format("saved_model", "_saved_model", "tf.saved_model"),
        Format("tflite", ".tflite", "LiteRT"),
        Format("onnx", ".onnx", "ONNX Runtime"),
    )
}
