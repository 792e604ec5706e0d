"""From a recipe to Keras's own optimizer, loss and precision."""

import functools
from pathlib import Path

import keras

from keras_cnns import _models


def policy_for(precision):
    """Return the dtype policy's name for a recipe's `precision`; "auto" looks at the device.

    bfloat16 on GPUs and TPUs that have it, float16 on older GPUs, bfloat16 on CPUs that multiply in it, else float32.
    """
    return _automatic() if precision == "auto" else precision


@functools.cache
def _automatic():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if gpus := tf.config.list_physical_devices("GPU"):
            capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (8, 0))
            return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16"
        # oneDNN, which TensorFlow uses, has bfloat16 kernels for these
        cpu = Path("/proc/cpuinfo")
        flags = cpu.read_text().split() if cpu.is_file() else ()
        return "mixed_bfloat16" if {"amx_bf16", "avx512_bf16"} & set(flags) else "float32"
    if backend == "jax":
        import jax

        return "mixed_bfloat16" if jax.devices()[0].platform != "cpu" else "float32"
    return "float32"


def learning_rate(recipe, steps):
    """Return the recipe's rate over a training of `steps` steps: a number or one of Keras's schedules."""
    schedules = keras.optimizers.schedules
    warmup = min(recipe.warmup_steps, steps // 2)
    if recipe.schedule == "cosine":
        return schedules.CosineDecay(
            0.0 if warmup else recipe.learning_rate,
            max(steps - warmup, 1),
            warmup_target=recipe.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    # Up to ten stairs up, then the recipe's own down; Keras takes the rate left of a boundary up to and with it
    stairs = min(warmup, 10)
    boundaries = [round(warmup * (k + 1) / stairs) - 1 for k in range(stairs)]
    values = [recipe.learning_rate * (k + 1) / (stairs + 1) for k in range(stairs)] + [recipe.learning_rate]
    if recipe.schedule == "step":
        boundaries += [max(round(share * steps), warmup + k) for k, share in enumerate(recipe.decay_at)]
        values += [recipe.learning_rate * recipe.decay_factor ** (k + 1) for k in range(len(recipe.decay_at))]
    return schedules.PiecewiseConstantDecay(boundaries, values) if boundaries else recipe.learning_rate


def optimizer(recipe, steps):
    """Return the recipe's Keras optimizer for a training of `steps` steps.

    Keras's SGD applies its `weight_decay` beside the momentum, the papers' passes through it and so acts
    1 / (1 - momentum) times: the coefficient is divided by that.
    """
    rate = learning_rate(recipe, steps)
    decay = recipe.weight_decay or None
    if recipe.optimizer == "sgd":
        decay = decay and decay / (1 - recipe.momentum)
        made = keras.optimizers.SGD(rate, momentum=recipe.momentum, weight_decay=decay)
    else:
        made = keras.optimizers.AdamW(rate, weight_decay=decay)
    if decay:
        made.exclude_from_weight_decay(var_names=["bias"])
    return made


def compile_model(model, recipe, steps_per_epoch):
    """Compile a classifier with the recipe's optimizer and schedule, cross-entropy and accuracy.

    Args:
        model: functional `keras.Model` giving logits or probabilities (batch, classes).
        recipe: `Recipe`.
        steps_per_epoch: batches an epoch; with `recipe.epochs` it sets the schedule's length.

    Returns:
        The model.
    """
    model.compile(
        optimizer=optimizer(recipe, steps_per_epoch * recipe.epochs),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=not _models.gives_probabilities(model)),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return model
