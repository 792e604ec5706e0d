"""What `export_model` and `cnn-export` can be told, and which of it makes sense together. Standard library only."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_cnns.errors import ArgumentError, SourceError, nearest
from keras_cnns.export.formats import FORMATS, INPUT_TYPES, LAYOUTS, OPSETS, OWNERS, QUANTIZATIONS, TARGETS


@dataclasses.dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        quantize: a name of `QUANTIZATIONS`.
        io: type of the input: "uint8" (pixels as a camera gives them), "float32" (the same numbers), "int8" (pixels
            minus 128, for `quantize="int8"` in TFLite); None: "uint8", without preprocessing "float32". The output is
            float32; with `io="int8"` or `integer_only` it has the input's type.
        batch: images at a time; None: any number (with `integer_only` one, as such files are static).
        input_size: side of the images in pixels, for a model whose height and width are free.
        preprocess: whether the preprocessing is in the artifact; if not, it takes normalized float32.
        bake_whitening: whether a preprocessing that whitens images may be in the artifact, with its matrix.
        logits: whether to leave out the last softmax.
        auxiliary: whether to keep auxiliary heads, as further outputs.
        labels: class names, in the order of the outputs; None: those that the model carries.
        opset: version of ONNX's operators.
        layout: of ONNX's input, "nhwc" or "nchw".
        target: processor that an int8 ONNX file is for, a name of `TARGETS`: "vnni" and "arm" get weights of 8 bits,
            "avx2", whose int8 kernels would saturate with these, of 7 bits; None: any of them, so 7 bits.
        integer_only: whether the TFLite file must be integer from input to output.
        c_array: whether to write the TFLite file as a C array too, NAME.cc and NAME.h, for microcontrollers.
        calibration: a source of images, as `data.open_source` takes it, whose training split the ranges are fitted
            on, a folder of images without class folders, or a uint8 array (images, height, width, channels); None: the
            source that the model was trained on.
        calibration_samples: how many images of it.
        seed: which ones.
        verify: whether to run the artifact and compare it with the model.
        verify_data: a source of images to verify on; None: the model's own, or some that are always there.
        data_dir: for tensorflow-datasets.
        tolerance: what float32 outputs may differ by, times the largest of them where that is above one; None: 1e-4.
        min_agreement: least share of images that must get the model's class; None: that of `quantize`.
    """

    quantize: str = "none"
    io: str | None = None
    batch: int | None = None
    input_size: int | None = None
    preprocess: bool = True
    bake_whitening: bool = False
    logits: bool = False
    auxiliary: bool = False
    labels: Sequence[str] | None = None
    opset: int | None = None
    layout: str | None = None
    target: str | None = None
    integer_only: bool = False
    c_array: bool = False
    calibration: Any = None
    calibration_samples: int = 200
    seed: int = 0
    verify: bool = True
    verify_data: str | None = None
    data_dir: str | None = None
    tolerance: float | None = None
    min_agreement: float | None = None

    def check(self, formats):
        """Raise ArgumentError, with the reason, for what cannot be done or makes no sense together.

        Args:
            formats: names of `FORMATS`.
        """
        self._check_values()
        for name in formats:
            _one_of("format", name, FORMATS)
            one = FORMATS[name]
            if self.quantize not in one.quantize:
                able = " or ".join(other.name for other in FORMATS.values() if self.quantize in other.quantize)
                raise ArgumentError(
                    f"{one.runtime} files are not written with --quantize {self.quantize}: {one.instead[self.quantize]}"
                    f"; choose {' or '.join(one.quantize)}, or the format {able}. "
                    f"Received: format={name}, quantize={self.quantize}"
                )
        for option, owner in OWNERS.items():
            # They may stand beside other formats, which have no choice there
            if getattr(self, option) and formats and owner not in formats:
                raise ArgumentError(
                    f"--{option.replace('_', '-')} is a matter of the format {owner}. "
                    f"Received: {option}={getattr(self, option)}, format={', '.join(formats)}"
                )
        self._check_integers(formats)
        scaled = self.quantize == "int8" and set(formats) == {"tflite"}  # there integers stand for other numbers
        if self.preprocess is False and self.io == "uint8" and not scaled:
            raise ArgumentError(
                "without preprocessing the artifact takes normalized values, which no uint8 holds: leave out --io, or "
                "keep the preprocessing. Received: io=uint8, preprocess=False"
            )

    def _check_values(self):
        _one_of("quantize", self.quantize, QUANTIZATIONS)
        for name, known in (("io", INPUT_TYPES), ("layout", LAYOUTS), ("opset", OPSETS), ("target", TARGETS)):
            if getattr(self, name) is not None:
                _one_of(name, getattr(self, name), known)
        for name in ("batch", "input_size", "calibration_samples"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ArgumentError(f"`{name}` must be a whole number of at least 1. Received: {name}={value!r}")
        for name in ("tolerance", "min_agreement"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ArgumentError(f"`{name}` must lie between 0 and 1. Received: {name}={value!r}")
        if self.target is not None and self.quantize != "int8":
            raise ArgumentError(
                "`target` decides the bits of int8 weights; leave it out, or choose --quantize int8. "
                f"Received: quantize={self.quantize}, target={self.target}"
            )
        if self.calibration is not None and not QUANTIZATIONS[self.quantize].calibrated:
            needing = " or ".join(one.name for one in QUANTIZATIONS.values() if one.calibrated)
            raise ArgumentError(
                f"calibration images are for --quantize {needing}; nothing is fitted otherwise. "
                f"Received: quantize={self.quantize}, calibration={_short(self.calibration)}"
            )

    def _check_integers(self, formats):
        if self.io == "int8" and (self.quantize != "int8" or set(formats) != {"tflite"}):
            raise ArgumentError(
                "an int8 input is for TFLite files with --quantize int8; ONNX's quantized files take uint8 or float32. "
                f"Received: io=int8, quantize={self.quantize}, format={', '.join(formats)}"
            )
        if not self.integer_only:
            return
        for name, wrong, cure in (
            ("quantize", self.quantize != "int8", "int8"),
            ("format", set(formats) != {"tflite"}, "tflite"),
            ("io", self.io == "float32", "uint8 or int8"),
        ):
            if wrong:
                value = ", ".join(formats) if name == "format" else getattr(self, name)
                raise ArgumentError(
                    f"a file that is integer from input to output needs --{name} {cure}. "
                    f"Received: integer_only=True, {name}={value}"
                )

    @property
    def input_type(self):
        """The input's dtype: that of `io`, or what fits `preprocess`."""
        return self.io or ("uint8" if self.preprocess else "float32")

    @property
    def weight_bits(self):
        """Bits of an int8 ONNX file's weights: 7 where the target is unknown, as 8 are wrong on some processors."""
        return TARGETS[self.target or "avx2"]

    @property
    def integer_output(self):
        """Whether the output has the input's integer type."""
        return self.integer_only or self.io == "int8"

    @property
    def static_batch(self):
        """Images at a time, None for any number."""
        return 1 if self.batch is None and self.integer_only else self.batch

    def to_json(self):
        """Return a dictionary of JSON values; a calibration array is told by its shape."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["labels"] = self.labels and list(self.labels)
        if self.calibration is not None:
            values["calibration"] = _short(self.calibration)
        for name, kind in (("data_dir", str), ("verify_data", str), ("tolerance", float), ("min_agreement", float)):
            values[name] = None if values[name] is None else kind(values[name])
        return values


def read_labels(path):
    """Return the class names in a text file, one a line.

    Raises:
        SourceError: if the file cannot be read.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Give a text file in UTF-8 with one "
            "class name a line."
        ) from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise SourceError(f"{path}: is empty. Give a text file in UTF-8 with one class name a line.")
    return names


def _short(calibration):
    shape = getattr(calibration, "shape", None)
    return str(calibration) if shape is None else f"array of shape {tuple(shape)}"


def _one_of(name, value, known):
    if value not in known:
        raise ArgumentError(
            f"`{name}` must be one of {', '.join(map(str, known))}.{nearest(value, map(str, known))} "
            f"Received: {name}={value!r}"
        )
