"""The dtype policy that suits a device."""

import os
import warnings

import keras

from keras_cnns import _machine


def policy_for(precision: str) -> str:
    """Return the dtype policy's name for a recipe's `precision`.

    "auto" looks at the device: mixed bfloat16 on GPUs, TPUs and CPUs that multiply in it, mixed float16 on older GPUs,
    otherwise float32. A precision that the device emulates is returned with a warning.

    Args:
        precision: "auto", "float32", "mixed_bfloat16" or "mixed_float16".

    Examples:
        >>> from keras_cnns import training
        >>> training.policy_for("float32")
        'float32'
    """
    if precision == "auto":
        return _automatic()
    if reason := _emulated(precision):
        warnings.warn(
            f"{precision} is emulated here: {reason}. A training step takes up to a hundred times as long; train with "
            "--precision float32 (in code: precision='float32')",
            stacklevel=2,
        )
    return precision


def _emulated(precision):
    """Return why TensorFlow's device emulates a precision, or None."""
    if not precision.startswith("mixed") or keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return None
    return "CPUs have no kernels for it" if precision == "mixed_float16" else _no_bfloat16()


def _no_bfloat16():
    """Return why TensorFlow emulates bfloat16 on this CPU, or None."""
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").strip().lower() in ("0", "false"):
        return "TF_ENABLE_ONEDNN_OPTS=0 switches the kernels for it off"
    has_bfloat16 = {"amx_bf16", "avx512_bf16"} & set(_machine.instructions())
    return None if has_bfloat16 else "this CPU has neither AVX512-BF16 nor AMX"


def _automatic():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.get_visible_devices("GPU"):
            capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (8, 0))
            return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"
        return "float32" if _no_bfloat16() else "mixed_bfloat16"
    if backend == "jax":
        import jax

        return "mixed_bfloat16" if jax.devices()[0].platform != "cpu" else "float32"
    return "float32"
