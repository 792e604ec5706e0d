"""Call the writer of a format, measure it, and explain its failures."""

import re
import time
from pathlib import Path

import keras

from keras_cnns import _keras
from keras_cnns.errors import ArgumentError, ConversionError, OutputError, SourceError
from keras_cnns.export._prepared import Job, Prepared
from keras_cnns.export.writers import WRITERS

# Peak memory in bytes of a process that exports, measured with VGG-16: libraries, and copies of the weights.
# `ulimit -v` counts address space, which is larger.
BASE_MEMORY = 900_000_000
ADDRESS_SPACE = 3_500_000_000
WEIGHT_COPIES = {"saved_model": 5, "tflite": 7.5, "onnx": 6.5}


def write(job: Job, format: str, path: Path, target: Path) -> float:
    """Write one artifact and return the seconds that it took.

    Args:
        job: what to write.
        format: a name of `FORMATS`.
        path: where to write.
        target: where the artifact is moved to later; errors name it.

    Raises:
        ConversionError: if the converter cannot write the model, or memory runs out.
        OutputError: if the artifact cannot be written.
    """
    start = time.monotonic()
    try:
        WRITERS[format](job, path)
    except (ModuleNotFoundError, ArgumentError, SourceError):
        raise
    except OSError as error:
        raise OutputError.from_os(error.filename or target, error) from error
    except Exception as error:  # each converter raises its own kinds
        raise _conversion_error(error, job.prepared, format, target) from error
    return round(time.monotonic() - start, 2)


def _conversion_error(error: Exception, prepared: Prepared, format: str, target: Path) -> ConversionError:
    name = prepared.whole.name
    received = f"Nothing was kept. Received: format={format}, quantize={prepared.options.quantize}"
    if _is_out_of_memory(error, prepared.model):
        needed = needed_memory(format, prepared.model)
        return ConversionError(
            f"{target.name}: there is not enough memory to write {name}, which takes about {needed / 1e9:.1f} GB: "
            f"raise the limit (a container's; that of ulimit -v to {(needed + ADDRESS_SPACE) // 1_000_000}000), close "
            f"other programs, or use a larger machine. {received}"
        )
    return ConversionError(
        f"{target.name}: the converter cannot write {name} ({_reason(error, format, prepared)}). {received}"
    )


def _is_out_of_memory(error, model):
    """Return whether a converter failed for lack of memory.

    Each library says it in its own way.
    """
    import tensorflow as tf

    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    # A protocol buffer fails with the same text if it exceeds the 2 GB that its format allows
    is_small = 4 * model.count_params() < 2_000_000_000
    return is_small and re.search(r"bad_alloc|Unable to allocate|Failed to serialize proto", str(error)) is not None


def _reason(error, format, prepared):
    """Return why a converter failed, and the cure if it is known."""
    layers = _keras.all_layers(prepared.model)
    loops = [layer for layer in layers if isinstance(layer, keras.layers.RNN) and not layer.unroll]
    if format == "tflite" and loops and prepared.options.static_batch is None:
        return (
            f"its recurrent layer {loops[0].name} needs a fixed batch there; give --batch 1, or build the layer with "
            "unroll=True"
        )
    text = " ".join(str(error).split())
    if match := re.search(r"TF Select ops: ([\w, ]+)|Op registered for (\w+)", text):
        return f"it has no operator for {match[1] or match[2]}"
    return f"{type(error).__name__}: {text[:300]}"


def needed_memory(format: str, model: keras.Model) -> int:
    """Return the approximate peak memory in bytes of writing a model.

    Args:
        format: a name of `FORMATS`.
        model: a model whose weights are float32.
    """
    return round(BASE_MEMORY + WEIGHT_COPIES[format] * 4 * model.count_params())
