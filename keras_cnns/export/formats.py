"""What a model can be exported to: the one table that help, checks, manual and tests derive from.

Standard library only: the help of `cnn-export` reads it.
"""

import dataclasses

INPUT = "image"  # the name of every artifact's input
PROBABILITIES, LOGITS = "probabilities", "logits"  # of its output, if the model is a classifier
OUTPUT = "output"  # of its output, if it is not

TOLERANCE = 1e-4  # of float32 outputs, times the largest of them where that is above one
ENOUGH_IMAGES = 200  # to measure an agreement on; on fewer, one image may differ
LOST_TO_FUSION = 6.0  # decibels of a quantized artifact's signal-to-noise that fused kernels may cost: one bit
ENOUGH_SIGNAL = 40.0  # decibels at which noise decides nothing, whatever it was without them
KEPT_ACCURACY = 0.99  # share of float32's that every artifact must keep


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How numbers are stored.

    Attributes:
        name: as `--quantize` takes it.
        what: it means, in words.
        weight_bytes: that a weight takes in the file.
        agreement: least share of images that must get the float32 model's class.
        signal_to_noise: decibels that outputs must have at least where they tell no classes apart.
        calibrated: whether images of the training split are needed to fit the ranges of activations.
    """

    name: str
    what: str
    weight_bytes: int
    agreement: float
    signal_to_noise: float | None
    calibrated: bool = False


QUANTIZATIONS = {
    one.name: one
    for one in (
        Quantization("none", "float32 throughout", 4, 1.0, None),
        Quantization("float16", "weights in float16; in ONNX the arithmetic too", 2, 0.99, 40.0),
        Quantization("dynamic", "int8 weights, activations scaled image by image", 1, 0.97, 15.0),
        Quantization("int8", "int8 weights by channel, int8 activations", 1, 0.97, 15.0, calibrated=True),
        Quantization("int16x8", "int8 weights by channel, int16 activations", 1, 0.99, 20.0, calibrated=True),
    )
}


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: as `--format` takes it.
        suffix: of the file or folder.
        runtime: the program that runs it, as people call it.
        package: that has the runtime, as pip calls it.
        quantize: names of `QUANTIZATIONS` that it can hold.
        options: the options that are its own.
        instead: by option value, why it is not offered.
    """

    name: str
    suffix: str
    runtime: str
    package: str
    quantize: tuple[str, ...]
    options: tuple[str, ...] = ()
    instead: dict[str, str] = dataclasses.field(default_factory=dict)


FORMATS = {
    one.name: one
    for one in (
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

OPSETS = range(13, 24)  # 13 has scales by channel; above 17 `onnx.version_converter` converts what tf2onnx wrote
OPSET = 17  # unless another is asked for: with 18 tf2onnx puts transposes around global pooling
OPSET_INT8 = 19  # below 19, onnx's own reference evaluator has no DequantizeLinear
# Processors that an int8 ONNX file is made for, and the bits of its weights there. Without VNNI, x86's int8 kernels add
# two products in 16 bits, into which 2 * 255 * 64 fits and 2 * 255 * 127 does not.
TARGETS = {"vnni": 8, "avx2": 7, "arm": 8}
LAYOUTS = ("nhwc", "nchw")
INPUT_TYPES = ("uint8", "float32", "int8")


OWNERS = {option: one.name for one in FORMATS.values() for option in one.options}  # of options that are one format's


def table():
    """Return (columns, rows) of the formats as text, as the manual shows them."""
    columns = ("format", "file", "runtime", *QUANTIZATIONS, "options of its own")
    rows = [
        (
            one.name,
            f"NAME{one.suffix}",
            f"{one.runtime} ({one.package})",
            *("yes" if name in one.quantize else "-" for name in QUANTIZATIONS),
            ", ".join(f"--{option.replace('_', '-')}" for option in one.options) or "-",
        )
        for one in FORMATS.values()
    ]
    return columns, rows
