"""One call of a format's converter: its time, its memory, and what it means when it fails."""

import re
import time

import keras

from keras_cnns import _keras
from keras_cnns.errors import ArgumentError, ConversionError, OutputError, SourceError

# Peak memory of a process that exports, measured with VGG-16: libraries, and copies of the weights. `ulimit -v` counts
# address space, which is larger.
BASE_MEMORY = 900_000_000
ADDRESS_SPACE = 3_500_000_000
WEIGHT_COPIES = {"saved_model": 5, "tflite": 7.5, "onnx": 6.5}


def write(format, path, target, prepared, card, calibration):
    """Write one artifact; return the seconds that it took.

    Raises:
        ConversionError: if the converter cannot write the model.
    """
    from keras_cnns.export import writers

    start = time.monotonic()
    try:
        writers.WRITERS[format](writers.Job(prepared, card, calibration), path)
    except (ModuleNotFoundError, ArgumentError, SourceError):
        raise
    except OSError as error:
        raise OutputError.from_os(error.filename or target, error) from error
    except Exception as error:  # each converter has its own
        received = f"Nothing was kept. Received: format={format}, quantize={prepared.options.quantize}"
        if _is_out_of_memory(error, prepared.model):
            needed = needed_memory(format, prepared.model)
            raise ConversionError(
                f"{target.name}: there is not enough memory to write {prepared.whole.name}, which takes about "
                f"{needed / 1e9:.1f} GB: raise the limit (a container's; that of ulimit -v to "
                f"{(needed + ADDRESS_SPACE) // 1_000_000}000), close other programs, or use a larger machine. "
                f"{received}"
            ) from error
        raise ConversionError(
            f"{target.name}: the converter cannot write {prepared.whole.name} ({_why(error, format, prepared)}). "
            f"{received}"
        ) from error
    return round(time.monotonic() - start, 2)


def _is_out_of_memory(error, model):
    """Return whether a converter failed for lack of memory; each library says it in its own way."""
    import tensorflow as tf

    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    # A protocol buffer fails so too where it is larger than its format allows
    small = 4 * model.count_params() < 2_000_000_000
    return small and re.search(r"bad_alloc|Unable to allocate|Failed to serialize proto", str(error)) is not None


def _why(error, format, prepared):
    """Return why a converter failed, and the cure where it is known."""
    layers = _keras.all_layers(prepared.model)
    looping = [layer for layer in layers if isinstance(layer, keras.layers.RNN) and not layer.unroll]
    if format == "tflite" and looping and prepared.options.static_batch is None:
        return (
            f"its recurrent layer {looping[0].name} needs a fixed batch there; give --batch 1, or build the layer with "
            "unroll=True"
        )
    text = " ".join(str(error).split())
    if named := re.search(r"TF Select ops: ([\w, ]+)|Op registered for (\w+)", text):
        return f"it has no operator for {named[1] or named[2]}"
    return f"{type(error).__name__}: {text[:300]}"


def needed_memory(format, model):
    """Return about how many bytes of memory this process has at its peak while it writes a model in a format."""
    return round(BASE_MEMORY + WEIGHT_COPIES[format] * 4 * model.count_params())  # float32
