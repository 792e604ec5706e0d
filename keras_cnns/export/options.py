"""The options of an export. Standard library only."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from keras_cnns import typing
from keras_cnns.errors import ArgumentError, SourceError, nearest
from keras_cnns.export.formats import FORMATS, INPUT_TYPES, LAYOUTS, OPSETS, OWNERS, QUANTIZATIONS, TARGETS


@dataclasses.dataclass(frozen=True)
class Options:
    """How artifacts are exported and verified.

    Attributes:
        quantize: a name of `QUANTIZATIONS`.
        io: type of the input: "uint8" (pixels), "float32" (the same numbers), or "int8" (pixels minus 128, for
            `quantize="int8"` in TFLite). None: "uint8", or "float32" without preprocessing. The output is float32;
            with `io="int8"` or `integer_only` it has the input's type.
        batch: fixed batch size. None: any size, or 1 with `integer_only`, because such files are static.
        input_size: height and width of the images in pixels, for a model whose height and width are free.
        preprocess: whether the artifact holds the preprocessing; without it, it takes normalized float32 images.
        bake_whitening: whether the artifact may hold a preprocessing that whitens images, with its matrix.
        logits: whether to leave out the last softmax.
        auxiliary: whether to keep auxiliary heads, as further outputs.
        labels: class names, in the order of the outputs; None: those that the model carries.
        opset: version of ONNX's operators; None: 17, or 19 for int8.
        layout: layout of the ONNX input, "nhwc" or "nchw"; None: "nhwc".
        target: processor that an int8 ONNX file is for, a name of `TARGETS`. "vnni" and "arm" get weights of 8 bits.
            "avx2" gets weights of 7 bits, because its int8 kernels would saturate with 8. None: any processor, so 7.
        integer_only: whether the TFLite file must compute with integers from input to output.
        c_array: whether to write the TFLite file as a C array too, NAME.cc and NAME.h, for microcontrollers.
        calibration: images that the ranges of activations are fitted on. A source as `data.open_source` takes it,
            whose training split is used; a folder of images without class folders; or a uint8 array (images, height,
            width, channels). None: the source that the model was trained on.
        calibration_samples: number of calibration images.
        seed: seed of the choice of calibration images.
        verify: whether to run the artifact and compare it with the model.
        verify_data: a source of images to verify on; None: the images that the model was tested on, or some of
            scikit-learn's.
        data_dir: folder of tensorflow-datasets.
        tolerance: how far float32 outputs may differ, relative to the largest of them if that is above one; None: 1e-4.
        min_agreement: smallest share of images that must get the model's class; None: that of `quantize`.

    Examples:
        >>> from keras_cnns import export
        >>> options = export.Options(quantize="int8", integer_only=True)  # for export.export_model(..., options)
        >>> options.static_batch
        1
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
    verify_data: typing.Path | None = None
    data_dir: typing.Path | None = None
    tolerance: float | None = None
    min_agreement: float | None = None

    @property
    def input_type(self) -> str:
        """The input's dtype, either `io` or what fits `preprocess`."""
        return self.io or ("uint8" if self.preprocess else "float32")

    @property
    def weight_bits(self) -> int:
        """Bits of an int8 ONNX file's weights.

        With an unknown target they are 7, because 8 give wrong results on some processors.
        """
        return TARGETS[self.target or "avx2"]

    @property
    def integer_output(self) -> bool:
        """Whether the output has the input's integer type."""
        return self.integer_only or self.io == "int8"

    @property
    def static_batch(self) -> int | None:
        """The fixed batch size; None if any size is accepted."""
        return 1 if self.batch is None and self.integer_only else self.batch

    def check(self, formats: Iterable[str]) -> None:
        """Raise ArgumentError for values that are invalid or do not fit together.

        Args:
            formats: names of `FORMATS`.
        """
        formats = list(formats)
        self._check_choices()
        self._check_numbers()
        self._check_int8_options()
        self._check_formats(formats)
        self._check_owners(formats)
        self._check_int8_input(formats)
        self._check_integer_only(formats)
        self._check_uint8_input(formats)

    def _check_choices(self):
        _check_choice("quantize", self.quantize, QUANTIZATIONS)
        for name, choices in (("io", INPUT_TYPES), ("layout", LAYOUTS), ("opset", OPSETS), ("target", TARGETS)):
            if getattr(self, name) is not None:
                _check_choice(name, getattr(self, name), choices)

    def _check_numbers(self):
        for name in ("batch", "input_size", "calibration_samples"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ArgumentError(f"`{name}` must be a whole number of at least 1. Received: {name}={value!r}")
        for name in ("tolerance", "min_agreement"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ArgumentError(f"`{name}` must lie between 0 and 1. Received: {name}={value!r}")

    def _check_int8_options(self):
        if self.target is not None and self.quantize != "int8":
            raise ArgumentError(
                "`target` decides the bits of int8 weights; leave it out, or choose --quantize int8. "
                f"Received: quantize={self.quantize}, target={self.target}"
            )
        if self.calibration is not None and not QUANTIZATIONS[self.quantize].calibrated:
            calibrated = " or ".join(
                quantization.name for quantization in QUANTIZATIONS.values() if quantization.calibrated
            )
            raise ArgumentError(
                f"calibration images are for --quantize {calibrated}; nothing is fitted otherwise. "
                f"Received: quantize={self.quantize}, calibration={_describe(self.calibration)}"
            )

    def _check_formats(self, formats):
        for name in formats:
            _check_choice("format", name, FORMATS)
            format = FORMATS[name]
            if self.quantize not in format.quantize:
                others = " or ".join(other.name for other in FORMATS.values() if self.quantize in other.quantize)
                raise ArgumentError(
                    f"{format.runtime} files are not written with --quantize {self.quantize}: "
                    f"{format.instead[self.quantize]}; choose {' or '.join(format.quantize)}, or the format {others}. "
                    f"Received: format={name}, quantize={self.quantize}"
                )

    def _check_owners(self, formats):
        """Refuse options of formats that are not written."""
        for option, owner in OWNERS.items():
            if getattr(self, option) and formats and owner not in formats:
                raise ArgumentError(
                    f"--{option.replace('_', '-')} applies to the format {owner} only. "
                    f"Received: {option}={getattr(self, option)}, format={', '.join(formats)}"
                )

    def _check_int8_input(self, formats):
        if self.io == "int8" and (self.quantize != "int8" or set(formats) != {"tflite"}):
            raise ArgumentError(
                "an int8 input is for TFLite files with --quantize int8; ONNX's quantized files take uint8 or float32. "
                f"Received: io=int8, quantize={self.quantize}, format={', '.join(formats)}"
            )

    def _check_integer_only(self, formats):
        if not self.integer_only:
            return
        for name, is_wrong, cure in (
            ("quantize", self.quantize != "int8", "int8"),
            ("format", set(formats) != {"tflite"}, "tflite"),
            ("io", self.io == "float32", "uint8 or int8"),
        ):
            if is_wrong:
                value = ", ".join(formats) if name == "format" else getattr(self, name)
                raise ArgumentError(
                    f"a file that is integer from input to output needs --{name} {cure}. "
                    f"Received: integer_only=True, {name}={value}"
                )

    def _check_uint8_input(self, formats):
        # An int8 TFLite file may take uint8 without preprocessing, because its input is scaled
        is_scaled = self.quantize == "int8" and set(formats) == {"tflite"}
        if self.preprocess is False and self.io == "uint8" and not is_scaled:
            raise ArgumentError(
                "without preprocessing the artifact takes normalized values, which no uint8 holds: leave out --io, or "
                "keep the preprocessing. Received: io=uint8, preprocess=False"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values.

        A calibration array is described by its shape.
        """
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["labels"] = self.labels and list(self.labels)
        if self.calibration is not None:
            values["calibration"] = _describe(self.calibration)
        converters = {"data_dir": str, "verify_data": str, "tolerance": float, "min_agreement": float}
        for name, converter in converters.items():
            values[name] = None if values[name] is None else converter(values[name])
        return values


def read_labels(path: typing.Path) -> tuple[str, ...]:
    """Return the class names in a text file, one per line.

    Args:
        path: file in UTF-8. Empty lines are ignored.

    Raises:
        SourceError: if the file cannot be read or is empty.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}). Give a text file in UTF-8 with one "
            "class name per line."
        ) from None
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise SourceError(f"{path}: is empty. Give a text file in UTF-8 with one class name per line.")
    return names


def _describe(calibration):
    shape = getattr(calibration, "shape", None)
    return str(calibration) if shape is None else f"array of shape {tuple(shape)}"


def _check_choice(name, value, choices):
    if value not in choices:
        raise ArgumentError(
            f"`{name}` must be one of {', '.join(map(str, choices))}.{nearest(value, map(str, choices))} "
            f"Received: {name}={value!r}"
        )
