"""The formats and quantizations that a model can be exported to.

Command-line help, checks, the manual and the tests derive from these tables. Standard library only, because the help
of `cnn-export` reads them.
"""

import dataclasses

INPUT = "image"  # the name of every artifact's input
PROBABILITIES, LOGITS = "probabilities", "logits"  # the name of the main output of a classifier
OUTPUT = "output"  # the name of the main output of any other model

TOLERANCE = 1e-4  # how far float32 outputs may differ, relative to the largest of them if that is above one
ENOUGH_IMAGES = 200  # with fewer images than this, one may always get another class
LOST_TO_FUSION = 6.0  # decibels of a quantized artifact's signal-to-noise ratio that fused kernels may cost: one bit
ENOUGH_SIGNAL = 40.0  # decibels above which fused kernels pass, whatever the ratio is without them
KEPT_ACCURACY = 0.99  # share of the float32 model's accuracy that every artifact must keep


@dataclasses.dataclass(frozen=True)
class Quantization:
    """A way of storing numbers.

    Attributes:
        name: the value of `--quantize`.
        what: its meaning, in words.
        weight_bytes: bytes per weight in the file.
        agreement: smallest share of images that must get the float32 model's class.
        signal_to_noise: smallest ratio in decibels for outputs that are not class scores; None: not checked.
        calibrated: whether the ranges of activations are fitted on training images.
    """

    name: str
    what: str
    weight_bytes: int
    agreement: float
    signal_to_noise: float | None
    calibrated: bool = False


QUANTIZATIONS = {
    quantization.name: quantization
    for quantization in (
        Quantization("none", "float32 throughout", 4, 1.0, None),
        Quantization("float16", "weights in float16; in ONNX the arithmetic too", 2, 0.99, 40.0),
        Quantization("dynamic", "int8 weights, activations scaled per image", 1, 0.97, 15.0),
        Quantization("int8", "int8 weights per channel, int8 activations", 1, 0.97, 15.0, calibrated=True),
        Quantization("int16x8", "int8 weights per channel, int16 activations", 1, 0.99, 20.0, calibrated=True),
    )
}


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format of artifacts.

    Attributes:
        name: the value of `--format`.
        suffix: ending of the file's or folder's name.
        runtime: the usual name of the program that runs it.
        package: the pip package of that program.
        quantize: names of the `QUANTIZATIONS` that the format can hold.
        options: names of the options that apply to this format only.
        instead: for each quantization that is not offered, the reason.
    """

    name: str
    suffix: str
    runtime: str
    package: str
    quantize: tuple[str, ...]
    options: tuple[str, ...] = ()
    instead: dict[str, str] = dataclasses.field(default_factory=dict)


FORMATS = {
    format.name: format
    for format in (
        Format(
            "saved_model",
            "_saved_model",
            "tf.saved_model",
            "tensorflow",
            ("none",),
            instead=dict.fromkeys(QUANTIZATIONS, "TensorFlow would only compute in float32 again"),
        ),
        Format(
            "tflite",
            ".tflite",
            "LiteRT",
            "ai-edge-litert",
            ("none", "float16", "dynamic", "int8", "int16x8"),
            options=("integer_only", "c_array"),
        ),
        Format(
            "onnx",
            ".onnx",
            "ONNX Runtime",
            "onnxruntime",
            ("none", "float16", "int8"),
            options=("opset", "layout", "target"),
            instead={
                "dynamic": "ONNX Runtime's dynamic int8 is slower than float32, and sometimes wrong",
                "int16x8": "ONNX Runtime has no kernels for it",
            },
        ),
    )
}

# Opset 13 introduced scales per channel. Above 17, `onnx.version_converter` converts what tf2onnx wrote.
OPSETS = range(13, 24)
OPSET = 17  # the default: with 18, tf2onnx puts transposes around global pooling
OPSET_INT8 = 19  # the default for int8: below 19, onnx's reference evaluator has no DequantizeLinear

# Processors that an int8 ONNX file can be made for, and the bits of its weights there. Without VNNI, x86's int8
# kernels add two products in 16 bits, which hold 2 * 255 * 64 but not 2 * 255 * 127.
TARGETS = {"vnni": 8, "avx2": 7, "arm": 8}
LAYOUTS = ("nhwc", "nchw")
INPUT_TYPES = ("uint8", "float32", "int8")

# From each option that applies to one format only to the name of that format
OWNERS = {option: format.name for format in FORMATS.values() for option in format.options}


def format_table() -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of the manual's table of formats."""
    columns = ("format", "file", "runtime", *QUANTIZATIONS, "options")
    rows = [
        (
            format.name,
            f"NAME{format.suffix}",
            f"{format.runtime} ({format.package})",
            *("yes" if name in format.quantize else "-" for name in QUANTIZATIONS),
            ", ".join(f"--{option.replace('_', '-')}" for option in format.options) or "-",
        )
        for format in FORMATS.values()
    ]
    return columns, rows
