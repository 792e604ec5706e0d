"""From a recipe to Keras's own optimizer, loss and precision."""

import fnmatch
import functools
import math
import os
import warnings

import keras

from keras_cnns import _machine, _models
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.training._callbacks import EXACT
from keras_cnns.training.transfer import freeze


def policy_for(precision):
    """Return the dtype policy's name for a recipe's `precision`; "auto" looks at the device.

    bfloat16 on GPUs and TPUs that have it, float16 on older GPUs, bfloat16 on CPUs that multiply in it, else float32.
    A precision that this device emulates is returned with a warning.
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


def use_device(name):
    """Choose what TensorFlow computes on, before it has computed anything.

    Args:
        name: "auto" (a GPU where there is one), "cpu" or "gpu".

    Raises:
        ArgumentError: if there is no such device, or another is in use already.
    """
    if name not in ("auto", "cpu", "gpu"):
        raise ArgumentError(
            f"`name` must be auto, cpu or gpu.{nearest(name, ('auto', 'cpu', 'gpu'))} Received: {name!r}"
        )
    if keras.backend.backend() != "tensorflow" or name == "auto":
        return
    import tensorflow as tf

    if name == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise ArgumentError(
            "TensorFlow sees no GPU; install tensorflow[and-cuda] on a machine that has one, or take the CPU. "
            f"Received: device={name!r}"
        )
    if name == "cpu":
        try:
            tf.config.set_visible_devices([], "GPU")
        except RuntimeError:
            raise ArgumentError(
                f"TensorFlow computes already; choose the device first of all. Received: device={name!r}"
            ) from None


def _emulated(precision):
    """Return why the device of TensorFlow computes in a mixed precision slowly; None if it does not."""
    if not precision.startswith("mixed") or keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    if tf.config.get_visible_devices("GPU"):
        return None
    return "CPUs have no kernels for it" if precision == "mixed_float16" else _no_bfloat16()


def _no_bfloat16():
    """Return why TensorFlow emulates bfloat16 on this CPU; None if oneDNN, which it uses, has kernels for it."""
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").strip().lower() in ("0", "false"):
        return "TF_ENABLE_ONEDNN_OPTS=0 switches the kernels for it off"
    flags = _machine.instructions()
    return None if {"amx_bf16", "avx512_bf16"} & set(flags) else "this CPU has neither AVX512-BF16 nor AMX"


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
    """Return the recipe's Keras optimizer for a training of `steps` steps, all layers at one rate.

    Keras's SGD applies its `weight_decay` beside the momentum, the papers' passes through it and so acts
    1 / (1 - momentum) times: the coefficient is divided by that.
    """
    rate, decay = learning_rate(recipe, steps), recipe.weight_decay or None
    shared = {"global_clipnorm": recipe.clip_norm, "use_ema": recipe.moving_average is not None}
    if recipe.moving_average is not None:
        shared["ema_momentum"] = recipe.moving_average
    if recipe.accumulation > 1:
        shared["gradient_accumulation_steps"] = recipe.accumulation
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


def _by_part(model, recipe, steps):
    """Return Keras's optimizer of optimizers, one for each factor of `recipe.rates`."""
    layers = {weight.path: layer.name for layer in model.layers for weight in layer.trainable_weights}
    names = set(layers.values())
    for pattern in recipe.rates:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise ArgumentError(
                f"{model.name} has no layer with trainable weights that fits a pattern of the recipe {recipe.name}."
                f"{nearest(pattern, names)} Received: rates: {pattern!r}"
            )

    @functools.cache
    def of_factor(factor):
        return optimizer(recipe.replace(learning_rate=factor * recipe.learning_rate), steps)

    def factor_of(name):
        return next((factor for pattern, factor in recipe.rates.items() if fnmatch.fnmatchcase(name, pattern)), 1.0)

    by_path = {path: of_factor(factor_of(name)) for path, name in layers.items()}
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(of_factor(1.0), by_path))


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


