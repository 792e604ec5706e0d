"""From a recipe to Keras's optimizer and learning rate."""

import fnmatch
import functools
from typing import Any

import keras

from keras_cnns.errors import ArgumentError, nearest
from keras_cnns.recipes import Recipe


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


class SGD(keras.optimizers.SGD):
    """Gradient descent with momentum, faster than Keras on large layers.

    With TensorFlow, momentum and weights of a variable are updated by one operation that keeps no intermediate
    results. Keras's update has four, each of which writes an array as large as the weights; networks with large dense
    layers notice. Everything else is computed by Keras's own code: other backends, replicas of `tf.distribute`, no
    momentum, sparse gradients.

    Arguments, results, variables, configuration and the saved name are those of `keras.optimizers.SGD`.

    Examples:
        >>> from keras_cnns.training import optimizers
        >>> sgd = optimizers.SGD(0.01, momentum=0.9)
        >>> sgd.get_config()["momentum"]
        0.9
    """

    # A file describes an optimizer by its class's module and name. With this module, any Keras finds its own class.
    __module__ = "keras.optimizers"

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its momentum."""
        if not (self.momentum and keras.backend.backend() == "tensorflow" and self._updates_one_copy(gradient)):
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        # Keras's own guide to writing an optimizer finds its variables by this method
        accumulator = self.momentums[self._get_variable_index(variable)]
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=accumulator.value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self.momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def _updates_one_copy(self, gradient: Any) -> bool:
        """Return whether there are no replicas, and the gradient is an array."""
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync == 1 and not isinstance(gradient, tf.IndexedSlices)


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
        result = SGD(rate, momentum=recipe.momentum, weight_decay=decay, **shared)
    elif recipe.optimizer == "rmsprop":
        settings = {"rho": recipe.rho, "momentum": recipe.momentum, "epsilon": recipe.epsilon}
        result = keras.optimizers.RMSprop(rate, weight_decay=decay, **settings, **shared)
    else:
        result = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, **shared)
    if decay:
        result.exclude_from_weight_decay(var_names=["bias"])
    return result


def optimizer_by_part(model: keras.Model, recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Return Keras's optimizer of optimizers, one for each factor of `recipe.rates`.

    Args:
        model: the network, whose layers the patterns of `recipe.rates` name.
        recipe: `Recipe`.
        steps: number of steps of the whole run.

    Raises:
        ArgumentError: if a pattern fits no layer with trainable weights.
    """
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
