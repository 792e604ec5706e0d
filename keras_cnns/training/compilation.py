"""From a recipe to Keras's optimizer, loss and precision."""

import fnmatch
import functools
import math
import os
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_cnns import _models
from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.recipes import Recipe
from keras_cnns.training.devices import Distribution
from keras_cnns.training.transfer import freeze

CPUINFO = Path("/proc/cpuinfo")
EXACT = "_exactly"  # end of the names of weighted metrics, which replace others in validation


def policy_for(precision: str) -> str:
    """Return the dtype policy's name for a recipe's `precision`.

    "auto" looks at the device: mixed bfloat16 on GPUs, TPUs and CPUs that multiply in it, mixed float16 on older GPUs,
    otherwise float32. A precision that the device emulates is returned with a warning.

    Args:
        precision: "auto", "float32", "mixed_bfloat16" or "mixed_float16".

    Example:
        >>> policy_for("float32")
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


def use_device(name: str) -> None:
    """Choose the device of TensorFlow, before it has computed anything.

    Args:
        name: "auto" (a GPU if there is one), "cpu" or "gpu".

    Raises:
        ArgumentError: if there is no such device, or another one is in use already.

    Example:
        >>> use_device("cpu")
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
    lines = CPUINFO.read_text("utf8", "replace").splitlines() if CPUINFO.is_file() else ()
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ())
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
    """The learning rate that Caffe calls "inv".

    It is rate * (1 + gamma * step) ** -power.

    Args:
        rate: at step 0.
        gamma: speed of the decay, per step.
        power: exponent of the decay.
    """

    def __init__(self, rate: float, gamma: float, power: float):
        super().__init__()
        self.rate, self.gamma, self.power = rate, gamma, power

    def __call__(self, step: Any) -> Any:
        """Return the rate at a step."""
        return self.rate * (1 + self.gamma * keras.ops.cast(step, "float32")) ** -self.power

    def get_config(self) -> dict[str, float]:
        """Return the arguments."""
        return {"rate": self.rate, "gamma": self.gamma, "power": self.power}