def compile_model(model, recipe, steps_per_epoch, *, steps_per_execution=None, distribution=None):
    """Compile a classifier with the recipe's optimizer and schedule, cross-entropy and accuracy.

    Layers that `recipe.freeze` names are frozen first, as `freeze` does it.

    Args:
        model: functional `keras.Model` giving logits or probabilities (batch, classes), and perhaps the same from
            auxiliary heads behind the first output; `targets` gives each its labels.
        recipe: `Recipe`; if `soft_labels`, the labels must be one-hot.
        steps_per_epoch: batches an epoch; with `recipe.epochs` it sets the schedule's length.
        steps_per_execution: steps in one call of the compiled function, which callbacks do not see one by one. None:
            as many as keep the calls themselves from taking much of the time, which is one but for small networks.
        distribution: `Distribution` on which the model trains, within whose scope this must be called; None: none.

    Returns:
        The model.

    Raises:
        ArgumentError: if the model has auxiliary heads and the recipe no weight for them, or the other way round, or
            no layer that fits a pattern of `recipe.rates` or `recipe.freeze`.
    """
    if (len(model.outputs) > 1) != (recipe.auxiliary_weight > 0):
        raise ArgumentError(
            f"a network with auxiliary heads needs a recipe with a weight for them, and one without needs 0; "
            f"{model.name} has {len(model.outputs) - 1}. Received: auxiliary_weight={recipe.auxiliary_weight}"
        )
    if recipe.freeze:
        freeze(model, recipe.freeze)
    from_logits = not _models.gives_probabilities(model)
    if recipe.soft_labels:
        loss = keras.losses.CategoricalCrossentropy(from_logits, recipe.label_smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    steps = steps_per_epoch * recipe.epochs
    made = _by_part(model, recipe, steps) if recipe.rates else optimizer(recipe, steps)
    shared, exact = distribution is not None and distribution.engine is not None, []
    if distribution is not None and distribution.mirrored:
        steps_per_execution = 1  # in Keras's loop over steps TensorFlow cannot ask a distributed iterator
    if steps_per_execution is None:
        steps_per_execution = min(_steps_per_execution(model, recipe.batch_size), steps_per_epoch)
    # Keras averages a head's loss over batches, of which the last is smaller; a metric counts every image once
    if recipe.soft_labels:
        entropy = functools.partial(
            keras.metrics.CategoricalCrossentropy, from_logits=from_logits, label_smoothing=recipe.label_smoothing
        )
    else:
        entropy = functools.partial(keras.metrics.SparseCategoricalCrossentropy, from_logits=from_logits)
    if shared:  # what counts every image once where images are repeated with weights
        exact = [type(accuracy)(name=f"accuracy{EXACT}"), entropy(name=f"cross_entropy{EXACT}")]
    if len(model.outputs) == 1:
        model.compile(
            made, loss, metrics=[accuracy], weighted_metrics=exact or None, steps_per_execution=steps_per_execution
        )
        return model
    first, *others = model.output_names
    weights = {first: 1.0, **dict.fromkeys(others, recipe.auxiliary_weight)}
    model.compile(
        made,
        dict.fromkeys(weights, loss),
        loss_weights=weights,
        metrics={first: [accuracy, entropy(name="cross_entropy")]},
        weighted_metrics={first: exact} if shared else None,
        steps_per_execution=steps_per_execution,
    )
    return model


def _steps_per_execution(model, batch_size):
    """Return a power of two: so many steps that they take some 50 ms, and no more than 32."""
    work = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        output = getattr(layer, "output", None)
        if kernel is not None and hasattr(output, "shape"):
            places = output.shape[1:-1] if len(output.shape) == 4 else ()
            work += math.prod(kernel.shape) * math.prod(side or 1 for side in places)
    # Multiply-adds of the forward pass in that time, about
    once = 2e9 if keras.distribution.list_devices()[0].startswith("cpu") else 2e11
    return 2 ** max(0, min(5, int(math.log2(once / max(work * batch_size, 1)))))


def targets(model, labels):
    """Return labels as `fit` takes them for a model: they themselves, or the same for each head by its name."""
    return labels if len(model.outputs) == 1 else dict.fromkeys(model.output_names, labels)
