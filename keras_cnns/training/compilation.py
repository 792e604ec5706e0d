"""From a recipe to Keras's own optimizer, loss and precision."""

import functools
from pathlib import Path

import keras

from keras_cnns import _models
from keras_cnns.errors import ArgumentError


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


@keras.saving.register_keras_serializable(package="keras_cnns")
class InverseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that falls as rate * (1 + gamma * step) ** -power: Caffe's "inv".

    Args:
        rate: at step 0.
        gamma: how fast it falls, by step.
        power: of the fall.
    """

    def __init__(self, rate, gamma, power):
        super().__init__()
        self.rate, self.gamma, self.power = rate, gamma, power

    def __call__(self, step):
        """Return the rate at a step."""
        return self.rate * (1 + self.gamma * keras.ops.cast(step, "float32")) ** -self.power

    def get_config(self):
        """Return the arguments."""
        return {"rate": self.rate, "gamma": self.gamma, "power": self.power}


def learning_rate(recipe, steps):
    """Return the recipe's rate over a training of `steps` steps: a number or one of Keras's schedules."""
    schedules, rate = keras.optimizers.schedules, recipe.learning_rate
    warmup = min(recipe.warmup_steps, steps // 2)
    if recipe.schedule == "cosine":
        return schedules.CosineDecay(
            0.0 if warmup else rate,
            max(steps - warmup, 1),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if recipe.schedule == "polynomial":
        return schedules.PolynomialDecay(rate, max(steps, 1), end_learning_rate=0.0, power=recipe.power)
    if recipe.schedule == "exponential":
        every = max(round(steps * recipe.decay_epochs / recipe.epochs), 1)
        return schedules.ExponentialDecay(rate, every, recipe.decay_factor, staircase=True)
    if recipe.schedule == "inverse":
        return InverseDecay(rate, recipe.gamma, recipe.power)
    # Up to ten stairs up, then the recipe's own down; Keras takes the rate left of a boundary up to and with it
    stairs = min(warmup, 10)
    boundaries = [round(warmup * (k + 1) / stairs) - 1 for k in range(stairs)]
    values = [rate * (k + 1) / (stairs + 1) for k in range(stairs)] + [rate]
    if recipe.schedule == "step":
        factors = recipe.decay_factor
        if not isinstance(factors, tuple):
            factors = [factors ** (k + 1) for k in range(len(recipe.decay_at))]
        boundaries += [max(round(share * steps), warmup + k) for k, share in enumerate(recipe.decay_at)]
        values += [rate * factor for factor in factors]
    return schedules.PiecewiseConstantDecay(boundaries, values) if boundaries else rate


def optimizer(recipe, steps):
    """Return the recipe's Keras optimizer for a training of `steps` steps.

    Keras's SGD applies its `weight_decay` beside the momentum, the papers' passes through it and so acts
    1 / (1 - momentum) times: the coefficient is divided by that.
    """
    rate, decay = learning_rate(recipe, steps), recipe.weight_decay or None
    shared = {"global_clipnorm": recipe.clip_norm, "use_ema": recipe.moving_average is not None}
    if recipe.moving_average is not None:
        shared["ema_momentum"] = recipe.moving_average
    if recipe.optimizer == "sgd":
        decay = decay and decay / (1 - recipe.momentum)
        made = keras.optimizers.SGD(rate, momentum=recipe.momentum, weight_decay=decay, **shared)
    elif recipe.optimizer == "rmsprop":
        settings = {"rho": recipe.rho, "momentum": recipe.momentum, "epsilon": recipe.epsilon}
        made = keras.optimizers.RMSprop(rate, weight_decay=decay, **settings, **shared)
    else:
        made = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **shared)
    if decay:
        made.exclude_from_weight_decay(var_names=["bias"])
    return made


def callbacks(recipe):
    """Return the Keras callbacks that the recipe's schedule needs."""
    if recipe.schedule != "plateau":
        return []
    return [keras.callbacks.ReduceLROnPlateau("val_loss", recipe.decay_factor, recipe.patience)]


def set_biases(model, recipe):
    """Let biases start where the recipe says.

    Raises:
        ArgumentError: if the model has no such layer, or it has no biases.
    """
    layers = {layer.name: layer for layer in model.layers}
    for name, value in recipe.biases.items():
        bias = getattr(layers.get(name), "bias", None)
        if bias is None:
            raise ArgumentError(
                f"{model.name} has no biases in a layer {name!r}, as the recipe {recipe.name} has. "
                f"Received: biases={dict(recipe.biases)}"
            )
        bias.assign(keras.ops.full(bias.shape, value, bias.dtype))


def compile_model(model, recipe, steps_per_epoch):
    """Compile a classifier with the recipe's optimizer and schedule, cross-entropy and accuracy.

    Args:
        model: functional `keras.Model` giving logits or probabilities (batch, classes), and perhaps the same from
            auxiliary heads behind the first output; `targets` gives each its labels.
        recipe: `Recipe`; if `soft_labels`, the labels must be one-hot.
        steps_per_epoch: batches an epoch; with `recipe.epochs` it sets the schedule's length.

    Returns:
        The model.

    Raises:
        ArgumentError: if the model has auxiliary heads and the recipe no weight for them, or the other way round.
    """
    if (len(model.outputs) > 1) != (recipe.auxiliary_weight > 0):
        raise ArgumentError(
            f"a network with auxiliary heads needs a recipe with a weight for them, and one without needs 0; "
            f"{model.name} has {len(model.outputs) - 1}. Received: auxiliary_weight={recipe.auxiliary_weight}"
        )
    from_logits = not _models.gives_probabilities(model)
    if recipe.soft_labels:
        loss = keras.losses.CategoricalCrossentropy(from_logits, recipe.label_smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    made = optimizer(recipe, steps_per_epoch * recipe.epochs)
    if len(model.outputs) == 1:
        model.compile(made, loss, metrics=[accuracy])
        return model
    first, *others = model.output_names
    weights = {first: 1.0, **dict.fromkeys(others, recipe.auxiliary_weight)}
    # Keras averages a head's loss over batches, of which the last is smaller; a metric counts every picture once
    if recipe.soft_labels:
        entropy = keras.metrics.CategoricalCrossentropy(
            "cross_entropy", from_logits=from_logits, label_smoothing=recipe.label_smoothing
        )
    else:
        entropy = keras.metrics.SparseCategoricalCrossentropy("cross_entropy", from_logits=from_logits)
    model.compile(made, dict.fromkeys(weights, loss), loss_weights=weights, metrics={first: [accuracy, entropy]})
    return model


def targets(model, labels):
    """Return labels as `fit` takes them for a model: they themselves, or the same for each head by its name."""
    return labels if len(model.outputs) == 1 else dict.fromkeys(model.output_names, labels)