def learning_rate(recipe: Recipe, steps: int) -> "float | keras.optimizers.schedules.LearningRateSchedule":
    """Return a recipe's learning rate over a run of `steps` steps.

    It is a number or one of Keras's schedules.
    """
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
    # The warm-up has up to ten stairs, then the recipe's steps follow. Keras uses the rate before a boundary up to and
    # including the boundary, therefore the - 1
    stairs = min(warmup, 10)
    boundaries = [round(warmup * (k + 1) / stairs) - 1 for k in range(stairs)]
    values = [rate * (k + 1) / (stairs + 1) for k in range(stairs)] + [rate]
    if recipe.schedule == "step":
        factors = recipe.decay_factor
        if not isinstance(factors, tuple):
            factors = tuple(factors ** (k + 1) for k in range(len(recipe.decay_at)))
        boundaries += [max(round(share * steps), warmup + k) for k, share in enumerate(recipe.decay_at)]
        values += [rate * factor for factor in factors]
    return schedules.PiecewiseConstantDecay(boundaries, values) if boundaries else rate


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Return a recipe's Keras optimizer for a run of `steps` steps.

    All layers have one learning rate. Keras's SGD applies `weight_decay` directly to the weights. In the papers it
    passes through the momentum, and so acts 1 / (1 - momentum) times; the coefficient is multiplied by that factor.
    """
    rate, decay = learning_rate(recipe, steps), recipe.weight_decay or None
    shared = {"global_clipnorm": recipe.clip_norm, "use_ema": recipe.moving_average is not None}
    if recipe.moving_average is not None:
        shared["ema_momentum"] = recipe.moving_average
    if recipe.accumulation > 1:
        shared["gradient_accumulation_steps"] = recipe.accumulation
    if recipe.optimizer == "sgd":
        decay = decay and decay / (1 - recipe.momentum)
        result = keras.optimizers.SGD(rate, momentum=recipe.momentum, weight_decay=decay, **shared)
    elif recipe.optimizer == "rmsprop":
        settings = {"rho": recipe.rho, "momentum": recipe.momentum, "epsilon": recipe.epsilon}
        result = keras.optimizers.RMSprop(rate, weight_decay=decay, **settings, **shared)
    else:
        result = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **shared)
    if decay:
        result.exclude_from_weight_decay(var_names=["bias"])
    return result


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


def set_biases(model: keras.Model, recipe: Recipe) -> None:
    """Set the biases of a model to the recipe's initial values.

    Args:
        model: a network that has not been trained.
        recipe: `Recipe`, whose `biases` count.

    Raises:
        ArgumentError: if the model has no such layer, or the layer has no biases.

    Example:
        >>> set_biases(model, recipe.replace(biases={"conv2": 1.0}))
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


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    steps_per_epoch: int,
    *,
    steps_per_execution: int | None = None,
    distribution: Distribution | None = None,
) -> keras.Model:
    """Compile a classifier with the recipe's optimizer, cross-entropy and accuracy.

    Layers that `recipe.freeze` names are frozen first, as `freeze` does it.

    Args:
        model: functional `keras.Model` whose output is logits or probabilities (batch, classes). Auxiliary heads after
            the first output give the same; `targets` gives each its labels.
        recipe: `Recipe`; with `soft_labels`, the labels must be one-hot.
        steps_per_epoch: batches per epoch, which with `recipe.epochs` sets the schedule's length.
        steps_per_execution: steps in one call of the compiled function, within which callbacks are not called. None: so
            many that the calls themselves take little of the time, which is 1 except for small networks.
        distribution: `Distribution` on which the model trains; call this within its scope. None: one device.

    Returns:
        The model.

    Raises:
        ArgumentError: if the model has auxiliary heads and the recipe no weight for them, or the reverse; or if no
            layer fits a pattern of `recipe.rates` or `recipe.freeze`.

    Example:
        >>> model = applications.LeNet5()
        >>> compile_model(model, recipes.get_recipe("short"), steps_per_epoch=100).fit(images, labels)
    """
    if (len(model.outputs) > 1) != (recipe.auxiliary_weight > 0):
        raise ArgumentError(
            f"a network with auxiliary heads needs a recipe with a weight for them, and one without needs 0; "
            f"{model.name} has {len(model.outputs) - 1}. Received: auxiliary_weight={recipe.auxiliary_weight}"
        )
    if recipe.freeze:
        freeze(model, recipe.freeze)
    steps = steps_per_epoch * recipe.epochs
    model_optimizer = _by_part(model, recipe, steps) if recipe.rates else optimizer(recipe, steps)
    if distribution is not None and distribution.mirrored:
        steps_per_execution = 1  # In Keras's loop over steps TensorFlow cannot read a distributed iterator
    if steps_per_execution is None:
        steps_per_execution = min(_steps_per_execution(model, recipe.batch_size), steps_per_epoch)
    loss, accuracy, entropy = _loss_and_metrics(recipe, from_logits=not _models.gives_probabilities(model))
    exact = []
    if distribution is not None and distribution.engine is not None:
        # Some images of a shared batch are repeated, for which weights make up; only weighted metrics use them
        exact = [type(accuracy)(name=f"accuracy{EXACT}"), entropy(name=f"cross_entropy{EXACT}")]
    if len(model.outputs) == 1:
        model.compile(
            model_optimizer,
            loss,
            metrics=[accuracy],
            weighted_metrics=exact or None,
            steps_per_execution=steps_per_execution,
        )
        return model
    main, *auxiliary = model.output_names
    weights = {main: 1.0, **dict.fromkeys(auxiliary, recipe.auxiliary_weight)}
    model.compile(
        model_optimizer,
        dict.fromkeys(weights, loss),
        loss_weights=weights,
        # Keras averages a head's loss over batches, of which the last is smaller; a metric counts every image once
        metrics={main: [accuracy, entropy(name="cross_entropy")]},
        weighted_metrics={main: exact} if exact else None,
        steps_per_execution=steps_per_execution,
    )
    return model


def _loss_and_metrics(recipe, from_logits):
    """Return (loss, accuracy metric, maker of a cross-entropy metric) for a recipe."""
    if recipe.soft_labels:
        return (
            keras.losses.CategoricalCrossentropy(from_logits, recipe.label_smoothing),
            keras.metrics.CategoricalAccuracy(name="accuracy"),
            functools.partial(
                keras.metrics.CategoricalCrossentropy, from_logits=from_logits, label_smoothing=recipe.label_smoothing
            ),
        )
    return (
        keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        functools.partial(keras.metrics.SparseCategoricalCrossentropy, from_logits=from_logits),
    )


def _steps_per_execution(model, batch_size):
    """Return how many steps take about 50 ms, from 1 to 32."""
    work = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        output = getattr(layer, "output", None)
        if kernel is not None and hasattr(output, "shape"):
            places = output.shape[1:-1] if len(output.shape) == 4 else ()
            work += math.prod(kernel.shape) * math.prod(side or 1 for side in places)
    # About as many multiply-adds a forward pass takes in 50 ms
    once = 2e9 if keras.distribution.list_devices()[0].startswith("cpu") else 2e11
    return 2 ** max(0, min(5, int(math.log2(once / max(work * batch_size, 1)))))


def targets(model: keras.Model, labels: Any) -> Any:
    """Return labels in the form that `fit` takes.

    Args:
        model: `keras.Model` with one or several heads.
        labels: array or tensor of labels.

    Returns:
        The labels themselves for one head; for several, a dictionary from each head's name to the labels.

    Example:
        >>> model.fit(images, targets(model, labels))
    """
    return labels if len(model.outputs) == 1 else dict.fromkeys(model.output_names, labels)
