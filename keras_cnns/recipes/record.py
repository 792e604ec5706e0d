"""The record of a training run's settings. Standard library only."""

import dataclasses
import math
import types
from collections.abc import Mapping
from typing import Any

from keras_cnns.errors import ArgumentError, nearest

OPTIMIZERS = ("sgd", "adamw", "rmsprop")
SCHEDULES = ("constant", "step", "plateau", "polynomial", "exponential", "inverse", "cosine")
WARMED_UP = ("constant", "step", "cosine")  # schedules that `warmup_steps` can precede
PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
PROTOCOL_NAMES = ("center", "ten-crop", "144-crop", "dense", "mirror", "multi-scale")
BALANCES = ("none", "weights", "repeat")
FITS = ("crop", "stretch", "pad")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run, except the images.

    Attributes:
        name: name of the recipe, for `cnn-train --recipe`.
        builder: public name of the network that the recipe was made for, or a tuple of several. None: any network.
        network: keyword arguments of the builder, such as dropout, initialization and heads. Empty: its defaults.
        biases: dictionary from layer name to the initial value of its biases. Empty: the builder's initialization.
        optimizer: "sgd" (with `momentum`), "adamw" or "rmsprop" (with `momentum`, `rho` and `epsilon`).
        learning_rate: highest learning rate of the schedule.
        momentum: momentum of "sgd" and "rmsprop", at least 0 and below 1.
        rho: share of the mean square that "rmsprop" keeps in each step, at least 0 and below 1.
        epsilon: number that "rmsprop" adds to the mean square.
        weight_decay: with "sgd", the L2 coefficient of the papers, whose gradient passes through the momentum; with the
            others, decoupled weight decay. Biases are not decayed. 0: none.
        clip_norm: largest norm of all gradients together. None: gradients are not clipped.
        moving_average: share of their moving average that weights keep in each step, 0 to 1. The average is what is
            saved. None: the weights themselves are saved.
        accumulation: number of batches whose gradients are averaged before the weights are updated, for a batch size
            that does not fit into memory. The schedule and the moving average count batches. 1: no accumulation.
        rates: dictionary from a pattern of layer names, such as "conv*", to the factor of their learning rate. The
            first pattern that matches counts. Gradients are then clipped by the norm of each such group. Empty: one
            rate for all layers.
        freeze: layer names, or patterns such as "conv*", of layers that keep their weights. Frozen batch normalization
            keeps its statistics too. Empty: all layers are trained.
        schedule: how the learning rate changes:

            - "constant": it does not.
            - "step": it is multiplied by `decay_factor` at each of `decay_at`.
            - "plateau": it is multiplied by `decay_factor` when the validation loss has not fallen for `patience`
              epochs.
            - "polynomial": it falls to zero as (1 - share of the training run) ** `power`.
            - "exponential": it is multiplied by `decay_factor` every `decay_epochs` epochs.
            - "inverse": it falls as (1 + `gamma` * step) ** -`power`, the policy "inv" of Caffe.
            - "cosine": it falls to zero along a cosine.
        decay_at: for "step": shares of the training run, 0 to 1, after which the rate changes.
        decay_factor: factor for "step", "plateau" and "exponential". For "step" also a tuple with one factor for each
            of `decay_at`, relative to `learning_rate`.
        decay_epochs: for "exponential": number of epochs between changes.
        power: exponent for "polynomial" and "inverse"; 1 makes "polynomial" linear.
        gamma: coefficient per step for "inverse"; 0 keeps the rate constant.
        patience: for "plateau": number of epochs to wait for a lower validation loss.
        warmup_steps: number of steps in which the rate rises from zero, for the schedules of `WARMED_UP`. 0: none.
        batch_size: images per step.
        epochs: passes over the training split.
        preprocessing: normalization, a name of `keras_cnns.data.statistics.PREPROCESSINGS`; "standardize" brings each
            channel to mean 0 and standard deviation 1.
        fit: how images of another shape fill the input: "crop", "stretch" or "pad", as in
            `keras_cnns.data.Preprocessing`. None: as `keras_cnns.training.shorter_side` says.
        augmentation: change of geometry, a name of `keras_cnns.data.geometry.AUGMENTATIONS`. "none": no change.
        color_noise: standard deviation of the noise along the principal components of color; AlexNet's is 0.1. 0: none.
        mixup: alpha of `keras.layers.MixUp`, 0 to 1; 0: none.
        cutmix: alpha of `keras.layers.CutMix`, 0 to 1; 0: none.
        rand_augment: strength of `keras.layers.RandAugment`, 0 to 1; 0: none.
        erasing: share of the images in which `keras.layers.RandomErasing` erases a part, 0 to 1; 0: none.
        label_smoothing: share of each label that is spread over all classes, below 1; 0: none.
        balance: what to do about classes of unequal size: "none", "weights" (in the loss) or "repeat" (images of scarce
            classes).
        early_stopping: number of epochs without a lower validation loss after which training ends. None: never.
        auxiliary_weight: weight in the loss of each auxiliary head; the main output has weight 1.
        protocol: how the paper evaluated, a name of `PROTOCOL_NAMES`, for `cnn-evaluate --protocol recipe`. "center":
            one center crop.
        precision: "auto", "float32", "mixed_bfloat16" or "mixed_float16". "auto": what suits the device.

    Raises:
        ArgumentError: for an unknown name, a value out of range, or fields that contradict each other.

    Examples:
        >>> from keras_cnns import recipes
        >>> recipe = recipes.SHORT.replace(epochs=5, augmentation="crop-flip")
        >>> recipe.epochs, recipe.learning_rate
        (5, 0.001)
    """

    name: str
    builder: str | tuple[str, ...] | None = None
    network: Mapping = dataclasses.field(default_factory=dict)
    biases: Mapping = dataclasses.field(default_factory=dict)
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    rho: float = 0.9
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    clip_norm: float | None = None
    moving_average: float | None = None
    accumulation: int = 1
    rates: Mapping = dataclasses.field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    schedule: str = "cosine"
    decay_at: tuple[float, ...] = ()
    decay_factor: float | tuple[float, ...] = 0.1
    decay_epochs: float = 1.0
    power: float = 1.0
    gamma: float = 0.0
    patience: int = 5
    warmup_steps: int = 0
    batch_size: int = 128
    epochs: int = 20
    preprocessing: str = "standardize"
    fit: str | None = None
    augmentation: str = "none"
    color_noise: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    rand_augment: float = 0.0
    erasing: float = 0.0
    label_smoothing: float = 0.0
    balance: str = "none"
    early_stopping: int | None = None
    auxiliary_weight: float = 0.0
    protocol: str = "center"
    precision: str = "auto"

    def __post_init__(self):
        for field in ("network", "biases", "rates"):
            object.__setattr__(self, field, types.MappingProxyType(dict(getattr(self, field))))
        for field in ("decay_at", "builder", "decay_factor", "freeze"):
            if isinstance(getattr(self, field), list | tuple):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        self._check_names()
        self._check_ranges()
        self._check_combinations()

    def _check_names(self) -> None:
        for field, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("protocol", PROTOCOL_NAMES),
            ("balance", BALANCES),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ArgumentError(
                    f"`{field}` must be one of {', '.join(allowed)}.{nearest(value, allowed)} "
                    f"Received: {field}={value!r}"
                )
        if self.fit not in (None, *FITS):
            raise ArgumentError(
                f"`fit` must be one of {', '.join(FITS)}, or None.{nearest(self.fit, FITS)} Received: fit={self.fit!r}"
            )
        if isinstance(self.freeze, str):
            raise ArgumentError(f"`freeze` must be a list of layer names or patterns. Received: freeze={self.freeze!r}")

    def _check_ranges(self) -> None:
        if not 0 <= self.learning_rate < math.inf:
            raise ArgumentError(
                f"`learning_rate` must be a finite number of at least 0. Received: learning_rate={self.learning_rate}"
            )
        for field in ("momentum", "rho", "label_smoothing"):
            if not 0 <= getattr(self, field) < 1:
                value = getattr(self, field)
                raise ArgumentError(f"`{field}` must be at least 0 and below 1. Received: {field}={value}")
        for field in ("batch_size", "epochs", "accumulation", "early_stopping"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ArgumentError(f"`{field}` must be at least 1. Received: {field}={value}")

    def _check_combinations(self) -> None:
        if isinstance(self.decay_factor, tuple) and len(self.decay_factor) != len(self.decay_at):
            raise ArgumentError(
                f"`decay_factor` must be one number, or one for each of `decay_at`. "
                f"Received: decay_factor={self.decay_factor}, decay_at={self.decay_at}"
            )
        if isinstance(self.decay_factor, tuple) and self.schedule != "step":
            raise ArgumentError(
                f"`decay_factor` must be one number, except with schedule='step'. Received: "
                f"decay_factor={self.decay_factor}, schedule={self.schedule!r}"
            )
        if self.rates and self.moving_average is not None:
            raise ArgumentError(
                "a moving average needs one rate for all weights; leave out `rates` or `moving_average`. "
                f"Received: rates={dict(self.rates)}, moving_average={self.moving_average}"
            )
        if self.warmup_steps and self.schedule not in WARMED_UP:
            kind = "that waits for plateaus" if self.schedule == "plateau" else f"of schedule={self.schedule!r}"
            raise ArgumentError(
                f"a rate {kind} cannot be warmed up to; leave out `warmup_steps`, or choose one of "
                f"{', '.join(WARMED_UP)}. Received: warmup_steps={self.warmup_steps}"
            )

    def suits(self, builder: str) -> bool:
        """Return whether the recipe was made for a network, or for any.

        Args:
            builder: public name of the network.
        """
        return self.builder is None or builder in self.builders

    @property
    def soft_labels(self) -> bool:
        """Whether labels are one-hot or mixed, instead of class numbers."""
        return bool(self.label_smoothing or self.mixup or self.cutmix)

    @property
    def builders(self) -> tuple[str, ...]:
        """Public names of the networks it was made for; () for any."""
        return (self.builder,) if isinstance(self.builder, str) else self.builder or ()

    def replace(self, **changes: Any) -> "Recipe":
        """Return a copy with other values in some fields.

        Args:
            **changes: new values by field name.
        """
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        # Files and checkpoints from before these fields do not have them, and other recipes must stay equal to theirs
        values = {name: value for name, value in values.items() if value or name not in ("freeze", "fit")}
        lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return {**values, **lists, **{name: dict(values[name]) for name in ("network", "biases", "rates")}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that `to_json` described.

        Args:
            values: dictionary of JSON values.
        """
        return cls(**values)


def gaussian(deviation: float) -> dict[str, Any]:
    """Return the configuration of a normal initializer with mean 0.

    Args:
        deviation: standard deviation.
    """
    return {"class_name": "RandomNormal", "config": {"stddev": deviation}}


def uniform(bound: float) -> dict[str, Any]:
    """Return the configuration of a uniform initializer.

    Args:
        bound: weights lie between -bound and bound.
    """
    return {"class_name": "RandomUniform", "config": {"minval": -bound, "maxval": bound}}
